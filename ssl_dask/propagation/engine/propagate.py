"""Graph, seeds, method in; distributions of the rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import Delayed

from ssl_dask.array_types import Float64, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.distributions.label_distributions import (
    normalise_rows,
    row_mass,
    summarise_rows,
)
from ssl_dask.kernels.propagation.sweep import Scores, row_degrees
from ssl_dask.method import MethodInputs, MethodResult
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.recurrence import Recurrence
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.session import PropagationSession, Solved
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import RunControl

STOP_WORDS = {
    "converged": "the stop rule was met",
    "max_iter": "the limit of iterations was reached",
    "rounding": "float32 allows no smaller residual",
}


@dataclass(frozen=True, kw_only=True)
class Propagated(MethodResult):
    """What a propagation found.

    `F` is in the order of the rows, chunked as `graph.order`, or as the strips if that is None.
    Rows are 0 (NaN for numbers) where no label reaches. `records` has the 5th, 10th, 20th, 30th,
    ... sweep and the last. `reason` is "converged", "max_iter", or "rounding": the type of the
    scores allows no smaller error.
    """

    mass: da.Array | None = None
    """Dask array float64 (N,): sum of the row before it was made a distribution. Small where the
    evidence is far; 0 where there is none. None for methods that have none."""
    n_iter: int = 0
    """Number of sweeps, over all resumed runs."""
    n_without_evidence: int = 0
    """Rows of F that are zero: in a component without a seed, or too far from one."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else the method reports, in JSON types."""


def propagate(
    graph: BlockGraph,
    sources: SeedSources,
    recurrence: Recurrence,
    spec: Any,
    control: RunControl,
    *,
    session: PropagationSession | None = None,
    right_hand_side: Callable[[NodeSources], NodeSources] | None = None,
    finish: Callable[[NodeSources, list[Delayed]], list[Delayed]] | None = None,
) -> Propagated:
    """Sweep over the graph until the stop rule is met or `spec.max_iter` sweeps are done.

    Parameters
    ----------
    graph, sources
        Graph of N rows; the seeds, and folds in which some are hidden.
    recurrence, spec
        The method; most sweeps (`max_iter`) and the largest error of `StopRule` (`tol`).
    control
        Where it runs, its listener, its checkpoints and its losses.
    session
        Where the graph lies already; None: it is placed for this call.
    right_hand_side
        Makes the method's right-hand side from the seeds at nodes.
    finish
        Makes tasks of scores >= 0 from the blocks that were found, (m_i, G * C), one a strip; both
        are `scale` times the scores.

    Raises
    ------
    ResumeMismatchError
        The checkpoint is of something else.
    ComputeError
        Workers were lost again and again, or lack memory.

    Notes
    -----
    Costs as of `PropagationSession`, with K = C (1 + number of folds) columns.
    """
    check_rows(graph, sources.labels.n_rows)
    execution = control.execution
    with _placed(graph, sources, recurrence, control, session) as placed:
        seeds_at_nodes = sources.at_nodes(graph, execution)
        at_nodes = seeds_at_nodes if right_hand_side is None else right_hand_side(seeds_at_nodes)
        solved = placed.solve(
            recurrence,
            sources=at_nodes,
            max_iter=spec.max_iter,
            tol=spec.tol,
            identity=identity_of(graph, sources, recurrence),
            control=control,
        )

        def use(solved: Solved) -> Propagated:
            if finish is not None:
                solved = replace(solved, blocks=finish(seeds_at_nodes, solved.blocks))
            return distributions(graph, at_nodes, recurrence, solved, execution)

        return placed.used(solved, use)


def _placed(
    graph: BlockGraph,
    sources: SeedSources,
    recurrence: Recurrence,
    control: RunControl,
    session: PropagationSession | None,
) -> AbstractContextManager[PropagationSession]:
    """Return the session as it is, or a new one that is closed at the end."""
    if session is not None:
        return nullcontext(session)
    return PropagationSession(
        graph,
        control.execution,
        n_columns=sources.n_columns,
        conjugate=recurrence.conjugate,
        losses=control.losses,
    )


def told_records(control: RunControl, change: Callable[[RoundRecord], RoundRecord]) -> RunControl:
    """Return the control with a listener that gets each record after `change`."""
    on_round = control.on_round
    if on_round is None:
        return control
    return replace(control, on_round=lambda record: on_round(change(record)))


def seeds_and_graph(inputs: MethodInputs) -> tuple[BlockGraph, SeedSources]:
    """Return the graph, and the seeds with one group for each fold.

    Raises
    ------
    QualityError
        There is no seed, or a fold hides them all.
    ValueError
        The graph has other rows than the labels; a fold or a weight is not usable.
    """
    graph = graph_of(inputs)
    return graph, SeedSources.from_folds(inputs.labels, inputs.hidden, inputs.sample_weight)


def graph_of(inputs: MethodInputs) -> BlockGraph:
    """Return the graph of a method's inputs.

    Raises
    ------
    ValueError
        There is none, or it has other rows than the labels.
    """
    if inputs.graph is None:
        raise ValueError("this method needs a graph")
    check_rows(inputs.graph, inputs.labels.n_rows)
    return inputs.graph


def check_rows(graph: BlockGraph, n_rows: int) -> None:
    """Raise ValueError unless the graph has so many rows."""
    if n_rows != graph.n_rows:
        raise ValueError(f"labels of {n_rows} rows, a graph of {graph.n_rows}")


def distributions(
    graph: BlockGraph,
    at_nodes: NodeSources,
    recurrence: Recurrence,
    solved: Solved,
    execution: Execution,
) -> Propagated:
    """Turn scores of nodes into distributions of rows, and fetch those of the hidden seeds.

    Raises
    ------
    WorkersChangedError
        The scores were lost with a worker.
    """
    n_classes = at_nodes.sources.labels.n_classes
    places = at_nodes.hidden_places(graph)
    leaves = recurrence.powers[1]
    strips = graph.strips if leaves else [None] * len(graph.strips)
    columns = [solved.blocks, strips, [place[:2] for place in places]]
    tasks = block_tasks(_finish_block, columns, n_classes, solved.scale, leaves)
    F, mass, hidden = items_of(execution.persist(tasks, TASK_LABEL), 3)
    hidden_rows = execution.compute(hidden, TASK_LABEL)
    rows_F, rows_mass, class_rows, n_empty = rows_of_blocks(graph, F, mass, n_classes, execution)
    return Propagated(
        F=rows_F,
        mass=rows_mass,
        fold_F=at_nodes.by_fold([place[1:] for place in places], hidden_rows),
        records=solved.records,
        converged=solved.converged,
        n_iter=solved.n_iter,
        reason=solved.reason,
        class_rows=class_rows,
        n_without_evidence=n_empty,
    )


def rows_of_blocks(
    graph: BlockGraph,
    F: Sequence[Delayed],
    mass: Sequence[Delayed],
    n_classes: int,
    execution: Execution,
) -> tuple[da.Array, da.Array, Int64, int]:
    """Return F and mass of nodes, one block a strip, as those of rows, and rows by class.

    Returns
    -------
    (F float32 (N, C), mass float64 (N,)), Dask arrays, `class_rows` and `n_without_evidence`: see
    `Propagated`.
    """
    F, mass = graph.at_rows(F, execution), graph.at_rows(mass, execution)
    counts = execution.compute(block_tasks(_count_classes, [F]), TASK_LABEL)
    return (
        array_of_blocks(F, graph.row_chunks, (n_classes,), np.float32),
        array_of_blocks(mass, graph.row_chunks, (), np.float64),
        np.sum([part for part, _ in counts], axis=0, dtype=np.int64),
        sum(empty for _, empty in counts),
    )


def items_of(blocks: Sequence[Delayed], n_items: int) -> list[list[Delayed]]:
    """Return tasks of the first, second, ... item of each block."""
    return [block_tasks(itemgetter(item), [blocks]) for item in range(n_items)]


def _count_classes(F: Scores) -> tuple[Int64, int]:
    codes, _, tied = summarise_rows(F)
    chosen = codes[(codes >= 0) & ~tied]
    return np.bincount(chosen, minlength=F.shape[1]), int(np.count_nonzero(codes < 0))


def _finish_block(
    Z: Scores, strip: Any, hidden: tuple[Int64, Int64], n_classes: int, scale: float, power: float
) -> tuple[Scores, Float64, Scores]:
    """Return (F, mass, F of the hidden seeds) of one block."""
    first_group = Z[:, :n_classes]
    mass = row_mass(first_group) / scale
    if strip is not None:
        mass *= row_degrees(strip.indptr, strip.data) ** power
    positions, groups = hidden
    grouped = Z.reshape(len(Z), Z.shape[1] // n_classes, n_classes)
    return normalise_rows(first_group), mass, normalise_rows(grouped[positions, groups])


def identity_of(graph: BlockGraph, sources: SeedSources, recurrence: Recurrence) -> dict[str, Any]:
    """Return what must be equal for a checkpoint to fit, in JSON types."""
    return {
        "method": recurrence.name,
        "settings": dict(recurrence.settings),
        "n_rows": graph.n_rows,
        "n_nodes": graph.n_nodes,
        "n_edges": graph.n_edges,
        "n_classes": sources.labels.n_classes,
        "n_groups": sources.n_groups,
        "n_seeds": sources.labels.n_seeds,
        "seeds": sources.digest(),
    }
