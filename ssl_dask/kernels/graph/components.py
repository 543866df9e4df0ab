"""Connected components of a graph that comes as strips of rows.

Each strip gives a forest over all rows: `parent[i]` is a row of the same component with a number
that is not larger. Forests are joined pairwise. The final label of a row is the smallest row
number of its component, whatever the strips were and in whatever order they were joined.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.kernels.arithmetic.sparse_rows import index_dtype


def strip_forest(strip: sp.csr_array, first_row: int) -> npt.NDArray[Any]:
    """Return the forest of the edges of rows `first_row`, `first_row + 1`, ... of a graph.

    Parameters
    ----------
    strip
        csr_array (n, N); columns are row numbers of the graph.

    Returns
    -------
    int32 (int64 from 2**31 rows on) array (N,): smallest row number known to be connected.
    """
    parent = np.arange(strip.shape[1], dtype=index_dtype(strip.shape[1]))
    _join_edges(parent, strip.indptr, strip.indices, first_row)
    _flatten(parent)
    return parent


def joined_forest(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the forest (N,) of the edges of both forests; takes 4 N bytes more."""
    parent = left.copy()
    _join_forest(parent, right)
    _flatten(parent)
    return parent


def component_sizes(labels: npt.NDArray[Any], n_largest: int) -> tuple[int, list[int], int]:
    """Return the number of components, the sizes of the largest, and the number of single rows.

    Parameters
    ----------
    labels
        Integer array (N,): smallest row number of each row's component.
    """
    sizes = np.bincount(labels, minlength=len(labels))
    sizes = np.sort(sizes[sizes > 0])[::-1]
    return len(sizes), sizes[:n_largest].tolist(), int(np.count_nonzero(sizes == 1))


@numba.njit(nogil=True, cache=True)
def _root(parent: Any, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(nogil=True, cache=True)
def _join_edges(parent: Any, indptr: Any, indices: Any, first_row: int) -> None:
    for i in range(len(indptr) - 1):
        a = _root(parent, first_row + i)
        for p in range(indptr[i], indptr[i + 1]):
            b = _root(parent, indices[p])
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b
                a = b


@numba.njit(nogil=True, cache=True)
def _join_forest(parent: Any, other: Any) -> None:
    for i in range(len(other)):
        if other[i] != i:
            a = _root(parent, i)
            b = _root(parent, other[i])
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b


@numba.njit(nogil=True, cache=True)
def _flatten(parent: Any) -> None:
    # Parents are never larger than their children, so one pass upwards reaches every root.
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]
