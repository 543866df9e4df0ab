"""Which classes have seeds in each connected component: the others cannot be the answer there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Float64, Floating, Int64, Integer
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.propagation.engine.seed_sources import NodeSources


@dataclass(frozen=True)
class SeededComponents:
    """The components that hold a seed.

    Parameters
    ----------
    of_seed_node
        int64 (U,): position of the component of each node with a seed.
    ids
        Labels (Q,) of the components as in `Components.labels`, increasing.
    labels
        On a worker: the label of each node.
    """

    of_seed_node: Int64
    ids: Integer
    labels: Delayed

    @classmethod
    def find(
        cls, graph: BlockGraph, at_nodes: NodeSources, execution: Execution
    ) -> SeededComponents:
        """Find them; see `BlockGraph.components` for what it costs."""
        labels = graph.components(execution).labels
        (of_nodes,) = execution.compute(
            [delayed(_labels_of_nodes, pure=False)(labels, at_nodes.nodes)], "components"
        )
        ids, position = np.unique(of_nodes, return_inverse=True)
        return cls(position.astype(np.int64), ids, labels)

    def sums(self, values: Floating) -> Float64:
        """Return the sums of values (U, G, C) of nodes with seeds by component, (Q, G, C)."""
        total = np.zeros((len(self.ids), *values.shape[1:]))
        np.add.at(total, self.of_seed_node, values.astype(np.float64))
        return total

    def of_strips(self, graph: BlockGraph) -> list[Delayed]:
        """Return for each strip int64 (m_i,): the component of each node, -1 without a seed."""
        return [
            delayed(_positions, pure=False)(self.labels, self.ids, first, first + n)
            for first, n in zip(graph.node_starts, graph.node_chunks, strict=True)
        ]


def _labels_of_nodes(labels: Integer, nodes: Int64) -> Integer:
    return labels[nodes]


def _positions(labels: Integer, ids: Integer, start: int, stop: int) -> Int64:
    own = labels[start:stop]
    place = np.minimum(np.searchsorted(ids, own), len(ids) - 1)
    return np.where(ids[place] == own, place, -1).astype(np.int64)
