"""Graphs of rows with ranks: those of the rows put in that order, whatever order they come in."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from dask.delayed import delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block.node_order import NodeOrder, ranked_rows
from ssl_dask.graph.block.partial_rows import over_all_rows, rows_present
from ssl_dask.graph.build.edge_graph import edge_graph
from ssl_dask.graph.build.entity_graph import KeyColumn, shared_key_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from tests.made_graphs import cut

N, CHUNKS = 300, (70, 130, 100)
HERE = Execution(threads=1)


class Rows:
    """Rows on a grid, many of them alike and at equal distances, in some order of their tags."""

    def __init__(self, order: np.ndarray) -> None:
        rng = np.random.default_rng(0)
        points, keys = rng.integers(0, 20, (N, 2)), rng.integers(0, 40, N).astype(np.uint64)
        ends, self.w = rng.integers(0, N, (3, 900)), rng.integers(1, 4, 900) / 3
        self.points, self.keys, self.has = points[order], keys[order], rng.random(N)[order] < 0.8
        place = np.argsort(order)
        self.source, self.target = place[ends[0]], place[ends[1]]
        self.X = da.from_array(self.points.astype(np.float32), chunks=(CHUNKS, -1))

    def edges(self, ranks: NodeOrder | None):
        return edge_graph([delayed((self.source, self.target, self.w))], N, ranks=ranks)

    def entities(self, ranks: NodeOrder | None):
        keys = self.keys * np.uint64(2**58)
        pairs = zip(cut(keys, CHUNKS), cut(np.ones(N, bool), CHUNKS), strict=True)
        return shared_key_graph([KeyColumn("k", tuple(map(delayed, pairs)))], CHUNKS, ranks=ranks)

    def exact(self, ranks: NodeOrder | None):
        return knn_graph(self.X, 5, ranks=ranks, execution=HERE)

    def routed(self, ranks: NodeOrder | None):
        return knn_graph(
            self.X, 5, search="routed", shard_memory=300_000, ranks=ranks, execution=HERE
        )

    def rbf(self, ranks: NodeOrder | None):
        return rbf_graph(self.X, gamma=0.3, ranks=ranks, execution=HERE)

    def summed(self, ranks: NodeOrder | None):
        some = rows_present(self.X, cut(self.has, CHUNKS), HERE, ranks)
        part = knn_graph(some.X, 4, ranks=some.ranks, execution=HERE)
        part = over_all_rows(part, some, HERE, ranks)
        parts = [(part, 1.0), (self.entities(ranks), 0.5), (self.routed(ranks), 0.3)]
        return sum_graphs(parts, ranks=ranks, execution=HERE)


@pytest.mark.parametrize("kind", ["exact", "routed", "rbf", "edges", "entities", "summed"])
def test_the_graph_is_that_of_the_rows_in_the_order_of_their_ranks(kind: str) -> None:
    order = np.random.default_rng(1).permutation(N)
    ranks = ranked_rows(cut(order, CHUNKS), CHUNKS, HERE)
    mixed = getattr(Rows(order), kind)(ranks)
    plain = getattr(Rows(np.arange(N)), kind)(None)
    found, wanted = ([*HERE.compute(list(graph.strips))] for graph in (mixed, plain))
    assert mixed.node_chunks == plain.node_chunks
    for one, other in zip(found, wanted, strict=True):
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert mixed.n_edges == plain.n_edges > N
    of_row = mixed.order.to_array(HERE)
    in_order = np.arange(N) if plain.order is None else plain.order.to_array(HERE)
    np.testing.assert_array_equal(of_row, in_order[order])
    # By row numbers the rows in another order have another graph.
    if kind == "exact":
        assert (getattr(Rows(order), kind)(None).to_scipy() != mixed.to_scipy()).nnz


def test_copies_by_rounding_are_told_of_rows_that_have_ranks() -> None:
    X = np.arange(60.0)[:, None]
    X[:30] = 1e9 + X[:30] / 100
    order = np.random.default_rng(2).permutation(60)
    given = da.from_array(X[order], chunks=((20, 40), 1))
    ranks = ranked_rows(cut(order, (20, 40)), (20, 40), HERE)
    notes = [
        knn_graph(rows, 3, ranks=by, execution=HERE).settings
        for rows, by in ((given, ranks), (da.from_array(X, chunks=((20, 40), 1)), None))
    ]
    assert notes[0]["n_equal_by_rounding"] == notes[1]["n_equal_by_rounding"] > 0


def test_places_of_rows_in_any_order() -> None:
    rows = Rows(np.arange(N))
    some = rows_present(rows.X, cut(rows.has, CHUNKS), HERE)
    asked = np.random.default_rng(3).permutation(N)[:50]
    has, places = some.places_of(asked, HERE)
    np.testing.assert_array_equal(has, rows.has[asked])
    np.testing.assert_array_equal(some.X.compute()[places], rows.points[asked[has]])
