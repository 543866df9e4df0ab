"""What a worker holds of a propagation, and the tasks that work on it.

Rows of scores go straight from worker to worker over Dask's own connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_dask.array_types import Int64
from ssl_dask.errors import WorkersChangedError
from ssl_dask.kernels.propagation.graph_parts import GraphPart, part_of_strips
from ssl_dask.kernels.propagation.step import SparseSources
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.propagation.engine.partition_solver import Aborted, Key, PartRun
from ssl_dask.propagation.engine.partitions import Mailbox, rows_between
from ssl_dask.propagation.engine.recurrence import LinearSystem, Steps, StepsDone

if TYPE_CHECKING:
    from distributed import Worker, WorkerPlugin

STOP_SECONDS = 10.0
REACH_SECONDS = 3.0
HELD = "_ssl_dask_parts"


class HeldParts:
    """What one worker holds: parts by graph, vectors by graph, and what other parts sent.

    `received` counts the bytes of scores that other workers sent.
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
        from distributed.protocol import to_serialize

        run = self.runs.get(session)
        if run is None or run.version != version:
            return None
        return to_serialize(run.own_rows(vector, start, stop))


def parts_plugin() -> WorkerPlugin:
    """Return what lets a worker hold parts, and take halos from others."""
    from distributed import WorkerPlugin

    class PartsPlugin(WorkerPlugin):
        name = "ssl_dask-parts"

        def setup(self, worker: Worker) -> None:
            # A place for parts that is there already stays.
            if not hasattr(worker, HELD):
                held = HeldParts(worker)
                setattr(worker, HELD, held)
                worker.handlers["ssl_dask_receive"] = held.receive
                worker.handlers["ssl_dask_rows"] = held.rows

    return PartsPlugin()


class _WorkerLinks:
    """Links of a superstep that runs in a task of a worker."""

    def __init__(self, held: HeldParts, superstep: str, addresses: Sequence[str]) -> None:
        self._held, self._superstep, self._addresses = held, superstep, addresses
        self._sent: list[Any] = []

    def send(self, part: int, key: Key, value: Any) -> None:
        from distributed.protocol import to_serialize

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


def _of_worker(worker: Worker) -> HeldParts | None:
    held: HeldParts | None = getattr(worker, HELD, None)
    return held


def _held(session: str | None = None) -> HeldParts:
    from distributed import get_worker

    held = _of_worker(get_worker())
    if held is None or (session is not None and session not in held.parts):
        raise WorkersChangedError("this worker does not hold the part any more")
    return held


def place_part(
    strips: list[Any], strip_starts: list[int], cuts: tuple[int, ...], number: int, session: str
) -> dict[int, Int64]:
    """Make a part; return the nodes that it needs of each other part."""
    held = _held()
    part = part_of_strips(strips, strip_starts, cuts, number)
    held.parts[session] = part
    held.runs.pop(session, None)
    return {other: part.asked_of(other) for other in part.receive}


def answer(asked: list[dict[int, Int64]], number: int, session: str) -> int:
    """Note which rows the other parts need of this one."""
    part = _held(session).parts[session]
    part.send = {
        other: nodes[number] - part.start for other, nodes in enumerate(asked) if number in nodes
    }
    return len(part.halo)


def begin(
    session: str,
    n_parts: int,
    system: LinearSystem,
    sparse: SparseSources,
    dense: list[Scores] | None,
    starts: list[int],
    value: float,
) -> float:
    """Make a new system the one that is solved; return the largest |F| a source alone makes."""
    held = _held(session)
    part = held.parts[session]
    rows = None if dense is None else rows_between(dense, starts, part.start, part.stop)
    n_threads = held.worker.state.nthreads
    held.runs[session] = PartRun(part, n_parts, system, sparse, rows, value, n_threads)
    return held.runs[session].largest_source


def _run(session: str) -> PartRun:
    runs = _held(session).runs
    if session not in runs:
        raise WorkersChangedError("this worker does not hold the part any more")
    return runs[session]


def start(session: str, factor: float, conjugate: bool) -> tuple[int, int]:
    """Set the part to its beginning; return the number of vectors and their version."""
    run = _run(session)
    run.start(factor, conjugate=conjugate)
    return len(run.vectors), run.version


def restore(session: str, blocks: list[list[Scores]], starts: list[int]) -> tuple[int, int]:
    """Set the vectors from blocks of which each begins at its node of `starts`."""
    run = _run(session)
    part = run.part
    rows = [rows_between(vector, starts, part.start, part.stop) for vector in blocks]
    run.restore(rows)
    return len(run.vectors), run.version


def advance(
    session: str, superstep: str, steps: Steps, addresses: list[str]
) -> tuple[StepsDone, int]:
    """Run a superstep; return what it did and the version of the vectors."""
    run = _run(session)
    done = run.advance(steps, _WorkerLinks(_held(session), superstep, addresses))
    return done, run.version


def rows_of(address: str, wanted: tuple[str, int, int, int, int]) -> Scores:
    """Return rows of a vector, wherever the task came to run."""
    from distributed import get_worker

    worker = get_worker()
    if worker.address == address:
        held = _of_worker(worker)
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


def stop(superstep: str, dask_worker: Worker) -> None:
    """Make what waits for messages of a superstep end; runs in the event loop."""
    if (held := _of_worker(dask_worker)) is not None:
        held.mailbox.stop(superstep)


def forget(session: str, dask_worker: Worker) -> None:
    """Free what is held for a session; runs in the event loop."""
    if (held := _of_worker(dask_worker)) is not None:
        held.parts.pop(session, None)
        held.runs.pop(session, None)
