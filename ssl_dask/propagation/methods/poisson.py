"""Poisson learning: seeds are sources and sinks of a flow; few of them do not flatten it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.signed_scores import (
    LeadCounts,
    count_leads,
    median_lead,
    signed_distributions,
)
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.method import Method, MethodInputs
from ssl_dask.propagation.engine.class_shares import ClassShares, expected_shares, project_blocks
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.propagated import STOP_WORDS, Propagated, seeds_and_graph
from ssl_dask.propagation.engine.recurrence import Recurrence
from ssl_dask.propagation.engine.seed_sources import NodeSources
from ssl_dask.propagation.engine.seeded_components import SeededComponents
from ssl_dask.propagation.engine.session import SEED_VALUE, propagate
from ssl_dask.propagation.engine.solve_cost import conjugate_cost
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel, given_shares


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
    columns = [blocks, components.of_strips(graph)]
    counts = execution.compute(block_tasks(_count_block, columns, present), TASK_LABEL)
    units = [median_lead(part[g] for part in counts) for g in range(present.shape[1])]
    return block_tasks(_distribute_block, columns, present, units, scale)


def poisson(inputs: MethodInputs, spec: PoissonSpec, control: RunControl) -> Propagated:
    """Solve L u = sum_j w_j delta_j (y_j - y mean), L = D - W, on every component for itself.

    Block conjugate gradients with the diagonal preconditioner, which keep sum_i d_i u_i at 0 in
    every component. The scores are signed; `F` has them as probabilities, see
    `signed_to_distributions`, and `mass` is 1 where a path leads to a seed (without
    `class_shares`). In a component whose seeds are all of one class, every row gets that class.

    Raises
    ------
    ValueError
        `class_shares` names other classes than the seeds have. For others see `session.propagate`,
        also for costs.

    References
    ----------
    J. Calder, B. Cook, M. Thorpe, D. Slepcev: Poisson Learning: Graph Based Semi-Supervised
    Learning at Very Low Label Rates, ICML 2020, eq. 2.1; here the mean is taken within components.
    """
    graph, sources = seeds_and_graph(inputs)
    execution = control.execution
    shares = expected_shares(spec.class_shares, inputs.labels, sources.hidden)
    found: list[SeededComponents] = []

    def right_hand_side(at_nodes: NodeSources) -> NodeSources:
        found.append(SeededComponents.find(graph, at_nodes, execution))
        return centred_sources(at_nodes, found[0])

    def finish(at_nodes: NodeSources, blocks: list[Delayed]) -> list[Delayed]:
        scores = signed_to_distributions(
            at_nodes, blocks, found[0], graph, execution, scale=SEED_VALUE
        )
        return scores if shares is None else project_blocks(graph, scores, shares, execution)

    return propagate(
        graph,
        sources,
        poisson_recurrence("poisson", spec.tol),
        spec,
        control,
        right_hand_side=right_hand_side,
        finish=finish,
    )


def _grouped(block: Scores, present: Bool) -> Float64:
    _, n_groups, n_classes = present.shape
    return np.asarray(block, dtype=np.float64).reshape(len(block), n_groups, n_classes)


def _present_at(place: Int64, present: Bool, group: int) -> Bool:
    return present[place, group] & (place >= 0)[:, None]


def _count_block(block: Scores, place: Int64, present: Bool) -> list[LeadCounts]:
    scores = _grouped(block, present)
    return [
        count_leads(scores[:, g], _present_at(place, present, g)) for g in range(present.shape[1])
    ]


def _distribute_block(
    block: Scores, place: Int64, present: Bool, units: Sequence[float], scale: float
) -> Float64:
    scores = _grouped(block, present)
    F = [
        signed_distributions(scores[:, g], _present_at(place, present, g), unit)
        for g, unit in enumerate(units)
    ]
    return np.concatenate(F, axis=1) * scale


METHOD = Method(
    PoissonSpec,
    poisson,
    "graph",
    cost=lambda spec, shape: conjugate_cost(shape),
    fallbacks=lambda spec: (("label_propagation", {"class_mass": "seeds"}),),
    class_shares=lambda spec: given_shares(spec.class_shares),
    moves_answer=True,
    stop_words=STOP_WORDS,
)
