"""The jobs that ship, run as a user runs them, on all of their real data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.html_pages import opened
from tests.made_job import read_parts
from tests.processes import PROJECT, Ended, ssl_dask

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
JOBS = PROJECT / "jobs"


def run(name: str, out: Path) -> tuple[Ended, dict[str, Any]]:
    ended = ssl_dask(
        "run", JOBS / f"{name}.yaml", "--set", f"output.path={out / 'out'}", cwd=out, seconds=1500
    )
    assert ended.code == 0, ended.stderr[-3000:]
    report: dict[str, Any] = json.loads((ended.path / "report.json").read_text())
    return ended, report


def unlabelled(report: dict[str, Any]) -> float:
    value: float = report["evaluation"]["truth"]["unlabelled"]["accuracy_all"]["value"]
    return value


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, dict[str, Any]]:
    return run("mnist", tmp_path_factory.mktemp("mnist"))


def test_mnist_gets_70_000_rows_from_50(mnist: tuple[Ended, dict[str, Any]]) -> None:
    ended, report = mnist
    table = read_parts(ended.path)
    truth = pq.read_table(JOBS / "data" / "mnist.parquet", columns=["image_id", "digit"])
    assert len(table) == 70_000
    assert table["image_id"].equals(truth["image_id"])
    # Counted here again, not only read from the report.
    right = pc.sum(pc.equal(table["label"], truth["digit"].cast(table["label"].type))).as_py()
    given = pc.sum(pc.equal(table["source"].cast("string"), "seed")).as_py()
    assert given == 50
    assert (right - given) / (len(table) - given) >= 0.92
    assert unlabelled(report) == pytest.approx((right - given) / (len(table) - given), abs=1e-9)
    baseline = report["evaluation"]["baseline_truth"]["unlabelled"]["accuracy_all"]["value"]
    assert 0.5 < baseline < 0.8
    assert report["method"]["converged"]


def test_the_report_of_mnist_opens_in_a_browser(
    mnist: tuple[Ended, dict[str, Any]], tmp_path: Path
) -> None:
    shown = opened(mnist[0].path / "report.html", tmp_path / "profile")
    assert "70,000" in shown
    assert shown.count("<svg") >= 3


def test_http_attacks_is_sane_and_honest(tmp_path: Path) -> None:
    ended, report = run("http_attacks", tmp_path)
    decision = report["decision"]
    assert report["output"]["rows"] == 31_067
    covered = 1 - decision["n_abstained"] / report["output"]["rows"]
    assert covered > 0.4
    truth = report["evaluation"]["truth"]["unlabelled"]
    assert truth["accuracy"]["value"] > 0.85
    assert truth["accuracy"]["value"] > truth["accuracy_all"]["value"]
    review = read_parts(ended.path, "review")
    assert len(review) == 50
    assert "payload" in read_parts(ended.path).column_names


def test_letter_gets_20_000_rows_from_260(tmp_path: Path) -> None:
    ended, report = run("letter", tmp_path)
    assert len(read_parts(ended.path)) == 20_000
    assert unlabelled(report) > 0.6
    assert len(report["seeds"]["classes"]) == 26


def test_spambase_is_not_behind_its_labels_alone(tmp_path: Path) -> None:
    ended, report = run("spambase", tmp_path)
    assert len(read_parts(ended.path)) == 4_207
    assert report["method"]["rounds"]
    baseline = report["evaluation"]["baseline_truth"]["unlabelled"]["accuracy_all"]["value"]
    assert unlabelled(report) >= baseline - 0.005
    assert baseline > 0.7


def test_two_views_of_web_requests_label_for_each_other(tmp_path: Path) -> None:
    _, report = run("http_two_views", tmp_path)
    rounds = report["method"]["rounds"]
    agreement = [one["notes"]["agreement"] for one in rounds]
    assert agreement[-1] > agreement[0] > 0.5
    assert unlabelled(report) > 0.94


def test_newsgroups_are_told_by_two_views_of_which_one_may_be_missing(tmp_path: Path) -> None:
    ended, report = run("newsgroups", tmp_path)
    assert len(read_parts(ended.path)) == 5_849
    baseline = report["evaluation"]["baseline_truth"]["unlabelled"]["accuracy_all"]["value"]
    assert unlabelled(report) > baseline + 0.1
    assert "features.body: 1453 rows lack it" in report["features"][1]["notes"]
