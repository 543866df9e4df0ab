"""From neighbour lists to symmetric weights."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ssl_dask.kernels import edge_weights as ew
from ssl_dask.kernels.edge_weights import (
    distance_floor,
    edge_weights,
    edges_by_strip,
    last_distances,
    symmetric_strip,
)
from tests.oracles.brute_force_graph import nearest, squared_distances, weight_matrix


def some_lists(n=90, k=5, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 3))
    X[10:14] = X[2]
    return nearest(squared_distances(X, X), k)


def test_gaussian_weights_follow_the_formula():
    distances = np.array([[0.0, 1.0, 4.0], [2.0, 2.0, np.inf]])
    indices = np.array([[3, 1, 2], [4, 7, -1]])
    weights = edge_weights(distances, indices, "gaussian", 0.0)
    want = [[1, np.exp(-1), np.exp(-4)], [np.exp(-4), np.exp(-4), 0]]
    np.testing.assert_allclose(weights, want, rtol=1e-7)
    assert weights.dtype == np.float32


def test_floor_keeps_rows_near_duplicates_from_sharp_weights():
    distances = np.array([[0.0, 1e-12]])
    indices = np.array([[1, 2]])
    without = edge_weights(distances, indices, "gaussian", 0.0)
    with_floor = edge_weights(distances, indices, "gaussian", 1e-6)
    assert without[0, 1] == pytest.approx(np.exp(-4))
    assert with_floor[0, 1] == pytest.approx(1.0, abs=1e-5)
    zeros = edge_weights(np.zeros((1, 2)), indices, "gaussian", 0.0)
    assert zeros.tolist() == [[1.0, 1.0]]


def test_floor_is_a_thousandth_of_the_median_for_any_parts():
    last = np.random.default_rng(1).random(101) ** 2
    want = (1e-3 * np.sqrt(np.sort(last)[50])) ** 2
    assert distance_floor([last]) == pytest.approx(want, rel=1e-12)
    assert distance_floor([last[60:], last[:7], last[7:60]]) == distance_floor([last])
    assert distance_floor([last[:0]]) == 0.0


@pytest.mark.parametrize("every", [1, 3, 7])
def test_last_distances_choose_rows_by_number(every):
    distances = np.arange(40.0).reshape(20, 2)
    distances[6] = np.inf
    distances[9, 1] = np.inf
    whole = last_distances(distances, 0, every)
    cut = [last_distances(distances[a:b], a, every) for a, b in [(0, 5), (5, 6), (6, 20)]]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    want = [2.0 * r + (r != 9) for r in range(0, 20, every) if r != 6]
    assert whole.tolist() == want


@pytest.mark.parametrize("symmetrize", ["average", "union"])
@pytest.mark.parametrize("cuts", [(), (1,), (30, 31, 75)])
def test_exchange_between_strips_gives_the_whole_matrix(symmetrize, cuts):
    distances, indices = some_lists()
    distances[4, 2:], indices[4, 2:] = np.inf, -1
    n = len(distances)
    floor = distance_floor([last_distances(distances, 0, 1)])
    weights = edge_weights(distances, indices, "gaussian", floor)
    bounds = [0, *cuts, n]
    runs = list(pairwise(bounds))
    starts = np.array(bounds[:-1])
    turned = [edges_by_strip(indices[a:b], weights[a:b], a, starts, n) for a, b in runs]
    strips = [
        symmetric_strip(indices[a:b], weights[a:b], [pieces[s] for pieces in turned], n, symmetrize)
        for s, (a, b) in enumerate(runs)
    ]
    W = np.concatenate([strip.toarray() for strip in strips])
    np.testing.assert_array_equal(W, W.T)
    np.testing.assert_allclose(
        W, weight_matrix(distances, indices, n, symmetrize=symmetrize), rtol=1e-6
    )
    assert all(strip.has_sorted_indices for strip in strips)
    assert sum(strip.nnz for strip in strips) == np.count_nonzero(W) > n


def test_edges_name_rows_of_their_strip():
    indices = np.array([[2, 0], [3, -1]])
    weights = np.array([[0.5, 0.25], [0.125, 0]], dtype=np.float32)
    pieces = edges_by_strip(indices, weights, 10, np.array([0, 2]), 12)
    assert [edges.rows.tolist() for edges in pieces] == [[0], [0, 1]]
    assert [edges.columns.tolist() for edges in pieces] == [[10], [10, 11]]
    assert [edges.weights.tolist() for edges in pieces] == [[0.25], [0.5, 0.125]]
    assert pieces[0].rows.dtype == np.int32


def test_choices_are_those_that_the_kernels_know():
    distances, indices = some_lists(20, 3)
    for weights in ew.WEIGHTS:
        assert (edge_weights(distances, indices, weights, 0.0) > 0).all()
