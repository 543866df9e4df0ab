"""Features carried along edges: dense products, nodes that rows share, whole jobs."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client

from ssl_dask.errors import GraphError
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.graph.node_order import NodeOrder
from ssl_dask.job_spec import resolve_job
from ssl_dask.pipeline import run_job
from ssl_dask.propagation import propagated_features
from tests.made_job import assert_useful, made_job, write_rows
from tests.test_graph_jobs import rows_that_share, some_edges
from tests.test_node_sources import cut
from tests.test_propagation import random_weights


def dense_hops(W: np.ndarray, X: np.ndarray, share: float, n_hops: int) -> list[np.ndarray]:
    degree = W.sum(axis=1, keepdims=True)
    T = share * np.eye(len(W)) + (1 - share) * W / np.where(degree > 0, degree, 1)
    return [np.linalg.matrix_power(T, hop) @ X for hop in range(n_hops + 1)]


@pytest.mark.parametrize("width", [5, 70])
@pytest.mark.parametrize("unit_rows", [True, False])
def test_dense_products(width: int, unit_rows: bool) -> None:
    W = random_weights(120, 1)
    X = np.random.default_rng(2).normal(size=(120, width)).astype(np.float32)
    hops = dense_hops(W.toarray().astype(float), X, 0.3, 3)
    if unit_rows:
        hops = [hop / np.linalg.norm(hop, axis=1, keepdims=True) for hop in hops]
    answers = []
    for n_strips, given in ((1, X), (3, sp.csr_array(X)), (8, da.from_array(X, chunks=(50, -1)))):
        graph = BlockGraph.from_scipy(W, n_strips=n_strips)
        settings = {"n_hops": 3, "self_share": 0.3, "unit_rows": unit_rows}
        whole = propagated_features(graph, given, hops="all", **settings)
        last = propagated_features(graph, given, hops="last", **settings)
        if n_strips == 8:
            assert whole.chunks[0] == (50, 50, 20)
            whole, last = whole.compute(), last.compute()
        assert last.dtype == whole.dtype == np.float32
        assert last.tobytes() == np.ascontiguousarray(whole[:, 3 * width :]).tobytes()
        answers.append(whole)
    np.testing.assert_allclose(answers[0], np.hstack(hops), atol=1e-5)
    assert len({answer.tobytes() for answer in answers}) == 1


def test_rows_that_share_a_node() -> None:
    W = random_weights(40, 5, density=0.2)
    nodes = np.concatenate([np.random.default_rng(3).permutation(40), [7, 7, 11]])
    at_nodes = np.random.default_rng(4).normal(size=(40, 4)).astype(np.float32)
    X = at_nodes[nodes]
    plain = BlockGraph.from_scipy(W, n_strips=3)
    chunks = (20, 23)
    order = NodeOrder(cut(nodes, chunks), chunks, 40)
    graph = BlockGraph(plain.strips, plain.node_chunks, plain.n_edges, plain.settings, order)
    found = propagated_features(graph, X, hops="last", unit_rows=False, self_share=0.25)
    expected = dense_hops(W.toarray().astype(float), at_nodes, 0.25, 2)[2][nodes]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_impossible_features_are_refused() -> None:
    graph = BlockGraph.from_scipy(random_weights(20, 1, density=0.3))
    with pytest.raises(ValueError, match="X has 19 rows, the graph 20"):
        propagated_features(graph, np.ones((19, 2)))
    with pytest.raises(ValueError, match="n_hops"):
        propagated_features(graph, np.ones((20, 2)), n_hops=0)
    with pytest.raises(GraphError, match="there may be 1 to 20,000"):
        propagated_features(graph, sp.csr_array((20, 30_000), dtype=np.float32))


def test_a_job(tmp_path: Path, cluster_client: Client) -> None:
    rows = rows_that_share()
    write_rows(tmp_path / "rows", rows)
    write_rows(tmp_path / "edges", some_edges(rows))
    edges = {"path": str(tmp_path / "edges"), "source": "from", "target": "to", "weight": "w"}
    job = made_job(tmp_path / "rows", tmp_path / "out", graph={"edges": edges})
    job["method"] = {"name": "propagated_features", "n_hops": 1}
    assert resolve_job(job).method.n_hops == 1
    table = assert_useful(run_job(job, client=cluster_client).path)
    job["input"]["block_rows"] = 47
    job["output"]["path"] = str(tmp_path / "again")
    again = assert_useful(run_job(job, client=cluster_client).path)
    assert again["label"].to_pylist() == table["label"].to_pylist()
    np.testing.assert_array_equal(again["probability"], table["probability"])
