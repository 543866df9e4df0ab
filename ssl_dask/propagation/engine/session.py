"""The one loop of all propagation methods: seeds and a recurrence in, distributions of rows out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from dask.delayed import Delayed

from ssl_dask.errors import BlocksLostError, ResumeMismatchError, WorkersChangedError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.propagation.engine.distributed_partitions import WorkerParts
from ssl_dask.propagation.engine.partitions import LocalParts, Parts, RightHandSide
from ssl_dask.propagation.engine.propagated import (
    Propagated,
    Solved,
    check_rows,
    distributions,
)
from ssl_dask.propagation.engine.recurrence import LinearSystem, Recurrence
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.solve_state import RunningSolve, StopRule
from ssl_dask.run_control import Losses, RunControl

SEED_VALUE = 2.0**48
"""What B holds at a seed, in the column of its class. Scores decay with the distance from seeds:
a large power of two doubles the distance that float32 can bridge, and changes no other bit."""
RECURRENCE_BYTES = 3 * 4
"""Of a node and column while sweeps run: two vectors and a dense right-hand side, float32."""
CONJUGATE_BYTES = 6 * 8
"""The same of conjugate gradients, in float64: x and what it was, r, A r, direction and A p."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class DenseSources:
    """A right-hand side at every node."""

    blocks: Sequence[Delayed]
    """float32 (m_i, G * C), one for each strip."""
    n_classes: int
    n_groups: int = 1
    """C and G."""


class PropagationSession:
    """A graph placed for sweeps, in this process or on workers; any number of solves use it.

    A context manager; closing it frees the workers' memory.

    Parameters
    ----------
    graph, execution
        The graph, and where it runs: on a cluster if there is one.
    n_columns, conjugate
        Columns of the largest solve to come, and whether conjugate gradients do it: for the check
        of memory.
    losses
        How often workers may be lost in all solves together; default: a budget of its own.
    n_parts
        Parts in this process; more than one is for tests.

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
        losses: Losses | None = None,
        n_parts: int = 1,
    ) -> None:
        self.graph, self.execution = graph, execution
        self.losses = Losses() if losses is None else losses
        self.parts: Parts
        if execution.client is None:
            self.parts = LocalParts(graph, execution, n_parts=n_parts)
        else:
            size = n_columns * (CONJUGATE_BYTES if conjugate else RECURRENCE_BYTES)
            self.parts = WorkerParts(graph, execution, bytes_per_node=size, losses=self.losses)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.close()

    def solve(
        self,
        recurrence: Recurrence,
        *,
        sources: NodeSources | None = None,
        dense: DenseSources | None = None,
        max_iter: int,
        tol: float | None,
        scale: float = SEED_VALUE,
        identity: Mapping[str, Any] | None = None,
        control: RunControl | None = None,
    ) -> Solved:
        """Sweep until the stop rule is met or `max_iter` sweeps are done.

        A resumed solve, and one that loses workers, has the same bits.

        Parameters
        ----------
        sources, dense
            Seeds, or a right-hand side at every node; where both are given, they are added.
        max_iter, tol
            Most sweeps; largest relative error of `StopRule`, None: `max_iter` sweeps, nothing is
            counted.
        scale
            What sources are multiplied by, a power of two: headroom for float32.
        identity
            In JSON types, what must be equal for a checkpoint to fit.
        control
            `on_round` is called after each counted sweep; after a loss some are repeated.
            `checkpoint` is called between two supersteps, at most every `checkpoint_seconds`, not
            after the last; workers that have joined are used from then on. `execution` and
            `losses` are not used: those of the session are.

        Raises
        ------
        ResumeMismatchError
            The checkpoint is of something else.
        ComputeError
            Workers were lost again and again, or lack memory.
        BlocksLostError
            `dense` or the checkpoint was made of scores of an earlier solve, and was lost with a
            worker: make it again. The session stays usable.
        """
        control = control or RunControl(self.execution)
        system = _linear_system(recurrence, sources, dense)
        identity = {**(identity or {}), "method": recurrence.name}
        if control.resume is not None:
            check_identity(control.resume[2], identity)
        given = RightHandSide(sources, None if dense is None else dense.blocks, scale)
        largest = self._placed(lambda: self.parts.begin(system, given))
        rule = None
        if tol is not None:
            largest *= 1.0 if recurrence.clamp_seeds else recurrence.target[1]
            rule = StopRule(self.graph.n_nodes, tol, largest, np.dtype(recurrence.dtype))
        solve = RunningSolve(recurrence, system, rule, identity, max_iter, scale, control)
        self._last = solve
        return self._found(solve)

    def used(self, solved: Solved, use: Callable[[Solved], Made]) -> Made:
        """Return `use(solved)`, of what the last `solve` returned.

        Where the scores are lost with workers, it restarts from its last checkpoint.
        """
        while True:
            try:
                return use(solved)
            except WorkersChangedError as error:
                self._lost(error)
                solved = self._found(self._last)

    def _found(self, solve: RunningSolve) -> Solved:
        """Sweep to the end, and return the scores."""
        while True:
            self._loop(solve)
            try:
                blocks = self.parts.vector(0)
                break
            except WorkersChangedError as error:
                self._lost(error)
        reason = (solve.rule.reason if solve.rule is not None else None) or "max_iter"
        return Solved(
            blocks=blocks,
            scale=solve.scale,
            records=solve.records,
            converged=reason == "converged",
            n_iter=solve.n_iter,
            reason=reason,
        )

    def _loop(self, solve: RunningSolve) -> None:
        saved_at = time.monotonic()
        placed = False
        while True:
            try:
                if not placed:
                    self._set(solve)
                    placed = True
                due = time.monotonic() - saved_at >= solve.control.checkpoint_seconds
                if solve.n_iter and due and solve.going:
                    self._keep(solve)
                    saved_at = time.monotonic()
                if not solve.going:
                    return
                steps = solve.next_steps()
                began = time.monotonic()
                done = self.parts.advance(steps)
            except BlocksLostError:
                raise
            except WorkersChangedError as error:
                self._lost(error)
                placed = False
                continue
            solve.observe(done, steps.n_sweeps, self.graph.n_nodes, time.monotonic() - began)

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

    def _keep(self, solve: RunningSolve) -> None:
        """Store a checkpoint, and let workers that have joined take part."""
        if solve.control.checkpoint is not None:
            solve.saved = solve.control.checkpoint(solve.n_iter, self.parts.state(), solve.meta())
        if self.parts.has_new_workers():
            state = self.parts.state()
            self.parts.place()
            try:
                self.parts.restore(state)
            except BlocksLostError as error:
                # The state is in the last checkpoint, or is found again from the beginning.
                raise WorkersChangedError(str(error)) from error

    def _lost(self, error: WorkersChangedError) -> None:
        self.losses.add(error)
        self._placed(self.parts.place)

    def _placed(self, action: Callable[[], Made]) -> Made:
        """Return `action()`; where workers are lost meanwhile, the graph is placed again."""
        while True:
            try:
                return action()
            except BlocksLostError:
                raise
            except WorkersChangedError as error:
                self.losses.add(error)
                self.parts.place()


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


def _linear_system(
    recurrence: Recurrence, sources: NodeSources | None, dense: DenseSources | None
) -> LinearSystem:
    """Return the system that the recurrence solves, with the columns of the right-hand side."""
    if sources is not None:
        shape = sources.sources.n_groups, sources.sources.labels.n_classes
    else:
        assert dense is not None
        shape = dense.n_groups, dense.n_classes
    return LinearSystem(
        recurrence.dtype, *shape, recurrence.powers, recurrence.target, recurrence.clamp_seeds
    )


def check_identity(meta: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose `meta` differs from `identity`.

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
