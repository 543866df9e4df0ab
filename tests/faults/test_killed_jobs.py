"""Whole jobs under SIGKILL: of the client at random moments, and of workers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from ssl_dask.methods import METHODS
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.infer import saved_state
from tests.made_job import Heard, answer, assert_useful, made_job, made_rows, write_job, write_rows
from tests.made_numbers import made_numbers, number_job
from tests.processes import events, ssl_dask, started, wait_for_events

pytestmark = pytest.mark.slow
N_KILLS = 20


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows", made_rows())


@pytest.mark.timeout(1800)
def test_the_client_killed_at_any_moment_leaves_old_or_new(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    address = cluster_client.scheduler.address
    log, out = tmp_path / "log", tmp_path / "out"
    job = write_job(tmp_path / "job.yaml", made_job(rows, out))
    expected: dict[str, Any] = {}
    for alpha in (0.9, 0.8):
        other = made_job(rows, tmp_path / f"whole-{alpha}")
        other["method"]["alpha"] = alpha
        expected[str(alpha)] = answer(run_job(other, client=cluster_client).path)
    assert expected["0.9"] != expected["0.8"]

    def command(alpha: str) -> None:
        plain = made_job(rows, out)
        plain["method"]["alpha"] = float(alpha)
        write_job(job, plain)

    # The first result, and how long a run takes from taking its output.
    command("0.9")
    with started(job, log, "--cluster", address) as process:
        wait_for_events(process, log, event="run_begins")
        at = time.monotonic()
        assert process.wait(240) == 0, log.read_text()[-2000:]
        span = time.monotonic() - at

    current, kills, kept, attempts = "0.9", 0, 0, 0
    dice = random.Random(11)
    while kills < N_KILLS and attempts < 3 * N_KILLS:
        attempts += 1
        wanted = "0.8" if current == "0.9" else "0.9"
        command(wanted)
        before = os.readlink(out / "latest")
        with started(job, log, "--cluster", address) as process:
            try:
                wait_for_events(process, log, event="run_begins")
            except AssertionError:
                # The last kill fell between the two steps of a commit: this start only finished it.
                assert process.wait() == 0, log.read_text()
                assert events(log)[-1]["already_done"]
                assert answer(out / "latest") == expected[wanted]
                current = wanted
                continue
            at = time.monotonic()
            try:
                process.wait(dice.uniform(0, span))
                span = min(span, time.monotonic() - at)
            except subprocess.TimeoutExpired:
                kills += 1
        after = os.readlink(out / "latest")
        assert json.loads((out / "latest.json").read_text())["path"] in (before, after)
        # `answer` checks every hash against the manifest.
        found = answer(out / "latest")
        assert found == expected[wanted if after != before else current]
        if after != before:
            current = wanted
        else:
            kept += 1
    assert kills == N_KILLS
    assert kept >= 3, "the kills came too late to try anything"

    command("0.8" if current == "0.9" else "0.9")
    last = ssl_dask("run", job, "--cluster", address, cwd=tmp_path)
    assert last.code == 0, last.stderr
    assert_useful(last.path)
    assert not list((out / ".work").iterdir())


class KillsAWorker(Heard):
    """Kills one worker process as soon as a step has begun, once."""

    def __init__(self, client: Client, step: str) -> None:
        super().__init__()
        self.client, self.step = client, step
        self.killed: list[int] = []

    def progress(self, what: str, done: int, total: int) -> None:
        super().progress(what, done, total)
        self._kill(what)

    def stage(self, name: str) -> None:
        super().stage(name)
        self._kill(name)

    def _kill(self, what: str) -> None:
        if what == self.step and not self.killed:
            pids = self.client.run(os.getpid)
            self.killed.append(pids[min(pids)])
            os.kill(self.killed[0], signal.SIGKILL)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("method", "step"),
    [
        *(
            ("label_spreading", step)
            for step in ("features", "graph", "neighbours", "decision", "propagation")
        ),
        # A worker that is lost after the propagation, before rows are labelled, takes its scores.
        ("correct_and_smooth", "evaluation"),
        ("propagated_features", "evaluation"),
        ("harmonic_regression", "propagation"),
        ("harmonic_regression", "decision"),
    ],
)
def test_a_killed_worker_changes_nothing(
    method: str,
    step: str,
    tmp_path: Path,
    cluster_client: Client,
    losing_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = METHODS[method].target == "numbers"
    rows = write_rows(tmp_path / "rows", made_numbers() if numbers else made_rows())

    def job_of(name: str) -> dict[str, Any]:
        make = number_job if numbers else made_job
        return make(rows, tmp_path / name, method={"name": method})

    undisturbed = run_job(job_of("whole"), client=cluster_client)
    if numbers or step == "propagation":
        monkeypatch.setattr(saved_state, "IN_PROCESS_BYTES", 0)
    heard = KillsAWorker(losing_client, step)
    job = job_of("out")
    job["input"]["block_rows"] = 40
    result = run_job(job, client=losing_client, listener=heard)
    assert len(heard.killed) == 1
    assert heard.killed[0] not in losing_client.run(os.getpid).values()
    assert answer(result.path) == answer(undisturbed.path)
    assert result.report.evaluation == undisturbed.report.evaluation
