"""What the edges of neighbour lists weigh."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.kernels.graph.edge_weights import (
    BY_BOTH_ENDS,
    LEAST_WEIGHT,
    SCALE_PLACE,
    WEIGHTS,
    distance_floor,
    edge_weights,
    node_scales,
    sampled_scales,
    scale_squares,
)
from tests.oracles.brute_force_graph import nearest, squared_distances
from tests.oracles.neighbour_weights import directed


def some_lists(n=90, k=9, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 3))
    X[10:14] = X[2]
    distances, indices = nearest(squared_distances(X, X), k)
    distances[4, 5:], indices[4, 5:] = np.inf, -1
    distances[5], indices[5] = np.inf, -1
    return distances, indices


def weighed(distances, indices, kind):
    floor, scales = 0.0, None
    if kind in SCALE_PLACE:
        floor = distance_floor([sampled_scales(distances, indices, SCALE_PLACE[kind], 0, 1)])
    if kind in BY_BOTH_ENDS:
        scales = node_scales(distances, indices, kind, floor)
    return edge_weights(distances, indices, kind, floor, scales, scales)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("k", [1, 6, 9])
def test_weights_follow_their_papers(kind, k):
    distances, indices = some_lists(k=k) if k == 9 else (part[:, :k] for part in some_lists())
    weights = weighed(distances, indices, kind)
    want = directed(distances, indices, len(distances), kind)
    got = np.zeros_like(want)
    rows = np.broadcast_to(np.arange(len(indices))[:, None], indices.shape)[indices >= 0]
    got[rows, indices[indices >= 0]] = weights[indices >= 0]
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-30)
    assert weights.dtype == np.float32
    assert not weights[indices < 0].any()
    if kind != "uniform" and k > 1:
        assert len(np.unique(weights)) > 100


def test_gaussian_weights_of_known_numbers():
    distances = np.array([[0.0, 1.0, 4.0], [2.0, 2.0, np.inf]])
    indices = np.array([[3, 1, 2], [4, 7, -1]])
    want = [[1, np.exp(-1), np.exp(-4)], [np.exp(-4), np.exp(-4), 0]]
    np.testing.assert_allclose(edge_weights(distances, indices, "gaussian"), want, rtol=1e-7)


def test_fuzzy_weights_of_a_row_add_up_to_log2():
    distances = np.sort(np.random.default_rng(3).random((40, 15)), axis=1)
    weights = edge_weights(distances, np.tile(np.arange(15), (40, 1)), "fuzzy")
    np.testing.assert_allclose(weights.astype(float).sum(axis=1), 4.0, rtol=1e-6)
    assert (weights[:, 0] == 1).all()


def test_new_rows_lend_their_scale_to_their_neighbours():
    distances = np.sort(np.random.default_rng(4).random((5, 9)), axis=1)
    indices = np.tile(np.arange(100, 109), (5, 1))
    gaussian = edge_weights(distances, indices, "gaussian")
    np.testing.assert_allclose(
        edge_weights(distances, indices, "symmetric_gaussian"), gaussian, rtol=1e-6
    )
    want = np.exp(-distances / distances[:, 6:7])
    np.testing.assert_allclose(edge_weights(distances, indices, "self_tuning"), want, rtol=1e-6)


def test_floor_keeps_rows_near_duplicates_from_sharp_weights():
    distances = np.array([[0.0, 1e-12]])
    indices = np.array([[1, 2]])
    without = edge_weights(distances, indices, "gaussian", 0.0)
    with_floor = edge_weights(distances, indices, "gaussian", 1e-6)
    assert without[0, 1] == pytest.approx(np.exp(-4))
    assert with_floor[0, 1] == pytest.approx(1.0, abs=1e-5)
    zeros = edge_weights(np.zeros((1, 2)), indices, "gaussian", 0.0)
    assert zeros.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("kind", BY_BOTH_ENDS)
def test_neighbours_stay_joined_however_small_their_weight(kind):
    distances, indices = np.array([[1e4, 1e4], [0.0, 0.0]]), np.array([[1, 1], [0, 0]])
    scales = np.array([100.0, 0.0], dtype=np.float32)
    weights = edge_weights(distances, indices, kind, 0.0, scales, scales)
    assert weights[0].tolist() == [LEAST_WEIGHT] * 2
    assert weights[1].tolist() == [1.0, 1.0]
    assert np.float32(LEAST_WEIGHT) * np.float32(0.5) >= np.finfo(np.float32).tiny
    thin = np.array([100.0, 1e-3], dtype=np.float32)
    assert edge_weights(distances, indices, kind, 0.0, thin, thin)[0, 0] == LEAST_WEIGHT


def test_copies_as_only_neighbours_weigh_one():
    for kind in WEIGHTS:
        assert weighed(np.zeros((3, 2)), np.array([[1, 2], [0, 2], [0, 1]]), kind).min() == 1


def test_floor_is_a_thousandth_of_the_median_for_any_parts():
    last = np.random.default_rng(1).random(101) ** 2
    want = (1e-3 * np.sqrt(np.sort(last)[50])) ** 2
    assert distance_floor([last]) == pytest.approx(want, rel=1e-12)
    assert distance_floor([last[60:], last[:7], last[7:60]]) == distance_floor([last])
    assert distance_floor([last[:0]]) == 0.0


@pytest.mark.parametrize("every", [1, 3, 7])
def test_sampled_scales_choose_rows_by_number(every):
    distances = np.arange(40.0).reshape(20, 2)
    indices = np.ones((20, 2), dtype=np.int64)
    distances[6], indices[6] = np.inf, -1
    distances[9, 1], indices[9, 1] = np.inf, -1
    whole = sampled_scales(distances, indices, None, 0, every)
    cut = [
        sampled_scales(distances[a:b], indices[a:b], None, a, every)
        for a, b in [(0, 5), (5, 6), (6, 20)]
    ]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    assert whole.tolist() == [2.0 * r + (r != 9) for r in range(0, 20, every) if r != 6]


def test_scale_is_the_neighbour_at_its_place_or_the_last():
    distances, indices = some_lists()
    squares = scale_squares(distances, indices, 7)
    assert squares[0] == distances[0, 6]
    assert squares[4] == distances[4, 4]
    assert squares[5] == -1
    assert scale_squares(distances, indices, None)[0] == distances[0, 8]
