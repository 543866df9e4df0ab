"""Pairwise summation of dot products, the same bits for any partition of the rows.

The sum follows a fixed binary tree over row numbers. Leaves are `LEAF_ROWS` rows, added in order;
then pairs of leaves are added, pairs of pairs, and so on, with zeros after the last row. A part
reduces its rows to at most two nodes a level, and `joined_products` adds the nodes of all parts.
The error grows with the logarithm of the number of rows (N. Higham, Accuracy and Stability of
Numerical Algorithms, 2002, section 4.2).
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
    left: Floating, right: Floating, weights: Float64, first_row: int
) -> TreeSums:
    """Return the tree nodes of sum_i weights_i left_ik right_ik for a part of the rows.

    Parameters
    ----------
    left, right
        (n, K).
    weights
        float64 (n,).
    first_row
        Row number of the first row, a multiple of `LEAF_ROWS`.

    Raises
    ------
    ValueError
        `first_row` is no multiple of `LEAF_ROWS`.

    Examples
    --------
    >>> ones = np.ones((100, 1))
    >>> parts = [weighted_products(ones[a:b], ones[a:b], np.ones(b - a), a)
    ...          for a, b in ((0, 64), (64, 100))]
    >>> joined_products(parts, n_columns=1).tolist()
    [100.0]
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
    """Return the sums of all rows, float64 (K,), from the nodes of all parts."""
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
            # The smaller number is the left one; a missing node is zero.
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
