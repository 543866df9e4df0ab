"""Parts of a graph on the workers of a cluster, one each, which send each other their halos.

This process starts a superstep of several sweeps on each worker and gets numbers back. Rows of
scores go straight from worker to worker over Dask's own connections. A lost worker takes its part
with it: a watch sees that within seconds and stops the others, and the caller places the parts anew
and restarts from its last checkpoint.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks
from ssl_dask.cluster_watch import as_package_error, gathered, no_workers, workers_of
from ssl_dask.errors import BlocksLostError, ComputeError, WorkersChangedError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.graph_parts import leaf_entries
from ssl_dask.propagation.engine import worker_state
from ssl_dask.propagation.engine.partition_solver import Aborted
from ssl_dask.propagation.engine.partitions import (
    TASK_LABEL,
    Parts,
    RightHandSide,
    sources_of_part,
)
from ssl_dask.propagation.engine.recurrence import LinearSystem, Steps, StepsDone
from ssl_dask.run_control import Losses, State

if TYPE_CHECKING:
    from distributed import Client, Future

WATCH_SECONDS = 0.5
"""How long a lost worker may go unnoticed."""
RETURN_SECONDS = 10.0
"""How long a lost worker may take to come back before the others share its part."""
NO_WORKERS_SECONDS = 60.0
USABLE_MEMORY = 0.8
HALO_SHARE = 0.6
"""Nodes of a halo for each own node, at worst: a guess that is on the safe side in cell order."""


class WorkerParts(Parts):
    """Parts on workers, one each, balanced by their edges.

    Parameters
    ----------
    graph, execution
        The graph, and the cluster it lies on.
    bytes_per_node
        Of the vectors of the largest solve to come: for the check of memory.
    losses
        How often workers may be lost.

    Raises
    ------
    ComputeError
        The workers have not enough memory for the parts; the message has the bytes needed.
    """

    def __init__(
        self, graph: BlockGraph, execution: Execution, *, bytes_per_node: int, losses: Losses
    ) -> None:
        super().__init__(graph, execution)
        self._losses = losses
        assert execution.client is not None
        self.client: Client = execution.client
        self.session = uuid.uuid4().hex
        self.addresses: list[str] = []
        self._bytes_per_node = bytes_per_node
        self._wished = 0
        self._begun: tuple[LinearSystem, RightHandSide] | None = None
        self._version = 0
        self._untold: list[tuple[str, str]] = []
        try:
            self.client.register_plugin(worker_state.parts_plugin())
        except OSError:
            # A worker died meanwhile. Workers that join later get the plugin as they start.
            time.sleep(RETURN_SECONDS / 4)
            self.client.register_plugin(worker_state.parts_plugin())
        self.place()

    def place(self) -> None:
        """Cut the graph anew for the workers that are there, and give each its part."""
        while True:
            try:
                self._place(self._ready_workers())
                return
            except BlocksLostError:
                raise
            except WorkersChangedError as error:
                self._losses.add(error)

    def has_new_workers(self) -> bool:
        """Return whether there are workers that hold no part and could."""
        return len(self._workers()) > self._wished

    def _place(self, workers: dict[str, Any]) -> None:
        self._wished = len(workers)
        self._check_memory(workers)
        self.close()
        # Tasks that still look for what was here before must not find what is here now.
        self.session = uuid.uuid4().hex
        graph, execution = self.graph, self.execution
        strips = execution.persist(graph.strips, "graph")
        counts = execution.compute(block_tasks(leaf_entries, [strips, graph.node_starts]), "graph")
        self.cuts = self._balanced_cuts(counts, len(workers))
        self.addresses = sorted(workers)[: self.n_parts]
        futures = _futures_of(strips)

        def task(part: int) -> tuple[Any, ...]:
            held = self._overlapping(*self._ends(part))
            strips, starts = [futures[s] for s in held], [graph.node_starts[s] for s in held]
            return worker_state.place_part, strips, starts, self.cuts, part, self.session

        asked = self._on_each(task)
        # The lists of halos go from worker to worker.
        self._numbers(self._on_each(lambda part: (worker_state.answer, asked, part, self.session)))
        if self._begun is not None:
            self.begin(*self._begun)

    def begin(self, system: LinearSystem, given: RightHandSide) -> float:
        """Make a new system the one that is solved."""
        self._begun, (sources, dense, value) = (system, given), given
        blocks = None if dense is None else self._futures(dense, TASK_LABEL)

        def task(part: int) -> tuple[Any, ...]:
            start, stop = self._ends(part)
            held = self._overlapping(start, stop)
            rows = None if blocks is None else [blocks[s] for s in held]
            first = [self.graph.node_starts[s] for s in held]
            sparse = sources_of_part(sources, system, start, stop)
            about = (self.session, self.n_parts, system)
            return worker_state.begin, *about, sparse, rows, first, value

        return max(self._numbers(self._on_each(task)))

    def start(self, factor: float, *, conjugate: bool) -> None:
        """Set all parts to their beginning."""
        done = self._on_each(lambda part: (worker_state.start, self.session, factor, conjugate))
        self.n_vectors, self._version = self._numbers(done)[0]

    def restore(self, state: State) -> None:
        """Set the vectors from blocks of any sizes."""
        futures = [self._futures(vector, "checkpoint") for vector in state]
        lengths = self._numbers([self.client.submit(len, f, pure=False) for f in futures[0]])
        starts = (np.cumsum(lengths) - lengths).tolist()

        def task(part: int) -> tuple[Any, ...]:
            low, high = self._ends(part)
            held = [
                number
                for number, (first, n) in enumerate(zip(starts, lengths, strict=True))
                if n and first < high and first + n > low
            ]
            blocks = [[vector[number] for number in held] for vector in futures]
            return worker_state.restore, self.session, blocks, [starts[h] for h in held]

        self.n_vectors, self._version = self._numbers(self._on_each(task))[0]

    def advance(self, steps: Steps) -> StepsDone:
        """Run a superstep."""
        superstep = uuid.uuid4().hex
        task = (worker_state.advance, self.session, superstep, steps, list(self.addresses))
        found = self._numbers(self._on_each(lambda part: task), superstep)
        self._version = found[0][1]
        return StepsDone.joined([part for part, _ in found])

    def vector(self, number: int) -> list[Delayed]:
        """Return a copy of a vector in blocks, one for each strip, on the workers."""
        blocks: list[Future] = []
        for first, n in zip(self.graph.node_starts, self.graph.node_chunks, strict=True):
            pieces = [
                self.client.submit(
                    worker_state.rows_of,
                    self.addresses[part],
                    (self.session, self._version, number, max(first, a), min(first + n, b)),
                    workers=[self.addresses[part]],
                    # Once the worker is gone the task must fail somewhere, not wait for ever.
                    allow_other_workers=True,
                    pure=False,
                )
                for part, (a, b) in enumerate(itertools.pairwise(self.cuts))
                if a < first + n and b > first
            ]
            if len(pieces) == 1:
                blocks += pieces
            else:
                blocks.append(self.client.submit(np.concatenate, pieces, pure=False))
        self._wait(blocks)
        return [Delayed(block.key, {block.key: block}) for block in blocks]

    def close(self) -> None:
        """Forget the parts on all workers that are still there."""
        with suppress(ComputeError, OSError):
            there = sorted(set(self.addresses) & set(self._workers()))
            self._tell(worker_state.forget, self.session, there)

    def _tell(
        self, function: Callable[..., None], name: str, addresses: Sequence[str]
    ) -> list[str]:
        """Run something short on workers, in their event loop; return those that do not answer.

        Sends one message per worker, because a broadcast waits for the slowest one.
        """
        silent = []
        for address in addresses:
            try:
                self.client.sync(
                    self.client._run,
                    function,
                    name,
                    workers=[address],
                    on_error="ignore",
                    callback_timeout=worker_state.REACH_SECONDS,
                )
            except (OSError, TimeoutError):
                silent.append(address)
        return silent

    def _stop(self, superstep: str, addresses: Sequence[str]) -> None:
        """Wake the threads that wait for messages of a superstep.

        A worker too busy to answer gets the message again later: else its thread would wait for
        minutes, and no task of a new part would run there.
        """
        silent = self._tell(worker_state.stop, superstep, addresses)
        self._untold += [(superstep, address) for address in silent]

    def _stop_those_untold(self) -> None:
        untold, self._untold = self._untold, []
        there = set(self._workers()) if untold else set()
        for superstep, address in untold:
            if address in there:
                self._stop(superstep, [address])

    def _futures(self, blocks: Sequence[Delayed], what: str) -> list[Future]:
        """Return futures of blocks that are there.

        Where they are made of scores, they cannot be made again once these have moved on.
        """
        try:
            return _futures_of(self.execution.persist(blocks, what))
        except WorkersChangedError as error:
            raise BlocksLostError(
                "a worker was lost with what the propagation was to begin with"
            ) from error

    def _ends(self, part: int) -> tuple[int, int]:
        return self.cuts[part], self.cuts[part + 1]

    def _on(self, part: int, function: Callable[..., Any], *arguments: Any) -> Future:
        where = [self.addresses[part]]
        return self.client.submit(
            function, *arguments, workers=where, allow_other_workers=False, pure=False
        )

    def _on_each(self, task: Callable[[int], tuple[Any, ...]]) -> list[Future]:
        return [self._on(part, *task(part)) for part in range(self.n_parts)]

    def _numbers(self, futures: list[Future], superstep: str | None = None) -> list[Any]:
        """Return the results of pinned tasks, which are small."""
        from distributed import KilledWorker

        self._wait(futures, superstep)

        def check() -> None:
            # If a worker goes now, its task has nowhere to run again, and never ends.
            if not set(self.addresses) <= set(self._workers()):
                self._give_up(futures, superstep, None)

        try:
            return gathered(self.client, futures, check, WATCH_SECONDS)
        except (CancelledError, KilledWorker, OSError) as error:
            raise WorkersChangedError("a worker was lost during the propagation") from error

    def _wait(self, futures: list[Future], superstep: str | None = None) -> None:
        """Wait for pinned tasks, and watch the workers that they are pinned to.

        A task that is pinned to a worker that has gone would wait for ever.
        """
        from distributed import wait as wait_for_futures

        checked = time.monotonic()
        while True:
            with suppress(TimeoutError, CancelledError), self.client.as_current():
                wait_for_futures(futures, timeout=WATCH_SECONDS, return_when="ALL_COMPLETED")
            broken = [f for f in futures if f.status in ("error", "cancelled", "lost")]
            if broken:
                self._give_up(futures, superstep, broken[0])
            if all(future.done() for future in futures):
                return
            if time.monotonic() - checked >= WATCH_SECONDS:
                self._stop_those_untold()
                checked = time.monotonic()
                if not set(self.addresses) <= set(self._workers()):
                    self._give_up(futures, superstep, None)

    def _give_up(self, futures: list[Future], superstep: str | None, broken: Any) -> None:
        """Stop what still runs, and raise why."""
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        alive = sorted(set(self.addresses) & set(self._workers()))
        if superstep is not None and alive:
            self._stop(superstep, alive)
        error = None
        if broken is not None and broken.status == "error":
            error = broken.exception()
        self.client.cancel(futures, force=True)
        lost = (Aborted, KilledWorker, CommClosedError, WorkersChangedError, CancelledError)
        if error is not None and not isinstance(error, lost):
            raise as_package_error(error, TASK_LABEL) from error
        raise WorkersChangedError(
            f"a worker was lost during the propagation; {len(alive)} of {self.n_parts} are left"
        )

    def _workers(self) -> dict[str, Any]:
        found = workers_of(self.client, TASK_LABEL)
        return {a: w for a, w in found.items() if w.get("status", "running") != "closing"}

    def _ready_workers(self) -> dict[str, Any]:
        """Return the workers; wait for as many as there were, but not for long."""
        began = time.monotonic()
        while True:
            workers, waited = self._workers(), time.monotonic() - began
            if workers and (len(workers) >= self._wished or waited >= RETURN_SECONDS):
                return workers
            if waited >= NO_WORKERS_SECONDS:
                raise no_workers(NO_WORKERS_SECONDS, TASK_LABEL)
            time.sleep(0.1)

    def _check_memory(self, workers: dict[str, Any]) -> None:
        limits = [w["memory_limit"] for w in workers.values() if w.get("memory_limit")]
        if not limits:
            return
        needed = bytes_of_part(self.graph, len(workers), self._bytes_per_node)
        if needed > USABLE_MEMORY * min(limits):
            raise ComputeError(
                f"the propagation needs about {needed / 2**20:,.0f} MiB on each of {len(workers)}"
                f" workers; the smallest has {min(limits) / 2**20:,.0f} MiB, of which"
                f" {USABLE_MEMORY:.0%} may be used",
                hint="raise cluster.memory, add workers, or lower evaluation.folds",
            )


def _futures_of(blocks: Sequence[Delayed]) -> list[Future]:
    """Return the futures of persisted blocks."""
    from distributed import futures_of

    return [futures_of(block)[0] for block in blocks]


def bytes_of_part(graph: BlockGraph, n_parts: int, bytes_per_node: int) -> int:
    """Return about how much a worker needs that holds one of `n_parts` parts.

    8 bytes an edge for the part and, while it is made, as much for the strips; 40 bytes and the
    vectors for each node, and the vectors of the halo.
    """
    nodes = graph.n_nodes / n_parts
    halo = HALO_SHARE * nodes if n_parts > 1 else 0.0
    return int(16 * graph.n_edges / n_parts + nodes * 40 + (nodes + halo) * bytes_per_node)
