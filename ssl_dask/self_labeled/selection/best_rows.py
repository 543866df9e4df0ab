"""Exactly the k most confident rows of each group of all blocks, from histograms alone.

The bin in which the k-th row lies is refined until the cut is one confidence; rows that share it
are taken by their number, the smallest first. Each step is one survey of the blocks, and none
brings more than 4,096 numbers a group to the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ssl_dask.array_types import Bool, Float64, Int32, Int64
from ssl_dask.kernels.arithmetic.radix_selection import (
    BINS,
    KEY_BITS,
    Cut,
    KeyRange,
    bin_keys,
    confidence_counts,
    confidence_keys,
    confidence_of_key,
    is_below,
    narrowed,
    range_histograms,
)
from ssl_dask.self_labeled.loop.round_method import Query, Selection

NONE, ALL = Cut(0, (0,)), Cut(2**KEY_BITS, (0,))


class BestCut(NamedTuple):
    """Where the best rows of a group end."""

    limit: int
    """Rows whose confidence has a smaller key (the surer, the smaller) are taken."""
    ties: int = 0
    """Rows whose key is `limit` are taken if their number is smaller than this."""

    @property
    def confidence(self) -> float | None:
        """The least confidence that is taken; None if no row is."""
        if self.limit == 0 == self.ties:
            return None
        key = self.limit if self.ties else self.limit - 1
        return confidence_of_key(np.uint64(key)) if key < ALL.limit - 1 else 0.0


@dataclass(frozen=True)
class _Search:
    """The search for the cut of one group: its confidences, then the rows of the last of them."""

    wanted: int
    keys: KeyRange | Cut
    rows: KeyRange | Cut = NONE

    @property
    def found(self) -> bool:
        return isinstance(self.keys, Cut) and isinstance(self.rows, Cut)

    @property
    def cut(self) -> BestCut:
        assert isinstance(self.keys, Cut)
        assert isinstance(self.rows, Cut)
        return BestCut(self.keys.limit, self.rows.limit)

    def refined(self, counts: Int64, n_rows: int) -> _Search:
        if self.found:
            return self
        if isinstance(self.rows, KeyRange):
            return replace(self, rows=narrowed(self.rows, counts, most=self.wanted))
        assert isinstance(self.keys, KeyRange)
        keys = narrowed(self.keys, counts, most=self.wanted)
        if isinstance(keys, Cut) and keys.totals[0] < self.wanted:
            return replace(self, keys=keys, rows=KeyRange(0, max(n_rows - 1, 0), keys.totals))
        return replace(self, keys=keys)


@dataclass(frozen=True)
class BestRows:
    """The cuts of all groups, as far as they are found: one search a group."""

    searches: tuple[_Search, ...]

    @classmethod
    def begin(cls, histogram: Int64, wanted: Sequence[int]) -> BestRows:
        """Begin with int64 (G, BINS) of `confidence_counts` over all blocks, and k of each group.

        Groups with no more rows than wanted are taken as a whole.
        """
        searches = []
        for counts, k in zip(histogram, wanted, strict=True):
            if k <= 0 or k >= int(counts.sum()):
                searches.append(_Search(k, NONE if k <= 0 else ALL))
                continue
            from_best = np.cumsum(counts[::-1])
            place = int(np.searchsorted(from_best, k))
            above = int(from_best[place - 1]) if place else 0
            searches.append(_Search(k, KeyRange(*bin_keys(BINS - 1 - place), (above,))))
        return cls(tuple(searches))

    @property
    def found(self) -> bool:
        """Whether all cuts are exact."""
        return all(one.found for one in self.searches)

    @property
    def cuts(self) -> tuple[BestCut, ...]:
        """Cut of each group; only if all are found."""
        return tuple(one.cut for one in self.searches)

    def survey(self, confidence: Float64, rows: Int64, group: Int32) -> Int64:
        """Return the counts of a block that the next step needs, int64 (G, BINS).

        Parameters
        ----------
        confidence, rows, group
            (n,): of the rows that may be taken, with their numbers; a group below 0 is left out.
        """
        keys, ones = confidence_keys(confidence), np.ones((len(rows), 1), dtype=np.int64)
        counts = range_histograms(keys, group, ones, [one.keys for one in self.searches])
        by_row = [isinstance(one.rows, KeyRange) for one in self.searches]
        if any(by_row):
            tied = [one.keys.limit if isinstance(one.keys, Cut) else 0 for one in self.searches]
            at = np.array([min(limit, 2**KEY_BITS - 1) for limit in tied], dtype=np.uint64)
            place = np.maximum(group, 0)
            alike = (group >= 0) & np.array(by_row)[place] & (keys == at[place])
            mine = np.where(alike, group, np.int32(-1)).astype(np.int32)
            ranges = [one.rows for one in self.searches]
            counts += range_histograms(rows.astype(np.uint64), mine, ones, ranges)
        return counts[:, :, 0]

    def refined(self, counts: Int64, n_rows: int) -> BestRows:
        """Go on with the summed counts of `survey`; `n_rows` is the number of all rows."""
        pairs = zip(self.searches, counts, strict=True)
        return BestRows(tuple(one.refined(of_group[:, None], n_rows) for one, of_group in pairs))


def taken(cuts: Sequence[BestCut], confidence: Float64, rows: Int64, group: Int32) -> Bool:
    """Return which rows of a block lie before the cut of their group, bool (n,)."""
    keys = confidence_keys(confidence)
    chosen = np.zeros(len(keys), dtype=np.bool_)
    for number, cut in enumerate(cuts):
        before = is_below(keys, cut.limit)
        if cut.ties:
            before |= (keys == np.uint64(cut.limit)) & (rows < cut.ties)
        chosen |= (group == number) & before
    return chosen


@dataclass(frozen=True)
class BestQuery(Query):
    """Asks where exactly the best rows of each group end."""

    best: BestRows


@dataclass(frozen=True)
class BestSurvey:
    """Counts of rows by group and confidence; those of blocks add up."""

    counts: Int64
    """int64 (G, 4096), as `confidence_counts` or `BestRows.survey` make them."""
    totals: Int64
    """int64: what else a method sums over blocks."""
    query: BestQuery | None
    """What asked for them; None in the first survey of a round."""
    alike: Any = None
    """What is the same in all blocks."""

    @classmethod
    def of_block(
        cls,
        query: Query | None,
        rows: tuple[Float64, Int64, Int32],
        n_groups: int,
        totals: Int64,
        alike: Any = None,
    ) -> BestSurvey:
        """Count a block's rows: their confidences, what breaks ties among them, and groups."""
        if isinstance(query, BestQuery):
            return cls(query.best.survey(*rows), totals, query, alike)
        confidence, _, group = rows
        return cls(confidence_counts(confidence, group, n_groups), totals, None, alike)

    def __add__(self, other: BestSurvey) -> BestSurvey:
        return replace(self, counts=self.counts + other.counts, totals=self.totals + other.totals)

    def best(self, wanted: Sequence[int], n_rows: int) -> BestRows:
        """Return the search after this survey; it takes `wanted` rows of each group."""
        if self.query is None:
            return BestRows.begin(self.counts, wanted)
        return self.query.best.refined(self.counts, n_rows)


@dataclass(frozen=True)
class BestSelection(Selection):
    """The rows of each group before its cut."""

    cuts: tuple[BestCut, ...] = ()
