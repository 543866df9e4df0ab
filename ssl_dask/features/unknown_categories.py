"""Categories of other rows than those that features were fitted on: which of them are unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ssl_dask.array_types import Bool
from ssl_dask.errors import Caution, InputDataError, Problem
from ssl_dask.features.block_reader import BlockReader, is_null
from ssl_dask.features.categorical_columns import OneHotTransform
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.features.optional_groups import OptionalTransform, present_rows, read_columns
from ssl_dask.features.transform import Transform


@dataclass(frozen=True)
class CategoryCounts:
    """Cells of categorical columns; `+` merges two blocks."""

    filled: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Column -> its cells with a value, and those whose value no row of the fit had."""
    n_blank: int = 0
    """Rows of which nothing is known but unknown categories."""

    def __add__(self, other: CategoryCounts) -> CategoryCounts:
        names = dict.fromkeys([*self.filled, *other.filled])
        return CategoryCounts(
            {name: self.filled.get(name, 0) + other.filled.get(name, 0) for name in names},
            {name: self.unknown.get(name, 0) + other.unknown.get(name, 0) for name in names},
            self.n_blank + other.n_blank,
        )


def one_hot_groups(transforms: Mapping[str, Transform]) -> dict[str, OneHotTransform]:
    """Return the groups whose categories are known one by one: those that are not hashed."""
    plain = {
        name: one.fitted if isinstance(one, OptionalTransform) else one
        for name, one in transforms.items()
    }
    return {name: one for name, one in plain.items() if isinstance(one, OneHotTransform)}


def look_at_categories(
    reader: BlockReader,
    groups: Mapping[str, FeatureGroup],
    transforms: Mapping[str, Transform],
    block: int,
) -> tuple[CategoryCounts, Bool]:
    """Count the unknown categories of a block, and find the rows of which no more is known.

    Returns
    -------
    (CategoryCounts, bool (n,))
        The rows hold an unknown category, no known one, and have no group of another kind.
    """
    one_hot = one_hot_groups(transforms)
    others = [name for name in groups if name not in one_hot]
    # Where every row has a group of another kind, it need not be read.
    told = any(not groups[name].optional for name in others)
    wanted = {name: groups[name] for name in groups if name in one_hot or not told}
    read = read_columns(reader, block, wanted)
    n_rows = reader.row_counts[block]
    filled, unknown = {}, {}
    any_known, any_unknown = np.full(n_rows, told), np.zeros(n_rows, dtype=bool)
    for name, columns in read.items():
        if name not in one_hot:
            any_known |= present_rows(groups[name], columns)
            continue
        for column, categories in zip(one_hot[name].columns, one_hot[name].categories, strict=True):
            cells = columns[column]
            strange = ~np.fromiter(map(frozenset(categories).__contains__, cells), bool, n_rows)
            there = ~is_null(cells)
            filled[column] = int(there.sum())
            unknown[column] = int((strange & there).sum())
            any_known |= ~strange
            any_unknown |= strange & there
    blank = any_unknown & ~any_known
    return CategoryCounts(filled, unknown, int(blank.sum())), blank


def judge_categories(found: Iterable[CategoryCounts]) -> list[Caution]:
    """Return what is to be said of unknown categories, a sentence for each column.

    Raises
    ------
    InputDataError
        No row has a category that is known.
    """
    counts = sum(found, CategoryCounts())
    strange = {column: n for column, n in counts.unknown.items() if n}
    if strange and strange == {column: n for column, n in counts.filled.items() if n}:
        raise InputDataError(
            [
                Problem(
                    f"none of the categories in {n:,} rows was there when the models were fitted",
                    column=column,
                    rows=n,
                    hint="spell the values as in the input of the run (capitals, blanks, 1 or"
                    " 1.0), or run the job again with such rows",
                )
                for column, n in strange.items()
            ]
        )
    said = [
        Caution(
            f"Column {column!r}: of {counts.filled[column]:,} categories {n:,} are unknown to the"
            " models and tell nothing; the other columns decide."
        )
        for column, n in strange.items()
    ]
    if counts.n_blank:
        said.append(
            Caution(
                f"{counts.n_blank:,} rows abstained: all that is there of them are unknown"
                " categories."
            )
        )
    return said
