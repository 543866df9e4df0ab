"""Histograms of confidences, which add up over blocks, and their refinement to an exact cut.

A block counts its confidences in 4,096 bins a class. To take exactly the k most confident rows of
all blocks, the bin in which the k-th lies is cut into 4,096 again, by the bits of the numbers,
until its rows are few or all alike. Counts are integers, so that their sums have no order.
"""

from __future__ import annotations

import numba
import numpy as np

from ssl_dask.array_types import Float64, Int32, Int64, UInt64

BINS = 4096
"""Of a histogram: a power of two, so that the edges of bins are exact numbers."""

BIN_BITS = 12


@numba.njit(nogil=True, cache=True)
def confidence_counts(confidence: Float64, group: Int32, n_groups: int) -> Int64:
    """Return how many rows of each group lie in each bin, int64 (n_groups, BINS).

    Parameters
    ----------
    confidence
        float64 (n,), 0 to 1; bin b holds [b, b + 1) / BINS, the last one 1 too.
    group
        int32 (n,); rows of a group below 0 are left out.
    """
    counts = np.zeros((n_groups, BINS), dtype=np.int64)
    for i in range(len(confidence)):
        if group[i] >= 0:
            at = np.int64(confidence[i] * BINS)
            counts[group[i], at if at < BINS else BINS - 1] += 1
    return counts


@numba.njit(nogil=True, cache=True)
def counts_of_keys(
    keys: UInt64,
    group: Int32,
    low: UInt64,
    shift: Int64,
) -> Int64:
    """Return how many keys of each group lie in each bin of 2**shift keys from `low` on.

    Parameters
    ----------
    keys
        uint64 (n,).
    group
        int32 (n,); keys of a group below 0 are left out.
    low, shift
        uint64 and int64 (n_groups,); a shift below 0: no keys of that group are counted.

    Returns
    -------
    int64 (n_groups, BINS).
    """
    counts = np.zeros((len(low), BINS), dtype=np.int64)
    for i in range(len(keys)):
        g = group[i]
        if g < 0 or shift[g] < 0 or keys[i] < low[g]:
            continue
        at = (keys[i] - low[g]) >> np.uint64(shift[g])
        if at < np.uint64(BINS):
            counts[g, np.int64(at)] += 1
    return counts


def confidence_keys(confidence: Float64) -> UInt64:
    """Return keys uint64 (n,) that order confidences from the highest to the lowest.

    Parameters
    ----------
    confidence
        float64 (n,), at least 0 (-0 included).
    """
    bits = np.abs(confidence).view(np.uint64)
    return ~bits


def confidence_of_key(key: np.uint64) -> float:
    """Return the confidence that has this key."""
    return float(np.array([~np.uint64(key)]).view(np.float64)[0])


def bin_keys(at: int) -> tuple[int, int]:
    """Return the first and the last key of the confidences in bin `at` of `confidence_counts`."""
    top = np.nextafter((at + 1) / BINS, 0.0) if at + 1 < BINS else np.inf
    first, last = confidence_keys(np.array([top, at / BINS]))
    return int(first), int(last)
