"""Radix select over blocks: the rows with the smallest 64-bit keys, up to a bound on a total.

A pass counts, for each value of the next 12 bits, the rows whose earlier bits equal the prefix of
the boundary. Histograms of blocks are added. The digit in which the bound is reached extends the
prefix, until it holds a single row: about log2(n) / 12 + 1 passes for n rows, exact for any blocks.
Several groups of rows, such as classes, are searched in the same passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np

from ssl_dask.array_types import Bool, Int32, Int64, UInt64

DIGIT_BITS = 12
N_DIGITS = 2**DIGIT_BITS
KEY_BITS = 64


class Boundary(NamedTuple):
    """State of the selection of a group between two passes.

    Parameters
    ----------
    level, prefix
        The boundary is a key whose first `level` digits are `prefix`.
    below
        Totals of the channels over all smaller keys.
    """

    level: int
    prefix: int
    below: tuple[int, ...]


class Cut(NamedTuple):
    """A finished selection.

    Parameters
    ----------
    limit
        Rows with smaller keys are chosen: 0 to 2**64.
    totals
        Totals of the channels over the chosen rows.
    """

    limit: int
    totals: tuple[int, ...]


def first_boundary(n_channels: int = 1) -> Boundary:
    """Return the state before the first pass."""
    return Boundary(0, 0, (0,) * n_channels)


def digit_histograms(
    keys: UInt64, groups: Int32, channels: Int64, boundaries: Sequence[Boundary | Cut]
) -> Int64:
    """Return the channel totals of each group by the next digit of the key, int64 (G, 4096, K).

    Parameters
    ----------
    keys
        uint64 (n,).
    groups
        int32 (n,): group of each row; rows with -1 are skipped.
    channels
        int64 (n, K), K >= 1, values >= 0; the first channel is 1 and counts rows.
    boundaries
        One a group. Rows with another prefix are skipped; a finished group is all 0.
    """
    levels = np.array([b.level if isinstance(b, Boundary) else -1 for b in boundaries])
    prefixes = [b.prefix if isinstance(b, Boundary) else 0 for b in boundaries]
    histograms = np.zeros((len(boundaries), N_DIGITS, channels.shape[1]), dtype=np.int64)
    _add_digits(keys, groups, channels, levels, np.array(prefixes, np.uint64), histograms)
    return histograms


def narrowed(
    boundary: Boundary, histogram: Int64, *, most: float, channel: int = 0
) -> Boundary | Cut:
    """Return the next boundary, or the cut: as many smallest keys as `most` allows.

    Parameters
    ----------
    boundary
        Of the pass.
    histogram
        int64 (4096, K): of the group, summed over all blocks.
    most
        Bound of the total of `channel` over the chosen rows.
    channel
        The channel that is bounded.

    Examples
    --------
    >>> keys = np.array([5, 1, 9, 3], dtype=np.uint64) << np.uint64(52)
    >>> start, ones = first_boundary(), np.ones((4, 1), dtype=np.int64)
    >>> histogram = digit_histograms(keys, np.zeros(4, dtype=np.int32), ones, [start])[0]
    >>> cut = narrowed(start, histogram, most=2)
    >>> is_below(keys, cut.limit).tolist()
    [False, True, False, True]
    """
    totals = np.cumsum(histogram, axis=0)
    over = boundary.below[channel] + totals[:, channel] > most
    width = min(DIGIT_BITS, KEY_BITS - DIGIT_BITS * boundary.level)
    shift = KEY_BITS - DIGIT_BITS * boundary.level - width
    if not over.any():
        return Cut((boundary.prefix + 1) << (shift + width), _added(boundary.below, totals[-1]))
    digit = int(over.argmax())
    below = _added(boundary.below, totals[digit] - histogram[digit])
    prefix = (boundary.prefix << width) + digit
    if histogram[digit, 0] == 1 or below[channel] == most or shift == 0:
        return Cut(prefix << shift, below)
    return Boundary(boundary.level + 1, prefix, below)


def is_below(keys: UInt64, limit: int) -> Bool:
    """Return bool (n,): the keys below `limit`, which may be 2**64."""
    if limit >= 2**KEY_BITS:
        return np.ones(len(keys), dtype=np.bool_)
    return keys < np.uint64(limit)


def _added(below: tuple[int, ...], more: Int64) -> tuple[int, ...]:
    return tuple(a + int(b) for a, b in zip(below, more, strict=True))


@numba.njit(nogil=True, cache=True)
def _add_digits(
    keys: Any, groups: Any, channels: Any, levels: Any, prefixes: Any, histograms: Any
) -> None:
    for i in range(len(keys)):
        g = groups[i]
        if g < 0 or levels[g] < 0:
            continue
        level = levels[g]
        left = KEY_BITS - DIGIT_BITS * level
        key = keys[i]
        # A shift by all 64 bits is undefined, so the first digit is not compared.
        if level > 0 and (key >> np.uint64(left)) != prefixes[g]:
            continue
        width = min(DIGIT_BITS, left)
        digit = (key >> np.uint64(left - width)) & np.uint64((1 << width) - 1)
        for k in range(channels.shape[1]):
            histograms[g, np.int64(digit), k] += channels[i, k]
