"""Columns of feature groups, and groups that rows may lack: which rows have one, their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Bool
from ssl_dask.features.block_reader import BlockReader, Columns, is_null
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.features.transform import Block, Transform


def read_columns(
    reader: BlockReader, block: int, groups: Mapping[str, FeatureGroup]
) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Read the columns of a block for several groups, and return them by group.

    A column is read once, unless groups want it in different forms.
    """
    rounds: list[dict[str, str]] = []
    found_in: dict[tuple[str, str], int] = {}
    for group in groups.values():
        for column, kind in _kinds(group).items():
            if (column, kind) in found_in:
                continue
            number = next((i for i, kinds in enumerate(rounds) if column not in kinds), len(rounds))
            if number == len(rounds):
                rounds.append({})
            rounds[number][column] = kind
            found_in[column, kind] = number
    read = [reader.read(block, kinds) for kinds in rounds]
    return {
        name: {
            column: read[found_in[column, kind]][column] for column, kind in _kinds(group).items()
        }
        for name, group in groups.items()
    }


def _kinds(group: FeatureGroup) -> dict[str, str]:
    """Return the form in which each column is read."""
    return {
        column: "vector_or_null" if need == ("vector", True) else need.kind
        for column, need in group.needs().items()
    }


def present_rows(group: FeatureGroup, columns: Columns) -> Bool:
    """Return which rows of a block have a group, bool (n,): a value in any of its columns.

    All rows have a group that is not optional.
    """
    if not group.optional:
        return np.ones(len(columns[group.columns()[0]]), dtype=np.bool_)
    return _with_value(group.columns(), columns)


def _with_value(names: Sequence[str], columns: Columns) -> Bool:
    return np.logical_or.reduce([_has_value(columns[name]) for name in names])


def _has_value(values: npt.NDArray[Any]) -> Bool:
    if values.dtype == object:
        return ~is_null(values)
    there = ~np.isnan(values)
    return there if there.ndim == 1 else there.any(axis=1)


def taken(columns: Columns, rows: Bool) -> Mapping[str, npt.NDArray[Any]]:
    """Return the columns of some rows; without a copy if these are all rows."""
    return columns if rows.all() else {name: values[rows] for name, values in columns.items()}


@dataclass(frozen=True)
class OptionalSurvey:
    """Statistics of an optional group; `+` merges two blocks."""

    n_present: int
    n_lacking: int
    """Rows with the group, and rows without."""
    statistics: Any
    """Of the rows with the group; None without such rows."""

    def __add__(self, other: OptionalSurvey) -> OptionalSurvey:
        both = [s for s in (self.statistics, other.statistics) if s is not None]
        return OptionalSurvey(
            self.n_present + other.n_present,
            self.n_lacking + other.n_lacking,
            both[0] + both[1] if len(both) > 1 else next(iter(both), None),
        )


@dataclass(frozen=True)
class OptionalTransform:
    """Features of an optional group, 0 in rows that lack it."""

    name: str
    """Of the group."""
    columns: tuple[str, ...]
    """Names of its columns; a row with nulls in all of them lacks the group."""
    fitted: Transform
    """Makes the features of rows that have the group."""
    n_lacking: int
    """Rows without the group in the fit."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the columns."""
        if not self.n_lacking:
            return self.fitted.notes
        return (*self.fitted.notes, f"features.{self.name}: {self.n_lacking} rows lack it")

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR."""
        return self.fitted.sparse

    @property
    def spread(self) -> float:
        """Root mean squared length of the rows that have the group."""
        return self.fitted.spread

    @property
    def width(self) -> int:
        """Number of features."""
        return self.fitted.width

    def transform(self, columns: Columns) -> Block:
        """Return the features of a block, float32 (n, d), dense or CSR.

        Raises
        ------
        InputDataError
            A row has a part of the group, where the group allows no missing value.
        """
        present = _with_value(self.columns, columns)
        if present.all():
            return self.fitted.transform(columns)
        shape = (len(present), self.width)
        if not present.any():
            empty = sp.csr_array(shape, dtype=np.float32)
            return empty if self.sparse else np.zeros(shape, dtype=np.float32)
        part: Any = self.fitted.transform(taken(columns, present))
        if not sp.issparse(part):
            rows = np.zeros(shape, dtype=np.float32)
            rows[present] = part
            return rows
        lengths = np.zeros(len(present), dtype=part.indptr.dtype)
        lengths[present] = np.diff(part.indptr)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(part.indptr.dtype)
        return sp.csr_array((part.data, part.indices, starts), shape=shape)
