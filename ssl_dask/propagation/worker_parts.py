"""Parts of a graph on the workers of a cluster, one each, which send each other their halos.

This process starts a superstep of several sweeps on each worker and gets numbers back. Rows of
scores go straight from worker to worker over Dask's own connections. What a worker holds is gone
with it: a watch sees that within seconds, tells the others to stop, and the caller places the parts
anew and goes on from its last checkpoint.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed, delayed
from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, futures_of, get_worker
from distributed import wait as wait_for_futures
from distributed.comm import CommClosedError
from distributed.protocol import to_serialize

from ssl_dask.errors import ComputeError
from ssl_dask.execution import Execution, as_package_error
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.kernels.graph_parts import GraphPart, leaf_entries, part_of_strips
from ssl_dask.kernels.propagation_step import SparseSources
from ssl_dask.kernels.walk_sweep import Scores
from ssl_dask.propagation.part_run import (
    Aborted,
    Key,
    Mailbox,
    PartRun,
    Problem,
    Steps,
    StepsDone,
)
from ssl_dask.propagation.parts import WHAT, Parts, State, rows_between, sources_of_part
from ssl_dask.propagation.seed_sources import NodeSources

WATCH_SECONDS = 0.5
"""How long a lost worker may go unnoticed."""
RETURN_SECONDS = 10.0
"""How long a lost worker may take to come back before the others share its part."""
NO_WORKERS_SECONDS = 60.0
STOP_SECONDS = 10.0
REACH_SECONDS = 3.0
MAX_LOSSES = 10
USABLE_MEMORY = 0.8
HALO_SHARE = 0.6
"""Nodes of a halo for each own node, at worst: a guess that is on the safe side in cell order."""
HELD = "_ssl_dask_parts"


class WorkersChangedError(ComputeError):
    """Workers were lost, and with them what they held of a propagation."""


class HeldParts:
    """What one worker holds: parts by graph, vectors by graph, and what other parts sent.

    Parameters
    ----------
    worker
        The worker.

    Attributes
    ----------
    received
        Bytes of scores that other workers sent.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mailbox = Mailbox()
        self.parts: dict[str, GraphPart] = {}
        self.runs: dict[str, PartRun] = {}
        self.received = 0

    def receive(self, key: Sequence[Any], value: Any) -> None:
        """Keep what another worker sent; called by its message."""
        self.received += getattr(value, "nbytes", 0)
        self.mailbox.put(tuple(key), value)

    def rows(self, session: str, version: int, vector: int, start: int, stop: int) -> Any:
        """Return rows of a vector in the state that is meant, or None if that has gone."""
        run = self.runs.get(session)
        if run is None or run.version != version:
            return None
        return to_serialize(run.own_rows(vector, start, stop))


class PartsPlugin(WorkerPlugin):
    """Lets a worker hold parts, and take halos from others."""

    name = "ssl_dask-parts"

    def setup(self, worker: Worker) -> None:
        """Open the place for parts; one that is there already stays."""
        if not hasattr(worker, HELD):
            held = HeldParts(worker)
            setattr(worker, HELD, held)
            worker.handlers["ssl_dask_receive"] = held.receive
            worker.handlers["ssl_dask_rows"] = held.rows


class _WorkerLinks:
    """Links of a superstep that runs in a task of a worker."""

    def __init__(self, held: HeldParts, superstep: str, addresses: Sequence[str]) -> None:
        self._held, self._superstep, self._addresses = held, superstep, addresses
        self._sent: list[Any] = []

    def send(self, part: int, key: Key, value: Any) -> None:
        whole_key = (self._superstep, *key)
        if self._addresses[part] == self._held.worker.address:
            self._held.mailbox.put(whole_key, value)
            return
        content = to_serialize(value) if isinstance(value, np.ndarray) else value
        remote = self._held.worker.rpc(self._addresses[part])
        sending = remote.ssl_dask_receive(key=whole_key, value=content)
        loop = self._held.worker.loop.asyncio_loop
        self._sent = [future for future in self._sent if not self._arrived(future)]
        self._sent.append(asyncio.run_coroutine_threadsafe(sending, loop))

    def take(self, key: Key) -> Any:
        return self._held.mailbox.take((self._superstep, *key))

    def flush(self) -> None:
        for future in self._sent:
            try:
                future.result(STOP_SECONDS)
            except (OSError, TimeoutError) as error:
                raise Aborted(f"a message did not arrive ({type(error).__name__})") from error
        self._sent = []

    @staticmethod
    def _arrived(future: Any) -> bool:
        if not future.done():
            return False
        if future.exception() is not None:
            raise Aborted("a message did not arrive") from future.exception()
        return True


class WorkerParts(Parts):
    """Parts on workers, one each, balanced by their edges.

    Parameters
    ----------
    graph, execution
        The graph, and the cluster it lies on.
    n_columns, itemsize, n_vectors
        Columns of the largest solve to come, bytes of a score and vectors: for the check of memory.

    Raises
    ------
    ComputeError
        The workers have not enough memory for the parts; the message says how much is needed.
    """

    def __init__(
        self,
        graph: BlockGraph,
        execution: Execution,
        *,
        n_columns: int,
        itemsize: int = 4,
        n_vectors: int = 3,
    ) -> None:
        super().__init__(graph, execution)
        assert execution.client is not None
        self.client: Client = execution.client
        self.session = uuid.uuid4().hex
        self.addresses: list[str] = []
        self._bytes_per_node = n_vectors * itemsize * n_columns
        self._wished = 0
        self._begun: tuple[Any, ...] | None = None
        self._n_vectors = self._version = 0
        try:
            self.client.register_plugin(PartsPlugin())
        except (CommClosedError, OSError):
            # A worker died while it was told. Those that come after get the plugin as they start.
            time.sleep(RETURN_SECONDS / 4)
            self.client.register_plugin(PartsPlugin())
        self.place()

    @property
    def n_vectors(self) -> int:
        """Number of vectors of the solve."""
        return self._n_vectors

    def place(self) -> None:
        """Cut the graph anew for the workers that are there, and give each its part."""
        for _ in range(MAX_LOSSES):
            try:
                self._place(self._ready_workers())
                return
            except WorkersChangedError:
                continue
        raise ComputeError(
            f"workers were lost {MAX_LOSSES} times while the graph was placed on them",
            hint="see the workers' logs for why they ended; often memory: raise cluster.memory",
        )

    def has_new_workers(self) -> bool:
        """Tell whether there are workers that hold no part and could."""
        return len(self._workers()) > self._wished

    def _place(self, workers: dict[str, Any]) -> None:
        self._wished = len(workers)
        self._check_memory(workers)
        self.close()
        # Tasks that still look for what was here before must not find what is here now.
        self.session = uuid.uuid4().hex
        graph, execution = self.graph, self.execution
        strips = execution.persist(graph.strips, "graph")
        counts = execution.compute(
            [
                delayed(leaf_entries, pure=False)(strip, first)
                for strip, first in zip(strips, graph.node_starts, strict=True)
            ],
            "graph",
        )
        self.cuts = self._balanced_cuts(counts, len(workers))
        self.addresses = sorted(workers)[: self.n_parts]
        futures = [futures_of(strip)[0] for strip in strips]
        asked = self._on_each(
            lambda part: (
                _place_part,
                [futures[s] for s in self._overlapping(*self._ends(part))],
                [graph.node_starts[s] for s in self._overlapping(*self._ends(part))],
                self.cuts,
                part,
                self.session,
            )
        )
        # The lists of halos go from worker to worker.
        self._numbers(self._on_each(lambda part: (_answer, asked, part, self.session)))
        if self._begun is not None:
            self.begin(*self._begun[:3], value=self._begun[3], clamp=self._begun[4])

    def begin(
        self,
        problem: Problem,
        sources: NodeSources | None,
        dense: Sequence[Delayed] | None,
        *,
        value: float,
        clamp: bool,
    ) -> float:
        """Make a new system the one that is solved."""
        self._begun = (problem, sources, dense, value, clamp)
        blocks = None
        if dense is not None:
            blocks = [futures_of(b)[0] for b in self.execution.persist(dense, WHAT)]

        def task(part: int) -> tuple[Any, ...]:
            start, stop = self._ends(part)
            held = self._overlapping(start, stop)
            rows = None if blocks is None else [blocks[s] for s in held]
            first = [self.graph.node_starts[s] for s in held]
            sparse = sources_of_part(sources, problem, start, stop, clamp=clamp)
            return _begin, self.session, self.n_parts, problem, sparse, rows, first, value

        return max(self._numbers(self._on_each(task)))

    def start(self, factor: float, *, conjugate: bool) -> None:
        """Set all parts to their beginning."""
        done = self._on_each(lambda part: (_start, self.session, factor, conjugate))
        self._n_vectors, self._version = self._numbers(done)[0]

    def restore(self, state: State) -> None:
        """Set the vectors from blocks of any sizes."""
        lengths = self.execution.compute(
            [delayed(len, pure=False)(block) for block in state[0]], "checkpoint"
        )
        starts = (np.cumsum(lengths) - lengths).tolist()
        futures = [
            [futures_of(block)[0] for block in self.execution.persist(vector, "checkpoint")]
            for vector in state
        ]

        def task(part: int) -> tuple[Any, ...]:
            low, high = self._ends(part)
            held = [
                number
                for number, (first, n) in enumerate(zip(starts, lengths, strict=True))
                if n and first < high and first + n > low
            ]
            blocks = [[vector[number] for number in held] for vector in futures]
            return _restore, self.session, blocks, [starts[h] for h in held]

        self._n_vectors, self._version = self._numbers(self._on_each(task))[0]

    def advance(self, steps: Steps) -> StepsDone:
        """Run a superstep."""
        superstep = uuid.uuid4().hex
        done = self._on_each(
            lambda part: (_advance, self.session, superstep, steps, list(self.addresses))
        )
        found = self._numbers(done, superstep)
        self._version = found[0][1]
        return StepsDone.joined([part for part, _ in found])

    def vector(self, number: int) -> list[Delayed]:
        """Return a copy of a vector in blocks, one for each strip, on the workers."""
        blocks: list[Future] = []
        for first, n in zip(self.graph.node_starts, self.graph.node_chunks, strict=True):
            pieces = [
                self.client.submit(
                    _rows_of,
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
                blocks.append(self.client.submit(_joined_rows, pieces, pure=False))
        self._wait(blocks)
        return [Delayed(block.key, {block.key: block}) for block in blocks]

    def close(self) -> None:
        """Forget the parts on all workers that are still there."""
        with suppress(ComputeError, OSError):
            self._tell(_forget, self.session, sorted(set(self.addresses) & set(self._workers())))

    def _tell(self, function: Callable[..., None], name: str, addresses: Sequence[str]) -> None:
        """Run something short on workers, in their event loop; those that do not answer are gone.

        Each is told by itself: a message to all waits for the slowest.
        """
        for address in addresses:
            with suppress(OSError, TimeoutError, CommClosedError, asyncio.TimeoutError):
                self.client.sync(
                    self.client._run,
                    function,
                    name,
                    workers=[address],
                    on_error="ignore",
                    callback_timeout=REACH_SECONDS,
                )

    def _ends(self, part: int) -> tuple[int, int]:
        return self.cuts[part], self.cuts[part + 1]

    def _on(self, part: int, function: Callable[..., Any], *arguments: Any) -> Future:
        return self.client.submit(
            function,
            *arguments,
            workers=[self.addresses[part]],
            allow_other_workers=False,
            pure=False,
        )

    def _on_each(self, task: Callable[[int], tuple[Any, ...]]) -> list[Future]:
        return [self._on(part, *task(part)) for part in range(self.n_parts)]

    def _numbers(self, futures: list[Future], superstep: str | None = None) -> list[Any]:
        """Return the results of pinned tasks, which are small."""
        self._wait(futures, superstep)
        try:
            return list(self.client.gather(futures))
        except (CancelledError, KilledWorker, CommClosedError, OSError) as error:
            raise WorkersChangedError("a worker was lost during the propagation") from error

    def _wait(self, futures: list[Future], superstep: str | None = None) -> None:
        """Wait for pinned tasks, and watch the workers that they are pinned to.

        A task that is pinned to a worker that has gone would wait for ever.
        """
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
                checked = time.monotonic()
                if not set(self.addresses) <= set(self._workers()):
                    self._give_up(futures, superstep, None)

    def _give_up(self, futures: list[Future], superstep: str | None, broken: Any) -> None:
        """Stop what still runs, and raise why."""
        alive = sorted(set(self.addresses) & set(self._workers()))
        if superstep is not None and alive:
            self._tell(_stop, superstep, alive)
        error = None
        if broken is not None and broken.status == "error":
            error = broken.exception()
        self.client.cancel(futures, force=True)
        lost = (Aborted, KilledWorker, CommClosedError, WorkersChangedError, CancelledError)
        if error is not None and not isinstance(error, lost):
            raise as_package_error(error, WHAT) from error
        raise WorkersChangedError(
            f"a worker was lost during the propagation; {len(alive)} of {self.n_parts} are left"
        )

    def _workers(self) -> dict[str, Any]:
        if self.client.status not in ("running", "connecting"):
            raise ComputeError(
                "the connection to the scheduler was lost during the propagation",
                hint="see the scheduler's log; run again with --resume",
            )
        found = self.client.scheduler_info(n_workers=-1)["workers"]
        return {a: w for a, w in found.items() if w.get("status", "running") != "closing"}

    def _ready_workers(self) -> dict[str, Any]:
        """Return the workers; wait for as many as there were, but not for long."""
        began = time.monotonic()
        while True:
            workers, waited = self._workers(), time.monotonic() - began
            if workers and (len(workers) >= self._wished or waited >= RETURN_SECONDS):
                return workers
            if waited >= NO_WORKERS_SECONDS:
                raise ComputeError(
                    f"the cluster had no workers for {NO_WORKERS_SECONDS:.0f} s during the"
                    " propagation",
                    hint="start workers, or see their logs for why they ended",
                )
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


def bytes_of_part(graph: BlockGraph, n_parts: int, bytes_per_node: int) -> int:
    """Return about how much a worker needs that holds one of `n_parts` parts.

    8 bytes an edge for the part and, while it is made, as much for the strips; 40 bytes and the
    vectors for each node, and the vectors of the halo.
    """
    nodes = graph.n_nodes / n_parts
    halo = HALO_SHARE * nodes if n_parts > 1 else 0.0
    return int(16 * graph.n_edges / n_parts + nodes * 40 + (nodes + halo) * bytes_per_node)


def _held(session: str | None = None) -> HeldParts:
    held: HeldParts | None = getattr(get_worker(), HELD, None)
    if held is None or (session is not None and session not in held.parts):
        raise WorkersChangedError("this worker does not hold the part any more")
    return held


def _place_part(
    strips: list[Any], strip_starts: list[int], cuts: tuple[int, ...], number: int, session: str
) -> dict[int, npt.NDArray[np.int64]]:
    """Make a part; return the nodes that it needs of each other part."""
    held = _held()
    part = part_of_strips(strips, strip_starts, cuts, number)
    held.parts[session] = part
    held.runs.pop(session, None)
    return {other: part.asked_of(other) for other in part.receive}


def _answer(asked: list[dict[int, npt.NDArray[np.int64]]], number: int, session: str) -> int:
    """Note which rows the other parts need of this one."""
    part = _held(session).parts[session]
    part.send = {
        other: nodes[number] - part.start for other, nodes in enumerate(asked) if number in nodes
    }
    return len(part.halo)


def _begin(
    session: str,
    n_parts: int,
    problem: Problem,
    sparse: SparseSources,
    dense: list[Scores] | None,
    starts: list[int],
    value: float,
) -> float:
    held = _held(session)
    part = held.parts[session]
    rows = None if dense is None else rows_between(dense, starts, part.start, part.stop)
    n_threads = held.worker.state.nthreads
    held.runs[session] = PartRun(part, n_parts, problem, sparse, rows, value, n_threads)
    return held.runs[session].largest_source


def _run(session: str) -> PartRun:
    runs = _held(session).runs
    if session not in runs:
        raise WorkersChangedError("this worker does not hold the part any more")
    return runs[session]


def _start(session: str, factor: float, conjugate: bool) -> tuple[int, int]:
    run = _run(session)
    run.start(factor, conjugate=conjugate)
    return len(run.vectors), run.version


def _restore(session: str, blocks: list[list[Scores]], starts: list[int]) -> tuple[int, int]:
    run = _run(session)
    part = run.part
    rows = [rows_between(vector, starts, part.start, part.stop) for vector in blocks]
    run.restore(rows)
    return len(run.vectors), run.version


def _advance(
    session: str, superstep: str, steps: Steps, addresses: list[str]
) -> tuple[StepsDone, int]:
    run = _run(session)
    done = run.advance(steps, _WorkerLinks(_held(session), superstep, addresses))
    return done, run.version


def _rows_of(address: str, wanted: tuple[str, int, int, int, int]) -> Scores:
    """Return rows of a vector, wherever the task came to run."""
    worker = get_worker()
    if worker.address == address:
        held: HeldParts | None = getattr(worker, HELD, None)
        found = None if held is None else held.rows(*wanted)
        rows = None if found is None else found.data
    else:
        asking = _asked(worker, address, wanted)
        try:
            rows = asyncio.run_coroutine_threadsafe(asking, worker.loop.asyncio_loop).result()
        except (OSError, TimeoutError) as error:
            raise WorkersChangedError("the worker that held the scores is gone") from error
    if rows is None:
        raise WorkersChangedError("the scores were asked for too late: they have moved on")
    return rows


async def _asked(worker: Worker, address: str, wanted: tuple[str, int, int, int, int]) -> Any:
    session, version, vector, start, stop = wanted
    # Dask tries to reach a worker that is gone for half a minute, and holds a thread that long.
    await asyncio.wait_for(worker.rpc(address).identity(), REACH_SECONDS)
    return await worker.rpc(address).ssl_dask_rows(
        session=session, version=version, vector=vector, start=start, stop=stop
    )


def _joined_rows(pieces: list[Scores]) -> Scores:
    return np.concatenate(pieces)


def _stop(superstep: str, dask_worker: Worker) -> None:
    held: HeldParts | None = getattr(dask_worker, HELD, None)
    if held is not None:
        held.mailbox.stop(superstep)


def _forget(session: str, dask_worker: Worker) -> None:
    held: HeldParts | None = getattr(dask_worker, HELD, None)
    if held is not None:
        held.parts.pop(session, None)
        held.runs.pop(session, None)
