"""Seed labels, sparse: numbers of the labelled rows, and their classes or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float64, Int32, Int64

UNLABELLED = -1

OTHER_CLASS = -2
"""Code of a known true label that is none of the classes."""


@dataclass(frozen=True)
class LabelledRows:
    """Rows with a label: a few hundred of possibly billions."""

    n_rows: int
    """Number of rows N of the whole data set."""
    rows: Int64
    """int64 array (S,), distinct: numbers of the labelled rows, in the order of their tags."""
    tags: Int64 | None = field(default=None, kw_only=True)
    """int64 array (S,), ascending: tags of the labelled rows; None: their numbers."""

    @property
    def n_seeds(self) -> int:
        """Number of labelled rows S."""
        return len(self.rows)

    @property
    def known_by(self) -> Int64:
        """What the seeds are drawn and ordered by, int64 (S,): their tags, or row numbers."""
        return self.rows if self.tags is None else self.tags

    def between(self, start: int, stop: int) -> tuple[Int64, Int64]:
        """Return the seeds in rows `start` to `stop`: positions from `start`, places among all."""
        first, last = np.searchsorted(self.rows, [start, stop], sorter=self._by_row)
        here = self._by_row[first:last]
        return self.rows[here] - start, here

    @cached_property
    def _by_row(self) -> Int64:
        return np.argsort(self.rows, kind="stable")


@dataclass(frozen=True)
class Labels(LabelledRows):
    """Class labels of the seeds.

    Examples
    --------
    >>> labels = Labels.from_codes([-1, 1, -1, 0], ["ham", "spam"])
    >>> labels.rows.tolist(), labels.codes.tolist(), labels.class_counts().tolist()
    ([1, 3], [1, 0], [1, 1])
    """

    codes: Int32
    """int32 array (S,): position of each row's label in `classes`."""
    classes: npt.NDArray[Any]
    """(C,): sorted distinct label values, in the dtype of the input."""

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return len(self.classes)

    @property
    def class_names(self) -> list[str]:
        """The classes as text, in the order of their codes."""
        return [str(value) for value in self.classes.tolist()]

    @classmethod
    def from_codes(cls, codes: npt.ArrayLike, classes: npt.ArrayLike) -> Labels:
        """Build from a dense array (N,) of codes, -1 for unlabelled rows."""
        dense = np.asarray(codes, dtype=np.int32)
        rows = np.flatnonzero(dense != UNLABELLED).astype(np.int64)
        return cls(len(dense), rows, dense[rows], np.asarray(classes))

    def to_codes(self) -> Int32:
        """Return dense codes, int32 (N,), -1 for unlabelled rows; 4 N bytes."""
        dense = np.full(self.n_rows, UNLABELLED, dtype=np.int32)
        dense[self.rows] = self.codes
        return dense

    def class_counts(self) -> Int64:
        """Return the number of seeds of each class, int64 (C,)."""
        return np.bincount(self.codes, minlength=self.n_classes).astype(np.int64)

    def code_of(self, value: Any) -> int:
        """Return the code of a class.

        Raises
        ------
        ValueError
            There is none: the message names those there are.
        """
        classes = self.classes.tolist()
        for code, one in enumerate(classes):
            # 1 and True are equal in Python, and different classes to a reader.
            if (type(one), one) == (type(value), value):
                return code
        names = ", ".join(map(repr, classes[:10]))
        raise ValueError(f"{value!r} is none of the classes of the seeds: {names}")

    def in_order(self, shares: Mapping[Any, float]) -> Float64:
        """Return the shares that classes are given by name, float64 (C,), in the order of classes.

        Raises
        ------
        ValueError
            The classes that are named are not those of the seeds.
        """
        # 1 and True are equal in Python, and different classes to a reader.
        named = {(type(key), key): share for key, share in shares.items()}
        wanted = [(type(value), value) for value in self.classes.tolist()]
        if set(named) != set(wanted):
            unknown = [key for kind, key in named if (kind, key) not in wanted]
            which = f" {', '.join(map(repr, unknown))} is none of them;" if unknown else ""
            raise ValueError(
                f"shares are given for {len(named)} classes;{which} they must be given for exactly"
                f" the {len(wanted)} classes of the seeds, in their type"
            )
        return np.array([named[key] for key in wanted], dtype=np.float64)

    def subset(self, keep: Bool) -> Labels:
        """Return the labels selected by `keep`, bool (S,), with the same classes."""
        tags = None if self.tags is None else self.tags[keep]
        return Labels(self.n_rows, self.rows[keep], self.codes[keep], self.classes, tags=tags)

    def in_rows(self, start: int, stop: int) -> tuple[Int64, Int32]:
        """Return (positions from `start`, codes) of the seeds in rows `start` to `stop`."""
        positions, here = self.between(start, stop)
        return positions, self.codes[here]


@dataclass(frozen=True)
class NumberLabels(LabelledRows):
    """Numbers of the seeds."""

    values: Float64
    """float64 array (S,), finite."""

    @classmethod
    def of(cls, labels: Labels) -> NumberLabels:
        """Build from labels whose classes are numbers."""
        values = labels.classes.astype(np.float64)[labels.codes]
        return cls(labels.n_rows, labels.rows, values, tags=labels.tags)

    def as_labels(self) -> Labels:
        """Return the labels whose classes are the distinct numbers."""
        classes, codes = np.unique(self.values, return_inverse=True)
        return Labels(self.n_rows, self.rows, codes.astype(np.int32), classes, tags=self.tags)

    def as_one_class(self) -> Labels:
        """Return the labelled rows as labels of a single class."""
        codes = np.zeros(self.n_seeds, dtype=np.int32)
        return Labels(self.n_rows, self.rows, codes, np.array([0]), tags=self.tags)

    def in_rows(self, start: int, stop: int) -> tuple[Int64, Float64]:
        """Return (positions from `start`, numbers) of the seeds in rows `start` to `stop`."""
        positions, here = self.between(start, stop)
        return positions, self.values[here]
