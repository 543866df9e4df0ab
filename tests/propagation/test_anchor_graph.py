"""Anchor graph: the closed form over dense Z, equal bits, islands, new rows."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

from ssl_dask.errors import GraphError
from ssl_dask.estimators import AnchorGraph
from ssl_dask.labels import Labels
from ssl_dask.propagation.methods.anchor_graph import score_rows
from tests.by_keywords import anchor_graph

Arrays = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    X, truth = load_digits(return_X_y=True)
    y = np.full(len(truth), -1)
    for c in range(10):
        y[np.flatnonzero(truth == c)[:5]] = c
    return X.astype(np.float32), truth, y


def dense_answer(X: np.ndarray, y: np.ndarray, anchors: np.ndarray, s: int, gamma: float):
    squares = ((X[:, None].astype(float) - anchors.astype(float)) ** 2).sum(axis=2)
    near = np.argsort(squares, axis=1, kind="stable")[:, :s]
    d = np.take_along_axis(squares, near, axis=1)
    w = np.exp(-d / d.mean(axis=1, keepdims=True))
    Z = np.zeros(squares.shape)
    np.put_along_axis(Z, near, w / w.sum(axis=1, keepdims=True), axis=1)
    G = Z.T @ Z
    L = G - G @ np.diag(1 / Z.sum(axis=0)) @ G
    seeds = y >= 0
    Y = np.eye(y.max() + 1)[y[seeds]]
    A = np.linalg.pinv(Z[seeds].T @ Z[seeds] + gamma * L, rcond=1e-12) @ Z[seeds].T @ Y
    F = Z @ (A / (Z @ A).sum(axis=0))
    F = np.maximum(F, 0)
    return F / F.sum(axis=1, keepdims=True)


def test_closed_form(digits: Arrays) -> None:
    X, truth, y = digits
    labels = Labels.from_codes(y, np.arange(10))
    folds = [np.arange(50) % 5 == 0]
    given = da.from_array(X, chunks=(700, -1))
    model, (hidden,) = anchor_graph(given, labels, n_anchors=200, hidden=folds)
    lazy = score_rows(model, given)
    assert lazy.chunks[0] == given.chunks[0]
    F = lazy.compute()
    exact = dense_answer(X, y, model.anchors, 3, 0.01)
    # Weights are rounded to 1 / 32768.
    np.testing.assert_allclose(F, exact, atol=5e-3)
    assert (F.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.995
    assert (F.argmax(axis=1) == truth)[y < 0].mean() > 0.88
    alone, _ = anchor_graph(X, labels.subset(~folds[0]), n_anchors=200)
    np.testing.assert_allclose(score_rows(alone, X)[labels.rows[folds[0]]], hidden, atol=1e-6)


def test_islands_without_a_seed_abstain() -> None:
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(50, 2)) + 1e3])
    y = np.full(150, -1)
    y[:8] = [0, 1] * 4
    model = AnchorGraph(n_anchors=20).fit(X, y)
    assert model.label_distributions_[:100].any(axis=1).all()
    np.testing.assert_array_equal(model.label_distributions_[100:], 0)
    np.testing.assert_array_equal(model.transduction_[100:], -1)


def test_rows_whose_distances_overflow_are_refused(digits: Arrays) -> None:
    X, _, y = digits
    with pytest.raises(GraphError, match=r"rows hold numbers up to 1\.6e\+20 in column") as caught:
        AnchorGraph(30).fit(X * np.float32(1e19), y)
    assert "divide the column" in str(caught.value.problems[0].hint)


def test_estimator(digits: Arrays) -> None:
    X, truth, y = digits
    model = AnchorGraph(n_anchors=150).fit(X[:1500], y[:1500])
    assert model.score(X[1500:], truth[1500:]) > 0.8
    lazy = AnchorGraph(n_anchors=150).fit(da.from_array(X[:1500], chunks=(400, -1)), y[:1500])
    np.testing.assert_array_equal(lazy.predict(X[1500:]), model.predict(X[1500:]))
    weighted = AnchorGraph(n_anchors=150).fit(X[:1500], y[:1500], np.where(truth == 3, 9, 1)[:1500])
    assert np.abs(weighted.label_distributions_ - model.label_distributions_).max() > 0.01
    with pytest.raises(GraphError, match=r"dense features only.*column of vectors"):
        anchor_graph(sp.csr_array(X), Labels.from_codes(y, np.arange(10)))
