"""What the commands run, predict and graph share: cluster, finished runs, places of errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from distributed import Client

from ssl_dask.cluster import adopt_client, ask_workers, open_client
from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.console import RunClock, RunListener
from ssl_dask.errors import StorageError
from ssl_dask.execution import Execution
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.runs.manifest import CommittedRun, Fingerprint
from ssl_dask.storage.runs.run_folder import OutputFolder


@contextlib.contextmanager
def errors_with_place(clock: RunClock) -> Iterator[None]:
    """Give each exception `run_place`, (run_id, stage), for the last line of the command."""
    try:
        yield
    except BaseException as error:
        vars(error)["run_place"] = (clock.run_id, clock.name)
        raise


def run_done_already(folder: OutputFolder, wanted: Fingerprint) -> CommittedRun | None:
    """Return the latest run of a folder if it has this fingerprint and all its files are intact."""
    latest = folder.latest()
    if latest is None or latest.fingerprint != wanted or latest.verify():
        return None
    return latest


@contextlib.contextmanager
def job_execution(
    spec: ClusterSpec,
    dataset: Dataset,
    client: Client | None,
    folder: Path,
    listener: RunListener,
    *,
    dashboard: bool = False,
) -> Iterator[Execution]:
    """Yield an `Execution` on the given client, the job's cluster, or in this process.

    Parameters
    ----------
    spec
        The job's cluster. Closed at the end.
    dataset
        The input: few rows are labelled in this process.
    client
        A client to use instead of the job's cluster.
    folder
        A folder that all workers must see.
    dashboard
        Serve Dask's dashboard on loopback, with a local cluster.

    Raises
    ------
    StorageError
        A worker does not see `folder`.
    """
    few = not spec.starts_workers(dataset.n_rows, dataset.size)
    if client is None and few and not dashboard:
        yield Execution(progress=listener.progress)
        return
    with contextlib.ExitStack() as stack:
        if client is None:
            listener.progress("starting workers" if spec.kind == "local" else "connecting", 0, 1)
            client = stack.enter_context(open_client(spec, dashboard=dashboard))
            if dashboard:
                listener.event(
                    "dashboard", level="note", message=f"dashboard at {client.dashboard_link}"
                )
        else:
            adopt_client(client)
        execution = Execution(client, progress=listener.progress)
        _check_shared_folder(client, folder)
        yield execution


def _check_shared_folder(client: Client, folder: Path) -> None:
    """Raise StorageError before hours of work if a worker does not see the output."""
    seen = ask_workers(client, os.path.isdir, str(folder))
    blind = sorted(address for address, there in seen.items() if there is not True)
    if blind:
        raise StorageError(
            f"{len(blind)} workers do not see the output folder, {blind[0]} first",
            file=str(folder.parent),
            hint="output.path must be on a file system that the client and all workers share",
        )
