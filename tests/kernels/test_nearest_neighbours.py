"""The search kernels against brute force in float64: the same lists, with ties and duplicates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.kernels.knn import exact_dense, exact_sparse
from ssl_dask.kernels.knn.exact_dense import update_nearest
from ssl_dask.kernels.knn.exact_sparse import update_nearest_sparse
from ssl_dask.kernels.knn.neighbour_lists import empty_lists
from tests.oracles.brute_force_graph import cosine_distances, nearest, squared_distances


def search(X, k, metric="euclidean", cuts=(), order=None):
    """Return the lists of all rows of X, points taken in runs cut at `cuts`, in `order`."""
    X = X if sp.issparse(X) else np.ascontiguousarray(X, dtype=np.float32)
    update = update_nearest_sparse if sp.issparse(X) else update_nearest
    n = X.shape[0]
    distances, indices = empty_lists(n, k)
    bounds = [0, *sorted(set(cuts)), n]
    runs = list(pairwise(bounds))
    for a, b in [runs[i] for i in order] if order else runs:
        update(X, np.arange(n), X[a:b], np.arange(a, b), distances, indices, metric)
    return distances, indices


def lattice(rng, n, d, span=4):
    return rng.integers(0, span, (n, d)).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_lattice_points_with_ties_and_duplicates_are_exact(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    n, d = data.draw(st.integers(1, 300)), data.draw(st.sampled_from([1, 2, 3, 8, 17, 40]))
    k = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(seed)
    # Whole numbers, scaled and moved by powers of two: float64 arithmetic on them is exact.
    scale = 2.0 ** data.draw(st.sampled_from([0, -60, 60, 20]))
    X = (lattice(rng, n, d) + data.draw(st.sampled_from([0, 1024, -(2**20)]))) * np.float32(scale)
    cuts = data.draw(st.lists(st.integers(1, max(n - 1, 1)), max_size=4)) if n > 1 else []
    distances, indices = search(X, k, cuts=cuts)
    want, who = nearest(squared_distances(X, X), k)
    np.testing.assert_array_equal(indices, who)
    np.testing.assert_array_equal(distances, want)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("d", [2, 20, 70])
def test_random_rows_are_exact_over_many_tiles(monkeypatch, metric, offset, d):
    monkeypatch.setattr(exact_dense, "TILE_POINTS", 48)
    monkeypatch.setattr(exact_dense, "TILE_QUERIES", 33)
    X = (np.random.default_rng(d).normal(size=(300, d)) + offset).astype(np.float32)
    distances, indices = search(X, 9, metric)
    brute = squared_distances if metric == "euclidean" else cosine_distances
    want, who = nearest(brute(X, X), 9)
    if metric == "cosine" and offset:
        # 1 - cos of nearly parallel rows: rows at distances that agree to 1e-15 may change places.
        np.testing.assert_allclose(distances, want, atol=1e-15)
        return
    np.testing.assert_array_equal(indices, who)
    np.testing.assert_allclose(distances, want, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("d", [16, 200])
def test_distances_that_float32_cannot_tell_apart_are_sorted_right(metric, d):
    # Shells of nearly one radius, far from the bulk of the rows that the origin is moved to:
    # inner products of float32 put their members in a wrong order.
    rng = np.random.default_rng(d)
    bulk = rng.normal(size=(300, d))
    shells = [bulk]
    for side in (60, -60):
        around = rng.normal(size=(100, d))
        around /= np.linalg.norm(around, axis=1, keepdims=True)
        around *= 1 + 1e-5 * rng.random((100, 1))
        around[0] = 0
        shells.append(around + side * np.sign(rng.normal(size=d)))
    X = np.concatenate(shells).astype(np.float32)
    brute = (squared_distances if metric == "euclidean" else cosine_distances)(X, X)
    _, indices = search(X, 10, metric)
    _, who = nearest(brute, 10)
    np.testing.assert_array_equal(indices, who)
    centred = X - np.median(X, axis=0)
    squares = (centred**2).sum(axis=1)
    rough = squares[:, None] + squares - 2 * centred @ centred.T
    np.fill_diagonal(rough, np.inf)
    wrong = [
        set(row) != set(true) for row, true in zip(rough.argsort(axis=1)[:, :10], who, strict=True)
    ]
    assert metric == "cosine" or np.count_nonzero(wrong) > 20, "the case is too easy"


def test_one_far_row_does_not_spoil_the_others():
    X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    X[17] = 1e30
    X[18] = -3e38
    X[19] = 3e38
    _, indices = search(X, 5)
    _, who = nearest(squared_distances(X, X), 5)
    np.testing.assert_array_equal(indices, who)


@pytest.mark.parametrize("size", [1e-22, 3e-23, 1e-30, 1e-41, 1e-45])
def test_very_small_values_are_kept_apart(size):
    X = (lattice(np.random.default_rng(1), 80, 3, 9) * size).astype(np.float32)
    X[5] = 1.0
    _, indices = search(X, 4)
    _, who = nearest(squared_distances(X, X), 4)
    np.testing.assert_array_equal(indices, who)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_lists_do_not_depend_on_runs_and_their_order(kind, metric):
    X = np.random.default_rng(3).normal(size=(150, 30)).astype(np.float32)
    X[np.abs(X) < 1.2] = 0
    X[40:60] = X[0]
    X[70] = 0
    X = sp.csr_array(X) if kind == "sparse" else X
    whole = search(X, 7, metric)
    for cuts, order in [
        ((50, 51, 120), (2, 0, 3, 1)),
        ((75,), (1, 0)),
        ((7, 9, 149), (3, 2, 1, 0)),
    ]:
        for got, want in zip(search(X, 7, metric, cuts, order), whole, strict=True):
            np.testing.assert_array_equal(got, want)
    assert len(np.unique(whole[1])) > 60


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_the_same_both_ways_round(kind, metric):
    X = np.random.default_rng(4).normal(size=(60, 37)).astype(np.float32)
    X[np.abs(X) < 0.7] = 0
    distances, indices = search(sp.csr_array(X) if kind == "sparse" else X, 59, metric)
    full = np.zeros((60, 60))
    np.put_along_axis(full, indices, distances, axis=1)
    np.testing.assert_array_equal(full, full.T)
    assert np.count_nonzero(full) == 60 * 59


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_sparse_rows_are_exact(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n, d = data.draw(st.integers(1, 90)), data.draw(st.sampled_from([1, 5, 60]))
    k, metric = data.draw(st.integers(1, 12)), data.draw(st.sampled_from(["cosine", "euclidean"]))
    X = rng.integers(1, 3, (n, d)) * (rng.random((n, d)) < data.draw(st.sampled_from([0.1, 0.6])))
    X = X.astype(np.float32)
    distances, indices = search(sp.csr_array(X), k, metric)
    brute = cosine_distances(X, X) if metric == "cosine" else squared_distances(X, X)
    want, who = nearest(brute, k)
    np.testing.assert_array_equal(indices, who)
    np.testing.assert_array_equal(distances, want)


@pytest.mark.parametrize("tile", [20, 64, 2048])
def test_sparse_tiles_with_common_columns_equal_dense_search(monkeypatch, tile):
    monkeypatch.setattr(exact_sparse, "TILE_POINTS", tile)
    rng = np.random.default_rng(5)
    share = np.linspace(0.02, 0.9, 40)  # some columns are kept as dense vectors, some as lists
    X = (rng.random((400, 40)) * (rng.random((400, 40)) < share)).astype(np.float32)
    for metric in ("cosine", "euclidean"):
        distances, indices = search(sp.csr_array(X), 8, metric)
        want, who = search(X, 8, metric)
        np.testing.assert_array_equal(indices, who)
        np.testing.assert_allclose(distances, want, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("size", [1e-30, 1e-18, 1e-10, 1.0, 1e10, 1e18])
def test_common_columns_of_any_size_are_searched_exactly(metric, size):
    # Half of the columns are dense; rows differ in the last bits of float32 products.
    rng = np.random.default_rng(4)
    base = rng.random((1, 300)) * (rng.random((1, 300)) < 0.6)
    X = base * (1.0 + 1e-6 * rng.normal(size=(400, 300)))
    X = (X * size).astype(np.float32)
    _, found = search(sp.csr_array(X), 7, metric)
    Y = X.astype(np.float64)
    squares = (Y * Y).sum(axis=1)
    # In column order, as the kernel adds.
    product = np.zeros((400, 400))
    for column in range(300):
        product += np.multiply.outer(Y[:, column], Y[:, column])
    squares = np.diag(product)
    if metric == "cosine":
        away = 1.0 - product / np.sqrt(np.multiply.outer(squares, squares))
    else:
        away = np.maximum(squares[:, None] + squares - 2.0 * product, 0.0)
    np.fill_diagonal(away, np.inf)
    kth = np.sort(away, axis=1)[:, 6]
    chosen = np.take_along_axis(away, found, axis=1)
    # The last bits of the final expression may differ from the kernel's.
    slack = 1e-15 if metric == "cosine" else 1e-15 * squares
    assert (chosen.max(axis=1) <= kth + 4 * slack).all()


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_rows_of_zeros_have_no_neighbours_under_cosine(kind):
    X = np.random.default_rng(6).normal(size=(40, 5)).astype(np.float32)
    X[[3, 8]] = 0
    distances, indices = search(sp.csr_array(X) if kind == "sparse" else X, 39, "cosine")
    assert (indices[[3, 8]] == -1).all()
    assert np.isinf(distances[[3, 8]]).all()
    others = np.setdiff1d(np.arange(40), [3, 8])
    assert not np.isin(indices[others], [3, 8]).any()
    assert (np.count_nonzero(indices[others] >= 0, axis=1) == 37).all()


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_equal_and_doubled_rows_are_at_cosine_distance_zero(kind):
    X = np.random.default_rng(7).normal(size=(30, 11)).astype(np.float32)
    X[10], X[20] = X[5], 2 * X[5]
    distances, indices = search(sp.csr_array(X) if kind == "sparse" else X, 2, "cosine")
    assert indices[5].tolist() == [10, 20]
    assert (distances[5] == 0).all()


def test_many_duplicates_take_the_smallest_row_numbers():
    X = np.repeat(np.float32([[1, 2], [5, 5]]), 500, axis=0)
    distances, indices = search(X, 4, cuts=(300, 800))
    assert (distances == 0).all()
    assert indices[0].tolist() == [1, 2, 3, 4]
    assert indices[499].tolist() == [0, 1, 2, 3]
    assert indices[999].tolist() == [500, 501, 502, 503]


def test_new_rows_may_find_rows_of_the_same_number():
    X = np.float32([[0.0], [1.0], [2.0]])
    distances, indices = empty_lists(1, 2)
    update_nearest(X[1:2], np.array([-1]), X, np.arange(3), distances, indices)
    assert indices.tolist() == [[1, 0]]
    assert distances.tolist() == [[0.0, 1.0]]
