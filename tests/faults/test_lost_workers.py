"""Workers are killed in the middle of a propagation: the answer is the same, bit for bit."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client, Worker, get_worker

from ssl_dask.console import Silent
from ssl_dask.errors import ComputeError, WorkersChangedError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.pipeline.infer.saved_state import solve_and_store, stored_rows
from ssl_dask.propagation.engine import worker_state
from ssl_dask.propagation.engine.distributed_partitions import WorkerParts
from ssl_dask.propagation.engine.partition_solver import Aborted
from ssl_dask.propagation.engine.propagated import Propagated, Solved
from ssl_dask.propagation.engine.session import PropagationSession
from ssl_dask.propagation.methods.propagated_features import propagated_features
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import Losses, RunControl, retried
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.storage.runs.manifest import fingerprint
from tests.by_keywords import by_keywords
from tests.clusters import client_of_workers
from tests.known_methods import GRAPH_CLASSIFIERS

pytestmark = pytest.mark.slow

N, N_CLASSES = 20_000, 5


@pytest.fixture(scope="module")
def graph() -> BlockGraph:
    rng = np.random.default_rng(0)
    here = np.repeat(np.arange(N), 8)
    there = (here + rng.integers(1, 400, len(here))) % N
    weights = rng.random(len(here), dtype=np.float32) + np.float32(0.1)
    W = sp.csr_array(sp.coo_array((weights, (here, there)), shape=(N, N)))
    return BlockGraph.from_scipy(sp.csr_array(W + W.T), n_strips=6)


@pytest.fixture(scope="module")
def labels() -> Labels:
    codes = np.full(N, -1)
    codes[np.random.default_rng(1).choice(N, 200, replace=False)] = np.arange(200) % N_CLASSES
    return Labels.from_codes(codes, np.arange(N_CLASSES))


def rows_of(found: Propagated, execution: Execution) -> np.ndarray:
    return np.concatenate(execution.compute(list(found.F.to_delayed().ravel())))


class KillAt:
    """Kills a worker when a round is told for the first time, and notes what came after."""

    def __init__(self, client: Client, worker: int, iteration: int) -> None:
        self.pid = sorted(client.run(os.getpid).items())[worker][1]
        self.iteration, self.killed_at = iteration, 0.0
        self.after: list[int] = []
        self.seconds = 0.0

    def __call__(self, record: RoundRecord) -> None:
        if self.killed_at:
            if not self.after:
                self.seconds = time.monotonic() - self.killed_at
            self.after.append(record.iteration)
        elif record.iteration == self.iteration:
            os.kill(self.pid, signal.SIGKILL)
            self.killed_at = time.monotonic()


@pytest.mark.parametrize("worker", [0, 1, 2])
@pytest.mark.parametrize(
    ("method", "parameters"), [("label_spreading", {"alpha": 0.99}), ("label_propagation", {})]
)
def test_each_worker_is_killed_once(
    method: str,
    parameters: dict[str, float],
    worker: int,
    graph: BlockGraph,
    labels: Labels,
    tmp_path: Path,
) -> None:
    run: Callable[..., Propagated] = by_keywords(GRAPH_CLASSIFIERS[method])
    more = {"hidden": [np.arange(200) % 2 == 0], "max_iter": 20, "tol": 0.0, **parameters}
    here = run(graph, labels, **more)
    with client_of_workers(tmp_path, 3, silence_logs="CRITICAL") as client:
        kill = KillAt(client, worker, 10)
        execution = Execution(client)
        there = run(graph, labels, execution=execution, on_round=kill, **more)
        F = rows_of(there, execution)
    expected = here.F.compute()
    assert len(np.unique(expected.argmax(axis=1))) == N_CLASSES
    assert F.tobytes() == expected.tobytes()
    assert there.fold_F[0].tobytes() == here.fold_F[0].tobytes()
    assert [r.residual for r in there.records] == [r.residual for r in here.records]
    # It began anew, and did not wait for half a minute as Dask does for a worker that is gone.
    assert kill.after[0] == 5
    assert kill.seconds < 25


def kill_at_solve(number: int, pid: int, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Kill a process when so many solves have begun; return which began with dense blocks."""
    solves: list[bool] = []
    solve = PropagationSession.solve

    def solve_and_kill(session: PropagationSession, *args: Any, **arguments: Any) -> Solved:
        solves.append(arguments.get("dense") is not None)
        if len(solves) == number:
            os.kill(pid, signal.SIGKILL)
        return solve(session, *args, **arguments)

    monkeypatch.setattr(PropagationSession, "solve", solve_and_kill)
    return solves


@pytest.mark.parametrize(
    ("method", "parameters", "number"),
    [
        ("poisson_mbo", {"n_rounds": 3, "class_shares": "seeds"}, 4),
        ("graph_ensemble", {"classifier": "none"}, 5),
    ],
)
def test_a_worker_is_killed_that_holds_what_a_solve_begins_with(
    method: str,
    parameters: dict[str, Any],
    number: int,
    graph: BlockGraph,
    labels: Labels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run: Callable[..., Propagated] = by_keywords(GRAPH_CLASSIFIERS[method])
    here = run(graph, labels, **parameters).F.compute()
    assert len(np.unique(here.argmax(axis=1))) == N_CLASSES
    with client_of_workers(tmp_path, 2, silence_logs="CRITICAL") as client:
        (_, pid), *_ = sorted(client.run(os.getpid).items())
        solves = kill_at_solve(number, pid, monkeypatch)
        execution = Execution(client)
        F = rows_of(run(graph, labels, execution=execution, **parameters), execution)
    # It began with blocks that another solve had made, and these had to be made again.
    assert solves[number - 1]
    assert solves[number] != solves[number - 1]
    assert F.tobytes() == here.tobytes()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("method", "number"), [("features", 5), ("modified_adsorption", 2)])
def test_what_earlier_solves_found_is_lost_in_a_later_one(
    method: str,
    number: int,
    graph: BlockGraph,
    labels: Labels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores of those solves have moved on: the job does them again, and does not end."""
    X = np.random.default_rng(3).normal(size=(N, 130)).astype(np.float32)
    rows = da.from_array(X, chunks=(4000, -1))
    folds = [np.arange(200) % 2 == 0]

    def carried(execution: Execution) -> Any:
        return propagated_features(graph, rows, n_hops=2, execution=execution)

    def find(control: RunControl) -> Any:
        inputs = MethodInputs(labels, folds, graph=graph)
        return GRAPH_CLASSIFIERS[method].run(inputs, GRAPH_CLASSIFIERS[method].spec(), control)

    here = carried(Execution()) if method == "features" else find(RunControl())
    with client_of_workers(tmp_path, 2, silence_logs="CRITICAL") as client:
        (_, pid), *_ = sorted(client.run(os.getpid).items())
        solves = kill_at_solve(number, pid, monkeypatch)
        execution = Execution(client)
        stored = Checkpoints(tmp_path / "stored", fingerprint({"test": "lost"}), report=print)
        told = stored, Silent()
        if method == "features":
            there = retried(lambda: stored_rows(carried(execution), execution, *told), Losses())
            found, expected = there.compute(), here.compute()
        else:
            there = solve_and_store(find, RunControl(execution), "state", *told)
            found, expected = there.F.compute(), here.F.compute()
            assert there.fold_F[0].tobytes() == here.fold_F[0].tobytes()
    # All was done once more.
    assert len(solves) >= 2 * number
    assert found.tobytes() == expected.tobytes()


spread = partial(
    by_keywords(GRAPH_CLASSIFIERS["label_spreading"]), alpha=0.99, max_iter=40, tol=0.0
)


def test_it_goes_on_from_the_last_checkpoint(
    graph: BlockGraph, labels: Labels, tmp_path: Path
) -> None:
    here = spread(graph, labels)
    with client_of_workers(tmp_path, 2, silence_logs="CRITICAL") as client:
        kill, execution, kept = KillAt(client, 0, 20), Execution(client), []

        def keep(iteration: int, state: list[list[Any]], meta: dict[str, Any]) -> Any:
            import dask

            blocks = [
                [dask.delayed(b, pure=False) for b in execution.compute(part)] for part in state
            ]
            kept.append(iteration)
            return iteration, blocks, meta

        often = {"checkpoint": keep, "checkpoint_seconds": 0.0}
        there = spread(graph, labels, execution=execution, on_round=kill, **often)
        F = rows_of(there, execution)
    assert kept[:2] == [5, 10]
    assert kept[2] in (10, 20)
    # Killed when 20 was told: perhaps 20 was kept before that was seen, else 10.
    assert kill.after[0] in (20, 30)
    assert F.tobytes() == here.F.compute().tobytes()


def test_workers_that_join_are_used(graph: BlockGraph, labels: Labels, tmp_path: Path) -> None:
    here = spread(graph, labels)
    with client_of_workers(tmp_path, 1, silence_logs="CRITICAL") as client:
        execution = Execution(client)
        with PropagationSession(graph, execution, n_columns=5) as session:
            assert session.parts.n_parts == 1

        def join(record: RoundRecord) -> None:
            if record.iteration == 10:
                client.cluster.scale(3)
                client.wait_for_workers(3, timeout=60)

        parts = []
        place = PropagationSession._keep

        def watch(self: PropagationSession, *arguments: Any) -> None:
            place(self, *arguments)
            parts.append(self.parts.n_parts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PropagationSession, "_keep", watch)
            often = {"checkpoint": lambda *kept: kept, "checkpoint_seconds": 0.0}
            there = spread(graph, labels, execution=execution, on_round=join, **often)
        F = rows_of(there, execution)
    assert (parts[0], parts[-1]) == (1, 3)
    assert F.tobytes() == here.F.compute().tobytes()


def test_too_little_memory_is_told_before_anything_is_placed(
    graph: BlockGraph, labels: Labels, tmp_path: Path
) -> None:
    with (
        client_of_workers(tmp_path, 1, memory_limit="400MiB") as client,
        pytest.raises(ComputeError, match=r"needs about .* MiB on each of 1 workers; the smallest"),
    ):
        PropagationSession(graph, Execution(client), n_columns=3_000)


def test_a_worker_too_busy_to_be_stopped_is_stopped_later(
    graph: BlockGraph, cluster_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread waits for a message that will not come, and gets no other task before it ends."""

    def waits(superstep: str) -> str:
        held = getattr(get_worker(), worker_state.HELD)
        held.mailbox.put(("began",), True)
        try:
            held.mailbox.take((superstep, "never sent"))
        except Aborted:
            return "stopped"
        return "got something"

    def began(dask_worker: Worker) -> bool:
        return ("began",) in getattr(dask_worker, worker_state.HELD).mailbox._held

    async def hog() -> None:
        await asyncio.sleep(0.05)
        time.sleep(2.0)

    monkeypatch.setattr(worker_state, "REACH_SECONDS", 0.3)
    with PropagationSession(graph, Execution(cluster_client), n_columns=4) as session:
        parts = session.parts
        assert isinstance(parts, WorkerParts)
        future = parts._on(0, waits, "lost")
        while not any(cluster_client.run(began, workers=parts.addresses[:1]).values()):
            time.sleep(0.05)
        cluster_client.run(hog, workers=parts.addresses[:1], wait=False)
        time.sleep(0.3)
        parts._stop("lost", parts.addresses)
        assert parts._untold == [("lost", parts.addresses[0])]
        # Either message may be the one that reaches it: the first lies in its inbox all the while.
        assert parts._numbers([future]) == ["stopped"]
        parts._stop_those_untold()
        assert parts._untold == []


@pytest.mark.timeout(150)
def test_a_worker_that_goes_before_its_result_is_fetched_is_not_waited_for(
    graph: BlockGraph, losing_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = sorted(losing_client.run(os.getpid).items())
    with PropagationSession(graph, Execution(losing_client), n_columns=4) as session:
        parts = session.parts
        assert isinstance(parts, WorkerParts)
        wait = parts._wait

        def wait_and_kill(futures: list[Any], superstep: str | None = None) -> None:
            wait(futures, superstep)
            os.kill(dict(pids)[parts.addresses[0]], signal.SIGKILL)

        monkeypatch.setattr(parts, "_wait", wait_and_kill)
        with pytest.raises(WorkersChangedError):
            parts._numbers([parts._on(part, os.getpid) for part in range(2)])
