"""Label propagation of numbers: targets are held, other rows are the mean of their neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.labels import NumberLabels
from ssl_dask.propagation.engine.partitions import WHAT, WorkersChangedError
from ssl_dask.propagation.engine.propagate import (
    CHECKPOINT_SECONDS,
    MAX_ATTEMPTS,
    Checkpoint,
    OnRound,
    PropagationSession,
    Recurrence,
    Resume,
    identity_of,
)
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.methods.seeded_components import SeededComponents
from ssl_dask.round_record import RoundRecord
from ssl_dask.spec_model import SpecModel

Values = npt.NDArray[np.float64]


class HarmonicRegressionSpec(SpecModel):
    """Label propagation of numbers (Zhu et al. 2003): rows are the mean of their neighbours."""

    name: Literal["harmonic_regression"] = "harmonic_regression"
    max_iter: Annotated[int, Field(ge=1)] = 10_000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-3
    """Largest error when it stops, relative to the largest distance of a target from the mean."""


@dataclass(frozen=True)
class HarmonicValues:
    """What harmonic regression found.

    Parameters
    ----------
    values
        Dask array float64 (N,) in the order of the rows, chunked as `graph.order`, or as the
        strips if that is None: NaN where no path leads to a labelled row.
    fold_values
        For each fold float64 (n_hidden,): those of the rows that it hides, in row order.
    records
        One for each sweep that was counted, without classes, which numbers do not have.
    converged
        Whether the stop rule was met; if not, `reason` says why it ended.
    n_iter
        Number of sweeps, over all resumed runs.
    reason
        "converged"; "max_iter"; "rounding": float64 allows no smaller error.
    residual
        The estimated error at the end, in the unit of `tol`.
    """

    values: da.Array
    fold_values: list[Values]
    records: list[RoundRecord]
    converged: bool
    n_iter: int
    reason: Literal["converged", "max_iter", "rounding"]
    residual: float


def harmonic_regression(
    graph: BlockGraph,
    rows: npt.NDArray[np.int64],
    targets: npt.ArrayLike,
    *,
    max_iter: int = 10_000,
    tol: float = 1e-3,
    sample_weight: npt.ArrayLike | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
) -> HarmonicValues:
    """Solve f = D^-1 W f with f held at the targets of the labelled rows.

    Block conjugate gradients with the diagonal preconditioner, in float64. No value is outside the
    range of the targets.

    Parameters
    ----------
    graph
        Graph of N rows.
    rows
        int64 (S,), increasing: the labelled rows.
    targets
        (S,): finite numbers.
    sample_weight
        (S,): weight > 0 of each target; None: 1 each. As targets are held, it is of account only
        where labelled rows are copies and share a node: that has their weighted mean.
    hidden
        For each fold a bool array (S,): the labelled rows that it hides.
    execution
        Where it runs; default: this process.
    max_iter, tol
        See `HarmonicRegressionSpec`.
    on_round, checkpoint, checkpoint_seconds, resume
        See `PropagationSession.solve`, also for what it costs, with K = 1 + number of folds
        columns.

    Raises
    ------
    ValueError
        A parameter or a target is not usable.
    QualityError
        No row is labelled, or a fold hides all.
    ResumeMismatchError
        The checkpoint is of something else.
    ComputeError
        Workers were lost again and again, or lack memory.

    References
    ----------
    X. Zhu, Z. Ghahramani, J. Lafferty: Semi-Supervised Learning Using Gaussian Fields and Harmonic
    Functions, ICML 2003, section 2.
    """
    HarmonicRegressionSpec(max_iter=max_iter, tol=tol)
    y = np.asarray(targets, dtype=np.float64)
    if y.shape != np.shape(rows) or not np.isfinite(y).all():
        raise ValueError("targets must be one finite number for each labelled row")
    execution = execution or Execution()
    labels = NumberLabels(graph.n_rows, np.asarray(rows), y).as_one_class()
    sources = SeedSources.from_folds(labels, hidden, sample_weight)
    middle = float(y.mean())
    scale = float(np.abs(y - middle).max()) or 1.0
    bounds = float(y.min()), float(y.max())
    held = _held_targets(sources.at_nodes(graph, execution), (y - middle) / scale)
    components = SeededComponents.find(graph, held, execution)
    seeded = components.sums(held.seen.astype(np.float64)) > 0.0
    recurrence = Recurrence(
        name="harmonic_regression",
        target=(1.0, 0.0),
        steps=None,
        powers=(0.0, 0.0),
        clamp_seeds=True,
        dtype="float64",
        settings={"tol": tol},
    )

    def tell(record: RoundRecord) -> None:
        if on_round is not None:
            on_round(_without_classes(record))

    targets_digest = hashlib.sha256(y.tobytes()).hexdigest()
    chunks = graph.node_chunks if graph.order is None else graph.order.row_chunks
    n_columns = sources.n_groups
    with PropagationSession(graph, execution, n_columns=n_columns, conjugate=True) as session:
        solved = session.solve(
            recurrence,
            sources=held,
            max_iter=max_iter,
            tol=tol,
            scale=1.0,
            identity={**identity_of(graph, sources, recurrence), "targets": targets_digest},
            on_round=tell,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            resume=resume,
        )
        for attempt in range(MAX_ATTEMPTS + 1):
            try:
                tasks = [
                    delayed(_in_unit, pure=False)(block, part, seeded, middle, scale, bounds)
                    for block, part in zip(solved.blocks, components.of_strips(graph), strict=True)
                ]
                blocks = execution.persist(tasks, WHAT)
                if graph.order is not None:
                    blocks = graph.order.rows_of_nodes(blocks, graph.node_chunks, execution)
                at_rows = _at(blocks, chunks, labels.rows, execution)
                break
            except WorkersChangedError:
                if attempt == MAX_ATTEMPTS:
                    raise
                # The values were lost with a worker before they were used.
                solved = session.again()
    return HarmonicValues(
        da.concatenate(
            [
                da.from_delayed(delayed(_first_column, pure=False)(block), (n,), dtype=np.float64)
                for block, n in zip(blocks, chunks, strict=True)
            ]
        ),
        [at_rows[mask, g] for g, mask in enumerate(sources.hidden) if g],
        [_without_classes(record) for record in solved.records],
        solved.converged,
        solved.n_iter,
        solved.reason,
        solved.records[-1].residual if solved.records else 0.0,
    )


def _without_classes(record: RoundRecord) -> RoundRecord:
    """Return the record without what the loop counts of signs, as if they were classes."""
    return replace(record, labels_changed=0, class_mass=())


def _held_targets(at_nodes: NodeSources, targets: Values) -> NodeSources:
    """Return sources (U, G, 1) that hold at each node the weighted mean of its visible targets."""
    sources = at_nodes.sources
    place = np.searchsorted(at_nodes.nodes, at_nodes.seed_nodes)
    weights = np.where(sources.hidden, 0.0, sources.weights).T
    sums, totals = np.zeros(at_nodes.seen.shape), np.zeros(at_nodes.seen.shape)
    np.add.at(sums, place, weights * targets[:, None])
    np.add.at(totals, place, weights)
    means = np.divide(sums, totals, where=totals > 0.0, out=np.zeros_like(sums))
    return replace(at_nodes, values=means[:, :, None])


def _in_unit(
    block: Scores,
    part: npt.NDArray[np.int64],
    seeded: npt.NDArray[np.bool_],
    middle: float,
    scale: float,
    bounds: tuple[float, float],
) -> Values:
    values: Values = np.clip(block.astype(np.float64) * scale + middle, *bounds)
    values[~(seeded[part] & (part >= 0)[:, None])] = np.nan
    return values


def _first_column(block: Values) -> Values:
    return np.ascontiguousarray(block[:, 0])


def _take(block: Values, positions: npt.NDArray[np.int64]) -> Values:
    return block[positions]


def _at(
    blocks: Sequence[Delayed],
    chunks: Sequence[int],
    rows: npt.NDArray[np.int64],
    execution: Execution,
) -> Values:
    starts = np.concatenate([[0], np.cumsum(chunks)])
    cuts = np.searchsorted(rows, starts)
    tasks = [
        delayed(_take, pure=False)(block, rows[cuts[b] : cuts[b + 1]] - starts[b])
        for b, block in enumerate(blocks)
    ]
    return np.concatenate(execution.compute(tasks, WHAT))
