"""Poisson learning: seeds are sources and sinks of a flow; few of them do not flatten it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.signed_scores import (
    LeadCounts,
    count_leads,
    median_lead,
    signed_distributions,
)
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.partitions import WHAT
from ssl_dask.propagation.engine.propagate import (
    CHECKPOINT_SECONDS,
    Checkpoint,
    OnRound,
    Propagated,
    Recurrence,
    Resume,
    propagate,
)
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.session import SEED_VALUE
from ssl_dask.propagation.methods.class_shares import ClassShares, expected_shares
from ssl_dask.propagation.methods.prior_projection import project_blocks
from ssl_dask.propagation.methods.seeded_components import SeededComponents
from ssl_dask.spec_model import SpecModel


class PoissonSpec(SpecModel):
    """Poisson learning (Calder et al. 2020): for one to five labels a class."""

    name: Literal["poisson"] = "poisson"
    class_shares: ClassShares = "none"
    """Move the answer to these shares of the classes: none; seeds: as among the seeds; or
    {class: share}. Wrong shares hurt."""
    max_iter: Annotated[int, Field(ge=1)] = 10_000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-3
    """Largest error of a score when it stops, relative to the largest source."""


def centred_sources(at_nodes: NodeSources, components: SeededComponents) -> NodeSources:
    """Return the sources w_j (y_j - y mean), the mean over the seeds of the node's component.

    The equation L u = b has a solution only if the sources sum to zero in every component. With the
    mean over all seeds they do not, and iterations drift without end; with one mean a component
    each component is a problem of its own, as the flow between them is none.
    """
    values = at_nodes.values.astype(np.float64)
    totals = components.sums(values)
    weight = totals.sum(axis=2, keepdims=True)
    mean = totals / np.where(weight > 0.0, weight, 1.0)
    centred = values - values.sum(axis=2, keepdims=True) * mean[components.of_seed_node]
    return replace(at_nodes, values=centred)


def poisson_recurrence(name: str, tol: float) -> Recurrence:
    """Return what solves (D - W) u = b."""
    return Recurrence(
        name=name,
        target=(1.0, 1.0),
        steps=None,
        powers=(1.0, 0.0),
        # The error may be the residual over a tiny eigenvalue, and so may rounding.
        dtype="float64",
        settings={"tol": tol},
    )


def signed_to_distributions(
    at_nodes: NodeSources,
    blocks: Sequence[Delayed],
    components: SeededComponents,
    graph: BlockGraph,
    execution: Execution,
    scale: float = 1.0,
) -> list[Delayed]:
    """Return distributions, times `scale`, of the nodes' signed scores; blocks (m_i, G * C).

    A row can have the classes with seeds in its component. See `kernels.signed_scores` for how
    scores become probabilities: ln 10 times the score over the median lead, so that the median row
    has odds 10 : 1. They order rows and classes; the pipeline calibrates them on hidden seeds.
    """
    present = components.sums(at_nodes.values) > 0.0
    places = components.of_strips(graph)
    counts = execution.compute(
        [
            delayed(_count_block, pure=False)(block, place, present)
            for block, place in zip(blocks, places, strict=True)
        ],
        WHAT,
    )
    units = [median_lead(part[g] for part in counts) for g in range(present.shape[1])]
    return [
        delayed(_distribute_block, pure=False)(block, place, present, units, scale)
        for block, place in zip(blocks, places, strict=True)
    ]


def poisson(
    graph: BlockGraph,
    labels: Labels,
    *,
    class_shares: Any = "none",
    max_iter: int = 10_000,
    tol: float = 1e-3,
    sample_weight: npt.ArrayLike | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
) -> Propagated:
    """Solve L u = sum_j w_j delta_j (y_j - y mean), L = D - W, on every component for itself.

    Block conjugate gradients with the diagonal preconditioner, which keep sum_i d_i u_i at 0 in
    every component. The scores are signed; `F` has them as probabilities, see
    `signed_to_distributions`, and `mass` is 1 where a path leads to a seed (without
    `class_shares`). In a component whose seeds are all of one class, every row gets that class.

    Parameters
    ----------
    graph
        Graph of N rows.
    labels
        The seeds.
    class_shares
        "none"; "seeds"; or {class: share}: see `prior_projection`.
    sample_weight
        (S,): weight w > 0 of each seed, in row order; None: 1 each.
    hidden
        For each fold a bool array (S,): the seeds that it hides; see `Propagated.fold_F`.
    execution
        Where it runs; default: this process.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        See `engine.propagate`, also for what it raises and costs.

    Raises
    ------
    ValueError
        `class_shares` names other classes than the seeds have.

    References
    ----------
    J. Calder, B. Cook, M. Thorpe, D. Slepcev: Poisson Learning: Graph Based Semi-Supervised
    Learning at Very Low Label Rates, ICML 2020, eq. 2.1; here the mean is taken within components.
    """
    execution = execution or Execution()
    sources = SeedSources.from_folds(labels, hidden, sample_weight)
    shares = expected_shares(class_shares, labels, sources.hidden)
    found: list[SeededComponents] = []

    def enter(at_nodes: NodeSources) -> NodeSources:
        found.append(SeededComponents.find(graph, at_nodes, execution))
        return centred_sources(at_nodes, found[0])

    def leave(at_nodes: NodeSources, blocks: list[Delayed]) -> list[Delayed]:
        scores = signed_to_distributions(
            at_nodes, blocks, found[0], graph, execution, scale=SEED_VALUE
        )
        if shares is None:
            return scores
        return project_blocks(graph, scores, shares, execution)

    return propagate(
        graph,
        sources,
        poisson_recurrence("poisson", tol),
        max_iter=max_iter,
        tol=tol,
        execution=execution,
        on_round=on_round,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        resume=resume,
        enter=enter,
        leave=leave,
    )


def _grouped(block: Scores, present: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    _, n_groups, n_classes = present.shape
    return np.asarray(block, dtype=np.float64).reshape(len(block), n_groups, n_classes)


def _present_at(
    place: npt.NDArray[np.int64], present: npt.NDArray[np.bool_], group: int
) -> npt.NDArray[np.bool_]:
    return present[place, group] & (place >= 0)[:, None]


def _count_block(
    block: Scores, place: npt.NDArray[np.int64], present: npt.NDArray[np.bool_]
) -> list[LeadCounts]:
    scores = _grouped(block, present)
    return [
        count_leads(scores[:, g], _present_at(place, present, g)) for g in range(present.shape[1])
    ]


def _distribute_block(
    block: Scores,
    place: npt.NDArray[np.int64],
    present: npt.NDArray[np.bool_],
    units: Sequence[float],
    scale: float,
) -> npt.NDArray[np.float64]:
    scores = _grouped(block, present)
    F = [
        signed_distributions(scores[:, g], _present_at(place, present, g), unit)
        for g, unit in enumerate(units)
    ]
    return np.concatenate(F, axis=1) * scale
