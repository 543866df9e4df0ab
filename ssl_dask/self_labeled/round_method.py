"""What a method of self-labelling tells the loop of rounds, and what both pass to each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.labels import UNLABELLED

Ints = npt.NDArray[np.int64]
Distributions = npt.NDArray[np.float32]

GIVEN, NEVER = 0, -1
"""Values of `Assignment.since` for seeds and for rows without a label."""


@dataclass(frozen=True)
class BlockRows:
    """The rows of one block, as a task on a worker sees them.

    Parameters
    ----------
    rows
        int64 (n,), ascending: their numbers.
    views
        By name: features (n, d), dense float32 or float64, or CSR.
    present
        By name of a view that rows may lack: bool (n,), the rows that have it.
    place
        Place of the first row in the fixed batches of `kernels/aligned_batches.py`.
    """

    rows: Ints
    views: Mapping[str, Any]
    present: Mapping[str, npt.NDArray[np.bool_]]
    place: int

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.rows)

    @property
    def only(self) -> Any:
        """Features of the single view there is."""
        (view,) = self.views.values()
        return view

    def take(self, positions: Ints) -> BlockRows:
        """Return some of the rows, in the order of their positions."""
        return BlockRows(
            self.rows[positions],
            {name: view[positions] for name, view in self.views.items()},
            {name: has[positions] for name, has in self.present.items()},
            self.place,
        )


@dataclass(frozen=True)
class Assignment:
    """What the rows of a block are labelled, by L learners (1: all learners share one).

    Parameters
    ----------
    codes
        int32 (n, L): class, -1 without one.
    weights
        float32 (n, L): weight in a fit; of seeds their own.
    since
        int32 (n, L): the round in which the row got this label; `GIVEN` for seeds, `NEVER` for
        rows without a label.
    extra
        float32 (n, K): what a method keeps beside; K = 0 for most.
    """

    codes: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    since: npt.NDArray[np.int32]
    extra: npt.NDArray[np.float32]

    @classmethod
    def of_seeds(
        cls,
        n_rows: int,
        positions: Ints,
        codes: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
        n_columns: int = 1,
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

    @property
    def is_seed(self) -> npt.NDArray[np.bool_]:
        """Which rows were labelled from the start, bool (n,)."""
        return self.since[:, 0] == GIVEN

    def relabelled(
        self,
        codes: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
        round_number: int,
        n_classes: int,
        extra: npt.NDArray[np.float32] | None = None,
    ) -> tuple[Assignment, RoundCounts]:
        """Return the block with new pseudo-labels, and what has changed; seeds keep theirs.

        Parameters
        ----------
        codes, weights
            (n, L): labels of all rows from now on, -1 for none. What stands at seeds is of no
            account.
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


def labelled_rows(assignment: Assignment, column: int) -> Ints:
    """Return the positions of the rows that have a label and weight by one learner, ascending."""
    there = (assignment.codes[:, column] != UNLABELLED) & (assignment.weights[:, column] > 0.0)
    return np.flatnonzero(there)


@dataclass(frozen=True)
class RoundCounts:
    """What a round did to the labels of the rows; those of blocks are added up.

    Parameters
    ----------
    labelled
        int64 (C,): rows that got a label of this class in this round, over all learners.
    taken_back
        int64 (C,): rows that had a label of this class and have it no more.
    changed
        Labels that are new, gone, or of another class.
    total
        int64 (L, C): labels there are now, seeds included.
    unlabelled
        Rows without any label.
    rows
        Rows in all.
    """

    labelled: Ints
    taken_back: Ints
    changed: int
    total: Ints
    unlabelled: int
    rows: int

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
            len(after.codes),
        )

    def labels_of(self, learner: int) -> int:
        """Return how many labels a learner has; learners that share theirs have the same."""
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

    def __add__(self, other: RoundCounts) -> RoundCounts:
        return RoundCounts(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )


@dataclass(frozen=True)
class Piece:
    """Rows of one block that a learner is fitted on.

    Parameters
    ----------
    rows
        int64 (m,): their numbers.
    X
        Features (m, d), dense or CSR; or a mapping of them by view.
    codes
        int32 (m,).
    weights
        float32 (m,).
    given
        bool (m,): the seeds among them.
    """

    rows: Ints
    X: Any
    codes: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    given: npt.NDArray[np.bool_]

    def take(self, keep: npt.NDArray[np.bool_]) -> Piece:
        """Return the rows of which `keep`, bool (m,), is true."""
        if keep.all():
            return self
        X = (
            {name: view[keep] for name, view in self.X.items()}
            if isinstance(self.X, Mapping)
            else self.X[keep]
        )
        return Piece(self.rows[keep], X, self.codes[keep], self.weights[keep], self.given[keep])


@dataclass
class TrackState:
    """What the client knows of one track: all seeds, or those that one fold leaves.

    Parameters
    ----------
    track
        0 for all seeds, f + 1 for those outside fold f.
    n_rows, n_total
        Rows of the track, and of the data: folds may see a sample of the unlabelled rows.
    class_seeds
        int64 (C,): seeds of each class that the track sees.
    round
        The round that is under way, from 1.
    counts
        After the last round; None before the first.
    temperature
        At which the models that score are as sure as they are right about hidden seeds, but those
        of the track's own fold; 1 without any.
    memory
        JSON types that the method keeps from round to round.
    """

    track: int
    n_rows: int
    n_total: int
    class_seeds: Ints
    round: int = 0
    counts: RoundCounts | None = None
    temperature: float = 1.0
    memory: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return what changes from round to round, in JSON types."""
        counts = None if self.counts is None else self.counts.as_dict()
        return {
            "round": self.round,
            "counts": counts,
            "temperature": self.temperature,
            "memory": self.memory,
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go back to what `as_dict` returned."""
        self.round, self.memory = stored["round"], dict(stored["memory"])
        self.temperature = stored["temperature"]
        counts = stored["counts"]
        self.counts = None if counts is None else RoundCounts.from_dict(counts)

    @property
    def share(self) -> float:
        """Share of the data's rows that the track sees."""
        return self.n_rows / self.n_total

    @property
    def n_unlabelled(self) -> int:
        """Rows of the track that are no seeds."""
        return self.n_rows - int(self.class_seeds.sum())


@dataclass(frozen=True)
class Query:
    """Asks for another survey of the scores; a method adds what it wants to know."""


@dataclass(frozen=True)
class Selection:
    """Ends the surveys of a round; a method adds by what rows are chosen.

    Parameters
    ----------
    round
        Number of the round.
    thresholds
        For the record, by class: the least confidence that is taken, None if no row is; empty where
        confidences do not choose.
    notes
        For the record: numbers and words by name.
    """

    round: int
    thresholds: tuple[float | None, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


class RoundMethod(ABC):
    """A method of self-labelling: fit, score, survey, select, assign.

    Everything but `select` runs in tasks on workers; an object is sent there once, and must be
    picklable. What a row gets may depend on its own values, on sums that have no order, and on
    randomness of (key, row number), never on the block it lies in.

    Attributes
    ----------
    n_classes
        C.
    n_learners
        Models of a round.
    n_columns
        Columns L of an assignment: 1 where the learners share their labels.
    rescores
        Whether labels may be taken back: the rounds then do not end when all rows have one.
    compares_learners
        Whether `findings` is asked, with `opinions` of the hidden seeds, before the first round.
    shares_rows
        Learners are fitted on the same features, each on what its own column labels: the rows of a
        block are taken once for all of them, and `labelled` is not asked.
    sums
        `labelled` returns no rows but sums, which are added up with `+` in any order on workers;
        `fit` gets one of all blocks, and no limit of rows applies.
    soft
        Labels are shares of classes, in `Assignment.extra`: models change although no row has
        another class, so the rounds do not end by that.
    leeway
        A later round answers instead of that of least hidden loss where it loses more by at most so
        many standard errors, less than the baseline, and names as many hidden seeds right; 0: it
        does not.
    """

    n_classes: int
    n_learners: int = 1
    n_columns: int = 1
    rescores: bool = False
    compares_learners: bool = False
    shares_rows: bool = False
    sums: bool = False
    soft: bool = False
    leeway: float = 0.0

    def begin(
        self,
        block: BlockRows,
        positions: Ints,
        codes: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
    ) -> Assignment:
        """Return the assignment of a block before the first round: its seeds alone."""
        return Assignment.of_seeds(block.n_rows, positions, codes, weights, self.n_columns)

    def labelled(self, learner: int, block: BlockRows, assignment: Assignment) -> Piece:
        """Return the rows of a block that a learner is fitted on: those with a label and weight."""
        column = learner if self.n_columns > 1 else 0
        at = labelled_rows(assignment, column)
        return Piece(
            block.rows[at],
            self.features(learner, block, at),
            assignment.codes[at, column],
            assignment.weights[at, column],
            assignment.is_seed[at],
        )

    def features(self, learner: int, block: BlockRows, at: Ints) -> Any:
        """Return what `fit` gets as the features of the rows at these positions of a block."""
        return block.only[at]

    @abstractmethod
    def fit(self, learner: int, pieces: Sequence[Piece], key: tuple[int, ...]) -> Any:
        """Return a model fitted on the pieces of all blocks, in row order; one BLAS thread.

        `key` is (random_state, track, round, learner): all randomness comes from it.
        """

    @abstractmethod
    def score(self, models: Sequence[Any], block: BlockRows, assignment: Assignment) -> Any:
        """Return what the models say of a block; it stays on the worker."""

    @abstractmethod
    def survey(self, scores: Any, assignment: Assignment, query: Query | None) -> Any:
        """Return what the client must know of a block: small, and added up with `+`.

        `query` is None in the first survey of a round.
        """

    @abstractmethod
    def select(self, survey: Any, state: TrackState) -> Query | Selection:
        """Return how rows are chosen, or what must be known for that; on the client."""

    @abstractmethod
    def assign(
        self, scores: Any, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Return the labels of a block after the round, see `Assignment.relabelled`."""

    @abstractmethod
    def distributions(self, models: Sequence[Any], block: BlockRows) -> Distributions:
        """Return class distributions float32 (n, C) of a block by the models of a round."""

    def prepared(self, state: TrackState) -> RoundMethod:
        """Return what scores the rows of a track in this round; on the client."""
        return self

    def opinions(self, models: Sequence[Any], block: BlockRows) -> npt.NDArray[np.int32]:
        """Return the class that each learner names, int32 (n, L); where `compares_learners`."""
        raise NotImplementedError(f"{type(self).__name__} does not compare its learners")

    def findings(
        self, opinions: npt.NDArray[np.int32], truth: npt.NDArray[np.int32]
    ) -> tuple[str, ...]:
        """Return what a person should know of the learners, a sentence each.

        `opinions` (S, L) are those of models that have not seen the seeds, `truth` (S,) the codes.
        """
        return ()

    def stop(self, state: TrackState) -> str | None:
        """Return why the rounds end, or None; asked after each round of the first track."""
        return None
