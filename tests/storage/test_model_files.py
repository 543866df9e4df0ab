"""Stored models: the same answers again, and nothing but them comes out of a file."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import skops.io
from sklearn.cluster import Birch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from ssl_dask.errors import InputDataError, JobSpecError, StorageError
from ssl_dask.pipeline.models.model_types import own_types
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners.known_learners import LEARNERS
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_method import Piece
from ssl_dask.storage.runs.manifest import MODELS_FOLDER, CommittedRun, Manifest, fingerprint
from ssl_dask.storage.runs.model_files import (
    ModelFile,
    NotStorableError,
    model_bytes,
    model_records,
    read_model,
    write_file,
    write_model,
)
from tests.made_learners import Locked, NearestMean

RUN = "20260131T235959123456Z-0a1b2c3d"
QUICK: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 5},
    "hist_gradient_boosting": {"max_iter": 3},
    "mlp": {"hidden_layer_sizes": [4], "max_iter": 60, "learning_rate_init": 0.02},
}


MADE_OF_ROWS = ("svm", "knn")
"""Learners that keep rows: of sparse ones other types."""


def fitted(name: str, *, sparse: bool, parameters: dict[str, Any]) -> tuple[FittedLearner, Any]:
    X, y = load_digits(return_X_y=True)
    rows = X[:, 18:46].astype(np.float32) / 16
    rows = sp.csr_array(rows) if sparse else rows
    n = 120
    ones, seeds = np.ones(n, dtype=np.float32), np.ones(n, dtype=np.bool_)
    piece = Piece(np.arange(n), rows[:n], y[:n].astype(np.int32), ones, seeds)
    learner = learner_of(LearnerSpec(name=name, parameters=parameters))
    return learner.fit([piece], 11, (0, 0, 1, 0)), rows


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    (tmp_path / MODELS_FOLDER).mkdir()
    return tmp_path


def run_of(stage: Path, *contents: bytes) -> CommittedRun:
    """Return a run whose models are files of these contents, as its manifest says."""
    parts = []
    for number, content in enumerate(contents):
        part = write_file(stage, RUN, number, f"learner-{number}-{RUN}.skops", content)
        os.rename(stage / MODELS_FOLDER / part.attempt, stage / MODELS_FOLDER / part.name)
        parts.append(part)
    Manifest(RUN, tuple(parts), (), fingerprint({}), {}).write(stage)
    return CommittedRun.load(stage)


def read(run: CommittedRun, types: frozenset[str] = own_types()) -> Any:
    (record,) = model_records(run).values()
    return read_model(run, record, types)


@pytest.mark.parametrize(
    ("name", "sparse"),
    [(name, False) for name in LEARNERS] + [(name, True) for name in MADE_OF_ROWS],
)
def test_models_of_every_learner_say_the_same_again(name: str, sparse: bool, stage: Path) -> None:
    model, rows = fitted(name, sparse=sparse, parameters=QUICK.get(name, {}))
    content, types = model_bytes(model, own_types(), ())
    assert types == ()
    again = read(run_of(stage, content))
    said = model.probabilities(rows)
    assert (said.argmax(axis=1) == said.argmax(axis=1)[0]).mean() < 0.5
    np.testing.assert_array_equal(again.probabilities(rows), said)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("knn", {"algorithm": "kd_tree", "metric": "manhattan"}),
        ("knn", {"algorithm": "ball_tree", "p": 3}),
        ("mlp", {"solver": "sgd", "max_iter": 5, "hidden_layer_sizes": [4]}),
        ("sgd", {"loss": "modified_huber"}),
    ],
)
def test_parameters_that_change_what_a_model_is_made_of(
    name: str, parameters: dict[str, Any], stage: Path
) -> None:
    model, rows = fitted(name, sparse=False, parameters=parameters)
    content, _ = model_bytes(model, own_types(), ())
    said = read(run_of(stage, content)).probabilities(rows)
    np.testing.assert_array_equal(said, model.probabilities(rows))


def test_types_of_other_modules_are_named_and_wanted() -> None:
    rows, codes = np.eye(4), np.array([0, 0, 1, 1])
    model = FittedLearner(NearestMean().fit(rows, codes), np.arange(2), 2, "rows", "near")
    name = "tests.made_learners.NearestMean"
    _, types = model_bytes(model, own_types(), ["tests"])
    assert types == (name,)
    # A name that only begins alike is another module.
    for modules in ((), ("test",), ("tests.made",)):
        with pytest.raises(NotStorableError, match=name):
            model_bytes(model, own_types(), modules)
    with pytest.raises(NotStorableError, match=r"it holds _thread\.lock"):
        model_bytes(Locked().fit(rows, codes), own_types(), ["tests"])
    with pytest.raises(NotStorableError, match="skops cannot store it"):
        model_bytes(Birch(), own_types(), ())


def test_what_cannot_be_stored_leaves_no_file(stage: Path) -> None:
    rows, codes = np.eye(4), np.array([0, 0, 1, 1])
    found = write_model(stage, RUN, 0, "learner", Locked().fit(rows, codes), own_types(), ["tests"])
    assert isinstance(found, str)
    assert not list((stage / MODELS_FOLDER).iterdir())
    good = write_model(stage, RUN, 0, "learner", LogisticRegression(), own_types(), ())
    assert isinstance(good, ModelFile)
    shutil.rmtree(stage / MODELS_FOLDER)
    with pytest.raises(StorageError, match="staging folder"):
        write_model(stage, RUN, 0, "learner", LogisticRegression(), own_types(), ())


# What somebody may put in the place of a model.


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return subprocess.check_call, ([sys.executable, "-c", f"open({str(self.canary)!r}, 'w')"],)


def crafted(canary: Path, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Return a sound skops file whose schema was changed."""
    source, target = io.BytesIO(skops.io.dumps({"C": LogisticRegression()})), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        schema = json.loads(old.read("schema.json"))
        change(schema)
        new.writestr("schema.json", json.dumps(schema))
    return target.getvalue()


def as_pickle(canary: Path) -> bytes:
    return pickle.dumps(Runs(canary))


def as_joblib(canary: Path) -> bytes:
    stream = io.BytesIO()
    joblib.dump(Runs(canary), stream)
    return stream.getvalue()


def as_function(canary: Path) -> bytes:
    return skops.io.dumps(functools.partial(subprocess.check_call, ["touch", str(canary)]))


def as_loss(canary: Path) -> bytes:
    """Name a module for a loss: versions of skops imported it before they looked at their list."""
    module = canary.with_name("made_canary.py")
    module.write_text(f"open({str(canary)!r}, 'w')\nclass Loss: pass\n")

    def change(schema: dict[str, Any]) -> None:
        inner = schema["content"]["C"]
        inner.update(
            {
                "__loader__": "LossNode",
                "__module__": "made_canary",
                "__class__": "Loss",
                "__reduce__": {"args": inner["content"]},
            }
        )

    return crafted(canary, change)


@pytest.mark.parametrize("make", [as_pickle, as_joblib, as_function, as_loss])
def test_nothing_runs_that_is_no_model(
    make: Callable[[Path], bytes], stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = stage / "canary"
    monkeypatch.syspath_prepend(str(stage))
    run = run_of(stage, make(canary))
    with pytest.raises((InputDataError, JobSpecError)) as caught:
        read(run)
    assert caught.value.exit_code in (2, 3)
    assert f"learner-0-{RUN}.skops" in str(caught.value)
    assert not canary.exists()


def test_the_canary_would_sing(stage: Path) -> None:
    canary = stage / "canary"
    pickle.loads(as_pickle(canary))  # noqa: S301
    assert canary.exists()


def test_types_beyond_the_list_are_refused_by_name(stage: Path) -> None:
    rows, codes = np.eye(4), np.array([0, 0, 1, 1])
    content = skops.io.dumps(NearestMean().fit(rows, codes))
    with pytest.raises(JobSpecError, match=r"not trusted: tests\.made_learners\.NearestMean"):
        read(run_of(stage, content))


def test_compressed_members_are_refused(stage: Path) -> None:
    # Zeros of a gigabyte pack into a megabyte.
    content = skops.io.dumps(LogisticRegression(), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputDataError, match="no model of this version"):
        read(run_of(stage, content))


def test_files_that_were_changed_or_lost_are_refused(stage: Path) -> None:
    run = run_of(stage, skops.io.dumps(LogisticRegression()))
    assert isinstance(read(run), LogisticRegression)
    assert run.verify() == []
    (path,) = (stage / MODELS_FOLDER).iterdir()
    # A sound file, but another one.
    path.write_bytes(skops.io.dumps(LogisticRegression(C=2.0)))
    with pytest.raises(InputDataError, match="SHA-256 differs"):
        read(run)
    assert len(run.verify()) == 1
    path.unlink()
    with pytest.raises(InputDataError, match="cannot be read"):
        read(run)


def test_a_file_cut_short_is_no_model(stage: Path) -> None:
    content = skops.io.dumps(LogisticRegression())[:-30]
    with pytest.raises(InputDataError, match="never pickles"):
        read(run_of(stage, content))
    run = CommittedRun.load(stage)
    (record,) = model_records(run).values()
    with pytest.raises(InputDataError, match="outside the run"):
        read_model(run, replace(record, name="../manifest.json"), own_types())
