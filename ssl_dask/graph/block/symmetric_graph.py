"""Neighbour lists -> a symmetric graph: weighed, turned round, exchanged between strips.

Four tasks a strip and one a piece: 512 pieces or, where runs of strips would not fit a task, one
for each pair of strips. 8 bytes move a neighbour, and 4 more a weighting. For the median scale,
that of 2**20 nodes at most (8 MiB) comes together on one worker; weights that depend on both ends
bring 4 M bytes of scales to every worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks, row_starts
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.kernels.graph.edge_weights import (
    BY_BOTH_ENDS,
    MEDIAN_ROWS,
    SCALE_PLACE,
    WEIGHTS,
    distance_floor,
    edge_weights,
    node_scales,
    sampled_scales,
)
from ssl_dask.kernels.graph.symmetric_strip import (
    SYMMETRIZE,
    Edges,
    Owned,
    edges_by_run,
    owned_edges,
    symmetric_strips,
)
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds

MAX_PIECES = 512
"""Pieces that edges are exchanged in; with more pairs of strips, several strips share one."""
NODE_BYTES = 1200
"""Memory of a node of a run while its edges are joined: 15 neighbours, both ways, twice."""

Lists = tuple[Distances, RowIds]
Scales = npt.NDArray[np.float32]


def symmetric_graph(
    lists: Sequence[Delayed],
    node_chunks: Sequence[int],
    *,
    weights: str | Sequence[str],
    symmetrize: str | None,
    settings: Mapping[str, Any],
    execution: Execution,
    order: NodeOrder | None = None,
) -> BlockGraph:
    """Return the graph of neighbour lists, the same bits for any strips.

    Parameters
    ----------
    lists, node_chunks
        One a strip of m_i > 0 nodes: (distances float64 (m_i, k), indices int64 (m_i, k)) as
        `kernels.neighbour_lists` describes them; indices are node numbers.
    weights
        As in `knn_graph`. Of several, the first are the weights of the graph and the others its
        `alternatives`: they share one exchange and the places of the entries.
    symmetrize
        As in `knn_graph`; None: what `usual_symmetrize` says.
    settings
        What the graph says of itself.
    order
        The node of each row; None: node i is row i.

    Raises
    ------
    GraphError
        A choice is unknown, or weights are named twice.
    """
    names = check_weights(weights)
    symmetrize = symmetrize or usual_symmetrize(names[0])
    check_choice("symmetrize", symmetrize, SYMMETRIZE)
    node_chunks = tuple(node_chunks)
    n_nodes, starts = sum(node_chunks), row_starts(node_chunks)
    floors, scales = _scales(lists, starts, n_nodes, names)
    runs = strip_runs(node_chunks, execution.memory_per_task)
    bounds = np.array([*(starts[run[0]] for run in runs), n_nodes])
    turn = dask.delayed(_turned, nout=1 + len(runs))
    turned = [
        turn(part, names, floors, scales, start, bounds, n_nodes)
        for part, start in zip(lists, starts, strict=True)
    ]
    parts: list[Delayed] = []
    for number, run in enumerate(runs):
        n_out = len(run) * len(names)
        join = dask.delayed(_strips, nout=None if n_out == 1 else n_out)
        owned, incoming = [turned[i][0] for i in run], [one[1 + number] for one in turned]
        found = join(owned, incoming, n_nodes, symmetrize)
        parts += [found] if n_out == 1 else [found[i] for i in range(n_out)]
    kept = execution.persist(parts, "edges")
    # Strip after strip, each with the weights of its alternatives.
    strips, *more = (tuple(kept[v :: len(names)]) for v in range(len(names)))
    n_edges = sum(execution.compute([strip.nnz for strip in strips]))
    alternatives = dict(zip(names[1:], more, strict=True))
    return BlockGraph(strips, node_chunks, n_edges, dict(settings), order, alternatives)


def usual_symmetrize(weights: str) -> str:
    """Return how the two weights of a pair become one if nothing is said."""
    return "fuzzy_union" if weights == "fuzzy" else "average"


def check_weights(weights: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of `weights`; raise GraphError if one is unknown or comes twice."""
    names = (weights,) if isinstance(weights, str) else tuple(weights)
    for name in names:
        check_choice("weights", name, WEIGHTS)
    if not names or len(set(names)) < len(names):
        raise GraphError(f"weights is {list(names)!r}; name at least one, and each once")
    return names


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise GraphError if `value` is none of `choices`."""
    if value not in choices:
        raise GraphError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")


def strip_runs(node_chunks: Sequence[int], memory_per_task: int) -> list[range]:
    """Return runs of neighbouring strips: one strip each, or longer ones to save pieces."""
    n_strips = len(node_chunks)
    by_memory = -(-sum(node_chunks) * NODE_BYTES // max(memory_per_task // 4, 1))
    n_runs = min(n_strips, max(MAX_PIECES // n_strips, by_memory, 1))
    ends = [n_strips * i // n_runs for i in range(n_runs + 1)]
    return [range(a, b) for a, b in pairwise(ends)]


def _scales(
    lists: Sequence[Delayed], starts: Sequence[int], n_nodes: int, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the least squared scale of the weightings that have one, and all nodes' scales."""
    floors: dict[str, Any] = {}
    scales: dict[str, Any] = {}
    medians: dict[int | None, Delayed] = {}
    every = -(-n_nodes // MEDIAN_ROWS)
    for name in names:
        if name not in SCALE_PLACE:
            continue
        place = SCALE_PLACE[name]
        if place not in medians:
            parts = block_tasks(_sampled, [lists, starts], place, every)
            medians[place] = dask.delayed(distance_floor)(parts)
        floors[name] = medians[place]
        if name in BY_BOTH_ENDS:
            parts = block_tasks(_node_scales, [lists], name, floors[name])
            scales[name] = dask.delayed(np.concatenate)(parts)
    return floors, scales


def _sampled(lists: Lists, first_row: int, place: int | None, every: int) -> Distances:
    return sampled_scales(*lists, place, first_row, every)


def _node_scales(lists: Lists, weights: str, floor: float) -> Scales:
    return node_scales(*lists, weights, floor)


def _turned(
    lists: Lists,
    names: Sequence[str],
    floors: Mapping[str, float],
    scales: Mapping[str, Scales],
    first_node: int,
    bounds: npt.NDArray[np.int64],
    n_nodes: int,
) -> tuple[Owned | Edges, ...]:
    """Return the weighed lists, and for each run of strips the edges that end in it."""
    distances, indices = lists
    weighed = []
    for name in names:
        all_scales, own_scales = scales.get(name), None
        if all_scales is not None:
            own_scales = all_scales[first_node : first_node + len(indices)]
        floor = floors.get(name, 0.0)
        weighed.append(edge_weights(distances, indices, name, floor, own_scales, all_scales))
    own = owned_edges(indices, weighed, n_nodes)
    return own, *edges_by_run(own, first_node, bounds)


def _strips(owned: list[Owned], incoming: list[Edges], n_nodes: int, symmetrize: str) -> Any:
    """Return strip after strip of the run, each with the weights of its alternatives."""
    strips = symmetric_strips(owned, incoming, n_nodes, symmetrize)
    parts = [part for strip in strips for part in strip]
    return parts[0] if len(parts) == 1 else tuple(parts)
