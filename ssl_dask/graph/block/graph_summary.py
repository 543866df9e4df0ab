"""What a report says about a graph: degrees, hubs, components, edges between strips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import dask
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Int32, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.components import Components
from ssl_dask.graph.block.node_order import strip_bounds

HUB_DEGREES = 5
"""A node with more than so many times the neighbours of the median node is a hub."""
DEGREE_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


def seed_agreement(
    graph: BlockGraph, seed_nodes: Int64, codes: Int32, execution: Execution
) -> tuple[int, int]:
    """Return the edges that join two seeds, and those of them that join seeds of one class.

    `seed_nodes` (S,) has the node of each seed, of which the first at a node counts, and `codes`
    (S,) their classes. Each undirected edge counts once. One task for each strip that holds a seed.
    """
    nodes, first = np.unique(seed_nodes, return_index=True)
    classes = codes[first]
    starts = strip_bounds(graph.node_chunks)
    cuts = np.searchsorted(nodes, starts)
    tasks = [
        dask.delayed(_count_agreement, pure=False)(
            strip, nodes[cuts[s] : cuts[s + 1]] - starts[s], int(cuts[s]), nodes, classes
        )
        for s, strip in enumerate(graph.strips)
        if cuts[s] < cuts[s + 1]
    ]
    counts = np.sum(execution.compute(tasks, "graph summary"), axis=0)
    return int(counts[0]) // 2, int(counts[1]) // 2


def _count_agreement(
    strip: sp.csr_array, rows: Int64, first: int, nodes: Int64, classes: Int32
) -> tuple[int, int]:
    part = strip[rows]
    own = np.repeat(classes[first : first + len(rows)], np.diff(part.indptr))
    place = np.minimum(np.searchsorted(nodes, part.indices), len(nodes) - 1)
    both = nodes[place] == part.indices
    return int(both.sum()), int((both & (classes[place] == own)).sum())


def graph_summary(
    graph: BlockGraph, execution: Execution, components: Components | None = None
) -> dict[str, Any]:
    """Return what a report says about `graph`, in JSON types.

    Counts of edges (each undirected edge once), isolated rows, components and the sizes of the
    largest, exact quantiles of the number of neighbours, hubs, and the share of edges that join
    rows of different strips (what a sweep of propagation has to move). `components` spares finding
    them again.
    """
    components = components or graph.components(execution)
    tasks = block_tasks(_count_edges, [graph.strips, graph.node_starts])
    counted = execution.compute(tasks, "graph summary")
    n_crossing = sum(crossing for _, crossing in counted)
    histogram: Counter[int] = Counter()
    for degrees, _ in counted:
        histogram.update(degrees)
    middle = max(_quantiles(histogram, graph.n_nodes)["0.5"], 1)
    return {
        "n_rows": graph.n_rows,
        "n_nodes": graph.n_nodes,
        "n_edges": graph.n_edges // 2,
        "n_isolated": components.n_isolated,
        "n_components": components.n_components,
        "largest_components": list(components.largest_sizes),
        "neighbours": _quantiles(histogram, graph.n_nodes),
        "n_hubs": sum(n for degree, n in histogram.items() if degree > HUB_DEGREES * middle),
        "n_strips": len(graph.strips),
        "crossing_share": n_crossing / graph.n_edges if graph.n_edges else 0.0,
        "settings": dict(graph.settings),
    }


def _count_edges(strip: sp.csr_array, first_row: int) -> tuple[dict[int, int], int]:
    """Return {number of neighbours: rows} and the number of entries that leave the strip."""
    degrees, rows = np.unique(np.diff(strip.indptr), return_counts=True)
    inside = (strip.indices >= first_row) & (strip.indices < first_row + strip.shape[0])
    return dict(zip(degrees.tolist(), rows.tolist(), strict=True)), int(np.count_nonzero(~inside))


def _quantiles(histogram: Mapping[int, int], n_rows: int) -> dict[str, int]:
    """Return nearest-rank quantiles of values given as {value: how often}."""
    values = np.array(sorted(histogram))
    upto: Int64 = np.cumsum([histogram[int(value)] for value in values])
    ranks = [max(int(np.ceil(q * n_rows)), 1) for q in DEGREE_QUANTILES]
    return {
        f"{q:g}": int(values[np.searchsorted(upto, rank)])
        for q, rank in zip(DEGREE_QUANTILES, ranks, strict=True)
    }
