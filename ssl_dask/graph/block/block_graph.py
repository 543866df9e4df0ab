"""A weighted neighbour graph in strips of rows, which may lie on many workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask.base import DaskMethodsMixin, replace_name_in_key
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from ssl_dask.array_types import Float32, Int64
from ssl_dask.block_exchange import block_tasks, row_starts
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.components import Components, connected_components
from ssl_dask.graph.block.edge_list import symmetric_matrix, symmetric_matrix_from_edges
from ssl_dask.graph.block.graph_files import read_graph, write_graph
from ssl_dask.graph.block.node_order import NodeOrder, first_row_numbering
from ssl_dask.kernels.arithmetic.sparse_rows import (
    as_strip,
    row_sums,
    stack_strips,
    with_index_dtype,
)


@dataclass(frozen=True)
class BlockGraph(DaskMethodsMixin):
    """An undirected weighted graph over M nodes: W symmetric, no self-edges, weights >= 0, finite.

    A node is a row, or rows that are copies of each other, or an entity that rows share. Large
    graphs number their nodes so that neighbours lie together; `order` says which node each row is.

    Make one with `knn_graph`, `rbf_graph`, `entity_graph`, `sum_graphs`, `from_scipy`, `from_edges`
    or `load`; the constructor trusts its arguments.

    A graph is a Dask collection. `dask.persist(graph)` is the same graph with all its parts held
    where they are made; `dask.compute(graph)` is the matrix of `to_scipy`, and so is the graph as
    an argument of a `dask.delayed` function; `graph.visualize()` draws its tasks.

    Examples
    --------
    >>> graph = BlockGraph.from_edges([0, 1], [1, 2], n_rows=3)
    >>> graph.to_scipy().toarray().tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    >>> (held,) = dask.persist(graph)
    >>> held.n_rows, held.n_edges, held.compute().nnz
    (3, 4, 4)
    """

    strips: tuple[Delayed, ...]
    """One `scipy.sparse.csr_array` float32 (m_i, M) each. Columns are node numbers, sorted within a
    row, int32 (int64 from 2**31 nodes or entries on). Every node is there; isolated ones are
    empty."""
    node_chunks: tuple[int, ...]
    """Nodes m_i of each strip; need not equal the chunks of the features."""
    n_edges: int
    """Stored entries: each undirected edge counts twice."""
    settings: Mapping[str, Any]
    """How the graph was made, in JSON types."""
    order: NodeOrder | None = None
    """The node of each row; None: node i is row i."""
    alternatives: Mapping[str, tuple[Delayed, ...]] = field(default_factory=dict)
    """Further weights of the same edges by name: one float32 array (entries of the strip,) a strip.
    Propagation does not look at them; `weighted` makes a graph of them."""

    @property
    def n_nodes(self) -> int:
        """Number of nodes M."""
        return sum(self.node_chunks)

    @property
    def n_rows(self) -> int:
        """Number of rows N."""
        return self.n_nodes if self.order is None else self.order.n_rows

    @property
    def row_chunks(self) -> tuple[int, ...]:
        """Rows of each block of `at_rows`."""
        return self.node_chunks if self.order is None else self.order.row_chunks

    @property
    def recall(self) -> Mapping[str, Any] | None:
        """Share of the true neighbours found: estimate, low, high, n_sampled; None if all were."""
        return self.settings.get("recall")

    @property
    def node_starts(self) -> tuple[int, ...]:
        """Number of the first node of each strip."""
        return row_starts(self.node_chunks)

    def nodes_of(self, rows: npt.ArrayLike, execution: Execution) -> Int64:
        """Return the nodes of a few rows, int64 (S,): see `NodeOrder.nodes_of`."""
        if self.order is None:
            return np.asarray(rows, dtype=np.int64)
        return self.order.nodes_of(rows, execution)

    def at_nodes(self, rows: Sequence[Delayed], execution: Execution) -> list[Delayed]:
        """Return blocks of `row_chunks` rows as one a strip: a node has what its first row has."""
        if self.order is None:
            return list(rows)
        return self.order.first_rows_of_nodes(rows, self.node_chunks, execution)

    def at_rows(self, nodes: Sequence[Delayed], execution: Execution) -> list[Delayed]:
        """Return blocks of nodes, one a strip, as blocks of `row_chunks` rows."""
        if self.order is None:
            return list(nodes)
        return self.order.rows_of_nodes(nodes, self.node_chunks, execution)

    def degrees(self, execution: Execution) -> list[Delayed]:
        """Return the sum of the weights of each node, a float32 array (m_i,) a strip, on workers.

        One task a strip. A node's is added up in float64 in column order, whatever the strips.
        """
        return execution.persist(block_tasks(row_sums, [self.strips]), "degrees")

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
        strips = tuple(block_tasks(_with_data, [self.strips, self.alternatives[name]]))
        settings = {**self.settings, "weights": name}
        return replace(self, strips=strips, settings=settings, alternatives={})

    def strips_weighted(self, name: str | None) -> tuple[Delayed, ...]:
        """Return the strips with the weights `name`, or the graph's own if it has no others."""
        known = name is not None and name in self.alternatives
        return self.weighted(str(name)).strips if known else self.strips

    def to_scipy(self, execution: Execution | None = None) -> sp.csr_array:
        """Return W as one csr_array float32 (M, M) in this process (8 bytes an entry).

        Nodes are in the order of their first rows: without copies among the rows and without
        entities this is the order of the rows, and M = N. Entities come last: of an entity graph
        this is the matrix of rows and entities, W[:N, N:] the weight of row and entity; that of
        rows that share an entity is never formed.
        """
        order = () if self.order is None else self.order.blocks
        parts = Execution.of(None, execution).compute([*self.strips, *order], "graph")
        return _matrix(parts, len(self.strips))

    def components(self, execution: Execution) -> Components:
        """Return the connected components, with the labels on a worker.

        One task a strip and one a pair of strips to be joined, each of about 8 M bytes.
        """
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

        Examples
        --------
        >>> BlockGraph.from_scipy([[0, 2], [2, 0]]).n_edges
        2
        """
        matrix, settings = symmetric_matrix(W)
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

        An edge joins its two ends whichever is named first: (u, v) and (v, u) are the same edge,
        or if `directed`, two edges whose weights are averaged; a missing one counts 0. Self-edges
        and edges with unknown ids are dropped, and `settings` says how many.

        Parameters
        ----------
        source, target
            Arrays (E,): the ends of each edge, as row numbers, or as values of `ids`.
        weight
            Array (E,) of finite numbers >= 0; default 1 for each edge.
        n_rows
            Number of rows N, if the ends are row numbers.
        ids
            Array (N,) of distinct ids in row order, if the ends are ids.
        duplicates
            What an edge weighs that is given more than once: the "sum" of its weights, added in
            float64 in the order given, or their "max".
        directed
            Whether the edges of the two directions are merged apart, and then averaged.
        n_strips
            Into how many strips of nearly equal size the rows are cut; at most N.

        Raises
        ------
        GraphError
            The arrays do not fit together, a row number is out of range, or a weight is not a
            finite number >= 0.

        Examples
        --------
        >>> graph = BlockGraph.from_edges(["a", "b"], ["b", "x"], ids=["a", "b", "c"])
        >>> graph.n_edges, graph.settings["edges_with_unknown_ends_dropped"]
        (2, 1)
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
        about = {"n_edges": self.n_edges, "settings": self.settings}
        parts = (self.strips, self.node_chunks, self.order, self.alternatives)
        write_graph(Path(folder).absolute(), *parts, about, Execution.of(None, execution))

    @classmethod
    def load(cls, folder: str | Path) -> BlockGraph:
        """Return a graph that `save` wrote; strips are read where they are used.

        `folder` must be visible to all workers that use the graph.

        Raises
        ------
        GraphError
            `folder` holds no whole graph of this format.
        """
        return cls(**read_graph(Path(folder).absolute()))

    @property
    def handles(self) -> tuple[Delayed, ...]:
        """Handles to all parts: strips, blocks of the order, alternatives."""
        order = () if self.order is None else self.order.blocks
        return (*self.strips, *order, *chain.from_iterable(self.alternatives.values()))

    def with_handles(self, handles: Iterable[Delayed]) -> BlockGraph:
        """Return the same graph whose parts are behind other handles, as `handles` lists them."""
        left, order = iter(handles), self.order
        strips = tuple(islice(left, len(self.strips)))
        if order is not None:
            order = replace(order, blocks=tuple(islice(left, len(order.blocks))))
        alternatives = {name: tuple(islice(left, len(strips))) for name in self.alternatives}
        return replace(self, strips=strips, order=order, alternatives=alternatives)

    __dask_scheduler__ = staticmethod(dask.threaded.get)
    __dask_optimize__ = staticmethod(Delayed.__dask_optimize__)

    def __dask_graph__(self) -> HighLevelGraph:
        return HighLevelGraph.merge(*(handle.__dask_graph__() for handle in self.handles))

    def __dask_keys__(self) -> list[Any]:
        return [handle.key for handle in self.handles]

    def __dask_layers__(self) -> tuple[str, ...]:
        return tuple(chain.from_iterable(one.__dask_layers__() for one in self.handles))

    def __dask_tokenize__(self) -> Any:
        return "BlockGraph", self.__dask_keys__(), self.node_chunks

    def __dask_postcompute__(self) -> tuple[Any, tuple[Any, ...]]:
        n_order = 0 if self.order is None else len(self.order.blocks)
        return _matrix, (len(self.strips), n_order)

    def __dask_postpersist__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._of_results, ()

    def _of_results(
        self, results: Mapping[Any, Any], *, rename: Mapping[str, str] | None = None
    ) -> BlockGraph:
        """Return the graph over `results`: a value or future for each key, or tasks for them."""
        keys = self.__dask_keys__()
        if rename:
            keys = [replace_name_in_key(key, rename) for key in keys]
        if set(results) <= set(keys):
            return self.with_handles(Delayed(key, {key: results[key]}) for key in keys)
        return self.with_handles(Delayed(key, dict(results)) for key in keys)


def even_chunks(n_rows: int, n_parts: int) -> tuple[int, ...]:
    """Return the sizes of `n_parts` parts of `n_rows` rows; they differ by one row at most."""
    size, longer = divmod(n_rows, n_parts)
    return (size + 1,) * longer + (size,) * (n_parts - longer)


def _matrix(parts: Sequence[Any], n_strips: int, n_order: int | None = None) -> sp.csr_array:
    """Return W of its strips and, behind them, the blocks of its order, if it has one.

    `n_order`: how many blocks; more parts, of alternatives, are not looked at. None: all.
    """
    W = stack_strips(list(parts[:n_strips]))
    order = parts[n_strips:] if n_order is None else parts[n_strips : n_strips + n_order]
    if not order:
        return W
    rank = first_row_numbering(np.concatenate(order), W.shape[0])
    entries = W.tocoo()
    ends = (rank[entries.row], rank[entries.col])
    return as_strip(sp.coo_array((entries.data, ends), shape=W.shape))


def _with_data(strip: sp.csr_array, data: Float32) -> sp.csr_array:
    return sp.csr_array((data, strip.indices, strip.indptr), shape=strip.shape)
