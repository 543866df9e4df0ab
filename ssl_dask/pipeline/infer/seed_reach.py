"""Which rows a path of the graph joins with a seed, and the largest components without one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Bool, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.execution import Execution
from ssl_dask.graph.block.components import Components
from ssl_dask.graph.block.node_order import NodeOrder, row_numbers

COMPONENTS_TOLD = 100


def seed_reach(
    components: Components,
    order: NodeOrder | None,
    seed_nodes: Int64,
    row_chunks: Sequence[int],
    execution: Execution,
    tags: Sequence[Delayed] | None = None,
) -> tuple[list[Delayed], int, dict[int, int]]:
    """Find the rows that a path joins with a seed.

    Parameters
    ----------
    components
        Of the graph.
    order
        Which node a row is; None: row i is node i.
    seed_nodes
        int64 (S,): nodes of the seeds.
    row_chunks
        Rows of each block of the result.
    execution
        Where it runs. A worker holds the node of each row, 8 N bytes; with tags 32 N for a moment.
    tags
        int64 (n_i,) for each of `row_chunks`: tags of the rows; None: their numbers.

    Returns
    -------
    (reached, n_without, unseeded)
        Per block bool (n_i,): whether a path leads to a seed; the rows that no path joins with one;
        row of the smallest tag -> rows of the largest components without a seed.
    """
    nodes = _nodes_of_blocks(order, row_chunks)
    with_seed = delayed(_components_of, pure=False)(components.labels, seed_nodes)
    per_block = block_tasks(_in_components, [nodes], components.labels, with_seed)
    reached = execution.persist(per_block, "reach")
    ((n_without, unseeded),) = execution.compute(
        [delayed(_unseeded_components, pure=False)(components.labels, with_seed, nodes, tags)],
        "components",
    )
    return reached, n_without, unseeded


def _nodes_of_blocks(order: NodeOrder | None, row_chunks: Sequence[int]) -> list[Delayed]:
    """Return the node of each row in blocks of `row_chunks` rows."""
    if order is None:
        return row_numbers(row_chunks)
    nodes = array_of_blocks(order.blocks, order.row_chunks, (), np.int64)
    nodes = nodes.rechunk((tuple(row_chunks),))
    return row_handles(nodes)


def _components_of(component: npt.NDArray[np.integer], nodes: Int64) -> npt.NDArray[np.integer]:
    return np.unique(component[nodes])


def _in_components(
    nodes: Int64, component: npt.NDArray[np.integer], wanted: npt.NDArray[np.integer]
) -> Bool:
    return np.isin(component[nodes], wanted)


def _unseeded_components(
    component: npt.NDArray[np.integer],
    with_seed: npt.NDArray[np.integer],
    nodes: Sequence[Int64],
    tags: Sequence[Int64] | None,
) -> tuple[int, dict[int, int]]:
    of_row = component[np.concatenate(nodes)]
    rows = np.flatnonzero(~np.isin(of_row, with_seed))
    if tags is not None:
        rows = rows[np.argsort(np.concatenate(tags)[rows], kind="stable")]
    _, place, sizes = np.unique(of_row[rows], return_index=True, return_counts=True)
    first = rows[place]
    largest = np.lexsort((place, -sizes))[:COMPONENTS_TOLD]
    return int(sizes.sum()), dict(
        zip(first[largest].tolist(), sizes[largest].tolist(), strict=True)
    )
