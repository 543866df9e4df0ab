"""Graphs of edges that users have."""

from __future__ import annotations

from itertools import pairwise

import dask
import numpy as np
import pytest

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.edge_graph import edge_graph
from ssl_dask.kernels.graph.coo_strips import both_ways, entries_by_strip, summed_strip
from tests.oracles.joined_graphs import edge_matrix


def some_edges(n=40, n_edges=300, seed=0):
    rng = np.random.default_rng(seed)
    u, v = rng.integers(-2, n, size=(2, n_edges))
    return u, v, rng.random(n_edges).round(2)


def graph_of(u, v, w, n, cuts=(), execution=None, **choices):
    bounds = [0, *cuts, len(u)]
    blocks = [
        dask.delayed((u[a:b], v[a:b], w[a:b]), pure=False, traverse=False)
        for a, b in pairwise(bounds)
    ]
    return edge_graph(blocks, n, execution=execution or Execution(threads=1), **choices)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("duplicates", ["sum", "max"])
def test_graph_is_that_of_the_oracle_for_any_blocks(directed, duplicates):
    u, v, w = some_edges()
    want = edge_matrix(u, v, w, 40, directed=directed, duplicates=duplicates)
    choices = {"directed": directed, "duplicates": duplicates}
    graph = graph_of(u, v, w, 40, **choices)
    W = graph.to_scipy().toarray()
    np.testing.assert_allclose(W, want, rtol=1e-6)
    np.testing.assert_array_equal(W, W.T)
    assert graph.n_edges == np.count_nonzero(want) > 200
    cut = graph_of(u, v, w, 40, (3, 3, 150, 299), **choices)
    np.testing.assert_array_equal(cut.to_scipy().toarray(), W)
    unknown, loops = int(((u < 0) | (v < 0)).sum()), int(((u == v) & (u >= 0)).sum())
    assert graph.settings["edges_with_unknown_ends_dropped"] == unknown > 0
    assert graph.settings["self_edges_dropped"] == loops > 0
    assert graph.settings["edges_given"] == 300
    known = (u >= 0) & (v >= 0)
    local = BlockGraph.from_edges(u[known], v[known], w[known], n_rows=40, **choices)
    np.testing.assert_array_equal(local.to_scipy().toarray(), W)


def test_directions_differ_only_where_both_were_given():
    u, v, w = np.array([0, 1, 2]), np.array([1, 0, 1]), np.array([1.0, 3.0, 2.0])
    one = graph_of(u, v, w, 3, duplicates="max").to_scipy().toarray()
    two = graph_of(u, v, w, 3, duplicates="max", directed=True).to_scipy().toarray()
    assert one[0, 1] == one[1, 0] == 3
    assert two[0, 1] == two[1, 0] == 2
    assert (one[1, 2], two[1, 2]) == (2, 1)


def test_strips_are_rows_of_one_matrix():
    u, v, w = some_edges(seed=3)
    keep = (u >= 0) & (v >= 0) & (u != v)
    entries = both_ways(u[keep], v[keep], w[keep], directed=False)
    whole = summed_strip(entries, 0, 40, 40, "sum").toarray()
    parts = entries_by_strip(entries, np.array([0, 1, 25, 40]))
    cut = [
        summed_strip(part, start, n, 40, "sum").toarray()
        for part, start, n in zip(parts, (0, 1, 25), (1, 24, 15), strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    assert whole.any(axis=1).sum() > 30


def test_small_weights_are_kept_and_too_large_sums_refused():
    ends = np.array([0, 0]), np.array([1, 1])
    tiny = graph_of(*ends, np.array([1e-60, 0.0]), 2).to_scipy()
    assert tiny[0, 1] == np.finfo(np.float32).tiny
    assert graph_of(*ends, np.zeros(2), 2).n_edges == 0
    with pytest.raises(GraphError, match="add up to more than a float32"):
        graph_of(*ends, np.array([3e38, 3e38]), 2)
    with pytest.raises(GraphError, match="duplicates is 'min'"):
        graph_of(*ends, np.ones(2), 2, duplicates="min")


@pytest.mark.parametrize("kinds", [("u8", "i8"), ("i8", "u8"), ("u8", "u8"), ("i8", "i4")])
def test_large_ids_of_either_sign_meet_exactly(kinds):
    start = 2**60 if "i4" not in kinds else 2**30
    ids = (start + np.arange(6)).astype(kinds[0])
    ends = (start + np.array([[0, 1, 5], [1, 4, 0]])).astype(kinds[1])
    graph = BlockGraph.from_edges(*ends, ids=ids)
    want = edge_matrix(
        np.array([0, 1, 5]), np.array([1, 4, 0]), np.ones(3), 6, directed=False, duplicates="sum"
    )
    np.testing.assert_array_equal(graph.to_scipy().toarray(), want)


def test_ends_that_the_type_of_the_ids_cannot_hold_are_unknown():
    ids = np.arange(3, dtype=np.uint64)
    graph = BlockGraph.from_edges([-1, 0, 2**63 - 1], [0, 1, 1], ids=ids)
    assert (graph.n_edges, graph.settings["edges_with_unknown_ends_dropped"]) == (2, 2)
    large = np.array([2**64 - 1, 0], np.uint64)
    graph = BlockGraph.from_edges(large, [0, 1], ids=np.array([-1, 0, 1]))
    assert (graph.n_edges, graph.settings["edges_with_unknown_ends_dropped"]) == (2, 1)


@pytest.mark.parametrize(
    ("ends", "ids", "message"),
    [
        (["1", "2"], [1, 2], "but the ids are int64"),
        ([1, 2], ["1", "2"], "the ends of edges are int64"),
        (np.array(["a", None], object), np.array(["a", "b"], object), "hold None"),
        (["a", "b"], np.array(["a", None], object), "hold None"),
    ],
)
def test_ends_of_another_kind_than_the_ids_are_refused(ends, ids, message):
    with pytest.raises(GraphError, match=message):
        BlockGraph.from_edges(ends, ends, ids=ids)


def test_no_edges_give_a_graph_without_edges():
    graph = BlockGraph.from_edges([], [], ids=["a", "b"])
    assert (graph.n_nodes, graph.n_edges) == (2, 0)
