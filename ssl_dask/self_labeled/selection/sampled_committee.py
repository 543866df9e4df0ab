"""Committees whose members are fitted anew on random samples of rows that the others label."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ssl_dask.array_types import Bool, Float32, Int32, Int64, UInt64
from ssl_dask.kernels.arithmetic.radix_selection import (
    Cut,
    KeyRange,
    is_below,
    narrowed,
    range_histograms,
)
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys
from ssl_dask.labels import UNLABELLED
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection
from ssl_dask.self_labeled.rows.block_rows import Assignment, RoundCounts


@dataclass(frozen=True)
class SampleQuery(Query):
    """Which rows each learner may learn from, and how far the search for them is."""

    track: int
    round: int
    """Parts of the key of randomness."""
    errors: tuple[float, ...]
    """Of the learners that label for each learner."""
    most: tuple[float, ...]
    """Most that the counts of a sample may add up to; 0: the learner keeps what it has."""
    cuts: tuple[KeyRange | Cut, ...]
    """Rows are in the sample of a learner if their random key is below its cut."""
    channel: int = 0
    """Which of the counts `most` is about."""

    def narrowed(self, histograms: Int64) -> SampleQuery:
        """Return the query after a survey, int64 (L, 4096, channels)."""
        parts = zip(self.cuts, histograms, self.most, strict=True)
        cuts = tuple(
            cut
            if isinstance(cut, Cut)
            else narrowed(cut, histogram, most=most, channel=self.channel)
            for cut, histogram, most in parts
        )
        return replace(self, cuts=cuts)

    @property
    def found(self) -> tuple[Cut, ...] | None:
        """The cuts; None while one is still searched for."""
        cuts = tuple(cut for cut in self.cuts if isinstance(cut, Cut))
        return cuts if len(cuts) == len(self.cuts) else None


@dataclass(frozen=True)
class SampleHistograms:
    """The answer of a block to a query; those of blocks add up."""

    query: SampleQuery
    histograms: Int64

    def __add__(self, other: SampleHistograms) -> SampleHistograms:
        return SampleHistograms(self.query, self.histograms + other.histograms)


@dataclass(frozen=True)
class SampleSelection(Selection):
    """Which learners are fitted anew, on which rows."""

    track: int = 0
    """Part of the key of randomness."""
    limits: tuple[int | None, ...] = ()
    """For each learner: rows are taken if their random key is below it, 2**64 takes all. None: it
    keeps what it has."""


class SampledCommittee(RoundMethod):
    """Learners of the same features, each of which learns from a sample of what others label.

    Scores have the `tags` of rows, int64 (n,). Rows of a learner are chosen anew whenever it is
    fitted anew.
    """

    rescores = True
    own_labels = True
    shares_rows = True
    purpose: ClassVar[Purpose]
    """Of the random keys by which samples are drawn."""

    random_state: int

    @abstractmethod
    def errors(self, scores: Any, assignment: Assignment) -> Any:
        """Return how the others of each learner err on the seeds of a block; blocks add up."""

    @abstractmethod
    def counted(self, scores: Any, learner: int) -> tuple[Bool, Int64]:
        """Return bool (n,), the rows that a sample is drawn of, and int64 (n, K): their counts."""

    @abstractmethod
    def taught(self, scores: Any, learner: int) -> tuple[Bool, Int32, Float32]:
        """Return bool, int32 and float32 (n,): rows that the others may label, classes, weights."""

    def survey(
        self, scores: Any, assignment: Assignment, query: Query | None
    ) -> Any | SampleHistograms:
        """Count the errors of the others, or search for the sample of each learner."""
        if not isinstance(query, SampleQuery):
            return self.errors(scores, assignment)
        histograms = []
        for learner, cut in enumerate(query.cuts):
            rows, counts = self.counted(scores, learner)
            group = np.where(rows & ~assignment.is_seed, 0, -1).astype(np.int32)
            keys = self._keys(scores.tags, query.track, query.round, learner)
            histograms.append(range_histograms(keys, group, counts, [cut]))
        return SampleHistograms(query, np.concatenate(histograms))

    def assign(
        self, scores: Any, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Give each learner that is fitted anew the rows of its sample that the others label."""
        assert isinstance(selection, SampleSelection)
        codes, weights = assignment.codes.copy(), assignment.weights.copy()
        for learner, limit in enumerate(selection.limits):
            if limit is None:
                continue
            rows, named, heavy = self.taught(scores, learner)
            keys = self._keys(scores.tags, selection.track, selection.round, learner)
            codes[:, learner] = np.where(rows & is_below(keys, limit), named, UNLABELLED)
            weights[:, learner] = heavy
        return assignment.relabelled(codes, weights, selection.round, self.n_classes)

    def _keys(self, tags: Int64, track: int, round_number: int, learner: int) -> UInt64:
        return row_keys(tags, self.random_state, track, self.purpose, round_number, learner)
