"""The routed search of sparse rows: what it finds, on any chunks and workers, and what it says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.errors import GraphError, QualityError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.knn.knn_plan import RowCost
from ssl_dask.graph.routed import routed_knn
from ssl_dask.graph.routed.routed_index import RoutedIndex
from ssl_dask.graph.routed.routed_plan import Attempt, bytes_per_owned_row, sparse_attempts
from ssl_dask.kernels.knn.routing import HASHED_COLUMNS, column_sketch
from ssl_dask.kernels.knn.shard_cells import Shard
from ssl_dask.kernels.knn.shard_sparse import SparseEffort, search_sparse_shard
from tests.made_points import in_chunks, token_rows
from tests.oracles.brute_force_graph import (
    cosine_distances,
    nearest,
    squared_distances,
    weight_matrix,
)

D = 2**10
SMALL = 2_500_000
"""Bytes of a shard: some thousand rows make several."""


def routed(X, k=10, **options):
    options = {"metric": "cosine", "shard_memory": SMALL, "target_recall": 0.9} | options
    return knn_graph(X, k, search="routed", **options)


@pytest.fixture(scope="module")
def rows():
    return token_rows()


@pytest.mark.parametrize("metric", ["cosine", pytest.param("euclidean", marks=pytest.mark.slow)])
def test_finds_nearly_all_true_neighbours_with_their_exact_weights(rows, metric):
    graph = routed(rows, metric=metric, target_recall=0.97)
    assert graph.settings["n_shards"] >= 3
    assert graph.settings["replication"] > 1.05
    dense = rows.toarray()
    measure = squared_distances if metric == "euclidean" else cosine_distances
    best, index = nearest(measure(dense, dense), 10)
    exact = weight_matrix(best, index, rows.shape[0])
    W = graph.to_scipy().toarray()
    wanted = np.count_nonzero(exact)
    assert np.count_nonzero((exact > 0) & (W == 0)) < 0.03 * wanted
    right = np.isclose(W, exact, rtol=1e-5) & (exact > 0)
    assert np.count_nonzero(right) > 0.9 * wanted
    np.testing.assert_array_equal(W, W.T)


def test_the_recall_it_reports_is_that_of_brute_force(rows, monkeypatch):
    X = rows[:700]
    weak = (Attempt(SparseEffort(cell_rows=40, n_probes=1, n_joined=0, column_share=0.0), 1),)
    monkeypatch.setattr(routed_knn, "sparse_attempts", lambda *_: weak)
    monkeypatch.setattr("ssl_dask.kernels.knn.shard_sparse.FEW_ROWS", 0)
    graph = routed(X, weights="uniform", symmetrize="union", target_recall=0.2)
    dense = X.toarray()
    best, _ = nearest(cosine_distances(dense, dense), 10)
    distances = cosine_distances(dense, dense)
    W = graph.to_scipy()
    near = [
        np.count_nonzero(distances[i, W[[i]].indices] <= best[i, -1] * (1 + 1e-9)) / 10
        for i in range(len(dense))
    ]
    recall = graph.recall
    assert recall["n_sampled"] == 700
    # Edges of the union hold each row's list and the lists that it is in.
    assert 0.3 < recall["estimate"] <= np.minimum(near, 1).mean() < 0.97


def test_a_search_that_finds_too_little_looks_harder_and_says_what_it_did(rows, monkeypatch):
    weak = Attempt(SparseEffort(cell_rows=40, n_probes=1, n_joined=0, column_share=0.0), 1)
    strong = sparse_attempts(0.98, 2, 15.0)[-1]
    monkeypatch.setattr("ssl_dask.kernels.knn.shard_sparse.FEW_ROWS", 0)
    monkeypatch.setattr(routed_knn, "sparse_attempts", lambda *_: (weak, strong))
    graph = routed(rows, target_recall=0.98)
    assert graph.recall["estimate"] >= 0.98
    assert graph.settings["n_probes"] == strong.effort.n_probes
    assert graph.settings["column_share"] == strong.effort.column_share
    monkeypatch.setattr(routed_knn, "sparse_attempts", lambda *_: (weak,))
    with pytest.raises(QualityError, match=r"target_recall is 0\.98"):
        routed(rows, target_recall=0.98)


def test_each_attempt_looks_harder():
    for n_shards in (1, 100):
        tried = sparse_attempts(0.98, n_shards, 15.0)
        for before, after in pairwise(tried):
            assert after.effort.n_probes > before.effort.n_probes
            assert after.effort.column_share >= before.effort.column_share
            assert after.n_routes > before.n_routes


def test_copies_are_one_node_and_change_nothing_for_the_others(rows):
    base = rows[:500]
    rng = np.random.default_rng(1)
    picked = rng.permutation(np.concatenate([np.arange(500), rng.integers(0, 30, 2500)]))
    X = base[picked]
    graph = routed(in_chunks(X, (1000, 1700, 300)), target_recall=0.99)
    assert (graph.n_rows, graph.n_nodes, graph.settings["n_copies"]) == (3000, 500, 2500)
    node = graph.order.to_array(Execution())
    for original in (0, 5, 29, 400):
        assert len(set(node[picked == original].tolist())) == 1
    _, first = np.unique(picked, return_index=True)
    plain = knn_graph(X[np.sort(first)], 10, metric="cosine", search="exact")
    W, exact = graph.to_scipy().toarray(), plain.to_scipy().toarray()
    assert np.count_nonzero((exact > 0) & (W == 0)) < 0.02 * np.count_nonzero(exact)


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_few_rows_give_the_exact_graph(n, metric):
    X = token_rows(n, seed=n)
    graph, exact = routed(X, metric=metric), knn_graph(X, 10, metric=metric, search="exact")
    assert (exact.to_scipy() != graph.to_scipy()).nnz == 0
    assert graph.recall["estimate"] == 1.0


def test_rows_of_zeros_have_no_neighbours_under_cosine_and_have_some_otherwise(rows):
    X = rows.tolil()
    X[[3, 77, 500]] = 0
    X = sp.csr_array(X)
    graph = routed(X)
    assert graph.n_nodes == X.shape[0] - 2
    assert graph.settings["n_without_neighbours"] == 1
    node = graph.order.to_array(Execution())
    assert node[3] == node[77] == node[500]
    none = routed(sp.csr_array((50, D), dtype=np.float32))
    assert (none.n_nodes, none.n_edges) == (1, 0)
    assert routed(X, metric="euclidean").settings["n_without_neighbours"] == 0


@pytest.mark.parametrize("d", [1, 2])
def test_rows_of_one_column(d):
    rng = np.random.default_rng(d)
    n = 1200
    values = rng.normal(size=n).astype(np.float32)
    X = sp.csr_array((values, (np.arange(n), rng.integers(0, d, n))), shape=(n, d))
    graph = routed(X, metric="euclidean", target_recall=0.98)
    exact = knn_graph(X, 10, metric="euclidean", search="exact")
    W, E = graph.to_scipy().toarray(), exact.to_scipy().toarray()
    assert np.count_nonzero((E > 0) & (W == 0)) < 0.03 * np.count_nonzero(E)


def test_a_shard_searched_in_full_is_exact_and_ties_go_to_the_smaller_number(rows):
    rng = np.random.default_rng(0)
    X = sp.csr_array(rows[:400])
    # Values of 1 make many equal distances.
    X.data[:] = 1
    _, first = np.unique(X.toarray(), axis=0, return_index=True)
    X = X[np.sort(first)]
    n = X.shape[0]
    numbers = rng.permutation(n).astype(np.int64)
    owned = rng.random(n) < 0.7
    effort = SparseEffort(cell_rows=50, n_probes=10**6, n_joined=0)
    shard = Shard(X, column_sketch(X), owned, numbers, "cosine")
    distances, indices = search_sparse_shard(shard, 12, effort)
    exact = cosine_distances(X.toarray(), X.toarray())
    in_order = np.argsort(numbers)
    ranked = np.round(exact[np.ix_(owned, in_order)], 12)
    assert 200 < len(ranked) < n
    for i, row in enumerate(np.flatnonzero(owned).tolist()):
        ranked[i, numbers[row]] = np.inf
    want = np.argsort(ranked, axis=1, kind="stable")[:, :12]
    kth = np.take_along_axis(ranked, want, axis=1)
    assert np.mean(ranked[np.arange(len(ranked)), want[:, -1]] == kth[:, -2]) > 0.2
    np.testing.assert_allclose(distances, kth, atol=1e-11)
    assert (np.sort(indices, axis=1) == np.sort(want, axis=1)).mean() > 0.97


def test_columns_of_few_rows_propose_neighbours_and_all_columns_count(rows, monkeypatch):
    monkeypatch.setattr("ssl_dask.kernels.knn.shard_sparse.FEW_ROWS", 0)
    X = sp.csr_array(rows[:600])
    n = X.shape[0]
    Z, owned, numbers = column_sketch(X), np.ones(n, dtype=bool), np.arange(n)
    exact = cosine_distances(X.toarray(), X.toarray())
    kth = nearest(exact, 10)[0][:, -1:]
    reached = []
    for share in (0.0, 0.05, 1.0):
        effort = SparseEffort(
            cell_rows=30, n_probes=1, n_joined=0, n_candidates=60, column_share=share
        )
        shard = Shard(X, Z, owned, numbers, "cosine")
        distances, indices = search_sparse_shard(shard, 10, effort)
        there = indices >= 0
        true = np.take_along_axis(exact, np.maximum(indices, 0), axis=1)
        np.testing.assert_allclose(distances[there], true[there], atol=1e-12)
        reached.append(np.mean(distances <= kth * (1 + 1e-9)))
    assert reached[0] < 0.8 < reached[1] < reached[2]
    assert reached[2] == 1.0


def test_the_sketch_keeps_lengths_and_angles_and_knows_no_sample():
    rng = np.random.default_rng(0)
    X = sp.csr_array(sp.random(300, 2**18, 1e-4, format="csr", dtype=np.float32, rng=rng))
    X = sp.csr_array(X + 2 * X[rng.permutation(300)])
    Z = column_sketch(X)
    assert Z.shape == (300, HASHED_COLUMNS)
    assert column_sketch(X[[7, 9]]).tobytes() == Z[[7, 9]].tobytes()
    true, kept = (X @ X.T).toarray(), Z @ Z.T
    lengths = np.sqrt(np.outer(np.diag(true), np.diag(true)))
    error = (kept - true) / lengths
    assert abs(error.mean()) < 0.02
    assert error.std() < 1.3 / np.sqrt(HASHED_COLUMNS)
    # A column has four places, and signs: no place is taken by many of the columns.
    unit = column_sketch(sp.csr_array(sp.eye_array(D, dtype=np.float32)))
    assert set(np.unique(np.abs(unit)).tolist()) <= {0.0, 0.5, 1.0, 1.5, 2.0}
    assert (np.abs(unit).sum(axis=1) > 0).mean() > 0.99
    taken = (unit != 0).sum(axis=0)
    assert taken.max() < 1.6 * taken.mean()
    assert abs(unit.sum()) < 0.05 * np.abs(unit).sum()


def test_new_sparse_rows_find_their_neighbours_in_the_kept_shards(rows, tmp_path):
    old, new = rows[:850], rows[850:]
    graph = routed(old, index_folder=tmp_path, target_recall=0.95)
    index = RoutedIndex.load(tmp_path)
    distances, nodes = index.search(new, 10)
    exact, _ = nearest(cosine_distances(new.toarray(), old.toarray()), 10, without_self=False)
    assert np.mean(distances <= exact[:, -1:] * (1 + 1e-9)) > 0.9
    row_of = np.argsort(graph.order.to_array(Execution()))
    true = cosine_distances(new.toarray(), old.toarray()[row_of])
    np.testing.assert_allclose(distances, np.take_along_axis(true, nodes, axis=1), atol=1e-12)
    with pytest.raises(GraphError, match="are dense; those of the graph are sparse"):
        index.search(new.toarray(), 10)
    with pytest.raises(GraphError, match=r"have 7 columns, those of the graph 1024"):
        index.search(sp.csr_array((3, 7), dtype=np.float32), 10)


def test_more_entries_make_smaller_shards():
    dense, short, long = (
        bytes_per_owned_row(RowCost(2**18, entries, 15)) for entries in (None, 10.0, 150.0)
    )
    assert 1.5 * short < long < 0.1 * dense
