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

    def nodes_of_rows(
        self, values: Sequence[Delayed], node_chunks: Sequence[int], execution: Execution
    ) -> list[Delayed]:
        """Return what stands at rows as blocks in the order of the nodes, on workers.

        A node that stands for several rows gets what its first row has.

        Parameters
        ----------
        values
            Arrays whose first axis is the rows, one for each of `row_chunks`.

        Returns
        -------
        Arrays with as many rows as `node_chunks` has nodes.

        Notes
        -----
        As many tasks and bytes as `rows_of_nodes`.
        """
        starts = np.concatenate([[0], np.cumsum(node_chunks)])
        n_strips = len(node_chunks)
        pieces = [
            dask.delayed(_sent, nout=n_strips, pure=False)(block, starts, part)
            for block, part in zip(self.blocks, values, strict=True)
        ]
        tasks = [
            dask.delayed(_gathered)(n, *[piece[strip] for piece in pieces])
            for strip, n in enumerate(node_chunks)
        ]
        return execution.persist(tasks, "nodes")

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


def _sent(nodes: RowIds, starts: RowIds, values: Any) -> tuple[tuple[RowIds, Any], ...]:
    """Return for each strip (places within it, rows of `values`), in the order of the rows."""
    strip, order, bounds = _sorted_by_strip(nodes, starts)
    local, moved = nodes[order] - starts[strip[order]], values[order]
    return tuple(
        (local[bounds[p] : bounds[p + 1]], moved[bounds[p] : bounds[p + 1]])
        for p in range(len(starts) - 1)
    )


def _gathered(n_nodes: int, *pieces: tuple[RowIds, Any]) -> Any:
    """Return what the first row of each node has; `pieces` come in the order of the rows."""
    out = np.empty((n_nodes, *pieces[0][1].shape[1:]), dtype=pieces[0][1].dtype)
    for places, rows in reversed(pieces):
        # Of equal places the last assignment holds: backwards, that of the first row.
        out[places[::-1]] = rows[::-1]
    return out


def _sorted_by_strip(nodes: RowIds, starts: RowIds) -> tuple[RowIds, RowIds, RowIds]:
    strip = np.searchsorted(starts, nodes, side="right") - 1
    order = np.argsort(strip, kind="stable")
    bounds = np.searchsorted(strip[order], np.arange(len(starts)))
    return strip, order, bounds
