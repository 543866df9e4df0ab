"""Opens the Dask cluster that a job runs on: the only place that makes a client."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.metadata
import ipaddress
import platform
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from dask.system import CPU_COUNT
from dask.utils import parse_bytes
from distributed import Client, LocalCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.errors import ComputeError, JobSpecError, Problem
from ssl_dask.version import __version__
from ssl_dask.worker_threads import ONE_THREAD, keep_to_one_thread

# Versions that must be the same on both sides: the answer, or the wire format, depends on them.
HANDSHAKE = ("dask", "distributed", "numpy", "scipy", "scikit-learn", "numba", "pyarrow", "skops")
CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 60.0
"""The first question makes a worker import this package."""
SCRATCH_PREFIX, SCRATCH_LOCK = "ssl-dask-", ".owner"

_DASK_SETTINGS = {
    "distributed.scheduler.allowed-failures": 3,
    "distributed.scheduler.no-workers-timeout": "5 minutes",
    "distributed.comm.timeouts.connect": "20s",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.large-graph-warning-threshold": "64 MiB",
}
# Scheduler and workers always listen for HTTP; without a dashboard they have no pages.
_NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
_KEPT_MEMORY = {
    f"distributed.nanny.pre-spawn-environ.MALLOC_{name}_THRESHOLD_": size
    for name, size in {"TRIM": 128 * 2**20, "MMAP": 8 * 2**20}.items()
}
"""Bytes of freed memory that the C library of a worker may keep, and size from which it asks the
kernel each time. With what Dask sets, 64 KiB, each array is made of pages that the kernel has to
clear first: a tenth of the time of a neighbour search."""


@contextlib.contextmanager
def open_client(spec: ClusterSpec, *, dashboard: bool = False) -> Iterator[Client]:
    """Open a client for the cluster that `spec` describes; local workers end with it.

    Parameters
    ----------
    spec
        The job's `cluster` part.
    dashboard
        Serve Dask's dashboard, on loopback only. Without it nothing but the scheduler's and the
        workers' own ports listens, on loopback too.

    Raises
    ------
    JobSpecError
        An unencrypted address of another machine, TLS without usable files, or workers of other
        versions.
    ComputeError
        The scheduler does not answer.
    """
    if dashboard and spec.kind == "address":
        raise JobSpecError(
            f"--dashboard serves the pages of a local cluster; {spec.address} has its own, if any",
            hint="leave --dashboard out",
        )
    with dask.config.set(_DASK_SETTINGS):
        if spec.kind == "local":
            with _local(spec, dashboard) as client:
                yield client
        else:
            with _remote(spec) as client:
                yield client


def local_workers(spec: ClusterSpec) -> tuple[int, int, int]:
    """Return (workers, threads of each, bytes of memory of each) of a local cluster."""
    workers = spec.workers or CPU_COUNT
    threads = spec.threads or 1
    if spec.memory is not None:
        return workers, threads, int(parse_bytes(spec.memory))
    return workers, threads, int(0.6 * MEMORY_LIMIT / workers)


@contextlib.contextmanager
def _local(spec: ClusterSpec, dashboard: bool) -> Iterator[Client]:
    workers, threads, memory = local_workers(spec)
    with (
        scratch_folder() as scratch,
        dask.config.set({} if dashboard else _NO_PAGES),
        # The scheduler keeps a folder of its own, and takes no argument for it.
        dask.config.set({"temporary-directory": scratch}),
        dask.config.set(_KEPT_MEMORY),
        _started(workers, threads, memory, dashboard, scratch) as cluster,
        Client(cluster) as client,
    ):
        keep_to_one_thread(client)
        yield client


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Make a folder that workers may spill to, after removing those of processes that were killed.

    Its owner holds a lock on a file in it: the kernel lets go of that however the owner ends.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*/{SCRATCH_LOCK}"):
        with contextlib.suppress(OSError), old.open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old.parent, ignore_errors=True)
    scratch = tempfile.mkdtemp(prefix=SCRATCH_PREFIX)
    try:
        with (Path(scratch) / SCRATCH_LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _started(
    workers: int, threads: int, memory: int, dashboard: bool, scratch: str
) -> LocalCluster:
    """Start the worker processes, or say why there are none."""
    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            memory_limit=memory,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": dashboard},
            local_directory=scratch,
            # Dask's setting for this gives way to the environment of this process.
            env=ONE_THREAD,
            # Workers share this process's stderr, which may be a log in JSON. What goes wrong
            # in a task is raised here; the rest is noise of processes that are being ended.
            silence_logs="CRITICAL",
        )
    except RuntimeError as error:
        raise ComputeError(
            f"the worker processes did not start: {error}",
            hint='in a script of your own, call run_job under `if __name__ == "__main__":`;'
            " otherwise see above what a worker said",
        ) from error


@contextlib.contextmanager
def _remote(spec: ClusterSpec) -> Iterator[Client]:
    assert spec.address is not None
    parts = urlsplit(spec.address)
    if parts.scheme == "tcp" and not spec.insecure and not _is_loopback(parts.hostname or ""):
        raise JobSpecError(
            f"{spec.address} is another machine, and tcp:// neither encrypts nor asks who you are",
            hint="use tls://, or set cluster.insecure: true where the network is trusted",
        )
    security = None
    if parts.scheme == "tls":
        own = {
            "tls_ca_file": spec.tls_ca_file,
            "tls_client_cert": spec.tls_cert,
            "tls_client_key": spec.tls_key,
        }
        given = {key: value for key, value in own.items() if value is not None}
        security = Security(require_encryption=True, **given)
        _check_tls_files(security)
    try:
        client = Client(
            spec.address, security=security, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, TimeoutError) as error:
        raise ComputeError(
            f"no scheduler answers at {spec.address} within {CONNECT_SECONDS:.0f} s"
            f" ({type(error).__name__})",
            hint="start it with `dask scheduler`, or correct cluster.address",
        ) from None
    with client:
        adopt_client(client)
        yield client


def _check_tls_files(security: Security) -> None:
    """Refuse TLS files that are missing or unusable: Dask would call the first a TypeError."""
    try:
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as error:
        # ssl's errors are OSErrors too, and do not name the file.
        where = f" {error.filename}" if error.filename else ""
        raise JobSpecError(
            f"the files for TLS cannot be used:{where} {error.strerror or error}",
            hint="look at cluster.tls_ca_file, cluster.tls_cert and cluster.tls_key",
        ) from None
    if context is None:
        raise JobSpecError(
            "tls:// needs the authority's certificate, a certificate of this client, and its key",
            hint="set cluster.tls_ca_file, tls_cert and tls_key, or Dask's own configuration",
        )


def adopt_client(client: Client) -> None:
    """Make a cluster that somebody else started ready: equal versions, one BLAS thread a task.

    Waits a little for the first worker.

    Raises
    ------
    JobSpecError
        Workers of other versions.
    ComputeError
        There are no workers.
    """
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        raise ComputeError(
            "the scheduler has no workers", hint="start some with `dask worker ADDRESS`"
        ) from None
    here = versions()
    problems = []
    for address, there in ask_workers(client, versions).items():
        if isinstance(there, BaseException):
            problems.append(
                Problem(
                    f"worker {address} cannot import ssl_dask: {there}", hint="install it there"
                )
            )
            continue
        problems += [
            Problem(
                f"worker {address} has {name} {there.get(name)}, this process has {version}",
                hint="install the same versions on the workers, from requirements.lock",
            )
            for name, version in here.items()
            if there.get(name) != version
        ]
    if problems:
        raise JobSpecError(problems)
    keep_to_one_thread(client)


def ask_workers(
    client: Client, question: Callable[..., Any], *values: Any, seconds: float = ANSWER_SECONDS
) -> dict[str, Any]:
    """Call a function on every worker; return address -> its answer, or the error it raised.

    Raises
    ------
    ComputeError
        Not all workers answered in time: one may be stopped, or its machine gone.
    """
    answers = asyncio.run_coroutine_threadsafe(
        client.run(question, *values, on_error="return", asynchronous=True),
        client.loop.asyncio_loop,
    )
    try:
        return dict(answers.result(seconds))
    except TimeoutError:
        answers.cancel()
        raise ComputeError(
            f"not all workers answered within {seconds:.0f} s",
            hint="look for workers that are stopped or cut off, and end them",
        ) from None


def versions() -> dict[str, str]:
    """Return the versions that must be equal on the client and on all workers."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "ssl_dask": __version__}
    found.update({name: importlib.metadata.version(name) for name in HANDSHAKE})
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(socket.gethostbyname(host)).is_loopback
    except (OSError, ValueError):
        return False
