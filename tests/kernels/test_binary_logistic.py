"""Newton's method for two classes, against scikit-learn's solver on the same problem."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ssl_dask.kernels.learners.binary_logistic import column_moments, fit_binary
from ssl_dask.kernels.learners.supervised_model import SupervisedModel


def rows(n: int, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    X = (random.normal(size=(n, d)) * np.arange(1, d + 1) + 3.0).astype(np.float32)
    y = X @ random.normal(size=d) + random.normal(size=n) * 4 > 2.0
    return X, y


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_same_coefficients_as_scikit_learn(C: float, weighted: bool) -> None:
    X, y = rows(20_000)
    weights = np.random.default_rng(0).random(len(y)) if weighted else None
    found = fit_binary(X, y, weights, C, 100, column_moments(X))
    assert found.converged
    scale = float(np.sqrt(X.astype(float).var(axis=0).mean()))
    centred = (X - X.mean(axis=0, dtype=float)) / scale
    theirs = LogisticRegression(C=C, tol=1e-10, max_iter=1000).fit(centred, y, weights)
    np.testing.assert_allclose(found.coef * scale, theirs.coef_[0], rtol=1e-3, atol=1e-4)
    p = 1.0 / (1.0 + np.exp(-(X @ found.coef + found.intercept)))
    np.testing.assert_allclose(p, theirs.predict_proba(centred)[:, 1], atol=1e-4)
    assert 0.1 < p.std() < 0.49


def test_rows_that_a_line_tells_apart_still_end() -> None:
    X, _ = rows(3000)
    found = fit_binary(X, X[:, 0] > 3.0, None, 1e4, 100, column_moments(X))
    assert found.converged
    assert np.isfinite(found.coef).all()
    assert ((X @ found.coef + found.intercept > 0) == (X[:, 0] > 3.0)).mean() > 0.99


def test_the_supervised_model_says_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows(20_000)
    codes = np.where(y, 4, 1).astype(np.int32)
    long = SupervisedModel(6).fit(X, codes).predict_proba(X)
    monkeypatch.setattr("ssl_dask.kernels.learners.supervised_model.FEWEST_ROWS", 10**9)
    short = SupervisedModel(6).fit(X, codes).predict_proba(X)
    np.testing.assert_allclose(long, short, atol=2e-3)
    assert (long.argmax(axis=1) == short.argmax(axis=1)).mean() > 0.999
    assert set(np.unique(long.argmax(axis=1))) == {1, 4}


@pytest.mark.parametrize("order", ["as they come", "sorted by class"])
@pytest.mark.parametrize("share", [0.5, 0.001])
def test_rows_so_many_that_some_are_tried_first(order: str, share: float) -> None:
    random = np.random.default_rng(5)
    X = random.normal(size=(200_000, 3)).astype(np.float32)
    score = X @ np.array([2.0, -1.0, 0.5]) + random.logistic(size=len(X))
    y = score > np.quantile(score, 1.0 - share)
    weights = random.random(len(y))
    if order == "sorted by class":
        # Rows of one class alone are tried first.
        by_class = np.argsort(y, kind="stable")
        X, y, weights = X[by_class], y[by_class], weights[by_class]
    found = fit_binary(X, y, weights, 1.0, 100, column_moments(X))
    theirs = LogisticRegression(tol=1e-10, solver="newton-cholesky").fit(
        X.astype(np.float64), y, weights
    )
    assert found.converged
    np.testing.assert_allclose(found.coef, theirs.coef_[0], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.intercept, theirs.intercept_[0], rtol=2e-3)


def test_a_column_that_is_one_value_in_the_rows_that_are_tried_first() -> None:
    random = np.random.default_rng(5)
    y = np.arange(24_000) < 12_000
    X = (random.normal(size=(len(y), 16)) + 0.4 * y[:, None]).astype(np.float32)
    # There it is as the intercept is, and float32 cannot tell them apart.
    X[:, 0] = 100.0 * (np.arange(len(y)) % 8 == 0)
    found = fit_binary(X, y, None, 1000.0, 100, column_moments(X))
    scale = np.sqrt(X.var(axis=0, dtype=np.float64).mean())
    model = LogisticRegression(C=1000.0, solver="newton-cholesky", tol=1e-8).fit(X / scale, y)
    assert found.converged
    np.testing.assert_allclose(found.coef, model.coef_[0] / scale, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(found.intercept, model.intercept_[0], rtol=2e-3)


def test_moments_of_columns_far_from_zero() -> None:
    X = np.random.default_rng(3).normal(size=(5000, 4)) * [1.0, 10.0, 0.0, 3.0] + [0, 1e4, 7, -2]
    found = column_moments(X.astype(np.float32))
    exact = X.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-12, atol=1e-12)
    assert found.scale == pytest.approx(np.sqrt(exact.var(axis=0).mean()), rel=1e-9)
    assert found.vary.tolist() == [True, True, False, True]
