"""The memory that propagation is checked for is what it takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from distributed import Client

from ssl_dask.errors import ComputeError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.propagation.engine import distributed_partitions
from ssl_dask.propagation.engine.distributed_partitions import bytes_of_part
from ssl_dask.propagation.engine.partitions import LocalParts, RightHandSide
from ssl_dask.propagation.engine.recurrence import ConjugateSteps, LinearSystem, RecurrenceSteps
from ssl_dask.propagation.engine.session import CONJUGATE_BYTES, RECURRENCE_BYTES
from tests.by_keywords import label_propagation, label_spreading
from tests.made_graphs import delay, labels_of, path_graph, random_weights, some_codes


@pytest.mark.parametrize("conjugate", [False, True])
def test_the_bytes_that_are_checked_are_those_that_sweeps_take(conjugate: bool) -> None:
    n, n_columns = 30_000, 40
    parts = LocalParts(BlockGraph.from_scipy(path_graph(n)), Execution(threads=1))
    right = np.random.default_rng(0).random((n, n_columns), dtype=np.float32)
    steps = ConjugateSteps(3) if conjugate else RecurrenceSteps(((0.9, 0.0, 0.0, 0.1),) * 3)
    system = LinearSystem(
        "float64" if conjugate else "float32", 1, n_columns, (0.0, 0.0), (0.9, 0.1)
    )
    peaks = []
    for _ in range(2):  # Once for what is loaded and compiled on the way.
        tracemalloc.start()
        parts.begin(system, RightHandSide(None, [delay(right)], 1.0))
        parts.start(0.0, conjugate=conjugate)
        parts.advance(steps)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    said = n * n_columns * (CONJUGATE_BYTES if conjugate else RECURRENCE_BYTES)
    assert 0.8 * said < peaks[1] < 1.25 * said


def test_memory_for_conjugate_gradients_is_checked_as_such(
    cluster_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = BlockGraph.from_scipy(random_weights(5_000, 1, density=0.002))
    execution = Execution(cluster_client)
    workers = cluster_client.scheduler_info(n_workers=-1)["workers"].values()
    limit = min(worker["memory_limit"] for worker in workers)
    labels = labels_of(some_codes(5_000, 30, 1))
    size = bytes_of_part(graph, 2, 2 * RECURRENCE_BYTES * labels.n_classes)
    monkeypatch.setattr(distributed_partitions, "USABLE_MEMORY", size / limit)
    label_spreading(graph, labels, max_iter=5, execution=execution)
    with pytest.raises(ComputeError, match="the propagation needs about"):
        label_propagation(graph, labels, max_iter=5, execution=execution)
