"""Sums of products over rows that have the same bits however the rows are cut into parts.

The sum over all rows is that of a fixed binary tree over row numbers: leaves of `LEAF_ROWS` rows,
each added up in order, then pairs of leaves, pairs of pairs, and so on; rows beyond the last are
zero. A part adds up what it holds of the tree, at most two nodes a level, and joining the nodes of
all parts finishes it. The error grows with the logarithm of the number of rows (Higham, Accuracy
and Stability of Numerical Algorithms, 2002, section 4.2).
"""

from __future__ import annotations

from collections.abc import Iterable

import numba
import numpy as np

from ssl_dask.array_types import Float64, Floating

LEAF_ROWS = 64
"""Parts must begin at multiples of this."""

TreeSums = dict[tuple[int, int], Float64]
"""(level, number of the node on its level) -> float64 sums of the rows below it."""


def weighted_products(
    left: Floating,
    right: Floating,
    weights: Float64,
    first_row: int,
) -> TreeSums:
    """Return sum_i weights_i left_ic right_ic of each column c, as far as these rows tell it.

    Parameters
    ----------
    left, right
        (n, K).
    weights
        float64 (n,).
    first_row
        Number of the first row among all, a multiple of `LEAF_ROWS`.
    """
    if first_row % LEAF_ROWS:
        raise ValueError(f"first_row is {first_row}; it must be a multiple of {LEAF_ROWS}")
    leaves = np.zeros((-(-len(weights) // LEAF_ROWS), left.shape[1]))
    _add_leaves(left, right, weights, leaves)
    sums: TreeSums = {}
    level, first = 0, first_row // LEAF_ROWS
    while len(leaves):
        if first % 2:
            sums[level, first] = leaves[0]
            leaves, first = leaves[1:], first + 1
        if len(leaves) % 2:
            sums[level, first + len(leaves) - 1] = leaves[-1]
            leaves = leaves[:-1]
        leaves, first, level = leaves[::2] + leaves[1::2], first // 2, level + 1
    return sums


def joined_products(parts: Iterable[TreeSums], n_columns: int) -> Float64:
    """Return the sums, float64 (K,), from the nodes of parts that together hold all rows."""
    nodes: TreeSums = {}
    for part in parts:
        nodes.update(part)
    level = 0
    while len(nodes) > 1:
        for number in sorted(number for height, number in nodes if height == level):
            if (level, number) not in nodes:
                continue
            pair = number ^ 1
            here = nodes.pop((level, number))
            # The smaller number is the left one; what is not there is zero.
            there = nodes.pop((level, pair), None)
            nodes[level + 1, number // 2] = here if there is None else here + there
        level += 1
    return next(iter(nodes.values()), np.zeros(n_columns))


@numba.njit(nogil=True, cache=True)
def _add_leaves(left, right, weights, leaves):  # type: ignore[no-untyped-def]
    for i in range(left.shape[0]):
        leaf = i // LEAF_ROWS
        for k in range(left.shape[1]):
            leaves[leaf, k] += weights[i] * (np.float64(left[i, k]) * np.float64(right[i, k]))
