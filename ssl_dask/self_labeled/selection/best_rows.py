"""Exactly the k most confident rows of all blocks, from histograms alone.

The bin in which the k-th row lies is refined until the cut is one confidence; rows that share it
are taken by their number, the smallest first. Each step is one survey of the blocks, and none
brings more than 4,096 numbers a group to the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ssl_dask.kernels.arithmetic.confidence_histogram import (
    BIN_BITS,
    BINS,
    bin_keys,
    confidence_keys,
    confidence_of_key,
    counts_of_keys,
)

Counts = npt.NDArray[np.int64]

ALL_KEYS = 2**64 - 1


@dataclass(frozen=True)
class Cut:
    """Where the best rows of a group end.

    Parameters
    ----------
    key
        Rows whose confidence has a smaller key, see `confidence_keys`, are taken; -1: none is.
    last_row
        Rows with this key are taken up to this number; -1: none of them.
    """

    key: int
    last_row: int

    @property
    def confidence(self) -> float | None:
        """The least confidence that is taken; None if no row is."""
        if self.key < 0:
            return None
        return confidence_of_key(np.uint64(self.key)) if self.key < ALL_KEYS else 0.0


@dataclass(frozen=True)
class _Search:
    """The search for the cut of one group: keys low to high hold it, `wanted` rows of them."""

    low: int
    high: int
    wanted: int
    at_key: int | None = None
    """The confidence is found, and what is searched for is the row."""
    done: Cut | None = None

    @property
    def shift(self) -> int:
        span = self.high - self.low
        return max(span.bit_length() - BIN_BITS, 0)


@dataclass(frozen=True)
class BestRows:
    """The cuts of all groups, as far as they are found.

    Parameters
    ----------
    searches
        One a group.
    """

    searches: tuple[_Search, ...]

    @classmethod
    def begin(cls, histogram: Counts, wanted: Sequence[int]) -> BestRows:
        """Begin with int64 (G, BINS) of `confidence_counts` over all blocks, and k of each group.

        Groups with no more rows than wanted are taken as a whole.
        """
        searches = []
        for counts, k in zip(histogram, wanted, strict=True):
            total = int(counts.sum())
            if k <= 0:
                searches.append(_Search(0, 0, 0, done=Cut(-1, -1)))
            elif k >= total:
                searches.append(_Search(0, 0, 0, done=Cut(ALL_KEYS, -1)))
            else:
                from_best = np.cumsum(counts[::-1])
                place = int(np.searchsorted(from_best, k))
                above = int(from_best[place - 1]) if place else 0
                low, high = bin_keys(BINS - 1 - place)
                searches.append(_Search(low, high, k - above))
        return cls(tuple(searches))

    @property
    def found(self) -> bool:
        """Whether all cuts are exact."""
        return all(one.done is not None for one in self.searches)

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """Cut of each group."""
        return tuple(one.done for one in self.searches if one.done is not None)

    def survey(
        self,
        confidence: npt.NDArray[np.float64],
        rows: npt.NDArray[np.int64],
        group: npt.NDArray[np.int32],
    ) -> Counts:
        """Return the counts of a block that the next step needs, int64 (G, BINS).

        Parameters
        ----------
        confidence, rows, group
            (n,): of the rows that may be taken, with their numbers; a group below 0 is left out.
        """
        keys = confidence_keys(confidence)
        counts = np.zeros((len(self.searches), BINS), dtype=np.int64)
        for by_row in (False, True):
            mine = [
                one.done is None and (one.at_key is not None) == by_row for one in self.searches
            ]
            if not any(mine):
                continue
            low = np.array([one.low for one in self.searches], dtype=np.uint64)
            shift = np.array(
                [one.shift if on else -1 for one, on in zip(self.searches, mine, strict=True)],
                dtype=np.int64,
            )
            if by_row:
                ties = np.array([one.at_key or 0 for one in self.searches], dtype=np.uint64)
                alike = (group >= 0) & (keys == ties[np.maximum(group, 0)])
                tied = np.where(alike, group, np.int32(-1)).astype(np.int32)
                counts += counts_of_keys(rows.astype(np.uint64), tied, low, shift)
            else:
                counts += counts_of_keys(keys, group, low, shift)
        return counts

    def refined(self, counts: Counts, n_rows: int) -> BestRows:
        """Go on with the summed counts of `survey`; `n_rows` is the number of all rows."""
        return BestRows(
            tuple(
                one if one.done is not None else _next(one, of_group, n_rows)
                for one, of_group in zip(self.searches, counts, strict=True)
            )
        )


def taken(
    cuts: Sequence[Cut],
    confidence: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    group: npt.NDArray[np.int32],
) -> npt.NDArray[np.bool_]:
    """Return which rows of a block lie before the cut of their group, bool (n,)."""
    keys = confidence_keys(confidence)
    chosen = np.zeros(len(keys), dtype=np.bool_)
    for number, cut in enumerate(cuts):
        if cut.key < 0:
            continue
        mine = group == number
        if cut.key == ALL_KEYS and cut.last_row < 0:
            chosen |= mine
            continue
        key = np.uint64(cut.key)
        chosen |= mine & ((keys < key) | ((keys == key) & (rows <= cut.last_row)))
    return chosen


def _next(search: _Search, counts: Counts, n_rows: int) -> _Search:
    running = np.cumsum(counts)
    place = int(np.searchsorted(running, search.wanted))
    before = int(running[place - 1]) if place else 0
    inside, wanted = int(counts[place]), search.wanted - before
    low = search.low + (place << search.shift)
    high = min(low + (1 << search.shift) - 1, search.high)
    if search.at_key is not None:
        if inside == wanted:
            return replace(search, done=Cut(search.at_key, high))
        return replace(search, low=low, high=high, wanted=wanted)
    if inside == wanted:
        # All keys of the bin are taken: the cut lies after the last of them.
        return replace(search, done=Cut(high, n_rows))
    if low == high:
        return _Search(0, max(n_rows - 1, 0), wanted, at_key=low)
    return replace(search, low=low, high=high, wanted=wanted)
