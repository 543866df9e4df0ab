"""What the plan says of rounds: their tasks counted in real runs, and how costs grow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask import delayed
from dask.callbacks import Callback

from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import merge_on_workers
from ssl_dask.job_file import resolve_job
from ssl_dask.labels import Labels
from ssl_dask.method import MethodCost
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec
from ssl_dask.self_labeled.loop.round_tasks import RoundTasks, merges
from tests.committee_case import labels_of, made_rows, views_of
from tests.known_methods import cost_of
from tests.made_job import made_job, write_rows
from tests.made_job import made_rows as job_rows
from tests.rounds_by_keywords import label_in_rounds, self_training

HALVES = {"left": slice(0, 4), "right": slice(4, 8)}
BAYES = {"name": "gaussian_nb"}
TREE = {"name": "decision_tree", "parameters": {"max_depth": 2}}
CASES: dict[str, dict[str, Any]] = {
    "self_training": {"criterion": "k_best", "k_best": 30, "max_iter": 2, "patience": None},
    "multi_view": {"learner": BAYES, "max_iter": 2, "patience": None},
    "semi_supervised_nb": {"max_iter": 3, "patience": None},
    "co_training": {"learner": BAYES, "max_iter": 2, "patience": None},
    "tri_training": {"learner": TREE, "max_iter": 2, "patience": None},
    "democratic_co_learning": {"learners": (BAYES, TREE, BAYES), "max_iter": 2, "patience": None},
    "co_forest": {"n_estimators": 5, "max_iter": 2, "patience": None},
}


class Counted(Callback):
    """Counts the tasks that run."""

    def __init__(self) -> None:
        super().__init__(pretask=self._one)
        self.tasks = 0

    def _one(self, key: Any, dsk: Any, state: Any) -> None:
        self.tasks += 1


def asked_of(rounds: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that the number of a track is added to whenever its method is to select."""
    asked: list[int] = []
    ask = rounds.select

    def select(self: Any, survey: Any, state: Any) -> Any:
        asked.append(state.track)
        return ask(self, survey, state)

    monkeypatch.setattr(rounds, "select", select)
    return asked


def further_surveys(asked: list[int], n_iter: int, n_blocks: int, n_folds: int) -> int:
    """Return the tasks of surveys after the first of a round.

    They are of one track each: of all blocks, or of a fold's single one.
    """
    whole = (asked.count(0) - n_iter) * (n_blocks + merges(n_blocks))
    return whole + sum(asked.count(f + 1) - n_iter for f in range(n_folds))


@pytest.mark.parametrize(
    ("name", "n_blocks", "n_folds"),
    [*((name, 7, 2) for name in CASES), ("self_training", 1, 2), ("co_forest", 7, 0)],
)
def test_tasks_are_those_of_a_real_run(
    name: str, n_blocks: int, n_folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, _, codes = made_rows(n=210, per_class=14)
    # Every block has seeds of every fold.
    seeds = np.flatnonzero(codes >= 0)
    place = np.concatenate([np.arange(b * 30, b * 30 + 6) for b in range(7)])
    order = np.concatenate([place, np.setdiff1d(np.arange(210), place)])
    from_rows = np.concatenate([seeds, np.setdiff1d(np.arange(210), seeds)])
    moved, where = np.empty_like(X), np.full(210, -1, np.int32)
    moved[order], where[order] = np.abs(X[from_rows]), codes[from_rows]
    labels = labels_of(where)
    method = METHODS[name]
    views = views_of(moved, n_blocks, HALVES if method.named_views else None)
    views = {one: X.persist(scheduler="sync") for one, X in views.items()}
    rounds = method.rounds
    asked = asked_of(rounds, monkeypatch)
    with Counted() as counted:
        hidden = [np.arange(labels.n_seeds) % 2 == f for f in range(n_folds)]
        settings = {**CASES[name], "hidden": hidden, "execution": Execution(threads=1)}
        found = label_in_rounds(name, views, labels, **settings)
    assert found.n_iter >= 1
    traits = {n: getattr(rounds, n) for n in ("shares_rows", "sums", "compares_learners")}
    shape = n_blocks, n_folds, found.method.n_learners
    expected = RoundTasks(*shape, n_parts=len(views), pooled=n_blocks > 1, **traits)
    fits = [bool(record.labels_changed) or rounds.soft for record in found.records]
    tasks = expected.begin + sum(expected.of_round(fits=one) for one in fits)
    tasks += further_surveys(asked, found.n_iter, n_blocks, n_folds)
    if name == "co_training":
        # It looks first whether its two views vary.
        tasks += 2 * (n_blocks + merges(n_blocks))
    assert counted.tasks == tasks


def test_tasks_of_models_that_are_fitted_again_are_those_of_a_real_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(19)
    y = rng.integers(0, 3, 400)
    X = np.array([[0, 0], [2.2, 0], [0, 2.2]])[y] + rng.normal(size=(400, 2)) * 0.9
    # Every block has seeds of every fold.
    rows = np.arange(0, 400, 16)
    labels = Labels(400, rows, y[rows].astype(np.int32), np.arange(3))
    execution = Execution(threads=1)
    asked = asked_of(METHODS["self_training"].rounds, monkeypatch)
    stored: list[int] = []

    def keep(number: int, parts: Any, meta: dict[str, Any]) -> tuple[int, Any, dict[str, Any]]:
        stored.append(sum(len(part) for part in parts))
        return number, [execution.persist(part) for part in parts], meta

    with Counted() as counted:
        found = self_training(
            {"X": da.from_array(X, chunks=(100, 2)).persist(scheduler="sync")},
            labels,
            **{"criterion": "k_best", "k_best": 30, "rescore": False, "patience": 5},
            hidden=[np.arange(25) % 4 == fold for fold in range(4)],
            checkpoint=keep,
            execution=execution,
        )
    assert 0 < found.kept_round < len(found.records)
    expected = RoundTasks(4, 4, 1, pooled=True)
    tasks = expected.begin + len(found.records) * expected.of_round() + expected.of_kept
    tasks += further_surveys(asked, len(found.records), 4, 4)
    assert expected.of_checkpoint(kept=True) == max(stored) * 4
    # They are packed and unpacked; nothing is written here.
    assert counted.tasks == tasks + 2 * sum(stored)


def test_tasks_of_fits_in_pieces_are_those_of_a_real_run(tmp_path: Path) -> None:
    X, _, codes = made_rows(n=210, per_class=14)
    labels = labels_of(codes)
    learner = {"name": "sgd", "parameters": {"loss": "log_loss"}, "partial_fit": True, "passes": 3}
    tasks = []
    view = {"X": views_of(X, 3)["X"].persist(scheduler="sync")}
    settings = {"learner": LearnerSpec(**learner), "threshold": 0.0, "mass": None, "max_iter": 1}
    settings |= {"patience": None, "hidden": [], "execution": Execution(threads=1)}
    for more in ({}, {"max_fit_rows": 100}):
        with Counted() as counted:
            found = self_training(view, labels, **settings, **more)
        tasks.append(counted.tasks)
    assert found.records[-1].notes["pieces_fitted"] == 3
    whole = RoundTasks(3, 0, 1)
    pieces = RoundTasks(3, 0, 1, pieces=9)
    assert tasks[1] - tasks[0] == pieces.of_round() - whole.of_round() == 3 + 9 * 4 + 8 - 4
    rows = write_rows(tmp_path / "rows", job_rows())
    method = {"learner": learner, "max_fit_rows": 500}
    shape = {"n_rows": 4000, "n_features": 50, "n_classes": 2, "n_blocks": 2, "n_workers": 2}
    specs = [resolve_job(planned(rows, "self_training", **more)) for more in ({}, method)]
    shown = [cost_of(spec, **shape) for spec in specs]
    # 8 pieces, 3 passes.
    assert shown[1].tasks - shown[0].tasks > 10 * 24 * 2
    assert shown[1].bytes_moved > 2 * shown[0].bytes_moved


def test_rows_of_a_block_are_taken_once_for_all_trees() -> None:
    tasks = {L: RoundTasks(32, 0, L, shares_rows=True) for L in (10, 20)}
    apart = {L: RoundTasks(32, 0, L) for L in (10, 20)}
    assert tasks[20].of_round() - tasks[10].of_round() == 10
    assert apart[20].of_round() - apart[10].of_round() == 10 * 33


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 20, 21, 65])
def test_merges_are_those_that_are_made(n: int) -> None:
    with Counted() as counted:
        whole = merge_on_workers([delayed(int)(1) for _ in range(n)], sum)
        assert Execution(threads=1).compute([whole])[0] == n
    assert counted.tasks == n + merges(n)


def planned(rows: Path, name: str, **method: Any) -> dict[str, Any]:
    features = {"numbers": {"numeric": ["a", "b"], "scale": "minmax"}, "c": {"numeric": ["c"]}}
    if not METHODS[name].named_views:
        features.pop("c")
    method = {"name": name, **method}
    return made_job(rows, rows.parent / "out", graph=None, features=features, method=method)


@pytest.mark.parametrize("name", CASES)
def test_every_method_in_rounds_is_planned(name: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", job_rows())
    job = planned(rows, name)
    shown = dict(plan_job(resolve_job(job)))
    assert " 0 KiB a worker" not in shown["memory of the method"]
    job["input"]["block_rows"] = 20
    cut = dict(plan_job(resolve_job(job)))

    def number(text: str) -> int:
        return int(text.split()[1].replace(",", ""))

    assert number(cut["tasks"]) > 2 * number(shown["tasks"])


def kept_bytes(cost: MethodCost) -> float:
    """Return what a worker holds of features and labels, in MiB, from the words of the plan."""
    found = re.search(r"([\d,.]+) MiB of features and labels", cost.memory)
    return float(found[1].replace(",", ""))


def test_costs_grow_as_they_should(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", job_rows())

    def estimate(name: str, n: int = 10**6, d: int = 50, **more: Any) -> Any:
        spec = resolve_job(planned(rows, name, **more.pop("method", {})))
        given = {"n_classes": 4, "n_blocks": 20, "n_workers": 4, **more}
        return cost_of(spec, n_rows=n, n_features=d, **given)

    bayes, forest = estimate("semi_supervised_nb"), estimate("co_forest")
    # Sums do not grow with the rows; what fits hold does not from the limit on.
    assert estimate("semi_supervised_nb", n=10**8).fixed_bytes == bayes.fixed_bytes
    assert bayes.fixed_bytes == (5 + 1) * 8 * 50 * 4
    assert estimate("co_forest", n=10**9).fixed_bytes == estimate("co_forest", n=10**8).fixed_bytes
    assert kept_bytes(estimate("co_forest", n=2 * 10**6)) == pytest.approx(2 * kept_bytes(forest))
    # Rows travel once to a worker for all trees, and once for each other learner.
    more = estimate("co_forest", method={"n_estimators": 60})
    assert more.bytes_moved < 1.5 * forest.bytes_moved
    alone = estimate("self_training", n_workers=1)
    assert alone.bytes_moved == 0 < estimate("self_training").bytes_moved
    spec = resolve_job(planned(rows, "semi_supervised_nb"))
    small, large = (cost_of(spec, n_rows=n, n_features=50, n_classes=4) for n in (10**5, 10**7))
    assert large.row_flops < small.row_flops
    assert small.bytes_of_worker(0, 0.0, 1) == bayes.fixed_bytes
