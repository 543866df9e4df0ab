"""The rows of one block as the rounds see them: features, labels, and those that are fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Bool, Float32, Int32, Int64
from ssl_dask.errors import QualityError
from ssl_dask.kernels.arithmetic.field_sums import FieldSums
from ssl_dask.kernels.learners.row_samples import weight_unit
from ssl_dask.labels import UNLABELLED

GIVEN, NEVER = 0, -1
"""Values of `Assignment.since` for seeds and for rows without a label."""


@dataclass(frozen=True)
class BlockRows:
    """The rows of one block, as a task on a worker sees them."""

    tags: Int64
    """int64 (n,): what they are drawn and ordered by, the tags of their ids or their numbers."""
    views: Mapping[str, Any]
    """By name: features (n, d), dense float32 or float64, or CSR."""
    present: Mapping[str, Bool]
    """By name of a view that rows may lack: bool (n,), the rows that have it."""
    place: int
    """Place of the first row in the fixed batches of `kernels/arithmetic/linear_scores.py`."""

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.tags)

    @property
    def only(self) -> Any:
        """Features of the single view there is."""
        (view,) = self.views.values()
        return view

    def take(self, positions: Int64) -> BlockRows:
        """Return some of the rows, in the order of their positions."""
        return BlockRows(
            self.tags[positions],
            {name: view[positions] for name, view in self.views.items()},
            {name: has[positions] for name, has in self.present.items()},
            self.place,
        )


@dataclass(frozen=True)
class Assignment:
    """What the rows of a block are labelled, by L learners (1: all learners share one)."""

    codes: Int32
    """int32 (n, L): class, -1 without one."""
    weights: Float32
    """float32 (n, L): weight in a fit; of seeds their own."""
    since: Int32
    """int32 (n, L): the round in which the row got this label; `GIVEN` for seeds, `NEVER` for rows
    without a label."""
    extra: Float32
    """float32 (n, K): what a method keeps beside; K = 0 for most."""

    @classmethod
    def of_seeds(
        cls, n_rows: int, positions: Int64, codes: Int32, weights: Float32, n_columns: int = 1
    ) -> Assignment:
        """Return a block in which only seeds have a label.

        Parameters
        ----------
        n_rows
            n.
        positions, codes, weights
            (s,): places of the seeds in the block, their classes and weights.
        n_columns
            L.
        """
        found = cls(
            np.full((n_rows, n_columns), UNLABELLED, dtype=np.int32),
            np.zeros((n_rows, n_columns), dtype=np.float32),
            np.full((n_rows, n_columns), NEVER, dtype=np.int32),
            np.zeros((n_rows, 0), dtype=np.float32),
        )
        found.codes[positions] = codes[:, None]
        found.weights[positions] = weights[:, None]
        found.since[positions] = GIVEN
        return found

    @classmethod
    def of_records(cls, records: npt.NDArray[np.void]) -> Assignment:
        """Return what `records` packed."""
        return cls(*(np.ascontiguousarray(records[part.name]) for part in fields(cls)))

    def records(self) -> npt.NDArray[np.void]:
        """Return all fields as one array (n,), a record a row: one file where it is stored."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        kinds = [(name, array.dtype, array.shape[1:]) for name, array in parts.items()]
        found = np.empty(len(self.codes), dtype=kinds)
        for name, array in parts.items():
            found[name] = array
        return found

    @property
    def is_seed(self) -> Bool:
        """Which rows were labelled from the start, bool (n,)."""
        return self.since[:, 0] == GIVEN

    def relabelled(
        self,
        codes: Int32,
        weights: Float32,
        round_number: int,
        n_classes: int,
        extra: Float32 | None = None,
    ) -> tuple[Assignment, RoundCounts]:
        """Return the block with new pseudo-labels, and what has changed; seeds keep theirs.

        Parameters
        ----------
        codes, weights
            (n, L): labels of all rows from now on, -1 for none; ignored at seeds.
        round_number
            Rows whose label is new get it as their `since`.
        n_classes
            C.
        extra
            Replaces `extra`, if given.
        """
        seeds = self.is_seed[:, None]
        new = np.where(seeds, self.codes, codes).astype(np.int32)
        changed = new != self.codes
        none = new == UNLABELLED
        since = np.where(changed, np.int32(round_number), self.since)
        since[none] = NEVER
        heavy = np.where(seeds, self.weights, weights)
        heavy[none] = 0.0
        found = Assignment(
            new, heavy.astype(np.float32), since, self.extra if extra is None else extra
        )
        return found, RoundCounts.of(self, found, n_classes)


@dataclass(frozen=True)
class RoundCounts(FieldSums):
    """Changes of the labels of the rows in a round; counts of blocks are added up."""

    labelled: Int64
    """int64 (C,): rows that got a label of this class in this round, over all learners."""
    taken_back: Int64
    """int64 (C,): rows that had a label of this class and have it no more."""
    changed: int
    """Labels that are new, gone, or of another class."""
    total: Int64
    """int64 (L, C): labels there are now, seeds included."""
    unlabelled: int
    """Rows without any label."""
    uneven: int
    """Labels there are now whose weight is not 1."""
    rows: int
    """Rows in all."""

    @classmethod
    def of(cls, before: Assignment, after: Assignment, n_classes: int) -> RoundCounts:
        """Compare the labels of a block before and after a round."""
        changed = before.codes != after.codes
        gained = changed & (after.codes != UNLABELLED)
        lost = changed & (before.codes != UNLABELLED)
        columns = [column[column != UNLABELLED] for column in after.codes.T]
        return cls(
            np.bincount(after.codes[gained], minlength=n_classes).astype(np.int64),
            np.bincount(before.codes[lost], minlength=n_classes).astype(np.int64),
            int(changed.sum()),
            np.stack([np.bincount(one, minlength=n_classes) for one in columns]).astype(np.int64),
            int((after.codes == UNLABELLED).all(axis=1).sum()),
            int(((after.codes != UNLABELLED) & (after.weights != 1.0)).sum()),
            len(after.codes),
        )

    def of_learner(self, learner: int) -> int:
        """Return how many labels a learner has, seeds included."""
        return int(self.total[min(learner, len(self.total) - 1)].sum())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {one.name: np.asarray(getattr(self, one.name)).tolist() for one in fields(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> RoundCounts:
        """Return what `as_dict` was of."""
        values: dict[str, Any] = {
            name: np.array(value, dtype=np.int64) if isinstance(value, list) else value
            for name, value in stored.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class Piece:
    """Rows of one block that a learner is fitted on, or several learners of the same features."""

    tags: Int64
    """int64 (m,): theirs."""
    X: Any
    """Features (m, d), dense or CSR; or a mapping of them by view."""
    codes: Int32
    weights: Float32
    """int32 and float32 (m,); of G learners (m, G), -1 where a learner does not take the row."""
    given: Bool
    """bool (m,): the seeds among them."""

    def take(self, keep: Bool) -> Piece:
        """Return the rows of which `keep`, bool (m,), is true."""
        return self if keep.all() else self.at(np.flatnonzero(keep))

    def of_learner(self, place: int) -> Piece:
        """Return the rows that one of several learners takes."""
        codes, weights = self.codes[:, place], self.weights[:, place]
        return replace(self, codes=codes, weights=weights).take(codes != UNLABELLED)

    def at(self, positions: Int64) -> Piece:
        """Return the rows at these positions, some perhaps more than once."""
        X = (
            {name: view[positions] for name, view in self.X.items()}
            if isinstance(self.X, Mapping)
            else self.X[positions]
        )
        return Piece(
            self.tags[positions],
            X,
            self.codes[positions],
            self.weights[positions],
            self.given[positions],
        )


@dataclass(frozen=True)
class FitRows:
    """The labelled rows that a learner is fitted on, counted; those of blocks are added up."""

    class_counts: Int64
    """int64 (C,)."""
    least_given: float
    """Smallest weight of a seed; infinite if there is none."""
    lightest: float
    heaviest: float
    """Smallest and largest weight; infinite and 0 without rows."""

    @classmethod
    def of(cls, codes: Int32, weights: Float32, given: Bool, n_classes: int) -> FitRows:
        """Count rows, each array (m,)."""
        return cls(
            np.bincount(codes, minlength=n_classes).astype(np.int64),
            float(weights[given].min(initial=np.inf)),
            float(weights.min(initial=np.inf)),
            float(weights.max(initial=0.0)),
        )

    @property
    def n_rows(self) -> int:
        """Number of rows m."""
        return int(self.class_counts.sum())

    @property
    def seen(self) -> Int64:
        """Codes of the classes that there are, int64 (K,), ascending."""
        return np.flatnonzero(self.class_counts).astype(np.int64)

    @property
    def even(self) -> bool:
        """Whether all weights are 1."""
        return self.lightest == 1.0 == self.heaviest

    @property
    def unit(self) -> float:
        """Weight of a row that stands once, for learners without weights."""
        return weight_unit(self.least_given, self.heaviest)

    def __add__(self, other: FitRows) -> FitRows:
        return FitRows(
            self.class_counts + other.class_counts,
            min(self.least_given, other.least_given),
            min(self.lightest, other.lightest),
            max(self.heaviest, other.heaviest),
        )


def joined_pieces(pieces: Sequence[Piece]) -> Piece:
    """Return the rows of all pieces as one, by tag: a fit rounds by the order of its rows.

    Raises
    ------
    QualityError
        There is no row.
    """
    filled = [piece for piece in pieces if len(piece.tags)]
    if not filled:
        raise QualityError(
            "no row is labelled, so nothing can be fitted", hint="label rows of each class"
        )
    order = tag_order([piece.tags for piece in filled])
    if len(filled) == 1:
        return filled[0] if order is None else filled[0].at(order)

    def joined(name: str) -> Any:
        return stacked([getattr(piece, name) for piece in filled], order)

    return Piece(*(joined(part.name) for part in fields(Piece)))


def tag_order(tags: Sequence[Int64]) -> Int64 | None:
    """Return the order of rows by tag, int64 (n,); None where they stand in it."""
    joined = np.concatenate(tags)
    return None if (joined[1:] >= joined[:-1]).all() else np.argsort(joined)


def stacked(parts: Sequence[Any], order: Int64 | None) -> Any:
    """Return arrays or CSR rows below each other, in `order` if there is one."""
    if sp.issparse(parts[0]):
        below = sp.csr_array(sp.vstack(parts, format="csr"))
        return below if order is None else below[order]
    if order is None:
        return np.concatenate(parts)
    # Written to their places: the rows are not held a third time.
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    found = np.empty((len(order), *parts[0].shape[1:]), np.result_type(*parts))
    for part, at in zip(
        parts, np.split(place, np.cumsum([len(p) for p in parts])[:-1]), strict=True
    ):
        found[at] = part
    return found
