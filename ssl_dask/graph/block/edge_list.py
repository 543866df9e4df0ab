"""Weights or edges of this process -> a symmetric weight matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.errors import GraphError
from ssl_dask.kernels.arithmetic.sparse_rows import as_strip, largest_asymmetry
from ssl_dask.kernels.graph.coo_strips import COMBINE, Entries, both_ways, summed_strip

ROUNDING = 1e-6
"""Relative difference of w_ij and w_ji that is taken for rounding, not for a directed graph."""
_ID_KINDS = {"u": "i"}


def symmetric_matrix(W: Any) -> tuple[sp.csr_array, dict[str, Any]]:
    """Return the weights (N, N) of `BlockGraph.from_scipy`, without self-edges, and its settings.

    Raises GraphError as that does.
    """
    matrix = _checked_weights(W)
    n_loops = int(np.count_nonzero(matrix.diagonal()))
    matrix = as_strip(matrix - sp.diags_array(matrix.diagonal(), format="csr"))
    asymmetry = largest_asymmetry(matrix)
    if asymmetry > ROUNDING:
        raise GraphError(
            f"W is not symmetric: w_ij and w_ji differ by up to {asymmetry:.2g} of the larger",
            hint="give (W + W.T) / 2, or W.maximum(W.T)",
        )
    if asymmetry > 0:
        matrix = as_strip((matrix + matrix.T) * np.float32(0.5))
    settings = {
        "kind": "given",
        "self_edges_removed": n_loops,
        "rounded_to_symmetric": asymmetry > 0,
    }
    return matrix, settings


def symmetric_matrix_from_edges(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    n_rows: int | None = None,
    ids: npt.ArrayLike | None = None,
    duplicates: str = "sum",
    directed: bool = False,
) -> tuple[sp.csr_array, dict[str, Any]]:
    """Return the weights (N, N) of `BlockGraph.from_edges`, and its settings.

    Raises GraphError as that does.
    """
    if duplicates not in COMBINE:
        raise GraphError(f"duplicates is {duplicates!r}; it must be 'sum' or 'max'")
    if (n_rows is None) == (ids is None):
        raise GraphError("give either n_rows (the ends are row numbers) or ids, not both or none")
    if ids is None:
        n_rows = int(n_rows or 0)
        u, v = _row_numbers(source, n_rows, "source"), _row_numbers(target, n_rows, "target")
    else:
        known = np.asarray(ids)
        n_rows = len(known)
        u, v = _positions(source, known), _positions(target, known)
    if n_rows < 1:
        raise GraphError("a graph needs at least one row; n_rows is 0")
    if len(u) != len(v):
        raise GraphError(f"source has {len(u)} entries and target {len(v)}; they must be equal")
    w = _weights(weight, len(u))
    entries, counts = kept_edges(u, v, w, directed=directed)
    try:
        matrix = summed_strip(entries, 0, n_rows, n_rows, duplicates)
    except OverflowError as error:
        raise GraphError(str(error)) from error
    return matrix, edge_settings(counts, duplicates=duplicates, directed=directed)


def kept_edges(
    u: Int64, v: Int64, w: Float64, *, directed: bool
) -> tuple[Entries, tuple[int, int, int]]:
    """Return the entries of edges (E,) whose two ends are known and differ, and three counts.

    Ends are row numbers, negative where unknown. Counted are all edges, those with an unknown end,
    and those that join a row with itself.
    """
    unknown = (u < 0) | (v < 0)
    loops = (u == v) & ~unknown
    kept = ~(unknown | loops)
    counts = (len(u), int(np.count_nonzero(unknown)), int(np.count_nonzero(loops)))
    return both_ways(u[kept], v[kept], w[kept], directed=directed), counts


def edge_settings(counts: Sequence[int], *, duplicates: str, directed: bool) -> dict[str, Any]:
    """Return what a graph of edges says of the edges that `kept_edges` counted."""
    return {
        "edges_given": counts[0],
        "edges_with_unknown_ends_dropped": counts[1],
        "self_edges_dropped": counts[2],
        "duplicates": duplicates,
        "directed": directed,
    }


def _checked_weights(W: Any) -> sp.csr_array:
    matrix = sp.csr_array(W, copy=True)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise GraphError(f"W has shape {matrix.shape}; it must be square, with at least one row")
    if matrix.dtype.kind not in "fiub":
        raise GraphError(f"W holds {matrix.dtype}; weights must be numbers")
    matrix = matrix.astype(np.float64)
    matrix.sum_duplicates()
    _refuse_bad_weights(matrix.data)
    return matrix


def _refuse_bad_weights(w: Float64) -> None:
    n_bad = int(np.count_nonzero(~((w >= 0) & (w <= np.finfo(np.float32).max))))
    if n_bad:
        raise GraphError(
            f"{n_bad} weights are not numbers from 0 to the largest float32", rows=n_bad
        )


def _row_numbers(ends: npt.ArrayLike, n_rows: int, name: str) -> Int64:
    numbers = np.asarray(ends)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise GraphError(
            f"{name} is an array of {numbers.dtype} with {numbers.ndim} dimensions; row numbers"
            " must be integers in one dimension",
            hint="give ids=... if the ends of the edges are ids",
        )
    if numbers.size and (numbers.min() < 0 or numbers.max() >= n_rows):
        worst = numbers.max() if numbers.max() >= n_rows else numbers.min()
        raise GraphError(f"{name} names row {worst}; rows are 0 to {n_rows - 1} (n_rows={n_rows})")
    return numbers.astype(np.int64)


def _positions(ends: npt.ArrayLike, ids: npt.NDArray[Any]) -> Int64:
    """Return the row number of each id, -1 where it is unknown."""
    if ids.ndim != 1 or ids.size == 0:
        raise GraphError(f"ids has shape {ids.shape}; it must be one id a row, at least one")
    wanted, possible = _alike(np.asarray(ends), ids)
    try:
        order = np.argsort(ids, kind="stable")
        ranked = ids[order]
        place = np.minimum(np.searchsorted(ranked, wanted), len(ids) - 1)
    except TypeError as error:
        raise GraphError(
            "ids, or the ends of edges, mix kinds of values or hold None; give one kind",
            hint="leave out edges without an end",
        ) from error
    n_twice = int(np.count_nonzero(ranked[1:] == ranked[:-1]))
    if n_twice:
        raise GraphError(f"{n_twice} ids occur more than once; ids must be distinct", rows=n_twice)
    return np.where(possible & (ranked[place] == wanted), order[place], -1).astype(np.int64)


def _alike(ends: npt.NDArray[Any], ids: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Bool]:
    """Return the ends in the type of the ids, and which of them that type can hold."""
    possible = np.ones(ends.shape, dtype=bool)
    if not ends.size:
        return ends.astype(ids.dtype), possible
    kinds = [_ID_KINDS.get(array.dtype.kind, array.dtype.kind) for array in (ends, ids)]
    if "O" not in kinds and kinds[0] != kinds[1]:
        raise GraphError(
            f"the ends of edges are {ends.dtype}, but the ids are {ids.dtype}",
            hint="give both as one type",
        )
    if kinds == ["i", "i"]:
        # NumPy would compare int64 with uint64 as float64, which cannot tell large ones apart.
        info = np.iinfo(ids.dtype)
        possible = (ends >= info.min) & (ends <= info.max)
        return np.where(possible, ends, ends.dtype.type(0)).astype(ids.dtype), possible
    return ends, possible


def _weights(weight: npt.ArrayLike | None, n_edges: int) -> Float64:
    if weight is None:
        return np.ones(n_edges)
    w = np.asarray(weight, dtype=np.float64)
    if w.shape != (n_edges,):
        raise GraphError(f"weight has shape {w.shape}; it must be ({n_edges},), one an edge")
    _refuse_bad_weights(w)
    return w
