"""Jobs that label in rounds: the whole way, and what the command line says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from ssl_dask import load_models
from ssl_dask.errors import InputDataError, JobSpecError
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.commands.validate import validate_job
from ssl_dask.report.html_page import render_page
from ssl_dask.report.run_report import RunReport
from tests.made_job import Heard, answer, assert_useful, made_job, made_rows, write_rows

COMPLEMENT = "sklearn.naive_bayes.ComplementNB"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows", made_rows())


def rounds_job(rows: Path, out: Path, **method: Any) -> dict[str, Any]:
    method = {"name": "self_training", "criterion": "k_best", "k_best": 60, "max_iter": 3} | method
    words = {"words": {"text": "text", "n_features": 1024}}
    decision = {"on_worse": "publish"}
    return made_job(rows, out, graph=None, features=words, method=method, decision=decision)


def test_a_job_labels_in_rounds_and_tells_of_them(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    heard = Heard()
    job = rounds_job(rows, tmp_path / "out", patience=None)
    result = run_job(job, client=cluster_client, listener=heard)
    assert_useful(result.path)
    assert "self_labeled" in heard.stages
    assert "graph" not in heard.stages
    assert [one["iteration"] for one in heard.named("checkpoint_written")] == [1, 2, 3]
    method = result.report.method
    assert next(sum(one.labeled or ()) for one in method.rounds) == 60
    assert method.converged is None
    assert method.self_labeled.kept_round == 3
    assert 0.3 < (method.self_labeled.baseline_accuracy or 0.0) <= 1.0
    assert set(result.report.decision.sources) == {"seed", "self_trained"}
    again = RunReport.from_json(result.report.to_json())
    assert again.method.rounds == method.rounds
    page = render_page(again)
    assert "What each round did" in page
    assert "seeds alone" in page

    blocks = rounds_job(rows, tmp_path / "blocks", patience=None)
    blocks["input"]["block_rows"] = 50
    assert answer(run_job(blocks, client=cluster_client).path) == answer(result.path)


def test_what_hidden_seeds_speak_against_is_not_taken(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    # A threshold that no row passes: nothing is learned, and the seeds alone answer.
    job = rounds_job(rows, tmp_path / "out", criterion="threshold", threshold=0.999, k_best=10)
    result = run_job(job, client=cluster_client)
    assert set(result.report.decision.sources) == {"seed", "supervised"}
    assert any("seeds alone" in text for text in result.report.warnings)
    with pytest.raises(InputDataError, match=r"kept no models.*output\.models: true"):
        load_models(result.path)


def test_plan_and_schema_know_the_method(rows: Path, tmp_path: Path) -> None:
    told = dict(plan_job(resolve_job(rounds_job(rows, tmp_path / "out"))))
    assert told["method"].startswith("self_training: up to 3 rounds")
    assert "graph" not in told


def test_what_suits_no_job_of_the_method_is_found_before_it_runs(
    rows: Path, tmp_path: Path
) -> None:
    shares = {"criterion": "threshold", "k_best": 10, "class_shares": {"a": 0.5, "b": 0.5}}
    pieces = {"name": "sgd", "partial_fit": True}
    for method, message in (
        (shares, "method.class_shares: shares are given for 2 classes"),
        ({"name": "tri_training", "learner": pieces}, "method.learner.partial_fit"),
    ):
        job = rounds_job(rows, tmp_path / "out")
        job["method"] = method if "name" in method else job["method"] | method
        spec = resolve_job(job)
        with pytest.raises(JobSpecError, match=message):
            validate_job(spec)
    with pytest.raises(JobSpecError, match="knn has no partial_fit"):
        resolve_job(rounds_job(rows, tmp_path / "out", learner=pieces | {"name": "knn"}))


DENSE, ANY = {"name": "gaussian_nb"}, {"name": "multinomial_nb"}


@pytest.mark.parametrize(
    ("method", "sound"),
    [
        ({"name": "self_training", "learner": DENSE}, False),
        ({"name": "self_training", "learner": ANY}, True),
        ({"name": "multi_view", "learner": DENSE}, False),
        ({"name": "multi_view", "learner": DENSE, "learners": {"words": ANY}}, True),
        ({"name": "co_training", "learner": DENSE, "second_learner": ANY}, True),
        ({"name": "co_training", "learner": ANY, "second_learner": DENSE}, False),
        ({"name": "democratic_co_learning", "learners": [ANY, {"name": "knn"}, DENSE]}, False),
    ],
)
def test_learners_of_dense_rows_are_not_given_texts(
    method: dict[str, Any], sound: bool, rows: Path, tmp_path: Path
) -> None:
    numbers, words = {"numeric": ["a", "b", "c"]}, {"text": "text", "n_features": 1024}
    job = made_job(rows, tmp_path / "out", graph=None, method=method)
    spec = resolve_job(job | {"features": {"numbers": numbers, "words": words}})
    if sound:
        assert validate_job(spec, schema_only=True)
        return
    for use in (validate_job, plan_job, run_job):
        with pytest.raises(JobSpecError, match=r"gaussian_nb takes dense rows .* features\.words"):
            use(spec)


def test_classes_of_other_modules_must_be_trusted(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    learner = {"name": COMPLEMENT, "partial_fit": True}
    job = rounds_job(rows, tmp_path / "out", learner=learner, max_iter=1, max_fit_rows=40)
    spec = resolve_job(job)
    for use in (validate_job, plan_job, run_job):
        with pytest.raises(JobSpecError, match="--trust-module sklearn"):
            use(spec)
    assert validate_job(spec, schema_only=True, trust_modules=["sklearn"])
    told = dict(plan_job(spec, trust_modules=["sklearn"]))["memory of the method"]
    assert "the rows and models of fits" in told
    result = run_job(spec, client=cluster_client, trust_modules=["sklearn"])
    assert_useful(result.path)
    # Forty rows are a piece, and there are more: the class learns from one after the other.
    assert (result.report.method.rounds[-1].notes or {})["pieces_fitted"] >= 2
