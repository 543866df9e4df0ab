"""Connected components over strips against SciPy on the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.graph_summary import graph_summary
from ssl_dask.kernels.graph.components import joined_forest, strip_forest


def random_graph(n, n_edges, seed):
    rng = np.random.default_rng(seed)
    u, v = rng.integers(0, n, (2, n_edges))
    W = sp.coo_array((np.ones(n_edges), (u, v)), shape=(n, n)).tocsr()
    W = W + W.T
    W.setdiag(0)
    return W


def smallest_members(W):
    _, component = connected_components(W, directed=False)
    first = np.full(component.max() + 1, len(component))
    np.minimum.at(first, component, np.arange(len(component)))
    return first[component]


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 60),
    share=st.floats(0, 1.2),
    n_strips=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_components_equal_those_of_the_whole(n, share, n_strips, seed):
    W = random_graph(n, int(share * n), seed)
    graph = BlockGraph.from_scipy(W, n_strips=min(n_strips, n))
    execution = Execution()
    found = graph.components(execution)
    want = smallest_members(W)
    (labels,) = execution.compute([found.labels])
    np.testing.assert_array_equal(labels, want)
    assert labels.dtype == np.int32
    sizes = np.sort(np.unique(want, return_counts=True)[1])[::-1]
    assert found.n_components == len(sizes)
    assert list(found.largest_sizes) == sizes[:20].tolist()
    assert found.n_isolated == np.count_nonzero(np.diff(sp.csr_array(W != 0).indptr) == 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_long_path_in_mixed_order_is_one_component(seed):
    order = np.random.default_rng(seed).permutation(5000)
    graph = BlockGraph.from_edges(order[:-1], order[1:], n_rows=5000, n_strips=7)
    found = graph.components(Execution())
    assert (found.n_components, found.largest_sizes, found.n_isolated) == (1, (5000,), 0)
    assert not Execution().compute([found.labels])[0].any()


def test_forests_may_be_joined_in_any_order():
    W = sp.csr_array(random_graph(80, 70, 3))
    forests = [strip_forest(W[a : a + 20], a) for a in (0, 20, 40, 60)]
    want = smallest_members(W)
    assert 5 < len(np.unique(want)) < 60
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        whole = forests[order[0]]
        for number in order[1:]:
            before = whole.copy()
            joined = joined_forest(whole, forests[number])
            np.testing.assert_array_equal(whole, before)
            whole = joined
        np.testing.assert_array_equal(whole, want)


def test_summary_counts_edges_degrees_and_crossings():
    # A star of five rows, a pair, and a single row.
    graph = BlockGraph.from_edges([0, 0, 0, 0, 5], [1, 2, 3, 4, 6], n_rows=8, n_strips=2)
    summary = graph_summary(graph, Execution())
    assert summary["n_edges"] == 5
    assert summary["n_isolated"] == 1
    assert summary["n_components"] == 3
    assert summary["largest_components"] == [5, 2, 1]
    assert summary["neighbours"] == {"0": 0, "0.25": 1, "0.5": 1, "0.75": 1, "0.95": 4, "1": 4}
    assert summary["crossing_share"] == pytest.approx(1 / 5)
    whole = graph_summary(BlockGraph.from_scipy(graph.to_scipy()), Execution())
    assert whole["crossing_share"] == 0
    assert whole["neighbours"] == summary["neighbours"]
