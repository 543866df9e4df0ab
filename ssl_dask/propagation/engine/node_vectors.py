"""Vectors over the nodes of a graph, in blocks, and functions of them block by block.

Groups of C columns stand side by side in every vector, as in the sources of a propagation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.block_exchange import block_tasks, fetch_rows, row_starts
from ssl_dask.dask_arrays import row_handles, rows_in_blocks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.distributions import class_evidence as ce
from ssl_dask.kernels.propagation.sweep import Scores, row_degrees
from ssl_dask.propagation.engine.partitions import TASK_LABEL, Vector
from ssl_dask.propagation.engine.seed_sources import NodeSources


@dataclass(frozen=True)
class NodeVectors:
    """Makes vectors of vectors, and a few numbers of them; nothing of size N comes here."""

    graph: BlockGraph
    n_classes: int
    execution: Execution

    def mapped(self, function: Callable[..., Any], vectors: list[Vector], *more: Any) -> Vector:
        """Return what `function` makes of the blocks of each strip, kept where it was made."""
        return self.execution.persist(block_tasks(function, vectors, *more), TASK_LABEL)

    def total(self, function: Callable[..., Any], vectors: list[Vector], *more: Any) -> Any:
        """Return the sum of the integers, or arrays of them, that `function` makes of blocks."""
        tasks = block_tasks(function, vectors, *more)
        return np.sum(self.execution.compute(tasks, TASK_LABEL), axis=0)

    def column_sums(self, vector: Vector) -> Float64:
        """Return the sums of values from 0 to 1 over the nodes, float64 (G, C)."""
        sums = self.total(ce.unit_totals, [vector]) / 2.0**ce.UNIT_BITS
        return np.asarray(sums.reshape(-1, self.n_classes))

    def spreads(self, vector: Vector) -> Float64:
        """Return the standard deviation of each group of columns, float64 (G,); 1 for zeros."""
        squares = self.total(ce.square_totals, [vector]).reshape(-1, self.n_classes).sum(axis=1)
        mean = squares / 2.0**ce.SQUARE_BITS / (self.graph.n_nodes * self.n_classes)
        return np.where(mean > 0.0, np.sqrt(mean), 1.0)

    def columns(self, groups: Sequence[int]) -> Int64:
        """Return the columns of the groups, int64 (len(groups) C,)."""
        first = np.asarray(groups, dtype=np.int64) * self.n_classes
        return np.asarray((first[:, None] + np.arange(self.n_classes)).ravel())

    def picked(self, vector: Vector, groups: Sequence[int]) -> Vector:
        """Return the columns of some groups."""
        return self.mapped(_picked, [vector], self.columns(groups))

    def side_by_side(self, vectors: list[Vector]) -> Vector:
        """Return the columns of several vectors."""
        return self.mapped(_side_by_side, vectors)

    def of_rows(self, rows: da.Array) -> Vector:
        """Return what stands at rows, (N, C), as a vector; a node gets that of its first row."""
        blocks = rows_in_blocks(rows, self.graph.row_chunks, self.execution.place)
        return self.graph.at_nodes(self.execution.persist(blocks, TASK_LABEL), self.execution)

    def hidden_rows(self, vector: Vector, at_nodes: NodeSources) -> Float64:
        """Return each seed's row in the group that hides it, float64 (S, C); 0 if none does."""
        positions, groups, seeds = zip(*at_nodes.hidden_places(self.graph), strict=True)
        tasks = block_tasks(_rows_of_groups, [vector, positions, groups], self.n_classes)
        rows = self.execution.compute(tasks, TASK_LABEL)
        found = np.zeros((at_nodes.sources.labels.n_seeds, self.n_classes))
        found[np.concatenate(seeds)] = np.concatenate(rows)
        return found

    def mean_cuts(self, labels: Vector, near: Vector, seeded: Bool) -> Float64:
        """Return the mean over the classes `seeded`, bool (C,), of cut / volume, for each group.

        `labels` are `class_evidence.one_hot` of the nodes, `near` is P `labels`: of each node's
        edges, the share that ends in each class. Shi and Malik 2000, Normalized Cuts and Image
        Segmentation, divided by C. A class that has seeds and no nodes counts as cut off in all of
        its volume.
        """
        strips = list(self.graph.strips)
        largest = largest_degree(self.graph, self.execution)
        totals = self.total(_volumes, [strips, labels, near], largest)
        volume, inside = totals.reshape(2, -1, self.n_classes)
        cut = np.where(volume > 0, 1.0 - inside / np.maximum(volume, 1), 1.0)
        return np.asarray(cut[:, seeded].mean(axis=1))


def rows_at(
    graph: BlockGraph, blocks: Sequence[Delayed], nodes: Int64, execution: Execution
) -> Scores:
    """Fetch the rows of some nodes, in their order: `blocks` has one a strip."""
    found: Scores = fetch_rows(blocks, graph.node_starts, nodes, execution, TASK_LABEL)
    return found


def rows_of(X: Any, wanted: Int64, execution: Execution) -> Any:
    """Fetch some rows of X (N, ...), in their order: NumPy array, CSR or Dask array."""
    if not isinstance(X, da.Array):
        return X[wanted]
    blocks = row_handles(X.rechunk(dict.fromkeys(range(1, X.ndim), -1)))
    return fetch_rows(blocks, row_starts(X.chunks[0]), wanted, execution, "seeds")


def largest_degree(graph: BlockGraph, execution: Execution) -> float:
    """Return the largest degree of a node."""
    return max(execution.compute(block_tasks(_largest_degree, [graph.strips]), TASK_LABEL))


def _picked(block: npt.NDArray[Any], columns: Int64) -> npt.NDArray[Any]:
    return np.ascontiguousarray(block[:, columns])


def _side_by_side(*blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate(blocks, axis=1)


def _rows_of_groups(
    block: npt.NDArray[Any], positions: Int64, groups: Int64, n_classes: int
) -> npt.NDArray[Any]:
    return np.asarray(block.reshape(len(block), -1, n_classes)[positions, groups])


def _largest_degree(strip: Any) -> float:
    return float(row_degrees(strip.indptr, strip.data).max(initial=0.0))


def _volumes(strip: Any, labels: ce.Evidence, near: Scores, largest: float) -> Int64:
    """Return (volume of each column's nodes, what of it ends inside), in equal integer steps."""
    share = row_degrees(strip.indptr, strip.data) / (largest or 1.0)
    volume = labels * share[:, None]
    return np.stack([ce.unit_totals(volume), ce.unit_totals(volume * near)])
