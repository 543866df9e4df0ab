"""The classifiers of rounds: which may be used, and that a row is scored alike in any block."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from ssl_dask.errors import JobSpecError, QualityError
from ssl_dask.kernels.arithmetic.linear_scores import BATCH_ROWS, score_batches
from ssl_dask.kernels.learners.row_samples import copies_by_weight, weight_unit
from ssl_dask.self_labeled.learners.known_learners import LEARNERS
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.rows.block_rows import Piece

Arrays = tuple[np.ndarray, ...]

QUICK: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 20},
    "hist_gradient_boosting": {"max_iter": 5},
    "mlp": {"hidden_layer_sizes": [16], "max_iter": 400},
}


@pytest.fixture(scope="module")
def digits() -> Arrays:
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y.astype(np.int32)


def piece(X: Any, y: np.ndarray, weights: np.ndarray | None = None) -> Piece:
    w = np.ones(len(y), np.float32) if weights is None else weights.astype(np.float32)
    return Piece(np.arange(len(y)), X, y, w, np.ones(len(y), dtype=np.bool_))


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_row_is_scored_alike_in_any_block(name: str, digits: Arrays) -> None:
    X, y = digits
    learner = learner_of(LearnerSpec(name=name, parameters=QUICK.get(name, {})))
    model = learner.fit([piece(X[:150], y[:150]), piece(X[150:200], y[150:200])], 11, (0, 0, 1, 0))
    whole = model.probabilities(X, 0)
    assert whole.shape == (1797, 11)
    assert (whole[:, 10] == 0).all()
    np.testing.assert_allclose(whole.sum(axis=1), 1.0, atol=1e-5)
    assert (whole.argmax(axis=1) == y).mean() > 0.6
    for cuts in ([0, 3, 4, 900, 1797], [0, 1100, 1101, 1797]):
        parts = [model.probabilities(X[a:b], a) for a, b in itertools.pairwise(cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    # Neighbours are of no account: other values beside a row leave it as it is.
    other = X.copy()
    other[::2] = 1.0 - other[::2]
    np.testing.assert_array_equal(model.probabilities(other, 0)[1::2], whole[1::2])


@pytest.mark.parametrize("name", [name for name, one in LEARNERS.items() if one.sparse])
def test_sparse_rows(name: str, digits: Arrays) -> None:
    X, y = digits
    learner = learner_of(LearnerSpec(name=name, parameters=QUICK.get(name, {})))
    rows = sp.csr_array(X)
    model = learner.fit([piece(rows[:300], y[:300])], 10, (0, 0, 1, 0))
    whole = model.probabilities(rows, 0)
    parts = [model.probabilities(rows[a : a + 500], a) for a in range(0, 1797, 500)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.argmax(axis=1) == y).mean() > 0.7


@pytest.mark.parametrize("name", [name for name, one in LEARNERS.items() if not one.sparse])
def test_dense_learners_say_so(name: str, digits: Arrays) -> None:
    X, y = digits
    with pytest.raises(QualityError, match="could not be fitted"):
        learner_of(LearnerSpec(name=name)).fit([piece(sp.csr_array(X), y)], 10, (0, 0, 1, 0))


def test_the_same_key_gives_the_same_model(digits: Arrays) -> None:
    X, y = digits
    learner = learner_of(LearnerSpec(name="random_forest", parameters={"n_estimators": 5}))
    fits = [
        learner.fit([piece(X[:300], y[:300])], 10, key).probabilities(X)
        for key in ((0, 0, 1, 0), (0, 0, 1, 0), (0, 0, 2, 0))
    ]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert (fits[0] != fits[2]).any()


def test_weights_reach_the_model(digits: Arrays) -> None:
    X, y = digits
    learner = learner_of(LearnerSpec())
    weights = np.where(np.arange(400) < 200, 1.0, 0.25)
    light = learner.fit([piece(X[:400], y[:400], weights)], 10, (0,)).probabilities(X)
    heavy = learner.fit([piece(X[:400], y[:400])], 10, (0,)).probabilities(X)
    assert np.abs(light - heavy).max() > 1e-3


def test_rows_are_drawn_by_weight_for_a_learner_without_weights(digits: Arrays) -> None:
    X, y = digits
    rows, given = np.arange(1797), np.arange(1797) < 100
    weights = np.where(given, 2.0, 0.5).astype(np.float32)
    weights[1000:] = 3.0
    copies = copies_by_weight(rows, weights, given, weight_unit(2.0, 3.0), 0, 0)
    assert (copies[:100] == 1).all()
    assert copies[100:1000].mean() == pytest.approx(0.25, abs=0.05)
    assert set(copies[1000:].tolist()) == {1, 2}
    assert copies[1000:].mean() == pytest.approx(1.5, abs=0.06)
    heavier = copies_by_weight(rows, weights * 1.2, given, 2.0, 0, 0)
    assert (heavier >= copies).all()
    parts = [
        copies_by_weight(rows[a:b], weights[a:b], given[a:b], 2.0, 0, 0)
        for a, b in ((0, 700), (700, 1797))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), copies)
    # A seed that weighs next to nothing does not multiply the others.
    assert weight_unit(1e-6, 1.0) == 0.1
    learner = learner_of(LearnerSpec(name="knn"))
    assert not learner.takes_weights
    model = learner.fit([Piece(rows, X, y, weights, given)], 10, (0, 0, 1, 0))
    taken = np.repeat(rows, copies)
    by_hand = KNeighborsClassifier().fit(X[taken], y[taken])
    np.testing.assert_array_equal(model.probabilities(X), by_hand.predict_proba(X))


@pytest.mark.parametrize("light", [0, 1, 2])
def test_a_class_of_which_no_row_is_drawn_is_not_seen(light: int) -> None:
    # Its rows are light, and none is a seed: the others have a view that its seeds lack.
    X = np.random.default_rng(0).random((22, 3)).astype(np.float32)
    y = np.repeat(np.setdiff1d([0, 1, 2], [light]), 10).astype(np.int32)
    y = np.append(y, [light, light]).astype(np.int32)
    weights, given = np.ones(22, dtype=np.float32), np.ones(22, dtype=np.bool_)
    weights[20:], given[20:] = 0.001, False
    assert not copies_by_weight(np.arange(22), weights, given, 0.1, 0, 0)[20:].any()
    learner = learner_of(LearnerSpec(name="knn"))
    model = learner.fit([Piece(np.arange(22), X, y, weights, given)], 3, (0, 0, 1, 0))
    expected = KNeighborsClassifier().fit(X[:20], y[:20]).predict_proba(X)
    found = model.probabilities(X)
    assert (found[:, light] == 0).all()
    np.testing.assert_array_equal(np.delete(found, light, axis=1), expected)
    alone = learner.fit([Piece(np.arange(12), X[10:], y[10:], weights[10:], given[10:])], 3, (0, 0))
    assert (alone.probabilities(X).argmax(axis=1) == y[10]).all()


class Numberless(GaussianNB):
    """Says of rows whose first feature is above 1 what is no number."""

    def predict_proba(self, X: Any) -> Any:
        p = super().predict_proba(X)
        p[X[:, 0] > 1.0] = np.nan
        return p


def test_what_is_no_number_is_refused_by_the_learners_name(digits: Any) -> None:
    X, y = digits
    model = Learner.of_estimator(Numberless()).fit([piece(X[:300], y[:300])], 10, (0,))
    assert np.isfinite(model.probabilities(X[:300])).all()
    X = X.copy()
    X[5, 0] = 2.0
    with pytest.raises(QualityError, match=r"Numberless .* no numbers to 1 of 300 rows"):
        model.probabilities(X[:300])


def test_one_class_is_given_to_all(digits: Arrays) -> None:
    X, _ = digits
    model = learner_of(LearnerSpec()).fit([piece(X[:2], np.array([3, 3], np.int32))], 5, (0,))
    np.testing.assert_array_equal(model.probabilities(X)[:, 3], np.ones(1797))


def test_unknown_names_and_parameters_are_told_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match="did you mean 'random_forest'"):
        LearnerSpec(name="random_forrest")
    with pytest.raises(ValidationError, match="did you mean 'n_estimators'"):
        LearnerSpec(name="random_forest", parameters={"n_estimator": 5})
    with pytest.raises(ValidationError, match="no parameter of logistic_regression"):
        LearnerSpec(name="logistic_regression", parameters={"n_classes": 5})


def test_values_that_a_learner_cannot_take_are_refused_before_any_fit() -> None:
    with pytest.raises(ValidationError, match=r"'C' parameter .* Got 'big'"):
        LearnerSpec(parameters={"C": "big"})
    with pytest.raises(ValidationError, match="'n_neighbors' parameter"):
        LearnerSpec(name="knn", parameters={"n_neighbors": -1})
    with pytest.raises(ValidationError, match="gives no probabilities"):
        LearnerSpec(name="sgd", parameters={"loss": "hinge"})
    wrong = LearnerSpec(name="sklearn.naive_bayes.ComplementNB", parameters={"alpha": "much"})
    with pytest.raises(JobSpecError, match="'alpha' parameter"):
        learner_of(wrong, ["sklearn"])


def test_a_learner_that_cannot_score_rows_after_its_fit_says_so(digits: Any) -> None:
    X, y = digits
    far = learner_of(LearnerSpec(name="knn", parameters={"n_neighbors": 500}))
    with pytest.raises(QualityError, match=r"knn .* n_neighbors = 500"):
        far.fit([piece(X[:40], y[:40])], 10, (0,))


def test_other_classes_only_from_trusted_modules() -> None:
    spec = LearnerSpec(name="sklearn.naive_bayes.ComplementNB", parameters={"alpha": 0.5})
    with pytest.raises(JobSpecError, match="--trust-module sklearn"):
        learner_of(spec)
    with pytest.raises(JobSpecError, match="not trusted"):
        learner_of(spec, ["sklearn.svm", "sk"])
    assert isinstance(learner_of(spec, ["sklearn.naive_bayes"]), Learner)
    assert isinstance(learner_of(spec, ["sklearn"]), Learner)
    wrong = LearnerSpec(name="sklearn.naive_bayes.ComplementNB", parameters={"alfa": 0.5})
    for bad in (
        wrong,
        LearnerSpec(name="sklearn.naive_bayes.Missing"),
        LearnerSpec(name="sklearn.linear_model.Ridge"),
        LearnerSpec(name="sklearn.linear_model.RidgeClassifier"),
    ):
        with pytest.raises(JobSpecError):
            learner_of(bad, ["sklearn"])


def test_batches_give_each_row_the_place_of_its_number() -> None:
    def score(batch: np.ndarray) -> np.ndarray:
        assert batch.shape == (BATCH_ROWS, 1)
        return np.column_stack([batch[:, 0], np.arange(BATCH_ROWS)])

    numbers = np.arange(5 * BATCH_ROWS // 2, dtype=np.float64)[:, None]
    for first, last in ((0, 10), (5, 5 + BATCH_ROWS), (BATCH_ROWS - 1, 2 * BATCH_ROWS + 1)):
        found = score_batches(score, numbers[first:last], first)
        np.testing.assert_array_equal(found[:, 0], numbers[first:last, 0])
        np.testing.assert_array_equal(found[:, 1], np.arange(first, last) % BATCH_ROWS)
