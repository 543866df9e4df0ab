"""Edges between ids, which users keep in Parquet files -> edges between row numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt
from dask.delayed import Delayed, delayed

from ssl_dask.block_exchange import MAX_PIECES, exchange
from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.input_files import InputFiles
from ssl_dask.storage.ids.id_hash import hash_ids, range_of
from ssl_dask.storage.input.arrow_to_numpy import ColumnValueError, numeric_values
from ssl_dask.storage.input.column_problems import column_problems, id_problems
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import numeric_trouble
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout

EDGE_BYTES = 200
"""Memory of an edge while its ends are looked up."""
MAX_BLOCK_EDGES = 2**20
BYTES_PER_ID = 64
"""What a row's id costs while those of its range are sorted by their hash."""
UNKNOWN = -1

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
    files: str | os.PathLike[str] | InputFiles,
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
    files
        Parquet or a table, as for `Dataset.open`.
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
    dataset = Dataset.open(files, base=base, storage_options=storage_options)
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


class IdTable(NamedTuple):
    """The rows of the ids of one range of hashes: uint64 hashes, ascending, and int64 rows."""

    hashes: Hashes
    rows: Rows


class HashedEdges(NamedTuple):
    """Edges of one block: uint64 and bool (E, 2) hash of each end and whether it may be an id of
    the data; float64 (E,) weights."""

    hashes: Hashes
    valid: npt.NDArray[np.bool_]
    weights: Floats


def edges_between_rows(
    file: EdgeFile, data: ColumnReader, id_column: str | None, execution: Execution
) -> list[Delayed]:
    """Return the edges of `file` with their ends as row numbers of `data`, in blocks on workers.

    Parameters
    ----------
    file
        From `open_edge_file`.
    data
        Reads the rows.
    id_column
        Their ids, each once; None: the ends of edges are row numbers.
    execution
        Where the tasks run.

    Returns
    -------
    For each block, in order: (source int64 (E,), target int64 (E,), weight float64 (E,)); -1 where
    an end is null or no row has that id.

    Raises
    ------
    InputDataError
        A file changed or is damaged; weights that are null, negative or not finite, counted.

    Notes
    -----
    Edges are read once, ids once more. 16 bytes for each row are grouped by ranges of the ids'
    64-bit hashes, so many that a range fits a quarter of a task; each edge block is looked up in
    every range. Two different texts are taken for one id with a chance of 2**-64 a pair.
    """
    reader = file.reader(execution.memory_per_task)
    shared = delayed(reader, pure=False, traverse=False)
    blocks = reader.blocks
    if id_column is None:
        by_number = delayed(_numbered_edges, pure=False)
        n_rows = data.layout.n_rows
        return execution.persist([by_number(shared, file, b, n_rows) for b in blocks], "edges")
    tables = _id_tables(data, id_column, execution)
    unsigned = pt.is_unsigned_integer(data.dataset.schema.field(id_column).type)
    hashed = execution.persist(
        [delayed(_hashed_edges, pure=False)(shared, file, b, unsigned) for b in blocks], "edges"
    )
    n_ranges = len(tables)
    joined = []
    for block in hashed:
        found = [
            delayed(_rows_in_range, pure=False)(block, table, number, n_ranges)
            for number, table in enumerate(tables)
        ]
        joined.append(delayed(_rows_of_ends, pure=False)(block, found))
    return execution.persist(joined, "edges")


def _id_tables(data: ColumnReader, column: str, execution: Execution) -> list[Delayed]:
    room = max(execution.memory_per_task // 4, 1)
    n_ranges = min(max(-(-data.layout.n_rows * BYTES_PER_ID // room), 1), MAX_PIECES)
    shared = delayed(data, pure=False, traverse=False)
    blocks = [(shared, block) for block in data.blocks]
    split = partial(_split_ids, column=column, n_ranges=n_ranges)
    return execution.persist(exchange(blocks, split, n_ranges, _id_table), "ids")


def _split_ids(
    blocks: list[tuple[ColumnReader, int]], column: str, n_ranges: int
) -> tuple[IdTable, ...]:
    hashes = [hash_ids(data.id_array(block, column)) for data, block in blocks]
    numbers = [np.arange(data.row_counts[b]) + data.layout.start_of(b) for data, b in blocks]
    return _by_range(IdTable(np.concatenate(hashes), np.concatenate(numbers)), n_ranges)


def _by_range(table: IdTable, n_ranges: int) -> tuple[IdTable, ...]:
    number = range_of(table.hashes, n_ranges)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(n_ranges + 1, dtype=np.uint64))
    return tuple(
        IdTable(table.hashes[order[a:b]], table.rows[order[a:b]]) for a, b in pairwise(bounds)
    )


def _id_table(owner: int, pieces: list[IdTable]) -> IdTable:
    hashes, rows = (np.concatenate([piece[i] for piece in pieces]) for i in (0, 1))
    order = np.argsort(hashes, kind="stable")
    return IdTable(hashes[order], rows[order])


def _numbered_edges(
    reader: ColumnReader, file: EdgeFile, block: int, n_rows: int
) -> tuple[Rows, Rows, Floats]:
    """Return a block of edges between row numbers."""
    ends = []
    for column in (file.source, file.target):
        ids = reader.id_array(block, column)
        valid = ids.is_valid().to_numpy(zero_copy_only=False)
        numbers = np.asarray(ids.fill_null(0).to_numpy(zero_copy_only=False))
        known = valid & (numbers >= 0) & (numbers < n_rows)
        ends.append(np.where(known, numbers, 0).astype(np.int64) - np.where(known, 0, 1))
    return ends[0], ends[1], _weights(reader, file, block)


def _hashed_edges(reader: ColumnReader, file: EdgeFile, block: int, unsigned: bool) -> HashedEdges:
    ends = [
        _hashed_ends(reader.id_array(block, column), unsigned)
        for column in (file.source, file.target)
    ]
    hashes = np.stack([hashes for hashes, _ in ends], axis=1)
    valid = np.stack([valid for _, valid in ends], axis=1)
    return HashedEdges(hashes, valid, _weights(reader, file, block))


def _hashed_ends(ids: pa.Array, unsigned: bool) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Return the hash of each id, and whether there is one that the data could hold."""
    valid = ids.is_valid().to_numpy(zero_copy_only=False)
    hashes = np.zeros(len(ids), dtype=np.uint64)
    hashes[valid] = hash_ids(ids.drop_null())
    if pt.is_integer(ids.type) and pt.is_unsigned_integer(ids.type) != unsigned:
        # A negative number and one above 2**63 have the same bits, so the same hash.
        bits = np.asarray(ids.fill_null(0).to_numpy(zero_copy_only=False))
        valid = valid & (bits <= np.iinfo(np.int64).max) & (bits >= 0)
    return hashes, valid


def _weights(reader: ColumnReader, file: EdgeFile, block: int) -> Floats:
    if file.weight is None:
        return np.ones(reader.row_counts[block])
    table = reader.read_raw(block, [file.weight])
    with reader.naming_place(block, file.weight):
        weights = numeric_values(table.column(file.weight))
        bad = int(np.count_nonzero(~((weights >= 0) & (weights <= np.finfo(np.float32).max))))
        if bad:
            raise ColumnValueError(
                f"has weights that are null, negative or not finite: {bad:,};"
                " a weight is a number from 0 to the largest float32"
            )
    return weights


def _rows_in_range(edges: HashedEdges, table: IdTable, number: int, n_ranges: int) -> Rows:
    """Return the rows of the ends whose hashes are in a range, in order; -1 where unknown."""
    wanted = edges.hashes[edges.valid & (range_of(edges.hashes, n_ranges) == number)]
    if len(table.hashes) == 0:
        return np.full(len(wanted), UNKNOWN, dtype=np.int64)
    place = np.minimum(np.searchsorted(table.hashes, wanted), len(table.hashes) - 1)
    return np.where(table.hashes[place] == wanted, table.rows[place], UNKNOWN)


def _rows_of_ends(edges: HashedEdges, found: list[Rows]) -> tuple[Rows, Rows, Floats]:
    rows = np.full(edges.hashes.shape, UNKNOWN, dtype=np.int64)
    number = range_of(edges.hashes, len(found))
    for i, part in enumerate(found):
        rows[edges.valid & (number == i)] = part
    return rows[:, 0].copy(), rows[:, 1].copy(), edges.weights
