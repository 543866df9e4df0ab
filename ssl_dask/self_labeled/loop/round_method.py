"""The interface between a method of self-labelling and the loop of rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssl_dask.array_types import Float32, Int32, Int64
from ssl_dask.labels import UNLABELLED
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, FitRows, Piece, RoundCounts


@dataclass
class TrackState:
    """State of one track on the client: of all seeds, or of those that one fold leaves."""

    track: int
    """0 for all seeds, f + 1 for those outside fold f."""
    n_rows: int
    n_total: int
    """Rows of the track, and of the data: folds may see a sample of the unlabelled rows."""
    class_seeds: Int64
    """int64 (C,): seeds of each class that the track sees."""
    n_tags: int
    """Tags of rows are smaller than this."""
    round: int = 0
    """The round that is under way, from 1."""
    counts: RoundCounts | None = None
    """After the last round; None before the first."""
    temperature: float = 1.0
    """At which the models that score are as sure as they are right about hidden seeds, but those of
    the track's own fold; 1 without any."""
    memory: dict[str, Any] = field(default_factory=dict)
    """JSON types that the method keeps from round to round."""

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
    """Ends the surveys of a round; a method adds by what rows are chosen."""

    round: int
    """Number of the round."""
    thresholds: tuple[float | None, ...] = ()
    """For the record, by class: the least confidence that is taken, None if no row is; empty where
    confidences do not choose."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """For the record: numbers and words by name."""


class RoundMethod(ABC):
    """A method of self-labelling: fit, score, survey, select, assign.

    Everything but `select` runs in tasks on workers; an object is sent there once, and must be
    picklable. What a row gets may depend on its own values, on sums that have no order, and on
    randomness of (key, tag), never on the block it lies in.

    Attributes
    ----------
    n_classes
        C.
    n_learners
        Models of a round.
    own_labels
        Whether each learner has labels of its own, a column of an assignment each; else all share
        one.
    rescores
        Whether labels may be taken back: the rounds then do not end when all rows have one.
    compares_learners
        Whether `findings` is asked, with `opinions` of the hidden seeds, before the first round.
    shares_rows
        Learners are fitted on the same features, each on what its own column labels: the rows of a
        block are taken once for all of them.
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
    weighs_anew
        `fit` gives the labels other weights than the assignment.
    """

    n_classes: int
    n_learners: int = 1
    own_labels: bool = False
    rescores: bool = False
    compares_learners: bool = False
    shares_rows: bool = False
    sums: bool = False
    soft: bool = False
    leeway: float = 0.0
    weighs_anew: bool = False

    def begin(
        self, block: BlockRows, positions: Int64, codes: Int32, weights: Float32
    ) -> Assignment:
        """Return the assignment of a block before the first round: its seeds alone."""
        n_columns = self.n_learners if self.own_labels else 1
        return Assignment.of_seeds(block.n_rows, positions, codes, weights, n_columns)

    def column_of(self, learner: int) -> int:
        """Return which column of an assignment holds the labels of a learner."""
        return learner if self.own_labels else 0

    def labelled(self, learner: int, block: BlockRows, assignment: Assignment) -> Any:
        """Return the rows of a block that a learner is fitted on; a method of `sums`, its sums."""
        return self.piece(learner, block, assignment, self.labelled_at(learner, block, assignment))

    def labelled_at(self, learner: int, block: BlockRows, assignment: Assignment) -> Int64:
        """Return where the rows stand that a learner is fitted on: those with label and weight."""
        column = self.column_of(learner)
        codes, weights = assignment.codes[:, column], assignment.weights[:, column]
        return np.flatnonzero((codes != UNLABELLED) & (weights > 0.0))

    def piece(self, learner: int, block: BlockRows, assignment: Assignment, at: Int64) -> Piece:
        """Return labelled rows of a block, those at these positions."""
        column = self.column_of(learner)
        return Piece(
            block.tags[at],
            self.features(learner, block, at),
            assignment.codes[at, column],
            assignment.weights[at, column],
            assignment.is_seed[at],
        )

    def features(self, learner: int, block: BlockRows, at: Int64) -> Any:
        """Return what `fit` gets as the features of the rows at these positions of a block."""
        return block.only[at]

    def made_by(self, learner: int) -> Learner | None:
        """Return what makes the models of a learner; None: not one of `learners`."""
        return None

    def fit_key(self, learner: int, key: tuple[int, ...]) -> tuple[int, ...]:
        """Return the key of a learner's randomness; without the round the same rows give the same
        model in every round."""
        return (*key[:2], learner)

    def fit(self, learner: int, pieces: Sequence[Any], key: tuple[int, ...]) -> Any:
        """Return a model fitted on the pieces of all blocks; one BLAS thread.

        `key` is (random_state, track, round, learner): all randomness comes from it.
        """
        made = self.made_by(learner)
        assert made is not None
        return made.fit(pieces, self.n_classes, self.fit_key(learner, key))

    def fit_more(
        self,
        learner: int,
        before: Any,
        pieces: Sequence[Piece],
        whole: FitRows,
        key: tuple[int, ...],
    ) -> Any:
        """Return a model that has learned from one more piece; only where `made_by` can."""
        made = self.made_by(learner)
        assert made is not None
        return made.fit_more(before, pieces, whole, self.fit_key(learner, key))

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
        """Return the labels of a block after the round, and what has changed."""

    @abstractmethod
    def distributions(self, models: Sequence[Any], block: BlockRows) -> Float32:
        """Return class distributions float32 (n, C) of a block by the models of a round."""

    def prepared(self, state: TrackState) -> RoundMethod:
        """Return what scores the rows of a track in this round; on the client."""
        return self

    def opinions(self, models: Sequence[Any], block: BlockRows) -> Int32:
        """Return the class that each learner names, int32 (n, L); where `compares_learners`."""
        raise NotImplementedError(f"{type(self).__name__} does not compare its learners")

    def findings(self, opinions: Int32, truth: Int32) -> tuple[str, ...]:
        """Return what a person should know of the learners, a sentence each.

        `opinions` (S, L) are those of models that have not seen the seeds, `truth` (S,) the codes.
        """
        return ()

    def stop(self, state: TrackState) -> str | None:
        """Return why the rounds end, or None; asked after each round of the first track."""
        return None
