"""The labels that were given: which rows, and which class or number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float64, Int32, Int64

UNLABELLED = -1

OTHER_CLASS = -2
"""Code of a true label that is none of the classes; unlike `UNLABELLED`, the truth is known."""


@dataclass(frozen=True)
class Labels:
    """Seed labels of a data set, kept sparse: a few hundred rows of possibly billions.

    Parameters
    ----------
    n_rows
        Number of rows N of the whole data set.
    rows
        int64 array (S,), strictly increasing: numbers of the labelled rows.
    codes
        int32 array (S,): position of each row's label in `classes`.
    classes
        array (C,) of the distinct label values, sorted, in the type of the input.
    """

    n_rows: int
    rows: Int64
    codes: Int32
    classes: npt.NDArray[Any]

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return len(self.classes)

    @property
    def n_seeds(self) -> int:
        """Number of labelled rows S."""
        return len(self.rows)

    @classmethod
    def from_codes(cls, codes: npt.ArrayLike, classes: npt.ArrayLike) -> Labels:
        """Build from a dense array (N,) of codes in which -1 stands for unlabelled."""
        dense = np.asarray(codes, dtype=np.int32)
        rows = np.flatnonzero(dense != UNLABELLED).astype(np.int64)
        return cls(len(dense), rows, dense[rows], np.asarray(classes))

    def to_codes(self) -> Int32:
        """Return a dense int32 array (N,) with -1 for unlabelled rows. Costs 4 N bytes."""
        dense = np.full(self.n_rows, UNLABELLED, dtype=np.int32)
        dense[self.rows] = self.codes
        return dense

    def class_counts(self) -> Int64:
        """Return the number of seeds of each class, int64 (C,)."""
        return np.bincount(self.codes, minlength=self.n_classes).astype(np.int64)

    def subset(self, keep: Bool) -> Labels:
        """Return the labels of which `keep`, bool (S,), is true; classes stay as they are."""
        return Labels(self.n_rows, self.rows[keep], self.codes[keep], self.classes)

    def in_rows(self, start: int, stop: int) -> tuple[Int64, Int32]:
        """Return (positions from `start`, codes) of the seeds in rows `start` to `stop`."""
        first, last = np.searchsorted(self.rows, [start, stop])
        return self.rows[first:last] - start, self.codes[first:last]


def alike_names(names: Sequence[str]) -> str | None:
    """Return a sentence on classes whose names differ by capitals and spaces alone, None without.

    Parameters
    ----------
    names
        Of the classes.
    """
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(" ".join(name.split()).casefold(), []).append(name)
    alike = [" and ".join(map(repr, group)) for group in spelled.values() if len(group) > 1]
    if not alike:
        return None
    return (
        f"Classes whose names differ by capitals or spaces alone: {', '.join(alike)}. Each is a"
        " class of its own; if they are one, spell their labels alike."
    )


@dataclass(frozen=True)
class NumberLabels:
    """Seed labels that are numbers.

    Parameters
    ----------
    n_rows
        Number of rows N of the whole data set.
    rows
        int64 array (S,), strictly increasing: numbers of the labelled rows.
    values
        float64 array (S,), finite: the number of each.
    """

    n_rows: int
    rows: Int64
    values: Float64

    @classmethod
    def of(cls, labels: Labels) -> NumberLabels:
        """Return what `labels` say whose classes are the distinct numbers."""
        values = labels.classes.astype(np.float64)[labels.codes]
        return cls(labels.n_rows, labels.rows, values)

    @property
    def n_seeds(self) -> int:
        """Number of labelled rows S."""
        return len(self.rows)

    def as_one_class(self) -> Labels:
        """Return the labelled rows alone, as labels of one class."""
        codes = np.zeros(self.n_seeds, dtype=np.int32)
        return Labels(self.n_rows, self.rows, codes, np.array([0]))

    def in_rows(self, start: int, stop: int) -> tuple[Int64, Float64]:
        """Return (positions from `start`, numbers) of the seeds in rows `start` to `stop`."""
        first, last = np.searchsorted(self.rows, [start, stop])
        return self.rows[first:last] - start, self.values[first:last]
