"""Distributions of new rows from a stored graph, its index, and F."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graphs import BlockGraph, RoutedIndex, attach_rows, knn_graph, new_row_distributions
from ssl_dask.labels import Labels
from tests.by_keywords import label_spreading
from tests.made_points import sheets

K = 8


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """Return the folder of a graph and its index, new rows, and the kind of the old rows."""
    folder = tmp_path_factory.mktemp("kept")
    X = sheets(1_300)
    old, new = X[:1_200].copy(), X[1_200:]
    old[50:60] = old[40]
    (folder / "index").mkdir()
    routed = {"search": "routed", "shard_memory": 300_000, "target_recall": 0.9}
    graph = knn_graph(old, K, index_folder=folder / "index", **routed)
    assert graph.n_nodes < graph.n_rows
    (folder / "graph").mkdir()
    graph.save(folder / "graph", Execution())
    return folder, old, new


def spread(graph: BlockGraph) -> da.Array:
    rng = np.random.default_rng(1)
    # Of the rows that every graph here has.
    rows = np.sort(rng.choice(1_200, 60, replace=False))
    labels = Labels(graph.n_rows, rows, (np.arange(60) % 3).astype(np.int32), np.arange(3))
    return label_spreading(graph, labels).F


def test_the_mean_of_the_nearest_nodes(kept: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, _, new = kept
    graph, index = BlockGraph.load(folder / "graph"), RoutedIndex.load(folder / "index")
    F = spread(graph)
    found = new_row_distributions(new, graph, index, F, n_neighbors=K)
    distances, nodes = index.search(new, K)
    node_of_row = graph.order.to_array(Execution())
    whole = F.compute()
    for i in range(len(new)):
        w = np.exp(-4 * distances[i] ** 2 / distances[i, -1] ** 2)
        first = [np.flatnonzero(node_of_row == node)[0] for node in nodes[i]]
        mean = (w[:, None] * whole[first]).sum(axis=0)
        np.testing.assert_allclose(found[i], mean / mean.sum(), atol=1e-5)
    assert len(set(found.argmax(axis=1))) == 3


def test_the_same_bits_for_any_blocks(kept: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, _, new = kept
    graph, index = BlockGraph.load(folder / "graph"), RoutedIndex.load(folder / "index")
    F = spread(graph)
    whole = new_row_distributions(new, graph, index, F, n_neighbors=K)
    for size in (7, 40):
        blocks = new_row_distributions(
            da.from_array(new, chunks=(size, -1)), graph, index, F.compute(), n_neighbors=K
        )
        assert blocks.chunks[0][0] == size
        assert blocks.compute().tobytes() == whole.tobytes()
    one = new_row_distributions(new[3:4], graph, index, F, n_neighbors=K)
    assert one.tobytes() == whole[3:4].tobytes()


def test_what_does_not_fit_is_refused(kept: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, old, new = kept
    graph, index = BlockGraph.load(folder / "graph"), RoutedIndex.load(folder / "index")
    with pytest.raises(ValueError, match="F has 10 rows"):
        new_row_distributions(new, graph, index, np.zeros((10, 3)))
    other = BlockGraph.from_scipy(sp.eye_array(5, k=1, format="csr") + sp.eye_array(5, k=-1))
    with pytest.raises(ValueError, match="take all three from one run"):
        new_row_distributions(new, other, index, np.zeros((5, 3)))
    F = np.zeros((len(old), 3), dtype=np.float32)
    with pytest.raises(GraphError, match="2 columns"):
        new_row_distributions(new[:, :2], graph, index, F)
    assert not new_row_distributions(new, graph, index, F).any()


def test_new_rows_attach(kept: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, _, new = kept
    graph, index = BlockGraph.load(folder / "graph"), RoutedIndex.load(folder / "index")
    grown = attach_rows(graph, index, new, n_neighbors=K)
    assert (grown.n_rows, grown.n_nodes) == (1_300, graph.n_nodes + 100)
    before, W, n_old = graph.to_scipy(), grown.to_scipy(), graph.n_nodes
    assert abs(W - W.T).max() == 0.0
    assert abs(W[:n_old][:, :n_old] - before).max() == 0.0
    # By hand: the nearest of the nodes that the index finds, and of the other new rows.
    distances, nodes = index.search(new, K)
    node_of_row = grown.order.to_array(Execution())
    row_of_node = {int(node): row for row, node in reversed(list(enumerate(node_of_row)))}
    directed = np.zeros((100, 1_300))
    for i in range(100):
        others = np.linalg.norm(new.astype(float) - new[i].astype(float), axis=1)
        near = [(d, row_of_node[int(n)]) for d, n in zip(distances[i], nodes[i], strict=True)]
        near += [(others[j], 1_200 + j) for j in range(100) if j != i]
        near = sorted(near)[:K]
        for d, j in near:
            directed[i, j] = np.exp(-4 * d**2 / near[-1][0] ** 2)
    mean = directed / 2
    mean[:, 1_200:] = (directed[:, 1_200:] + directed[:, 1_200:].T) / 2
    # Nodes are in the order of their first rows.
    firsts = sorted(row_of_node[n] for n in range(grown.n_nodes))
    np.testing.assert_allclose(W[n_old:].toarray(), mean[:, firsts], atol=1e-5)
    assert (mean[:, 1_200:] > 0).any()
    assert (mean[:, :1_200] > 0).any(axis=1).all()


def test_attached_rows_are_labelled_like_their_neighbours(
    kept: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    folder, _, new = kept
    graph, index = BlockGraph.load(folder / "graph"), RoutedIndex.load(folder / "index")
    answers = []
    for X in (new, da.from_array(new, chunks=(30, -1))):
        grown = attach_rows(graph, index, X, n_neighbors=K)
        answers.append(spread(grown).compute())
    assert answers[0].tobytes() == answers[1].tobytes()
    alone = new_row_distributions(new, graph, index, spread(graph), n_neighbors=K)
    alike = answers[0][1_200:].argmax(axis=1) == alone.argmax(axis=1)
    assert alike.mean() > 0.8
    with pytest.raises(GraphError, match="take both from one search"):
        attach_rows(grown, index, new, n_neighbors=K)
