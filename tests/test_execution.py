"""Tasks on a cluster whose workers stop answering, and values that are sent to workers."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dask import delayed
from distributed import Client, futures_of

from ssl_dask.cluster import ask_workers
from ssl_dask.cluster_watch import as_package_error
from ssl_dask.errors import ComputeError
from ssl_dask.execution import Execution
from tests.clusters import client_of_workers


@pytest.fixture(scope="module")
def stopping_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, int]]:
    """A client of one worker of its own, and the worker's process id."""
    with client_of_workers(tmp_path_factory.mktemp("worker"), 1) as client:
        (pid,) = client.run(os.getpid).values()
        yield client, pid


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_results_of_a_worker_that_stopped_are_not_waited_for_without_end(
    stopping_worker: tuple[Client, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, pid = stopping_worker
    execution = Execution(client, stall_seconds=1.5)
    tasks = [delayed(np.arange, pure=False)(n) for n in (3, 4)]
    assert [len(one) for one in execution.compute(tasks, "before")] == [3, 4]
    guarded = execution._wait

    def then_stop(futures: Any, what: str) -> None:
        # The results are made; the worker stops before they are fetched.
        guarded(futures, what)
        os.kill(pid, signal.SIGSTOP)

    monkeypatch.setattr(execution, "_wait", then_stop)
    try:
        with pytest.raises(ComputeError, match="no task of 'sums' moved"):
            execution.compute(tasks, "sums")
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    assert [len(one) for one in execution.compute(tasks, "after")] == [3, 4]


def _slow_square(number: int) -> int:
    time.sleep(1.2)
    return number * number


def test_results_that_are_given_up_before_they_are_fetched_are_told_as_such(
    cluster_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = Execution(cluster_client)
    guarded = execution._wait

    def then_give_up(futures: Any, what: str) -> None:
        guarded(futures, what)
        # As the scheduler does with what came from sent rows, if their only worker is lost.
        cluster_client.cancel(futures)

    monkeypatch.setattr(execution, "_wait", then_give_up)
    with pytest.raises(ComputeError, match=r"during 'sums'.* had sent to it"):
        execution.compute([delayed(np.arange, pure=False)(3)], "sums")


def test_a_lost_result_that_needs_what_has_failed_before_is_told(
    cluster_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of the failed task, not those of a stall some minutes later."""
    monkeypatch.setattr("ssl_dask.cluster_watch.LOST_TICKS", 2)
    file = tmp_path / "rows.txt"
    file.write_text("rows")
    execution = Execution(cluster_client, stall_seconds=20)
    (read,) = execution.persist([delayed(_content, pure=False)(str(file))])
    (between,) = execution.persist([delayed(_as_it_is, pure=False)(read)])
    kept = execution.persist([delayed(_as_it_is, pure=False)(between)])
    file.unlink()
    needed, *lost = futures_of([read, between, *kept])
    # As when the worker of one is lost, and then that of the others.
    cluster_client.run_on_scheduler(_lose, [needed.key])
    _wait_until(lambda: needed.status == "error")
    assert "rows.txt" in str(needed.exception(timeout=30))
    assert [one.status for one in lost] == ["finished", "finished"]
    cluster_client.run_on_scheduler(_lose, [one.key for one in reversed(lost)])
    _wait_until(lambda: lost[-1].status != "finished")
    with pytest.raises(FileNotFoundError, match=r"rows\.txt"):
        execution.persist(kept, "rows")


def _wait_until(reached: Callable[[], bool]) -> None:
    """The scheduler tells the client a moment later what became of a task."""
    until = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.01)


def _lose(keys: list[Any], dask_scheduler: Any = None) -> None:
    dask_scheduler.transitions(dict.fromkeys(keys, "released"), "test-lose")


def _content(path: str) -> str:
    return Path(path).read_text()


def _as_it_is(value: Any) -> Any:
    return value


@pytest.mark.slow
def test_results_that_go_with_their_worker_are_made_again(losing_client: Client) -> None:
    """Until they are made again their futures are "lost", which is not the end of the wait."""
    seen: list[str] = []

    def kill_one_that_holds_results(what: str, done: int, total: int) -> None:
        if done >= 2 and not seen:
            held = {w: len(keys) for w, keys in losing_client.has_what().items()}
            victim = max(held, key=lambda worker: held[worker])
            assert held[victim] > 0
            seen.append(victim)
            os.kill(losing_client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
        elif seen and done < 2:
            seen.append("lost")

    execution = Execution(losing_client, progress=kill_one_that_holds_results)
    kept = execution.persist([delayed(_slow_square, pure=False)(n) for n in range(6)], "squares")
    assert execution.compute(kept, "squares") == [0, 1, 4, 9, 16, 25]
    assert len(seen) > 1, "nothing was lost"


@pytest.mark.slow
def test_rows_that_were_sent_and_lost_are_not_called_a_lost_scheduler(
    losing_client: Client,
) -> None:
    (sent,) = Execution(losing_client).place([np.arange(5)])
    slow = [delayed(_slow_square, pure=False)(n) for n in range(2)]

    def kill_all(what: str, done: int, total: int) -> None:
        if not killed:
            killed.extend(losing_client.run(os.getpid).values())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    killed: list[int] = []
    execution = Execution(losing_client, progress=kill_all)
    tasks = [delayed(np.sum)([sent, *slow])]
    with pytest.raises(ComputeError, match=r"had sent to it.*Dask array over files"):
        execution.compute(tasks, "sums")


def test_a_worker_that_does_not_answer_is_told(stopping_worker: tuple[Client, int]) -> None:
    client, pid = stopping_worker
    assert list(ask_workers(client, os.getpid).values()) == [pid]
    with stopped(pid), pytest.raises(ComputeError, match="not all workers answered within 1 s"):
        ask_workers(client, os.getpid, seconds=1.0)
    (error,) = ask_workers(client, os.kill, pid, "no signal").values()
    assert isinstance(error, TypeError)


def test_placed_values_are_on_the_workers(cluster_client: Client) -> None:
    values = [np.arange(5.0), np.ones((2, 3))]
    for execution in (Execution(), Execution(cluster_client)):
        sums = [delayed(np.sum, pure=False)(one) for one in execution.place(values)]
        assert execution.compute(sums) == [10.0, 6.0]
    large = np.ones(2**21)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (handle,) = Execution(cluster_client).place([large], lasting=True)
    assert Execution(cluster_client).compute([delayed(np.sum)(handle)]) == [2**21]
    # The task itself is a name only: the value is sent once, not with each task.
    assert all(len(str(task)) < 200 for task in dict(handle.dask).values())


@pytest.mark.slow
def test_lasting_values_outlive_all_workers(losing_client: Client) -> None:
    execution = Execution(losing_client)
    kept = execution.place([[np.arange(5)], {"name": (2, 3)}], lasting=True)
    for pid in losing_client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    first, second = execution.compute([delayed(_as_it_is, pure=False)(one) for one in kept])
    assert first[0].tolist() == [0, 1, 2, 3, 4]
    assert second == {"name": (2, 3)}


def test_a_scheduler_with_other_code_is_told_with_its_cure() -> None:
    # The words are those of distributed.scheduler.
    words = "Error during deserialization of the task graph. This frequently\noccurs if ..."
    known = as_package_error(RuntimeError(words), "score")
    assert isinstance(known, ComputeError)
    assert "other code" in str(known)
    assert "same ssl_dask" in str(known)
    other = RuntimeError("something else")
    assert as_package_error(other, "score") is other
