"""Which node of a graph each row is: graphs number their nodes so that neighbours lie together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from operator import getitem
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import block_tasks, exchange, fetch_rows, row_starts
from ssl_dask.execution import Execution
from ssl_dask.kernels.arithmetic.sparse_rows import stacked_rows


@dataclass(frozen=True)
class NodeOrder:
    """The node of each row; rows that are copies of each other share one.

    A node that no row has is an entity: what rows share, such as a card or a device.
    """

    blocks: tuple[Delayed, ...]
    """One int64 array (n_i,) each, rows in input order: the number of each row's node."""
    row_chunks: tuple[int, ...]
    """Rows n_i of each block."""
    n_nodes: int
    """Number of nodes M."""

    @property
    def n_rows(self) -> int:
        """Number of rows N."""
        return sum(self.row_chunks)

    def nodes_of(self, rows: npt.ArrayLike, execution: Execution) -> Int64:
        """Return the nodes of a few rows, int64 (S,): one task for each block that holds some."""
        wanted = np.asarray(rows, dtype=np.int64)
        nodes: Int64 = fetch_rows(
            self.blocks, row_starts(self.row_chunks), wanted, execution, "seeds"
        )
        return nodes

    def rows_of_nodes(
        self, values: Sequence[Delayed], node_chunks: Sequence[int], execution: Execution
    ) -> list[Delayed]:
        """Return what stands at nodes as blocks of `row_chunks` rows, on workers.

        `values` are arrays whose first axis is the nodes, one a strip of `node_chunks` nodes. A
        task for each pair of a strip and a block, and one more a block; each value moves once.
        """
        starts, n_strips = strip_bounds(node_chunks), len(values)
        tasks = []
        for block in self.blocks:
            wanted = dask.delayed(_by_strip, nout=n_strips, pure=False)(block, starts)
            pieces = [dask.delayed(getitem)(part, wanted[p]) for p, part in enumerate(values)]
            tasks.append(dask.delayed(_scattered)(block, starts, *pieces))
        return execution.persist(tasks, "rows")

    def first_rows_of_nodes(
        self, values: Sequence[Delayed], node_chunks: Sequence[int], execution: Execution
    ) -> list[Delayed]:
        """Return what stands at rows, in blocks of `row_chunks`, as one block a strip, on workers.

        A node has what its first row has, and zeros if it has no row. `values` may be CSR.
        """
        tasks = exchange(
            list(zip(self.blocks, values, strict=True)),
            partial(_values_by_strip, strip_bounds(node_chunks)),
            len(node_chunks),
            partial(_first_of_each, tuple(node_chunks)),
        )
        return execution.persist(tasks, "nodes")

    def rows_a_node(self, node_chunks: Sequence[int]) -> list[Delayed]:
        """Return how many rows each node has, one int64 array (m_i,) for each of `node_chunks`.

        A task for each block and each strip; each row's node moves once.
        """
        return exchange(
            self.blocks,
            partial(_places_by_strip, strip_bounds(node_chunks)),
            len(node_chunks),
            partial(_counts, tuple(node_chunks)),
        )

    def after(self, ranks: NodeOrder, execution: Execution) -> NodeOrder:
        """Return the same nodes of rows that `ranks` has in another order than this has.

        One worker holds 24 bytes a row for a moment.
        """
        whole = dask.delayed(_taken, pure=False)(list(self.blocks), list(ranks.blocks))
        blocks = execution.persist(row_blocks(whole, ranks.row_chunks), "rows")
        return NodeOrder(tuple(blocks), ranks.row_chunks, self.n_nodes)

    def to_array(self, execution: Execution) -> Int64:
        """Return the node of every row, int64 (N,), in this process."""
        return np.concatenate(execution.compute(self.blocks, "rows"))


def ranked_rows(
    tags: Sequence[Delayed], row_chunks: Sequence[int], execution: Execution
) -> NodeOrder:
    """Return the rank of each row by its tag, as the order of a graph whose nodes are the rows.

    A graph whose nodes are numbered so does not depend on the order of the rows. One worker holds
    some 40 bytes a row for a moment.

    Parameters
    ----------
    tags
        int64 (n_i,) of each block of `row_chunks` rows.
    """
    whole = dask.delayed(ranked, pure=False)(list(tags))
    blocks = execution.persist(row_blocks(whole, row_chunks), "rows")
    return NodeOrder(tuple(blocks), tuple(row_chunks), sum(row_chunks))


def ranked(blocks: Sequence[Int64], ties: Sequence[Int64] | None = None) -> Int64:
    """Return the rank of each value, int64 (N,); of equal ones by `ties`, or by their place."""
    values = np.concatenate(blocks)
    rank = np.empty(len(values), dtype=np.int64)
    last = [] if ties is None else [np.concatenate(ties)]
    rank[np.lexsort((*last, values))] = np.arange(len(values))
    return rank


def first_row_numbering(node_of_row: Int64, n_nodes: int) -> Int64:
    """Return for each node its rank, int64 (M,), among the nodes ordered by their first row.

    Nodes without rows come last, by number.
    """
    with_rows, first_row = np.unique(node_of_row, return_index=True)
    first = np.full(n_nodes, len(node_of_row), dtype=np.int64)
    first[with_rows] = first_row
    rank = np.empty(n_nodes, dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(n_nodes)
    return rank


def strip_bounds(node_chunks: Sequence[int]) -> Int64:
    """Return the first node of each strip, and the number of nodes, int64 (strips + 1,)."""
    return np.array([*row_starts(node_chunks), sum(node_chunks)], dtype=np.int64)


def row_numbers(row_chunks: Sequence[int], first: int = 0) -> list[Delayed]:
    """Return tasks of the numbers of rows from `first` on, int64, in blocks of `row_chunks`."""
    bounds = (strip_bounds(row_chunks) + first).tolist()
    return block_tasks(np.arange, [bounds[:-1], bounds[1:]])


def row_blocks(whole: Delayed, row_chunks: Sequence[int]) -> list[Delayed]:
    """Return tasks that cut an array (N,) into blocks of `row_chunks` rows."""
    cuts = [slice(a, b) for a, b in pairwise(strip_bounds(row_chunks).tolist())]
    return block_tasks(_rows_between, [cuts], whole)


def _taken(nodes: list[Int64], ranks: list[Int64]) -> Int64:
    return np.concatenate(nodes)[np.concatenate(ranks)]


def _rows_between(part: slice, values: Int64) -> Int64:
    # A view would keep the whole array.
    return values[part].copy()


def _sorted_by_strip(nodes: Int64, starts: Int64) -> tuple[Int64, list[slice]]:
    """Return the order of the nodes by strip, stable, and which of it lie in each strip."""
    strip = np.searchsorted(starts, nodes, side="right") - 1
    order = np.argsort(strip, kind="stable")
    bounds = np.searchsorted(strip[order], np.arange(len(starts)))
    return order, [slice(a, b) for a, b in pairwise(bounds.tolist())]


def _by_strip(nodes: Int64, starts: Int64) -> tuple[Int64, ...]:
    """Return for each strip the places within it that `nodes` names, in the order of the rows."""
    order, parts = _sorted_by_strip(nodes, starts)
    return tuple(nodes[order[part]] - first for part, first in zip(parts, starts[:-1], strict=True))


def _places_by_strip(starts: Int64, blocks: list[Int64]) -> tuple[Int64, ...]:
    return _by_strip(np.concatenate(blocks), starts)


def _values_by_strip(starts: Int64, blocks: list[tuple[Int64, Any]]) -> tuple[Any, ...]:
    """Return for each strip (places within it, values) of the rows of blocks (nodes, values)."""
    nodes, values = (stacked_rows(column) for column in zip(*blocks, strict=True))
    order, parts = _sorted_by_strip(nodes, starts)
    places = _by_strip(nodes, starts)
    return tuple((at, values[order[part]]) for at, part in zip(places, parts, strict=True))


def _first_of_each(
    node_chunks: tuple[int, ...], number: int, pieces: list[tuple[Int64, Any]]
) -> Any:
    places, values = (stacked_rows(column) for column in zip(*pieces, strict=True))
    if sp.issparse(values):
        first = np.full(node_chunks[number], len(places))
        first[places[::-1]] = np.arange(len(places))[::-1]
        nothing = sp.csr_array((1, values.shape[1]), dtype=values.dtype)
        return stacked_rows([values, nothing])[first]
    out = np.zeros((node_chunks[number], *values.shape[1:]), dtype=values.dtype)
    # The first of several is written last.
    out[places[::-1]] = values[::-1]
    return out


def _counts(node_chunks: tuple[int, ...], number: int, places: list[Int64]) -> Int64:
    counts = np.bincount(np.concatenate(places), minlength=node_chunks[number])
    return counts.astype(np.int64)


def _scattered(nodes: Int64, starts: Int64, *pieces: Any) -> Any:
    """Return the rows of `pieces`, which `_by_strip` asked for, in the order of the rows."""
    order, _ = _sorted_by_strip(nodes, starts)
    joined = np.concatenate(pieces)
    rows = np.empty_like(joined)
    rows[order] = joined
    return rows
