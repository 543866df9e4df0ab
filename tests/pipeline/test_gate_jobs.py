"""Jobs whose method is worse than a supervised baseline, or not, and floors of figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ssl_dask.cli import app
from ssl_dask.errors import JobSpecError, QualityError
from ssl_dask.pipeline.commands.run import RunResult, run_job, summary_rows
from ssl_dask.pipeline.commands.saved_runs import rebuild_report
from ssl_dask.process_end import exit_code
from tests.made_job import Heard, answer, read_parts, write_job, write_rows

N, D = 600, 12


def table_of(X: np.ndarray, truth: np.ndarray, n_seeds: int, *, seed: int = 1) -> pa.Table:
    known = np.zeros(len(truth), dtype=bool)
    known[np.random.default_rng(seed).choice(len(truth), n_seeds, replace=False)] = True
    return pa.table(
        {
            "id": np.arange(len(truth)),
            **{f"x{i}": X[:, i] for i in range(X.shape[1])},
            "seed": pa.array(truth, mask=~known),
            "truth": pa.array(truth),
        }
    )


def noise_with_one_line(rare: float = 0.5, blur: float = 0.0) -> pa.Table:
    """Rows whose class is told by one of twelve features: neighbours are alike by chance."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    z = X[:, 0] + blur * np.random.default_rng(1).normal(size=N)
    bound = np.quantile(z, 1.0 - rare)
    return table_of(X, np.where(z > bound, "fraud", "fair").astype(object), 200)


def two_rings() -> pa.Table:
    """Rows on four thin rings, by turns of two kinds, which only a graph can follow."""
    rng = np.random.default_rng(0)
    ring, angle = rng.integers(0, 4, N), rng.uniform(0, 2 * np.pi, N)
    radius = 1.0 + ring + 0.02 * rng.normal(size=N)
    X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    return table_of(X, np.array(["odd", "even"], dtype=object)[ring % 2], 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    write_rows(folder / "noise", noise_with_one_line())
    write_rows(folder / "rare", noise_with_one_line(0.1))
    write_rows(folder / "blurred", noise_with_one_line(0.2, blur=0.5))
    write_rows(folder / "rings", two_rings())
    return folder


def job(rows: Path, out: Path, **more: Any) -> dict[str, Any]:
    names = [f"x{i}" for i in range(2 if rows.name == "rings" else D)]
    made = {
        "name": "gate",
        "input": {"path": str(rows), "id": "id", "label": "seed", "truth": "truth"},
        "features": {"x": {"numeric": names, "scale": "none"}},
        "graph": {"n_neighbors": 6},
        "method": {"name": "label_spreading"},
        "output": {"path": str(out)},
        **more,
    }
    return {key: value for key, value in made.items() if value is not None}


def right(result: RunResult, rows: pa.Table) -> float:
    labels = np.array(read_parts(result.path)["label"].to_pylist(), dtype=object)
    unlabelled = np.array([one is None for one in rows["seed"].to_pylist()])
    return float((labels == np.array(rows["truth"].to_pylist()))[unlabelled].mean())


@pytest.fixture(scope="module")
def replaced(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, Heard]:
    heard = Heard()
    out = tmp_path_factory.mktemp("replaced") / "out"
    return run_job(job(folder / "noise", out), listener=heard), heard


def test_the_better_baseline_is_published_and_everybody_is_told(
    replaced: tuple[RunResult, Heard], folder: Path, tmp_path: Path
) -> None:
    result, heard = replaced
    report, contest = result.report, result.report.evaluation.contest
    own = run_job(job(folder / "noise", tmp_path / "own", decision={"on_worse": "publish"}))
    rows = noise_with_one_line()
    assert right(result, rows) > right(own, rows) + 0.1
    assert set(read_parts(result.path)["source"].to_pylist()) == {"seed", "supervised"}
    assert (report.method.name, report.method.asked_for) == ("supervised", "label_spreading")
    assert contest.worse
    assert [one.name for one in contest.baselines] == ["supervised", "forest", "majority"]
    assert contest.published.name == contest.best == "supervised"
    assert contest.published.figure > contest.asked_for.figure + 0.1
    first = report.warnings[0]
    assert first.startswith("The labels are those of logistic regression, not of label spreading")
    name, last = heard.events[-1]
    assert name == "run_done"
    assert (last["asked_for"], last["published"]) == ("label_spreading", "supervised")
    assert last["warnings"][0] == first
    assert heard.named("quality_warning")[0]["message"] == first
    assert ("published", "logistic regression, not label spreading") in summary_rows(result)
    page = rebuild_report(result.path, tmp_path / "page.html").read_text()
    assert page.index(first.replace("'", "&#39;")) < page.index("Compared with")
    assert "a forest of 100 trees" in page
    assert "The method less the best baseline, logistic regression: -0." in page
    # What is published is calibrated by its own hidden answers.
    assert report.calibration.calibrated
    assert report.evaluation.hidden.accuracy_all.value == pytest.approx(contest.published.figure)


def test_the_methods_labels_are_as_without_a_gate_where_they_are_published(
    folder: Path, tmp_path: Path
) -> None:
    policies = {"publish": {"decision": {"on_worse": "publish"}}}
    policies["off"] = {"evaluation": {"baseline": False}}
    runs = {
        name: run_job(job(folder / "noise", tmp_path / name, **more))
        for name, more in policies.items()
    }
    assert answer(runs["publish"].path) == answer(runs["off"].path)
    assert "published since decision.on_worse is publish" in runs["publish"].report.warnings[0]
    assert runs["publish"].report.evaluation.contest.asked_for.published
    assert runs["publish"].report.method.asked_for is None
    assert runs["off"].report.evaluation.contest is None


def test_a_method_that_is_better_stays(folder: Path, tmp_path: Path) -> None:
    result = run_job(job(folder / "rings", tmp_path / "out"))
    contest = result.report.evaluation.contest
    assert contest.published.name == "label_spreading"
    assert contest.low > 0.0
    assert right(result, two_rings()) > 0.9
    assert not any("not of label spreading" in text for text in result.report.warnings)


def test_worse_may_be_an_error_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    made = job(folder / "noise", tmp_path / "out", decision={"on_worse": "error"})
    with pytest.raises(QualityError, match=r"worse than .* label spreading is 0\.\d+, that of"):
        run_job(made)
    assert not (tmp_path / "out" / "latest").exists()
    assert exit_code(app, ["run", str(write_job(tmp_path / "job.json", made))]) == 8
    assert not list((tmp_path / "out").glob("**/*.parquet"))


def test_the_same_answer_for_one_block_and_for_many(
    replaced: tuple[RunResult, Heard], folder: Path, tmp_path: Path
) -> None:
    many = job(folder / "noise", tmp_path / "out")
    many["input"] |= {"block_rows": 60}
    result = run_job(many)
    assert len(list((result.path / "labels").iterdir())) >= 8
    assert answer(result.path) == answer(replaced[0].path)
    assert result.report.evaluation.contest == replaced[0].report.evaluation.contest


def test_a_rare_class_is_compared_by_average_precision(folder: Path, tmp_path: Path) -> None:
    result = run_job(job(folder / "rare", tmp_path / "out"))
    contest = result.report.evaluation.contest
    assert (contest.measure, contest.rare) == ("average precision", "fraud")
    assert contest.published.name != "label_spreading"
    assert contest.published.figure > contest.asked_for.figure + 0.2
    majority = next(one for one in contest.baselines if one.name == "majority")
    assert majority.figure == pytest.approx(majority.low) == pytest.approx(majority.high)
    assert "average precision of class fraud" in result.report.warnings[0]


def test_the_job_that_is_the_baseline_is_compared_with_the_others(
    folder: Path, tmp_path: Path
) -> None:
    made = job(folder / "rings", tmp_path / "out", method={"name": "supervised"}, graph=None)
    contest = run_job(made).report.evaluation.contest
    assert contest.asked_for.name == "supervised"
    assert [one.name for one in contest.baselines] == ["forest", "majority"]
    assert contest.published.name == "forest"


def test_models_of_a_method_that_is_not_published_are_not_kept(
    folder: Path, tmp_path: Path
) -> None:
    made = job(folder / "rings", tmp_path / "out", graph=None)
    made["method"] = {"name": "self_training", "learner": {"name": "logistic_regression"}}
    made["output"] |= {"models": True}
    result = run_job(made)
    assert result.report.method.name == "forest"
    assert any("models were not kept" in text for text in result.report.warnings)
    assert not (result.path / "models").exists()


FLOORS: list[tuple[dict[str, Any], str]] = [
    ({"min_accuracy": 0.99}, r"accuracy of the labels is 0\.\d+ on 200 hidden seeds \(between"),
    (
        {"min_precision": {"fraud": 0.999}},
        r"precision of class fraud is 0\.\d+ on .* decision.min_precision: 0.9",
    ),
    ({"min_precision": 0.999}, "precision of class fraud"),
    ({"min_average_precision": 0.999}, "average precision of class fraud"),
]


@pytest.mark.parametrize(("floor", "words"), FLOORS, ids=[str(floor) for floor, _ in FLOORS])
def test_below_a_floor_nothing_is_published(
    folder: Path, tmp_path: Path, floor: dict[str, Any], words: str
) -> None:
    (key, value) = next(iter(floor.items()))
    low = {key: dict.fromkeys(value, 0.1) if isinstance(value, dict) else 0.1}
    own, method = {"on_worse": "publish"}, {"name": "supervised"}
    made = job(folder / "blurred", tmp_path / "out", method=method, graph=None)
    kept = run_job({**made, "decision": {**low, **own}})
    with pytest.raises(QualityError, match=words):
        run_job({**made, "decision": {**floor, **own}})
    assert (tmp_path / "out" / "latest").resolve() == kept.path.resolve()
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1


def test_floors_are_held_against_what_is_published(folder: Path, tmp_path: Path) -> None:
    # The method alone is below it, the baseline in its place is above.
    made = job(folder / "noise", tmp_path / "out", decision={"min_accuracy": 0.85})
    assert run_job(made).report.method.name == "supervised"
    with pytest.raises(QualityError, match="min_accuracy"):
        run_job({**made, "decision": {"min_accuracy": 0.85, "on_worse": "publish"}})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"decision": {"min_precision": {"whale": 0.5}}}, "'whale' is none of the classes"),
        ({"decision": {"min_precision": 0.5}}, "the rarer of two classes"),
        (
            {"decision": {"on_worse": "error"}, "evaluation": {"baseline": False}},
            "evaluation.baseline: false rules that out",
        ),
        (
            {"decision": {"on_worse": "baseline"}, "evaluation": {"folds": 0}},
            "evaluation.folds: 0 rules that out",
        ),
        ({"decision": {"min_accuracy": 0.5}, "evaluation": {"folds": 0}}, "judged on hidden seeds"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    folder: Path, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(JobSpecError, match=words):
        run_job(job(folder / "noise", tmp_path / "out", **more))
    assert not (tmp_path / "out" / "latest").exists()


def test_without_hidden_seeds_nothing_is_compared(folder: Path, tmp_path: Path) -> None:
    made = job(folder / "noise", tmp_path / "out", evaluation={"folds": 0})
    result = run_job(made)
    assert result.report.evaluation.contest is None
    assert json.loads((result.path / "report.json").read_text())["method"]["asked_for"] is None


def numbers() -> pa.Table:
    """Numbers that are a line in one of twelve features."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, D))
    table = table_of(X, np.full(N, None, dtype=object), 100)
    value = 3.0 * X[:, 0] + 0.1 * rng.normal(size=N)
    known = np.zeros(N, dtype=bool)
    known[rng.choice(N, 100, replace=False)] = True
    return (
        table.drop_columns(["seed", "truth"])
        .append_column("seed", pa.array(value, mask=~known))
        .append_column("truth", pa.array(value))
    )


def test_numbers_of_a_worse_method_are_replaced_too(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "numbers", numbers())
    made = job(rows, tmp_path / "out", method={"name": "harmonic_regression"})
    result = run_job(made)
    report = result.report
    assert (report.method.name, report.method.asked_for) == ("ridge", "harmonic_regression")
    contest = report.evaluation.contest
    assert contest.low > 0.0
    assert [one.name for one in contest.baselines] == ["ridge", "mean"]
    assert report.warnings[0].startswith("The numbers are those of ridge regression")
    table = read_parts(result.path)
    assert set(table["source"].to_pylist()) == {"seed", "supervised"}
    errors = np.abs(table["value"].to_numpy() - numbers()["truth"].to_numpy())
    assert errors.mean() < 0.2
    assert report.evaluation.truth.mae.value == pytest.approx(
        report.evaluation.baseline_truth.mae.value
    )
    made["decision"] = {"on_worse": "publish"}
    own = run_job(made)
    assert set(read_parts(own.path)["source"].to_pylist()) == {"seed", "propagated"}
    with pytest.raises(QualityError, match="mean absolute error of harmonic regression"):
        run_job({**made, "decision": {"on_worse": "error"}})
    with pytest.raises(JobSpecError, match="min_accuracy"):
        run_job({**made, "decision": {"min_accuracy": 0.5}})
