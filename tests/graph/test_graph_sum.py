"""Graphs over the same rows, added up."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.entity_graph import entity_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph
from tests.made_graphs import graph_of_nodes, random_weights


def some_matrix(n, seed):
    return random_weights(n, seed, density=0.2)


def test_sum_of_plain_graphs_is_that_of_their_matrices():
    A, B = some_matrix(30, 0), some_matrix(30, 1)
    parts = [(BlockGraph.from_scipy(A, n_strips=4), 2.0), (BlockGraph.from_scipy(B), 0.25)]
    graph = sum_graphs(parts, execution=Execution(threads=1))
    want = 2.0 * A.toarray() + 0.25 * B.toarray()
    W = graph.to_scipy().toarray()
    np.testing.assert_allclose(W, want, rtol=1e-6)
    np.testing.assert_array_equal(W, W.T)
    assert graph.order is None
    assert [part["weight"] for part in graph.settings["parts"]] == [2.0, 0.25]


def test_nodes_of_other_orders_meet_by_their_rows():
    rng = np.random.default_rng(2)
    A, B, C = (some_matrix(30, seed) for seed in range(3))
    p, q = rng.permutation(30), rng.permutation(30)
    parts = [
        (graph_of_nodes(A, p, [11, 19]), 1.0),
        (BlockGraph.from_scipy(B, n_strips=2), 3.0),
        (graph_of_nodes(C, q, [30]), 0.5),
    ]
    graph = sum_graphs(parts, execution=Execution(threads=1))
    want = A.toarray()[np.ix_(p, p)] + 3 * B.toarray() + 0.5 * C.toarray()[np.ix_(q, q)]
    np.testing.assert_allclose(graph.to_scipy().toarray(), want, rtol=1e-6)
    assert graph.n_nodes == graph.n_rows == 30
    # The order of the part with most edges is kept: its neighbours lie together.
    leading = max(parts, key=lambda part: part[0].n_edges if part[0].order else -1)[0]
    execution = Execution(threads=1)
    kept = leading.order.to_array(execution)
    np.testing.assert_array_equal(graph.order.to_array(execution), kept)


def test_copies_become_rows_of_their_own_that_stay_joined():
    A = np.array([[0, 1, 2], [1, 0, 0], [2, 0, 0]], dtype=float)
    copies = graph_of_nodes(A, [2, 0, 2, 1, 0], [2, 3], 2)  # rows 0 and 2, 1 and 4 share a node
    B = BlockGraph.from_edges([0, 1], [3, 4], n_rows=5)
    graph = sum_graphs([(copies, 0.5), (B, 1.0)], execution=Execution(threads=1))
    assert (graph.n_rows, graph.n_nodes) == (5, 7)
    W = graph.to_scipy().toarray()
    want = np.zeros((7, 7))
    # New nodes by their number in the part: 5 stands for node 0 (rows 1, 4), 6 for node 2.
    for i, j, w in [(0, 6, 0.5), (2, 6, 0.5), (1, 5, 0.5), (4, 5, 0.5), (5, 3, 0.5), (5, 6, 1.0)]:
        want[i, j] = want[j, i] = w
    for i, j in [(0, 3), (1, 4)]:
        want[i, j] = want[j, i] = 1.0
    np.testing.assert_allclose(W, want)


def test_neighbours_and_entities_make_one_graph(cluster_client):
    X = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32)
    cards = np.arange(60) // 3
    near = knn_graph(X, 5, weights=["gaussian", "symmetric_gaussian"])
    shared = entity_graph({"card": cards})
    graph = sum_graphs([(near, 1.0), (shared, 2.0)])
    assert (graph.n_rows, graph.n_nodes) == (60, 80)
    W = graph.to_scipy().toarray()
    np.testing.assert_allclose(W[:60, :60], near.to_scipy().toarray(), rtol=1e-6)
    np.testing.assert_allclose(W[:60, 60:].sum(axis=1), 2 / np.sqrt(3), rtol=1e-6)
    other = graph.weighted("symmetric_gaussian").to_scipy().toarray()
    twin = near.weighted("symmetric_gaussian").to_scipy().toarray()
    np.testing.assert_allclose(other[:60, :60], twin, rtol=1e-6)
    np.testing.assert_array_equal(other[:60, 60:], W[:60, 60:])
    assert (other != W).any()
    execution = Execution(cluster_client)
    far = sum_graphs([(near, 1.0), (shared, 2.0)], execution=execution)
    np.testing.assert_array_equal(far.to_scipy(execution).toarray(), W)
    assert far.components(execution).n_components == graph.components(Execution()).n_components


def test_parts_are_checked():
    A = BlockGraph.from_scipy(some_matrix(5, 0))
    with pytest.raises(GraphError, match="no graphs"):
        sum_graphs([])
    with pytest.raises(GraphError, match=r"\[5, 6\] rows"):
        sum_graphs([(A, 1.0), (BlockGraph.from_scipy(some_matrix(6, 0)), 1.0)])
    with pytest.raises(GraphError, match="finite number > 0"):
        sum_graphs([(A, -1.0)])
