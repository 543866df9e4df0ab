"""The routed neighbour search: what it finds, on any chunks and workers, and what it says of it."""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import futures_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import GraphError, QualityError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.knn.distinct_rows import DistinctRows, distinct_positions, distinct_rows
from ssl_dask.graph.knn.knn_plan import RowCost
from ssl_dask.graph.knn.row_strips import checked_rows
from ssl_dask.graph.routed import routed_knn
from ssl_dask.graph.routed.routed_index import RoutedIndex
from ssl_dask.graph.routed.routed_plan import Attempt, aligned_chunks, attempts, plan_routed
from ssl_dask.graph.routed.row_exchange import FileExchange, FilePiece, open_piece
from ssl_dask.kernels.knn.routing import CENTRE_SAMPLE, train_routing
from ssl_dask.kernels.knn.shard_dense import SearchEffort
from tests.made_points import sheets
from tests.oracles.brute_force_graph import (
    cosine_distances,
    nearest,
    squared_distances,
    weight_matrix,
)

SMALL = 600_000
"""Bytes of a shard: some thousand rows make several."""


def routed(X, k=10, **options):
    options = {"shard_memory": SMALL, "target_recall": 0.9} | options
    return knn_graph(X, k, search="routed", **options)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_finds_nearly_all_true_neighbours_with_their_exact_weights(metric):
    X = sheets(1100)
    graph = routed(X, metric=metric, target_recall=0.98, shard_memory=300_000)
    assert graph.settings["n_shards"] >= 4
    assert graph.settings["replication"] > 1.05
    distances = squared_distances(X, X) if metric == "euclidean" else cosine_distances(X, X)
    best, index = nearest(distances, 10)
    exact = weight_matrix(best, index, len(X))
    W = graph.to_scipy().toarray()
    missed = np.count_nonzero((exact > 0) & (W == 0))
    assert missed < 0.02 * np.count_nonzero(exact)
    # Where a row's list is complete on both sides the weight is that of the exact graph.
    right = np.isclose(W, exact, rtol=1e-5) & (exact > 0)
    assert np.count_nonzero(right) > 0.9 * np.count_nonzero(exact)
    np.testing.assert_array_equal(W, W.T)


def test_the_recall_it_reports_is_that_of_brute_force(monkeypatch):
    weak = (Attempt(SearchEffort(cell_rows=60, n_probes=1, n_joined=0), 1),)
    monkeypatch.setattr(routed_knn, "attempts", lambda *_: weak)
    X = sheets(900)
    graph = routed(X, weights="uniform", symmetrize="union", target_recall=0.3)
    _, index = nearest(squared_distances(X, X), 10)
    W = graph.to_scipy()
    # Edges of the union hold each row's list and the lists that it is in.
    share = np.mean([np.isin(index[i], W[[i]].indices).mean() for i in range(len(X))])
    recall = graph.recall
    assert recall["n_sampled"] == 900
    assert recall["low"] <= recall["estimate"] <= recall["high"]
    assert 0.5 < recall["estimate"] <= share < 0.97


def test_a_search_that_finds_too_little_looks_harder_and_then_says_so(monkeypatch):
    weak = Attempt(SearchEffort(cell_rows=60, n_probes=1, n_joined=0), 1)
    strong = attempts(8, 0.98, 2)[0]
    monkeypatch.setattr(routed_knn, "attempts", lambda *_: (weak, strong))
    X = sheets(900)
    graph = routed(X, target_recall=0.97)
    assert graph.recall["estimate"] >= 0.97
    assert graph.settings["n_probes"] == strong.effort.n_probes
    monkeypatch.setattr(routed_knn, "attempts", lambda *_: (weak,))
    with pytest.raises(QualityError, match=r"target_recall is 0\.97"):
        routed(X, target_recall=0.97)


def test_rows_that_are_routed_again_do_not_overwrite_those_of_another_attempt(tmp_path):
    """A lost worker makes Dask run the tasks of the attempt before once more, at any time."""
    X = sheets(700)
    routing = train_routing(X, cosine=False, n_cells=24, n_shards=4, seed=0)
    exchange = FileExchange(tmp_path)

    def pieces(routed_file):
        return [open_piece(FilePiece(routed_file, shard)) for shard in range(4)]

    later, _ = routed_knn._routed(exchange, 0, X, None, routing, 6)
    want = [part.tolist() for piece in pieces(later) for part in piece]
    earlier, _ = routed_knn._routed(exchange, 0, X, None, routing, 2)
    assert len(pieces(earlier)[0][0]) < len(want[0])
    assert [part.tolist() for piece in pieces(later) for part in piece] == want


def test_routed_rows_are_removed_after_their_handles(tmp_path, cluster_client, monkeypatch):
    """A handle that outlives its files would keep Dask from writing them again."""
    here = routed(sheets(900), target_recall=0.97).to_scipy()
    alive, closed = weakref.WeakSet(), []
    kept, spread, close = FileExchange.pieces, DistinctRows.spread, FileExchange.close

    def noting_pieces(exchange, handles, shard):
        alive.update(futures_of(handles))
        return kept(exchange, handles, shard)

    def spread_with_files(*arguments):
        assert list(tmp_path.glob("routed-*"))
        return spread(*arguments)

    def noting_close(exchange):
        closed.append(len(alive))
        close(exchange)

    monkeypatch.setattr(FileExchange, "pieces", noting_pieces)
    monkeypatch.setattr(DistinctRows, "spread", spread_with_files)
    monkeypatch.setattr(FileExchange, "close", noting_close)
    weak = Attempt(SearchEffort(cell_rows=60, n_probes=1, n_joined=0), 1)
    monkeypatch.setattr(routed_knn, "attempts", lambda *_: (weak, attempts(8, 0.98, 2)[0]))
    graph = routed(sheets(900), target_recall=0.97, client=cluster_client, scratch=str(tmp_path))
    assert graph.settings["n_routes"] > 1, "there was no second attempt"
    assert closed == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []
    assert (graph.to_scipy(Execution(cluster_client)) != here).nnz == 0


def test_copies_are_one_node_and_change_nothing_for_the_others():
    base = sheets(700)
    rng = np.random.default_rng(1)
    rows = np.concatenate([np.arange(700), rng.integers(0, 40, 3300)])
    mixed = rng.permutation(len(rows))
    X = base[rows[mixed]]
    X[X == 0] = -0.0
    graph = routed(da.from_array(X, chunks=(333, -1)))
    assert graph.n_rows == 4000
    assert graph.n_nodes == 700
    assert graph.settings["n_copies"] == 3300
    execution = Execution()
    node = graph.order.to_array(execution)
    for original in (0, 5, 39, 600):
        assert len(set(node[rows[mixed] == original].tolist())) == 1
    assert len(set(node.tolist())) == 700
    # The same graph as that of the distinct rows, in the order in which they first occur.
    _, first = np.unique(rows[mixed], return_index=True)
    plain = knn_graph(X[np.sort(first)], 10, search="exact")
    W, exact = graph.to_scipy().toarray(), plain.to_scipy().toarray()
    assert np.count_nonzero((exact > 0) & (W == 0)) < 0.02 * np.count_nonzero(exact)


@pytest.mark.parametrize("n_distinct", [1, 2, 40])
def test_rows_that_are_nearly_all_copies_are_searched_and_measured(n_distinct):
    rng = np.random.default_rng(3)
    base = rng.normal(size=(n_distinct, 4)).astype(np.float32)
    X = base[rng.integers(n_distinct, size=20_000)]
    graph, exact = routed(X, 3), knn_graph(base, 3, search="exact")
    assert (graph.n_nodes, graph.n_edges) == (n_distinct, exact.n_edges)
    # Every distinct row is measured that has neighbours, though few rows are first of their kind.
    assert graph.recall["n_sampled"] == (n_distinct if n_distinct > 1 else 0)
    assert graph.recall["estimate"] == 1.0


def test_drawn_rows_are_no_copies_and_the_same_for_any_strips():
    rng = np.random.default_rng(4)
    X = rng.integers(0, 12, size=(2000, 3)).astype(np.float32)
    first = np.sort(np.unique(X, axis=0, return_index=True)[1])
    found = []
    for chunks in [(2000,), (700, 13, 1287)]:
        rows = checked_rows(da.from_array(X, chunks=(chunks, -1)), Execution())
        copies = distinct_rows(rows, Execution())
        drawn = copies.drawn(chunks, 100, seed=5)
        parts = dask.compute(*copies.copies)
        starts = np.cumsum([0, *chunks])
        positions = map(distinct_positions, drawn, parts, chunks)
        found.append(np.concatenate([p + s for p, s in zip(positions, starts, strict=False)]))
    assert len(set(found[0].tolist())) == 100
    assert set(found[0].tolist()) < set(first.tolist())
    assert found[0].tolist() == found[1].tolist()


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("d", [1, 3])
def test_few_rows_give_the_exact_graph(n, d):
    X = np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)
    graph, exact = routed(X, 10), knn_graph(X, 10, search="exact")
    W = graph.to_scipy()
    assert (exact.to_scipy() != W).nnz == 0
    assert graph.recall["estimate"] == 1.0


def test_zero_rows_under_cosine_have_no_neighbours():
    X = sheets(1200)
    X[[3, 77, 500]] = 0
    X[:, 2] = 1 * (X[:, 2] != 0)
    graph = routed(X, metric="cosine")
    assert graph.n_nodes == 1198
    assert graph.settings["n_without_neighbours"] == 1
    assert graph.settings["notes"] == ["3 rows hold only zeros and have no neighbours"]
    node = graph.order.to_array(Execution())
    assert node[3] == node[77] == node[500]
    all_zero = routed(np.zeros((50, 3)), metric="cosine")
    assert (all_zero.n_nodes, all_zero.n_edges) == (1, 0)


@pytest.mark.parametrize("factor", [2.0**100, 2.0**-100, 2.0**64])
def test_units_of_any_size_give_the_same_neighbours(factor):
    X = sheets(1500)
    assert np.abs(X).max() < 2.0**20
    small = routed(X, weights="uniform")
    assert small.recall["n_sampled"] == 1000
    large = routed(X * np.float32(factor), weights="uniform")
    assert large.recall["n_sampled"] == 1000
    assert large.recall["estimate"] > 0.9
    a, b = small.to_scipy(), large.to_scipy()
    assert (a != b).nnz < 0.04 * a.nnz


def test_rows_far_outside_find_neighbours_and_spoil_no_others():
    X = sheets(1500)
    far = np.array([3, 700])
    X[far, 1] = 1e30
    graph = routed(X, weights="uniform", symmetrize="union")
    assert graph.settings["n_without_neighbours"] == 0
    W, exact = (
        g.to_scipy().toarray()
        for g in (graph, knn_graph(X, 10, weights="uniform", symmetrize="union", search="exact"))
    )
    assert W[3, 700] > 0
    rest = np.setdiff1d(np.arange(1500), far)
    missed = (exact > 0) & (W == 0)
    assert np.count_nonzero(missed[np.ix_(rest, rest)]) < 0.1 * np.count_nonzero(exact)


@pytest.mark.parametrize("factor", [2.0**80, 2.0**-80])
def test_an_index_of_rows_of_any_size_finds_neighbours_of_new_rows(factor, tmp_path):
    X = sheets(1700) * np.float32(factor)
    routed(X[:1500], index_folder=tmp_path)
    distances, _ = RoutedIndex.load(tmp_path).search(X[1500:], 10)
    # In units in which the float64 squares of the oracle are of usual size.
    new, old = (part.astype(np.float64) / factor for part in (X[1500:], X[:1500]))
    best = np.sqrt(np.sort(squared_distances(new, old), axis=1)[:, :10])
    assert np.mean(distances / factor <= best[:, -1:] * (1 + 1e-6)) > 0.95


@pytest.mark.parametrize("sparse", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_cosine_of_so_many_rows_that_the_centre_is_that_of_some(sparse):
    X = sheets(3100)
    X[:, ::2] *= np.abs(X[:, ::2]) > 1
    graph = routed(sp.csr_array(X) if sparse else X, metric="cosine", shard_memory=2**23)
    cost = RowCost(8, None, 10)
    plan = plan_routed(3100, cost, shard_memory=2**23, memory_per_task=2**31, n_slots=1)
    assert plan.n_sample >= 2 * CENTRE_SAMPLE, "all sampled rows would be looked at"
    assert graph.recall["estimate"] > 0.9
    assert graph.recall["n_sampled"] > 900


def test_one_crowded_place_and_constant_columns():
    rng = np.random.default_rng(0)
    X = np.zeros((3000, 5), dtype=np.float32)
    X[:, :2] = 1e-3 * rng.normal(size=(3000, 2))
    X[:50, :2] += 1000 * rng.normal(size=(50, 2))
    X[:, 3] = 7
    graph = routed(X, 10)
    assert graph.recall["estimate"] > 0.97
    assert graph.settings["n_without_neighbours"] == 0


def test_wide_rows_are_searched_in_a_sketch_and_measured_as_they_are():
    rng = np.random.default_rng(0)
    X = (sheets(900, 12) @ rng.normal(size=(12, 300))).astype(np.float32)
    X += 0.01 * rng.normal(size=X.shape).astype(np.float32)
    graph = routed(X, 10, shard_memory=2_000_000, target_recall=0.97)
    assert graph.settings["sketch"]
    assert graph.settings["n_shards"] >= 2
    best, index = nearest(squared_distances(X, X), 10)
    exact = weight_matrix(best, index, len(X))
    W = graph.to_scipy().toarray()
    assert np.count_nonzero((exact > 0) & (W == 0)) < 0.03 * np.count_nonzero(exact)


def test_a_worker_without_room_for_a_shard_is_refused_with_the_room_needed():
    small = Execution(threads=1, memory_per_task=2**25)
    with pytest.raises(GraphError, match=r"needs \d+ MiB .*or lower shard_memory"):
        knn_graph(np.zeros((60_000, 64), np.float32), search="routed", execution=small)


@settings(max_examples=60)
@given(
    n_rows=st.integers(1, 10**9),
    n_columns=st.integers(1, 2000),
    shard_memory=st.integers(2**24, 2**31),
    n_slots=st.integers(1, 500),
)
def test_shards_do_not_depend_on_the_cluster(n_rows, n_columns, shard_memory, n_slots):
    def plan(n_slots):
        return plan_routed(
            n_rows,
            RowCost(n_columns, None, 15),
            shard_memory=shard_memory,
            memory_per_task=2**40,
            n_slots=n_slots,
        )

    one, many = plan(1), plan(n_slots)
    assert (one.n_shards, one.n_cells, one.n_sample) == (many.n_shards, many.n_cells, many.n_sample)
    # Shards are made of whole cells: with fewer cells they would be larger than what fits a task.
    assert one.n_cells >= min(4 * one.n_shards, max(n_rows // 64, 1))
    assert one.n_shards <= one.n_cells
    chunks = aligned_chunks(n_rows, many.n_strips)
    assert sum(chunks) == n_rows
    assert len(chunks) <= 64
    assert all(size % 512 == 0 for size in chunks[:-1])


def in_chunks(folder, X, n_chunks):
    """X as a Dask array whose chunks any worker can read again."""
    blocks = []
    for number, part in enumerate(np.array_split(X, n_chunks)):
        path = folder / f"rows-{number}.npy"
        np.save(path, part)
        blocks.append(da.from_delayed(dask.delayed(np.load)(str(path)), part.shape, dtype=X.dtype))
    return da.concatenate(blocks)


@pytest.mark.slow
@pytest.mark.parametrize("by_files", [False, True])
def test_a_worker_killed_in_the_middle_changes_nothing(by_files, tmp_path, losing_client):
    X = sheets(120_000, 16)
    want = knn_graph(X, 10, search="routed", shard_memory=40_000_000)
    killed = []

    def kill() -> None:
        time.sleep(1.0)
        worker = next(iter(losing_client.cluster.workers.values()))
        killed.append(worker.process.pid)
        os.kill(worker.process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    rows = in_chunks(tmp_path, X, 8)
    (tmp_path / "routed").mkdir()
    got = knn_graph(
        rows,
        10,
        search="routed",
        shard_memory=40_000_000,
        client=losing_client,
        scratch=str(tmp_path / "routed") if by_files else None,
    )
    thread.join()
    assert killed
    a, b = got.to_scipy(Execution(losing_client)), want.to_scipy()
    assert a.data.tobytes() == b.data.tobytes()
    assert a.indices.tolist() == b.indices.tolist()


@pytest.mark.parametrize("size", ["16MiB", 0, -1, 1e9, True])
def test_a_size_of_shards_that_is_none_is_refused(size):
    with pytest.raises(GraphError, match=r"shard_memory is .*whole number of bytes"):
        knn_graph(np.eye(9), 2, shard_memory=size)
