"""A graph as a Dask collection: persisted, computed, passed on, drawn."""

from __future__ import annotations

import shutil
from contextlib import nullcontext

import dask
import numpy as np
import pytest
from dask import delayed
from dask.base import is_dask_collection, tokenize
from dask.graph_manipulation import clone
from distributed import futures_of

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.neighbour_graph import knn_graph
from tests.made_points import assert_same


def made_graph():
    """Return a lazy graph of two kinds of weights and an order, and its matrix."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(150, 3)), 2, axis=0)
    names = ["gaussian", "uniform"]
    graph = knn_graph(X, 4, weights=names, search="routed", shard_memory=2**14, client="local")
    assert graph.order is not None
    assert len(graph.strips) > 1
    lazy = graph.with_handles(delayed(dask.compute(one)[0], pure=False) for one in graph.handles)
    return lazy, graph.to_scipy()


@pytest.fixture(params=["threads", "cluster"])
def place(request):
    """What makes one of the two places Dask's own choice."""
    if request.param == "threads":
        return nullcontext()
    return request.getfixturevalue("cluster_client").as_current()


def test_a_graph_is_persisted_and_computed_by_dask_itself(place):
    graph, W = made_graph()
    assert is_dask_collection(graph)
    held_by_futures = 0 if isinstance(place, nullcontext) else len(graph.handles)
    with place:
        (held,) = dask.persist(graph)
        assert_same(held.compute(), W)
        assert_same(dask.compute(graph, 1)[0], W)
        assert_same(held.to_scipy(), W)
        uniform = held.weighted("uniform").compute()
        assert len(futures_of(held)) == held_by_futures
    assert isinstance(held, BlockGraph)
    assert set(uniform.data.tolist()) <= {0.5, 1.0}
    assert uniform.indices.tolist() == W.indices.tolist()
    assert held.settings == graph.settings
    assert [len(one.__dask_graph__()) for one in held.handles] == [1] * len(graph.handles)


def test_a_graph_is_an_argument_of_a_task_and_a_part_of_a_larger_one(place):
    graph, W = made_graph()
    with place:
        n_edges = delayed(lambda matrix: matrix.nnz)(graph)
        (again,) = dask.optimize(graph)
        assert n_edges.compute() == W.nnz == graph.n_edges > 0
        assert_same(again.compute(), W)
        assert_same(clone(graph).compute(), W)


def test_an_execution_holds_a_graph(cluster_client):
    graph, W = made_graph()
    for execution in (Execution(), Execution(cluster_client)):
        (held,) = execution.persist([graph], "graph")
        assert_same(held.to_scipy(execution), W)


def test_tokens_tell_graphs_apart():
    graph, _ = made_graph()
    other, _ = made_graph()
    assert tokenize(graph) == tokenize(graph) != tokenize(other)


def test_a_graph_can_be_drawn(tmp_path):
    pytest.importorskip("graphviz")
    if shutil.which("dot") is None:
        pytest.skip("the program dot is not there")
    graph, _ = made_graph()
    graph.visualize(filename=str(tmp_path / "graph.dot"), format="dot")
    assert (tmp_path / "graph.dot").stat().st_size > 0
