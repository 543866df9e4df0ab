"""`score` of the estimators: a refused row is wrong, whatever its labels are made of."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV

from ssl_dask.estimators import LabelPropagation, LabelSpreading

BOTH = pytest.mark.parametrize("Classifier", [LabelSpreading, LabelPropagation])
WORDS = np.array(["ham", "spam"], dtype=object)


def three_clouds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 120 rows in 3 clouds that no edge joins, their classes, and 4 + 4 + 0 labels."""
    random = np.random.default_rng(0)
    cloud = np.repeat([0, 1, 2], 40)
    X = np.array([[0.0, 0.0], [50.0, 0.0], [500.0, 500.0]])[cloud] + random.normal(size=(120, 2))
    truth = np.where(cloud == 2, np.arange(120) % 2, cloud)
    y = np.full(120, -1)
    for c in (0, 1):
        y[np.flatnonzero(cloud == c)[:4]] = c
    return X, truth, y


def in_words(codes: np.ndarray) -> np.ndarray:
    return np.where(codes < 0, None, WORDS[codes])


@BOTH
@pytest.mark.parametrize("words", [False, True])
def test_rows_of_an_unreachable_cloud_are_wrong(
    Classifier: Any, words: bool, cluster_client: Client
) -> None:
    X, truth, y = three_clouds()
    if words:
        truth, y = in_words(truth), in_words(y)
    model = Classifier(n_neighbors=5).fit(X, y)
    refused = model.predict_proba(X).sum(axis=1) == 0
    np.testing.assert_array_equal(refused, np.arange(120) >= 80)
    assert model.score(X, truth) == pytest.approx(2 / 3)
    assert model.score(X[80:], truth[80:]) == 0.0
    assert model.score(X[:80], truth[:80]) == accuracy_score(
        list(truth[:80]), list(model.predict(X[:80]))
    )
    assert model.score(X[:80], truth[:80]) == 1.0
    weights = np.where(refused, 3.0, 1.0)
    assert model.score(X, truth, sample_weight=weights) == pytest.approx(80 / 200)
    chunks = da.from_array(X, chunks=(50, 2)), da.from_array(truth, chunks=70)
    assert model.score(*chunks) == model.score(X, truth)
    model.set_params(client=cluster_client)
    assert model.score(*chunks, weights) == pytest.approx(80 / 200)


@pytest.mark.parametrize("words", [False, True])
def test_rows_without_a_truth_are_left_out(words: bool) -> None:
    X, truth, y = three_clouds()
    known = np.where(np.arange(120) % 3 == 0, truth, -1)
    if words:
        known, y = in_words(known), in_words(y)
    model = LabelSpreading(n_neighbors=5).fit(X, y)
    # 27 of the 40 known rows are in the clouds that labels reach.
    assert model.score(X, known) == pytest.approx(27 / 40)
    weights = np.arange(120) % 3 + 1.0
    assert model.score(X, known, weights) == pytest.approx(27 / 40)
    with pytest.raises(ValueError, match="no labelled rows"):
        model.score(X[1:3], known[1:3])


def test_a_class_that_fit_has_not_seen_is_wrong() -> None:
    X, truth, y = three_clouds()
    model = LabelSpreading(n_neighbors=5).fit(X, in_words(y))
    # One name before the classes, one between, one after.
    for name in ("bread", "jam", "tea"):
        other = in_words(truth)
        other[:20] = name
        assert model.score(X[:80], other[:80]) == pytest.approx(60 / 80)


def test_what_cannot_be_scored() -> None:
    X, truth, y = three_clouds()
    model = LabelSpreading(n_neighbors=5).fit(X, in_words(y))
    with pytest.raises(ValueError, match="of type int64, but the classes are object"):
        model.score(X, truth)
    with pytest.raises(ValueError, match="X has 120, y has 119"):
        model.score(X, in_words(truth)[1:])
    with pytest.raises(ValueError, match="sample_weight has 119 values and X 120"):
        model.score(X, in_words(truth), np.ones(119))


@BOTH
def test_a_search_where_rows_are_refused(Classifier: Any) -> None:
    X, truth, y = three_clouds()
    # The search fits on the few labels and judges by rows of all clouds, whose truth it knows.
    train = np.arange(120)
    test = np.arange(120, 240)
    both = np.concatenate([in_words(y), in_words(truth)])
    search = GridSearchCV(
        Classifier(), {"n_neighbors": [3, 5]}, cv=[(train, test)], error_score="raise", refit=False
    )
    search.fit(np.concatenate([X, X + 0.01]), both)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], 2 / 3)
