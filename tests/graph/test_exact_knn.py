"""The k-nearest-neighbour graph against brute force, for any chunks and workers."""

from __future__ import annotations

from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.graph_estimate import NONZEROS_PER_ROW, RowsToJoin, Slots, estimate_graph
from ssl_dask.graph.build.knn_search import knn_search
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.graph_spec import GraphSpec
from ssl_dask.graph.knn.knn_plan import MAX_STRIPS, RowCost, strip_count, strips_per_link
from tests.made_points import assert_same, in_chunks
from tests.oracles.brute_force_graph import (
    cosine_distances,
    nearest,
    squared_distances,
    weight_matrix,
)


def rows_with_duplicates(n=240, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    X[n // 2 : n // 2 + 9] = X[3]
    return X


def distinct(X):
    """Return the rows of X that are no copies of an earlier one."""
    return X[np.sort(np.unique(X, axis=0, return_index=True)[1])]


def assert_sound(W):
    assert W.dtype == np.float32
    assert (W.data > 0).all()
    assert np.isfinite(W.data).all()
    assert W.has_sorted_indices
    assert np.count_nonzero(W.diagonal()) == 0
    assert_same(W, sp.csr_array(W.T.tocsr()))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weights", ["gaussian", "uniform"])
@pytest.mark.parametrize("symmetrize", ["average", "union"])
def test_graph_equals_brute_force(metric, weights, symmetrize):
    X = rows_with_duplicates()
    graph = knn_graph(X, 7, metric=metric, weights=weights, symmetrize=symmetrize)
    W = graph.to_scipy()
    assert_sound(W)
    assert (graph.n_rows, graph.settings["n_copies"]) == (240, 9)
    copies = np.arange(120, 129)
    np.testing.assert_array_equal(graph.nodes_of(np.append(copies, 3), Execution()), 3)
    X = distinct(X)
    brute = cosine_distances(X, X) if metric == "cosine" else squared_distances(X, X)
    want = weight_matrix(*nearest(brute, 7), len(X), weights=weights, symmetrize=symmetrize)
    np.testing.assert_allclose(W.toarray(), want, rtol=1e-6)
    assert graph.n_edges == np.count_nonzero(want) > 7 * len(X)
    assert graph.settings["metric"] == metric
    assert graph.settings["notes"] == []


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_chunks_and_types_give_the_same_bits(data):
    n = data.draw(st.integers(2, 90))
    cuts = data.draw(st.lists(st.integers(1, n - 1), max_size=6, unique=True))
    k, metric = data.draw(st.integers(1, 9)), data.draw(st.sampled_from(["euclidean", "cosine"]))
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int16]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    X = rng.integers(0, 5, (n, 4)).astype(dtype)
    bounds = [0, *sorted(cuts), n]
    chunks = tuple(b - a for a, b in pairwise(bounds))
    whole = knn_graph(X, k, metric=metric).to_scipy()
    assert_sound(whole)
    cut = knn_graph(da.from_array(X, chunks=(chunks, (4,))), k, metric=metric)
    assert_same(cut.to_scipy(), whole)
    X = distinct(X)
    brute = cosine_distances(X, X) if metric == "cosine" else squared_distances(X, X)
    lists = nearest(brute, min(k, max(len(X) - 1, 1)))
    np.testing.assert_allclose(whole.toarray(), weight_matrix(*lists, len(X)), rtol=1e-6)


def test_little_memory_gives_more_tasks_and_the_same_bits():
    X = np.random.default_rng(2).normal(size=(3000, 40)).astype(np.float32)
    roomy = knn_graph(X, 10, execution=Execution(threads=2))
    tight_execution = Execution(threads=2, memory_per_task=12 * 2**20)
    tight = knn_graph(X, 10, execution=tight_execution)
    assert len(tight.strips) > len(roomy.strips)
    cost = RowCost(40, None, 10)
    rows = max(tight.node_chunks)
    assert strips_per_link(rows, rows, cost, 12 * 2**20) < len(tight.strips)
    assert_same(tight.to_scipy(), roomy.to_scipy())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_sparse_chunks_equal_dense_rows(cluster_client, metric):
    rng = np.random.default_rng(3)
    X = (rng.integers(1, 4, (2300, 60)) * (rng.random((2300, 60)) < 0.08)).astype(np.float32)
    X[100] = 0
    want = knn_graph(X, 6, metric=metric).to_scipy()
    assert_sound(want)
    whole = knn_graph(sp.csr_matrix(X), 6, metric=metric)
    np.testing.assert_array_equal(whole.to_scipy().indices, want.indices)
    np.testing.assert_allclose(whole.to_scipy().data, want.data, rtol=1e-6)
    execution = Execution(cluster_client)
    for chunks in ((2300,), (1, 999, 300, 1000)):
        cut = knn_graph(in_chunks(sp.csr_array(X), chunks), 6, metric=metric, execution=execution)
        assert_same(cut.to_scipy(execution), whole.to_scipy())
    # All rows of zeros are one node.
    assert np.count_nonzero(~X.any(axis=1)) > 1
    assert whole.settings["n_without_neighbours"] == (metric == "cosine")
    assert bool(whole.settings["notes"]) == (metric == "cosine")


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows_are_joined_all_with_all(n):
    X = np.arange(n, dtype=np.float64)[:, None] ** 2
    graph = knn_graph(X, 5)
    assert graph.n_edges == n * (n - 1)
    assert graph.node_chunks == (n,)
    assert "every other" in graph.settings["notes"][0]
    assert graph.settings["n_without_neighbours"] == (n == 1)


def test_rows_that_are_all_equal_are_one_node():
    graph = knn_graph(np.ones((30, 3)), 4)
    assert (graph.n_rows, graph.n_nodes, graph.n_edges) == (30, 1, 0)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_copies_share_a_node_and_the_neighbours_of_the_first(make):
    X = np.random.default_rng(4).integers(0, 3, (200, 4)).astype(np.float64)
    rows = distinct(X)
    assert len(rows) < 82
    few, all_rows = (knn_graph(make(one), 5) for one in (rows, X))
    assert_same(all_rows.to_scipy(), few.to_scipy())
    nodes = all_rows.nodes_of(np.arange(200), Execution())
    np.testing.assert_array_equal(rows[nodes], X)


def test_arguments_are_not_changed():
    X = rows_with_duplicates()
    X.setflags(write=False)
    before = X.copy()
    knn_graph(X, 3)
    np.testing.assert_array_equal(X, before)
    S = sp.coo_array(([1.0, 2.0, 3.0], ([0, 0, 2], [1, 1, 0])), shape=(3, 2)).tocsr()
    messy = sp.csr_array((np.array([1.0, 2, 3]), np.array([1, 1, 0]), np.array([0, 2, 2, 3])))
    assert not messy.has_canonical_format
    assert_same(knn_graph(messy, 1, metric="euclidean").to_scipy(), knn_graph(S, 1).to_scipy())
    assert messy.nnz == 3


@pytest.mark.parametrize(
    ("X", "arguments", "message"),
    [
        (np.ones(4), {}, r"shape \(4,\)"),
        (np.ones((0, 3)), {}, "at least one row"),
        (np.ones((3, 0)), {}, "at least one row and one column"),
        (np.array([["a"], ["b"]]), {}, "needs numbers"),
        (np.ones((3, 2), dtype=complex), {}, "needs numbers"),
        (np.ones((9, 2)), {"n_neighbors": 0}, "at least 1"),
        (np.ones((9, 2)), {"n_neighbors": 2.5}, "whole number"),
        (np.ones((9, 2)), {"metric": "manhattan"}, "'euclidean', 'cosine'"),
        (np.ones((9, 2)), {"weights": "heat"}, "'gaussian', 'uniform'"),
        (np.ones((9, 2)), {"symmetrize": "max"}, "'average', 'union'"),
        (da.ones((9, 4), chunks=(3, 4))[da.ones(9, chunks=3) > 0], {}, "compute_chunk_sizes"),
    ],
)
def test_unusable_input_is_refused(X, arguments, message):
    with pytest.raises(GraphError, match=message):
        knn_graph(X, **arguments)


def rows_of_kind(X, kind):
    return {"numpy": X, "dask": da.from_array(X, chunks=(10, 2)), "csr": sp.csr_array(X)}[kind]


@pytest.mark.parametrize("kind", ["numpy", "dask", "csr"])
def test_numbers_that_float32_does_not_hold_are_told_with_the_largest(kind):
    X = np.ones((50, 3))
    X[7, 0], X[37, 2], X[38, 1] = np.nan, -1e39, 3e38
    with pytest.raises(
        GraphError, match=r"up to 1e\+39 in column 2, and at most 3.4e\+38"
    ) as caught:
        knn_graph(rows_of_kind(X, kind), 3)
    assert "divide the column" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["numpy", "dask", "csr"])
def test_values_that_are_not_finite_are_counted_and_placed(bad, kind):
    X = np.ones((50, 3))
    X[37, 2] = X[41, 0] = X[41, 1] = bad
    given_rows = rows_of_kind(X, kind)
    with pytest.raises(GraphError, match=r"2 rows .* row 37, column 2") as caught:
        knn_graph(given_rows, 3)
    assert caught.value.problems[0].rows == 2


def test_large_finite_values_are_no_error():
    X = np.full((40, 30), 3e38, dtype=np.float32)
    X[::2] *= -1
    assert knn_graph(X, 3).n_edges > 0


def test_too_little_memory_says_what_is_needed():
    execution = Execution(memory_per_task=2**20)
    with pytest.raises(GraphError, match=r"needs \d+ MiB a task; there are 1 MiB"):
        knn_graph(np.ones((2000, 50)), execution=execution)


def test_cut_into_strips_follows_slots_and_memory():
    cost = RowCost(64, None, 15)
    assert strip_count(500, cost, 2, 2**30) == 1
    assert strip_count(100_000, cost, 2, 2**30) == 6
    assert strip_count(5 * 10**6, cost, 100, 2**30) == MAX_STRIPS
    assert 6 < strip_count(10**6, cost, 2, 2**28) <= MAX_STRIPS


def test_estimate_agrees_with_what_is_built():
    X = np.random.default_rng(5).normal(size=(4000, 8)).astype(np.float32)
    graph = knn_graph(X, 10, execution=Execution(threads=2, memory_per_task=2**30))
    (cost,) = estimate_graph(
        GraphSpec(n_neighbors=10), RowsToJoin(4000, 8, None), Slots(2, 2**30, n_workers=2)
    )
    assert cost.strips == len(graph.strips)
    assert cost.flops == 2 * 8 * 4000**2
    assert 0.6 < cost.graph_bytes / (8 * graph.n_edges) < 1.5
    assert cost.memory_per_task < 2**30
    texts = RowsToJoin(31_000, 2**18, NONZEROS_PER_ROW)
    (text,) = estimate_graph(GraphSpec(metric="cosine"), texts, Slots(2, 2**29, n_workers=2))
    assert text.search == "exact"
    assert text.strips >= 6
    (text,) = estimate_graph(
        GraphSpec(metric="cosine", search="routed"), texts, Slots(2, 2**30, n_workers=2)
    )
    assert text.search == "routed"
    assert text.strips == 2
    assert 2**28 < text.memory_per_task < 2**29
    assert text.seconds_per_slot > 0
    (rbf,) = estimate_graph(
        GraphSpec(kind="rbf"), RowsToJoin(1000, 4, None), Slots(2, 2**29, n_workers=2)
    )
    assert rbf.graph_bytes == 8 * 1000 * 999


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_new_rows_find_their_nearest_training_rows(cluster_client, kind):
    rng = np.random.default_rng(6)
    train = (rng.normal(size=(130, 9)) * (rng.random((130, 9)) < 0.5)).astype(np.float32)
    new = np.concatenate([train[:5], rng.normal(size=(33, 9)).astype(np.float32)])
    as_given = sp.csr_array if kind == "sparse" else np.asarray
    distances, indices = knn_search(as_given(new), as_given(train), 4)
    want, who = nearest(squared_distances(new, train), 4, without_self=False)
    np.testing.assert_array_equal(indices, who)
    np.testing.assert_allclose(distances, np.sqrt(want), rtol=1e-9, atol=1e-7)
    assert indices[0, 0] == 0
    if kind == "dense":
        blocks = da.from_array(new, chunks=((20, 18), (9,)))
        execution = Execution(cluster_client)
        lazily = knn_search(blocks, da.from_array(train, chunks=(40, 9)), 4, execution=execution)
        assert lazily[0].chunks == lazily[1].chunks == ((20, 18), (4,))
        np.testing.assert_array_equal(cluster_client.compute(lazily[1]).result(), indices)
        np.testing.assert_array_equal(cluster_client.compute(lazily[0]).result(), distances)


def test_more_neighbours_than_training_rows_leaves_places_empty():
    distances, indices = knn_search(np.zeros((1, 2)), np.ones((2, 2)), 3, metric="euclidean")
    assert indices.tolist() == [[0, 1, -1]]
    assert np.isinf(distances[0, 2])


def test_search_refuses_rows_that_do_not_fit():
    with pytest.raises(GraphError, match="3 columns, the training rows 2"):
        knn_search(np.ones((4, 3)), np.ones((4, 2)), 1)


def test_new_rows_are_searched_as_training_rows_are_stored():
    rng = np.random.default_rng(8)
    train, new = rng.integers(0, 4, (30, 5)), rng.integers(0, 4, (7, 5))
    for as_train, as_new in ((sp.csr_array, np.asarray), (np.asarray, sp.csc_array)):
        found = knn_search(as_new(new), as_train(train), 3)
        alike = knn_search(as_train(new), as_train(train), 3)
        np.testing.assert_array_equal(found[1], alike[1])
