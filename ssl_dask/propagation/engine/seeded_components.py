"""Which classes have seeds in each connected component: the others cannot be the answer there."""

from __future__ import annotations

from dataclasses import dataclass
from operator import getitem

import numpy as np
from dask.delayed import Delayed

from ssl_dask.array_types import Float64, Floating, Int64, Integer
from ssl_dask.block_exchange import block_tasks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.propagation.engine.seed_sources import NodeSources


@dataclass(frozen=True)
class SeededComponents:
    """The components that hold a seed."""

    of_seed_node: Int64
    """int64 (U,): position of the component of each node with a seed."""
    ids: Integer
    """Labels (Q,) of the components as in `Components.labels`, increasing."""
    labels: Delayed
    """On a worker: the label of each node."""

    @classmethod
    def find(
        cls, graph: BlockGraph, at_nodes: NodeSources, execution: Execution
    ) -> SeededComponents:
        """Find them; see `BlockGraph.components` for what it costs."""
        labels = graph.components(execution).labels
        tasks = block_tasks(getitem, [[labels]], at_nodes.nodes)
        (of_nodes,) = execution.compute(tasks, "components")
        ids, position = np.unique(of_nodes, return_inverse=True)
        return cls(position.astype(np.int64), ids, labels)

    def sums(self, values: Floating) -> Float64:
        """Return the sums of values (U, G, C) of nodes with seeds by component, (Q, G, C)."""
        total = np.zeros((len(self.ids), *values.shape[1:]))
        np.add.at(total, self.of_seed_node, values.astype(np.float64))
        return total

    def of_strips(self, graph: BlockGraph) -> list[Delayed]:
        """Return for each strip int64 (m_i,): the component of each node, -1 without a seed."""
        columns = [graph.node_starts, graph.node_chunks]
        return block_tasks(_positions, columns, self.labels, self.ids)


def _positions(start: int, n: int, labels: Integer, ids: Integer) -> Int64:
    own = labels[start : start + n]
    place = np.minimum(np.searchsorted(ids, own), len(ids) - 1)
    return np.where(ids[place] == own, place, -1).astype(np.int64)
