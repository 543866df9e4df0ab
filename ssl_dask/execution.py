"""Where block tasks run: in this process, or on the workers of a Dask cluster.

Rooms of the package describe work as lists of `dask.delayed.Delayed`, one a block, and hand them
to an `Execution`. The answer does not depend on where they ran. Job files are read without a
cluster, so `distributed` is imported where it is used.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for_threads
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import dask
from dask import delayed
from dask.callbacks import Callback
from dask.delayed import Delayed

from ssl_dask.errors import ComputeError, SslDaskError, StorageError
from ssl_dask.one_thread import one_thread

if TYPE_CHECKING:
    from distributed import Client, Future

AnyClient: TypeAlias = "Client | str | None"
"""Parameter `client` of the Python API: a `distributed.Client` whose cluster runs the tasks;
"local": this process; None: the client that this process has open, or else this process."""
Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`, total in tasks; calls may come from another thread."""

TICK_SECONDS = 0.5
LOST_TICKS = 10
"""After so many ticks with a lost result the scheduler is asked what keeps it from being made."""


class Execution:
    """Runs block tasks and waits for them, watching for lost or stalled workers.

    Parameters
    ----------
    client
        A `distributed.Client`: tasks run on its cluster. None: in threads of this process, one
        BLAS thread each.
    threads
        Threads used without a client; default: the cores of this machine that may be used.
    memory_per_task
        Bytes that one task may use; default: what the workers have over their threads, or a
        quarter of this machine's memory over `threads`.
    progress
        Told about finished tasks.
    stall_seconds
        No task finished and no worker executing anything for so long: `ComputeError`.
    no_workers_seconds
        No worker at all for so long: `ComputeError`.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        threads: int | None = None,
        memory_per_task: int | None = None,
        progress: Progress | None = None,
        stall_seconds: float = 300.0,
        no_workers_seconds: float = 60.0,
    ) -> None:
        self.client = client
        self._progress = progress
        self._stall_seconds = stall_seconds
        self._no_workers_seconds = no_workers_seconds
        if client is None:
            self.n_slots = threads or len(os.sched_getaffinity(0))
            self.n_workers = 1
            memory = memory_per_task or _physical_memory() // 4 // self.n_slots
        else:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            self.n_workers = max(len(workers), 1)
            self.n_slots = max(sum(worker["nthreads"] for worker in workers), 1)
            shares = [w["memory_limit"] // w["nthreads"] for w in workers if w["memory_limit"]]
            memory = memory_per_task or min(shares, default=_physical_memory() // 4)
        self.memory_per_task = int(memory)

    @classmethod
    def of(cls, client: AnyClient = None, execution: Execution | None = None) -> Execution:
        """Return where a function of the Python API runs; nothing else looks for an open client.

        Parameters
        ----------
        client
            A `distributed.Client`; "local": threads of this process; None: the client that this
            process opened last as its default or made current, as in Dask itself. A task on a
            worker has none: it runs what it calls in its own process.
        execution
            Returned as it is, if there is one.

        Raises
        ------
        ValueError
            `client` is something else, or both are given.
        """
        if execution is not None:
            if client is not None:
                raise ValueError("give client or execution, not both")
            return execution
        if client is None:
            return cls(_open_client())
        if isinstance(client, str):
            if client != "local":
                raise ValueError(f"client is {client!r}; give a distributed.Client, or 'local'")
            return cls()
        return cls(client)

    def persist(self, tasks: Sequence[Any], what: str = "") -> list[Any]:
        """Run `tasks`, keep each result where it was made, and return handles to the results.

        Other Dask collections than handles, such as a graph, come back with all their parts held.

        Raises
        ------
        ComputeError
            Workers were lost, ran out of memory, or nothing moved for `stall_seconds`.
        """
        tasks = list(tasks)
        if not tasks:
            return []
        if self.client is None:
            with self._here(tasks, what):
                kept = dask.persist(*tasks, scheduler="threads", num_workers=self.n_slots)
            return list(kept)
        from distributed import futures_of

        kept = self.client.persist(tasks, optimize_graph=False)
        self._wait(futures_of(kept), what)
        return list(kept)

    def compute(self, tasks: Sequence[Delayed], what: str = "") -> list[Any]:
        """Run `tasks` and return their results to this process; they must be small.

        Raises
        ------
        ComputeError
            As `persist`.
        """
        tasks = list(tasks)
        if not tasks:
            return []
        if self.client is None:
            with self._here(tasks, what):
                return list(dask.compute(*tasks, scheduler="threads", num_workers=self.n_slots))
        futures = self.client.compute(tasks, optimize_graph=False)
        self._wait(futures, what)
        return self._gathered(futures, what)

    def place(self, values: Sequence[Any], *, lasting: bool = False) -> list[Delayed]:
        """Return handles to values of this process, sent to the workers where there are any.

        Parameters
        ----------
        values
            One for each handle; split over the workers.
        lasting
            The scheduler keeps each, and sends it again when its worker is lost: for what all
            tasks need, and what fits the scheduler's memory.

        Raises
        ------
        ComputeError
            As `persist`, of lasting values.

        Notes
        -----
        Others are gone with the worker that they were sent to. Sending them to all workers would
        not help: Dask soon drops all copies but one.
        """
        if self.client is not None and not lasting:
            return [delayed(sent) for sent in self.client.scatter(list(values), hash=False)]
        kept = [delayed(value, pure=False, traverse=False) for value in values]
        if self.client is None:
            return kept
        # Dask warns of large values in tasks, since they are mostly there by mistake.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TiB"}):
            return self.persist(kept, "sent values")

    def _gathered(self, futures: list[Future], what: str) -> list[Any]:
        """Bring finished results here; watched, since they are gone if their worker is."""
        assert self.client is not None
        watch = _StallWatch(self.client, self._stall_seconds, self._no_workers_seconds)
        coming = asyncio.run_coroutine_threadsafe(
            self.client.gather(futures, asynchronous=True), self.client.loop.asyncio_loop
        )
        try:
            while not wait_for_threads([coming], timeout=TICK_SECONDS).done:
                watch.check(futures, what)
        finally:
            coming.cancel()
        try:
            return list(coming.result())
        except CancelledError as error:
            raise _given_up(self.client, what) from error
        except BaseException as error:
            known = as_package_error(error, what)
            if known is error:
                raise
            raise known from error

    @contextmanager
    def _here(self, tasks: Sequence[Delayed], what: str) -> Iterator[None]:
        """Run tasks in threads of this process, with progress."""
        told = Callback()
        if self._progress is not None and what:
            told = _LocalProgress(self._progress, what)
        try:
            with one_thread(), told:
                yield
        except (KeyError, ValueError) as error:
            if "Missing dependency" not in str(error) and not _lie_on_a_cluster(tasks):
                raise
            raise ComputeError(
                "the data lie on the workers of a cluster, and this process was to compute",
                hint="give the cluster's client as client=...",
            ) from error

    def _wait(self, futures: list[Future], what: str) -> None:
        """Wait until all futures are done; never a bare wait, which hangs when workers are gone."""
        from distributed import wait as wait_for_futures

        assert self.client is not None
        watch = _StallWatch(self.client, self._stall_seconds, self._no_workers_seconds)
        while True:
            try:
                # `wait` asks for the ambient client, which may be another one, or none.
                with self.client.as_current():
                    wait_for_futures(futures, timeout=TICK_SECONDS)
                finished = True
            except TimeoutError:
                finished = False
            except CancelledError as error:
                raise _given_up(self.client, what) from error
            done = 0
            for future in futures:
                # One that is "lost" went with its worker, and is made again like one not begun.
                if future.status == "error":
                    raise_task_error(future, what)
                if future.status == "cancelled":
                    raise _given_up(self.client, what)
                done += future.status == "finished"
            if self._progress is not None and what:
                self._progress(what, done, len(futures))
            if finished:
                return
            watch.check(futures, what)


class _LocalProgress(Callback):
    """Counts finished tasks of Dask's threaded scheduler."""

    def __init__(self, progress: Progress, what: str) -> None:
        super().__init__()
        self._report, self._what = progress, what
        self._lock, self._last = threading.Lock(), 0.0

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        with self._lock:
            now = time.monotonic()
            left = len(state["waiting"]) + len(state["ready"]) + len(state["running"])
            if now - self._last < TICK_SECONDS and left > 0:
                return
            self._last = now
        done = len(state["finished"])
        self._report(self._what, done, done + left)


class _StallWatch:
    """Notices that a cluster will not finish: no workers, or none that executes anything."""

    def __init__(self, client: Client, stall_seconds: float, no_workers_seconds: float) -> None:
        self._client = client
        self._stall_seconds = stall_seconds
        self._no_workers_seconds = no_workers_seconds
        self._moved_at = self._workers_at = time.monotonic()
        self._done, self._n_lost_seen = -1, 0

    def check(self, futures: Sequence[Future], what: str) -> None:
        now = time.monotonic()
        if self._client.status not in ("running", "connecting"):
            raise _scheduler_lost(what)
        self._check_lost([future.key for future in futures if future.status == "lost"], what)
        done = sum(future.status == "finished" for future in futures)
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if workers:
            self._workers_at = now
        elif now - self._workers_at > self._no_workers_seconds:
            raise ComputeError(
                f"the cluster had no workers for {self._no_workers_seconds:.0f} s during {what!r}",
                hint="start workers, or see their logs for why they ended",
            )
        executing = any(
            worker.get("metrics", {}).get("task_counts", {}).get("executing", 0)
            for worker in workers.values()
        )
        if done != self._done or executing:
            self._done, self._moved_at = done, now
        elif now - self._moved_at > self._stall_seconds:
            paused = sum(worker.get("status") == "paused" for worker in workers.values())
            raise ComputeError(
                f"no task of {what!r} moved for {self._stall_seconds:.0f} s; {paused} of"
                f" {len(workers)} workers are paused for want of memory",
                hint="give the workers more memory, or more disk to spill to",
            )

    def _check_lost(self, keys: list[Any], what: str) -> None:
        """Raise the error for which lost results are not made again.

        Dask tells it if a task fails that they wait for. One that had failed before they were lost
        is not told, and they are waited for without end.
        """
        self._n_lost_seen = self._n_lost_seen + 1 if keys else 0
        if not keys or self._n_lost_seen % LOST_TICKS:
            return
        from distributed import Future

        failed = self._client.run_on_scheduler(_failed_before, keys)
        if failed is not None:
            raise_task_error(Future(failed, self._client), what)


def _failed_before(keys: list[Any], dask_scheduler: Any = None) -> Any:
    """Return the key of a failed task that others need to be made again; runs on the scheduler."""
    looked_at, left = set(keys), list(keys)
    while left:
        task = dask_scheduler.tasks.get(left.pop())
        if task is None or task.who_has:
            continue
        if task.state == "erred":
            return task.key
        needed = {other.key for other in task.dependencies} - looked_at
        looked_at |= needed
        left += needed
    return None


def raise_task_error(future: Future, what: str) -> None:
    """Raise the error of a failed task, told in the words of this package.

    Raises
    ------
    SslDaskError
        As the task raised it; `ComputeError` for a killed worker or a lack of memory;
        `StorageError` for a full disk. Any other error is raised as it is.
    """
    error = future.exception()
    raise as_package_error(error, what) from error


def as_package_error(error: BaseException, what: str) -> BaseException:
    """Return `error` in the words of this package where it is one of the known kinds."""
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    if isinstance(error, SslDaskError):
        return error
    if isinstance(error, KilledWorker):
        worker = getattr(error, "last_worker", None)
        limit = getattr(worker, "memory_limit", 0) or 0
        size = f" (memory limit {limit / 2**20:.0f} MiB)" if limit else ""
        return ComputeError(
            f"the worker{size} died again and again at {what!r}; most often its memory was not"
            " enough",
            hint="raise cluster.memory, or lower input.block_rows",
        )
    if isinstance(error, MemoryError):
        return ComputeError(f"out of memory at {what!r}: {error}", hint="raise cluster.memory")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"disk full at {what!r}",
            file=str(error.filename) if error.filename else None,
            hint="free some space and run again with --resume; the earlier output is untouched",
        )
    if isinstance(error, (CancelledError, CommClosedError)):
        return _scheduler_lost(what)
    if isinstance(error, RuntimeError) and "deserialization of the task graph" in str(error):
        return ComputeError(
            f"the scheduler cannot read the tasks of {what!r}: it has other code than this process",
            hint="install the same ssl_dask on scheduler, workers and client, and start them again",
        )
    return error


def _open_client() -> Client | None:
    """Return the client that this process has open, None within a task or without one."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client, get_worker

    with suppress(ValueError):
        get_worker()
        return None
    with suppress(ValueError):
        return default_client()
    return None


def _lie_on_a_cluster(tasks: Sequence[Delayed]) -> bool:
    if "distributed" not in sys.modules:
        return False
    from distributed import futures_of

    return bool(futures_of(tasks))


def _given_up(client: Client, what: str) -> ComputeError:
    """Return why tasks were given up: no scheduler, or what they need cannot be made again."""
    if client.status != "running":
        return _scheduler_lost(what)
    return ComputeError(
        f"a worker was lost during {what!r}, and with it rows that this process had sent to it",
        hint="give the rows as a Dask array over files, which workers can read again",
    )


def _scheduler_lost(what: str) -> ComputeError:
    return ComputeError(
        f"the connection to the scheduler was lost during {what!r}",
        hint="see the scheduler's log; run again with --resume",
    )


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
