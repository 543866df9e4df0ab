"""The graph of a function of rows: its affinities, made symmetric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp

from ssl_dask.errors import GraphError
from ssl_dask.graph.block.block_graph import BlockGraph


def kernel_graph(kernel: Callable[[Any, Any], Any], X: Any) -> BlockGraph:
    """Return the graph with weight (k(x, y) + k(y, x)) / 2 between any two rows.

    Parameters
    ----------
    kernel
        Called with all rows twice; returns their affinities (N, N), dense or sparse, finite and
        >= 0. The diagonal is dropped.
    X
        (N, d), in this process.

    Raises
    ------
    GraphError
        X is a Dask array, or the affinities are not usable.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> kernel_graph(lambda A, B: A @ B.T, X).to_scipy().toarray()[1].tolist()
    [0.0, 0.0, 3.0]
    """
    if isinstance(X, da.Array):
        raise GraphError(
            "a kernel that is a function needs all rows at once, and X is a Dask array",
            hint="take kernel 'knn', or give X as an array of this process",
        )
    affinities = kernel(X, X)
    if np.shape(affinities) != (X.shape[0], X.shape[0]):
        raise GraphError(
            f"the kernel gave affinities of shape {np.shape(affinities)} for {X.shape[0]} rows",
            hint="kernel(X, Y) returns one row for each row of X, one column for each of Y",
        )
    W = sp.csr_array(affinities, dtype=np.float64)
    return BlockGraph.from_scipy((W + W.T) / 2)
