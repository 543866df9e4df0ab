"""Label propagation of numbers: targets are held, other rows are the mean of their neighbours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.block_exchange import block_tasks, fetch_rows, row_starts
from ssl_dask.dask_arrays import array_of_blocks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.labels import NumberLabels
from ssl_dask.method import Method, MethodInputs
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.propagated import (
    STOP_WORDS,
    Propagated,
    Solved,
    graph_of,
    told_records,
)
from ssl_dask.propagation.engine.recurrence import held_recurrence
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.seeded_components import SeededComponents
from ssl_dask.propagation.engine.session import PropagationSession, identity_of
from ssl_dask.propagation.engine.solve_cost import CONJUGATE_VECTORS, sweeps_cost, sweeps_for
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel


class HarmonicRegressionSpec(SpecModel):
    """Label propagation of numbers (Zhu et al. 2003): rows are the mean of their neighbours."""

    name: Literal["harmonic_regression"] = "harmonic_regression"
    max_iter: Annotated[int, Field(ge=1)] = 10_000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-3
    """Largest error when it stops, relative to the largest distance of a target from the mean."""


def harmonic_regression(
    inputs: MethodInputs, spec: HarmonicRegressionSpec, control: RunControl
) -> Propagated:
    """Solve f = D^-1 W f with f held at the targets of the labelled rows.

    Block conjugate gradients with the diagonal preconditioner, in float64. No value is outside the
    range of the targets. Targets are held, so weights matter only where labelled rows are copies
    that share a node: it is held at their weighted mean.

    Returns
    -------
    Propagated
        F float64 (N,), NaN where no path leads to a labelled row; records without classes.

    Raises
    ------
    ValueError
        A target is not a finite number. For others see `session.propagate`, also for costs, with
        K = 1 + number of folds columns.

    References
    ----------
    X. Zhu, Z. Ghahramani, J. Lafferty: Semi-Supervised Learning Using Gaussian Fields and Harmonic
    Functions, ICML 2003, section 2.
    """
    graph, execution = graph_of(inputs), control.execution
    numbers = NumberLabels.of(inputs.labels)
    y = numbers.values
    if not np.isfinite(y).all():
        raise ValueError("targets must be one finite number for each labelled row")
    sources = SeedSources.from_folds(numbers.as_one_class(), inputs.hidden, inputs.sample_weight)
    unit = _Unit.of(y)
    held = _held_targets(sources.at_nodes(graph, execution), (y - unit.middle) / unit.scale)
    components = SeededComponents.find(graph, held, execution)
    seeded = components.sums(held.seen.astype(np.float64)) > 0.0
    recurrence = held_recurrence("harmonic_regression", spec.tol)

    def use(solved: Solved) -> Propagated:
        tasks = block_tasks(_in_unit, [solved.blocks, components.of_strips(graph)], seeded, unit)
        return _numbers_of_rows(graph, sources, tasks, solved, execution)

    with PropagationSession(
        graph, execution, n_columns=sources.n_groups, conjugate=True, losses=control.losses
    ) as session:
        solved = session.solve(
            recurrence,
            sources=held,
            max_iter=spec.max_iter,
            tol=spec.tol,
            scale=1.0,
            identity={
                **identity_of(graph, sources, recurrence),
                "targets": hashlib.sha256(y.tobytes()).hexdigest(),
            },
            control=told_records(control, _without_classes),
        )
        return session.used(solved, use)


@dataclass(frozen=True)
class _Unit:
    """The solve runs on (y - middle) / scale; numbers are between the bounds."""

    middle: float
    scale: float
    bounds: tuple[float, float]

    @classmethod
    def of(cls, y: Float64) -> _Unit:
        """Return the unit in which the targets have the mean 0 and lie within -1 and 1."""
        middle = float(y.mean())
        scale = float(np.abs(y - middle).max()) or 1.0
        return cls(middle, scale, (float(y.min()), float(y.max())))


def _numbers_of_rows(
    graph: BlockGraph,
    sources: SeedSources,
    at_nodes: list[Delayed],
    solved: Solved,
    execution: Execution,
) -> Propagated:
    """Return the answer; `at_nodes` are tasks of numbers float64 (m_i, G), one a strip."""
    blocks = graph.at_rows(execution.persist(at_nodes, TASK_LABEL), execution)
    starts, chunks = row_starts(graph.row_chunks), graph.row_chunks
    seeds = fetch_rows(blocks, starts, sources.labels.rows, execution, TASK_LABEL)
    return Propagated(
        F=array_of_blocks(block_tasks(_first_column, [blocks]), chunks, (), np.float64),
        fold_F=[seeds[mask, g] for g, mask in enumerate(sources.hidden) if g],
        records=[_without_classes(record) for record in solved.records],
        converged=solved.converged,
        n_iter=solved.n_iter,
        reason=solved.reason,
    )


def _without_classes(record: RoundRecord) -> RoundRecord:
    """Return the record without what the loop counts of signs, as if they were classes."""
    return replace(record, labels_changed=0, class_mass=())


def _held_targets(at_nodes: NodeSources, targets: Float64) -> NodeSources:
    """Return sources (U, G, 1) that hold at each node the weighted mean of its visible targets."""
    sources = at_nodes.sources
    place = np.searchsorted(at_nodes.nodes, at_nodes.seed_nodes)
    weights = np.where(sources.hidden, 0.0, sources.weights).T
    sums, totals = np.zeros(at_nodes.seen.shape), np.zeros(at_nodes.seen.shape)
    np.add.at(sums, place, weights * targets[:, None])
    np.add.at(totals, place, weights)
    means = np.divide(sums, totals, where=totals > 0.0, out=np.zeros_like(sums))
    return replace(at_nodes, values=means[:, :, None])


def _in_unit(block: Scores, part: Int64, seeded: Bool, unit: _Unit) -> Float64:
    """Return numbers in the unit of the targets, NaN where no path leads to a labelled row."""
    values: Float64 = np.clip(block.astype(np.float64) * unit.scale + unit.middle, *unit.bounds)
    values[~(seeded[part] & (part >= 0)[:, None])] = np.nan
    return values


def _first_column(block: Float64) -> Float64:
    return np.ascontiguousarray(block[:, 0])


METHOD = Method(
    HarmonicRegressionSpec,
    harmonic_regression,
    "graph",
    cost=lambda spec, shape: sweeps_cost(
        sweeps_for(1.0), 1 + shape.n_folds, vectors=CONJUGATE_VECTORS, size=8
    ),
    target="numbers",
    stop_words=STOP_WORDS,
)
