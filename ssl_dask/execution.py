"""Where block tasks run: in this process, or on the workers of a Dask cluster.

Rooms of the package describe work as lists of `dask.delayed.Delayed`, one a block, and hand them
to an `Execution`. The answer does not depend on where they ran. Job files are read without a
cluster, so `distributed` is imported where it is used.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import dask
from dask import delayed, threaded
from dask.callbacks import Callback
from dask.delayed import Delayed

from ssl_dask.cluster_watch import (
    TICK_SECONDS,
    StallWatch,
    as_package_error,
    gathered,
    given_up,
    raise_task_error,
)
from ssl_dask.errors import ComputeError
from ssl_dask.one_thread import one_thread

if TYPE_CHECKING:
    from distributed import Client, Future

AnyClient: TypeAlias = "Client | str | None"
"""Parameter `client` of the Python API: a `distributed.Client` whose cluster runs the tasks;
"local": this process; None: the client that this process has open, or else this process."""
Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`, total in tasks; calls may come from another thread."""


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
        self.client, self._progress = client, progress
        self._limits = (stall_seconds, no_workers_seconds)
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
        """Return where a function of the Python API runs: `execution`, if there is one.

        Nothing else looks for an open client.

        Parameters
        ----------
        client
            A `distributed.Client`; "local": threads of this process; None: the client that this
            process opened last as its default or made current, as in Dask itself. A task on a
            worker has none: it runs what it calls in its own process.

        Raises
        ------
        ValueError
            `client` is something else, or both are given.
        """
        if execution is not None:
            if client is not None:
                raise ValueError("give client or execution, not both")
            return execution
        if isinstance(client, str):
            if client != "local":
                raise ValueError(f"client is {client!r}; give a distributed.Client, or 'local'")
            return cls()
        found = _open_client() if client is None else client
        if found is not None:
            from ssl_dask.worker_threads import keep_to_one_thread

            keep_to_one_thread(found)
        return cls(found)

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
                kept = dask.persist(*tasks, scheduler=threaded.get, num_workers=self.n_slots)
            return list(kept)
        from distributed import futures_of

        kept = self.client.persist(tasks, optimize_graph=False)
        self._wait(futures_of(kept), what)
        return list(kept)

    def compute(self, tasks: Sequence[Delayed], what: str = "") -> list[Any]:
        """Run `tasks` and return their results, which must be small, to this process.

        Raises ComputeError as `persist`.
        """
        tasks = list(tasks)
        if not tasks:
            return []
        if self.client is None:
            with self._here(tasks, what):
                return list(dask.compute(*tasks, scheduler=threaded.get, num_workers=self.n_slots))
        futures = self.client.compute(tasks, optimize_graph=False)
        self._wait(futures, what)
        return self._gathered(futures, what)

    def place(self, values: Sequence[Any], *, lasting: bool = False) -> list[Delayed]:
        """Return handles to values of this process, split over the workers where there are any.

        Parameters
        ----------
        lasting
            The scheduler keeps each, and sends it again when its worker is lost: for what all
            tasks need, and what fits the scheduler's memory. Others are gone with the worker that
            they were sent to. Sending them to all workers would not help: Dask soon drops all
            copies but one.

        Raises
        ------
        ComputeError
            As `persist`, of lasting values.
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
        """Bring finished results here."""
        assert self.client is not None
        watch = StallWatch(self.client, *self._limits)
        try:
            return gathered(self.client, futures, lambda: watch.check(futures, what), TICK_SECONDS)
        except CancelledError as error:
            raise given_up(self.client, what) from error
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
        watch = StallWatch(self.client, *self._limits)
        while True:
            try:
                # `wait` asks for the ambient client, which may be another one, or none.
                with self.client.as_current():
                    wait_for_futures(futures, timeout=TICK_SECONDS)
                finished = True
            except TimeoutError:
                finished = False
            except CancelledError as error:
                raise given_up(self.client, what) from error
            done = 0
            for future in futures:
                # One that is "lost" went with its worker, and is made again like one not begun.
                if future.status == "error":
                    raise_task_error(future, what)
                if future.status == "cancelled":
                    raise given_up(self.client, what)
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


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
