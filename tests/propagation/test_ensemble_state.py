"""What is done again after a loss, from checkpoints of which only the last two are kept."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dask import delayed
from distributed import Client

from ssl_dask.console import Silent
from ssl_dask.errors import WorkersChangedError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.pipeline.infer.saved_state import load_state, save_state
from ssl_dask.propagation.ensemble.ensemble_state import EnsembleState, run_steps
from ssl_dask.propagation.methods import modified_adsorption, poisson_mbo
from ssl_dask.run_control import RunControl
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.storage.runs.manifest import fingerprint
from tests.by_keywords import by_keywords
from tests.made_graphs import labels_of, random_weights, some_codes

CHUNKS = (3, 2)


class Steps:
    """Steps of which the first makes a vector, and the last reads it."""

    def __init__(self, folder: Path, execution: Execution) -> None:
        self.execution = execution
        self.stored = Checkpoints(folder, fingerprint({"test": "steps"}), report=print)
        self.found: list[np.ndarray] = []

    def make(self, state: EnsembleState) -> None:
        blocks = [delayed(np.full)((n, 1), n, dtype=np.float32) for n in CHUNKS]
        state.put("made", self.execution.persist(blocks), 1)

    def idle(self, state: EnsembleState) -> None:
        state.n_iter += 1

    def read(self, state: EnsembleState) -> None:
        self.found = self.execution.compute(state.vectors["made"])

    def run(self, *more: Any, resume: Any = None) -> None:
        run_steps(
            [self.make, self.idle, *more],
            {},
            CHUNKS,
            RunControl(
                self.execution,
                checkpoint=partial(save_state, "state", self.stored, self.execution, Silent()),
                checkpoint_seconds=0.0,
                resume=resume,
            ),
        )

    def check(self) -> None:
        for block, n in zip(self.found, CHUNKS, strict=True):
            np.testing.assert_array_equal(block, np.full((n, 1), n))


def test_what_is_done_again_outlives_the_checkpoint_that_it_began_with(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "stored", Execution())
    losses = []

    def lose(state: EnsembleState) -> None:
        if not losses:
            losses.append(state.step)
            raise WorkersChangedError("a worker was lost")

    steps.run(lose, steps.idle, steps.idle, steps.read)
    assert losses == [2]
    steps.check()


@pytest.mark.slow
def test_what_is_resumed_outlives_all_workers_and_its_checkpoint(
    tmp_path: Path, losing_client: Client
) -> None:
    steps = Steps(tmp_path / "stored", Execution(losing_client))
    steps.run(steps.idle)
    resume = load_state("state", steps.stored, steps.execution, Silent())
    assert resume[0] == 1

    def kill(_: EnsembleState) -> None:
        for pid in losing_client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)

    steps.run(steps.idle, steps.idle, steps.idle, kill, steps.read, resume=resume)
    steps.check()


@pytest.mark.parametrize(
    ("method", "lost_in"),
    [(poisson_mbo, "signed_to_distributions"), (modified_adsorption, "_finished")],
)
def test_a_resumed_solve_that_is_done_anew_goes_on_from_its_last_checkpoint(
    method: Any, lost_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = by_keywords(method.METHOD)
    graph = BlockGraph.from_scipy(random_weights(300, 1, density=0.02), n_strips=3)
    codes = some_codes(300, 2, n_seeds=10)
    execution = Execution()
    stored = Checkpoints(tmp_path, fingerprint({"test": "solve"}), report=print)
    save = partial(save_state, "state", stored, execution, Silent())
    kept: list[Any] = []

    def keep(*state: Any) -> Any:
        kept.append(save(*state))
        if len(kept) == 1:
            raise KeyboardInterrupt
        return kept[-1]

    more = {"tol": 0.0, "max_iter": 50, "checkpoint_seconds": 0.0}
    whole = run(graph, labels_of(codes), **more)
    with pytest.raises(KeyboardInterrupt):
        run(graph, labels_of(codes), checkpoint=keep, **more)
    lost: list[int] = []
    finish = getattr(method, lost_in)

    def lose_once(*arguments: Any) -> Any:
        if not lost:
            lost.append(len(kept))
            raise WorkersChangedError("a worker was lost")
        return finish(*arguments)

    monkeypatch.setattr(method, lost_in, lose_once)
    resumed = run(graph, labels_of(codes), checkpoint=keep, resume=kept[0], **more)
    # By then the file that the run began with was gone.
    assert lost[0] > 3
    assert resumed.F.compute().tobytes() == whole.F.compute().tobytes()
