"""The page of a run of numbers: self-contained, says what is known and what is not, opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_dask.decision.value_decision import fit_interval
from ssl_dask.evaluation.metrics import clopper_pearson
from ssl_dask.evaluation.value_scores import Unit, score_values, sum_errors
from ssl_dask.report.pages import read_report, render_report
from ssl_dask.report.run_report import (
    RunReport,
)
from ssl_dask.report.value_charts import scale_places
from ssl_dask.report.value_page import first_screen, number, render_value_page
from ssl_dask.report.value_report import (
    ValueEvaluation,
    ValueReport,
    value_warnings,
)
from tests.example_report import digits_report, numbers_report
from tests.html_pages import NASTY, checked, opened

N_FIGURES = 8


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
    assert given.figure == "393"
    assert report.evaluation.truth is not None
    assert right.figure == number(report.evaluation.truth.r2.value)
    assert right.tone == "plain"
    assert any(line.startswith("R2 on hidden seeds 0.") for line in right.lines)
    assert baseline.tone == "good"
    assert any("Harmonic regression is off by" in line for line in baseline.lines)
    assert intervals.figure == f"± {number(report.interval.half_width)}"
    assert "around each number, for 90.0 % of the rows" in intervals.lines
    assert (refused.figure, refused.lines) == ("7", ("7: no path to a seed",))


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
    assert ">393</div>" in shown
    assert shown.count("<svg") == N_FIGURES
