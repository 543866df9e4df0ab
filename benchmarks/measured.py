"""Measures a function in a process of its own: wall and CPU time, peak memory of the process tree.

The function is called as `function(job, stopwatch)` in a fresh Python process and runs what counts
under `with stopwatch.running():`, once; what is before (imports, loading, compilation) and after is
not measured. Function and job must be picklable, and the script must have a `__main__` guard.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import psutil

MIB = 2**20
SAMPLE_SECONDS = 0.02
LOOK_FOR_CHILDREN_SECONDS = 0.5


class MeasuringError(RuntimeError):
    """The measured process failed, ended early or took too long."""


@dataclass(frozen=True)
class Measured:
    """What a run took.

    Parameters
    ----------
    wall_s, cpu_s
        Seconds; CPU is that of all processes together, in ticks of 10 ms.
    peak_mib
        Largest sum of the resident memory of all processes at one moment, data included.
    peak_mib_by_pid
        Largest resident memory of each process.
    answer
        What the function returned.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    peak_mib_by_pid: dict[int, float]
    answer: Any


class Stopwatch:
    """Tells the measuring process when the work that counts begins and ends."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Measure the body."""
        self._tell("begin", None)
        began = time.perf_counter()
        yield
        self._tell("end", time.perf_counter() - began)

    def _tell(self, kind: str, value: Any) -> None:
        self._pipe.send((kind, value))
        self._pipe.recv()


def measure(
    function: Callable[[Any, Stopwatch], Any], job: Any, *, limit_seconds: float = 3600.0
) -> Measured:
    """Run `function(job, stopwatch)` in a fresh process and return what it took.

    Raises
    ------
    MeasuringError
        The function raised, its process ended (out of memory, say), or `limit_seconds` passed.
    """
    context = multiprocessing.get_context("spawn")
    pipe, childs_end = context.Pipe()
    process = context.Process(target=_child, args=(childs_end, function, job))
    process.start()
    childs_end.close()
    try:
        return _watched(process, pipe, time.monotonic() + limit_seconds)
    finally:
        _end(process)
        pipe.close()


def _child(pipe: Connection, function: Callable[[Any, Stopwatch], Any], job: Any) -> None:
    try:
        answer = function(job, Stopwatch(pipe))
    except BaseException:
        pipe.send(("error", traceback.format_exc()))
        raise SystemExit(1) from None
    pipe.send(("answer", answer))


def _watched(process: Any, pipe: Connection, deadline: float) -> Measured:
    tree: _ProcessTree | None = None
    wall, running = 0.0, False
    while True:
        if time.monotonic() > deadline:
            raise MeasuringError("took longer than the limit")
        if not pipe.poll(SAMPLE_SECONDS):
            if running and tree is not None:
                tree.sample()
            continue
        try:
            kind, value = pipe.recv()
        except EOFError:
            process.join(10)
            raise MeasuringError(f"the process ended with code {process.exitcode}") from None
        if kind == "error":
            raise MeasuringError(value)
        if kind == "answer":
            if tree is None:
                raise MeasuringError("the function never started its stopwatch")
            peaks = {pid: peak / MIB for pid, peak in tree.peak_by_pid.items()}
            return Measured(wall, tree.cpu_seconds(), tree.peak / MIB, peaks, value)
        if kind == "begin":
            tree, running = _ProcessTree(process.pid), True
        else:
            assert tree is not None
            tree.sample(look_for_children=True)
            wall, running = value, False
        pipe.send(None)


class _ProcessTree:
    """CPU seconds and memory of a process and all that it started, from now on."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._members: dict[int, psutil.Process] = {}
        self._cpu_before: dict[int, float] = {}
        self._cpu: dict[int, float] = {}
        self._looked_at = 0.0
        self.peak = 0
        self.peak_by_pid: dict[int, int] = {}
        self._look_for_children()
        for number, member in self._members.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                self._cpu_before[number] = sum(member.cpu_times()[:2])
        self.sample()

    def cpu_seconds(self) -> float:
        return sum(seconds - self._cpu_before.get(pid, 0.0) for pid, seconds in self._cpu.items())

    def sample(self, *, look_for_children: bool = False) -> None:
        if look_for_children or time.monotonic() - self._looked_at > LOOK_FOR_CHILDREN_SECONDS:
            self._look_for_children()
        total = 0
        for pid, member in list(self._members.items()):
            try:
                with member.oneshot():
                    self._cpu[pid] = sum(member.cpu_times()[:2])
                    size = member.memory_info().rss
            except psutil.NoSuchProcess:
                del self._members[pid]
                continue
            total += size
            self.peak_by_pid[pid] = max(self.peak_by_pid.get(pid, 0), size)
        self.peak = max(self.peak, total)

    def _look_for_children(self) -> None:
        self._looked_at = time.monotonic()
        with contextlib.suppress(psutil.NoSuchProcess):
            for member in [self._root, *self._root.children(recursive=True)]:
                self._members.setdefault(member.pid, member)


def _end(process: Any) -> None:
    """End the process and all that it started, if they have not ended by themselves."""
    members = []
    if process.is_alive():
        with contextlib.suppress(psutil.NoSuchProcess):
            members = psutil.Process(process.pid).children(recursive=True)
    process.join(10)
    if process.is_alive():
        process.terminate()
        process.join(5)
    _, alive = psutil.wait_procs(members, timeout=5)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    if process.is_alive():
        process.kill()
    process.join()
