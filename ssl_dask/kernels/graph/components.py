"""Connected components by union-find over row strips.

Each strip gives a forest over all rows: `parent[i]` <= i is a row of the same component. Forests
are merged pairwise. The final label of a row is the smallest row number of its component, for any
strips and any order of merging.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.kernels.arithmetic.sparse_rows import index_dtype


def strip_forest(strip: sp.csr_array, first_row: int) -> npt.NDArray[Any]:
    """Return the forest (N,) of the edges of a strip; int32, or int64 from 2**31 rows on.

    Parameters
    ----------
    strip
        csr_array (n, N): the rows `first_row`, `first_row + 1`, ... of a graph.

    Examples
    --------
    >>> strip_forest(sp.csr_array([[0, 0, 1, 0], [0, 0, 0, 0]]), first_row=0).tolist()
    [0, 1, 0, 3]
    """
    parent = np.arange(strip.shape[1], dtype=index_dtype(strip.shape[1]))
    _join_edges(parent, strip.indptr, strip.indices, first_row)
    _flatten(parent)
    return parent


def joined_forest(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Merge two forests (N,) into a new one."""
    parent = left.copy()
    _join_forest(parent, right)
    _flatten(parent)
    return parent


def component_sizes(labels: npt.NDArray[Any], n_largest: int) -> tuple[int, list[int], int]:
    """Return the number of components, the sizes of the largest, and the number of isolated rows.

    `labels` (N,) holds the smallest row number of each row's component.

    >>> component_sizes(np.array([0, 1, 0, 3]), n_largest=2)
    (3, [2, 1], 2)
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
    # Parents are never larger than their children, so one ascending pass reaches every root.
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]
