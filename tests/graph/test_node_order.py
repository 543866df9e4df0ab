"""Graphs whose nodes are not numbered as the rows, with copies that share a node."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from dask.delayed import delayed
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder, ranked_rows
from tests.made_graphs import cut, graph_of_nodes, random_weights


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_values_at_nodes_come_back_in_row_order_for_any_cuts(data):
    n_nodes = data.draw(st.integers(1, 12))
    extra = data.draw(st.lists(st.integers(0, n_nodes - 1), max_size=10))
    node_of_row = np.array(data.draw(st.permutations([*range(n_nodes), *extra])), dtype=np.int64)
    row_cuts = sorted(data.draw(st.lists(st.integers(0, len(node_of_row)), max_size=3)))
    row_chunks = np.diff([0, *row_cuts, len(node_of_row)]).tolist()
    node_cuts = sorted(data.draw(st.lists(st.integers(0, n_nodes), max_size=3)))
    node_chunks = np.diff([0, *node_cuts, n_nodes]).tolist()
    values = np.arange(2 * n_nodes, dtype=np.float32).reshape(n_nodes, 2) + 7
    order = NodeOrder(cut(node_of_row, row_chunks), tuple(row_chunks), n_nodes)
    execution = Execution(threads=1)
    blocks = order.rows_of_nodes(cut(values, node_chunks), node_chunks, execution)
    found = execution.compute(blocks)
    assert [len(block) for block in found] == row_chunks
    np.testing.assert_array_equal(np.concatenate(found), values[node_of_row])
    rows = data.draw(st.lists(st.integers(0, len(node_of_row) - 1), max_size=6))
    np.testing.assert_array_equal(order.nodes_of(rows, execution), node_of_row[rows])


def test_to_scipy_restores_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    W = random_weights(30, 0, density=0.2)
    node_of_row = rng.permutation(30)
    graph = graph_of_nodes(W, node_of_row, [11, 19], 3)
    expected = W.toarray()[np.ix_(node_of_row, node_of_row)]
    np.testing.assert_array_equal(graph.to_scipy().toarray(), expected)
    assert not np.array_equal(expected, W.toarray())


def test_copies_share_a_node_numbered_by_their_first_row():
    W = np.array([[0, 1, 2], [1, 0, 0], [2, 0, 0]], dtype=float)
    graph = graph_of_nodes(W, np.array([2, 0, 2, 1, 0]), [2, 3], 2)
    assert (graph.n_rows, graph.n_nodes) == (5, 3)
    # Nodes by first row: 2, 0, 1.
    expected = W[np.ix_([2, 0, 1], [2, 0, 1])]
    np.testing.assert_array_equal(graph.to_scipy().toarray(), expected)


def test_saved_order_is_loaded_and_a_torn_one_refused(tmp_path, cluster_client):
    W = np.array([[0, 1, 2], [1, 0, 0], [2, 0, 0]], dtype=float)
    graph = graph_of_nodes(W, np.array([2, 0, 2, 1, 0]), [2, 3], 2)
    execution = Execution(cluster_client)
    graph.save(tmp_path, execution)
    loaded = execution.persist([BlockGraph.load(tmp_path)])[0]
    assert loaded.order.row_chunks == (2, 3)
    assert loaded.order.to_array(execution).tolist() == [2, 0, 2, 1, 0]
    np.testing.assert_array_equal(loaded.to_scipy(execution).toarray(), graph.to_scipy().toarray())
    (tmp_path / "nodes-00001.npy").write_bytes(b"torn")
    with pytest.raises(GraphError, match="cannot be read"):
        BlockGraph.load(tmp_path).to_scipy()


@pytest.mark.parametrize("store", [np.asarray, sp.csr_array])
def test_rows_are_put_in_the_order_of_their_tags(store):
    rng = np.random.default_rng(3)
    tags, X = rng.permutation(40), rng.integers(0, 3, (40, 5)).astype(np.float32)
    execution, chunks = Execution(threads=1), [13, 1, 26]
    ranks = ranked_rows(cut(tags, chunks), chunks, execution)
    np.testing.assert_array_equal(ranks.to_array(execution), np.argsort(np.argsort(tags)))
    blocks = [delayed(store(block)) for block in np.split(X, np.cumsum(chunks)[:-1])]
    strips = ranks.first_rows_of_nodes(blocks, [25, 15], execution)
    found = [store(strip) for strip in execution.compute(strips)]
    assert [strip.shape[0] for strip in found] == [25, 15]
    dense = [strip.toarray() if sp.issparse(strip) else strip for strip in found]
    np.testing.assert_array_equal(np.concatenate(dense), X[np.argsort(tags)])


def test_nodes_of_ranks_become_nodes_of_rows():
    execution, node_of_rank = Execution(threads=1), np.array([0, 0, 2, 1, 2])
    ranks = NodeOrder(cut(np.array([4, 1, 3, 0, 2]), [3, 2]), (3, 2), 5)
    order = NodeOrder(cut(node_of_rank, [1, 4]), (1, 4), 3).after(ranks, execution)
    assert (order.row_chunks, order.n_nodes) == ((3, 2), 3)
    assert order.to_array(execution).tolist() == [2, 0, 1, 0, 2]
