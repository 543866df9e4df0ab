"""One thread for BLAS and OpenMP in each task of a worker, whenever their libraries are loaded."""

from __future__ import annotations

import os
import sys
from typing import Any
from weakref import WeakSet

from distributed import Client, Worker, WorkerPlugin
from threadpoolctl import threadpool_limits

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
_KEPT: WeakSet[Client] = WeakSet()


class OneThreadPerTask(WorkerPlugin):
    """Keeps BLAS and OpenMP to one thread a task, whatever the environment of the workers says.

    Libraries that are loaded later read the environment. BLAS that was there is limited now, and
    again before a task if modules came since: a library may have been loaded beside them. OpenMP
    that was there counts thread by thread: fits limit it where they run (`one_thread`).
    """

    name = "ssl_dask-one-thread-per-task"

    def setup(self, worker: Worker) -> None:
        """Limit the thread pools of the worker's process."""
        os.environ.update(ONE_THREAD)
        self._limit()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Limit them again where a task begins and libraries may have come."""
        if finish == "executing" and len(sys.modules) != self._n_modules:
            self._limit()

    def _limit(self) -> None:
        self._n_modules = len(sys.modules)
        threadpool_limits(1)


def keep_to_one_thread(client: Client) -> None:
    """Limit the workers of a client, those that come later too; once a client."""
    if client not in _KEPT and not client.asynchronous:
        client.register_plugin(OneThreadPerTask())
        _KEPT.add(client)
