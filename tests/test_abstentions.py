"""Every estimator says which rows it gave no label, and why."""

from __future__ import annotations

import warnings
from typing import Any

import dask.array as da
import numpy as np
import pytest

from ssl_dask import estimators as ours

GRAPH = {"none", "tie", "low_mass", "dummy_label"}
ROUNDS = {"none", "below_threshold"}
FEW = {"n_neighbors": 4}
KINDS: list[tuple[str, dict[str, Any], set[str]]] = [
    *((name, FEW, GRAPH) for name in ("LabelSpreading", "BalancedSpreading", "ModifiedAdsorption")),
    *((name, FEW, GRAPH) for name in ("PoissonLearning", "PoissonMBO", "LabelPropagation")),
    ("GraphEnsemble", FEW, GRAPH),
    ("AnchorGraph", {"n_anchors": 20}, GRAPH),
    ("HarmonicRegressor", FEW, {"none", "no_path_to_seed"}),
    ("LabelPropagationRegressor", FEW, {"none", "no_path_to_seed"}),
    *((name, {"n_folds": 0}, ROUNDS) for name in ("CoForestClassifier", "TriTrainingClassifier")),
    ("DemocraticCoLearningClassifier", {"n_folds": 0}, ROUNDS),
    ("CoTrainingClassifier", {"n_folds": 0, "max_iter": 3}, ROUNDS),
    ("MultiViewClassifier", {"n_folds": 0, "max_iter": 3}, ROUNDS),
    ("SelfTrainingClassifier", {"n_folds": 0, "max_iter": 1}, ROUNDS),
    ("SemiSupervisedNB", {"n_folds": 0}, ROUNDS),
]


def test_the_table_holds_every_estimator() -> None:
    assert {name for name, _, _ in KINDS} == set(ours.__all__)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Two clouds with five seeds each, and a third one without seeds."""
    rng, truth = np.random.default_rng(0), np.arange(180) % 3
    X = np.abs(rng.normal(size=(180, 4)) + 8.0 * truth[:, None])
    return X, np.where((np.arange(180) < 15) & (truth < 2), truth, -1)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("name", "parameters", "words"), KINDS, ids=[kind[0] for kind in KINDS])
def test_each_row_without_a_label_has_a_reason(
    rows: tuple[np.ndarray, np.ndarray],
    name: str,
    parameters: dict[str, Any],
    words: set[str],
    chunked: bool,
) -> None:
    X, y = rows
    numbers = "Regressor" in name
    target = np.where(y < 0, np.nan, y).astype(float) if numbers else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(ours, name)(**parameters)
        model.fit(da.from_array(X, chunks=(70, 4)) if chunked else X, target)
    labels, abstained, reasons = (
        np.asarray(one) for one in (model.transduction_, model.abstained_, model.reasons_)
    )
    without = np.isnan(labels) if numbers else labels == -1
    np.testing.assert_array_equal(abstained, without)
    np.testing.assert_array_equal(reasons != "none", without)
    assert set(reasons.tolist()) <= words
    assert abstained.dtype == bool
    if words is GRAPH and name not in ("AnchorGraph", "GraphEnsemble", "ModifiedAdsorption"):
        assert set(reasons[np.arange(180) % 3 == 2].tolist()) == {"low_mass"}


def test_rounds_that_leave_most_rows_say_how_many(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    with pytest.warns(UserWarning, match=r"\d+ of 170 unlabelled rows got no label in any round"):
        model = ours.SelfTrainingClassifier(n_folds=0, threshold=0.99999).fit(X, y)
    assert model.abstained_.sum() > 85
    assert (model.predict(X) != -1).all()
