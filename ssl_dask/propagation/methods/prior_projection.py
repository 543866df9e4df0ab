"""Class-prior projection: the answer of any method moved to given shares of the classes.

label_i = argmax_c w_c F_ic, with one multiplier a class (Calder et al. 2020, section 4, "volume
constrained" label decisions). With right shares it is worth points where labels are few; wrong ones
do harm, so it is off unless a job asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.class_multipliers import class_multipliers
from ssl_dask.kernels.propagation.sweep import Scores

SAMPLE_ROWS = 200_000
"""Rows that the multipliers are fitted on: a share is then off by 0.1 % at most."""
SAMPLE_SEED = 20_110_607


def sampled_nodes(graph: BlockGraph, execution: Execution) -> npt.NDArray[np.int64]:
    """Return the nodes, int64, increasing, of a uniform sample of rows; all rows if they are few.

    A node that several sampled rows share is there as often. The sample depends on N alone.
    """
    n = graph.n_rows
    if n <= SAMPLE_ROWS:
        rows = np.arange(n)
    else:
        rng = np.random.default_rng(SAMPLE_SEED)
        rows = np.unique(rng.integers(0, n, SAMPLE_ROWS))
    return np.sort(rows if graph.order is None else graph.order.nodes_of(rows, execution))


def rows_at(
    graph: BlockGraph,
    blocks: Sequence[Delayed],
    nodes: npt.NDArray[np.int64],
    execution: Execution,
) -> Scores:
    """Fetch what stands at some nodes: `blocks` has one a strip, `nodes` are increasing."""
    cuts = np.searchsorted(nodes, [*graph.node_starts, graph.n_nodes])
    tasks = [
        delayed(_take, pure=False)(block, nodes[cuts[s] : cuts[s + 1]] - first)
        for s, (block, first) in enumerate(zip(blocks, graph.node_starts, strict=True))
    ]
    return np.concatenate(execution.compute(tasks, "projection"))


def project_blocks(
    graph: BlockGraph,
    blocks: Sequence[Delayed],
    shares: npt.NDArray[np.float64],
    execution: Execution,
) -> list[Delayed]:
    """Return the blocks with each class of each group multiplied so that labels have the shares.

    The same for any strips: what is fitted depends on a sample of rows, in their order, alone.

    Parameters
    ----------
    blocks
        Scores >= 0, (m_i, G * C), one a strip.
    shares
        float64 (G, C).

    Notes
    -----
    Brings 8 G C bytes for each of at most 200,000 rows to this process.
    """
    n_groups, n_classes = shares.shape
    sample = rows_at(graph, blocks, sampled_nodes(graph, execution), execution)
    grouped = sample.reshape(len(sample), n_groups, n_classes)
    w = np.concatenate([class_multipliers(grouped[:, g], shares[g]) for g in range(n_groups)])
    return [delayed(_multiplied, pure=False)(block, w) for block in blocks]


def _take(block: Scores, positions: npt.NDArray[np.int64]) -> Scores:
    return block[positions]


def _multiplied(block: Scores, w: npt.NDArray[np.float64]) -> Scores:
    return block * w
