"""Categorical columns to one-hot or hashed features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.features.block_reader import Columns, is_null
from ssl_dask.features.feature_groups import CategoricalGroup
from ssl_dask.features.transform import Block, count_problems, refuse_counted

MAX_DENSE_WIDTH = 128
"""One-hot features up to this width are dense blocks, wider ones CSR."""

COUNT_LIMIT = 65536
"""Distinct values of a column that are collected; a column with more is reported as such."""


@dataclass(frozen=True)
class CategorySurvey:
    """Distinct values of columns; `+` merges two blocks."""

    n_rows: int
    """Rows seen."""
    missing: tuple[int, ...]
    """Nulls of each column."""
    values: tuple[frozenset[str] | None, ...]
    """Distinct values of each column; None for more than `COUNT_LIMIT`, and with hashing."""

    def __add__(self, other: CategorySurvey) -> CategorySurvey:
        return CategorySurvey(
            self.n_rows + other.n_rows,
            tuple(a + b for a, b in zip(self.missing, other.missing, strict=True)),
            tuple(
                None if a is None or b is None else _limited(a | b)
                for a, b in zip(self.values, other.values, strict=True)
            ),
        )


def _limited(values: frozenset[str]) -> frozenset[str] | None:
    return values if len(values) <= COUNT_LIMIT else None


def count_nulls(cells: npt.NDArray[np.object_]) -> int:
    """Return the number of None cells of a string column."""
    return int(np.count_nonzero(is_null(cells)))


def survey_categorical(group: CategoricalGroup, columns: Columns) -> CategorySurvey:
    """Return the distinct values of one block; with hashing, only its nulls."""
    cells = [columns[name] for name in group.categorical]
    values: list[frozenset[str] | None] = [None] * len(cells)
    if group.encoding == "onehot":
        values = [_limited(frozenset(each) - {None}) for each in cells]
    return CategorySurvey(len(cells[0]), tuple(map(count_nulls, cells)), tuple(values))


@dataclass(frozen=True)
class OneHotTransform:
    """One-hot encoding. A value, or a null, that was not there in the fit has no feature."""

    name: str
    columns: tuple[str, ...]
    """Names of the c columns."""
    missing: str
    categories: tuple[tuple[str | None, ...], ...] = field(repr=False)
    """For each column its categories in the order of their features; None stands for a null.
    Features of a later column follow those of an earlier one."""
    width: int
    notes: tuple[str, ...]
    spread: float

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR."""
        return self.width > MAX_DENSE_WIDTH

    def transform(self, columns: Columns) -> Block:
        """Return the features of a block, float32 (n, d), dense or CSR.

        Raises
        ------
        InputDataError
            A null where none is allowed.
        """
        if self.missing == "error":
            refuse_nulls(self.name, self.columns, columns)
        numbers = np.stack(
            [
                np.array([codes.get(cell, -1) for cell in columns[name]], dtype=np.int32)
                for name, codes in zip(self.columns, self._codes(), strict=True)
            ],
            axis=1,
        )
        known = numbers >= 0
        if not self.sparse:
            dense = np.zeros((len(numbers), self.width), dtype=np.float32)
            dense[np.nonzero(known)[0], numbers[known]] = 1.0
            return dense
        # The features of a later column have larger numbers, so indices are sorted.
        indptr = np.concatenate([[0], np.cumsum(known.sum(axis=1))]).astype(np.int32)
        ones = np.ones(int(indptr[-1]), dtype=np.float32)
        return sp.csr_array((ones, numbers[known], indptr), shape=(len(numbers), self.width))

    def _codes(self) -> list[dict[str | None, int]]:
        """Return for each column: category -> number of its feature."""
        first, codes = 0, []
        for values in self.categories:
            codes.append({value: first + number for number, value in enumerate(values)})
            first += len(values)
        return codes


@dataclass(frozen=True)
class HashedCategoriesTransform:
    """Hashed categories, by scikit-learn's `FeatureHasher` without signs.

    Two categories of one row that share a feature make it 2.
    """

    name: str
    columns: tuple[str, ...]
    missing: str
    width: int
    notes: tuple[str, ...]
    spread: float
    sparse: bool = True

    def transform(self, columns: Columns) -> sp.csr_array:
        """Return the features of a block, float32 CSR (n, d).

        Raises
        ------
        InputDataError
            A null where none is allowed.
        """
        if self.missing == "error":
            refuse_nulls(self.name, self.columns, columns)
        from sklearn.feature_extraction import FeatureHasher

        hasher = FeatureHasher(
            self.width, input_type="string", dtype=np.float32, alternate_sign=False
        )
        # The length before the value tells a null from every text.
        rows = zip(*(columns[name] for name in self.columns), strict=True)
        hashed = hasher.transform(
            [
                f"{number}:{'-' if cell is None else len(cell)}:{cell or ''}"
                for number, cell in enumerate(row)
            ]
            for row in rows
        )
        features = sp.csr_array(hashed)
        features.sort_indices()
        return features


def refuse_nulls(name: str, names: tuple[str, ...], columns: Columns) -> None:
    """Raise `InputDataError` that counts the nulls of each string column, if there are any."""
    counts = [count_nulls(columns[column]) for column in names]
    refuse_counted(f"features.{name}: {{count}} missing values", names, counts, None)


def fit_categorical(
    name: str, group: CategoricalGroup, survey: CategorySurvey
) -> OneHotTransform | HashedCategoriesTransform:
    """Fit the transform to the distinct values of all blocks.

    Raises
    ------
    InputDataError
        Nulls where none are allowed; more distinct values than `max_categories`.
    """
    problems, notes = [], []
    if group.missing == "error":
        what, hint = f"features.{name}: {{count}} missing values", "set missing: category"
        problems += count_problems(what, group.categorical, survey.missing, hint)
    for column, n_missing, values in zip(
        group.categorical, survey.missing, survey.values, strict=True
    ):
        if group.encoding == "onehot" and (values is None or len(values) > group.max_categories):
            count = f"more than {COUNT_LIMIT}" if values is None else f"{len(values)}"
            problems.append(
                Problem(
                    f"features.{name}: {count} distinct values; max_categories is"
                    f" {group.max_categories}",
                    column=column,
                    hint="set encoding: hash, or raise max_categories",
                )
            )
        if n_missing:
            notes.append(
                f"column {column!r}: {n_missing} missing values are a category of their own"
            )
        if values is not None and len(values) + (n_missing > 0) < 2:
            notes.append(f"column {column!r} holds one value and tells nothing")
    if problems:
        raise InputDataError(problems)
    spread = float(np.sqrt(len(group.categorical)))
    if group.encoding == "hash":
        return HashedCategoriesTransform(
            name, group.categorical, group.missing, group.n_features, tuple(notes), spread
        )
    categories: tuple[tuple[str | None, ...], ...] = tuple(
        (*sorted(distinct or ()), *((None,) if n_missing else ()))
        for n_missing, distinct in zip(survey.missing, survey.values, strict=True)
    )
    width = sum(map(len, categories))
    return OneHotTransform(
        name, group.categorical, group.missing, categories, width, tuple(notes), spread
    )
