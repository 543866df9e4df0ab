"""Pseudo-random numbers that depend on a key and a row's tag, never on blocks (splitmix64)."""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np

from ssl_dask.array_types import Int64, UInt64


@unique
class Purpose(IntEnum):
    """What pseudo-random numbers are drawn for, a part of their key."""

    FIT_ROWS = 1
    """Rows that a fit takes of too many."""
    FOLD_POOL = 2
    """Rows that the tracks of folds see."""
    PIECES = 4
    """Mixes rows among the pieces of a fit."""
    COPIES = 5
    """Copies of a row by its weight."""
    VIEW_FOLDS = 31
    """Deals seeds to the inner folds of a view."""
    PAIR_CHOICE = 41
    """Seeds whose pairs weigh parts of a graph."""
    PAIR_CHANCE = 42
    """Permutations of their classes."""
    TRI_BOOTSTRAP = 101
    """Seeds of a learner of tri-training."""
    TRI_SAMPLE = 102
    """Rows of a learner of tri-training."""
    FOREST_BAG = 201
    """Seeds of a tree of co-forest."""
    FOREST_SAMPLE = 202
    """Rows of a tree of co-forest."""
    SPLIT_COLUMNS = 301
    """Splits the columns of a single view in two."""
    TIES = 302
    """Order of rows of which co-training is equally sure."""
    REVIEW = 401
    """Rows that are drawn for review."""
    ANCHOR_ROWS = 402
    """Rows that anchors are learned from."""
    SHARES = 403
    """Rows whose scores tell the shares of the classes."""
    BASELINE_SEEDS = 404
    """Seeds that a forest is fitted to, of too many."""


def row_keys(tags: Int64, *key: int) -> UInt64:
    """Return a pseudo-random uint64 for each row: splitmix64 of its tag and `key`.

    Parameters
    ----------
    tags
        int64 (n,): of the rows, which are their numbers where they have no ids.
    key
        One or more numbers >= 0; a change of any of them gives other values.

    Examples
    --------
    >>> keys = row_keys(np.arange(4), 0)
    >>> (row_keys(np.array([2, 3]), 0) == keys[2:]).all(), (row_keys(np.arange(4), 1) == keys).any()
    (np.True_, np.False_)
    """
    return splitmix64(np.uint64(_mixed(key)) ^ tags.astype(np.uint64))


def mixed_seed(*key: int) -> int:
    """Return 32 bits of a hash of `key`, a `random_state` for scikit-learn's estimators."""
    return int(_mixed(key) >> np.uint64(32))


def keys_below(share: float) -> np.uint64:
    """Return the key that a `share` of all keys, 0 < share <= 1, does not exceed."""
    return np.uint64(min(int(share * 2.0**64), 2**64) - 1)


def _mixed(key: tuple[int, ...]) -> np.uint64:
    mixed = splitmix64(np.array([key[0]], dtype=np.uint64))
    for number in key[1:]:
        mixed = splitmix64(mixed ^ np.array([number], dtype=np.uint64))
    return np.uint64(mixed[0])


def splitmix64(value: UInt64) -> UInt64:
    """Return the splitmix64 finaliser of each value, a bijection of uint64.

    References
    ----------
    G. Steele, D. Lea, C. Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    z = value + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
