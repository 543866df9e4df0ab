"""Steps 3 and 4: features -> graph -> class distributions, with checkpoints on the way."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.console import RunListener
from ssl_dask.errors import QualityError
from ssl_dask.evaluation import SupervisedSpec
from ssl_dask.evaluation.baselines import fit_folds, fit_supervised
from ssl_dask.evaluation.hidden_seeds import HiddenSeeds
from ssl_dask.execution import Execution
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.graph import GraphSpec
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.graph.graph_diagnostics import Components, graph_summary, seed_agreement
from ssl_dask.graph.node_order import NodeOrder
from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels
from ssl_dask.pipeline.row_joins import joined_rows
from ssl_dask.pipeline.stored_graph import StoredGraph
from ssl_dask.propagation import METHODS, Propagated
from ssl_dask.propagation.ensemble_run import SeedClassifier
from ssl_dask.propagation.graph_ensemble import logistic_regression
from ssl_dask.propagation.solver import Resume
from ssl_dask.propagation.worker_parts import WorkersChangedError
from ssl_dask.round_record import RoundRecord
from ssl_dask.storage.checkpoint import Checkpoint, Checkpoints, load_block, save_block
from ssl_dask.storage.column_reader import ColumnReader
from ssl_dask.storage.durable_files import storage_errors
from ssl_dask.storage.edge_file import EdgeFile

GRAPH_CHECKPOINT = "graph"
STATE_CHECKPOINT = "propagation"
RESULT_CHECKPOINT = "distributions"
MAX_ATTEMPTS = 5
ISLANDS_TOLD = 100
IN_PROCESS_BYTES = 160 * 2**20
"""A graph and its class distributions of no more than this are propagated in this process."""


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
) -> BlockGraph:
    """Return the job's graph: stored, or a killed run's checkpoint, or built and checkpointed.

    `reader`, `id_column` and `edge_files` are for edges and entities, see `joined_rows`, also for
    `more_weights`.
    """
    if stored is not None:
        listener.event("stored_graph_used", path=str(stored.path))
        return stored.load().fetched(execution)
    found = checkpoints.find(GRAPH_CHECKPOINT)
    if found is not None:
        listener.event("checkpoint_used", name=GRAPH_CHECKPOINT)
        graph = BlockGraph.load(found.folder)
        return graph.fetched(execution)
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
    )
    folder = checkpoints.new(GRAPH_CHECKPOINT)
    with storage_errors("write the graph's checkpoint", folder):
        graph.save(folder, execution)
    checkpoints.commit(GRAPH_CHECKPOINT, folder, {})
    listener.event("checkpoint_written", name=GRAPH_CHECKPOINT)
    return graph


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
    """
    began = time.perf_counter()
    components = graph.components(execution)
    summary = {**graph.settings, **graph_summary(graph, execution, components)}
    diagnosed = time.perf_counter()
    listener.stage("propagation")
    method = METHODS[spec.method.name]
    hidden = [folds.hidden(fold) for fold in range(folds.n_folds)]
    near, where = _nearest_place(graph, labels.n_classes * (1 + len(hidden)), execution, listener)
    parameters = spec.method.model_dump(exclude={"name"})
    if method.wants_classifier:
        wanted = parameters.pop("classifier") != "none"
        classifier = logistic_regression(X, X_seeds, labels) if wanted else None
        if classifier is not None:
            classifier = _scored_nearby(classifier, execution, where)
        parameters["classifier"] = classifier
    run = partial(
        method.run,
        near,
        labels,
        **parameters,
        hidden=hidden,
        execution=where,
        on_round=listener.round,
        checkpoint=partial(_save_state, checkpoints, where, listener),
    )
    found = _run_until_kept(run, where, checkpoints, listener)
    for warning in found.warnings:
        listener.event("propagation_warning", level="warning", message=warning)
    hidden_F = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
    for mask, rows in zip(hidden, found.fold_F, strict=True):
        hidden_F[mask] = rows
    reached, n_without, islands = _seed_components(
        components, graph.order, labels, row_chunks, execution
    )
    # They stand beside the counts already.
    del summary["settings"]
    if not summary.get("notes"):
        summary.pop("notes", None)
    summary["rows_without_path_to_seed"] = n_without
    seed_nodes = labels.rows
    if graph.order is not None:
        seed_nodes = graph.order.nodes_of(labels.rows, execution)
    pairs, alike = seed_agreement(graph, seed_nodes, labels.codes, execution)
    summary |= {"edges_between_seeds": pairs, "edges_between_seeds_of_one_class": alike}
    return Inferred(
        F=found.F.rechunk((tuple(row_chunks), -1)),
        has_seed=reached,
        hidden_F=hidden_F,
        records=found.records,
        converged=found.converged,
        stop_reason=found.reason,
        graph=summary,
        islands=islands,
        seconds={"diagnose": diagnosed - began, "propagate": time.perf_counter() - diagnosed},
        warnings=tuple(found.warnings),
    )


def _scored_nearby(
    classifier: SeedClassifier, execution: Execution, where: Execution
) -> SeedClassifier:
    """Return a classifier whose answers lie where the propagation runs; X may lie on workers."""
    if where is execution:
        return classifier

    def score(seen: npt.NDArray[np.bool_]) -> da.Array:
        rows = classifier(seen)
        blocks = list(rows.to_delayed(optimize_graph=False).ravel())
        return da.concatenate(
            [da.from_array(values) for values in execution.compute(blocks, "classifier")]
        )

    return score


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
    hidden_F, not_converged = fit_folds(X_seeds, labels.codes, folds, labels.n_classes, spec)
    model = fit_supervised(X_seeds, labels.codes, labels.n_classes, spec)
    if not model.converged:
        raise QualityError(
            f"logistic regression did not converge within {spec.max_iter} iterations",
            hint="raise method.max_iter",
        )
    return Inferred(
        F=predict_proba_blocks(model, X),
        has_seed=None,
        hidden_F=hidden_F,
        records=[],
        converged=True,
        stop_reason="converged",
        graph={},
        islands={},
        seconds={},
        folds_not_converged=not_converged,
    )


def _run_until_kept(
    run: Callable[..., Propagated],
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Propagated:
    """Propagate, and write F to files where it was found on workers.

    A worker that is lost takes its scores with it, and they cannot be computed again by what comes
    after: until F is written, the propagation is gone on with from its last checkpoint.
    """
    for attempt in itertools.count(1):
        found = run(resume=_load_state(checkpoints, execution, listener))
        if execution.client is None:
            return found
        try:
            return replace(found, F=_kept_F(found.F, execution, checkpoints, listener))
        except WorkersChangedError:
            listener.event("worker_lost", level="warning", name=RESULT_CHECKPOINT)
            if attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError("the loop above ends by itself")


def _kept_F(
    F: da.Array, execution: Execution, checkpoints: Checkpoints, listener: RunListener
) -> da.Array:
    """Write F, one file a block, and return it as read from there."""
    folder = checkpoints.new(RESULT_CHECKPOINT)
    blocks = F.to_delayed(optimize_graph=False).ravel()
    save = delayed(save_block, pure=False)
    tasks = [save(folder, index, block) for index, block in enumerate(blocks)]
    execution.compute(tasks, "checkpoint")
    kept = checkpoints.commit(RESULT_CHECKPOINT, folder, {})
    listener.event("checkpoint_written", name=RESULT_CHECKPOINT)
    load = delayed(load_block, pure=False)
    shapes = [(n, F.shape[1]) for n in F.chunks[0]]
    return da.concatenate(
        [
            da.from_delayed(load(kept.folder, index), shape, dtype=np.float32)
            for index, shape in enumerate(shapes)
        ]
    )


def _nearest_place(
    graph: BlockGraph, n_columns: int, execution: Execution, listener: RunListener
) -> tuple[BlockGraph, Execution]:
    """Bring a small graph into this process: its sweeps take less time than a message to a worker.

    The answer has the same bits in both places.
    """
    # Two arrays of scores, of 8 bytes at most, and what is cut from them.
    size = 8 * graph.n_edges + 3 * 8 * graph.n_nodes * n_columns
    if graph.order is not None:
        size += 8 * graph.n_rows
    near = execution.client is None or size <= IN_PROCESS_BYTES
    listener.event("propagates", where="this process" if near else "the workers", bytes=size)
    if execution.client is None or not near:
        return graph, execution

    def held(blocks: Sequence[Delayed]) -> tuple[Delayed, ...]:
        values = execution.compute(blocks, "fetch graph")
        return tuple(delayed(value, pure=False, traverse=False) for value in values)

    order = graph.order
    if order is not None:
        order = replace(order, blocks=held(order.blocks))
    alternatives = {name: held(weights) for name, weights in graph.alternatives.items()}
    return graph.with_strips(held(graph.strips), order, alternatives), Execution()


def _save_state(
    checkpoints: Checkpoints,
    execution: Execution,
    listener: RunListener,
    iteration: int,
    state: list[list[Delayed]],
    meta: dict[str, Any],
) -> Resume:
    """Write the state; return it as read from there."""
    folder = checkpoints.new(STATE_CHECKPOINT)
    save = delayed(save_block, pure=False)
    tasks = [
        save(folder, index, block, kind=f"state{part}")
        for part, blocks in enumerate(state)
        for index, block in enumerate(blocks)
    ]
    execution.compute(tasks, "checkpoint")
    shape = {"iteration": iteration, "parts": [len(blocks) for blocks in state], "solver": meta}
    kept = checkpoints.commit(STATE_CHECKPOINT, folder, shape)
    listener.event("checkpoint_written", name=STATE_CHECKPOINT, iteration=iteration)
    return _state_of(kept)


def _load_state(
    checkpoints: Checkpoints, execution: Execution, listener: RunListener
) -> tuple[int, list[list[Delayed]], Mapping[str, Any]] | None:
    found = checkpoints.find(STATE_CHECKPOINT)
    if found is None:
        return None
    iteration, state, meta = _state_of(found)
    held = [execution.persist(blocks, "resume") for blocks in state]
    listener.event("checkpoint_used", name=STATE_CHECKPOINT, iteration=iteration)
    return iteration, held, meta


def _state_of(kept: Checkpoint) -> tuple[int, list[list[Delayed]], Mapping[str, Any]]:
    """Return what `PropagationSession.solve` goes on from; blocks are read where they are used."""
    load = delayed(load_block, pure=False)
    state = [
        [load(kept.folder, index, kind=f"state{part}") for index in range(count)]
        for part, count in enumerate(kept.meta["parts"])
    ]
    return kept.meta["iteration"], state, kept.meta["solver"]


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
