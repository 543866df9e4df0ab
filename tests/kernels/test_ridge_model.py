"""Ridge regression on the seeds against scikit-learn's own, dense and sparse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from ssl_dask.evaluation.value_baselines import RidgeBaseline, mean_of_others
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.learners import ridge_model
from ssl_dask.kernels.learners.ridge_model import PENALTIES, RidgeModel
from ssl_dask.labels import NumberLabels


def diabetes(n_seeds: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True, scaled=False)
    seeds = np.sort(np.random.default_rng(0).choice(len(y), n_seeds, replace=False))
    return X.astype(np.float32), y, seeds


def words(n: int = 200, d: int = 300) -> tuple[sparse.csr_array, np.ndarray]:
    rng = np.random.default_rng(1)
    X = sparse.random_array((n, d), density=0.1, rng=rng, format="csr", dtype=np.float32)
    return X, np.asarray(X[:, :20].sum(axis=1)).ravel() + 0.05 * rng.normal(size=n)


def best_by_leave_one_out(X: np.ndarray, y: np.ndarray) -> float:
    """Return the penalty with the smallest error when each row in turn is left out."""

    def error(penalty: float) -> float:
        guessed = cross_val_predict(Ridge(alpha=penalty), X, y, cv=LeaveOneOut())
        return float(((guessed - y) ** 2).mean())

    return min(PENALTIES, key=error)


def test_dense_rows_as_scikit_learn() -> None:
    X, y, seeds = diabetes()
    X[:, 3] = 7.0
    model = RidgeModel().fit(X[seeds], y[seeds])
    kept = np.delete(X.astype(np.float64), 3, axis=1)
    unit = np.sqrt(kept[seeds].var(axis=0).mean())
    scaled = (kept - kept[seeds].mean(axis=0)) / unit
    penalty = best_by_leave_one_out(scaled[seeds], y[seeds])
    assert model.penalty_ == pytest.approx(penalty)
    assert PENALTIES[0] < penalty < PENALTIES[-1]
    expected = Ridge(alpha=penalty).fit(scaled[seeds], y[seeds]).predict(scaled)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)
    assert np.corrcoef(expected, y)[0, 1] > 0.5


def test_sparse_rows_as_scikit_learn() -> None:
    X, y = words()
    model = RidgeModel().fit(X[:80], y[:80])
    seen = np.unique(X[:80].indices)
    dense = X.toarray().astype(np.float64)[:, seen]
    expected = Ridge(alpha=model.penalty_).fit(dense[:80], y[:80]).predict(dense)
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-6)
    assert expected.std() > 0.1


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_rows_bits_do_not_depend_on_its_block(kind: str) -> None:
    X, y = words()
    rows = X.toarray() if kind == "dense" else X
    model = RidgeModel().fit(rows[:50], y[:50])
    whole = model.predict(rows)
    cuts = [0, 1, 30, 33, 200]
    parts = [model.predict(rows[a:b]) for a, b in pairwise(cuts)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_many_seeds_and_features_are_fitted_by_iteration(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = words()
    rows = X.toarray() if kind == "dense" else X
    exact = RidgeModel().fit(rows, y)
    monkeypatch.setattr(ridge_model, "MOST_EXACT", 100)
    model = RidgeModel().fit(rows, y)
    assert model.penalty_ == RidgeModel().fit(rows[::2], y[::2]).penalty_
    assert model.penalty_ in PENALTIES
    if model.penalty_ == exact.penalty_:
        np.testing.assert_allclose(model.predict(rows), exact.predict(rows), atol=1e-3)
    assert np.corrcoef(model.predict(rows), y)[0, 1] > 0.9


def test_where_nothing_can_be_learned_it_is_the_mean() -> None:
    X, y, seeds = diabetes(10)
    for rows, numbers in (
        (X[seeds[:2]], y[seeds[:2]]),
        (X[seeds], np.full(10, 3.0)),
        (np.ones_like(X[seeds]), y[seeds]),
    ):
        model = RidgeModel().fit(rows, numbers)
        np.testing.assert_allclose(model.predict(X), numbers.mean(), rtol=1e-12)
        assert np.isinf(model.penalty_)


def test_hidden_seeds_are_not_seen() -> None:
    X, y, seeds = diabetes()
    labels = NumberLabels(len(y), seeds.astype(np.int64), y[seeds])
    folds = hide_seeds(labels.as_one_class(), 4, 0)
    found = RidgeBaseline.fit(X[seeds], y[seeds], folds)
    changed = y[seeds].copy()
    changed[folds.hidden(2)] += 1e4
    again = RidgeBaseline.fit(X[seeds], changed, folds)
    same = found.hidden_values == again.hidden_values
    np.testing.assert_array_equal(same, folds.hidden(2))
    means = mean_of_others(y[seeds], folds)
    for fold in range(4):
        hidden = folds.hidden(fold)
        np.testing.assert_allclose(means[hidden], y[seeds][~hidden].mean())
    assert not np.isnan(found.hidden_values).any()
