"""Cells, groups of cells, hashes of rows and merged lists against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from ssl_dask.kernels.arithmetic.row_hash import copies_among, row_hashes
from ssl_dask.kernels.knn.cells import (
    balanced_groups,
    k_means,
    nearest_cells,
    nearly_nearest_cells,
    split_cells,
)
from ssl_dask.kernels.knn.missed_neighbours import missed_neighbours
from ssl_dask.kernels.knn.neighbour_lists import add_edges, empty_lists
from ssl_dask.kernels.knn.shard_cells import Shard, cells_within, queries_by_cell, shard_cells
from ssl_dask.kernels.knn.shard_dense import SearchEffort, search_shard
from tests.oracles.brute_force_graph import cosine_distances, nearest, squared_distances


@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 5), st.integers(0, 5))
def test_nearest_cells_are_those_of_brute_force(n, m, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-9, 9, (n, d)).astype(np.float32)
    centres = rng.integers(-9, 9, (m, d)).astype(np.float32)
    p = min(m, 4)
    squares = ((X[:, None] - centres[None]) ** 2).sum(axis=2)
    want = np.sort(squares, axis=1)[:, :p]
    found = nearest_cells(X, centres, p)
    np.testing.assert_array_equal(np.take_along_axis(squares, found, axis=1), want)
    assert all(len(set(row)) == p for row in found.tolist())


def test_k_means_finds_clusters_and_makes_no_two_equal_centres():
    rng = np.random.default_rng(0)
    places = 100 * rng.normal(size=(5, 3))
    X = (places[rng.integers(0, 5, 2000)] + rng.normal(size=(2000, 3))).astype(np.float32)
    centres = k_means(X, 40, 0)
    assert len(centres) == len(np.unique(centres, axis=0)) <= 40
    distance = np.sqrt(((places[:, None] - centres[None]) ** 2).sum(axis=2)).min(axis=1)
    assert distance.max() < 3
    assert len(k_means(np.zeros((30, 2), np.float32), 8, 0)) <= 8
    assert len(k_means(X[:3].copy(), 8, 0)) == 3


def test_groups_have_nearly_equal_weight_and_hold_cells_that_follow_each_other():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(300, 4)).astype(np.float32)
    weights = rng.integers(50, 150, 300).astype(float)
    for n_groups in (1, 2, 7, 32):
        groups, ranks = balanced_groups(centres, weights, n_groups)
        assert sorted(ranks.tolist()) == list(range(300))
        assert (np.diff(groups[np.argsort(ranks)]) >= 0).all()
        held = np.bincount(groups, weights=weights, minlength=n_groups)
        assert held.min() > 0
        assert held.max() < 1.25 * held.mean()
    alone, _ = balanced_groups(centres[:5], weights[:5], 5)
    assert sorted(alone.tolist()) == [0, 1, 2, 3, 4]


def test_thousands_of_cells_without_rows_are_put_in_order():
    centres = np.random.default_rng(0).normal(size=(8000, 3)).astype(np.float32)
    weights = np.zeros(8000)
    weights[[3, 900, 901]] = 1000, 2000, 1000
    groups, ranks = balanced_groups(centres, weights, 2)
    assert sorted(ranks.tolist()) == list(range(8000))
    assert (np.diff(groups[np.argsort(ranks)]) >= 0).all()
    assert np.bincount(groups, weights).tolist() in ([1000, 3000], [3000, 1000], [2000, 2000])


def test_crowded_cells_are_split():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 3)).astype(np.float32)
    centres = np.array([[0, 0, 0], [50, 50, 50]], np.float32)
    more = split_cells(X, centres, nearest_cells(X, centres, 1)[:, 0], 200, 0)
    counts = np.bincount(nearest_cells(X, more, 1)[:, 0])
    assert len(more) > 20
    assert counts.max() < 1000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30))
def test_rows_have_equal_hashes_exactly_if_they_are_equal(values):
    X = np.array(values, dtype=np.float32)
    negative = np.where(X == 0, np.float32(-0.0), X)
    hashes = row_hashes(X)
    np.testing.assert_array_equal(hashes, row_hashes(np.ascontiguousarray(negative)))
    numbers = np.arange(len(X)) * 3 + 5
    first = copies_among(hashes, numbers)
    want = [
        next(n for n, other in zip(numbers, values, strict=True) if other == row) for row in values
    ]
    assert first.tolist() == want
    stored = sp.csr_array(X)
    sparse = row_hashes(stored)
    assert copies_among(sparse, numbers).tolist() == want


def test_hashes_of_distinct_rows_differ():
    X = np.random.default_rng(0).integers(0, 3, (20_000, 12)).astype(np.float32)
    distinct = np.unique(X, axis=0)
    hashes = row_hashes(np.ascontiguousarray(distinct))
    assert len(distinct) > 15_000
    assert len(np.unique(hashes, axis=0)) == len(distinct)


def test_edges_enter_lists_once_by_distance_then_number():
    lists = empty_lists(2, 2)
    rows = np.array([0, 0, 0, 1])
    points = np.array([5, 5, 6, 1])
    add_edges(rows, points, np.array([2.0, 2.0, 1.0, 3.0]), *lists)
    assert lists[1].tolist() == [[6, 5], [1, -1]]
    add_edges(np.array([0]), np.array([4]), np.array([2.0]), *lists)
    assert lists[1][0].tolist() == [6, 4]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_what_a_list_misses_is_found(metric):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6)).astype(np.float32)
    nodes = rng.permutation(3000)
    queries = np.sort(rng.choice(3000, 40, replace=False))
    exact = (squared_distances if metric == "euclidean" else cosine_distances)(X[queries], X)
    exact[np.arange(40), queries] = np.inf
    near = np.argsort(exact, axis=1)[:, :8]
    kept = near[:, [0, 2, 3, 5, 7]]
    kth = exact[np.arange(40), kept[:, -1]]
    Z = X / np.linalg.norm(X, axis=1)[:, None] if metric == "cosine" else X
    known = nodes[np.concatenate([kept, queries[:, None]], axis=1)]
    query, distance = missed_neighbours(
        X[queries], Z[queries].astype("f4"), known, kth, X, Z.astype("f4"), nodes, metric
    )
    wanted = exact[np.arange(40)[:, None], near[:, [1, 4, 6]]]
    for i in range(40):
        np.testing.assert_allclose(np.sort(distance[query == i]), wanted[i], rtol=1e-6, atol=1e-9)
    assert len(query) == 120


def test_cells_whose_border_is_far_are_left_out():
    rng = np.random.default_rng(11)
    X = rng.normal(size=(300, 7)).astype(np.float32)
    is_query = rng.random(300) < 0.8
    cells = shard_cells(X, is_query, cell_rows=20, n_probes=9, seed=1)
    assert np.array_equal(np.sort(cells.order), np.arange(300))
    distances = np.linalg.norm(X[:, None].astype(float) - cells.centres, axis=2)
    assert np.array_equal(cells.probes[:, 0], distances.argmin(axis=1))
    limits = rng.random(300).astype(np.float32)
    wanted = cells_within(X, is_query, cells.probes, cells.centres, limits)
    own = cells.centres[cells.probes[:, 0]].astype(float)
    for p in range(1, 9):
        axis = cells.centres[cells.probes[:, p]] - own
        axis /= np.linalg.norm(axis, axis=1)[:, None]
        border = (axis * (own + cells.centres[cells.probes[:, p]]) / 2).sum(axis=1)
        away = border - (axis * X).sum(axis=1)
        sure = is_query & (np.abs(away - limits) > 1e-5)
        assert np.array_equal(wanted[sure, p], (away <= limits)[sure])
    assert not wanted[~is_query].any()
    assert 0.1 < wanted[is_query, 1:].mean() < 0.9
    rows, bounds = queries_by_cell(cells.probes, wanted, len(cells.centres))
    for cell in range(len(cells.centres)):
        asked = np.flatnonzero((wanted & (cells.probes == cell))[:, 1:].any(axis=1))
        assert np.array_equal(np.sort(rows[bounds[cell] : bounds[cell + 1]]), asked)


def test_many_cells_are_found_through_groups_and_nearly_always_right():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(20_000, 6)).astype(np.float32)
    centres = k_means(X, 400, 1)
    want = nearest_cells(X, centres, 8)
    got = nearly_nearest_cells(X, centres, 8, 1)
    assert got.shape == want.shape
    assert 0.99 < (got[:, 0] == want[:, 0]).mean() < 1
    shared = [len(np.intersect1d(a, b)) for a, b in zip(got, want, strict=True)]
    assert np.mean(shared) > 0.98 * 8
    # Few cells are compared with every row.
    np.testing.assert_array_equal(
        nearly_nearest_cells(X, centres[:200], 8, 1), nearest_cells(X, centres[:200], 8)
    )


def test_rows_so_near_that_their_products_cannot_be_told_probe_other_cells_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 4)).astype(np.float32)
    X[:60] = X[0] + 1e-5 * rng.normal(size=(60, 4)).astype(np.float32)
    products = X[:60] @ X[:60].T
    squares = np.diag(products)
    assert (squares[:, None] + squares[None, :] - 2 * products < 0).any()
    owned, numbers = np.ones(900, bool), np.arange(900)
    effort = SearchEffort(cell_rows=100, n_probes=6, n_joined=0, reach=np.inf)
    with np.errstate(invalid="raise"):
        distances, _ = search_shard(Shard(X, X, owned, numbers, "euclidean"), 5, effort)
    best, _ = nearest(squared_distances(X, X), 5)
    assert np.mean(distances[60:] <= best[60:, -1:] * (1 + 1e-6)) > 0.97
