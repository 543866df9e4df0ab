"""Step 4 for methods that look at features themselves: anchors, Correct & Smooth, SGC."""

from __future__ import annotations

import time
from typing import Any

import dask.array as da
import numpy as np

from ssl_dask.console import RunListener
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs, MethodResult
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.infer.inference import Inferred, reported_graph
from ssl_dask.pipeline.infer.propagation_run import PropagationRun
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel
from ssl_dask.storage.runs.checkpoint import Checkpoints


def infer_on_features(
    spec: SpecModel,
    X: da.Array,
    X_seeds: Any,
    labels: Labels,
    folds: HiddenSeeds,
    execution: Execution,
) -> Inferred:
    """Run a method that needs features alone; the rows are scored when they are written.

    Raises
    ------
    GraphError
        The features are sparse.
    """
    began = time.perf_counter()
    inputs = MethodInputs(labels, folds.masks, X=X, X_seeds=X_seeds)
    found = METHODS[spec.model_dump()["name"]].run(inputs, spec, RunControl(execution))
    seconds = {"propagate": time.perf_counter() - began}
    return _inferred(found, folds, labels, X, {}, seconds)


def infer_on_graph_and_features(
    spec: SpecModel,
    graph: BlockGraph,
    X: da.Array,
    X_seeds: Any,
    labels: Labels,
    folds: HiddenSeeds,
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Inferred:
    """Run a method that needs the graph and the features, where the features lie.

    Raises
    ------
    QualityError
        A solver of the method did not converge.
    GraphError
        There are too many features.
    ComputeError
        Workers were lost or ran out of memory.
    """
    began = time.perf_counter()
    summary = reported_graph(graph, execution)
    diagnosed = time.perf_counter()
    run = PropagationRun(graph, X, X_seeds, labels, folds, execution, checkpoints, listener)
    found = run.run(METHODS[spec.model_dump()["name"]], spec, 0, graph, execution)
    if found.notes:
        summary["notes"] = [*summary.get("notes", []), *found.notes]
    seconds = {"diagnose": diagnosed - began, "propagate": time.perf_counter() - diagnosed}
    return _inferred(found, folds, labels, X, summary, seconds)


def _inferred(
    found: MethodResult,
    folds: HiddenSeeds,
    labels: Labels,
    X: da.Array,
    graph: dict[str, Any],
    seconds: dict[str, float],
) -> Inferred:
    empty = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
    return Inferred(
        F=found.F.rechunk({0: X.chunks[0]}),
        has_seed=None,
        hidden_F=folds.gathered(found.fold_F, empty),
        records=found.records,
        converged=found.converged,
        stop_reason=found.reason,
        graph=graph,
        islands={},
        seconds=seconds,
        folds_not_converged=found.folds_not_converged,
        source=found.source,
    )
