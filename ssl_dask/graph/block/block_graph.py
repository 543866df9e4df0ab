"""A weighted neighbour graph in strips of rows, which may lie on many workers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from ssl_dask.graph.block.components import Components, connected_components
from ssl_dask.graph.block.edge_list import symmetric_matrix_from_edges
from ssl_dask.graph.block.node_order import NodeOrder, first_row_numbering
from ssl_dask.graph.block.row_files import whole_file, write_array
from ssl_dask.kernels.arithmetic.sparse_rows import (
    as_strip,
    largest_asymmetry,
    row_sums,
    stack_strips,
    with_index_dtype,
)

FORMAT_VERSION = 3
ROUNDING = 1e-6
"""Relative difference of w_ij and w_ji that is taken for rounding, not for a directed graph."""


@dataclass(frozen=True)
class BlockGraph:
    """An undirected weighted graph over M nodes: W symmetric, no self-edges, weights >= 0, finite.

    A node is a row, or rows that are copies of each other, or an entity that rows share. Large
    graphs number their nodes so that neighbours lie together; `order` says which node each row is.

    Make one with `knn_graph`, `rbf_graph`, `entity_graph`, `sum_graphs`, `from_scipy`, `from_edges`
    or `load`; the constructor trusts its arguments.

    Parameters
    ----------
    strips
        One `scipy.sparse.csr_array` float32 (m_i, M) each. Columns are node numbers, sorted
        within a row, int32 (int64 from 2**31 nodes or entries on). Every node is there; isolated
        ones are empty.
    node_chunks
        Nodes m_i of each strip; need not equal the chunks of the features.
    n_edges
        Stored entries: each undirected edge counts twice.
    settings
        How the graph was made, in JSON types.
    order
        The node of each row; None: node i is row i.
    alternatives
        Further weights of the same edges by name: one float32 array (entries of the strip,) a
        strip. Propagation does not look at them; `weighted` makes a graph of them.
    """

    strips: tuple[Delayed, ...]
    node_chunks: tuple[int, ...]
    n_edges: int
    settings: Mapping[str, Any]
    order: NodeOrder | None = None
    alternatives: Mapping[str, tuple[Delayed, ...]] = field(default_factory=dict)

    @property
    def n_nodes(self) -> int:
        """Number of nodes M."""
        return sum(self.node_chunks)

    @property
    def n_rows(self) -> int:
        """Number of rows N."""
        return self.n_nodes if self.order is None else self.order.n_rows

    @property
    def recall(self) -> Mapping[str, Any] | None:
        """Share of the true neighbours found: estimate, low, high, n_sampled; None if all were."""
        return self.settings.get("recall")

    @property
    def node_starts(self) -> tuple[int, ...]:
        """Number of the first node of each strip."""
        return row_starts(self.node_chunks)

    def degrees(self, execution: Execution) -> list[Delayed]:
        """Return the sum of the weights of each node, a float32 array (m_i,) a strip, on workers.

        One task a strip. A node's is added up in float64 in column order, whatever the strips.
        """
        return execution.persist([dask.delayed(row_sums)(s) for s in self.strips], "degrees")

    def weighted(self, name: str) -> BlockGraph:
        """Return the graph with the weights that `alternatives` has under `name`.

        It shares the entries' places with this graph where both are on one worker.

        Raises
        ------
        GraphError
            There are no such weights.
        """
        if name not in self.alternatives:
            there = ", ".join(map(repr, self.alternatives)) or "none"
            raise GraphError(f"the graph has no other weights {name!r}; it has {there}")
        strips = tuple(
            dask.delayed(_with_data)(strip, data)
            for strip, data in zip(self.strips, self.alternatives[name], strict=True)
        )
        settings = {**self.settings, "weights": name}
        return replace(self, strips=strips, settings=settings, alternatives={})

    def to_scipy(self, execution: Execution | None = None) -> sp.csr_array:
        """Return W as one csr_array float32 (M, M) in this process (8 bytes an entry).

        Nodes are in the order of their first rows: without copies among the rows and without
        entities this is the order of the rows, and M = N. Entities come last: of an entity graph
        this is the matrix of rows and entities, W[:N, N:] the weight of row and entity; that of
        rows that share an entity is never formed.
        """
        execution = Execution.of(None, execution)
        W = stack_strips(execution.compute(self.strips, "graph"))
        if self.order is None:
            return W
        rank = first_row_numbering(self.order.to_array(execution), self.n_nodes)
        entries = W.tocoo()
        ends = (rank[entries.row], rank[entries.col])
        return as_strip(sp.coo_array((entries.data, ends), shape=W.shape))

    def components(self, execution: Execution) -> Components:
        """Return the connected components; see `components.connected_components`."""
        return connected_components(self.strips, self.node_starts, execution)

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
        directed: bool = False,
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
            source,
            target,
            weight,
            n_rows=n_rows,
            ids=ids,
            duplicates=duplicates,
            directed=directed,
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
        folder, execution = Path(folder).absolute(), Execution.of(None, execution)
        write = dask.delayed(_write_strip, pure=False)
        tasks = [
            write(
                str(folder / _strip_name(number)),
                strip,
                [data[number] for data in self.alternatives.values()],
            )
            for number, strip in enumerate(self.strips)
        ]
        execution.compute(tasks, "save graph")
        if self.order is not None:
            tasks = [
                dask.delayed(write_array, pure=False)(str(folder / _order_name(number)), block)
                for number, block in enumerate(self.order.blocks)
            ]
            execution.compute(tasks, "save graph")
        for left in folder.glob("*.tmp"):
            # Of a worker that was lost while it wrote.
            left.unlink(missing_ok=True)
        about = {
            "format": FORMAT_VERSION,
            "node_chunks": self.node_chunks,
            "row_chunks": None if self.order is None else self.order.row_chunks,
            "n_edges": self.n_edges,
            "settings": self.settings,
            "alternatives": list(self.alternatives),
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
            about = dict(json.loads((folder / "graph.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise GraphError(
                "no saved graph here: graph.json is missing or torn",
                file=str(folder),
                hint="build the graph again",
            ) from error
        if about.get("format") != FORMAT_VERSION:
            raise GraphError(
                f"the saved graph has format {about.get('format')}; this version reads"
                f" {FORMAT_VERSION}",
                file=str(folder),
                hint="build the graph again",
            )
        chunks, row_chunks = tuple(about["node_chunks"]), about["row_chunks"]
        paths = [folder / _strip_name(number) for number in range(len(chunks))]
        order_paths = [folder / _order_name(number) for number in range(len(row_chunks or ()))]
        for path in [*paths, *order_paths]:
            if not path.exists():
                raise GraphError(
                    "a part of the saved graph is missing",
                    file=str(path),
                    hint="build the graph again",
                )
        n_nodes = sum(chunks)
        strips = [
            dask.delayed(_read_strip, pure=False)(str(path), n, n_nodes)
            for path, n in zip(paths, chunks, strict=True)
        ]
        order = None
        if row_chunks is not None:
            blocks = [
                dask.delayed(_read_nodes, pure=False)(str(path), n, n_nodes)
                for path, n in zip(order_paths, row_chunks, strict=True)
            ]
            order = NodeOrder(tuple(blocks), tuple(row_chunks), n_nodes)
        alternatives = {
            name: tuple(dask.delayed(_read_data, pure=False)(str(path), position) for path in paths)
            for position, name in enumerate(about["alternatives"])
        }
        return cls(tuple(strips), chunks, about["n_edges"], about["settings"], order, alternatives)

    def with_strips(
        self,
        strips: tuple[Delayed, ...],
        order: NodeOrder | None,
        alternatives: Mapping[str, tuple[Delayed, ...]],
    ) -> BlockGraph:
        """Return the same graph whose parts lie elsewhere."""
        return replace(self, strips=strips, order=order, alternatives=alternatives)

    def fetched(self, execution: Execution, what: str = "load graph") -> BlockGraph:
        """Return the graph with all of its parts held by `execution`."""
        order = self.order
        strips = tuple(execution.persist(self.strips, what))
        alternatives = {
            name: tuple(execution.persist(data, what)) for name, data in self.alternatives.items()
        }
        if order is not None:
            order = replace(order, blocks=tuple(execution.persist(order.blocks, what)))
        return replace(self, strips=strips, order=order, alternatives=alternatives)


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


def _order_name(number: int) -> str:
    return f"nodes-{number:05d}.npy"


def _read_nodes(path: str, n_rows: int, n_nodes: int) -> npt.NDArray[np.int64]:
    hint = "build the graph again"
    try:
        nodes = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        message = "a part of the saved graph cannot be read"
        raise GraphError(message, file=path, hint=hint) from error
    if nodes.shape != (n_rows,):
        raise GraphError(f"holds {len(nodes)} rows, not {n_rows}", file=path, hint=hint)
    # Compiled code that reads scores by these numbers does not look whether they exist.
    if n_rows and not 0 <= nodes.min() <= nodes.max() < n_nodes:
        message = f"holds numbers of nodes outside 0 ... {n_nodes - 1}: the file was damaged"
        raise GraphError(message, file=path, hint=hint)
    return nodes


def _with_data(strip: sp.csr_array, data: npt.NDArray[np.float32]) -> sp.csr_array:
    return sp.csr_array((data, strip.indices, strip.indptr), shape=strip.shape)


def _write_strip(path: str, strip: sp.csr_array, more: Sequence[npt.NDArray[np.float32]]) -> None:
    parts: dict[str, Any] = {"data": strip.data, "indices": strip.indices, "indptr": strip.indptr}
    parts |= {_data_name(position): data for position, data in enumerate(more)}
    # Dask may run a task twice, and the second may be cut off.
    with whole_file(path) as file:
        np.savez(file, **parts)


def _read_strip(path: str, n_rows: int, n_columns: int) -> sp.csr_array:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts = (arrays["data"], arrays["indices"], arrays["indptr"])
            return with_index_dtype(sp.csr_array(parts, shape=(n_rows, n_columns)))
    except (ValueError, KeyError, EOFError, OSError, BadZipFile) as error:
        message = "a strip of the saved graph cannot be read"
        raise GraphError(message, file=path, hint="build the graph again") from error


def _data_name(position: int) -> str:
    return f"data{position}"


def _read_data(path: str, position: int) -> npt.NDArray[np.float32]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            data: npt.NDArray[np.float32] = arrays[_data_name(position)]
            return data
    except (ValueError, KeyError, EOFError, OSError, BadZipFile) as error:
        message = "a strip of the saved graph cannot be read"
        raise GraphError(message, file=path, hint="build the graph again") from error
