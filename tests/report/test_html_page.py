"""The page: self-contained, escaped, and opened by a real browser."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ssl_dask.decision.calibration import not_calibrated
from ssl_dask.errors import StorageError
from ssl_dask.evaluation.metrics import compare_paired
from ssl_dask.pipeline.commands.run import summary_rows
from ssl_dask.pipeline.commands.saved_runs import rebuild_report
from ssl_dask.report.html_page import (
    byte_size,
    duration,
    first_screen,
    interval_text,
    percent,
    plural,
    render_page,
)
from ssl_dask.report.run_report import EvaluationSummary, RunReport, SeedSummary
from tests.example_report import digits_report
from tests.html_pages import NASTY, checked, opened


@cache
def page() -> str:
    return render_page(digits_report())


def nasty_report() -> RunReport:
    report = digits_report(with_truth=False)
    names = (NASTY, "&lt;", "$\\frac", "x" * 300, *report.seeds.classes[4:])
    return report.model_copy(
        update={
            "job_name": NASTY,
            "seeds": SeedSummary(classes=names, counts=report.seeds.counts, notes=(NASTY,)),
            "warnings": (f"One seed only for class {NASTY}",),
            "job": {"name": NASTY},
            "calibration": not_calibrated("no seed was hidden"),
        }
    )


def test_the_page_is_whole_and_self_contained() -> None:
    parser = checked(page())
    assert parser.tags["svg"] == 8
    assert parser.tags["section"] == 5
    assert len(page()) < 500_000
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert ("content", policy) in parser.attributes


def test_names_and_warnings_are_escaped() -> None:
    text = render_page(nasty_report())
    checked(text)
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    assert "&amp;lt;" in text
    assert "score (not calibrated)" in text


def test_the_first_screen_answers() -> None:
    report = digits_report(with_truth=False)
    labelled, right, baseline, refused, probabilities = first_screen(report)
    assert labelled.figure == f"{sum(report.decision.labels):,}"
    assert report.evaluation.hidden is not None
    accuracy = report.evaluation.hidden.accuracy
    assert right.figure == percent(accuracy.value)
    assert right.lines[0] == f"{accuracy.right} of {accuracy.n} hidden seeds"
    assert percent(accuracy.low) in right.lines[1]
    assert baseline.tone == "good"
    assert baseline.lines[0].startswith("Label spreading is ahead of the supervised baseline")
    assert refused.figure == str(report.decision.n_abstained)
    assert any("no path to a seed" in line for line in refused.lines)
    assert probabilities.figure == "calibrated"
    assert page().index("Rows labelled") < page().index("Before and after")


def test_rows_without_truth_and_of_another_class_are_told_apart() -> None:
    report = digits_report()
    real = report.evaluation
    assert real.truth is not None
    assert "counted as wrong, since" not in page()
    assert "without a truth" not in page()
    truth = dataclasses.replace(real.truth, unknown=1, other_class=1_234)
    evaluation = real.model_copy(update={"truth": truth})
    changed = report.model_copy(update={"evaluation": evaluation})
    text = " ".join(render_page(changed).split())
    assert "1 row without a truth: not counted here" in text
    assert "1,234 rows of a true class that is none of the classes" in text
    lines = dict(summary_rows(SimpleNamespace(report=changed, path=Path("out"))))
    assert lines["truth, other classes"] == "1,234 rows, counted as wrong"
    assert "truth, other classes" not in dict(
        summary_rows(SimpleNamespace(report=report, path=Path("out")))
    )


def test_a_baseline_that_is_ahead_by_the_truth_is_shown_as_bad() -> None:
    report = digits_report()
    real = report.evaluation
    turned = real.model_copy(update={"truth": real.baseline_truth, "baseline_truth": real.truth})
    tile = first_screen(report.model_copy(update={"evaluation": turned}))[2]
    assert tile.tone == "bad"
    assert first_screen(report)[2].tone == "good"


def test_a_baseline_that_is_ahead_on_hidden_seeds_is_shown_as_bad() -> None:
    report = digits_report(with_truth=False)
    right, wrong = np.zeros(40, np.int32), np.repeat(np.array([0, 1], np.int32), [35, 5])
    for first, second, tone in ((wrong, right, "bad"), (right, right, "plain")):
        comparison = compare_paired(right, first, second)
        evaluation = report.evaluation.model_copy(update={"comparison": comparison})
        tile = first_screen(report.model_copy(update={"evaluation": evaluation}))[2]
        assert tile.tone == tone
    assert tile.figure == "+0.0 points"


def test_nothing_known_is_said() -> None:
    report = digits_report().model_copy(
        update={
            "evaluation": EvaluationSummary(),
            "picture": None,
            "graph": None,
            "calibration": not_calibrated("evaluation.folds is 0"),
        }
    )
    text = render_page(report)
    checked(text)
    _, right, baseline, _, probabilities = first_screen(report)
    assert (right.figure, right.tone) == ("not known", "bad")
    assert baseline.figure == "not compared"
    assert probabilities.lines == ("evaluation.folds is 0",)
    assert "how good the labels are is not known" in text
    assert "Before and after" not in text


def test_the_page_is_rebuilt_from_json() -> None:
    report = digits_report()
    assert render_page(RunReport.from_json(report.to_json())) == page()


def test_the_template_lies_in_the_package() -> None:
    assert files("ssl_dask.report").joinpath("report.html.jinja").is_file()


def test_numbers_read_well() -> None:
    assert percent(0.99996) == "> 99.9 %"
    assert percent(1.0) == "100.0 %"
    assert percent(0.0001) == "< 0.1 %"
    assert percent(0.0) == "0.0 %"
    assert percent(None) == "–"
    assert [duration(s) for s in (0.012, 5.25, 64.2, 7300)] == [
        "12 ms",
        "5.2 s",
        "1 min 4 s",
        "2 h 1 min",
    ]
    assert [byte_size(n) for n in (12, 931_000, 3 * 2**40)] == ["12 bytes", "909.2 KiB", "3.0 TiB"]
    assert [plural(n, "file") for n in (1, 2000)] == ["1 file", "2,000 files"]
    hidden = digits_report().evaluation.hidden
    assert hidden is not None
    assert re.fullmatch(
        r"\d+\.\d % \(\d+\.\d to \d+\.\d\), 49 of 50", interval_text(hidden.accuracy)
    )


def test_a_real_browser_opens_it(tmp_path: Path) -> None:
    report = digits_report(with_truth=False)
    path = tmp_path / "report.html"
    path.write_text(render_page(report), encoding="utf-8")
    shown = opened(path, tmp_path / "profile")
    assert f">{sum(report.decision.labels):,}</div>" in shown
    assert "49 of 50 hidden seeds" in shown
    assert shown.count("<svg") == 8


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no finished run"),
        (["manifest.json"], "report of a finished run was removed"),
        (["manifest.json", "prediction.json"], "predictions has no report"),
        (["manifest.json", "report.json/"], "could not read the report: Is a directory"),
    ],
)
def test_a_report_that_cannot_be_read_is_told_by_its_cause(
    names: list[str], message: str, tmp_path: Path
) -> None:
    for name in names:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.write_text("{}")
    with pytest.raises(StorageError, match=message):
        rebuild_report(tmp_path)
