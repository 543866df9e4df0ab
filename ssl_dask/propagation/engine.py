"""The one loop of all propagation methods: graph, seeds, recurrence in; distributions out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal, Protocol

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.errors import ResumeMismatchError
from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.kernels.label_distributions import normalise_rows, row_mass
from ssl_dask.kernels.propagation_step import Coefficients
from ssl_dask.propagation.chebyshev import StagedChebyshev
from ssl_dask.propagation.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.stop_rule import StopRule
from ssl_dask.propagation.sweeps import WHAT, StripSetup, Sweeps, Values, make_sweeps
from ssl_dask.round_record import RoundRecord

CHECKPOINT_SECONDS = 300.0
SEED_VALUE = 2.0**48
"""What B holds at a seed, in the column of its class. Scores decay with the distance from seeds:
a large power of two doubles the distance that float32 can bridge, and changes no other bit."""

OnRound = Callable[[RoundRecord], None]
State = Sequence[Sequence[Delayed]]
Resume = tuple[int, State, Mapping[str, Any]]


class Checkpoint(Protocol):
    """Keeps the state of a solver: the blocks of F_t and F_{t-1}, and `meta` in JSON types."""

    def __call__(
        self, iteration: int, state_blocks: list[list[Delayed]], meta: dict[str, Any], /
    ) -> None:
        """Keep what is given, or raise."""


@dataclass(frozen=True)
class Recurrence:
    """What makes one method differ from another: a few numbers.

    Parameters
    ----------
    name
        Name of the method.
    symmetric
        S is D^-1/2 W D^-1/2; else the random walk D^-1 W.
    target
        (p, q) of the fixed point F = p S F + q B.
    steps
        Called with t = 1, 2, ...; returns (a, b, c, d) of
        F_t = a S F_{t-1} + b F_{t-1} + c F_{t-2} + d B.
    clamp_seeds
        Seeds keep their label.
    settings
        The parameters of the method, in JSON types: a checkpoint fits only the same.
    dtype
        Type that scores are kept in.
    stages
        The schedule of steps for a bound that is not known, which the stop rule asks; None where
        the residual bounds the error by itself.
    """

    name: str
    symmetric: bool
    target: tuple[float, float]
    steps: Callable[[int], tuple[float, float, float, float]]
    clamp_seeds: bool
    settings: Mapping[str, Any]
    dtype: Literal["float32", "float64"] = "float32"
    stages: StagedChebyshev | None = None

    def coefficients(self, iteration: int) -> Coefficients:
        """Return all numbers of sweep `iteration`, counted from 1."""
        return Coefficients(*self.steps(iteration), *self.target)

    @property
    def error_scale(self) -> float:
        """Largest entry of q B, or of B where seeds are clamped."""
        return SEED_VALUE if self.clamp_seeds else SEED_VALUE * self.target[1]


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
        One for each sweep.
    converged
        Whether the stop rule was met; if not, `reason` says why it ended.
    n_iter
        Number of sweeps, over all resumed runs.
    reason
        "converged"; "max_iter"; "rounding": the type of the scores allows no smaller error.
    n_without_evidence
        Rows of F that are zero: in a component without a seed, or too far from one.
    """

    F: da.Array
    mass: da.Array
    fold_F: list[npt.NDArray[np.float32]]
    records: list[RoundRecord]
    converged: bool
    n_iter: int
    reason: Literal["converged", "max_iter", "rounding"]
    n_without_evidence: int = field(default=0)


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
) -> Propagated:
    """Sweep over the graph until the stop rule is met or `max_iter` sweeps are done.

    The answer has the same bits for any number of strips, workers and threads, and when resumed.

    Parameters
    ----------
    graph
        Graph of N rows.
    sources
        The seeds, and folds in which some are hidden.
    recurrence
        The method.
    max_iter, tol
        See `StopRule`.
    execution
        Where the sweeps run.
    on_round
        Told what each sweep did.
    checkpoint
        Called between two sweeps at most every `checkpoint_seconds`, and never after the last.
    resume
        (iteration, state_blocks, meta) as `checkpoint` was given; blocks may be cut anew.

    Raises
    ------
    ResumeMismatchError
        The checkpoint is of another method, other parameters, other seeds or another graph.
    ComputeError
        Workers were lost for good.

    Notes
    -----
    Per sweep, with G = 1 + number of folds: n_edges * G * C multiplications; on a cluster
    strips + 2 tasks and 4 N G C bytes to each worker, which also holds its strips (8 bytes an
    edge) and 4 N G C bytes.
    """
    if sources.labels.n_rows != graph.n_rows:
        raise ValueError(f"labels of {sources.labels.n_rows} rows, a graph of {graph.n_rows}")
    identity = _identity(graph, sources, recurrence)
    if resume is not None:
        _check_identity(resume[2], identity)
    rule = StopRule(
        graph.n_nodes, tol, recurrence.error_scale, np.dtype(recurrence.dtype), recurrence.stages
    )
    at_nodes = sources.at_nodes(graph, execution)
    with closing(_make_sweeps(graph, at_nodes, recurrence, execution)) as sweeps:
        records: list[RoundRecord] = []
        if resume is None:
            sweeps.start(recurrence.target[1])
        else:
            _, state, meta = resume
            records = [_record_from_dict(record) for record in meta["records"]]
            rule.restore(meta["stop_rule"])
            sweeps.restore(state)
        saved_at = time.monotonic()
        while rule.reason is None and len(records) < max_iter:
            due = time.monotonic() - saved_at >= checkpoint_seconds
            if checkpoint is not None and records and due:
                rounds = [record.as_dict() for record in records]
                meta = {**identity, "stop_rule": rule.as_dict(), "records": rounds}
                checkpoint(len(records), sweeps.state(), meta)
                saved_at = time.monotonic()
            records.append(_sweep(sweeps, recurrence, rule, len(records) + 1))
            if on_round is not None:
                on_round(records[-1])
        return _finish(sweeps, at_nodes, rule, records)


def _make_sweeps(
    graph: BlockGraph, at_nodes: NodeSources, recurrence: Recurrence, execution: Execution
) -> Sweeps:
    seeds = [
        at_nodes.in_nodes(first, first + n, value=SEED_VALUE, clamp=recurrence.clamp_seeds)
        for first, n in zip(graph.node_starts, graph.node_chunks, strict=True)
    ]
    return make_sweeps(
        graph,
        seeds,
        symmetric=recurrence.symmetric,
        dtype=recurrence.dtype,
        execution=execution,
    )


def _sweep(sweeps: Sweeps, recurrence: Recurrence, rule: StopRule, iteration: int) -> RoundRecord:
    began = time.monotonic()
    counts = sweeps.advance(recurrence.coefficients(iteration))
    return RoundRecord(
        iteration=iteration,
        labels_changed=int(counts.changed[0]),
        residual=rule.observe(counts, iteration),
        class_mass=tuple((counts.class_rows / sweeps.graph.n_nodes).tolist()),
        seconds=time.monotonic() - began,
    )


def _finish(
    sweeps: Sweeps, at_nodes: NodeSources, rule: StopRule, records: list[RoundRecord]
) -> Propagated:
    """Turn the blocks of Z into distributions, and fetch those of the hidden seeds."""
    graph, execution = sweeps.graph, sweeps.execution
    n_classes = at_nodes.sources.labels.n_classes
    places = [
        at_nodes.hidden_in_nodes(first, first + n)
        for first, n in zip(graph.node_starts, graph.node_chunks, strict=True)
    ]
    finished = execution.persist(
        [
            delayed(_finish_block, pure=False)(block, setup, place[:2], n_classes, SEED_VALUE)
            for block, setup, place in zip(sweeps.current(), sweeps.setups, places, strict=True)
        ],
        WHAT,
    )
    hidden_rows = execution.compute([_item(block, 2) for block in finished], WHAT)
    F, mass = ([_item(block, item) for block in finished] for item in (0, 1))
    row_chunks = graph.node_chunks
    if graph.order is not None:
        row_chunks = graph.order.row_chunks
        F = graph.order.rows_of_nodes(F, graph.node_chunks, execution)
        mass = graph.order.rows_of_nodes(mass, graph.node_chunks, execution)
    empty = execution.compute([delayed(_count_empty, pure=False)(block) for block in F], WHAT)
    return Propagated(
        F=_joined(F, row_chunks, (n_classes,), np.float32),
        mass=_joined(mass, row_chunks, (), np.float64),
        fold_F=at_nodes.by_fold([place[1:] for place in places], hidden_rows),
        records=records,
        converged=rule.reason == "converged",
        n_iter=len(records),
        reason=rule.reason or "max_iter",
        n_without_evidence=sum(empty),
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


def _count_empty(F: Values) -> int:
    return int(np.count_nonzero(~F.any(axis=1)))


def _finish_block(
    Z: Values,
    setup: StripSetup,
    hidden: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    n_classes: int,
    seed_value: float,
) -> tuple[Values, npt.NDArray[np.float64], Values]:
    """Return (F, mass, F of the hidden seeds) of one block."""
    first_group = Z[:, :n_classes]
    mass = row_mass(first_group) * (setup.scaling.row_scale / seed_value)
    positions, groups = hidden
    grouped = Z.reshape(len(Z), Z.shape[1] // n_classes, n_classes)
    return normalise_rows(first_group), mass, normalise_rows(grouped[positions, groups])


def _identity(graph: BlockGraph, sources: SeedSources, recurrence: Recurrence) -> dict[str, Any]:
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


def _check_identity(meta: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    for key, expected in identity.items():
        if meta.get(key) != expected:
            raise ResumeMismatchError(
                f"the checkpoint of the propagation has {key} {meta.get(key)!r}; this run has"
                f" {expected!r}",
                hint="run without --resume",
            )


def _record_from_dict(record: Mapping[str, Any]) -> RoundRecord:
    return RoundRecord(**{**record, "class_mass": tuple(record["class_mass"])})
