"""The page of a run of numbers: self-contained, says what is known and what is not, opens."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ssl_dask.decision.value_decision import decide_values, fit_interval
from ssl_dask.evaluation.metrics import clopper_pearson
from ssl_dask.evaluation.value_baselines import RidgeBaseline, mean_of_others
from ssl_dask.evaluation.value_scores import Unit, compare_errors, score_values, sum_errors
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.labels import NumberLabels
from ssl_dask.report.pages import read_report, render_report
from ssl_dask.report.run_report import (
    FeatureSummary,
    InputSummary,
    MethodSummary,
    OutputSummary,
    RunReport,
    StageTime,
)
from ssl_dask.report.value_charts import scale_places
from ssl_dask.report.value_page import first_screen, number, render_value_page
from ssl_dask.report.value_report import (
    ValueDecision,
    ValueEvaluation,
    ValuePicture,
    ValueReport,
    ValueSeeds,
    value_warnings,
)
from ssl_dask.round_record import RoundRecord
from tests.example_report import digits_report
from tests.html_pages import NASTY, checked, opened

N_FIGURES = 8


@cache
def numbers_report() -> ValueReport:
    """Return the report of 60 seeds on 400 made rows, numbers by the mean of the nearest seeds."""
    rng = np.random.default_rng(4)
    X = rng.uniform(-2, 2, (400, 2)).astype(np.float32)
    y = 20 * np.sin(2 * X[:, 0].astype(float)) + 30 + rng.normal(size=400)
    seeds = np.sort(rng.choice(400, 60, replace=False))
    labels = NumberLabels(400, seeds, y[seeds])
    folds = hide_seeds(labels.as_one_class(), 5, 0)

    def nearest(rows: np.ndarray, known: np.ndarray) -> np.ndarray:
        gaps = ((X[rows][:, None] - X[known]) ** 2).sum(axis=2)
        return y[known][np.argsort(gaps, axis=1)[:, :3]].mean(axis=1)

    found = np.full(60, np.nan)
    for fold in range(5):
        hidden = folds.hidden(fold)
        found[hidden] = nearest(seeds[hidden], seeds[~hidden])
    unit = Unit.of(labels.values)
    interval = fit_interval(np.abs(found - labels.values), folds.fold)
    values = nearest(np.arange(400), seeds)
    values[[7, 9]] = np.nan
    decided = decide_values(values, seeds, labels.values, interval.half_width)
    ridge = RidgeBaseline.fit(X[seeds], labels.values, folds)
    others = np.setdiff1d(np.arange(400), seeds)
    method = MethodSummary(
        name="harmonic_regression",
        parameters={"max_iter": 10_000, "tol": 1e-3},
        converged=True,
        stopped="the stop rule was met",
        rounds=tuple(RoundRecord(10 * i, 0, 0.3**i, (1.0,), 0.1) for i in range(1, 6)),
    )
    summary = ValueSeeds(
        n=60,
        mean=unit.middle,
        deviation=unit.scale,
        minimum=float(labels.values.min()),
        maximum=float(labels.values.max()),
    )
    ends = (summary.minimum, summary.maximum)
    bins = np.histogram(values[others][~np.isnan(values[others])], 30, ends)[0]
    decision = ValueDecision(
        sources={"seed": 60, "propagated": 338},
        reasons={"no_path_to_seed": 2},
        n_without=2,
        bins=tuple(bins.tolist()),
        seed_bins=tuple(np.histogram(labels.values, 30, ends)[0].tolist()),
        deviation=float(np.nanstd(values[others])),
    )
    truth = sum_errors(y[others], values[others], unit, decided.low[others], decided.high[others])

    def scored(numbers: np.ndarray) -> object:
        return score_values(sum_errors(labels.values, numbers, unit), unit)

    evaluation = ValueEvaluation(
        n_folds=5,
        hidden=scored(found),
        baseline_hidden=scored(ridge.hidden_values),
        mean_hidden=scored(mean_of_others(labels.values, folds)),
        baseline_penalty=ridge.model.penalty_,
        comparison=compare_errors(labels.values, found, ridge.hidden_values),
        inside=clopper_pearson(interval.n_inside, interval.n_checked),
        truth=score_values(truth, unit),
        baseline_truth=score_values(
            sum_errors(y[others], ridge.model.predict(X[others]), unit), unit
        ),
    )
    return ValueReport(
        job_name="numbers",
        run_id="20260102T030405Z-0123abcd",
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        seconds=3.2,
        stages=(StageTime(name="read", seconds=0.8),),
        job={"name": "numbers"},
        versions={"ssl_dask": "0.1.0"},
        input=InputSummary(path="data/numbers.parquet", files=1, rows=400, columns=4, size=9_000),
        features=(FeatureSummary(name="place", kind="numeric", n_features=2, sparse=False),),
        graph={"n_edges": 4_000},
        method=method,
        output=OutputSummary(path="out/numbers/runs/x", parts=1, rows=400),
        seeds=summary,
        interval=interval,
        decision=decision,
        evaluation=evaluation,
        hidden_pairs=tuple(zip(labels.values.tolist(), found.tolist(), strict=True)),
        picture=ValuePicture(
            points=tuple((float(a), float(b)) for a, b in X),
            values=tuple(None if np.isnan(v) else float(v) for v in decided.value),
            seeds=tuple(np.isin(np.arange(400), seeds).tolist()),
        ),
        warnings=value_warnings(method, summary, interval, decision, evaluation),
    )


def test_the_page_is_whole_and_self_contained() -> None:
    page = render_value_page(numbers_report())
    parser = checked(page)
    assert parser.tags["svg"] == N_FIGURES
    assert parser.tags["section"] == 5
    assert len(page) < 500_000
    assert page.index("Rows given a number") < page.index("Before and after")
    for words in ("hidden seeds, ridge", "hidden seeds, mean", "unlabelled rows, ridge"):
        assert words in page


def test_names_are_escaped() -> None:
    report = numbers_report()
    nasty = report.model_copy(
        update={
            "job_name": NASTY,
            "seeds": report.seeds.model_copy(update={"notes": (NASTY,)}),
            "job": {"name": NASTY},
            "warnings": (NASTY,),
        }
    )
    page = render_value_page(nasty)
    checked(page)
    assert "<script" not in page


def test_the_first_screen_answers() -> None:
    report = numbers_report()
    given, right, baseline, intervals, refused = first_screen(report)
    assert given.figure == "398"
    assert report.evaluation.truth is not None
    assert right.figure == number(report.evaluation.truth.r2.value)
    assert right.tone == "plain"
    assert any(line.startswith("R2 on hidden seeds 0.") for line in right.lines)
    assert baseline.tone == "good"
    assert any("Harmonic regression is off by" in line for line in baseline.lines)
    assert intervals.figure == f"± {number(report.interval.half_width)}"
    assert "around each number, for 90.0 % of the rows" in intervals.lines
    assert (refused.figure, refused.lines) == ("2", ("2: no path to a seed",))


def test_a_baseline_that_is_ahead_is_bad_and_said() -> None:
    report = numbers_report()
    real = report.evaluation
    turned = real.model_copy(update={"truth": real.baseline_truth, "baseline_truth": real.truth})
    tile = first_screen(report.model_copy(update={"evaluation": turned}))[2]
    assert tile.tone == "bad"
    told = value_warnings(report.method, report.seeds, report.interval, report.decision, turned)
    assert told[0].startswith("By the truth column ridge regression is ahead")
    assert report.warnings == ()


def test_each_trouble_is_named() -> None:
    report = numbers_report()
    flat = report.decision.model_copy(update={"deviation": 0.1, "n_without": 900})
    stuck = report.method.model_copy(update={"converged": False})
    nothing = ValueEvaluation(inside=clopper_pearson(0, 0))
    none = fit_interval(np.empty(0), np.empty(0, np.int32))
    told = value_warnings(stuck, report.seeds, none, flat, nothing)
    for words in (
        "did not converge",
        "hardly differ",
        "was hidden: how good",
        "no intervals",
        "More than half",
    ):
        assert any(words in one for one in told), words


def test_equal_numbers_of_hidden_seeds_say_nothing_of_the_signal() -> None:
    report, truth = numbers_report(), np.full(12, 3.0)
    unit = Unit(3.0, 1.0)
    for found, flat in ((truth + 0.1, True), (np.resize([2.0, 4.0], 12), False)):
        given = truth if flat else np.resize([4.0, 2.0], 12)
        scores = score_values(sum_errors(given, found, unit), unit)
        assert (scores.r2.value is None) == flat
        hidden = report.evaluation.model_copy(update={"hidden": scores})
        told = value_warnings(report.method, report.seeds, report.interval, report.decision, hidden)
        assert any("carries no signal" in one for one in told) == (not flat)


def test_nothing_known_is_said() -> None:
    report = numbers_report().model_copy(
        update={
            "evaluation": ValueEvaluation(inside=clopper_pearson(0, 0)),
            "interval": fit_interval(np.empty(0), np.empty(0, np.int32)),
            "hidden_pairs": (),
            "picture": None,
            "graph": None,
        }
    )
    page = render_value_page(report)
    checked(page)
    _, right, baseline, intervals, _ = first_screen(report)
    assert (right.figure, right.tone) == ("not known", "bad")
    assert baseline.figure == "not compared"
    assert intervals.figure == "none"
    assert "how good the numbers are is not known" in page
    assert "Before and after" not in page


def test_reports_of_both_kinds_are_read_back() -> None:
    for report, kind in ((numbers_report(), ValueReport), (digits_report(), RunReport)):
        again = read_report(report.to_json())
        assert isinstance(again, kind)
        assert again == report
        assert render_report(again) == render_report(report)
    with pytest.raises(ValueError):
        read_report("[1]")


def test_numbers_read_well_and_have_a_colour() -> None:
    assert [number(x) for x in (0.0, 0.01234, 4.5678, 45.678, 12345.6, -0.5, 1.5e-7, 2e9)] == [
        "0",
        "0.0123",
        "4.57",
        "45.7",
        "12,346",
        "-0.500",
        "1.50e-07",
        "2.00e+09",
    ]
    assert number(None) == "–"
    places = scale_places(np.array([0.0, 9.99, 10.0, np.nan, 5.0]), (0.0, 10.0))
    assert places.tolist() == [0, 7, 7, -1, 4]
    assert scale_places(np.array([3.0]), (3.0, 3.0)).tolist() == [0]


def test_a_real_browser_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_value_page(numbers_report()), encoding="utf-8")
    shown = opened(path, tmp_path / "profile")
    assert ">398</div>" in shown
    assert shown.count("<svg") == N_FIGURES
