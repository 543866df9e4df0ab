"""The same bits for any cuts of the input, on threads and on worker processes: one table.

A case makes something from rows that are cut into a number of blocks; a new one is a function
under `@case`. What depends on drawn cuts, and what is no more than a kernel, has tests of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client

from ssl_dask.execution import Execution
from ssl_dask.features.describe import describe
from ssl_dask.features.views import join
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.edge_graph import edge_graph
from ssl_dask.graph.build.entity_graph import KeyColumn, shared_key_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.run_control import RunControl
from tests.made_graphs import delay, random_weights
from tests.made_methods import VARIANTS, bounds, in_blocks, run, told
from tests.made_points import sheets, token_rows
from tests.memory_reader import COLUMNS, GROUPS, N_ROWS, MemoryReader

Make = Callable[[int, Execution], Any]
CASES: dict[str, Make] = {}


def case(make: Make) -> Make:
    CASES[make.__name__] = make
    return make


def bits(value: Any, execution: Execution) -> Any:
    """Return nested lists, with arrays as their types and bytes."""
    if isinstance(value, BlockGraph):
        order = None if value.order is None else value.order.to_array(execution)
        return bits([value.to_scipy(execution), order], execution)
    if sp.issparse(value):
        return bits([value.indptr, value.indices, value.data], execution)
    if isinstance(value, da.Array):
        blocks = execution.compute(list(value.to_delayed().ravel()))
        sparse = sp.issparse(blocks[0])
        return bits(sp.vstack(blocks) if sparse else np.concatenate(blocks), execution)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return [bits(one, execution) for one in value]
    return value


@case
def exact_neighbours(n_blocks: int, execution: Execution) -> Any:
    X = np.random.default_rng(1).normal(size=(2100, 12)).astype(np.float32)
    X[1000:1050] = X[7]
    return knn_graph(in_blocks(X, n_blocks), 10, execution=execution)


@case
def radial_weights(n_blocks: int, execution: Execution) -> Any:
    X = np.random.default_rng(1).normal(size=(1100, 5)).astype(np.float32)
    return rbf_graph(in_blocks(X, n_blocks), 2.0, execution=execution)


@case
def routed_neighbours(n_blocks: int, execution: Execution) -> Any:
    graph = knn_graph(
        in_blocks(sheets(2300), n_blocks), 10, search="routed", shard_memory=600_000,
        target_recall=0.9, execution=execution,
    )  # fmt: skip
    assert graph.settings["n_shards"] >= 4
    return execution.persist([graph])[0], graph.recall


@case
def routed_sparse_neighbours(n_blocks: int, execution: Execution) -> Any:
    with TemporaryDirectory() as folder:
        graph = knn_graph(
            in_blocks(token_rows(), n_blocks), 10, metric="cosine", search="routed",
            shard_memory=2_500_000, target_recall=0.9, execution=execution,
            scratch=None if execution.client is None else folder,
        )  # fmt: skip
        assert not os.listdir(folder), "routed rows were left behind"
    assert graph.settings["n_shards"] >= 3
    return execution.persist([graph])[0], graph.recall


@case
def edges_given_twice(n_blocks: int, execution: Execution) -> Any:
    rng = np.random.default_rng(1)
    u, v = rng.integers(0, 6, size=(2, 4000))
    w = rng.random(4000) * 10.0 ** rng.integers(-6, 6, size=4000)
    blocks = [delay((u[a:b], v[a:b], w[a:b])) for a, b in pairwise(bounds(4000, n_blocks))]
    graph = edge_graph(blocks, 6, execution=execution)
    W = graph.to_scipy(execution).toarray()
    np.testing.assert_array_equal(W, W.T)
    return graph


@case
def shared_values(n_blocks: int, execution: Execution) -> Any:
    rng, n = np.random.default_rng(0), 3000
    keys = rng.integers(0, 2**64, size=500, dtype=np.uint64)[rng.integers(0, 500, size=(2, n))]
    valid = rng.random((2, n)) < 0.9
    cuts = list(pairwise(bounds(n, n_blocks)))
    columns = [
        KeyColumn(name, tuple(delay((keys[c, a:b], valid[c, a:b])) for a, b in cuts))
        for c, name in enumerate(("card", "device"))
    ]
    sizes = [b - a for a, b in cuts]
    graph = shared_key_graph(columns, sizes, max_entity_rows=8, execution=execution)
    about = graph.settings["entities"]["card"]
    assert about["dropped"] > 30
    assert about["kept"] > 200
    return graph, graph.settings


@case
def sums_of_graphs(n_blocks: int, execution: Execution) -> Any:
    A, B = random_weights(300, 0), random_weights(300, 1)
    parts = [BlockGraph.from_scipy(A, n_strips=n_blocks), BlockGraph.from_scipy(B)]
    return sum_graphs([(parts[0], 2.0), (parts[1], 0.25)], execution=execution)


@case
def degrees_and_components(n_blocks: int, execution: Execution) -> Any:
    graph = BlockGraph.from_scipy(random_weights(300, 4, density=0.003), n_strips=n_blocks)
    found = graph.components(execution)
    assert 5 < found.n_components < 290
    degrees = np.concatenate(execution.compute(graph.degrees(execution)))
    return degrees, execution.compute([found.labels])[0]


@case
def features_of_all_kinds(n_blocks: int, execution: Execution) -> Any:
    cuts = bounds(N_ROWS, n_blocks)[1:-1]
    views = describe(MemoryReader(COLUMNS, cuts), GROUPS, execution)
    joined = join(views).persist(execution)
    assert joined.row_chunks == tuple(np.diff([0, *cuts, N_ROWS]))
    return [*(view.X for view in views.values()), joined.X]


def method_case(name: str, parameters: dict[str, Any]) -> Make:
    def make(n_blocks: int, execution: Execution) -> Any:
        return told(run(name, parameters, n_blocks, RunControl(execution)), execution)

    return make


CASES.update({variant: method_case(*method) for variant, *method in VARIANTS})


@pytest.mark.parametrize("name", CASES)
def test_same_bits(name: str, cluster_client: Client) -> None:
    alone = Execution(threads=1)
    want = bits(CASES[name](1, alone), alone)
    assert len(str(want)) > 500
    for n_blocks, execution in (
        (3, Execution(threads=3, memory_per_task=2**28)),
        (8, Execution(cluster_client)),
    ):
        assert bits(CASES[name](n_blocks, execution), execution) == want, n_blocks
