"""The radial graph against closed forms and scikit-learn."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.rbf_graph import rbf_graph
from tests.oracles.brute_force_graph import squared_distances


def test_weights_are_those_of_the_formula():
    X = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
    graph = rbf_graph(X, 0.7)
    W = graph.to_scipy().toarray()
    want = np.exp(-np.float64(0.7) * squared_distances(X, X))
    np.fill_diagonal(want, 0)
    np.testing.assert_allclose(W, want, rtol=1e-6)
    np.testing.assert_array_equal(W, W.T)
    assert graph.n_edges == 70 * 69
    assert graph.settings["pairs_of_no_weight"] == 0


def test_sparse_rows_equal_dense_rows():
    X = np.random.default_rng(2).integers(-2, 3, (60, 8)).astype(np.float32)
    dense, sparse = rbf_graph(X, 0.1).to_scipy(), rbf_graph(sp.csr_array(X), 0.1).to_scipy()
    np.testing.assert_array_equal(dense.toarray(), sparse.toarray())


@pytest.mark.parametrize("columns", [2, 4])
@pytest.mark.parametrize("estimator", [LabelPropagation, LabelSpreading])
def test_iris_labels_equal_those_of_scikit_learns_own_graph(columns, estimator):
    X, y = load_iris(return_X_y=True)
    X = X[:, :columns]
    seeds = np.where(np.random.RandomState(42).rand(len(y)) < 0.1, y, -1)
    W = rbf_graph(X, 20).to_scipy().toarray().astype(np.float64) + np.eye(len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        own = estimator(kernel="rbf", gamma=20).fit(X, seeds)
        ours = estimator(kernel=lambda A, B: W).fit(X, seeds)
    np.testing.assert_array_equal(ours.transduction_, own.transduction_)
    assert 10 < np.count_nonzero(seeds >= 0) < 30
    assert len(np.unique(own.transduction_)) == 3


def test_pairs_out_of_reach_are_not_joined_and_counted():
    X = np.array([[0.0], [1.0], [50.0]])
    graph = rbf_graph(X, 20)
    assert graph.n_edges == 2
    assert graph.settings["pairs_of_no_weight"] == 2
    assert graph.settings["n_without_neighbours"] == 1
    assert "gamma 20 is large" in graph.settings["notes"][0]


def test_single_row():
    graph = rbf_graph(np.ones((1, 2)))
    assert (graph.n_edges, graph.n_rows, graph.settings["notes"]) == (0, 1, [])


def test_limits_are_stated():
    with pytest.raises(GraphError, match=r"200000 rows: 298.0 GiB; the limit is 2.0 GiB.*knn"):
        rbf_graph(da.ones((200_000, 2), chunks=(10_000, 2)))
    with pytest.raises(GraphError, match="limit"):
        rbf_graph(np.ones((100, 2)), memory_limit=1000)
    with pytest.raises(GraphError, match=r"needs \d+ MiB a task"):
        rbf_graph(np.ones((100, 2)), execution=Execution(memory_per_task=2**20))


@pytest.mark.parametrize("gamma", [0, -1.0, np.nan, np.inf, "scale"])
def test_gamma_is_checked(gamma):
    with pytest.raises(GraphError, match="gamma"):
        rbf_graph(np.ones((3, 2)), gamma)
