"""Rounds of self-labelling under SIGKILL: of a worker in a round, of the client between rounds."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.infer.saved_state import save_state
from ssl_dask.round_record import RoundRecord
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.storage.runs.manifest import fingerprint
from tests.made_job import Heard, answer, assert_useful, made_job, made_rows, write_job, write_rows
from tests.processes import ssl_dask, started, wait_for_events
from tests.rounds_by_keywords import self_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

METHOD = {
    "name": "self_training",
    "criterion": "k_best",
    "k_best": 25,
    "rescore": False,
    "max_iter": 8,
    "patience": None,
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows", made_rows())


def rounds_job(rows: Path, out: Path, **method: Any) -> dict[str, Any]:
    words = {"words": {"text": "text", "n_features": 1024}}
    job = made_job(rows, out, graph=None, features=words, method={**METHOD, **method})
    job["input"]["block_rows"] = 40
    # A baseline is better than these rounds, and has none.
    job["decision"] = {"on_worse": "publish"}
    return job


class KillsInARound(Heard):
    """Kills a worker while tasks of a step run in the round after `round_number`, once.

    A step may wait for several lists of tasks: they are told apart by their lengths, and `wait` is
    the number of the one that is disturbed.
    """

    def __init__(self, client: Client, step: str, round_number: int, *, wait: int = 1) -> None:
        super().__init__()
        self.client, self.step, self.round_number, self.wait = client, step, round_number, wait
        self.killed: list[int] = []
        self._lengths: list[int] = []

    def progress(self, what: str, done: int, total: int) -> None:
        super().progress(what, done, total)
        if what != self.step or len(self.rounds) != self.round_number or self.killed:
            return
        if self._lengths[-1:] != [total]:
            self._lengths.append(total)
        if len(self._lengths) == self.wait:
            pids = self.client.run(os.getpid)
            self.killed.append(pids[min(pids)])
            os.kill(self.killed[0], signal.SIGKILL)

    def round(self, record: RoundRecord) -> None:
        self.rounds.append(record)


IN_PIECES = {"learner": {"name": "multinomial_nb", "partial_fit": True}, "max_fit_rows": 40}


@pytest.mark.parametrize(
    ("step", "round_number", "wait", "method"),
    [
        ("score", 2, 1, {}),
        ("assign", 3, 1, {}),
        ("fit", 4, 1, {}),
        # First the rows of each block are counted, then the pieces are learned from.
        ("fit", 3, 1, IN_PIECES),
        ("fit", 3, 2, IN_PIECES),
    ],
)
def test_a_worker_killed_in_a_round_changes_nothing(
    step: str,
    round_number: int,
    wait: int,
    method: dict[str, Any],
    rows: Path,
    tmp_path: Path,
    cluster_client: Client,
    losing_client: Client,
) -> None:
    undisturbed = run_job(rounds_job(rows, tmp_path / "whole", **method), client=cluster_client)
    assert_useful(undisturbed.path)
    assert len(undisturbed.report.method.rounds) > round_number + 1
    if "max_fit_rows" in method:
        assert all(r.notes["pieces_fitted"] > 1 for r in undisturbed.report.method.rounds)
    heard = KillsInARound(losing_client, step, round_number, wait=wait)
    job = rounds_job(rows, tmp_path / "out", **method)
    result = run_job(job, client=losing_client, listener=heard)
    assert len(heard.killed) == 1
    assert answer(result.path) == answer(undisturbed.path)
    ours, theirs = (
        [(r.labeled, r.taken_back, r.hidden_loss) for r in one.report.method.rounds]
        for one in (result, undisturbed)
    )
    assert ours == theirs


def test_models_of_an_early_round_outlive_all_workers_and_its_checkpoint(
    tmp_path: Path, losing_client: Client
) -> None:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 400)
    X = np.array([[0, 0], [2.2, 0], [0, 2.2]])[y] + rng.normal(size=(400, 2)) * 0.9
    rows = np.sort(rng.choice(400, 24, replace=False))
    view = da.from_array(X, chunks=(100, 2))
    labels = Labels(400, rows, y[rows].astype(np.int32), np.arange(3))
    settings = {**METHOD, "k_best": 30, "max_iter": 10, "patience": 5}
    del settings["name"]
    hidden = [np.arange(24) % 4 == fold for fold in range(4)]
    undisturbed = self_training({"X": view}, labels, hidden=hidden, **settings)
    execution = Execution(losing_client)
    stored = Checkpoints(tmp_path / "state", fingerprint({"test": "kept"}), report=print)
    keep = partial(save_state, "rounds", stored, execution, Heard())
    found = self_training(
        {"X": view}, labels, hidden=hidden, checkpoint=keep, execution=execution, **settings
    )
    # The files of the kept round are not there any more.
    assert 0 < found.kept_round < len(found.records) - 2
    pids = losing_client.run(os.getpid).values()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    blocks = list(found.F.to_delayed(optimize_graph=False).ravel())
    F = np.concatenate(execution.compute(blocks, "write"))
    assert set(pids).isdisjoint(losing_client.run(os.getpid).values())
    np.testing.assert_array_equal(F, undisturbed.F.compute())


@pytest.mark.parametrize("rescore", [False, True])
def test_the_client_killed_between_rounds_goes_on(
    rescore: bool, rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    more = {"rescore": rescore}
    undisturbed = run_job(rounds_job(rows, tmp_path / "whole", **more), client=cluster_client)
    job = write_job(tmp_path / "job.yaml", rounds_job(rows, tmp_path / "out", **more))
    address, log = cluster_client.scheduler.address, tmp_path / "log"
    with started(job, log, "--cluster", address) as process:
        wait_for_events(process, log, 3, event="checkpoint_written")
    assert not (tmp_path / "out" / "latest").exists()
    last = ssl_dask("run", job, "--resume", "--json-logs", "--cluster", address, cwd=tmp_path)
    assert last.code == 0, last.stderr
    used = [one for one in last.events if one["event"] == "checkpoint_used"]
    assert [one["iteration"] >= 3 for one in used if one["name"] == "rounds"] == [True]
    assert answer(last.path) == answer(undisturbed.path)
    rounds = json.loads((last.path / "report.json").read_text())["method"]["rounds"]
    assert [one["labeled"] for one in rounds] == [
        list(one.labeled or ()) for one in undisturbed.report.method.rounds
    ]
