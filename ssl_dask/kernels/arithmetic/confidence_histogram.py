"""Histograms of confidences: exact selection of the k most confident rows over all blocks.

Each block counts its confidences in 4,096 bins a class, and counts of blocks are added. The bin of
the k-th row is divided into 4,096 bins again, by the bits of the float64, until it holds few or
equal values (radix select).
"""

from __future__ import annotations

import numba
import numpy as np

from ssl_dask.array_types import Float64, Int32, Int64, UInt64

BIN_BITS = 12
BINS = 2**BIN_BITS
"""Bins of a histogram: a power of two, so that their edges are exact."""


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


@numba.njit(nogil=True, cache=True)
def counts_of_keys(keys: UInt64, group: Int32, low: UInt64, shift: Int64) -> Int64:
    """Count the keys of each group in bins of 2**shift keys from `low` on, int64 (n_groups, BINS).

    Parameters
    ----------
    keys
        uint64 (n,).
    group
        int32 (n,); keys with a negative group are skipped.
    low, shift
        uint64 and int64 (n_groups,); groups with a negative shift are skipped.
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
