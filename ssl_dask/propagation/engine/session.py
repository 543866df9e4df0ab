"""The one loop of all propagation methods: sources and a recurrence in, scores of nodes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from dask.delayed import Delayed

from ssl_dask.errors import ComputeError, ResumeMismatchError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.propagation.engine.distributed_partitions import WorkerParts
from ssl_dask.propagation.engine.partitions import (
    BlocksLostError,
    LocalParts,
    Parts,
    WorkersChangedError,
)
from ssl_dask.propagation.engine.recurrence import Recurrence
from ssl_dask.propagation.engine.seed_sources import NodeSources
from ssl_dask.propagation.engine.solve_state import OnRound, Resume, RunningSolve
from ssl_dask.propagation.engine.steps import ConjugateSteps, Problem
from ssl_dask.propagation.engine.stop_rule import StopRule
from ssl_dask.round_record import RoundRecord

CHECKPOINT_SECONDS = 300.0
SEED_VALUE = 2.0**48
"""What B holds at a seed, in the column of its class. Scores decay with the distance from seeds:
a large power of two doubles the distance that float32 can bridge, and changes no other bit."""
MAX_LOSSES = 20
RECURRENCE_BYTES = 3 * 4
"""Of a node and column while sweeps run: two vectors and a dense right-hand side, float32."""
CONJUGATE_BYTES = 6 * 8
"""The same of conjugate gradients, in float64: x and what it was, r, A r, direction and A p."""


class Checkpoint(Protocol):
    """Keeps the state of a solver: its vectors in blocks of nodes, and `meta` in JSON types."""

    def __call__(
        self, iteration: int, state_blocks: list[list[Delayed]], meta: dict[str, Any], /
    ) -> Resume | None:
        """Keep what is given, or raise; return where it can be loaded from again.

        Without that (None) a solve whose workers are lost begins anew.
        """


class LastKept:
    """Remembers the last checkpoint, for a solve that is done anew after a loss.

    What the run began with may be gone by then: only the newest checkpoints stay on disk.

    Parameters
    ----------
    checkpoint
        Keeps them; None: nothing does.
    resume
        What the run began with.

    Attributes
    ----------
    checkpoint, resume
        What to give to `PropagationSession.solve`.
    """

    def __init__(self, checkpoint: Checkpoint | None, resume: Resume | None) -> None:
        self.resume = resume
        self.checkpoint: Checkpoint | None = None
        if checkpoint is not None:
            self._given = checkpoint
            self.checkpoint = self._keep

    def _keep(
        self, iteration: int, state_blocks: list[list[Delayed]], meta: dict[str, Any], /
    ) -> Resume | None:
        kept = self._given(iteration, state_blocks, meta)
        self.resume = kept if kept is not None else self.resume
        return kept


@dataclass(frozen=True)
class Solved:
    """Scores of the nodes of a graph.

    Parameters
    ----------
    blocks
        (m_i, K) in the type of the recurrence, one for each strip, where the strips are: `scale`
        times Z = D^-r F.
    scale
        A power of two.
    records
        One for each sweep that was counted.
    converged, reason
        Whether the stop rule was met, and why it ended.
    n_iter
        Number of sweeps, over all resumed runs.
    """

    blocks: list[Delayed]
    scale: float
    records: list[RoundRecord]
    converged: bool
    n_iter: int
    reason: Literal["converged", "max_iter", "rounding"]


class PropagationSession:
    """A graph placed for sweeps, in this process or on workers; any number of solves use it.

    A context manager; closing it frees the workers' memory.

    Parameters
    ----------
    graph
        The graph.
    execution
        Where it runs: on its cluster if it has one.
    n_columns, conjugate
        Columns of the largest solve to come, and whether conjugate gradients do it: for the check
        of memory.
    n_parts
        Parts in this process; more than one is of use to tests alone.

    Raises
    ------
    ComputeError
        The workers have not enough memory.

    Notes
    -----
    Memory: 8 bytes an edge (4 in this process, beside the graph), and for each node and
    each of K columns `RECURRENCE_BYTES` or `CONJUGATE_BYTES`. A sweep takes 2 n_edges K flops; on a
    cluster each worker gets the rows of its halo, 4 K bytes each (8 K in float64), and this process
    sends and gets a few hundred bytes a worker at every fifth to tenth sweep.
    """

    def __init__(
        self,
        graph: BlockGraph,
        execution: Execution,
        *,
        n_columns: int,
        conjugate: bool = False,
        n_parts: int = 1,
    ) -> None:
        self.graph, self.execution = graph, execution
        self.parts: Parts
        if execution.client is None:
            self.parts = LocalParts(graph, execution, n_parts=n_parts)
        else:
            size = n_columns * (CONJUGATE_BYTES if conjugate else RECURRENCE_BYTES)
            self.parts = WorkerParts(graph, execution, bytes_per_node=size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.close()

    def solve(
        self,
        recurrence: Recurrence,
        *,
        sources: NodeSources | None = None,
        dense: Sequence[Delayed] | None = None,
        n_classes: int | None = None,
        n_groups: int = 1,
        max_iter: int,
        tol: float | None,
        scale: float = SEED_VALUE,
        identity: Mapping[str, Any] | None = None,
        on_round: OnRound | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        resume: Resume | None = None,
    ) -> Solved:
        """Sweep until the stop rule is met or `max_iter` sweeps are done.

        The answer has the same bits for any number of strips, parts, workers and threads, when
        resumed, and when workers are lost on the way.

        Parameters
        ----------
        recurrence
            The method.
        sources
            Seeds; G and C are theirs.
        dense
            float32 (m_i, G * C), one for each strip: a right-hand side at every node. Both may be
            given, and are added.
        n_classes, n_groups
            C and G of the columns, without `sources`.
        max_iter
            Most sweeps.
        tol
            See `StopRule`; None: `max_iter` sweeps, nothing is counted.
        scale
            What sources are multiplied by, a power of two: headroom for float32.
        identity
            In JSON types, what must be equal for a checkpoint to fit.
        on_round
            Told what each counted sweep did; after a loss some are told again.
        checkpoint
            Called between two supersteps at most every `checkpoint_seconds`, and never after the
            last. Workers that have joined are used from then on.
        resume
            (iteration, state_blocks, meta) as `checkpoint` was given; blocks may be cut anew.

        Raises
        ------
        ResumeMismatchError
            The checkpoint is of something else.
        ComputeError
            Workers were lost again and again, or lack memory.
        BlocksLostError
            `dense` or `resume` was made of what an earlier solve found, and went with a worker:
            make it again. The session can be used on.
        """
        if sources is not None:
            n_groups, n_classes = sources.sources.n_groups, sources.sources.labels.n_classes
        assert n_classes is not None
        problem = Problem(
            recurrence.dtype, n_groups, n_classes, recurrence.powers, recurrence.target
        )
        identity = {**(identity or {}), "method": recurrence.name}
        if resume is not None:
            check_identity(resume[2], identity)
        largest = self._until_placed(
            lambda: self.parts.begin(
                problem, sources, dense, value=scale, clamp=recurrence.clamp_seeds
            )
        )
        rule = None
        if tol is not None:
            largest *= 1.0 if recurrence.clamp_seeds else recurrence.target[1]
            dtype = np.dtype(recurrence.dtype)
            rule = StopRule(self.graph.n_nodes, tol, largest, dtype)
        solve = RunningSolve(recurrence, problem, rule, identity, on_round, saved=resume)
        self._loop(solve, max_iter, checkpoint, checkpoint_seconds)
        self._last = (solve, max_iter, checkpoint, checkpoint_seconds, scale)
        return self._solved(solve, scale)

    def again(self) -> Solved:
        """Return the scores of the last solve once more, after workers were lost with them.

        Goes on from its last checkpoint.
        """
        solve, max_iter, checkpoint, seconds, scale = self._last
        self._lost(solve)
        self._loop(solve, max_iter, checkpoint, seconds)
        return self._solved(solve, scale)

    def _solved(self, solve: RunningSolve, scale: float) -> Solved:
        reason = (solve.rule.reason if solve.rule is not None else None) or "max_iter"
        while True:
            try:
                blocks = self.parts.vector(0)
                break
            except WorkersChangedError:
                self._lost(solve)
                self._loop(solve, *self._last[1:4])
        return Solved(
            blocks=blocks,
            scale=scale,
            records=solve.records,
            converged=reason == "converged",
            n_iter=solve.n_iter,
            reason=reason,
        )

    def _loop(
        self,
        solve: RunningSolve,
        max_iter: int,
        checkpoint: Checkpoint | None,
        checkpoint_seconds: float,
    ) -> None:
        saved_at = time.monotonic()
        placed = False
        while True:
            try:
                if not placed:
                    self._set(solve)
                    placed = True
                due = time.monotonic() - saved_at >= checkpoint_seconds
                if solve.n_iter and due and self._going(solve, max_iter):
                    self._keep(solve, checkpoint)
                    saved_at = time.monotonic()
                if not self._going(solve, max_iter):
                    return
                steps = solve.next_steps(max_iter)
                began = time.monotonic()
                done = self.parts.advance(steps)
            except BlocksLostError:
                raise
            except WorkersChangedError:
                self._lost(solve)
                placed = False
                continue
            n_sweeps = (
                steps.n_sweeps if isinstance(steps, ConjugateSteps) else len(steps.coefficients)
            )
            solve.take(done, n_sweeps, self.graph.n_nodes, time.monotonic() - began)

    def _going(self, solve: RunningSolve, max_iter: int) -> bool:
        stopped = solve.rule is not None and solve.rule.reason is not None
        return not stopped and solve.n_iter < max_iter

    def _set(self, solve: RunningSolve) -> None:
        """Set the parts to the last checkpoint, or to the beginning."""
        if solve.saved is None:
            solve.restart()
            factor = solve.recurrence.first
            if factor is None:
                factor = 0.0 if solve.recurrence.conjugate else solve.recurrence.target[1]
            self.parts.start(factor, conjugate=solve.recurrence.conjugate)
        else:
            iteration, state, meta = solve.saved
            self.parts.restore(state)
            solve.restore(iteration, meta)

    def _keep(self, solve: RunningSolve, checkpoint: Checkpoint | None) -> None:
        """Keep the state by `checkpoint`, and let workers that have joined take part."""
        if checkpoint is not None:
            kept = checkpoint(solve.n_iter, self.parts.state(), solve.meta())
            solve.saved = kept if kept is not None else solve.saved
        if isinstance(self.parts, WorkerParts) and self.parts.has_new_workers():
            state = self.parts.state()
            self.parts.place()
            try:
                self.parts.restore(state)
            except BlocksLostError as error:
                # The state is in the last checkpoint, or is found again from the beginning.
                raise WorkersChangedError(str(error)) from error

    def _lost(self, solve: RunningSolve) -> None:
        solve.losses += 1
        if solve.losses > MAX_LOSSES:
            raise ComputeError(
                f"workers were lost {MAX_LOSSES} times during the propagation",
                hint="see the workers' logs for why they ended; often memory: raise cluster.memory",
            )
        self._until_placed(self._place_again)

    def _place_again(self) -> float:
        assert isinstance(self.parts, WorkerParts)
        self.parts.place()
        return 0.0

    def _until_placed(self, action: Callable[[], float]) -> float:
        for _ in range(MAX_LOSSES):
            try:
                return action()
            except BlocksLostError:
                raise
            except WorkersChangedError:
                self._place_again()
        return action()


def check_identity(meta: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose `meta` says that it is of something else.

    Raises
    ------
    ResumeMismatchError
        It names what differs.
    """
    for key, expected in identity.items():
        if meta.get(key) != expected:
            raise ResumeMismatchError(
                f"the checkpoint of the propagation has {key} {meta.get(key)!r}; this run has"
                f" {expected!r}",
                hint="run without --resume",
            )
