"""Step 3: the graph that a job names, from features, from files of edges, from shared values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import dask.array as da
import numpy as np

from ssl_dask.durable_files import storage_errors
from ssl_dask.errors import InputDataError
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder, ranked_rows
from ssl_dask.graph.block.partial_rows import PartialRows, over_all_rows, rows_present
from ssl_dask.graph.build.edge_graph import edge_graph
from ssl_dask.graph.build.entity_graph import KeyColumn, shared_key_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.graph.graph_spec import GraphPartSpec, OneGraphSpec
from ssl_dask.kernels.graph.seed_pairs import SeedRows, learned_weights
from ssl_dask.pipeline.infer.row_sample import fetch_array_rows
from ssl_dask.pipeline.inputs.run_context import DescribedJob, RunContext
from ssl_dask.storage.ids.edges import EdgeFile, edges_between_rows
from ssl_dask.storage.ids.id_hash import entity_keys

GRAPH_CHECKPOINT = "graph"


@dataclass(frozen=True)
class GraphFolders:
    """Where a search for neighbours may write, on a file system that all workers see.

    Parameters
    ----------
    scratch
        Makes an empty folder for a routed search; None: rows go from worker to worker.
    index
        An empty folder for the index for new rows, if the graph is one of neighbours that a routed
        search found; None: no index.
    """

    scratch: Callable[[], str] | None = None
    index: str | None = None


def job_graph(run: RunContext, X: da.Array) -> BlockGraph:
    """Return the job's graph: stored, or a killed run's checkpoint, or built and checkpointed."""
    execution, checkpoints, clock = run.execution, run.checkpoints, run.clock
    stored = run.inputs.stored_graph
    if stored is not None:
        clock.event("stored_graph_used", path=str(stored.path))
        return execution.persist([stored.load()], "load graph")[0]
    found = checkpoints.find(GRAPH_CHECKPOINT)
    if found is not None:
        clock.event("checkpoint_used", name=GRAPH_CHECKPOINT)
        return execution.persist([BlockGraph.load(found.folder)], "load graph")[0]
    # The folder of checkpoints is one that all workers see.
    scratch = None if execution.client is None else lambda: str(checkpoints.new("exchange"))
    graph = build_job_graph(run, X, GraphFolders(scratch), run.method.more_weights)
    folder = checkpoints.new(GRAPH_CHECKPOINT)
    with storage_errors("write the graph's checkpoint", folder):
        graph.save(folder, execution)
    checkpoints.commit(GRAPH_CHECKPOINT, folder, {})
    clock.event("checkpoint_written", name=GRAPH_CHECKPOINT)
    return graph


def build_job_graph(
    job: DescribedJob, X: da.Array, folders: GraphFolders, more_weights: Sequence[str] = ()
) -> BlockGraph:
    """Build the graph of a job.

    Parameters
    ----------
    job
        The job, its rows and files of edges, and where tasks run.
    X
        The features (N, d), chunked by rows.
    folders
        Where a search may write.
    more_weights
        Further weights of the edges between neighbours, as the graph's `alternatives`.

    Raises
    ------
    InputDataError
        No edge of a file joins two rows, or a file changed or holds weights that are none.
    """
    spec, execution = job.spec.graph, job.execution
    assert spec is not None
    files, tags = iter(job.inputs.edge_files), job.tags()
    ranks = None
    if tags is not None:
        ranks = ranked_rows(tags, job.data.layout.row_chunks, execution)
    if spec.parts is not None:
        # A sum numbers its nodes anew: an index of one of its parts would not fit it.
        folders = replace(folders, index=None)
    graphs, rows = [], []
    for part in spec.each():
        own, partial = _rows_of_part(part, X, job, ranks)
        own_ranks = ranks if partial is None else partial.ranks
        graph = _build_part(part, own, own_ranks, job, files, folders, more_weights)
        if partial is not None:
            graph = over_all_rows(graph, partial, execution, ranks)
        if isinstance(part, GraphPartSpec) and part.features is not None:
            graph = replace(graph, settings={**graph.settings, "features": list(part.features)})
        graphs.append(graph)
        rows.append((own, partial))
    if spec.parts is None:
        return graphs[0]
    weights = [part.weight for part in spec.parts]
    if spec.part_weights == "learned":
        weights = _learned_weights(job, spec.parts, rows)
    pairs = list(zip(graphs, weights, strict=True))
    return sum_graphs(pairs, ranks=ranks, execution=execution)


def _rows_of_part(
    part: OneGraphSpec, X: da.Array, job: DescribedJob, ranks: NodeOrder | None
) -> tuple[da.Array, PartialRows | None]:
    """Return the features of a part, and where it is over those rows alone that have them."""
    if not isinstance(part, GraphPartSpec) or part.features is None:
        return X, None
    view = job.kept_groups(part.features)
    if view.present is None:
        return view.X, None
    partial = rows_present(view.X, view.present, job.execution, ranks)
    return (view.X, None) if partial.X.shape[0] == view.X.shape[0] else (partial.X, partial)


def _build_part(
    part: OneGraphSpec,
    X: da.Array,
    ranks: NodeOrder | None,
    job: DescribedJob,
    files: Iterator[EdgeFile],
    folders: GraphFolders,
    more_weights: Sequence[str],
) -> BlockGraph:
    if part.edges is not None:
        return _graph_of_edges(part, ranks, job, next(files))
    if part.entities is not None:
        return _graph_of_entities(part, ranks, job)
    if part.kind == "rbf":
        return rbf_graph(X, gamma=part.gamma, ranks=ranks, execution=job.execution)
    return knn_graph(
        X,
        n_neighbors=part.n_neighbors,
        metric=part.metric,
        weights=[part.weights, *(name for name in more_weights if name != part.weights)],
        symmetrize=part.symmetrize,
        search=part.search,
        target_recall=part.target_recall,
        shard_memory=part.shard_bytes,
        scratch=None if folders.scratch is None else folders.scratch(),
        index_folder=folders.index,
        ranks=ranks,
        execution=job.execution,
    )


def _graph_of_edges(
    part: OneGraphSpec, ranks: NodeOrder | None, job: DescribedJob, file: EdgeFile
) -> BlockGraph:
    assert part.edges is not None
    graph = edge_graph(
        edges_between_rows(file, job.data.reader, job.spec.input.id, job.execution),
        job.data.layout.n_rows,
        directed=part.edges.directed,
        duplicates=part.edges.duplicates,
        settings={"path": file.dataset.path},
        ranks=ranks,
        execution=job.execution,
    )
    if graph.n_edges == 0:
        raise InputDataError(
            f"none of the {file.n_edges:,} edges joins two rows of the data",
            file=file.dataset.path,
            column=f"{file.source}, {file.target}",
            hint="both columns must hold ids of rows, as graph.edges says",
        )
    return graph


def _graph_of_entities(
    part: OneGraphSpec, ranks: NodeOrder | None, job: DescribedJob
) -> BlockGraph:
    columns = [
        KeyColumn(name, tuple(entity_keys(job.data.reader, name)), weight)
        for name, weight in (part.entities or {}).items()
    ]
    return shared_key_graph(
        columns,
        job.data.layout.row_chunks,
        max_entity_rows=part.max_entity_rows,
        scale=part.entity_scale,
        ranks=ranks,
        execution=job.execution,
    )


def _learned_weights(
    job: DescribedJob,
    parts: Sequence[GraphPartSpec],
    rows: Sequence[tuple[da.Array, PartialRows | None]],
) -> list[float]:
    """Return a weight for each part, from the features of the seeds alone."""
    labels, execution = job.data.labels, job.execution
    seeds = []
    for part, (X, partial) in zip(parts, rows, strict=True):
        if partial is None:
            has, at = np.ones(labels.n_seeds, dtype=np.bool_), labels.rows
        else:
            has, at = partial.places_of(labels.rows, execution)
        none = np.zeros((0, X.shape[1]), np.float32)
        found = fetch_array_rows(X, at, execution) if len(at) else none
        cosine = part.kind == "knn" and part.metric == "cosine"
        seeds.append(SeedRows(found, has, "cosine" if cosine else "euclidean"))
    return learned_weights(seeds, labels.codes).tolist()
