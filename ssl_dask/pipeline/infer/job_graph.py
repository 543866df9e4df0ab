"""Step 3: the graph that a job names, from features, from files of edges, from shared values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import dask.array as da
import numpy as np

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.features.views import FeatureView, join
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.partial_rows import PartialRows, over_all_rows, rows_present
from ssl_dask.graph.build.edge_graph import edge_graph
from ssl_dask.graph.build.entity_graph import KeyColumn, shared_key_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.graph.graph_spec import GraphPartSpec, GraphSpec, OneGraphSpec
from ssl_dask.kernels.graph.seed_pairs import SeedRows, learned_weights
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.row_sample import fetch_rows
from ssl_dask.storage.ids.edges import EdgeFile, edges_between_rows
from ssl_dask.storage.ids.id_hash import entity_keys
from ssl_dask.storage.input.column_reader import ColumnReader

RowsOf = Callable[[tuple[str, ...]], FeatureView]
"""Returns the features of some groups, joined and kept."""


def rows_of_groups(
    views: Mapping[str, FeatureView], groups: Mapping[str, FeatureGroup], execution: Execution
) -> RowsOf:
    """Return what joins some of the views by the weights of their groups, and keeps them."""

    def rows_of(names: tuple[str, ...]) -> FeatureView:
        weights = {name: groups[name].weight for name in names}
        return join({name: views[name] for name in names}, weights).persist(execution, "describe")

    return rows_of


def joined_rows(
    spec: GraphSpec,
    X: da.Array,
    reader: ColumnReader,
    id_column: str | None,
    edge_files: Sequence[EdgeFile],
    execution: Execution,
    *,
    scratch: Callable[[], str] | None = None,
    index_folder: str | None = None,
    more_weights: Sequence[str] = (),
    rows_of: RowsOf | None = None,
    labels: Labels | None = None,
) -> BlockGraph:
    """Return the graph of a job.

    Parameters
    ----------
    spec
        How rows are joined.
    X
        The features (N, d), chunked by rows.
    reader
        Reads the rows, for entities and for the ids that edges name.
    id_column
        Column of ids; None: row numbers are the ids.
    edge_files
        The files of `spec.edge_lists()`, in that order.
    scratch
        Makes an empty folder that all workers see, for a routed search.
    index_folder
        An empty folder that all workers see: the index for new rows is put there, if the graph is
        one of neighbours found by a routed search.
    more_weights
        Further weights of the edges between neighbours, as the graph's `alternatives`.
    rows_of
        The features of some groups alone, for parts that name them.
    labels
        The seeds, for `spec.part_weights: learned`.

    Raises
    ------
    InputDataError
        No edge of a file joins two rows, or a file changed or holds weights that are none.
    """
    files = iter(edge_files)
    # A sum numbers its nodes anew: an index of one of its parts would not fit it.
    index_folder = index_folder if spec.parts is None else None
    graphs, rows = [], []
    for part in spec.each():
        own, partial = _rows_of_part(part, X, rows_of, execution)
        graph = _joined(
            part, own, reader, id_column, files, execution, scratch, index_folder, more_weights
        )
        if partial is not None:
            graph = over_all_rows(graph, partial, execution)
        if isinstance(part, GraphPartSpec) and part.features is not None:
            graph = replace(graph, settings={**graph.settings, "features": list(part.features)})
        graphs.append((graph, _weight(part)))
        rows.append((own, partial))
    if spec.parts is None:
        return graphs[0][0]
    if spec.part_weights == "learned":
        assert labels is not None
        weights = _learned(spec.parts, rows, labels, execution)
        graphs = [(graph, w) for (graph, _), w in zip(graphs, weights, strict=True)]
    return sum_graphs(graphs, execution=execution)


def _rows_of_part(
    part: OneGraphSpec, X: da.Array, rows_of: RowsOf | None, execution: Execution
) -> tuple[da.Array, PartialRows | None]:
    """Return the features of a part, and where it is over those rows alone that have them."""
    if not isinstance(part, GraphPartSpec) or part.features is None:
        return X, None
    assert rows_of is not None
    view = rows_of(part.features)
    if view.present is None:
        return view.X, None
    partial = rows_present(view.X, view.present, execution)
    return (view.X, None) if partial.X.shape[0] == view.X.shape[0] else (partial.X, partial)


def _learned(
    parts: Sequence[GraphPartSpec],
    rows: Sequence[tuple[da.Array, PartialRows | None]],
    labels: Labels,
    execution: Execution,
) -> list[float]:
    """Return a weight for each part, from the features of the seeds: few rows come here."""
    seeds = []
    for part, (X, partial) in zip(parts, rows, strict=True):
        if partial is None:
            has, at = np.ones(labels.n_seeds, dtype=np.bool_), labels.rows
        else:
            has, at = partial.places_of(labels.rows, execution)
        found = fetch_rows(X, at, execution) if len(at) else np.zeros((0, X.shape[1]), np.float32)
        cosine = part.kind == "knn" and part.metric == "cosine"
        seeds.append(SeedRows(found, has, "cosine" if cosine else "euclidean"))
    return learned_weights(seeds, labels.codes).tolist()


def _joined(
    spec: OneGraphSpec,
    X: da.Array,
    reader: ColumnReader,
    id_column: str | None,
    files: Iterator[EdgeFile],
    execution: Execution,
    scratch: Callable[[], str] | None,
    index_folder: str | None,
    more_weights: Sequence[str],
) -> BlockGraph:
    if spec.edges is not None:
        file = next(files)
        graph = edge_graph(
            edges_between_rows(file, reader, id_column, execution),
            reader.layout.n_rows,
            directed=spec.edges.directed,
            duplicates=spec.edges.duplicates,
            settings={"path": file.dataset.path},
            execution=execution,
        )
        if graph.n_edges == 0:
            raise InputDataError(
                f"none of the {file.n_edges:,} edges joins two rows of the data",
                file=file.dataset.path,
                column=f"{file.source}, {file.target}",
                hint="both columns must hold ids of rows, as graph.edges says",
            )
        return graph
    if spec.entities is not None:
        columns = [
            KeyColumn(name, tuple(entity_keys(reader, name)), weight)
            for name, weight in spec.entities.items()
        ]
        return shared_key_graph(
            columns,
            reader.layout.row_chunks,
            max_entity_rows=spec.max_entity_rows,
            scale=spec.entity_scale,
            execution=execution,
        )
    if spec.kind == "rbf":
        return rbf_graph(X, gamma=spec.gamma, execution=execution)
    return knn_graph(
        X,
        n_neighbors=spec.n_neighbors,
        metric=spec.metric,
        weights=[spec.weights, *(name for name in more_weights if name != spec.weights)],
        symmetrize=spec.symmetrize,
        search=spec.search,
        target_recall=spec.target_recall,
        shard_memory=spec.shard_bytes,
        scratch=None if scratch is None else scratch(),
        index_folder=index_folder,
        execution=execution,
    )


def _weight(part: OneGraphSpec) -> float:
    return part.weight if isinstance(part, GraphPartSpec) else 1.0
