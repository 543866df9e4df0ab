"""Which node of a graph each row is: graphs number their nodes so that neighbours lie together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed

from ssl_dask.execution import Execution

RowIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NodeOrder:
    """The node of each row; rows that are copies of each other share one.

    A node that no row has is an entity: what rows share, such as a card or a device.

    Parameters
    ----------
    blocks
        One int64 array (n_i,) each, rows in input order: the number of each row's node.
    row_chunks
        Rows n_i of each block.
    n_nodes
        Number of nodes M.
    """

    blocks: tuple[Delayed, ...]
    row_chunks: tuple[int, ...]
    n_nodes: int

    @property
    def n_rows(self) -> int:
        """Number of rows N."""
        return sum(self.row_chunks)

    def nodes_of(self, rows: npt.ArrayLike, execution: Execution) -> RowIds:
        """Return the nodes of a few rows, int64 (S,): one task for each block that holds some."""
        wanted = np.asarray(rows, dtype=np.int64)
        stops = np.cumsum(self.row_chunks)
        block = np.searchsorted(stops, wanted, side="right")
        held = np.unique(block)
        tasks = [
            dask.delayed(_at)(self.blocks[b], wanted[block == b] - (stops[b] - self.row_chunks[b]))
            for b in held.tolist()
        ]
        nodes = np.empty(len(wanted), dtype=np.int64)
        for b, found in zip(held.tolist(), execution.compute(tasks, "seeds"), strict=True):
            nodes[block == b] = found
        return nodes

    def rows_of_nodes(
        self, values: Sequence[Delayed], node_chunks: Sequence[int], execution: Execution
    ) -> list[Delayed]:
        """Return what stands at nodes as blocks in the order of the rows, on workers.

        Parameters
        ----------
        values
            Arrays whose first axis is the nodes, one a strip of `node_chunks` nodes.

        Returns
        -------
        Arrays with n_i rows, one for each of `row_chunks`.

        Notes
        -----
        A task for each pair of a strip and a block, and one more a block; each value moves once.
        """
        starts = np.concatenate([[0], np.cumsum(node_chunks)])
        n_strips = len(values)
        tasks = []
        for block in self.blocks:
            wanted = dask.delayed(_by_strip, nout=n_strips, pure=False)(block, starts)
            pieces = [dask.delayed(_at)(part, wanted[p]) for p, part in enumerate(values)]
            tasks.append(dask.delayed(_scattered)(block, starts, *pieces))
        return execution.persist(tasks, "rows")

    def first_rows_of_nodes(
        self, values: Sequence[Delayed], node_chunks: Sequence[int], execution: Execution
    ) -> list[Delayed]:
        """Return what stands at rows as blocks in the order of nodes, on workers.

        Parameters
        ----------
        values
            Arrays with n_i rows, one for each of `row_chunks`.

        Returns
        -------
        Arrays with m_i rows, one for each of `node_chunks`: what the first row of each node has;
        zeros at a node without rows.
        """
        starts = np.concatenate([[0], np.cumsum(node_chunks)])
        n_strips = len(node_chunks)
        pieces = [
            dask.delayed(_cut_by_strip, nout=n_strips, pure=False)(nodes, starts, block)
            for nodes, block in zip(self.blocks, values, strict=True)
        ]
        tasks = [
            dask.delayed(_first_of_each, pure=False)(n, *[of_strip[strip] for of_strip in pieces])
            for strip, n in enumerate(node_chunks)
        ]
        return execution.persist(tasks, "nodes")

    def rows_a_node(self, node_chunks: Sequence[int]) -> list[Delayed]:
        """Return how many rows each node has, one int64 array (m_i,) for each of `node_chunks`.

        A task for each block and each strip; each row's node moves once.
        """
        starts = np.concatenate([[0], np.cumsum(node_chunks)])
        n_strips = len(node_chunks)
        places = [
            dask.delayed(_by_strip, nout=n_strips, pure=False)(block, starts)
            for block in self.blocks
        ]
        return [
            dask.delayed(_counts, pure=False)(n, *[of_strip[strip] for of_strip in places])
            for strip, n in enumerate(node_chunks)
        ]

    def to_array(self, execution: Execution) -> RowIds:
        """Return the node of every row, int64 (N,), in this process."""
        return np.concatenate(execution.compute(self.blocks, "rows"))


def first_row_numbering(node_of_row: RowIds, n_nodes: int) -> RowIds:
    """Return for each node its rank, int64 (M,), among the nodes ordered by their first row.

    Nodes without rows come last, by number.
    """
    with_rows, first_row = np.unique(node_of_row, return_index=True)
    first = np.full(n_nodes, len(node_of_row), dtype=np.int64)
    first[with_rows] = first_row
    rank = np.empty(n_nodes, dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(n_nodes)
    return rank


def _at(values: Any, positions: RowIds) -> Any:
    return values[positions]


def _cut_by_strip(nodes: RowIds, starts: RowIds, values: Any) -> tuple[tuple[RowIds, Any], ...]:
    """Return for each strip (places within it, values) of the rows that lie in it."""
    strip, order, bounds = _sorted_by_strip(nodes, starts)
    local, sorted_values = nodes[order] - starts[strip[order]], values[order]
    return tuple(
        (local[bounds[p] : bounds[p + 1]], sorted_values[bounds[p] : bounds[p + 1]])
        for p in range(len(starts) - 1)
    )


def _first_of_each(n_nodes: int, *pieces: tuple[RowIds, Any]) -> Any:
    values = np.concatenate([piece[1] for piece in pieces])
    places = np.concatenate([piece[0] for piece in pieces])
    out = np.zeros((n_nodes, *values.shape[1:]), dtype=values.dtype)
    # The first of several is written last.
    out[places[::-1]] = values[::-1]
    return out


def _counts(n_nodes: int, *places: RowIds) -> RowIds:
    return np.bincount(np.concatenate(places), minlength=n_nodes).astype(np.int64)


def _by_strip(nodes: RowIds, starts: RowIds) -> tuple[RowIds, ...]:
    """Return for each strip the places within it that `nodes` names, in the order of the rows."""
    strip, order, bounds = _sorted_by_strip(nodes, starts)
    local = nodes[order] - starts[strip[order]]
    return tuple(local[bounds[p] : bounds[p + 1]] for p in range(len(starts) - 1))


def _scattered(nodes: RowIds, starts: RowIds, *pieces: Any) -> Any:
    """Return the rows of `pieces`, which `_by_strip` asked for, in the order of the rows."""
    _, order, _ = _sorted_by_strip(nodes, starts)
    joined = np.concatenate(pieces)
    rows = np.empty_like(joined)
    rows[order] = joined
    return rows


def _sorted_by_strip(nodes: RowIds, starts: RowIds) -> tuple[RowIds, RowIds, RowIds]:
    strip = np.searchsorted(starts, nodes, side="right") - 1
    order = np.argsort(strip, kind="stable")
    bounds = np.searchsorted(strip[order], np.arange(len(starts)))
    return strip, order, bounds
