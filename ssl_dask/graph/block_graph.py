"""A weighted neighbour graph in strips of rows, which may lie on many workers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import dask
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.edge_list import symmetric_matrix_from_edges
from ssl_dask.graph.graph_diagnostics import Components, connected_components
from ssl_dask.kernels.sparse_rows import (
    as_strip,
    largest_asymmetry,
    row_sums,
    stack_strips,
    with_index_dtype,
)

FORMAT_VERSION = 1
ROUNDING = 1e-6
"""Relative difference of w_ij and w_ji that is taken for rounding, not for a directed graph."""


@dataclass(frozen=True)
class BlockGraph:
    """An undirected weighted graph over N rows: W symmetric, no self-edges, weights >= 0, finite.

    Make one with `knn_graph`, `rbf_graph`, `from_scipy`, `from_edges` or `load`; the constructor
    trusts its arguments.

    Parameters
    ----------
    strips
        One `scipy.sparse.csr_array` float32 (n_i, N) each, rows in input order. Columns are row
        numbers, sorted within a row, int32 (int64 from 2**31 rows or entries on). Every row is
        there; isolated rows are empty.
    row_chunks
        Rows n_i of each strip; need not equal the chunks of the features.
    n_edges
        Stored entries: each undirected edge counts twice.
    settings
        How the graph was made, in JSON types.
    """

    strips: tuple[Delayed, ...]
    row_chunks: tuple[int, ...]
    n_edges: int
    settings: Mapping[str, Any]

    @property
    def n_rows(self) -> int:
        """Number of rows N."""
        return sum(self.row_chunks)

    @property
    def row_starts(self) -> tuple[int, ...]:
        """Number of the first row of each strip."""
        return row_starts(self.row_chunks)

    def degrees(self, execution: Execution) -> list[Delayed]:
        """Return the sum of the weights of each row, a float32 array (n_i,) a strip, on workers.

        One task a strip. A row is added up in float64 in column order, whatever the strips.
        """
        return execution.persist([dask.delayed(row_sums)(s) for s in self.strips], "degrees")

    def to_scipy(self, execution: Execution | None = None) -> sp.csr_array:
        """Return W as one csr_array float32 (N, N) in this process (8 bytes an entry)."""
        return stack_strips((execution or Execution()).compute(self.strips, "graph"))

    def components(self, execution: Execution) -> Components:
        """Return the connected components; see `graph_diagnostics.connected_components`."""
        return connected_components(self.strips, self.row_starts, execution)

    @classmethod
    def from_scipy(cls, W: Any, *, n_strips: int = 1) -> BlockGraph:
        """Return the graph of a weight matrix that is already there.

        Self-edges are removed, and `settings` says how many.

        Parameters
        ----------
        W
            SciPy sparse matrix or array (N, N), or a dense array: symmetric, finite, >= 0. A
            difference of w_ij and w_ji within a relative 1e-6 is taken for rounding: both
            become their mean.
        n_strips
            Into how many strips of nearly equal size the rows are cut; at most N.

        Raises
        ------
        GraphError
            W is not square, has no rows, holds a weight that is negative or not finite, or is
            not symmetric.
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
        return cls._cut(matrix, n_strips, settings)

    @classmethod
    def from_edges(
        cls,
        source: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | None = None,
        *,
        n_rows: int | None = None,
        ids: npt.ArrayLike | None = None,
        duplicates: str = "sum",
        n_strips: int = 1,
    ) -> BlockGraph:
        """Return the undirected graph of a list of edges.

        Parameters are those of `edge_list.symmetric_matrix_from_edges`; self-edges and edges
        with unknown ids are dropped, and `settings` says how many.

        Raises
        ------
        GraphError
            The arrays do not fit together, a row number is out of range, or a weight is not a
            finite number >= 0.
        """
        matrix, notes = symmetric_matrix_from_edges(
            source, target, weight, n_rows=n_rows, ids=ids, duplicates=duplicates
        )
        return cls._cut(matrix, n_strips, {"kind": "edges", **notes})

    @classmethod
    def _cut(cls, matrix: sp.csr_array, n_strips: int, settings: Mapping[str, Any]) -> BlockGraph:
        n_rows = matrix.shape[0]
        if not 1 <= n_strips <= n_rows:
            raise GraphError(f"n_strips is {n_strips}; it must be from 1 to the {n_rows} rows")
        chunks = even_chunks(n_rows, n_strips)
        strips = [
            dask.delayed(with_index_dtype(matrix[start : start + n]), pure=False)
            for start, n in zip(row_starts(chunks), chunks, strict=True)
        ]
        return cls(tuple(strips), chunks, int(matrix.nnz), dict(settings))

    def save(self, folder: str | Path, execution: Execution | None = None) -> None:
        """Write the graph into `folder`, which must exist: a .npz file a strip and graph.json.

        One task a strip writes it where it is kept, so `folder` must be visible to all workers;
        graph.json comes last. To have all of it or nothing, write into a staging folder and
        rename that.
        """
        folder, execution = Path(folder).absolute(), execution or Execution()
        write = dask.delayed(_write_strip, pure=False)
        tasks = [
            write(str(folder / _strip_name(number)), strip)
            for number, strip in enumerate(self.strips)
        ]
        execution.compute(tasks, "save graph")
        about = {
            "format": FORMAT_VERSION,
            "row_chunks": self.row_chunks,
            "n_edges": self.n_edges,
            "settings": self.settings,
        }
        (folder / "graph.json").write_text(json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> BlockGraph:
        """Return a graph that `save` wrote; strips are read where they are used.

        `folder` must be visible to all workers that use the graph.

        Raises
        ------
        GraphError
            `folder` holds no whole graph of this format.
        """
        folder = Path(folder).absolute()
        try:
            about = json.loads((folder / "graph.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise GraphError(
                "no saved graph here: graph.json is missing or torn", file=str(folder)
            ) from error
        if about.get("format") != FORMAT_VERSION:
            raise GraphError(
                f"the saved graph has format {about.get('format')}; this version reads"
                f" {FORMAT_VERSION}",
                file=str(folder),
                hint="build the graph again",
            )
        chunks = tuple(about["row_chunks"])
        paths = [folder / _strip_name(number) for number in range(len(chunks))]
        for path in paths:
            if not path.exists():
                raise GraphError("a strip of the saved graph is missing", file=str(path))
        n_rows = sum(chunks)
        strips = [
            dask.delayed(_read_strip, pure=False)(str(path), n, n_rows)
            for path, n in zip(paths, chunks, strict=True)
        ]
        return cls(tuple(strips), chunks, about["n_edges"], about["settings"])


def even_chunks(n_rows: int, n_parts: int) -> tuple[int, ...]:
    """Return the sizes of `n_parts` parts of `n_rows` rows; they differ by one row at most."""
    size, longer = divmod(n_rows, n_parts)
    return (size + 1,) * longer + (size,) * (n_parts - longer)


def row_starts(chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of the first row of each chunk."""
    return tuple(int(stop) - n for stop, n in zip(np.cumsum(chunks), chunks, strict=True))


def _checked_weights(W: Any) -> sp.csr_array:
    matrix = sp.csr_array(W, copy=True)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise GraphError(f"W has shape {matrix.shape}; it must be square, with at least one row")
    if matrix.dtype.kind not in "fiub":
        raise GraphError(f"W holds {matrix.dtype}; weights must be numbers")
    matrix = matrix.astype(np.float64)
    matrix.sum_duplicates()
    n_bad = int(np.count_nonzero(~((matrix.data >= 0) & (matrix.data <= np.finfo("f4").max))))
    if n_bad:
        raise GraphError(f"{n_bad} weights are not numbers from 0 to the largest float32")
    return matrix


def _strip_name(number: int) -> str:
    return f"strip-{number:05d}.npz"


def _write_strip(path: str, strip: sp.csr_array) -> None:
    try:
        np.savez(path, data=strip.data, indices=strip.indices, indptr=strip.indptr)
    except OSError as error:
        # NumPy's error of a full disk does not name the file.
        error.filename = error.filename or path
        raise


def _read_strip(path: str, n_rows: int, n_columns: int) -> sp.csr_array:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts = (arrays["data"], arrays["indices"], arrays["indptr"])
            return with_index_dtype(sp.csr_array(parts, shape=(n_rows, n_columns)))
    except (ValueError, KeyError, EOFError, OSError, BadZipFile) as error:
        raise GraphError("a strip of the saved graph cannot be read", file=path) from error
