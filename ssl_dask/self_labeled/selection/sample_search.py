"""The search for the random sample of rows that each learner of a committee may learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssl_dask.kernels.arithmetic.radix_selection import Boundary, Cut, narrowed
from ssl_dask.self_labeled.loop.round_method import Query, Selection
from ssl_dask.self_labeled.rows.block_rows import Ints


@dataclass(frozen=True)
class SampleQuery(Query):
    """Which rows each learner may learn from, and how far the search for them is.

    Parameters
    ----------
    track, round
        Parts of the key of randomness.
    errors
        Of the learners that label for each learner.
    most
        Most that the counts of a sample may add up to; 0: the learner keeps what it has.
    cuts
        Rows are in the sample of a learner if their random key is below its cut.
    channel
        Which of the counts `most` is about.
    """

    track: int
    round: int
    errors: tuple[float, ...]
    most: tuple[float, ...]
    cuts: tuple[Boundary | Cut, ...]
    channel: int = 0

    def narrowed(self, histograms: Ints) -> SampleQuery:
        """Return the query after a survey, int64 (L, 4096, channels)."""
        parts = zip(self.cuts, histograms, self.most, strict=True)
        cuts = tuple(
            cut
            if isinstance(cut, Cut)
            else narrowed(cut, histogram, most=most, channel=self.channel)
            for cut, histogram, most in parts
        )
        return replace(self, cuts=cuts)


@dataclass(frozen=True)
class SampleHistograms:
    """The answer of a block to a query; those of blocks add up."""

    query: SampleQuery
    histograms: Ints

    def __add__(self, other: SampleHistograms) -> SampleHistograms:
        return SampleHistograms(self.query, self.histograms + other.histograms)


@dataclass(frozen=True)
class SampleSelection(Selection):
    """Which learners are fitted anew, on which rows.

    Parameters
    ----------
    track
        Part of the key of randomness.
    limits
        For each learner: rows are taken if their random key is below it, 2**64 takes all. None: it
        keeps what it has.
    """

    track: int = 0
    limits: tuple[int | None, ...] = ()
