"""New rows find their neighbours among the rows of a graph, in the shards it was made from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.row_files import open_rows, readable, write_array, write_rows
from ssl_dask.graph.knn.exact_knn import check_n_neighbors
from ssl_dask.graph.knn.row_kind import DENSE, SPARSE, kind_of
from ssl_dask.graph.knn.row_strips import RowStrips, checked_rows
from ssl_dask.kernels.arithmetic.sparse_rows import stacked_rows
from ssl_dask.kernels.knn.exact_sparse import row_squares
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds, empty_lists
from ssl_dask.kernels.knn.routing import Routing, home_shards
from ssl_dask.kernels.knn.shard_cells import Shard

FORMAT_VERSION = 3
SEED = 30_000
INDEX = "the index for new rows"


@dataclass(frozen=True)
class RoutedIndex:
    """The shards of a routed search, kept in a folder that all workers see.

    Examples
    --------
    >>> import tempfile
    >>> from ssl_dask.graphs import attach_rows, knn_graph
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     graph = knn_graph(X, 3, search="routed", index_folder=folder)
    ...     index = RoutedIndex.load(folder)
    ...     distances, nodes = index.search(X[:2], 1)
    ...     attach_rows(graph, index, X[:2] + 0.01, n_neighbors=3).n_rows
    202
    >>> distances.tolist()
    [[0.0], [0.0]]
    """

    folder: str
    """Where `write_shard` and `write_about` wrote them."""
    routing: Routing
    """Which shard a row belongs to."""
    metric: str
    """"euclidean" or "cosine"."""
    n_nodes: int
    """Nodes M of the graph."""
    n_columns: int
    sparse: bool
    """Columns d of its rows, and whether they are sparse."""

    @classmethod
    def load(cls, folder: str | Path) -> RoutedIndex:
        """Return the index that lies in `folder`.

        Raises
        ------
        GraphError
            There is none, or one of another format.
        """
        path = Path(folder).absolute()
        if not (path / "index.json").exists():
            raise GraphError(
                "no index for new rows here: only a routed search makes one",
                file=str(path),
                hint="build the graph with search: routed",
            )
        with readable(INDEX, path / "index.json"):
            about = dict(json.loads((path / "index.json").read_text()))
            found = about["format"]
        if found != FORMAT_VERSION:
            raise GraphError(
                f"the index has format {found}; this version reads {FORMAT_VERSION}",
                file=str(path),
                hint="build the graph again",
            )
        file = path / "routing.npz"
        with readable(INDEX, file), np.load(file, allow_pickle=False) as arrays:
            routing = Routing(
                arrays["centre"],
                arrays.get("axes"),
                about["cosine"],
                about["scale"],
                arrays["centres"],
                arrays["shards"],
            )
        keys = ("metric", "n_nodes", "n_columns", "sparse")
        return cls(str(path), routing, *(about[key] for key in keys))

    def search(
        self,
        X_new: Any,
        n_neighbors: int,
        *,
        client: AnyClient = None,
        execution: Execution | None = None,
    ) -> tuple[Distances, RowIds]:
        """Return the nodes nearest to each new row, and how far they are.

        Parameters
        ----------
        X_new
            (m, d): NumPy array, SciPy sparse array, or Dask array chunked by rows, described
            as the graph's rows were.
        n_neighbors
            k.
        client, execution
            Where to run: a client, "local" (this process), or an `Execution`; default: the open
            client.

        Returns
        -------
        (distances float64 (m, k), nodes int64 (m, k)): Euclidean, or 1 - cos, ascending; inf and
        -1 in empty places. `BlockGraph.order` says which node each row of the graph is.

        Raises
        ------
        GraphError
            The rows are not dense or sparse as those of the graph, hold values that are not finite,
            or have other columns.
        """
        execution = Execution.of(client, execution)
        check_n_neighbors(n_neighbors)
        rows = checked_rows(X_new, execution)
        parts = execution.compute(self.nearest_lists(rows, n_neighbors, execution), "new rows")
        distances, nodes = (np.concatenate(column) for column in zip(*parts, strict=True))
        return distances if self.metric == "cosine" else np.sqrt(distances), nodes

    def nearest_lists(
        self, rows: RowStrips, n_neighbors: int, execution: Execution
    ) -> list[Delayed]:
        """Return the nearest nodes of new rows, on workers: one pair of lists a strip.

        Each row is searched in one shard. A task a strip and shard reads the shard's file.

        Returns
        -------
        Handles to (distances float64 (n_i, k), indices int64 (n_i, k)): exact distances of the
        nodes found, squared or 1 - cos, by (distance, node). About 0.99 of the true neighbours.

        Raises
        ------
        GraphError
            The rows have other columns than those of the graph, or are of the other kind.
        """
        kind = SPARSE if self.sparse else DENSE
        if rows.kind is not kind:
            raise GraphError(
                f"the new rows are {rows.kind.name}; those of the graph are {kind.name}"
            )
        if rows.n_columns != self.n_columns:
            raise GraphError(
                f"the new rows have {rows.n_columns} columns, those of the graph {self.n_columns}"
            )
        routing = dask.delayed(self.routing, pure=False, traverse=False)
        how = (self.folder, routing, n_neighbors, self.metric)
        return execution.persist(block_tasks(_search_strip, [rows.strips], *how), "new rows")


def write_shard(folder: str, shard: int, X: Any, numbers: RowIds) -> None:
    """Write the rows of a shard and their nodes; the same shard writes the same bytes again."""
    write_rows(_shard_stem(folder, shard, "X"), X)
    write_array(_shard_stem(folder, shard, "nodes") + ".npy", numbers)


def write_about(
    folder: str, routing: Routing, metric: str, n_nodes: int, n_columns: int, sparse: bool
) -> None:
    """Write what is not a shard; comes last."""
    arrays: dict[str, Any] = {
        "centre": routing.centre,
        "centres": routing.centres,
        "shards": routing.shard_of_cell,
    }
    if routing.axes is not None:
        arrays["axes"] = routing.axes
    path = os.path.join(folder, "routing.npz")
    try:
        np.savez(path, **arrays)
    except OSError as error:
        error.filename = error.filename or path
        raise
    about = {
        "format": FORMAT_VERSION,
        "metric": metric,
        "cosine": routing.cosine,
        "scale": routing.scale,
        "n_nodes": n_nodes,
        "n_columns": n_columns,
        "sparse": sparse,
    }
    Path(folder, "index.json").write_text(json.dumps(about) + "\n")


def _shard_stem(folder: str, shard: int, name: str) -> str:
    return os.path.join(folder, f"shard-{shard:05d}-{name}")


def _search_strip(
    rows: Any, folder: str, routing: Routing, n_neighbors: int, metric: str
) -> tuple[Distances, RowIds]:
    distances, indices = empty_lists(rows.shape[0], n_neighbors)
    home = home_shards(rows, routing)
    if metric == "cosine":
        home[row_squares(rows) == 0] = -1
    for shard in np.unique(home[home >= 0]).tolist():
        at = np.flatnonzero(home == shard)
        distances[at], indices[at] = _search_one(
            folder, routing, shard, rows[at], n_neighbors, metric
        )
    return distances, indices


def _search_one(
    folder: str, routing: Routing, shard: int, rows: Any, n_neighbors: int, metric: str
) -> tuple[Distances, RowIds]:
    stem = _shard_stem(folder, shard, "X")
    with readable("a shard of the index", stem):
        stored = open_rows(stem, rows.shape[1] if kind_of(rows) is SPARSE else None)
        nodes = np.load(_shard_stem(folder, shard, "nodes") + ".npy")
    X = stacked_rows([rows, stored])
    is_new = np.zeros(X.shape[0], dtype=bool)
    is_new[: rows.shape[0]] = True
    numbers = np.concatenate([np.full(rows.shape[0], -1, dtype=np.int64), nodes])
    kind = kind_of(rows)
    known = Shard(X, routing.searchable(X), is_new, numbers, metric, findable=~is_new)
    return kind.search(known, n_neighbors, kind.new_row_effort, SEED)
