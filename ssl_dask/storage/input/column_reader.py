"""Reads one block of rows on a worker: only the columns and row groups that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from dask.delayed import delayed

from ssl_dask.block_exchange import fetch_rows
from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.storage.files.file_source import is_damage
from ssl_dask.storage.input.arrow_to_numpy import (
    ColumnValueError,
    cast_exactly,
    id_array,
    id_values,
    nulls_of,
    numeric_values,
    text_values,
    vector_values,
    without_views,
)
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.int96_times import same_times
from ssl_dask.storage.input.parquet_footer import (
    NotParquetError,
    footer_sha256,
    int96_columns,
    open_parquet,
    parse_footer,
    read_footer_bytes,
)
from ssl_dask.storage.input.row_layout import Block, FileRows, RowLayout

Kind = Literal["numeric", "string", "vector", "vector_or_null", "id"]

BATCH_ROWS = 1 << 16
STREAM_BUFFER_BYTES = 1 << 20
READING_THREADS = 8
"""Files of a store that one task reads at a time."""


class ColumnReader:
    """Reads the blocks of a layout as NumPy arrays or Arrow tables.

    It holds no open file and travels to workers; hand it to many tasks as one
    `dask.delayed(reader, traverse=False)`, since it knows all files and blocks. All that read
    raise InputDataError where a file changed since it was opened, is damaged or gone, or where a
    value cannot be turned.

    Parameters
    ----------
    dataset
        From `Dataset.open`.
    layout
        From `plan_layout` of the same data set.
    offsets
        What is subtracted from columns that are read as "numeric".
    """

    def __init__(
        self, dataset: Dataset, layout: RowLayout, offsets: Mapping[str, int] | None = None
    ) -> None:
        self.dataset = dataset
        self.layout = layout
        self.offsets = offsets or {}

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Rows of each block."""
        return self.layout.row_chunks

    @property
    def blocks(self) -> range:
        """The numbers of the blocks."""
        return range(len(self.layout.blocks))

    def read(self, block: int, kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
        """Read columns of one block.

        Parameters
        ----------
        block
            Position in the layout.
        kinds
            Column -> what to make of it: "numeric" float64 (n,), null as NaN, less its offset;
            "string" object (n,) of str or None; "vector" float32 or float64 (n, width), null as
            NaN; "vector_or_null" the same, but (n, 0) where there is no vector at all; "id"
            integers in their exact type, or object (n,) of str or bytes (16 bytes for a UUID).
        """
        table = self.read_raw(block, list(kinds))
        return {
            column: self._convert(block, column, table.column(column), kind)
            for column, kind in kinds.items()
        }

    def read_ids(self, block: int, column: str | None) -> npt.NDArray[Any]:
        """Return the ids of one block; without an id column these are int64 row numbers."""
        if column is not None:
            return self.read(block, {column: "id"})[column]
        place = self.layout.blocks[block]
        return np.arange(place.start, place.start + place.n_rows, dtype=np.int64)

    def read_table(
        self, block: int, columns: Sequence[str], *, row_numbers: str | None = None
    ) -> pa.Table:
        """Read columns of one block as they are, in the types of `Dataset.schema`.

        Parameters
        ----------
        block
            Position in the layout.
        columns
            In the order of the result.
        row_numbers
            Name of an int64 column of row numbers to put first: the ids of data without ids.
        """
        table = self.read_raw(block, columns)
        arrays = {}
        if row_numbers is not None:
            arrays[row_numbers] = pa.chunked_array([self.read_ids(block, None)])
        for column in columns:
            kind = self.dataset.schema.field(column).type
            with self.naming_place(block, column):
                arrays[column] = cast_exactly(table.column(column), kind)
        return pa.table(arrays)

    def fetch_table(
        self,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        execution: Execution,
        *,
        row_numbers: str | None = None,
    ) -> pa.Table:
        """Return `columns` of the rows with the numbers `rows`, int64 (m,), in that order.

        One task for each block that holds such a row; the m rows come to this process.
        """
        shared = delayed(self, traverse=False, pure=False)
        read = delayed(ColumnReader.read_table, pure=False)
        blocks = [read(shared, b, columns, row_numbers=row_numbers) for b in self.blocks]
        starts, take, stack = self.layout.starts, pa.Table.take, pa.concat_tables
        return fetch_rows(blocks, starts, rows, execution, "fetch rows", take=take, stack=stack)

    def read_raw(self, block: int, columns: Sequence[str]) -> pa.Table:
        """Read columns of one block in the types of their file."""
        return read_rows(self.dataset, self.layout.blocks[block], columns)

    def id_array(self, block: int, column: str) -> pa.Array:
        """Return the ids of one block as an Arrow array, nulls included."""
        table = self.read_raw(block, [column])
        with self.naming_place(block, column):
            return id_array(table.column(column), self.dataset.schema.field(column).type)

    @contextmanager
    def naming_place(self, block: int, column: str) -> Iterator[None]:
        """Name the file and the column of what goes wrong inside."""
        try:
            yield
        except ColumnValueError as error:
            place = self.layout.blocks[block]
            others = len(place.pieces) - 1
            raise InputDataError(
                f"{error}{f', here or in one of the {others:,} files behind' if others else ''}",
                file=self.dataset.shown_path(place.pieces[0].file),
                row_group=place.row_group,
                column=column,
                hint=error.hint,
            ) from None

    def _convert(
        self, block: int, column: str, values: pa.ChunkedArray, kind: str
    ) -> npt.NDArray[Any]:
        field_type = self.dataset.schema.field(column).type
        with self.naming_place(block, column):
            if kind == "id":
                return id_values(id_array(values, field_type))
            return as_features(values, field_type, kind, self.offsets.get(column, 0))

    def __repr__(self) -> str:
        return f"ColumnReader({self.dataset!r}, {len(self.layout.blocks):,} blocks)"


def as_features(
    values: pa.ChunkedArray, field_type: pa.DataType, kind: str, offset: int = 0
) -> npt.NDArray[Any]:
    """Return a column in the form `kind` of `ColumnReader.read`.

    Parameters
    ----------
    field_type
        Its type in the whole data set.
    offset
        What is subtracted where `kind` is "numeric".

    Raises
    ------
    ColumnValueError
        A value cannot be turned.
    """
    turn: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "numeric": lambda: numeric_values(values, offset),
        "string": lambda: text_values(values, field_type),
        "vector": lambda: vector_values(values),
        "vector_or_null": lambda: vector_values(values, only_null_allowed=True),
    }
    return turn[kind]()


def read_rows(dataset: Dataset, block: Block, columns: Sequence[str]) -> pa.Table:
    """Read columns of the rows of `block`, in the types of their files.

    Raises
    ------
    InputDataError
        A file changed since it was opened, is damaged or gone.

    Notes
    -----
    Holds the rows once. A part of a row group is streamed: what comes before it is decoded and
    let go. Small files of a store are read in threads: most of their time is waiting.
    """
    read = partial(_read_piece, dataset, columns=columns)
    if dataset.source.is_local or len(block.pieces) == 1:
        tables = list(map(read, block.pieces))
    else:
        with ThreadPoolExecutor(min(READING_THREADS, len(block.pieces))) as pool:
            tables = list(pool.map(read, block.pieces))
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables)


def _read_piece(dataset: Dataset, piece: FileRows, columns: Sequence[str]) -> pa.Table:
    """Read columns of the rows of one file."""
    file = dataset.files[piece.file]
    folders = dict(file.partition)
    there = dataset.file_schemas[file.schema].names
    stored = [name for name in dict.fromkeys(columns) if name not in folders and name in there]
    shown = dataset.shown_path(piece.file)
    try:
        table = _read_stored(dataset, piece, stored) if stored else None
    except Exception as error:
        raise _as_input_error(error, dataset, piece, stored, shown) from None
    arrays = {}
    for name in columns:
        if name in folders:
            kind = dataset.schema.field(name).type
            value = folders[name]
            scalar = pa.scalar(value, pa.string()).cast(kind)
            arrays[name] = pa.chunked_array([pa.repeat(scalar, piece.n_rows)])
        elif name not in there:
            # Where the job does not say what a missing value becomes, it was refused.
            arrays[name] = nulls_of(dataset.schema.field(name).type, piece.n_rows)
        else:
            assert table is not None
            arrays[name] = table.column(name)
    return pa.table(arrays)


class _ChangedError(Exception):
    """The file is not the one that was opened."""


class _InexactTimesError(Exception):
    """INT96 times that no timestamp of microseconds holds; the argument is the column."""


def _read_stored(dataset: Dataset, piece: FileRows, columns: list[str]) -> pa.Table:
    """Read columns that are in the file; INT96 times three times, to be sure that none changes."""
    table, int96 = _read_in_unit(dataset, piece, columns, "us")
    if int96:
        finer, coarser = (_read_in_unit(dataset, piece, int96, unit)[0] for unit in ("ns", "s"))
        for name in int96:
            if not same_times(table.column(name), finer.column(name), coarser.column(name)):
                raise _InexactTimesError(name)
    return without_views(table)


def _read_in_unit(
    dataset: Dataset, piece: FileRows, columns: list[str], unit: str
) -> tuple[pa.Table, list[str]]:
    """Return the columns, INT96 times in a unit, and the names of those that hold such times."""
    file = dataset.files[piece.file]
    stored = {file.stored_names.get(name, name): name for name in columns}
    source = dataset.source
    remote = None if source.is_local else source.open_remote(file.name, file.size)
    read = partial(source.read_range, file.name) if remote is None else remote.read_range
    footer = read_footer_bytes(read, file.size)
    if footer_sha256(footer) != file.footer_sha256:
        raise _ChangedError
    metadata = parse_footer(footer)
    if source.is_local and source.size(file.name) != file.size:
        raise _ChangedError
    # Locally the rows are streamed through a small buffer; remotely, few large requests.
    streaming = {"buffer_size": STREAM_BUFFER_BYTES} if source.is_local else {}
    with (
        remote or pa.OSFile(source.path_of(file.name)) as handle,
        open_parquet(
            handle,
            metadata,
            time_unit=unit,
            pre_buffer=not source.is_local,
            page_checksum_verification=True,
            **streaming,
        ) as parquet,
    ):
        if piece.is_whole:
            groups = list(piece.row_groups)
            table = parquet.read_row_groups(groups, columns=list(stored), use_threads=False)
        else:
            table = _read_part(parquet, piece, list(stored))
        int96 = int96_columns(metadata, parquet.schema_arrow)
    if table.num_rows != piece.n_rows:
        raise _ChangedError
    # Asked for a column called a.b, Arrow gives what lies inside a column a too.
    table = table.select(list(stored)).rename_columns(list(stored.values()))
    return table, [stored[name] for name in int96 if name in stored]


def _read_part(parquet: Any, piece: FileRows, columns: list[str]) -> pa.Table:
    batches, seen = [], 0
    stop = piece.offset + piece.n_rows
    schema = None
    for batch in parquet.iter_batches(
        batch_size=min(BATCH_ROWS, max(piece.n_rows, 64)),
        row_groups=list(piece.row_groups),
        columns=columns,
        use_threads=False,
    ):
        schema = batch.schema
        first, last = max(piece.offset - seen, 0), min(stop - seen, batch.num_rows)
        if first < last:
            batches.append(batch.slice(first, last - first))
        seen += batch.num_rows
        if seen >= stop:
            break
    return pa.Table.from_batches(batches, schema)


def _as_input_error(
    error: Exception, dataset: Dataset, piece: FileRows, columns: list[str], shown: str
) -> InputDataError:
    """Return the error that names the file, and the first row group and column that are damaged."""
    dataset.source.require_reachable(error)
    if isinstance(error, (_ChangedError, NotParquetError, FileNotFoundError)):
        text = "changed since validation"
        if isinstance(error, FileNotFoundError):
            text = "is gone: it was there when the input was validated"
        hint = "run again when nothing writes to the input"
        return InputDataError(text, file=shown, hint=hint)
    group = piece.row_groups[0] if len(piece.row_groups) == 1 else None
    if isinstance(error, _InexactTimesError):
        return InputDataError(
            "has INT96 times finer than a microsecond, or beyond the year 294,000",
            file=shown,
            row_group=group,
            column=str(error),
            hint="write them as timestamps, not as INT96",
        )
    text = dataset.source.why_unreadable(error)
    column = columns[0] if len(columns) == 1 else None
    if is_damage(error) and not isinstance(error, PermissionError):
        group, column = _first_damage(dataset, piece, columns) or (group, column)
    hint = "write the file again from its source"
    return InputDataError(text, file=shown, row_group=group, column=column, hint=hint)


def _first_damage(dataset: Dataset, piece: FileRows, columns: list[str]) -> tuple[int, str] | None:
    for (_, group), first, stop in piece.segments():
        part = piece
        if piece.is_whole:
            rows = stop - first
            part = replace(piece, row_groups=(group,), group_rows=(rows,), n_rows=rows)
        for name in columns:
            try:
                _read_stored(dataset, part, [name])
            except Exception:
                return group, name
    return None
