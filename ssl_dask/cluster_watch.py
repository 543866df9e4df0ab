"""Watches a Dask cluster while it works: lost workers, stalls, and errors in this package's words.

Imported by whoever runs tasks; `distributed` is imported where it is used, as in `execution`.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for_threads
from typing import TYPE_CHECKING, Any

from ssl_dask.errors import ComputeError, SslDaskError, StorageError

if TYPE_CHECKING:
    from distributed import Client, Future

TICK_SECONDS = 0.5
LOST_TICKS = 10
"""After so many ticks with a lost result the scheduler is asked what keeps it from being made."""


class StallWatch:
    """Notices that a cluster will not finish: no workers, or none that executes anything."""

    def __init__(self, client: Client, stall_seconds: float, no_workers_seconds: float) -> None:
        self._client = client
        self._stall_seconds = stall_seconds
        self._no_workers_seconds = no_workers_seconds
        self._moved_at = self._workers_at = time.monotonic()
        self._done, self._n_lost_seen = -1, 0

    def check(self, futures: Sequence[Future], what: str) -> None:
        """Raise the error for which `futures` will not all be finished, if there is one."""
        now = time.monotonic()
        workers = workers_of(self._client, what)
        self._check_lost([future.key for future in futures if future.status == "lost"], what)
        done = sum(future.status == "finished" for future in futures)
        if workers:
            self._workers_at = now
        elif now - self._workers_at > self._no_workers_seconds:
            raise no_workers(self._no_workers_seconds, what)
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


def gathered(
    client: Client, futures: list[Future], check: Callable[[], None], seconds: float
) -> list[Any]:
    """Bring finished results here; they are gone if their worker is, and `check` is to raise then.

    It is called every so many seconds meanwhile.
    """
    coming = asyncio.run_coroutine_threadsafe(
        client.gather(futures, asynchronous=True), client.loop.asyncio_loop
    )
    try:
        while not wait_for_threads([coming], timeout=seconds).done:
            check()
        return list(coming.result())
    finally:
        coming.cancel()


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
    """Raise the error of a failed task, as `as_package_error` tells it."""
    error = future.exception()
    raise as_package_error(error, what) from error


def as_package_error(error: BaseException, what: str) -> BaseException:
    """Return `error` in the words of this package where it is one of the known kinds.

    `ComputeError` for a killed worker or a lack of memory; `StorageError` for a full disk.
    """
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


def given_up(client: Client, what: str) -> ComputeError:
    """Return why tasks were given up: no scheduler, or what they need cannot be made again."""
    if client.status != "running":
        return _scheduler_lost(what)
    return ComputeError(
        f"a worker was lost during {what!r}, and with it rows that this process had sent to it",
        hint="give the rows as a Dask array over files, which workers can read again",
    )


def workers_of(client: Client, what: str) -> dict[str, Any]:
    """Return what the scheduler knows of each worker; raise ComputeError if it is gone."""
    if client.status not in ("running", "connecting"):
        raise _scheduler_lost(what)
    return client.scheduler_info(n_workers=-1)["workers"]


def no_workers(seconds: float, what: str) -> ComputeError:
    """Return the error of a cluster that had no workers for so long."""
    return ComputeError(
        f"the cluster had no workers for {seconds:.0f} s during {what!r}",
        hint="start workers, or see their logs for why they ended",
    )


def _scheduler_lost(what: str) -> ComputeError:
    return ComputeError(
        f"the connection to the scheduler was lost during {what!r}",
        hint="see the scheduler's log; run again with --resume",
    )
