"""Two views of the same rows: how one is split into two, and what two say together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_dask.array_types import Float32, Floating, Int64
from ssl_dask.errors import JobSpecError
from ssl_dask.kernels.arithmetic.row_keys import row_keys

SPLIT = 301
"""Purpose of randomness: part of the key that splits the features of a single view."""
LEAST_PROBABILITY = 1e-6
"""What a view that rules a class out leaves to it, so that the other view is still heard."""


def split_columns(n_columns: int, random_state: int) -> tuple[Int64, Int64]:
    """Return two halves of the columns, int64 ascending, drawn at random.

    Raises
    ------
    JobSpecError
        There are fewer than two columns.
    """
    if n_columns < 2:
        raise JobSpecError(
            f"co-training needs two views, and {n_columns} feature cannot be split",
            hint="name two groups of features in method.view_names",
        )
    order = np.argsort(row_keys(np.arange(n_columns), random_state, SPLIT), kind="stable")
    half = (n_columns + 1) // 2
    return np.sort(order[:half]), np.sort(order[half:])


def joined_views(probabilities: Sequence[Floating]) -> Float32:
    """Return what views that are independent given the class say together, float32 (n, C).

    Parameters
    ----------
    probabilities
        (n, C) of each view. Their product, as in the paper, is taken to the root of their number:
        the same order of the classes, and no more sure than the views are.
    """
    logs: Any = 0.0
    for one in probabilities:
        logs = logs + np.log(np.maximum(one, LEAST_PROBABILITY, dtype=np.float64))
    logs = logs / len(probabilities)
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    total = np.zeros(len(shares))
    for column in shares.T:
        total += column
    return (shares / total[:, None]).astype(np.float32)
