"""Graphs over the rows that have some features, as graphs over all rows."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.partial_rows import over_all_rows, rows_present
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph

N = 90
RNG = np.random.default_rng(4)
X = RNG.normal(size=(N, 4)).astype(np.float32)
HAS = RNG.random(N) < 0.7
HAS[20:41] = False
ROWS = np.flatnonzero(HAS)


def parts_of(chunks: tuple[int, ...]) -> list:
    return [dask.delayed(p) for p in np.split(HAS, np.cumsum(chunks)[:-1])]


@pytest.mark.parametrize("chunks", [(N,), (20, 21, 49), (10,) * 9])
@pytest.mark.parametrize("search", ["exact", "routed"])
def test_present_rows_have_their_edges_and_the_others_none(
    chunks: tuple[int, ...], search: str
) -> None:
    execution = Execution(threads=1)
    rows = rows_present(da.from_array(X, chunks=(chunks, -1)), parts_of(chunks), execution)
    assert rows.X.shape == (len(ROWS), 4)
    # Copies share a node when they are routed.
    weights = ["gaussian", "symmetric_gaussian"]
    alone = knn_graph(rows.X, 5, weights=weights, search=search, execution=execution)
    graph = over_all_rows(alone, rows, execution)
    assert (graph.n_rows, graph.n_nodes) == (N, N)
    assert graph.settings["n_rows_without_features"] == N - len(ROWS)
    W = graph.to_scipy(execution).toarray()
    own = alone.to_scipy(execution).toarray()
    nodes = graph.order.to_array(execution)
    assert sorted(nodes.tolist()) == list(range(N))
    want = np.zeros((N, N), dtype=np.float32)
    want[np.ix_(ROWS, ROWS)] = own
    np.testing.assert_array_equal(W, want)
    other = graph.weighted("symmetric_gaussian").to_scipy(execution).toarray()
    assert (other != W).any()
    assert (other[~HAS] == 0).all()
    assert sum(graph.node_chunks) == N
    assert graph.components(execution).n_isolated >= N - len(ROWS)


def test_places_of_a_few_rows() -> None:
    chunks = (20, 21, 49)
    execution = Execution(threads=1)
    rows = rows_present(da.from_array(X, chunks=(chunks, -1)), parts_of(chunks), execution)
    wanted = np.array([0, 3, 19, 20, 33, 41, 60, 89])
    has, places = rows.places_of(wanted, execution)
    np.testing.assert_array_equal(has, HAS[wanted])
    np.testing.assert_array_equal(ROWS[places], wanted[has])
    assert 0 < has.sum() < len(wanted)


def test_the_sum_with_a_graph_of_all_rows(cluster_client: Client) -> None:
    Z = RNG.normal(size=(N, 3)).astype(np.float32)
    found = []
    for execution in (Execution(threads=1), Execution(cluster_client)):
        chunks = (30, 60)
        rows = rows_present(da.from_array(X, chunks=(chunks, -1)), parts_of(chunks), execution)
        part = over_all_rows(knn_graph(rows.X, 5, execution=execution), rows, execution)
        whole = knn_graph(Z, 5, execution=execution)
        graph = sum_graphs([(part, 2.0), (whole, 0.5)], execution=execution)
        found.append(graph.to_scipy(execution).toarray())
        want = 2.0 * part.to_scipy(execution).toarray()
        want += 0.5 * whole.to_scipy(execution).toarray()
        np.testing.assert_allclose(found[-1], want, rtol=1e-6)
    np.testing.assert_array_equal(*found)


def test_no_row_at_all_is_refused() -> None:
    nobody = [dask.delayed(np.zeros(N, bool))]
    with pytest.raises(GraphError, match="no row has"):
        rows_present(da.from_array(X, chunks=(N, -1)), nobody, Execution(threads=1))
