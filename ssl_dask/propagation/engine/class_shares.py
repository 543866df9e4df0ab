"""The shares of the classes that a job expects, and two ways to move an answer to them.

`normalise_class_mass` scales each class by its mass over the rows. `project_blocks` multiplies each
class so that the labels themselves have the shares: label_i = argmax_c w_c F_ic (Calder et al.
2020, section 4, "volume constrained" label decisions). With right shares both are worth points
where labels are few; wrong ones do harm, so both are off unless a job asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import mul
from typing import Annotated, Any, Literal

import numpy as np
from dask.delayed import Delayed
from pydantic import AfterValidator

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import strip_bounds
from ssl_dask.kernels.arithmetic.linear_scores import ordered_sums
from ssl_dask.kernels.propagation.class_multipliers import class_multipliers
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.node_vectors import rows_at
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.seed_sources import NodeSources
from ssl_dask.spec_model import checked_shares

UNITS = 2.0**30
"""Probabilities are added up as integers of this unit: exactly, in any order."""
SAMPLE_ROWS = 200_000
"""Rows that the multipliers are fitted on: a share is then off by 0.1 % at most."""
SAMPLE_SEED = 20_110_607

ClassShares = Annotated[
    Literal["none", "seeds"] | dict[bool | int | str, float], AfterValidator(checked_shares)
]
"""none; seeds: as among the seeds; or {class: share} of all rows, which sum to 1."""


def expected_shares(
    shares: Literal["none", "seeds"] | dict[bool | int | str, float], labels: Labels, hidden: Bool
) -> Float64 | None:
    """Return the share of each class that each group expects, float64 (G, C); None for "none".

    Parameters
    ----------
    hidden
        bool (G, S): the seeds that each group does not see.

    Raises
    ------
    ValueError
        The classes that are named are not those of the seeds.
    """
    if shares == "none":
        return None
    if shares == "seeds":
        counts = np.stack(
            [np.bincount(labels.codes[~mask], minlength=labels.n_classes) for mask in hidden]
        )
        return counts / counts.sum(axis=1, keepdims=True)
    q = labels.in_order(shares)
    return np.tile(q / q.sum(), (len(hidden), 1))


def expected_rows(shares: Any, labels: Labels) -> Float64:
    """Return the shares of the classes, float64 (C,), that a method's answer is compared with.

    Parameters
    ----------
    shares
        "seeds", or {class: share}: see `Method.class_shares`.
    """
    found = expected_shares(shares, labels, np.zeros((1, labels.n_seeds), dtype=np.bool_))
    assert found is not None
    return found[0]


def normalise_class_mass(
    graph: BlockGraph,
    at_nodes: NodeSources,
    blocks: Sequence[Delayed],
    shares: Float64,
    execution: Execution,
    scale: float,
) -> list[Delayed]:
    """Return F_ic q_c / sum_u F_uc, u the rows that are no seeds, as distributions times `scale`.

    `blocks` are scores >= 0, (m_i, G * C), one a strip; `shares`, float64 (G, C), has q of each
    group; `scale` is a power of two. One more pass over the scores; C numbers a strip come to this
    process. A node counts as often as rows share it, not at all where it has a seed.

    References
    ----------
    X. Zhu, Z. Ghahramani, J. Lafferty: Semi-Supervised Learning Using Gaussian Fields and Harmonic
    Functions, ICML 2003, eq. 9.
    """
    rows = [None] * len(blocks)
    if graph.order is not None:
        rows = graph.order.rows_a_node(graph.node_chunks)
    bounds = strip_bounds(graph.node_chunks)
    cuts = np.searchsorted(at_nodes.nodes, bounds)
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    seeds = [at_nodes.nodes[p] - first for p, first in zip(parts, bounds[:-1], strict=True)]
    seen = [at_nodes.seen[p] for p in parts]
    tasks = block_tasks(_mass_of_block, [blocks, rows, seeds, seen], shares.shape)
    sums = execution.compute(tasks, TASK_LABEL)
    # Python's integers: no sum is too large.
    mass = np.sum([part.astype(object) for part in sums], axis=0).astype(np.float64)
    w = np.divide(shares, mass, where=mass > 0.0, out=np.zeros_like(shares))
    # A class that only seeds have is left to them.
    w /= np.maximum(w.max(axis=1, keepdims=True), np.finfo(float).tiny)
    w[(mass == 0.0) & (shares > 0.0)] = 1.0
    return block_tasks(_weighted, [blocks], w, scale)


def _distributions(block: Scores, shape: tuple[int, ...]) -> Float64:
    """Return the scores as distributions, float64 (m, G, C), added in the order of classes."""
    F = np.maximum(np.asarray(block, dtype=np.float64), 0.0).reshape(len(block), *shape)
    total = ordered_sums(F)
    return F / np.where(total > 0.0, total, 1.0)[..., None]


def _mass_of_block(
    block: Scores, n_rows: Int64 | None, seeds: Int64, seen: Bool, shape: tuple[int, int]
) -> Int64:
    parts = np.rint(_distributions(block, shape) * UNITS).astype(np.int64)
    seed, group = np.nonzero(seen)
    parts[seeds[seed], group] = 0
    if n_rows is not None:
        parts *= n_rows[:, None, None]
    return parts.sum(axis=0)


def _weighted(block: Scores, w: Float64, scale: float) -> Scores:
    F = _distributions(block, w.shape) * w
    return _distributions(F.reshape(len(block), -1), w.shape).reshape(len(block), -1) * scale


def sampled_nodes(graph: BlockGraph, execution: Execution) -> Int64:
    """Return the nodes, int64, increasing, of a uniform sample of rows; all rows if they are few.

    A node that several sampled rows share is there as often. The sample depends on N alone.
    """
    n = graph.n_rows
    if n <= SAMPLE_ROWS:
        rows = np.arange(n)
    else:
        rng = np.random.default_rng(SAMPLE_SEED)
        rows = np.unique(rng.integers(0, n, SAMPLE_ROWS))
    return np.sort(graph.nodes_of(rows, execution))


def project_blocks(
    graph: BlockGraph, blocks: Sequence[Delayed], shares: Float64, execution: Execution
) -> list[Delayed]:
    """Return the blocks with each class of each group multiplied so that labels have the shares.

    `blocks` and `shares` as of `normalise_class_mass`. The same for any strips: what is fitted
    depends on a sample of rows, in their order, alone. Brings 8 G C bytes for each of at most
    200,000 rows to this process.
    """
    n_groups, n_classes = shares.shape
    sample = rows_at(graph, blocks, sampled_nodes(graph, execution), execution)
    grouped = sample.reshape(len(sample), n_groups, n_classes)
    w = np.concatenate([class_multipliers(grouped[:, g], shares[g]) for g in range(n_groups)])
    return block_tasks(mul, [blocks], w)
