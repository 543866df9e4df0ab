"""Cases of the functions that make graphs, and of rows that come later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from ssl_dask import estimators, graphs
from tests.goldens.case import QUICK, USUAL, Case, Work
from tests.goldens.content import Items, array_digest, canonical, digest, without_places
from tests.goldens.estimator_cases import FORMS, N_HELD, N_ROWS, digits

KNN: dict[str, dict[str, Any]] = {
    "plain": {},
    "cosine": {"metric": "cosine"},
    "self_tuning": {"weights": "self_tuning", "symmetrize": "union"},
    "fuzzy": {"weights": "fuzzy"},
    "mutual": {"weights": "uniform", "symmetrize": "mutual"},
    "routed": {"search": "routed"},
    "two_weights": {"weights": ("gaussian", "steep_gaussian")},
}


def graph_cases() -> list[Case]:
    cases = []
    for name, keys in KNN.items():
        for form in ("dense", "csr", "dask"):
            size = max(FORMS[form][1], QUICK if name == "plain" else USUAL)
            cases.append(Case(f"graph/{name}/{form}", size, partial(knn_items, form, keys)))
    others: dict[str, Callable[[Work], Items]] = {
        "rbf": lambda work: graph_items(graphs.rbf_graph(rows()[0], gamma=0.001), work),
        "entities": lambda work: graph_items(cards(), work),
        "edges": lambda work: graph_items(edges(directed=False), work),
        "directed": lambda work: graph_items(edges(directed=True), work),
        "sum": summed,
        "kept": kept,
        "new rows": new_rows,
        "features": features,
    }
    return cases + [Case(f"graph/{name}", USUAL, call) for name, call in others.items()]


def rows() -> tuple[np.ndarray, np.ndarray]:
    X, _, held = digits(numbers=False)
    return X, held


def graph_items(graph: Any, work: Work) -> Items:
    """Return the matrix of a graph, its settings, and labels that spread over it."""
    W = graph.to_scipy().tocsr()
    settings = canonical(dict(graph.settings))
    items: Items = {
        "n_edges": int(graph.n_edges),
        "n_rows": int(graph.n_rows),
        "n_nodes": int(graph.n_nodes),
        "indptr": array_digest(W.indptr),
        "indices": array_digest(W.indices),
        "weights": array_digest(W.data),
        "settings": digest(without_places(settings, work.folder)),
    }
    y = np.resize(digits(numbers=False)[1], graph.n_rows)
    model = estimators.LabelSpreading(alpha=0.9).fit(graph, y)
    return {**items, "labels": array_digest(model.label_distributions_)}


def knn_items(form: str, keys: dict[str, Any], work: Work) -> Items:
    X = FORMS[form][0](rows()[0])
    return graph_items(graphs.knn_graph(X, n_neighbors=7, **keys), work)


def cards() -> Any:
    rng = np.random.default_rng(4)
    columns = {"card": rng.integers(0, 90, N_ROWS), "device": rng.integers(0, 20, N_ROWS)}
    return graphs.entity_graph(columns, weights={"card": 2.0, "device": 1.0})


def edges(*, directed: bool) -> Any:
    rng = np.random.default_rng(5)
    u, v = rng.integers(0, N_ROWS, (2, 1500))
    weight = rng.integers(1, 5, 1500) / 4
    return graphs.BlockGraph.from_edges(
        u, v, weight, n_rows=N_ROWS, directed=directed, duplicates="max" if directed else "sum"
    )


def summed(work: Work) -> Items:
    near = graphs.knn_graph(rows()[0], n_neighbors=5)
    parts = [(near, 1.0), (cards(), 0.5), (edges(directed=False), 2.0)]
    return graph_items(graphs.sum_graphs(parts), work)


def kept(work: Work) -> Items:
    """Return the items of a graph that was made of a matrix, saved, and loaded."""
    W = sp.random_array((N_ROWS, N_ROWS), density=0.02, rng=np.random.default_rng(6))
    graph = graphs.BlockGraph.from_scipy(sp.csr_array(W + W.T))
    folder = work.folder / "kept_graph"
    folder.mkdir()
    graph.save(folder)
    return graph_items(graphs.BlockGraph.load(folder), work)


def new_rows(work: Work) -> Items:
    """Return what rows get that come after the graph, alone and as nodes of it."""
    X, held = rows()
    folder = work.folder / "index"
    folder.mkdir()
    graph = graphs.knn_graph(X, n_neighbors=7, search="routed", index_folder=folder)
    index = graphs.RoutedIndex.load(folder)
    F = np.eye(10, dtype=np.float32)[np.arange(N_ROWS) % 10]
    alone = graphs.new_row_distributions(held, graph, index, F, n_neighbors=7)
    distances, nodes = index.search(held, 7)
    grown = graphs.attach_rows(graph, index, held, n_neighbors=7)
    return {
        "held": N_HELD,
        "alone": array_digest(alone),
        "distances": array_digest(distances),
        "nodes": array_digest(nodes),
        **{f"grown/{key}": value for key, value in graph_items(grown, work).items()},
    }


def features(work: Work) -> Items:
    """Return features that were carried along the edges."""
    X, _ = rows()
    graph = graphs.knn_graph(X, n_neighbors=7)
    items: Items = {}
    for hops in ("last", "all"):
        found = graphs.propagated_features(graph, X, n_hops=2, hops=hops, unit_rows=True)
        items[hops] = array_digest(np.asarray(found))
    return items
