"""Pseudo-random numbers of rows: of a key and the row's number, never of its place in a block."""

from __future__ import annotations

import numpy as np

from ssl_dask.array_types import Int64, UInt64


def row_keys(rows: Int64, *key: int) -> UInt64:
    """Return a pseudo-random uint64 for each row number: splitmix64 of row and `key`.

    Parameters
    ----------
    rows
        int64 (n,).
    key
        Numbers of at least 0, at least one; another number anywhere gives other values.
    """
    return _splitmix64(np.uint64(_mixed(key)) ^ rows.astype(np.uint64))


def mixed_seed(*key: int) -> int:
    """Return 32 bits of `key` for `random_state` of scikit-learn's estimators."""
    return int(_mixed(key) >> np.uint64(32))


def keys_below(share: float) -> np.uint64:
    """Return the largest key that a `share` of all keys, 0 < share <= 1, does not exceed."""
    return np.uint64(min(int(share * 2.0**64), 2**64) - 1)


def _mixed(key: tuple[int, ...]) -> np.uint64:
    mixed = _splitmix64(np.array([key[0]], dtype=np.uint64))
    for number in key[1:]:
        mixed = _splitmix64(mixed ^ np.array([number], dtype=np.uint64))
    return np.uint64(mixed[0])


def _splitmix64(value: UInt64) -> UInt64:
    """Return the finaliser of G. Steele, D. Lea, C. Flood, 2014, for each value (mod 2**64)."""
    z = value + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
