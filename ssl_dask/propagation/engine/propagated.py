"""What a propagation found: scores of the nodes, and distributions of the rows made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Literal

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


@dataclass(frozen=True)
class Solved:
    """Scores of the nodes of a graph."""

    blocks: list[Delayed]
    """(m_i, K) in the type of the recurrence, one for each strip, where the strips are: `scale`
    times Z = D^-r F."""
    scale: float
    """A power of two."""
    records: list[RoundRecord]
    """One for each sweep that was counted."""
    converged: bool
    """Whether the stop rule was met."""
    n_iter: int
    """Number of sweeps, over all resumed runs."""
    reason: Literal["converged", "max_iter", "rounding"]
    """Why it ended."""


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
