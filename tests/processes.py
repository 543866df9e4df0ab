"""Processes that a test starts on loopback, and that it ends by their own process ids."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def free_ports(number: int) -> list[int]:
    """Return ports of loopback that nobody listens on now, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def environment(
    extra: Mapping[str, str] | None = None, *, import_first: Path | None = None
) -> dict[str, str]:
    """Return this process's environment, with the project's code first on the import path."""
    paths = [str(PROJECT)] if import_first is None else [str(import_first), str(PROJECT)]
    settings = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **settings, **(extra or {})}


@contextmanager
def running(
    command: Sequence[str], log: Path, *, env: Mapping[str, str], cwd: Path, patience: float = 10.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with both of its outputs in `log`; end it and its children, whatever happens.

    It leads a process group of its own, so that children can be ended with it. It has `patience`
    seconds to end by itself.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=env, cwd=cwd, process_group=0
        )
    try:
        yield process
    finally:
        end_group(process, patience=patience)


def end_group(process: subprocess.Popen[Any], *, patience: float = 10.0) -> None:
    """Ask the process to end, then kill what is left of its group."""
    if process.poll() is None and patience:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_port(port: int, process: subprocess.Popen[Any], log: Path, seconds: float) -> None:
    """Wait until something listens on a port of loopback; fail with the log if it never does."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        assert process.poll() is None, f"it ended early: {log.read_text()[-3000:]}"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}: {log.read_text()[-3000:]}")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, both outputs, and when."""

    code: int
    stdout: str
    stderr: str
    at: datetime

    @property
    def seconds(self) -> float:
        """Wall time from the first line of its log, when Python and its imports are there."""
        began = datetime.fromisoformat(json.loads(self.stderr.splitlines()[0])["ts"])
        return (self.at - began).total_seconds()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of stderr, which are JSON with `--json-logs`."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    @property
    def last_words(self) -> dict[str, Any]:
        """The last line of stderr, which is JSON after a failure."""
        words: dict[str, Any] = json.loads(self.stderr.splitlines()[-1])
        return words

    @property
    def path(self) -> Path:
        """The run's folder, the first line of stdout."""
        return Path(self.stdout.splitlines()[0])


def _plain_signals() -> None:
    # A test that runs in the background may have been told to ignore some.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def started(
    job: Path, log: Path, *more: str, extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `ssl-dask run` in a group of its own, with its events in `log`; kill it in the end."""
    command = [sys.executable, "-m", "ssl_dask", "run", str(job), "--json-logs", *more]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            env=environment(extra),
            cwd=job.parent,
            process_group=0,
            preexec_fn=_plain_signals,
        )
    try:
        yield process
    finally:
        end_group(process, patience=0)


def events(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log that are whole."""
    return [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines()]


def wait_for_events(
    process: subprocess.Popen[bytes], log: Path, number: int = 1, **fields: Any
) -> None:
    """Wait until so many events have these fields; fail with the log if the process ends first."""
    while sum(fields.items() <= event.items() for event in events(log)) < number:
        assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.01)


def ssl_dask(
    *arguments: str | Path,
    cwd: Path,
    extra: Mapping[str, str] | None = None,
    seconds: float = 240.0,
) -> Ended:
    """Run `ssl-dask` to its end in a process of its own."""
    command = [sys.executable, "-m", "ssl_dask", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(extra),
        cwd=cwd,
        process_group=0,
    )
    try:
        stdout, stderr = process.communicate(timeout=seconds)
        at = datetime.now(UTC)
    finally:
        end_group(process)
    return Ended(process.returncode, stdout, stderr, at)
