"""Class mass normalisation: each class gets the share of the rows that is expected of it.

With few seeds the harmonic function is nearly flat, and the class whose seeds lie best takes all.
The column of each class is scaled to the expected mass before the rows are decided.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.propagation.engine.partitions import WHAT
from ssl_dask.propagation.engine.seed_sources import NodeSources

UNITS = 2.0**30
"""Probabilities are added up as integers of this unit: exactly, in any order."""


def normalise_class_mass(
    graph: BlockGraph,
    at_nodes: NodeSources,
    blocks: Sequence[Delayed],
    shares: npt.NDArray[np.float64],
    execution: Execution,
    scale: float,
) -> list[Delayed]:
    """Return F_ic q_c / sum_u F_uc, u the rows that are no seeds, as distributions times `scale`.

    Parameters
    ----------
    graph
        The graph.
    at_nodes
        The seeds at nodes.
    blocks
        Scores >= 0, (m_i, G * C), one a strip.
    shares
        float64 (G, C): q of each group.
    execution
        Where it runs.
    scale
        A power of two.

    Notes
    -----
    One more pass over the scores; C numbers a strip come to this process. A node counts as often
    as rows share it, not at all where it has a seed.

    References
    ----------
    X. Zhu, Z. Ghahramani, J. Lafferty: Semi-Supervised Learning Using Gaussian Fields and Harmonic
    Functions, ICML 2003, eq. 9.
    """
    rows = [None] * len(blocks)
    if graph.order is not None:
        rows = graph.order.rows_a_node(graph.node_chunks)
    sums = execution.compute(
        [
            delayed(_mass_of_block, pure=False)(
                block, n, *_seeds_between(at_nodes, first, first + m), shares.shape
            )
            for block, n, first, m in zip(
                blocks, rows, graph.node_starts, graph.node_chunks, strict=True
            )
        ],
        WHAT,
    )
    # Python's integers: no sum is too large.
    mass = np.sum([part.astype(object) for part in sums], axis=0).astype(np.float64)
    w = np.divide(shares, mass, where=mass > 0.0, out=np.zeros_like(shares))
    # A class that only seeds have is left to them.
    w /= np.maximum(w.max(axis=1, keepdims=True), np.finfo(float).tiny)
    w[(mass == 0.0) & (shares > 0.0)] = 1.0
    return [delayed(_weighted, pure=False)(block, w, scale) for block in blocks]


def _seeds_between(
    at_nodes: NodeSources, start: int, stop: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    first, last = np.searchsorted(at_nodes.nodes, [start, stop])
    return at_nodes.nodes[first:last] - start, at_nodes.seen[first:last]


def _distributions(block: Scores, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the scores as distributions, float64 (m, G, C), added in the order of classes."""
    F = np.maximum(np.asarray(block, dtype=np.float64), 0.0).reshape(len(block), *shape)
    total = np.zeros(F.shape[:2])
    for c in range(F.shape[2]):
        total += F[:, :, c]
    return F / np.where(total > 0.0, total, 1.0)[:, :, None]


def _mass_of_block(
    block: Scores,
    n_rows: npt.NDArray[np.int64] | None,
    seeds: npt.NDArray[np.int64],
    seen: npt.NDArray[np.bool_],
    shape: tuple[int, int],
) -> npt.NDArray[np.int64]:
    parts = np.rint(_distributions(block, shape) * UNITS).astype(np.int64)
    seed, group = np.nonzero(seen)
    parts[seeds[seed], group] = 0
    if n_rows is not None:
        parts *= n_rows[:, None, None]
    return parts.sum(axis=0)


def _weighted(block: Scores, w: npt.NDArray[np.float64], scale: float) -> Scores:
    F = _distributions(block, w.shape) * w
    return _distributions(F.reshape(len(block), -1), w.shape).reshape(len(block), -1) * scale
