"""Label propagation of numbers: closed form, islands, folds, scikit-learn's checks, new rows."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.estimators import HarmonicRegressor
from ssl_dask.graph.block.block_graph import BlockGraph
from tests.by_keywords import harmonic_regression
from tests.made_graphs import path_graph, random_weights
from tests.oracles.closed_forms import harmonic


def test_no_value_leaves_the_range_of_the_targets() -> None:
    rows, y = np.array([0, 5, 8, 200, 399]), np.array([0.0, 0.0, 0.0, 0.0, 10.0])
    graph = BlockGraph.from_scipy(path_graph(400))
    for max_iter in (5, 10_000):
        found = harmonic_regression(graph, rows, y, max_iter=max_iter)
        values = found.F.compute()
        assert np.ptp(values) > 5.0
        assert values.min() >= 0.0
        assert values.max() <= 10.0


def test_closed_form_and_folds() -> None:
    rng = np.random.default_rng(2)
    W = random_weights(150, 1)
    rows, y = np.sort(rng.choice(150, 12, replace=False)), rng.normal(1_000, 30, 12)
    fold = np.arange(12) % 3 == 0
    dense, Y = W.toarray().astype(float), np.zeros((150, 1))
    Y[rows, 0] = y
    exact = harmonic(dense, Y)[:, 0]
    Y[rows[fold]] = 0
    without = harmonic(dense, Y)[:, 0]
    graph = BlockGraph.from_scipy(W, n_strips=3)
    found = harmonic_regression(graph, rows, y, tol=1e-7, hidden=[fold])
    assert found.converged
    assert {(record.labels_changed, record.class_mass) for record in found.records} == {(0, ())}
    np.testing.assert_allclose(found.F.compute(), exact, atol=1e-4)
    np.testing.assert_allclose(found.fold_F[0], without[rows[fold]], atol=1e-4)
    assert exact.std() > 1


def test_numbers_in_every_row_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="nothing is left to label, .*; -1 is a number here"):
        HarmonicRegressor().fit(BlockGraph.from_scipy(path_graph(3)), [1.0, -1.0, -1.0])
    with pytest.warns(UserWarning, match="nothing is left to label, for which NaN stands$"):
        HarmonicRegressor().fit(BlockGraph.from_scipy(path_graph(3)), [1.0, 0.0, 2.0])


def test_rows_without_a_path_are_nan() -> None:
    W = sp.csr_array(sp.block_diag([random_weights(30, 1, density=0.3)] * 2, format="csr"))
    y = np.full(60, np.nan)
    y[[3, 8]] = [-1.0, 4.0]
    model = HarmonicRegressor().fit(BlockGraph.from_scipy(W), y)
    np.testing.assert_array_equal(np.isnan(model.transduction_), np.arange(60) >= 30)
    np.testing.assert_allclose(model.transduction_[[3, 8]], [-1, 4])
    with pytest.raises(ValueError, match="nothing about new rows"):
        model.predict(np.ones((2, 2)))


def test_a_smooth_function_is_learned() -> None:
    rng = np.random.default_rng(3)
    X = rng.uniform(-2, 2, (800, 2))
    truth = np.sin(X[:, 0]) + X[:, 1] ** 2
    y = np.where(rng.random(800) < 0.1, truth, np.nan)
    model = HarmonicRegressor(n_neighbors=8).fit(X[:700], y[:700])
    free = np.isnan(y[:700])
    assert 1 - ((model.transduction_ - truth[:700])[free] ** 2).mean() / truth.var() > 0.85
    assert model.score(X[700:], truth[700:]) > 0.85
    new = da.from_array(X[700:], chunks=(30, 2))
    in_blocks = model.predict(new)
    assert in_blocks.chunks == ((30, 30, 30, 10),)
    np.testing.assert_array_equal(in_blocks.compute(), model.predict(X[700:]))
    with pytest.raises(ValueError, match="no row is labelled"):
        model.fit(X, np.full(800, np.nan))
