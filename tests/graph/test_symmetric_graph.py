"""From neighbour lists to symmetric weights, for any strips."""

from __future__ import annotations

from itertools import pairwise

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block import symmetric_graph as module
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.symmetric_graph import strip_runs, symmetric_graph
from ssl_dask.kernels.graph.edge_weights import WEIGHTS
from ssl_dask.kernels.graph.symmetric_strip import SYMMETRIZE, edges_by_run, owned_edges
from tests.oracles.brute_force_graph import nearest, squared_distances
from tests.oracles.neighbour_weights import directed, symmetric


def some_lists(n=90, k=9, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 3))
    X[10:14] = X[2]
    distances, indices = nearest(squared_distances(X, X), k)
    distances[4, 2:], indices[4, 2:] = np.inf, -1
    return distances, indices


def graph_of(distances, indices, cuts=(), *, execution=None, **choices):
    bounds = [0, *cuts, len(distances)]
    lists = [
        dask.delayed((distances[a:b], indices[a:b]), pure=False, traverse=False)
        for a, b in pairwise(bounds)
    ]
    return symmetric_graph(
        lists,
        np.diff(bounds).tolist(),
        settings={"kind": "made"},
        execution=execution or Execution(threads=1),
        **{"weights": "gaussian", "symmetrize": None, **choices},
    )


@pytest.mark.parametrize("symmetrize", SYMMETRIZE)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_graph_is_that_of_the_oracle_for_any_strips(weights, symmetrize):
    distances, indices = some_lists()
    choices = {"weights": weights, "symmetrize": symmetrize}
    one = graph_of(distances, indices, **choices)
    W = one.to_scipy().toarray()
    want = symmetric(directed(distances, indices, 90, weights), symmetrize)
    np.testing.assert_allclose(W, want, rtol=3e-6, atol=1e-30)
    np.testing.assert_array_equal(W, W.T)
    pairs = symmetric(directed(distances, indices, 90, "uniform"), symmetrize) > 0
    np.testing.assert_array_equal(W > 0, pairs)
    assert one.n_edges == np.count_nonzero(pairs) > 90
    for cuts in [(1,), (30, 31, 75), tuple(range(3, 90, 7))]:
        cut = graph_of(distances, indices, cuts, **choices)
        np.testing.assert_array_equal(cut.to_scipy().toarray(), W)
        (strip, *_) = Execution(threads=1).compute(cut.strips[-1:])
        assert strip.indices.dtype == strip.indptr.dtype == np.int32
        assert all((np.diff(row) > 0).all() for row in np.split(strip.indices, strip.indptr[1:-1]))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_exchange_is_exact_for_any_lists(data):
    n, k = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    indices = np.full((n, k), -1)
    for i in range(n):
        others = rng.permutation(np.delete(np.arange(n), i))
        there = min(k, int(rng.integers(0, n)))
        indices[i, :there] = others[:there]
    distances = np.where(indices >= 0, np.sort(rng.random((n, k)), axis=1), np.inf)
    cuts = sorted(data.draw(st.sets(st.integers(1, n - 1), max_size=4)))
    how = data.draw(st.sampled_from(SYMMETRIZE))
    W = graph_of(distances, indices, cuts, weights="uniform", symmetrize=how).to_scipy().toarray()
    np.testing.assert_array_equal(W, symmetric(directed(distances, indices, n, "uniform"), how))


def test_few_pieces_and_small_tasks_give_the_same(monkeypatch):
    distances, indices = some_lists()
    cuts = tuple(range(9, 90, 9))
    want = graph_of(distances, indices, cuts, weights="fuzzy").to_scipy()
    monkeypatch.setattr(module, "MAX_PIECES", 33)
    assert [len(run) for run in strip_runs([9] * 10, 2**40)] == [3, 3, 4]
    found = graph_of(distances, indices, cuts, weights=["fuzzy", "gaussian"])
    assert len(found.strips) == 10
    assert [len(data) for data in found.alternatives.values()] == [10]
    assert (found.to_scipy() != want).nnz == 0
    assert len(strip_runs([9] * 10, 4 * 90 * module.NODE_BYTES // 6)) == 6


def test_alternatives_have_the_weights_of_a_graph_of_their_own(tmp_path, cluster_client):
    distances, indices = some_lists()
    execution = Execution(cluster_client)
    both = graph_of(
        distances,
        indices,
        (40, 66),
        weights=["gaussian", "symmetric_gaussian", "steep_gaussian", "self_tuning"],
        execution=execution,
    )
    both.save(tmp_path, execution)
    loaded = execution.persist([BlockGraph.load(tmp_path)])[0]
    for name in ("symmetric_gaussian", "steep_gaussian", "self_tuning"):
        alone = graph_of(distances, indices, weights=name).to_scipy()
        for graph in (both, loaded):
            other = graph.weighted(name)
            found = other.to_scipy(execution)
            assert (found != alone).nnz == 0
            assert found.nnz == both.n_edges
            assert other.settings["weights"] == name
        assert (both.to_scipy(execution) != alone).nnz > 100
    with pytest.raises(GraphError, match="no other weights 'uniform'"):
        both.weighted("uniform")


def test_nodes_may_have_an_order_of_their_own():
    distances, indices = some_lists()
    rank = np.random.default_rng(5).permutation(90)
    moved, ids = np.empty_like(distances), np.empty_like(indices)
    moved[rank], ids[rank] = distances, np.where(indices >= 0, rank[indices], -1)
    want = graph_of(distances, indices, weights="symmetric_gaussian").to_scipy().toarray()
    found = graph_of(moved, ids, (20, 50), weights="symmetric_gaussian").to_scipy().toarray()
    np.testing.assert_array_equal(found[np.ix_(rank, rank)], want)


def test_edges_name_nodes_of_their_run():
    own = owned_edges(
        np.array([[2, 0], [3, -1]]), [np.array([[0.5, 0.25], [0.125, 0]], dtype=np.float32)], 12
    )
    pieces = edges_by_run(own, 10, np.array([0, 2, 12]))
    assert [edges.rows.tolist() for edges in pieces] == [[0], [0, 1]]
    assert [edges.columns.tolist() for edges in pieces] == [[10], [10, 11]]
    assert [edges.weights.ravel().tolist() for edges in pieces] == [[0.25], [0.5, 0.125]]
    assert pieces[0].rows.dtype == np.int32


def test_choices_are_checked():
    distances, indices = some_lists()
    with pytest.raises(GraphError, match="symmetrize is 'both'"):
        graph_of(distances, indices, symmetrize="both")
    with pytest.raises(GraphError, match="weights is 'heavy'"):
        graph_of(distances, indices, weights=["gaussian", "heavy"])
    with pytest.raises(GraphError, match="each once"):
        graph_of(distances, indices, weights=["gaussian", "gaussian"])
