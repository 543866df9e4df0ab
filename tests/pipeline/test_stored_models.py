"""The models of a run give its rows, and new ones, what the run would have given them."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import warnings
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from distributed import Client

from ssl_dask import StoredModels, load_models
from ssl_dask.cli import app
from ssl_dask.durable_files import seal
from ssl_dask.errors import InputDataError, JobSpecError
from ssl_dask.features import (
    categorical_columns,
    numeric_columns,
    optional_groups,
    text_columns,
    vector_columns,
)
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands.predict import predict_rows
from ssl_dask.pipeline.commands.run import RunResult, run_job
from ssl_dask.pipeline.commands.validate import validate_job
from ssl_dask.pipeline.models import stored_models
from ssl_dask.pipeline.models.model_types import own_types
from ssl_dask.pipeline.models.stored_models import description_name, read_models
from ssl_dask.process_end import exit_code
from ssl_dask.storage.runs.manifest import fingerprint
from ssl_dask.storage.runs.model_files import write_file
from ssl_dask.storage.runs.run_folder import OutputFolder
from tests.known_methods import ROUND_METHODS
from tests.made_job import (
    LACKING,
    NAMES,
    made_job,
    read_parts,
    rows_that_lack,
    with_column,
    write_rows,
)

VIEWS = {
    "numbers": {"numeric": ["a", "b", "c"], "optional": True},
    "words": {"text": "text", "n_features": 256, "optional": True},
    "kind": {"categorical": "kind"},
}
NEAR = "tests.made_learners.NearestMean"


def views_table(*, seed: int = 0) -> pa.Table:
    """Return rows of which some lack their numbers, some their text, some their kind."""
    table = rows_that_lack(seed=seed)
    rng = np.random.default_rng(seed)
    kinds = np.where(rng.random(320) < 0.5, table["truth"].to_numpy(), "other").astype(object)
    return with_column(table, "kind", pa.array(kinds, mask=rng.random(320) < 0.1))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows", views_table())


def models_job(rows: Path, out: Path, **more: Any) -> dict[str, Any]:
    job = made_job(rows, out, graph=None, **more)
    job["output"] |= {"models": True, "probabilities": True}
    # A baseline in the method's place would leave no models.
    job["decision"] = {"on_worse": "publish", **job.get("decision", {})}
    return job


@pytest.fixture(scope="module")
def found(
    rows: Path, tmp_path_factory: pytest.TempPathFactory, cluster_client: Client
) -> RunResult:
    """A run of three views: trees on numbers, Bayes on words, regression on kinds."""
    trees = {"name": "random_forest", "parameters": {"n_estimators": 10}}
    learners = {"numbers": trees, "words": {"name": "multinomial_nb"}}
    method = {"name": "multi_view", "max_iter": 1, "learners": learners}
    out = tmp_path_factory.mktemp("run") / "out"
    # Without folds nothing is calibrated: what is written is F itself.
    judged = {"folds": 0, "baseline": False}
    job = models_job(rows, out, method=method, features=VIEWS, evaluation=judged)
    job["decision"] = {"min_probability": 0.7}
    job["output"]["columns"] = ["b"]
    return run_job(job, client=cluster_client)


def written(run: Path, models: StoredModels) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the probabilities that a run wrote, and which rows are no seeds."""
    table = read_parts(run)
    p = np.column_stack([table[f"p_{value}"].to_numpy() for value in models.classes_])
    return p, np.array([source != "seed" for source in table["source"].to_pylist()])


def test_stored_models_say_what_the_run_said(found: RunResult) -> None:
    models = load_models(found.path)
    assert models.classes_.tolist() == list(NAMES)
    assert not models.calibration.calibrated
    F, free = written(found.path, models)
    table = views_table()
    said = models.label_distributions(table)
    np.testing.assert_array_equal(said[free], F[free])
    # Rows without any view that is known have no class; the others have different ones.
    assert set(np.unique(said[free].argmax(axis=1))) == {0, 1, 2}
    assert len(np.unique(said, axis=0)) > 100
    columns = {name: table[name].to_pylist() for name in models.columns}
    np.testing.assert_array_equal(models.label_distributions(columns), said)
    np.testing.assert_array_equal(models.label_distributions(table.to_pandas()), said)
    np.testing.assert_array_equal(models.predict_proba(table), said)
    labels = read_parts(found.path)["label"].to_pylist()
    given = models.predict(table)
    assert [a for a, new in zip(given, free, strict=True) if new] == [
        a for a, new in zip(labels, free, strict=True) if new
    ]
    assert None in given.tolist()
    assert models.label_distributions(table.slice(0, 0)).shape == (0, 3)
    assert models.run.root == found.path.parent.parent
    assert models.notes == ()


def test_other_versions_of_the_libraries_are_told(
    found: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = {**stored_models.versions(), "scikit-learn": "99.1"}
    monkeypatch.setattr(stored_models, "versions", lambda: now)
    with pytest.warns(UserWarning, match=r"made with scikit-learn \d.*now 99\.1"):
        load_models(found.path)


def test_models_without_a_profile_say_so_and_label(
    found: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept_before(*args: Any) -> Any:
        return read(*args).model_copy(update={"answered": None})

    read = stored_models._description
    monkeypatch.setattr(stored_models, "_description", kept_before)
    with pytest.warns(UserWarning, match="without a profile of the run's rows.*run the job again"):
        models = load_models(found.path)
    rows = views_table(seed=5)
    # Numbers that were compared would be told.
    strange = with_column(rows, "a", pc.multiply(rows["a"], 1e6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(models.predict(strange)) == len(rows)


def test_the_command_labels_rows_as_the_run_did(
    found: RunResult,
    rows: Path,
    tmp_path: Path,
    cluster_client: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ["--cluster", cluster_client.scheduler.address, "--json-logs"]
    command = ["predict", str(found.path.parent.parent), str(rows), "-o", str(tmp_path / "new")]
    assert exit_code(app, [*command, *place]) == 0
    shown = capsys.readouterr()
    path = Path(shown.out.splitlines()[0])
    n_labelled = sum(label is not None for label in read_parts(path)["label"].to_pylist())
    assert re.search(rf"^labelled +{n_labelled} *$", shown.out, re.MULTILINE)
    assert any(json.loads(line)["event"] == "run_done" for line in shown.err.splitlines())
    ours, theirs = read_parts(path), read_parts(found.path)
    assert ours.schema.equals(theirs.schema)
    free = [i for i, source in enumerate(theirs["source"].to_pylist()) if source != "seed"]
    for name in theirs.column_names:
        if name == "source":
            assert set(ours[name].to_pylist()) == {"model", None}
        else:
            assert ours[name].take(free).equals(theirs[name].take(free)), name
    assert set(ours["reason"].to_pylist()) >= {"below_threshold", None}
    assert exit_code(app, [*command, *place]) == 0
    assert "already done" in capsys.readouterr().out
    assert exit_code(app, ["report", str(tmp_path / "new")]) == 6
    assert "predictions has no report" in capsys.readouterr().err

    # Nothing of a run that was tampered with is used, and nothing is written.
    copied = tmp_path / "copy" / found.run_id
    shutil.copytree(found.path, copied)
    next((copied / "models").glob("learner-*")).write_bytes(pickle.dumps("no model"))
    bad = ["predict", str(copied), str(rows), "-o", str(tmp_path / "bad"), *place]
    assert exit_code(app, bad) == 3
    words = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert "SHA-256" in words["message"]
    assert "learner-" in words["file"]
    assert not (tmp_path / "bad").exists()


def test_new_rows_must_have_the_columns_in_types_that_serve(
    found: RunResult, rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    models = load_models(found.path)
    table = views_table()
    with pytest.raises(InputDataError, match=r"'text'.*no such column"):
        models.predict(table.drop_columns(["text"]))
    wrong = with_column(table, "a", table["text"])
    with pytest.raises(InputDataError, match=r"'a'.*where numbers are wanted"):
        models.predict(wrong)
    with pytest.raises(InputDataError, match="differ in their rows"):
        models.predict(
            {name: table[name].to_pylist()[: 3 + i] for i, name in enumerate("abc")}
            | {"text": ["x"], "kind": ["y"]}
        )
    lacking = write_rows(tmp_path / "lacking", table.drop_columns(["text"]))
    with pytest.raises(InputDataError, match=r"'text'.*no such column"):
        predict_rows(found.path, str(lacking), tmp_path / "out", client=cluster_client)
    out = found.path.parent.parent
    for own in (out, out / "latest", found.path / "new"):
        with pytest.raises(JobSpecError, match=r"run whose models are used.*as --output"):
            predict_rows(found.path, str(rows), own, client=cluster_client)


def test_categories_that_the_models_do_not_know_are_told(
    found: RunResult, tmp_path: Path, cluster_client: Client
) -> None:
    models, table = load_models(found.path), views_table()
    kinds = table["kind"].to_pylist()
    spelled = [kind if kind is None else kind.upper() for kind in kinds]
    strange = with_column(table, "kind", spelled)
    with pytest.raises(InputDataError, match="none of the categories") as caught:
        models.predict(strange)
    assert caught.value.exit_code == 3
    mixed = with_column(table, "kind", [*spelled[:100], *kinds[100:]])
    n = sum(kind is not None for kind in spelled[:100])
    with pytest.warns(UserWarning, match=rf"'kind': of \d+ categories {n} are unknown"):
        said = models.label_distributions(mixed)
    blank = [kind is not None for kind in spelled[:100]] & LACKING[:, :100].all(axis=0)
    assert 0 < blank.sum() < 100
    assert not said[:100][blank].any()
    new = write_rows(tmp_path / "new", mixed)
    out = predict_rows(found.path, str(new), tmp_path / "out", client=cluster_client)
    (told,) = [one for one in out.summary["warnings"] if "'kind'" in one]
    assert f"{n} are unknown" in told
    (drift,) = [one for one in out.summary["drift"]["columns"] if one["column"] == "kind"]
    assert "categories are unknown" in drift["differs"][-1]
    answers = read_parts(out.path)["label"].to_pylist()
    assert all(answers[i] is None for i in np.flatnonzero(blank))


def test_models_of_an_older_version_are_refused(tmp_path: Path) -> None:
    with OutputFolder.open(tmp_path / "out", inputs=[], keep_runs=1) as output:
        name = description_name(output.run_id)
        old = write_file(
            output.stage, output.run_id, 0, name, seal({"format_version": 1, "job": {}})
        )
        run = output.commit(
            [old], {}, expected_rows=0, fingerprint=fingerprint({}), versions={"ssl_dask": "0.1.0"}
        )
    with pytest.raises(InputDataError, match="older version") as error:
        read_models(run, ())
    (problem,) = error.value.problems
    assert problem.file == str(run.path / "models" / name)
    assert problem.hint == "run the job again"


def test_models_are_asked_for_where_there_are_some(rows: Path, tmp_path: Path) -> None:
    job = made_job(rows, tmp_path / "out")
    job["output"]["models"] = True
    with pytest.raises(JobSpecError, match=r"label_spreading leaves no models.*self_training"):
        resolve_job(job)


def test_learners_that_cannot_be_stored_are_refused_before_the_work(
    rows: Path, tmp_path: Path
) -> None:
    for name in (NEAR, "tests.made_learners.Locked"):
        method = {"name": "self_training", "learner": {"name": name}}
        spec = resolve_job(models_job(rows, tmp_path / "out", method=method))
        if name == NEAR:
            assert validate_job(spec, schema_only=True, trust_modules=["tests"])
            continue
        with pytest.raises(JobSpecError, match=r"Locked cannot be stored.*_thread\.lock"):
            validate_job(spec, schema_only=True, trust_modules=["tests"])
    categories = {"name": "hist_gradient_boosting", "parameters": {"categorical_features": [0]}}
    method = {"name": "self_training", "learner": categories}
    spec = resolve_job(models_job(rows, tmp_path / "out", method=method))
    with pytest.raises(JobSpecError, match=r"cannot be stored.*functools\.partial"):
        run_job(spec)


def test_all_that_runs_store_is_on_the_list() -> None:
    columns = categorical_columns, numeric_columns, text_columns, vector_columns
    fitted = {
        one
        for module in (*columns, optional_groups)
        for name, one in vars(module).items()
        if name.endswith("Transform") and one.__module__ == module.__name__ and is_dataclass(one)
    }
    methods = {method.rounds for method in ROUND_METHODS.values()}
    assert len(fitted) == 7
    assert len(methods) == 7
    assert {f"{one.__module__}.{one.__name__}" for one in fitted | methods} <= own_types()


NUMBERS = {
    "numbers": {"numeric": ["a", "b", "c"], "scale": "none", "missing": "zero", "n_components": 3}
}
SCALED = {"numbers": {"numeric": ["a", "b", "c"], "missing": "indicator", "n_components": 3}}
WORDS = {"words": {"text": "text", "n_features": 256, "missing": "empty"}}
FORESTS = {"name": "random_forest", "parameters": {"n_estimators": 5}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "features"),
    [
        ({"name": "self_training"}, NUMBERS | {"kind": {"categorical": "kind"}}),
        ({"name": "self_training", "learner": {"name": "mlp"}}, SCALED),
        ({"name": "semi_supervised_nb"}, WORDS),
        ({"name": "co_training", "patience": 2}, NUMBERS | WORDS),
        ({"name": "co_training", "learner": FORESTS}, NUMBERS),
        ({"name": "tri_training", "learner": FORESTS, "voting": "hard"}, NUMBERS),
        ({"name": "democratic_co_learning"}, NUMBERS),
        ({"name": "democratic_co_learning", "voting": "hard"}, NUMBERS),
        ({"name": "co_forest", "n_estimators": 5}, NUMBERS),
        ({"name": "multi_view", "fusion": "equal"}, VIEWS),
        ({"name": "self_training", "learner": {"name": NEAR}, "mass": 1.0}, NUMBERS),
    ],
)
def test_models_of_every_method(
    method: dict[str, Any],
    features: dict[str, Any],
    rows: Path,
    tmp_path: Path,
    cluster_client: Client,
) -> None:
    method = {"max_iter": 2, "patience": None, **method}
    job = models_job(rows, tmp_path / "out", method=method, features=features)
    run = run_job(job, client=cluster_client, trust_modules=["tests"])
    assert run.report.calibration.calibrated
    if method.get("learner", {}).get("name") == NEAR:
        with pytest.raises(JobSpecError, match=rf"not trusted: {NEAR}.*--trust-module tests"):
            load_models(run.path)
    models = load_models(run.path, ["tests"])
    p, free = written(run.path, models)
    table = views_table()
    np.testing.assert_array_equal(models.predict_proba(table)[free], p[free])
    assert (models.predict_proba(table) != models.label_distributions(table)).any()
    # In files of another cut, on a cluster: the same, and the same again whatever the blocks.
    other = write_rows(tmp_path / "other", table, files=1, group_rows=67)
    more = {"client": cluster_client, "trust_modules": ["tests"]}
    new = predict_rows(run.path, str(other), tmp_path / "new", **more)
    np.testing.assert_array_equal(written(new.path, models)[0], models.predict_proba(table))
    # Rows that no run has seen.
    unseen = views_table(seed=5)
    fresh = write_rows(tmp_path / "fresh", unseen)
    first = predict_rows(run.path, str(fresh), tmp_path / "first", **more)
    labels, (said, _) = read_parts(first.path), written(first.path, models)
    np.testing.assert_array_equal(said, models.predict_proba(unseen))
    assert len(np.unique(said, axis=0)) > 4
    assert set(labels["source"].to_pylist()) <= {"model", None}
    assert len(set(labels["label"].to_pylist()) - {None}) > 1
