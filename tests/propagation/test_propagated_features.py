"""Features carried along edges: dense products, nodes that rows share, whole jobs."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.errors import GraphError
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.methods import METHODS
from ssl_dask.propagation.methods.propagated_features import (
    PropagatedFeaturesSpec,
    propagated_features,
)
from ssl_dask.run_control import RunControl
from tests.made_graphs import graph_of_nodes, random_weights


def dense_hops(W: np.ndarray, X: np.ndarray, n_hops: int) -> list[np.ndarray]:
    looped = W + W[W > 0].mean() * np.eye(len(W))
    root = 1.0 / np.sqrt(looped.sum(axis=1))
    S = root[:, None] * looped * root
    return [np.linalg.matrix_power(S, hop) @ X for hop in range(n_hops + 1)]


@pytest.mark.parametrize("width", [5, 70])
@pytest.mark.parametrize("unit_rows", [True, False])
def test_dense_products(width: int, unit_rows: bool) -> None:
    W = random_weights(120, 1)
    X = np.random.default_rng(2).normal(size=(120, width)).astype(np.float32)
    hops = dense_hops(W.toarray().astype(float), X, 3)
    if unit_rows:
        hops = [hop / np.linalg.norm(hop, axis=1, keepdims=True) for hop in hops]
    answers = []
    for n_strips, given in ((1, X), (3, sp.csr_array(X)), (8, da.from_array(X, chunks=(50, -1)))):
        graph = BlockGraph.from_scipy(W, n_strips=n_strips)
        settings = {"n_hops": 3, "unit_rows": unit_rows}
        whole = propagated_features(graph, given, hops="all", **settings)
        last = propagated_features(graph, given, hops="last", **settings)
        if n_strips == 8:
            assert whole.chunks[0] == (50, 50, 20)
            whole, last = whole.compute(), last.compute()
        assert last.dtype == whole.dtype == np.float32
        assert last.tobytes() == np.ascontiguousarray(whole[:, 3 * width :]).tobytes()
        answers.append(whole)
    np.testing.assert_allclose(answers[0], np.hstack(hops), atol=1e-5)
    assert len({answer.tobytes() for answer in answers}) == 1


def test_a_row_without_edges_keeps_its_features_and_the_unit_of_the_weights_is_free() -> None:
    W = random_weights(50, 1, density=0.2).tolil()
    W[7] = 0
    W[:, 7] = 0
    X = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
    found = propagated_features(BlockGraph.from_scipy(W.tocsr()), X)
    np.testing.assert_allclose(found[7], X[7], rtol=1e-6)
    other = propagated_features(BlockGraph.from_scipy(1000 * W.tocsr()), X)
    np.testing.assert_allclose(other, found, atol=1e-5)
    assert np.abs(found - X).max() > 0.5


def test_rows_that_share_a_node() -> None:
    W = random_weights(40, 5, density=0.2)
    nodes = np.concatenate([np.random.default_rng(3).permutation(40), [7, 7, 11]])
    at_nodes = np.random.default_rng(4).normal(size=(40, 4)).astype(np.float32)
    X = at_nodes[nodes]
    found = propagated_features(graph_of_nodes(W, nodes, (20, 23)), X, hops="last")
    expected = dense_hops(W.toarray().astype(float), at_nodes, 2)[2][nodes]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_impossible_features_are_refused() -> None:
    graph = BlockGraph.from_scipy(random_weights(20, 1, density=0.3))
    with pytest.raises(ValueError, match="X has 19 rows, the graph 20"):
        propagated_features(graph, np.ones((19, 2)))
    with pytest.raises(ValueError, match="hops must be"):
        propagated_features(graph, np.ones((20, 2)), hops="auto")
    with pytest.raises(ValueError, match="n_hops"):
        propagated_features(graph, np.ones((20, 2)), n_hops=0)
    with pytest.raises(GraphError, match="there may be 1 to 20,000"):
        propagated_features(graph, sp.csr_array((20, 30_000), dtype=np.float32))


@pytest.mark.parametrize("alike", [True, False])
def test_hidden_seeds_choose_the_hops(alike: bool, tmp_path: Path) -> None:
    """Rows in pairs of classes: alike neighbours are averaged; unlike ones must be told apart."""
    random = np.random.default_rng(0)
    n = 600
    y = np.arange(n) % 2
    left, right = random.permutation(np.flatnonzero(y == 0)), np.flatnonzero(y == 1)
    ends = [np.arange(0, n - 2), np.arange(2, n)] if alike else [left, right]
    W = sp.coo_array((np.ones(len(ends[0])), ends), shape=(n, n)).tocsr()
    graph = BlockGraph.from_scipy((W + W.T).astype(np.float32))
    X = (y[:, None] + random.normal(size=(n, 4))).astype(np.float32)
    codes = np.where(np.arange(n) < 200, y, -1)
    labels = Labels.from_codes(codes, np.arange(2))
    folds = hide_seeds(labels, 5, 0)
    inputs = MethodInputs(labels, folds.masks, graph=graph, X=da.from_array(X))
    found = METHODS["propagated_features"].run(
        inputs, PropagatedFeaturesSpec(n_hops=1), RunControl()
    )
    wanted = "features after the last hop" if alike else "features after each hop"
    assert any(wanted in note for note in found.notes)
    accuracy = np.mean(np.asarray(found.F.compute())[200:].argmax(axis=1) == y[200:])
    hidden_F = folds.gathered(found.fold_F, np.zeros((labels.n_seeds, 2)))
    hidden = np.mean(hidden_F.argmax(axis=1) == labels.codes)
    assert accuracy > 0.87
    assert hidden == pytest.approx(accuracy, abs=0.06)
