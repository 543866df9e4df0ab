"""Seeds are given by row, graphs number nodes: what was found comes back by row."""

from __future__ import annotations

import numpy as np
import pytest
from distributed import Client

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.seed_reach import seed_reach
from tests.by_keywords import by_keywords
from tests.known_methods import GRAPH_CLASSIFIERS
from tests.made_graphs import N_CLASSES, cut, fetch, graph_of_nodes, labels_of, random_weights
from tests.oracles import closed_forms

N_NODES, N_ROWS = 90, 130
# Rows 3 and 93 are copies with different labels, 5 and 95 copies with the same one.
SEEDS = {3: 0, 93: 1, 5: 2, 95: 2, 20: 1, 50: 3, 70: 0, 80: 2, 89: 3}


@pytest.fixture(scope="module")
def node_of_row() -> np.ndarray:
    rng = np.random.default_rng(4)
    nodes = np.concatenate([rng.permutation(N_NODES), rng.integers(0, N_NODES, N_ROWS - N_NODES)])
    nodes[93], nodes[95] = nodes[3], nodes[5]
    return nodes


@pytest.fixture(scope="module")
def labels() -> Labels:
    codes = np.full(N_ROWS, -1)
    codes[list(SEEDS)] = list(SEEDS.values())
    return Labels.from_codes(codes, np.arange(N_CLASSES))


@pytest.mark.parametrize("on_cluster", [False, True])
@pytest.mark.parametrize("method", ["label_spreading", "label_propagation"])
def test_scores_come_back_by_row(
    method: str, on_cluster: bool, node_of_row: np.ndarray, labels: Labels, cluster_client: Client
) -> None:
    W = random_weights(N_NODES, 1)
    execution = Execution(cluster_client if on_cluster else None)
    found = by_keywords(GRAPH_CLASSIFIERS[method])(
        graph_of_nodes(W, node_of_row, (60, 30, 40), 3), labels, tol=1e-5, execution=execution
    )
    # What the nodes hold: copies with different labels count half each.
    Y = np.zeros((N_NODES, N_CLASSES))
    for row, code in SEEDS.items():
        Y[node_of_row[row], code] += 1
    Y /= np.maximum(Y.sum(axis=1), 1)[:, None]
    assert (np.sort(Y, axis=1)[:, -2] == 0.5).sum() == 1
    dense = W.toarray().astype(float)
    exact = {
        "label_spreading": closed_forms.spread(dense, Y, 0.9),
        "label_propagation": closed_forms.harmonic(dense, Y),
    }
    expected = closed_forms.normalised(exact[method])[node_of_row]
    assert found.F.chunks[0] == (60, 30, 40)
    np.testing.assert_allclose(fetch(found.F, execution), expected, atol=1e-4)
    assert fetch(found.mass, execution).shape == (N_ROWS,)
    assert len(set(expected.argmax(axis=1))) > 1


def test_folds_of_copies_are_those_of_fewer_seeds(node_of_row: np.ndarray, labels: Labels) -> None:
    graph = graph_of_nodes(random_weights(N_NODES, 1), node_of_row, (N_ROWS,), 4)
    # Hides row 3, whose copy 93 stays; both of the copies 5 and 95; and row 89.
    fold = np.isin(labels.rows, [3, 5, 89, 95])
    run = by_keywords(GRAPH_CLASSIFIERS["label_spreading"])
    together = run(graph, labels, hidden=[fold], max_iter=12, tol=0)
    separate = run(graph, labels.subset(~fold), max_iter=12, tol=0)
    at_hidden = separate.F.compute()[labels.rows[fold]]
    assert together.fold_F[0].tobytes() == at_hidden.tobytes()
    assert len(np.unique(at_hidden, axis=0)) == 3


def test_class_mass_counts_each_row_of_a_node() -> None:
    # Node 0 has fifty rows more: as if it weighed as much in the sum.
    W = random_weights(40, 5, density=0.2)
    nodes = np.concatenate([np.arange(40), np.zeros(50, dtype=np.int64)])
    codes = np.full(90, -1)
    codes[[3, 7, 11, 13]] = np.arange(N_CLASSES)
    Y = closed_forms.one_hot(codes, N_CLASSES)
    dense = closed_forms.harmonic(W.toarray().astype(float), Y[:40])
    F = closed_forms.class_mass_normalised(dense[nodes], codes < 0, np.full(N_CLASSES, 0.25))
    for chunks in ((90,), (20, 45, 25)):
        run = by_keywords(GRAPH_CLASSIFIERS["label_propagation"])
        graph = graph_of_nodes(W, nodes, chunks)
        found = run(graph, labels_of(codes), class_mass="seeds", tol=5e-6)
        np.testing.assert_allclose(found.F.compute(), F, atol=1e-5)


def test_components_are_told_by_row() -> None:
    # Nodes 0-1-2 with a seed, 3-4 without, 5 alone; rows in another order, with copies.
    W = np.zeros((6, 6))
    for a, b in ((0, 1), (1, 2), (3, 4)):
        W[a, b] = W[b, a] = 1
    node_of_row = np.array([5, 4, 2, 3, 3, 0, 1, 4])
    plain = BlockGraph.from_scipy(W)
    order = NodeOrder(cut(node_of_row, (5, 3)), (5, 3), 6)
    execution = Execution()
    reached, n_without, unseeded = seed_reach(
        plain.components(execution), order, node_of_row[[6]], (2, 4, 2), execution
    )
    whole = np.concatenate(execution.compute(reached))
    np.testing.assert_array_equal(whole, np.isin(node_of_row, [0, 1, 2]))
    assert n_without == 5
    assert unseeded == {1: 4, 0: 1}
    tags = cut(np.array([70, 60, 50, 40, 10, 30, 20, 15]), (2, 4, 2))
    *_, by_tag = seed_reach(
        plain.components(execution), order, node_of_row[[6]], (2, 4, 2), execution, tags
    )
    assert list(by_tag.items()) == [(4, 4), (0, 1)]
