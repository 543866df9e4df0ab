"""Step 3: the graph that a job names, from features, from files of edges, from shared values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import dask.array as da

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.graph import GraphSpec, knn_graph, rbf_graph, sum_graphs
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.graph.edge_graph import edge_graph
from ssl_dask.graph.entity_graph import KeyColumn, shared_key_graph
from ssl_dask.graph.graph_spec import GraphPartSpec, OneGraphSpec
from ssl_dask.storage.column_reader import ColumnReader
from ssl_dask.storage.edge_file import EdgeFile
from ssl_dask.storage.edge_rows import edges_between_rows
from ssl_dask.storage.entity_keys import entity_keys


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

    Raises
    ------
    InputDataError
        No edge of a file joins two rows, or a file changed or holds weights that are none.
    """
    files = iter(edge_files)
    # A sum numbers its nodes anew: an index of one of its parts would not fit it.
    index_folder = index_folder if spec.parts is None else None
    graphs = []
    for part in spec.each():
        graph = _joined(
            part, X, reader, id_column, files, execution, scratch, index_folder, more_weights
        )
        graphs.append((graph, _weight(part)))
    return graphs[0][0] if spec.parts is None else sum_graphs(graphs, execution=execution)


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
