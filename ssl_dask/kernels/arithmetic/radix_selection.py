"""The rows with the smallest keys, up to a total, found from histograms that blocks can add up.

Each row has a 64-bit key. A pass counts, for each value of the next 12 bits, the rows whose earlier
bits are those of the boundary. The digit in which the total is reached is the next boundary, until
it holds a single row: for n rows about log2(n) / 12 + 1 passes, exact whatever the blocks. Several
groups of rows, such as the classes, are searched in the same passes.
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
    """Where the selection of a group stands between two passes.

    Parameters
    ----------
    level, prefix
        The boundary lies among the keys whose first `level` digits are `prefix`.
    below
        Totals of the channels over all keys before those.
    """

    level: int
    prefix: int
    below: tuple[int, ...]


class Cut(NamedTuple):
    """A finished selection.

    Parameters
    ----------
    limit
        Rows with a key below it are chosen: 0 to 2**64.
    totals
        Totals of the channels over the chosen rows.
    """

    limit: int
    totals: tuple[int, ...]


def first_boundary(n_channels: int = 1) -> Boundary:
    """Return the boundary before the first pass."""
    return Boundary(0, 0, (0,) * n_channels)


def digit_histograms(
    keys: UInt64,
    groups: Int32,
    channels: Int64,
    boundaries: Sequence[Boundary | Cut],
) -> Int64:
    """Return the totals of each group for each value of its next digit, int64 (G, 4096, K).

    Parameters
    ----------
    keys
        uint64 (n,).
    groups
        int32 (n,): group of each row, -1 for none.
    channels
        int64 (n, K), K at least 1, at least 0; the first counts rows: 1 each.
    boundaries
        One for each group; rows outside it are left out, and a group that is cut is all 0.
    """
    levels = np.array([b.level if isinstance(b, Boundary) else -1 for b in boundaries])
    prefixes = [b.prefix if isinstance(b, Boundary) else 0 for b in boundaries]
    histograms = np.zeros((len(boundaries), N_DIGITS, channels.shape[1]), dtype=np.int64)
    _add_digits(keys, groups, channels, levels, np.array(prefixes, np.uint64), histograms)
    return histograms


def narrowed(
    boundary: Boundary, histogram: Int64, *, most: float, channel: int = 0
) -> Boundary | Cut:
    """Return the next boundary, or the cut: the longest run of keys that does not exceed `most`.

    Parameters
    ----------
    boundary
        That of the pass.
    histogram
        int64 (4096, K): that of the group, added up over all blocks.
    most
        Largest total of `channel` over the chosen rows.
    channel
        Which total is bounded.
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
