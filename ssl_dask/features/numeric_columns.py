"""Numeric columns to features: imputation and scaling by exact column sums."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int64
from ssl_dask.errors import InputDataError, Problem
from ssl_dask.features.block_reader import Columns, stack_columns
from ssl_dask.features.feature_groups import NumericGroup
from ssl_dask.features.transform import count_problems, refuse_counted
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums
from ssl_dask.kernels.features.row_transforms import scale_rows

LARGEST_VALUE = 1e300
"""Magnitude above which differences of values could overflow."""
ROUNDING = 4 * np.finfo(np.float64).eps
"""A column is constant if its deviation over its largest magnitude is at most this."""


@dataclass(frozen=True)
class Scaling:
    """The affine map (x - shift) * factor of each of d columns."""

    shift: Float64
    factor: Float64
    """float64 (d,)."""
    variance: Float64
    """float64 (d,): variance of the scaled columns."""
    constant: Bool
    """bool (d,): columns of one value. They are scaled to 0, or left as they are with "none"."""

    @classmethod
    def of(cls, sums: ColumnSums, scale: str) -> Scaling:
        """Derive the scaling named `scale` ("standard", "minmax", "none") from exact sums."""
        deviation = np.nan_to_num(sums.std())
        largest = np.maximum(np.abs(sums.minimum), np.abs(sums.maximum))
        constant = deviation <= ROUNDING * np.where(sums.counts > 0, largest, 0.0)
        if scale == "none":
            width = len(deviation)
            return cls(np.zeros(width), np.ones(width), deviation**2, constant)
        if scale == "standard":
            shift, unit = np.nan_to_num(sums.mean()), deviation
        else:
            shift, unit = sums.minimum, sums.maximum - sums.minimum
        shift = np.where(constant, 0.0, shift)
        # A subnormal deviation has no reciprocal: the column counts as constant.
        constant = constant | (unit < np.finfo(np.float64).tiny)
        factor = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, unit))
        return cls(shift, factor, (deviation * factor) ** 2, constant)

    def apply(self, X: Floating) -> Float32:
        """Return the scaled block, float32 (n, d)."""
        return scale_rows(X, self.shift, self.factor)


def value_problems(
    name: str, columns: tuple[str, ...], sums: ColumnSums, largest_allowed: float
) -> list[Problem]:
    """Return what is wrong with infinite values, and values larger than `largest_allowed`."""
    problems = count_problems(
        f"features.{name}: {{count}} infinite values",
        columns,
        sums.infinite,
        "make them null and set missing, or leave the column out",
    )
    largest = np.where(sums.counts > 0, np.maximum(abs(sums.minimum), abs(sums.maximum)), 0.0)
    problems += [
        Problem(
            f"features.{name}: holds values beyond {largest_allowed:.3g}",
            column=columns[j],
            hint="scale: standard takes values up to 1e300; make larger ones null",
        )
        for j in np.flatnonzero(largest > largest_allowed)
    ]
    return problems


@dataclass(frozen=True)
class NumericTransform:
    """Fills and scales numeric columns."""

    name: str
    columns: tuple[str, ...]
    """Names of the c columns."""
    missing: str
    """What a null becomes: "error", "mean", "zero" or "indicator"."""
    fill: Float64
    """float64 (c,): replaces missing values."""
    scaling: Scaling
    """Of the filled columns."""
    indicated: tuple[int, ...]
    """Positions of the columns that have an indicator feature."""
    bounds: tuple[Float32, ...] = field(repr=False)
    """float32 (d,) each: smallest, largest and typical value of each feature."""
    notes: tuple[str, ...]
    spread: float
    sparse: bool = False

    @property
    def width(self) -> int:
        """Number of features d."""
        return len(self.columns) + len(self.indicated)

    def transform(self, columns: Columns) -> Float32:
        """Return the features of a block, float32 (n, d).

        Raises
        ------
        InputDataError
            A missing value where none is allowed, an infinite one, or one that is infinite in the
            float32 of the features.
        """
        X = stack_columns(columns, self.columns)
        absent = np.isnan(X)
        if self.missing == "error" or np.isinf(X).any():
            refuse_counted(
                f"features.{self.name}: {{count}} values are missing or infinite",
                self.columns,
                (~np.isfinite(X)).sum(axis=0),
                "set missing to mean, zero or indicator",
            )
        filled = np.where(absent, self.fill, X)
        with np.errstate(over="ignore"):
            scaled = self.scaling.apply(filled)
        refuse_counted(
            f"features.{self.name}: {{count}} values are beyond 3.4e38 when they are scaled",
            self.columns,
            np.isinf(scaled).sum(axis=0),
            "correct them, or take the logarithm of the column",
        )
        if not self.indicated:
            return scaled
        return np.hstack([scaled, absent[:, list(self.indicated)].astype(np.float32)])


def survey_numeric(group: NumericGroup, columns: Columns) -> ColumnSums:
    """Return the exact sums of one block."""
    return ColumnSums.of(stack_columns(columns, group.numeric))


def fit_numeric(name: str, group: NumericGroup, sums: ColumnSums) -> NumericTransform:
    """Fit the transform to the sums of all blocks.

    Values imputed by the mean do not enter mean and deviation; values imputed by zero do.

    Raises
    ------
    InputDataError
        Missing values where none are allowed, columns without any value, infinite or too large
        values.
    """
    largest = LARGEST_VALUE if group.scale != "none" else float(np.finfo(np.float32).max)
    problems = value_problems(name, group.numeric, sums, largest)
    if group.missing == "error":
        what, hint = "{count} missing values", "set missing to mean, zero or indicator"
        problems += count_problems(f"features.{name}: {what}", group.numeric, sums.missing, hint)
    elif group.missing != "zero":
        empty = np.where(sums.missing == sums.n_rows, sums.missing, 0)
        what, hint = f"features.{name}: has no value at all", "leave the column out"
        problems += count_problems(what, group.numeric, empty, hint)
    if problems:
        raise InputDataError(problems)
    indicated = tuple(np.flatnonzero(sums.missing).tolist()) if group.missing == "indicator" else ()
    n_missing = sums.missing
    if group.missing == "zero":
        fill, sums = np.zeros(len(group.numeric)), sums.with_zeros()
    else:
        fill = sums.mean()
    scaling = Scaling.of(sums, group.scale)
    share = n_missing[list(indicated)] / max(sums.n_rows, 1)
    extremes = np.stack([sums.minimum, sums.maximum, sums.mean()])
    ones = np.ones(len(indicated))
    low, high, typical = np.hstack(
        [scaling.apply(extremes), np.stack([0 * ones, ones, share]).astype(np.float32)]
    )
    return NumericTransform(
        name,
        group.numeric,
        group.missing,
        fill,
        scaling,
        indicated,
        (low, high, typical),
        _notes(group, sums, scaling, n_missing),
        float(np.sqrt(scaling.variance.sum() + (share * (1 - share)).sum())),
    )


def _notes(
    group: NumericGroup, sums: ColumnSums, scaling: Scaling, n_missing: Int64
) -> tuple[str, ...]:
    notes = []
    becomes = {
        "mean": "their column's mean",
        "zero": "0",
        "indicator": "their column's mean, marked",
    }
    largest = np.maximum(np.abs(sums.minimum), np.abs(sums.maximum))
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = np.sqrt(scaling.variance) < largest * np.finfo(np.float32).eps * 8
    for j, column in enumerate(group.numeric):
        if scaling.constant[j]:
            notes.append(f"column {column!r} holds one value and tells nothing")
        elif group.scale == "none" and lost[j]:
            notes.append(
                f"column {column!r} varies little against its size, and float32 drops most of its"
                " digits; use scale: standard"
            )
        if n_missing[j]:
            notes.append(
                f"column {column!r}: {n_missing[j]} missing values became {becomes[group.missing]}"
            )
    return tuple(notes)
