"""Columns of numbers to scaled features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int64
from ssl_dask.errors import InputDataError, Problem
from ssl_dask.features.block_reader import Columns, stack_columns
from ssl_dask.features.feature_groups import NumericGroup
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums
from ssl_dask.kernels.features.row_transforms import scale_rows

LARGEST_VALUE = 1e300
"""Magnitude above which differences of values could overflow."""

ROUNDING = 4 * np.finfo(np.float64).eps
"""Deviation, over the largest magnitude of a column, that is rounding and no information."""


@dataclass(frozen=True)
class Scaling:
    """x becomes (x - shift) * factor, for each of d columns.

    Parameters
    ----------
    shift, factor
        float64 arrays (d,).
    variance
        float64 array (d,): variance of the scaled columns.
    constant
        bool array (d,): columns that hold one value; zero once scaled (as they are with "none").
    """

    shift: Float64
    factor: Float64
    variance: Float64
    constant: Bool

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
        # A deviation so small that it has no reciprocal is none.
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
    problems = []
    for j, column in enumerate(columns):
        if sums.infinite[j]:
            problems.append(
                Problem(
                    f"features.{name}: {sums.infinite[j]} infinite values",
                    column=column,
                    rows=int(sums.infinite[j]),
                    hint="make them null and set missing, or leave the column out",
                )
            )
        largest = max(abs(sums.minimum[j]), abs(sums.maximum[j])) if sums.counts[j] else 0.0
        if largest > largest_allowed:
            problems.append(
                Problem(
                    f"features.{name}: holds values beyond {largest_allowed:.3g}",
                    column=column,
                    hint="scale: standard takes values up to 1e300; make larger ones null",
                )
            )
    return problems


@dataclass(frozen=True)
class NumericTransform:
    """Turns numeric columns into features; small and picklable.

    Parameters
    ----------
    columns
        Names of the c columns.
    missing
        As in `NumericGroup`.
    fill
        float64 array (c,): what a missing value becomes.
    scaling
        Of the filled columns.
    indicated
        Positions of the columns that have an indicator feature.
    bounds
        float32 arrays (d,): smallest, largest and typical value of each feature.
    """

    name: str
    columns: tuple[str, ...]
    missing: str
    fill: Float64
    scaling: Scaling
    indicated: tuple[int, ...]
    bounds: tuple[Float32, ...] = field(repr=False)
    notes: tuple[str, ...]
    spread: float
    sparse: bool = False

    @property
    def width(self) -> int:
        """Number of features d."""
        return len(self.columns) + len(self.indicated)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.columns + tuple(f"{self.columns[j]} is missing" for j in self.indicated)

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
            _refuse_unusable(self.name, self.columns, X)
        filled = np.where(absent, self.fill, X)
        with np.errstate(over="ignore"):
            scaled = self.scaling.apply(filled)
        _refuse_too_large(self.name, self.columns, scaled)
        if not self.indicated:
            return scaled
        return np.hstack([scaled, absent[:, list(self.indicated)].astype(np.float32)])


def _refuse_unusable(name: str, columns: tuple[str, ...], X: Float64) -> None:
    unusable = ~np.isfinite(X)
    problems = [
        Problem(
            f"features.{name}: {count} values are missing or infinite",
            column=column,
            rows=int(count),
            hint="set missing to mean, zero or indicator",
        )
        for column, count in zip(columns, unusable.sum(axis=0), strict=True)
        if count
    ]
    if problems:
        raise InputDataError(problems)


def _refuse_too_large(name: str, columns: tuple[str, ...], X: Float32) -> None:
    too_large = np.isinf(X)
    if not too_large.any():
        return
    raise InputDataError(
        [
            Problem(
                f"features.{name}: {count} values are beyond 3.4e38 when they are scaled",
                column=column,
                rows=int(count),
                hint="correct them, or take the logarithm of the column",
            )
            for column, count in zip(columns, too_large.sum(axis=0), strict=True)
            if count
        ]
    )


def survey_numeric(group: NumericGroup, columns: Columns) -> ColumnSums:
    """Return the exact sums of one block."""
    return ColumnSums.of(stack_columns(columns, group.numeric))


def fit_numeric(name: str, group: NumericGroup, sums: ColumnSums) -> NumericTransform:
    """Derive the transform from the sums over all blocks.

    Missing values that become the mean leave mean and deviation as those of the values there are;
    those that become zero count as zeros.

    Raises
    ------
    InputDataError
        Missing values where none are allowed, columns without any value, infinite or too large
        values.
    """
    largest = LARGEST_VALUE if group.scale != "none" else float(np.finfo(np.float32).max)
    problems = value_problems(name, group.numeric, sums, largest)
    for j, column in enumerate(group.numeric):
        problem = _missing_problem(name, group, sums, j)
        if problem is not None:
            problems.append(Problem(problem[0], column=column, rows=problem[1], hint=problem[2]))
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


def _missing_problem(
    name: str, group: NumericGroup, sums: ColumnSums, j: int
) -> tuple[str, int, str] | None:
    n_missing = int(sums.missing[j])
    if group.missing == "error" and n_missing:
        return (
            f"features.{name}: {n_missing} missing values",
            n_missing,
            "set missing to mean, zero or indicator",
        )
    if group.missing in ("mean", "indicator") and n_missing == sums.n_rows:
        return (f"features.{name}: has no value at all", n_missing, "leave the column out")
    return None


def _notes(
    group: NumericGroup,
    sums: ColumnSums,
    scaling: Scaling,
    n_missing: Int64,
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
