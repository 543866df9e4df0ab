"""Edges that users keep in Parquet files: two columns of ids, perhaps one of weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ssl_dask.errors import InputDataError
from ssl_dask.storage.input.column_problems import column_problems, id_problems
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import numeric_trouble
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout

EDGE_BYTES = 200
"""Memory of an edge while its ends are looked up."""
MAX_BLOCK_EDGES = 2**20


@dataclass(frozen=True)
class EdgeFile:
    """Files of edges, checked by their footers; no edge was read.

    Parameters
    ----------
    dataset
        The files.
    source, target
        Columns of the two ends, ids of rows of the data.
    weight
        Column of weights; None: every edge weighs 1.
    """

    dataset: Dataset
    source: str
    target: str
    weight: str | None

    @property
    def n_edges(self) -> int:
        """Number of edges in the files."""
        return self.dataset.n_rows

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.source, self.target, *(() if self.weight is None else (self.weight,)))

    def identity(self) -> Mapping[str, Any]:
        """Return what makes the edges the same: names, sizes, footers and times of the files."""
        return {"files": self.dataset.identity(), "modified": self.dataset.modified()}

    def reader(self, memory_per_task: int) -> ColumnReader:
        """Return a reader whose blocks fit a task."""
        rows = min(max(memory_per_task // 4 // EDGE_BYTES, 1), MAX_BLOCK_EDGES)
        layout = plan_layout(self.dataset, self.columns, block_bytes=2**26, block_rows=rows)
        return ColumnReader(self.dataset, layout)


def open_edge_file(
    path: str | os.PathLike[str],
    *,
    source: str,
    target: str,
    weight: str | None = None,
    base: Path,
    id_type: pa.DataType,
    storage_options: Mapping[str, Any] | None = None,
) -> EdgeFile:
    """Find files of edges and check names and types of their columns.

    Parameters
    ----------
    path
        Parquet, as for `Dataset.open`.
    source, target, weight
        The columns.
    base
        Folder that a relative path starts from.
    id_type
        Arrow type of the data's ids; int64 where row numbers are the ids.
    storage_options
        For fsspec, with a URL.

    Raises
    ------
    InputDataError
        The files cannot be read, or lack a column in a type that serves; every such problem.
    """
    dataset = Dataset.open(path, base=base, storage_options=storage_options)
    if source == target:
        raise InputDataError(
            "source and target are one column",
            file=dataset.path,
            column=source,
            hint="name the two ends of an edge",
        )
    problems = [
        problem for column in (source, target) for problem in id_problems(dataset, column, id_type)
    ]
    if weight is not None:
        problems += column_problems(dataset, weight, "weight", numeric_trouble)
    if problems:
        raise InputDataError(problems)
    return EdgeFile(dataset, source, target, weight)
