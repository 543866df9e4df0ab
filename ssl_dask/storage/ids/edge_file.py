"""Edges that users keep in Parquet files: two columns of ids, perhaps one of weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import (
    TypeCheck,
    common_type,
    id_family,
    id_trouble,
    nearest_names,
    numeric_trouble,
)
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
            "source and target are one column; name the two ends of an edge",
            file=dataset.path,
            column=source,
        )
    problems: list[Problem] = []
    for column in (source, target):
        found = _wrong(dataset, column, id_trouble)
        if not found and id_family(dataset.schema.field(column).type) != id_family(id_type):
            kind = dataset.schema.field(column).type
            text = f"is {kind}, but the ids of the data are {id_type}"
            found = [Problem(text, dataset.path, None, column, None, "write both as one type")]
        problems += found
    if weight is not None:
        problems += _wrong(dataset, weight, numeric_trouble)
    if problems:
        raise InputDataError(problems)
    return EdgeFile(dataset, source, target, weight)


def _wrong(dataset: Dataset, column: str, trouble: TypeCheck) -> list[Problem]:
    """Return what is wrong with a column of edges."""
    kinds = dataset.types_of(column)
    if set(kinds) == {None}:
        hint = nearest_names(column, dataset.schema.names) or (
            f"the columns are {', '.join(dataset.schema.names[:20])}"
        )
        return [Problem("missing in the edges", dataset.path, column=column, hint=hint)]
    if None in kinds:
        shown = dataset.shown_path(kinds[None][0])
        return [Problem("missing in this file of edges", shown, column=column)]
    if common_type(kind for kind in kinds if kind is not None) is None:
        text = f"is {' and '.join(map(str, kinds))} in different files of edges"
        return [Problem(text, dataset.path, column=column, hint="write one type")]
    found = trouble(dataset.schema.field(column).type)
    return [Problem(found[0], dataset.path, column=column, hint=found[1])] if found else []
