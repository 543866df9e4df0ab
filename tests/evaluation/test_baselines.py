"""The supervised baseline against scikit-learn's own pipeline."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted

from ssl_dask.evaluation.baselines import SupervisedBaseline, SupervisedModel
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.arithmetic.linear_scores import linear_scores
from ssl_dask.kernels.distributions.label_distributions import predicted_codes
from ssl_dask.labels import Labels
from ssl_dask.supervised import SupervisedSpec, fit_folds, fit_supervised

SPEC = SupervisedSpec()


def digits(n_seeds: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    seeds = np.sort(np.random.default_rng(0).choice(len(y), n_seeds, replace=False))
    return X.astype(np.float32), y.astype(np.int32), seeds


def words(n: int = 400, d: int = 5000) -> tuple[sparse.csr_array, np.ndarray]:
    """Return rows of unit length whose first features tell the class, CSR."""
    random = np.random.default_rng(1)
    y = random.integers(0, 3, n).astype(np.int32)
    columns = np.concatenate(
        [random.integers(0, d, (n, 20)), 10 * y[:, None] + random.integers(0, 8, (n, 6))], axis=1
    )
    rows = np.repeat(np.arange(n), columns.shape[1])
    X = sparse.csr_array((np.ones(columns.size), (rows, columns.ravel())), shape=(n, d))
    X.sum_duplicates()
    X = sparse.csr_array(X / np.sqrt(X.power(2).sum(axis=1))[:, None])
    return X.astype(np.float32), y


def reference_model(X_seeds: np.ndarray, codes: np.ndarray) -> Pipeline:
    """Return scikit-learn's model on centred rows whose mean variance is 1."""
    varying = np.flatnonzero(X_seeds.max(axis=0) > X_seeds.min(axis=0))
    unit = np.sqrt(X_seeds[:, varying].astype(np.float64).var(axis=0).mean())
    model = make_pipeline(
        FunctionTransformer(lambda X: X[:, varying].astype(np.float64) / unit),
        StandardScaler(with_std=False),
        LogisticRegression(max_iter=1000),
    )
    return model.fit(X_seeds, codes)


def test_dense_equals_a_logistic_regression_on_rows_of_mean_variance_one() -> None:
    X, y, seeds = digits()
    mine = fit_supervised(X[seeds], y[seeds], 10, SPEC).predict_proba(X)
    wanted = reference_model(X[seeds], y[seeds]).predict_proba(X)
    np.testing.assert_allclose(mine, wanted, atol=2e-4)
    assert mine.dtype == np.float32
    assert (mine.argmax(axis=1) == y).mean() > 0.8


def test_the_unit_of_the_features_does_not_matter() -> None:
    X, y, seeds = digits()
    mine = fit_supervised(X[seeds], y[seeds], 10, SPEC).predict_proba(X)
    # A power of two: the same digits in another unit.
    other = fit_supervised(X[seeds] * 1024, y[seeds], 10, SPEC).predict_proba(X * 1024)
    np.testing.assert_allclose(mine, other, atol=1e-6)


def test_sparse_equals_a_plain_logistic_regression() -> None:
    X, y = words()
    mine = fit_supervised(X[:40], y[:40], 3, SPEC)
    reference = LogisticRegression(max_iter=1000).fit(X[:40].astype(np.float64), y[:40])
    wanted = reference.predict_proba(X.astype(np.float64))
    np.testing.assert_allclose(mine.predict_proba(X), wanted, atol=2e-4)
    assert (wanted.argmax(axis=1) == y)[40:].mean() > 0.6
    # Only the seeds' own words have coefficients.
    assert len(mine.features_) == len(np.unique(X[:40].indices)) < 1000
    assert len(pickle.dumps(mine)) < 60_000


def test_two_classes_and_a_class_without_seeds() -> None:
    X, y = load_iris(return_X_y=True)
    X, two = X[50:].astype(np.float32), (2 * (y[50:] - 1)).astype(np.int32)
    chosen = np.arange(0, 100, 7)
    mine = fit_supervised(X[chosen], two[chosen], 3, SPEC).predict_proba(X)
    wanted = reference_model(X[chosen], two[chosen]).predict_proba(X)
    np.testing.assert_allclose(mine[:, [0, 2]], wanted, atol=2e-4)
    assert (mine[:, 1] == 0).all()
    assert 0.85 < (mine.argmax(axis=1) == two).mean() <= 1.0


def test_one_class_or_no_difference_gives_the_shares() -> None:
    X = np.zeros((4, 3), np.float32)
    one = fit_supervised(X, np.full(4, 2, np.int32), 4, SPEC)
    np.testing.assert_array_equal(one.predict_proba(X), np.eye(4)[[2] * 4])
    same = fit_supervised(X, np.array([0, 0, 0, 1], np.int32), 2, SPEC)
    np.testing.assert_allclose(same.predict_proba(X), [[0.75, 0.25]] * 4)


def test_weighted_seeds_equal_scikit_learns() -> None:
    X, y, seeds = digits(80)
    weights = np.random.default_rng(2).integers(1, 4, len(seeds)).astype(np.float64)
    model = SupervisedModel(10).fit(X[seeds], y[seeds], weights)
    rows = X[seeds].astype(np.float64)
    varying = rows.max(axis=0) > rows.min(axis=0)
    mean, unit = rows[:, varying].mean(axis=0), np.sqrt(rows[:, varying].var(axis=0).mean())
    scaled = (X[:, varying] - mean) / unit
    peer = LogisticRegression(max_iter=1000).fit(scaled[seeds], y[seeds], weights)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(scaled), atol=1e-4)
    plain = SupervisedModel(10).fit(X[seeds], y[seeds]).predict_proba(X)
    assert np.abs(model.predict_proba(X) - plain).max() > 0.05
    one = SupervisedModel(2).fit(X[:3], np.array([1, 1, 1], np.int32), np.ones(3))
    np.testing.assert_array_equal(one.predict_proba(X[:5]), [[0.0, 1.0]] * 5)


def test_running_out_of_iterations_is_told() -> None:
    X, y, seeds = digits()
    assert not fit_supervised(X[seeds], y[seeds], 10, SupervisedSpec(max_iter=1)).converged
    assert fit_supervised(X[seeds], y[seeds], 10, SPEC).converged


def test_a_weaker_penalty_is_surer() -> None:
    X, y, seeds = digits()
    weak, strong = (
        fit_supervised(X[seeds], y[seeds], 10, SupervisedSpec(C=c)).predict_proba(X).max(axis=1)
        for c in (10.0, 0.01)
    )
    assert weak.mean() > strong.mean() + 0.1


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=6), use_sparse=st.booleans())
def test_bits_do_not_depend_on_the_blocks(cuts: list[int], use_sparse: bool) -> None:
    if use_sparse:
        X, y = words()
        model = fit_supervised(X[:40], y[:40], 3, SPEC)
    else:
        X, y, seeds = digits()
        model = fit_supervised(X[seeds], y[seeds], 10, SPEC)
    whole = model.predict_proba(X[:300])
    pieces = [model.predict_proba(X[a:b]) for a, b in pairwise([0, *sorted(cuts), 300])]
    np.testing.assert_array_equal(np.vstack(pieces), whole)


def test_unsorted_rows_give_the_same_bits() -> None:
    X, y = words()
    model = fit_supervised(X[:40], y[:40], 3, SPEC)
    turned = X.copy()
    for i in range(turned.shape[0]):
        a, b = turned.indptr[i : i + 2]
        turned.indices[a:b] = turned.indices[a:b][::-1].copy()
        turned.data[a:b] = turned.data[a:b][::-1].copy()
    turned = sparse.csr_array((turned.data, turned.indices, turned.indptr), shape=turned.shape)
    before = turned.indices.copy()
    # In float64: rounding to float32 would hide another order of adding.
    coefficients = (model.coef_, model.intercept_, model.features_)
    np.testing.assert_array_equal(
        linear_scores(turned, *coefficients), linear_scores(X, *coefficients)
    )
    np.testing.assert_array_equal(turned.indices, before)


def test_hidden_seeds_are_scored_by_models_that_did_not_see_them() -> None:
    X, y, seeds = digits(100)
    labels = Labels(len(y), seeds, y[seeds], np.arange(10))
    folds = hide_seeds(labels, 5, 0)
    baseline = SupervisedBaseline.fit(X[seeds], labels.codes, folds, 10)
    called = predicted_codes(baseline.hidden_F)
    for fold in range(5):
        hidden = folds.hidden(fold)
        reference = reference_model(X[seeds][~hidden], labels.codes[~hidden])
        assert (called[hidden] == reference.predict(X[seeds][hidden])).mean() > 0.99
    right = (called == labels.codes).mean()
    assert 0.75 < right < 0.97
    # The model of all seeds gets its own seeds right: hiding made the difference.
    own = baseline.model.predict_proba(X[seeds]).argmax(axis=1)
    assert (own == labels.codes).mean() == 1.0
    assert baseline.converged


def test_folds_that_run_out_of_iterations_are_counted() -> None:
    X, y, seeds = digits(100)
    labels = Labels(len(y), seeds, y[seeds], np.arange(10))
    folds = hide_seeds(labels, 5, 0)
    for spec, wanted in ((SPEC, 0), (SupervisedSpec(max_iter=2), 5)):
        fold_F, not_converged = fit_folds(X[seeds], labels.codes, folds.masks, 10, spec)
        assert not_converged == wanted
        hidden_F = folds.gathered(fold_F, np.zeros((len(seeds), 10)))
        np.testing.assert_allclose(hidden_F.sum(axis=1), folds.fold >= 0, atol=1e-5)
        assert SupervisedBaseline.fit(X[seeds], labels.codes, folds, 10, spec).converged is (
            wanted == 0
        )


def test_a_class_with_one_seed_is_not_judged() -> None:
    X, y, _ = digits()
    rows = np.sort(np.concatenate([np.flatnonzero(y == c)[:6] for c in range(9)] + [[9]]))
    labels = Labels(len(y), rows, y[rows], np.arange(10))
    folds = hide_seeds(labels, 3, 0)
    baseline = SupervisedBaseline.fit(X[rows], labels.codes, folds, 10)
    called = predicted_codes(baseline.hidden_F)
    assert (called[labels.codes == 9] == -1).all()
    assert (called[labels.codes != 9] >= 0).all()


def test_it_serves_where_a_fitted_classifier_is_asked_for() -> None:
    X, y, seeds = digits()
    model = fit_supervised(X[seeds], y[seeds], 10, SPEC)
    check_is_fitted(model)
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(model))
    assert model.get_params() == {"C": 1.0, "max_iter": 1000, "n_classes": 10}
    assert 0.8 < model.score(X, y) < 0.95
    assert model.classes_.tolist() == list(range(10))


@pytest.mark.parametrize("bad", [{"C": 0.0}, {"max_iter": 0}, {"name": "other"}, {"penalty": "l1"}])
def test_wrong_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        SupervisedSpec(**bad)  # type: ignore[arg-type]
