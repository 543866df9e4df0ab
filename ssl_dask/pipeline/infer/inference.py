"""Steps 3 and 4: features -> graph -> class distributions, with checkpoints on the way."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.console import RunListener
from ssl_dask.durable_files import storage_errors
from ssl_dask.execution import Execution
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.components import Components
from ssl_dask.graph.block.graph_summary import graph_summary, seed_agreement
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.graph.graph_spec import GraphSpec
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.job_graph import RowsOf, joined_rows
from ssl_dask.pipeline.infer.propagation_run import PropagationRun
from ssl_dask.pipeline.inputs.stored_graph import StoredGraph
from ssl_dask.report.run_report import SelfLabeledSummary
from ssl_dask.round_record import RoundRecord
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.spec_model import SpecModel
from ssl_dask.storage.ids.edges import EdgeFile
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.supervised import SupervisedSpec, fit_converged, fit_folds

GRAPH_CHECKPOINT = "graph"
ISLANDS_TOLD = 100


@dataclass(frozen=True)
class KeptModels:
    """The models of the round that answers.

    Parameters
    ----------
    method
        Joins what they say.
    models
        Tasks of the fitted models, one a learner, on the workers.
    """

    method: RoundMethod
    models: tuple[Delayed, ...]


@dataclass(frozen=True)
class Inferred:
    """What step 4 found.

    Parameters
    ----------
    F
        Dask array float32 (N, C), chunked as the row layout: rows sum to 1, or to 0.
    has_seed
        Per block of the layout, bool (n_i,): whether a path leads to a seed; None without a graph.
    hidden_F
        float32 (S, C): each seed's row of F while it was hidden; zeros for seeds never hidden.
    records
        One for each iteration.
    converged, stop_reason
        Whether the method's stop rule was met, and in words why it ended.
    graph
        What the report says of the graph; empty without one.
    islands
        First row of a component without seeds -> its number of rows, the largest ones.
    seconds
        Wall time of building the graph and of propagating.
    folds_not_converged
        In how many folds a solver of its own did not settle on the seeds that were left.
    warnings
        What a person should know of the propagation, a sentence each.
    answered_by
        The method that labelled in the place of the job's, whose classes had collapsed; else None.
    source
        What labels are written down as, one of `decision.labelling.SOURCES`.
    self_labeled
        What the report says of rounds of self-labelling; None without any.
    kept_models
        What can label other rows; None where the method has no such thing.
    """

    F: da.Array
    has_seed: list[Delayed] | None
    hidden_F: npt.NDArray[np.float32]
    records: list[RoundRecord]
    converged: bool
    stop_reason: str
    graph: Mapping[str, Any]
    islands: Mapping[int, int]
    seconds: Mapping[str, float]
    folds_not_converged: int = 0
    warnings: tuple[str, ...] = ()
    answered_by: SpecModel | None = None
    source: str = "propagated"
    self_labeled: SelfLabeledSummary | None = None
    kept_models: KeptModels | None = None


def build_graph(
    spec: GraphSpec,
    X: da.Array,
    reader: ColumnReader,
    id_column: str | None,
    edge_files: Sequence[EdgeFile],
    stored: StoredGraph | None,
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
    *,
    more_weights: Sequence[str] = (),
    rows_of: RowsOf | None = None,
    labels: Labels | None = None,
) -> BlockGraph:
    """Return the job's graph: stored, or a killed run's checkpoint, or built and checkpointed.

    `reader`, `id_column` and `edge_files` are for edges and entities, see `joined_rows`, also for
    `more_weights`, `rows_of` and `labels`.
    """
    if stored is not None:
        listener.event("stored_graph_used", path=str(stored.path))
        return execution.persist([stored.load()], "load graph")[0]
    found = checkpoints.find(GRAPH_CHECKPOINT)
    if found is not None:
        listener.event("checkpoint_used", name=GRAPH_CHECKPOINT)
        return execution.persist([BlockGraph.load(found.folder)], "load graph")[0]
    graph = joined_rows(
        spec,
        X,
        reader,
        id_column,
        edge_files,
        execution,
        # The folder of checkpoints is one that all workers see.
        scratch=None if execution.client is None else lambda: str(checkpoints.new("exchange")),
        more_weights=more_weights,
        rows_of=rows_of,
        labels=labels,
    )
    folder = checkpoints.new(GRAPH_CHECKPOINT)
    with storage_errors("write the graph's checkpoint", folder):
        graph.save(folder, execution)
    checkpoints.commit(GRAPH_CHECKPOINT, folder, {})
    listener.event("checkpoint_written", name=GRAPH_CHECKPOINT)
    return graph


def reported_graph(
    graph: BlockGraph, execution: Execution, components: Components | None = None
) -> dict[str, Any]:
    """Return what the report says of the graph: its settings beside its counts."""
    summary = {**graph.settings, **graph_summary(graph, execution, components)}
    # They stand beside the counts already.
    del summary["settings"]
    if not summary.get("notes"):
        summary.pop("notes", None)
    return summary


def infer_on_graph(
    spec: JobSpec,
    graph: BlockGraph,
    X: da.Array,
    X_seeds: Any,
    labels: Labels,
    folds: HiddenSeeds,
    row_chunks: Sequence[int],
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Inferred:
    """Propagate the seeds over the graph, with each fold's seeds hidden in columns of its own.

    The features `X` (N, d), and `X_seeds` (S, d) of the seeds, are for a method that wants a
    classifier.

    Raises
    ------
    ComputeError
        Workers were lost or ran out of memory.
    QualityError
        Classes have collapsed, and the job does not take that, see `decision.on_collapse`.
    """
    began = time.perf_counter()
    components = graph.components(execution)
    summary = reported_graph(graph, execution, components)
    diagnosed = time.perf_counter()
    listener.stage("propagation")
    run = PropagationRun(graph, X, X_seeds, labels, folds, execution, checkpoints, listener)
    answer = run.uncollapsed(spec.method, spec.decision.on_collapse)
    found = answer.found
    reached, n_without, islands = _seed_components(
        components, graph.order, labels, row_chunks, execution
    )
    summary["rows_without_path_to_seed"] = n_without
    seed_nodes = labels.rows
    if graph.order is not None:
        seed_nodes = graph.order.nodes_of(labels.rows, execution)
    pairs, alike = seed_agreement(graph, seed_nodes, labels.codes, execution)
    summary |= {"edges_between_seeds": pairs, "edges_between_seeds_of_one_class": alike}
    return Inferred(
        F=found.F.rechunk((tuple(row_chunks), -1)),
        has_seed=reached,
        hidden_F=answer.hidden_F,
        records=found.records,
        converged=found.converged,
        stop_reason=found.reason,
        graph=summary,
        islands=islands,
        seconds={"diagnose": diagnosed - began, "propagate": time.perf_counter() - diagnosed},
        warnings=answer.warnings,
        answered_by=answer.answered_by,
    )


def infer_supervised(
    spec: SupervisedSpec,
    X: da.Array,
    X_seeds: Any,
    labels: Labels,
    folds: HiddenSeeds,
) -> Inferred:
    """Fit logistic regression on the seeds; the rows are scored when they are written.

    Raises
    ------
    QualityError
        The solver did not converge.
    """
    fold_F, not_converged = fit_folds(X_seeds, labels.codes, folds.masks, labels.n_classes, spec)
    model = fit_converged(X_seeds, labels.codes, labels.n_classes, spec)
    empty = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
    return Inferred(
        F=predict_proba_blocks(model, X),
        has_seed=None,
        hidden_F=folds.gathered(fold_F, empty),
        records=[],
        converged=True,
        stop_reason="converged",
        graph={},
        islands={},
        seconds={},
        folds_not_converged=not_converged,
        source="supervised",
    )


def _seed_components(
    components: Components,
    order: NodeOrder | None,
    labels: Labels,
    row_chunks: Sequence[int],
    execution: Execution,
) -> tuple[list[Delayed], int, dict[int, int]]:
    """Return per block whether a path leads to a seed; how many rows none does; large islands.

    A worker holds the node of each row, 8 N bytes, for the islands.
    """
    nodes = _nodes_of_blocks(order, row_chunks)
    seed_nodes = labels.rows if order is None else order.nodes_of(labels.rows, execution)
    with_seed = delayed(_components_of, pure=False)(components.labels, seed_nodes)
    per_block = [
        delayed(_in_components, pure=False)(components.labels, with_seed, block) for block in nodes
    ]
    reached = execution.persist(per_block, "reach")
    ((n_without, islands),) = execution.compute(
        [delayed(_islands, pure=False)(components.labels, with_seed, *nodes)], "islands"
    )
    return reached, n_without, islands


def _nodes_of_blocks(order: NodeOrder | None, row_chunks: Sequence[int]) -> list[Delayed]:
    """Return the node of each row in blocks of `row_chunks` rows."""
    if order is None:
        starts = np.concatenate([[0], np.cumsum(row_chunks)]).tolist()
        return [
            delayed(np.arange, pure=False)(start, stop)
            for start, stop in itertools.pairwise(starts)
        ]
    blocks = [
        da.from_delayed(block, (n,), dtype=np.int64)
        for block, n in zip(order.blocks, order.row_chunks, strict=True)
    ]
    nodes = da.concatenate(blocks).rechunk((tuple(row_chunks),))
    return list(nodes.to_delayed(optimize_graph=False))


def _components_of(
    component: npt.NDArray[np.integer], nodes: npt.NDArray[np.int64]
) -> npt.NDArray[np.integer]:
    return np.unique(component[nodes])


def _in_components(
    component: npt.NDArray[np.integer],
    wanted: npt.NDArray[np.integer],
    nodes: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    return np.isin(component[nodes], wanted)


def _islands(
    component: npt.NDArray[np.integer],
    with_seed: npt.NDArray[np.integer],
    *nodes: npt.NDArray[np.int64],
) -> tuple[int, dict[int, int]]:
    """Return the rows of components without a seed, and first row -> size of the largest."""
    of_row = component[np.concatenate(nodes)]
    rows = np.flatnonzero(~np.isin(of_row, with_seed))
    _, place, sizes = np.unique(of_row[rows], return_index=True, return_counts=True)
    first = rows[place]
    largest = np.lexsort((first, -sizes))[:ISLANDS_TOLD]
    return int(sizes.sum()), dict(
        zip(first[largest].tolist(), sizes[largest].tolist(), strict=True)
    )
