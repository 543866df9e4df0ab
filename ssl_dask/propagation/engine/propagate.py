"""Graph, seeds, method in; distributions of the rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Literal, TypeVar

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.distributions.label_distributions import (
    normalise_rows,
    row_mass,
    summarise_rows,
)
from ssl_dask.kernels.propagation.sweep import Scores, row_degrees
from ssl_dask.propagation.engine.partitions import WHAT, WorkersChangedError
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.session import (
    CHECKPOINT_SECONDS,
    Checkpoint,
    OnRound,
    PropagationSession,
    Recurrence,
    Resume,
    Solved,
)
from ssl_dask.round_record import RoundRecord

MAX_ATTEMPTS = 5
Found = TypeVar("Found")


@dataclass(frozen=True)
class Propagated:
    """What a propagation found.

    Parameters
    ----------
    F
        Dask array float32 (N, C) in the order of the rows, chunked as `graph.order`, or as the
        strips if that is None: rows sum to 1, or to 0 where no label reaches.
    mass
        Dask array float64 (N,): sum of the row before it was made a distribution. Small where the
        evidence is far; 0 where there is none.
    fold_F
        For each fold float32 (n_hidden, C): the rows of the seeds that it hides, in row order.
    records
        One for each sweep that was counted: the 5th, 10th, 20th, 30th, ... and the last.
    converged
        Whether the stop rule was met; if not, `reason` says why it ended.
    n_iter
        Number of sweeps, over all resumed runs.
    reason
        "converged"; "max_iter"; "rounding": the type of the scores allows no smaller error.
    class_rows
        int64 (C,): rows by most likely class, without ties.
    n_without_evidence
        Rows of F that are zero: in a component without a seed, or too far from one.
    details
        What else the method says of itself, in JSON types.
    """

    F: da.Array
    mass: da.Array
    fold_F: list[npt.NDArray[np.float32]]
    records: list[RoundRecord]
    converged: bool
    n_iter: int
    reason: Literal["converged", "max_iter", "rounding"]
    class_rows: npt.NDArray[np.int64]
    n_without_evidence: int = 0
    details: dict[str, Any] = field(default_factory=dict)


def propagate(
    graph: BlockGraph,
    sources: SeedSources,
    recurrence: Recurrence,
    *,
    max_iter: int,
    tol: float,
    execution: Execution,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
    session: PropagationSession | None = None,
    enter: Callable[[NodeSources], NodeSources] | None = None,
    leave: Callable[[NodeSources, list[Delayed]], list[Delayed]] | None = None,
) -> Propagated:
    """Sweep over the graph until the stop rule is met or `max_iter` sweeps are done.

    Parameters
    ----------
    graph
        Graph of N rows.
    sources
        The seeds, and folds in which some are hidden.
    recurrence
        The method.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        See `PropagationSession.solve`, also for what it raises.
    execution
        Where the sweeps run.
    session
        The graph, placed already; None: it is placed for this call.
    enter
        Makes the right-hand side of the method from the seeds at nodes.
    leave
        Makes scores >= 0 of what the sweeps found, blocks (m_i, G * C) of the strips in `scale`
        times the scores, in new tasks.

    Notes
    -----
    See `PropagationSession`, with K = C (1 + number of folds) columns.
    """
    if sources.labels.n_rows != graph.n_rows:
        raise ValueError(f"labels of {sources.labels.n_rows} rows, a graph of {graph.n_rows}")
    if session is None:
        with PropagationSession(
            graph, execution, n_columns=sources.n_columns, conjugate=recurrence.conjugate
        ) as own:
            return propagate(
                graph,
                sources,
                recurrence,
                max_iter=max_iter,
                tol=tol,
                execution=execution,
                on_round=on_round,
                checkpoint=checkpoint,
                checkpoint_seconds=checkpoint_seconds,
                resume=resume,
                session=own,
                enter=enter,
                leave=leave,
            )
    seeds_at_nodes = sources.at_nodes(graph, execution)
    at_nodes = seeds_at_nodes if enter is None else enter(seeds_at_nodes)
    solved = session.solve(
        recurrence,
        sources=at_nodes,
        max_iter=max_iter,
        tol=tol,
        identity=identity_of(graph, sources, recurrence),
        on_round=on_round,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        resume=resume,
    )
    for attempt in range(MAX_ATTEMPTS + 1):
        try:
            if leave is not None:
                solved = replace(solved, blocks=leave(seeds_at_nodes, solved.blocks))
            return distributions(graph, at_nodes, recurrence, solved, execution)
        except WorkersChangedError:
            if attempt == MAX_ATTEMPTS:
                raise
            # The scores were lost with a worker before they were used.
            solved = session.again()
    raise AssertionError("unreachable")


def until_found(find: Callable[[], Found]) -> Found:
    """Return what `find` returns, which begins anew where workers were lost with scores.

    Raises
    ------
    WorkersChangedError
        Workers were lost again and again.
    """
    for attempt in range(MAX_ATTEMPTS + 1):
        try:
            return find()
        except WorkersChangedError:
            if attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


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
    places = [
        at_nodes.hidden_in_nodes(first, first + n)
        for first, n in zip(graph.node_starts, graph.node_chunks, strict=True)
    ]
    leaves = recurrence.powers[1]
    finished = execution.persist(
        [
            delayed(_finish_block, pure=False)(
                block, strip if leaves else None, place[:2], n_classes, solved.scale, leaves
            )
            for block, strip, place in zip(solved.blocks, graph.strips, places, strict=True)
        ],
        WHAT,
    )
    hidden_rows = execution.compute([_item(block, 2) for block in finished], WHAT)
    F, mass = ([_item(block, item) for block in finished] for item in (0, 1))
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
) -> tuple[da.Array, da.Array, npt.NDArray[np.int64], int]:
    """Return F and mass of nodes, one block a strip, as those of rows, and rows by class.

    Returns
    -------
    (F float32 (N, C), mass float64 (N,)), Dask arrays, `class_rows` and `n_without_evidence`: see
    `Propagated`.
    """
    row_chunks = graph.node_chunks
    if graph.order is not None:
        row_chunks = graph.order.row_chunks
        F = graph.order.rows_of_nodes(F, graph.node_chunks, execution)
        mass = graph.order.rows_of_nodes(mass, graph.node_chunks, execution)
    counts = execution.compute([delayed(_count_classes, pure=False)(block) for block in F], WHAT)
    return (
        _joined(F, row_chunks, (n_classes,), np.float32),
        _joined(mass, row_chunks, (), np.float64),
        np.sum([part for part, _ in counts], axis=0, dtype=np.int64),
        sum(empty for _, empty in counts),
    )


def _item(block: Delayed, item: int) -> Delayed:
    return delayed(itemgetter(item), pure=False)(block)


def _joined(
    blocks: Sequence[Delayed],
    chunks: Sequence[int],
    width: tuple[int, ...],
    dtype: type[np.floating[Any]],
) -> da.Array:
    return da.concatenate(
        [
            da.from_delayed(block, (n, *width), dtype=dtype)
            for block, n in zip(blocks, chunks, strict=True)
        ]
    )


def _count_classes(F: Scores) -> tuple[npt.NDArray[np.int64], int]:
    codes, _, tied = summarise_rows(F)
    chosen = codes[(codes >= 0) & ~tied]
    return np.bincount(chosen, minlength=F.shape[1]), int(np.count_nonzero(codes < 0))


def _finish_block(
    Z: Scores,
    strip: Any,
    hidden: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    n_classes: int,
    scale: float,
    power: float,
) -> tuple[Scores, npt.NDArray[np.float64], Scores]:
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


__all__ = [
    "CHECKPOINT_SECONDS",
    "Checkpoint",
    "OnRound",
    "Propagated",
    "PropagationSession",
    "Recurrence",
    "Resume",
    "Solved",
    "distributions",
    "identity_of",
    "propagate",
    "rows_of_blocks",
    "until_found",
]
