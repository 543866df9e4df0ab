"""Weights as numbers of copies, for models that take no weights."""

from __future__ import annotations

import numpy as np

from ssl_dask.array_types import Bool, Float32, Int64
from ssl_dask.kernels.arithmetic.row_keys import row_keys

COPIES_KEY = 5
"""Purpose of the pseudo-random numbers that copies are drawn by."""
MOST_COPIES = 10
"""Of the heaviest row, so that a light seed does not multiply all others."""


def weight_unit(least_given: float, heaviest: float) -> float:
    """Return the weight of a row that stands once.

    Parameters
    ----------
    least_given
        Smallest weight of a row that must not be lost; infinite if there is none.
    heaviest
        Largest weight of all rows.
    """
    return max(min(least_given, heaviest), heaviest / MOST_COPIES)


def copies_by_weight(
    rows: Int64,
    weights: Float32,
    given: Bool,
    unit: float,
    *key: int,
) -> Int64:
    """Return how often each row is taken, int64 (n,): weight / unit in the mean.

    The whole part of weight / unit, and once more with the rest as probability, by a pseudo-random
    number of the row: the same in any block, and a row that grows heavier stays taken.

    Parameters
    ----------
    rows
        int64 (n,): their numbers.
    weights
        float32 (n,), above 0.
    given
        bool (n,): rows that are taken once at least.
    unit
        See `weight_unit`.
    key
        What the numbers are drawn by.
    """
    share = weights.astype(np.float64) / unit
    whole = np.floor(share)
    chance = (row_keys(rows, COPIES_KEY, *key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    copies = whole.astype(np.int64) + (chance < share - whole)
    return np.where(given, np.maximum(copies, 1), copies)
