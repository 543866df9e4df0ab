"""Whole jobs whose labels are numbers: the closed form, the same bits anywhere, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client
from sklearn.metrics import mean_absolute_error, r2_score

from ssl_dask.cli import app
from ssl_dask.errors import InputDataError, JobSpecError, QualityError
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.job_file import resolve_job
from ssl_dask.labels import Labels
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.pipeline.commands.run import RunResult, run_job, summary_rows
from ssl_dask.pipeline.commands.saved_runs import rebuild_report
from ssl_dask.pipeline.commands.validate import validate_job
from ssl_dask.pipeline.infer import saved_state
from ssl_dask.process_end import exit_code
from ssl_dask.report.value_report import ValueReport
from ssl_dask.storage.ids.id_hash import tags_of
from tests.made_job import Heard, answer, read_parts, with_column, write_job, write_rows
from tests.made_numbers import N_ISLAND, N_ROWS, N_SEEDS, made_numbers, number_job
from tests.oracles.closed_forms import harmonic

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("made") / "rows", made_numbers())


@pytest.fixture(scope="module")
def full_run(
    rows: Path, tmp_path_factory: pytest.TempPathFactory, cluster_client: Client
) -> RunResult:
    """A run with everything that a job can ask for."""
    job = number_job(rows, tmp_path_factory.mktemp("full") / "out", decision={"coverage": 0.8})
    job["input"]["block_rows"] = 60
    job["output"] |= {"columns": ["a"]}
    return run_job(job, client=cluster_client)


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy().astype(float)


def test_columns_say_what_they_should(full_run: RunResult) -> None:
    source, table = made_numbers(), read_parts(full_run.path)
    assert table.column_names == ["id", "a", "value", "value_low", "value_high", "source", "reason"]
    assert table["id"].to_pylist() == source["id"].to_pylist()
    assert table["a"].to_numpy().tobytes() == source["a"].to_numpy().tobytes()
    given = source["level"].to_pylist()
    how, why = table["source"].to_pylist(), table["reason"].to_pylist()
    seeds = np.array([one is not None for one in given])
    assert [one == "seed" for one in how] == seeds.tolist()
    value, low, high = (column(table, name) for name in ("value", "value_low", "value_high"))
    for ends in (value, low, high):
        np.testing.assert_array_equal(ends[seeds], np.array(given, dtype=float)[seeds])
    assert why[-N_ISLAND:] == ["no_path_to_seed"] * N_ISLAND
    assert why.count("no_path_to_seed") == N_ISLAND == table["value"].null_count
    assert set(how[-N_ISLAND:]) == {None}
    free = ~seeds & ~np.isnan(value)
    half = full_run.report.interval.half_width
    np.testing.assert_allclose(high[free] - value[free], half, rtol=1e-9)
    np.testing.assert_allclose(value[free] - low[free], half, rtol=1e-9)
    # No number beyond those of the seeds, and no constant.
    assert min(value[seeds]) <= min(value[free]) < max(value[free]) <= max(value[seeds])
    assert value[free].std() > 10


def test_the_report_says_what_can_be_counted_again(full_run: RunResult) -> None:
    report = full_run.report
    assert isinstance(report, ValueReport)
    table, truth = read_parts(full_run.path), np.array(made_numbers()["truth"])
    free = np.array([one == "propagated" for one in table["source"].to_pylist()])
    value = column(table, "value")
    scores = report.evaluation.truth
    assert scores.n == free.sum() == N_ROWS - N_SEEDS - N_ISLAND
    assert scores.n_without == N_ISLAND
    assert scores.r2.value == pytest.approx(r2_score(truth[free], value[free]))
    assert scores.mae.value == pytest.approx(mean_absolute_error(truth[free], value[free]))
    inside = (column(table, "value_low") <= truth) & (truth <= column(table, "value_high"))
    assert scores.inside.right == inside[free].sum()
    assert 0.7 < scores.inside.value < 0.97
    hidden = report.evaluation.hidden
    assert hidden.n == N_SEEDS == len(report.hidden_pairs)
    pairs = np.array(report.hidden_pairs)
    assert hidden.r2.value == pytest.approx(r2_score(pairs[:, 0], pairs[:, 1]))
    assert hidden.r2.value > 0.6
    assert report.evaluation.mean_hidden.r2.value < 0.05
    # The function bends: a straight line says next to nothing of it.
    assert report.evaluation.comparison.high < 0
    assert report.evaluation.baseline_truth.n == scores.n
    assert report.evaluation.baseline_truth.r2.value < scores.r2.value
    assert report.decision.sources == {"seed": N_SEEDS, "propagated": int(free.sum())}
    assert sum(report.decision.bins) == free.sum()
    assert sum(report.decision.seed_bins) == N_SEEDS
    assert report.decision.deviation == pytest.approx(value[free].std())
    assert report.method.converged
    assert report.warnings == ()
    assert ValueReport.from_json((full_run.path / "report.json").read_text()) == report
    lines = dict(summary_rows(full_run))
    assert lines["abstained"] == f"{N_ISLAND} (no_path_to_seed {N_ISLAND})"
    assert lines["hidden seeds"].startswith("R2 0.")


def test_the_page_and_the_manifest(full_run: RunResult, tmp_path: Path) -> None:
    again = rebuild_report(full_run.path.parents[1], tmp_path / "page.html")
    assert again.read_bytes() == (full_run.path / "report.html").read_bytes()
    manifest = json.loads((full_run.path / "manifest.json").read_text())
    assert manifest["rows"] == N_ROWS
    assert {part["folder"] for part in manifest["parts"]} == {"labels"}
    described = read_parts(full_run.path).schema.field("value_low").metadata[b"description"]
    assert b"interval" in described


def test_numbers_are_the_dense_closed_form(tmp_path: Path, cluster_client: Client) -> None:
    table = made_numbers().slice(0, N_ROWS - N_ISLAND)
    rows = write_rows(tmp_path / "rows", table)
    graph, method = {"kind": "rbf", "gamma": 3.0}, {"name": "harmonic_regression", "tol": 1e-7}
    job = number_job(rows, tmp_path / "out", graph=graph, method=method)
    result = run_job(job, client=cluster_client)
    X = np.column_stack([table["a"].to_numpy(), table["b"].to_numpy()]).astype(np.float32)
    X = X.astype(np.float64)
    W = np.exp(-3.0 * ((X[:, None] - X) ** 2).sum(axis=2))
    np.fill_diagonal(W, 0.0)
    given = np.array(table["level"].to_pylist(), dtype=float)
    # Numbers of about 500: no seed is zero, which the oracle takes for unlabelled.
    exact = harmonic(W, np.nan_to_num(given)[:, None])[:, 0]
    found = column(read_parts(result.path), "value")
    np.testing.assert_allclose(found, exact, atol=1e-3)
    assert exact[np.isnan(given)].std() > 10
    # Each hidden seed, by the seeds of the other folds alone.
    pairs = np.array(result.report.hidden_pairs)
    seeds, tags = np.flatnonzero(~np.isnan(given)), tags_of(table["id"].combine_chunks())
    seeds = seeds[np.argsort(tags[seeds])]
    one_class = np.zeros(len(seeds), np.int32), np.array([0])
    np.testing.assert_array_equal(pairs[:, 0], given[seeds])
    folds = hide_seeds(Labels(N_ROWS, seeds, *one_class, tags=tags[seeds]), 3, 0)
    assert result.report.evaluation.n_folds == folds.n_folds == 3
    for fold in (np.flatnonzero(mask) for mask in folds.masks):
        shown = np.where(np.isin(np.arange(len(given)), seeds[fold]), np.nan, given)
        without = harmonic(W, np.nan_to_num(shown)[:, None])[:, 0]
        np.testing.assert_allclose(pairs[fold, 1], without[seeds[fold]], atol=1e-3)


def test_same_answer_for_any_blocks_files_and_workers(
    rows: Path,
    tmp_path: Path,
    cluster_client: Client,
    one_worker: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = run_job(number_job(rows, tmp_path / "whole"), client=cluster_client)
    other = write_rows(tmp_path / "rows", made_numbers(), files=1, group_rows=1000)
    blocks = number_job(other, tmp_path / "blocks")
    blocks["input"]["block_rows"] = N_ROWS // 8
    second = run_job(blocks, client=one_worker)
    assert len(list((second.path / "labels").iterdir())) == 8
    monkeypatch.setattr(saved_state, "IN_PROCESS_BYTES", 0)
    heard = Heard()
    again = number_job(rows, tmp_path / "workers")
    third = run_job(again, client=cluster_client, listener=heard)
    assert [one["where"] for one in heard.named("propagates")] == ["the workers"]
    expected = answer(first.path)
    for run in (second, third):
        assert answer(run.path) == expected
        for part in ("evaluation", "interval", "decision", "hidden_pairs", "picture"):
            assert getattr(run.report, part) == getattr(first.report, part)


@pytest.mark.parametrize(
    ("part", "keys", "words"),
    [
        ("input", {"classes": [1, 2]}, "input.classes (leave it out)"),
        ("input", {"sampling": "x0"}, "input.sampling (leave it out)"),
        ("decision", {"min_probability": 0.8}, "decision.coverage sets how sure"),
        ("decision", {"abstain": "never"}, "only rows without a path to a seed get no number"),
        ("decision", {"on_collapse": "error"}, "decision.on_collapse (leave it out)"),
        ("decision", {"review_budget": 5}, "decision.review_budget (leave it out)"),
        ("output", {"probabilities": True}, "value_low and value_high are always written"),
        ("decision", {"coverage": 1.0}, "less than 1"),
    ],
)
def test_keys_of_classes_are_refused_with_a_cure(
    part: str, keys: dict[str, Any], words: str, tmp_path: Path
) -> None:
    job = number_job(tmp_path / "rows", tmp_path / "out")
    job[part] = {**job.get(part, {}), **keys}
    with pytest.raises(JobSpecError) as error:
        resolve_job(job)
    assert words in str(error.value)
    assert error.value.exit_code == 2


def test_coverage_is_refused_for_classes(tmp_path: Path) -> None:
    job = number_job(tmp_path / "rows", tmp_path / "out", method={"name": "label_spreading"})
    job["decision"] = {"coverage": 0.9}
    with pytest.raises(JobSpecError, match="label_spreading gives classes"):
        resolve_job(job)


def test_validate_and_plan(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = resolve_job(number_job(rows, tmp_path / "out"))
    assert resolve_job(spec.model_dump(mode="json")) == spec
    assert spec.target == "numbers"
    summary = dict(validate_job(spec))
    level = np.array([x for x in made_numbers()["level"].to_pylist() if x is not None])
    assert summary["seeds"] == f"60 (mean {level.mean():.6g}, deviation {level.std():.3g})"
    planned = dict(plan_job(spec))
    assert planned["method"].startswith("harmonic_regression: about 100 sweeps of 4 columns")
    path = write_job(tmp_path / "job.yaml", number_job(rows, tmp_path / "out"))
    assert exit_code(app, ["validate", str(path), "--set", "input.label=truth"]) == 2
    assert "label and truth are the same" in capsys.readouterr().err


def test_bad_labels_end_with_3_and_too_few_with_8(tmp_path: Path, cluster_client: Client) -> None:
    table = made_numbers()
    level = table["level"].to_pylist()
    first = next(i for i, one in enumerate(level) if one is not None)
    level[first] = float("nan")
    bad = with_column(table, "level", level)
    job = number_job(write_rows(tmp_path / "bad", bad), tmp_path / "out")
    with pytest.raises(InputDataError, match="labels that are NaN: 1") as error:
        run_job(job, client=cluster_client)
    assert error.value.exit_code == 3
    none = with_column(table, "level", pa.nulls(N_ROWS, pa.float64()))
    job = number_job(write_rows(tmp_path / "none", none), tmp_path / "out")
    with pytest.raises(QualityError, match="no labelled row") as few:
        run_job(job, client=cluster_client)
    assert few.value.exit_code == 8
    assert not (tmp_path / "out" / "latest").exists()


def test_columns_that_the_result_needs_are_refused(rows: Path, tmp_path: Path) -> None:
    table = made_numbers().rename_columns(["id", "a", "b", "value", "truth"])
    job = number_job(write_rows(tmp_path / "rows", table), tmp_path / "out")
    job["input"]["label"] = "value"
    job["output"]["columns"] = ["value"]
    with pytest.raises(JobSpecError, match="'value', which is also a column of the result"):
        validate_job(resolve_job(job))


def test_labels_of_a_file_no_folds_and_no_truth(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    table = made_numbers()
    pairs = zip(table["id"].to_pylist(), table["level"].to_pylist(), strict=True)
    lines = [f"{row},{level!r}" for row, level in pairs if level is not None]
    (tmp_path / "levels.csv").write_text("\n".join(["id,level", *lines]) + "\n")
    labels = {"path": str(tmp_path / "levels.csv"), "id": "id", "label": "level"}
    job = number_job(rows, tmp_path / "out", evaluation={"folds": 0, "baseline": False})
    job["input"] = {"path": str(rows), "id": "id", "labels": labels}
    result = run_job(job, client=cluster_client)
    whole = number_job(rows, tmp_path / "whole", evaluation={"folds": 0})
    assert answer(result.path) == answer(run_job(whole, client=cluster_client).path)
    report = result.report
    assert isinstance(report, ValueReport)
    assert report.evaluation.hidden is None
    assert report.interval.half_width is None
    assert any("how good the numbers are is not known" in text for text in report.warnings)
    assert any("no intervals" in text for text in report.warnings)
    table = read_parts(result.path)
    seeds = np.array([one == "seed" for one in table["source"].to_pylist()])
    np.testing.assert_array_equal(np.isnan(column(table, "value_low")), ~seeds)


def test_numbers_without_sense_are_told(tmp_path: Path, cluster_client: Client) -> None:
    table = made_numbers()
    known = np.array([one is not None for one in table["level"].to_pylist()])
    noise = np.random.default_rng(9).normal(size=N_ROWS)
    shuffled = with_column(table, "level", pa.array(noise, mask=~known))
    rows = write_rows(tmp_path / "rows", shuffled)
    report = run_job(number_job(rows, tmp_path / "out"), client=cluster_client).report
    assert any("carries no signal" in text for text in report.warnings)


def test_the_shipped_job_runs(tmp_path: Path, cluster_client: Client) -> None:
    job = PROJECT / "jobs" / "diabetes.yaml"
    result = run_job(job, overrides=[f"output.path={tmp_path / 'out'}"], client=cluster_client)
    report = result.report
    assert isinstance(report, ValueReport)
    table = read_parts(result.path)
    assert len(table) == 442
    assert table["value"].null_count == 0
    assert report.evaluation.truth.r2.value > 0.25
    assert report.evaluation.truth.inside.value == pytest.approx(0.9, abs=0.06)
    assert report.evaluation.hidden.r2.value > 0.1
