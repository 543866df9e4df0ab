"""The cluster that a job runs on, and whether it sees the folders it must see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from distributed import Client

from ssl_dask.cluster import adopt_client, ask_workers, open_client
from ssl_dask.console import RunListener
from ssl_dask.errors import StorageError
from ssl_dask.job_spec import ClusterSpec


@contextlib.contextmanager
def job_client(
    spec: ClusterSpec, client: Client | None, dashboard: bool, listener: RunListener
) -> Iterator[Client]:
    """Yield a client: the one given, made ready, or one of the job's cluster, closed at the end.

    Parameters
    ----------
    spec
        The job's cluster.
    client
        A client to use instead of the job's cluster.
    dashboard
        Serve Dask's dashboard on loopback, with a local cluster.
    listener
        Told that the cluster starts.
    """
    if client is not None:
        adopt_client(client)
        yield client
        return
    listener.progress("starting workers" if spec.kind == "local" else "connecting", 0, 1)
    with open_client(spec, dashboard=dashboard) as opened:
        if dashboard:
            listener.event(
                "dashboard", level="note", message=f"dashboard at {opened.dashboard_link}"
            )
        yield opened


def check_shared_folder(client: Client, stage: Path) -> None:
    """Find out now, not after hours, that a worker cannot reach the output.

    Raises
    ------
    StorageError
        Some worker does not see `stage`.
    """
    seen = ask_workers(client, os.path.isdir, str(stage))
    blind = sorted(address for address, there in seen.items() if there is not True)
    if blind:
        raise StorageError(
            f"{len(blind)} workers do not see the output folder, {blind[0]} first",
            file=str(stage.parent),
            hint="output.path must be on a file system that the client and all workers share",
        )
