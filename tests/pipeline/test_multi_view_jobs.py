"""Whole jobs of multi-view training, with rows that lack a view, and of EM naive Bayes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from ssl_dask.errors import InputDataError, JobSpecError
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands.run import RunResult, run_job
from tests.made_job import (
    LACKING,
    answer,
    made_job,
    made_rows,
    read_parts,
    rows_that_lack,
    write_rows,
)

VIEWS = {
    "numbers": {"numeric": ["a", "b", "c"], "optional": True},
    "words": {"text": "text", "n_features": 512, "optional": True},
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    write_rows(folder / "rows", rows_that_lack())
    write_rows(folder / "other", rows_that_lack(), files=1, group_rows=1000)
    return folder


def run(path: Path, out: Path, client: Client, *, cut: int | None = None, **job: Any) -> RunResult:
    spec = made_job(path, out, graph=None, evaluation={"folds": 2}, **job)
    if cut is not None:
        spec["input"]["block_rows"] = cut
    return run_job(spec, client=client)


def truth(result: RunResult) -> float:
    value: float = result.report.evaluation.truth.unlabelled.accuracy_all.value
    return value


@pytest.mark.slow
def test_rows_are_labelled_by_the_views_that_they_have(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    words = {"name": "multinomial_nb", "parameters": {"alpha": 0.1}}
    method = {"name": "multi_view", "max_iter": 2, "learners": {"words": words}}
    found = run(rows / "rows", tmp_path / "out", cluster_client, method=method, features=VIEWS)
    again = run(
        rows / "other", tmp_path / "again", cluster_client, cut=47, method=method, features=VIEWS
    )
    assert answer(again.path) == answer(found.path)
    assert truth(found) > 0.8
    labels = read_parts(found.path)["label"].to_pylist()
    nothing = LACKING.all(axis=0) & np.array([s is None for s in made_rows()["seed"].to_pylist()])
    assert nothing.sum() > 3
    assert {labels[i] for i in np.flatnonzero(nothing)} == {None}
    one_view = LACKING.any(axis=0) & ~LACKING.all(axis=0)
    assert np.mean([labels[i] is not None for i in np.flatnonzero(one_view)]) > 0.8
    notes = found.report.method.rounds[0].notes
    assert set(notes["view_weights"]) == {"numbers", "words"}


@pytest.mark.slow
def test_bayes_labels_texts_and_refuses_numbers_below_0(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    features = {"words": {**VIEWS["words"], "missing": "empty", "optional": False}}
    method = {"name": "semi_supervised_nb", "max_iter": 4}
    found = run(rows / "rows", tmp_path / "out", cluster_client, method=method, features=features)
    again = run(
        rows / "other", tmp_path / "again", cluster_client, cut=47, method=method, features=features
    )
    assert answer(again.path) == answer(found.path)
    assert truth(found) > 0.6
    rising = [one.notes["log_likelihood"] for one in found.report.method.rounds]
    assert len(rising) > 1
    with pytest.raises(InputDataError, match="scale: minmax"):
        run(rows / "rows", tmp_path / "no", cluster_client, method=method, features=VIEWS)


def test_learners_name_views_that_are_there(rows: Path, tmp_path: Path) -> None:
    method = {"name": "multi_view", "learners": {"colour": {"name": "gaussian_nb"}}}
    with pytest.raises(JobSpecError, match=r"\['colour'\], which are none of the groups"):
        resolve_job(made_job(rows / "rows", tmp_path, graph=None, method=method, features=VIEWS))
