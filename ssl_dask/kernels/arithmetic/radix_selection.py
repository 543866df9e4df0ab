"""Radix select over blocks: the rows with the smallest 64-bit keys, up to a bound on a total.

A pass counts the keys of a range in 4,096 bins of equal width. Histograms of blocks are added. The
bin in which the bound is reached is the next range, until the rows are exact: about log2(n) / 12 +
1 passes for n rows, for any blocks. Several groups of rows, such as classes, are searched in the
same passes. Confidences have keys that sort them from high to low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np

from ssl_dask.array_types import Bool, Float64, Int32, Int64, UInt64

BIN_BITS = 12
BINS = 2**BIN_BITS
"""Bins of a histogram: a power of two, so that their edges are exact."""
KEY_BITS = 64


class KeyRange(NamedTuple):
    """State of the selection of a group between two passes."""

    low: int
    high: int
    """The selection ends between these keys, both included."""
    below: tuple[int, ...]
    """Totals of the channels over all keys smaller than `low`."""

    @property
    def shift(self) -> int:
        """A bin holds 2**shift keys."""
        return max((self.high - self.low).bit_length() - BIN_BITS, 0)


class Cut(NamedTuple):
    """A finished selection."""

    limit: int
    """Rows with smaller keys are chosen: 0 to 2**64."""
    totals: tuple[int, ...]
    """Totals of the channels over the chosen rows."""


def all_keys(n_channels: int = 1) -> KeyRange:
    """Return the state before the first pass."""
    return KeyRange(0, 2**KEY_BITS - 1, (0,) * n_channels)


def range_histograms(
    keys: UInt64, groups: Int32, channels: Int64, ranges: Sequence[KeyRange | Cut]
) -> Int64:
    """Return the channel totals of each group by bin of its range, int64 (G, 4096, K).

    Parameters
    ----------
    keys
        uint64 (n,).
    groups
        int32 (n,): group of each row, -1 for none.
    channels
        int64 (n, K), K >= 1, values >= 0; the first channel counts rows: all ones.
    ranges
        One per group; keys below a range are skipped, and the histogram of a group that is cut is
        0. The last bins may count keys beyond the range.
    """
    open_ranges = [one if isinstance(one, KeyRange) else None for one in ranges]
    low = np.array([one.low if one else 0 for one in open_ranges], dtype=np.uint64)
    shift = np.array([one.shift if one else -1 for one in open_ranges], dtype=np.int64)
    histograms = np.zeros((len(ranges), BINS, channels.shape[1]), dtype=np.int64)
    _add_bins(keys, groups, channels, low, shift, histograms)
    return histograms


def narrowed(
    before: KeyRange, histogram: Int64, *, most: float, channel: int = 0
) -> KeyRange | Cut:
    """Return the next range, or the cut: the longest run of keys that does not exceed `most`.

    A cut whose total is below `most` may end before several rows of one key, its `limit`.

    Parameters
    ----------
    before
        Range of the pass.
    histogram
        int64 (4096, K) of the group, summed over all blocks.
    most
        Largest total of `channel` over the chosen rows.
    channel
        The channel that is bounded.
    """
    shift = before.shift
    over = before.below[channel] + np.cumsum(histogram[:, channel]) > most
    at = int(over.argmax()) if over.any() else BINS
    sums = histogram[:at].sum(axis=0).tolist()
    below = tuple(a + b for a, b in zip(before.below, sums, strict=True))
    if below[channel] == most:
        # After the last bin with a row: what is chosen, and no key beyond it.
        filled = np.flatnonzero(histogram[:at, 0])
        end = before.low + ((int(filled[-1]) + 1) << shift) if len(filled) else before.low
        return Cut(min(end, before.high + 1), below)
    if at == BINS:
        return Cut(before.high + 1, below)
    low = before.low + (at << shift)
    high = min(low + (1 << shift) - 1, before.high)
    if histogram[at, 0] == 1 or low == high:
        return Cut(low, below)
    return KeyRange(low, high, below)


def is_below(keys: UInt64, limit: int) -> Bool:
    """Return bool (n,): whether each key is smaller than `limit`, which may be 2**64."""
    if limit >= 2**KEY_BITS:
        return np.ones(len(keys), dtype=np.bool_)
    return keys < np.uint64(limit)


@numba.njit(nogil=True, cache=True)
def confidence_counts(confidence: Float64, group: Int32, n_groups: int) -> Int64:
    """Count the rows of each group in each bin, int64 (n_groups, BINS).

    Parameters
    ----------
    confidence
        float64 (n,), 0 to 1; bin b holds [b, b + 1) / BINS, and the last bin also 1.
    group
        int32 (n,); rows with a negative group are skipped.

    Examples
    --------
    >>> counts = confidence_counts(np.array([0.5, 0.5, 1.0]), np.zeros(3, dtype=np.int32), 1)
    >>> counts[0, [2048, 4095]].tolist()
    [2, 1]
    """
    counts = np.zeros((n_groups, BINS), dtype=np.int64)
    for i in range(len(confidence)):
        if group[i] >= 0:
            at = np.int64(confidence[i] * BINS)
            counts[group[i], at if at < BINS else BINS - 1] += 1
    return counts


def confidence_keys(confidence: Float64) -> UInt64:
    """Return keys uint64 (n,) that sort confidences >= 0, float64 (n,), from high to low."""
    return ~np.abs(confidence).view(np.uint64)


def confidence_of_key(key: np.uint64) -> float:
    """Return the confidence of a key of `confidence_keys`.

    >>> confidence_of_key(confidence_keys(np.array([0.75]))[0])
    0.75
    """
    return float(np.array([~np.uint64(key)]).view(np.float64)[0])


def bin_keys(at: int) -> tuple[int, int]:
    """Return the first and the last key of bin `at` of `confidence_counts`."""
    top = np.nextafter((at + 1) / BINS, 0.0) if at + 1 < BINS else np.inf
    first, last = confidence_keys(np.array([top, at / BINS]))
    return int(first), int(last)


@numba.njit(nogil=True, cache=True)
def _add_bins(keys: Any, groups: Any, channels: Any, low: Any, shift: Any, histograms: Any) -> None:
    for i in range(len(keys)):
        g = groups[i]
        if g < 0 or shift[g] < 0 or keys[i] < low[g]:
            continue
        at = (keys[i] - low[g]) >> np.uint64(shift[g])
        if at < np.uint64(BINS):
            for k in range(channels.shape[1]):
                histograms[g, np.int64(at), k] += channels[i, k]
