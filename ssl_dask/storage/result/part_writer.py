"""Writing one part of the result: a picklable function that runs on a worker."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_dask.durable_files import as_storage_error, storage_errors
from ssl_dask.errors import InputDataError, StorageError
from ssl_dask.storage.result.result_schema import ResultSchema
from ssl_dask.storage.runs.manifest import PartRecord, attempt_path, part_name

COMPRESSION = "zstd"
ROW_GROUP_ROWS = 1 << 18
"""Kept columns may hold long texts: a row group of so many rows is read in little memory."""


def write_part(
    stage: Path,
    run_id: str,
    block: int,
    table: pa.Table,
    arrays: Mapping[str, npt.NDArray[Any]],
    schema: ResultSchema,
) -> PartRecord:
    """Write one part and return what was written.

    Each call writes a file of its own, so that a task that runs twice, even at the same time,
    disturbs nothing: only the file whose record comes back to the client enters the run.

    Parameters
    ----------
    stage
        The run's staging folder, reachable from this machine.
    run_id
        The run.
    block
        Number of the part, from 0.
    table
        The id and the kept columns, n rows.
    arrays
        Name -> array (n,) of each added column: codes, -1 for null, or numbers, NaN for null.
    schema
        What the part looks like.

    Raises
    ------
    StorageError
        Disk full, no permission, staging folder not reachable, or the file reads back wrong.
    InputDataError
        The table's columns are not of the schema's types.
    ValueError
        An array is missing or too short, or a code stands for nothing.

    Notes
    -----
    Holds the block's columns once more as Arrow arrays; writes each byte once and reads back the
    footer.
    """
    whole = _joined_columns(table, arrays, schema, schema.arrow(run_id), block)
    name = part_name(block, run_id)
    path = attempt_path(stage, schema.folder, name)
    try:
        size, sha256 = _write_file(path, whole)
        with storage_errors("read back a part of the output", path):
            _check_file(path, whole.num_rows, size)
    except BaseException:
        # A torn attempt would only hold disk space that other parts may need.
        path.unlink(missing_ok=True)
        raise
    return PartRecord(schema.folder, block, name, path.name, whole.num_rows, size, sha256)


def _joined_columns(
    table: pa.Table,
    arrays: Mapping[str, npt.NDArray[Any]],
    schema: ResultSchema,
    layout: pa.Schema,
    block: int,
) -> pa.Table:
    """Return the columns of the input beside those that are added."""
    if set(arrays) != {column.name for column in schema.added}:
        raise ValueError(f"there are arrays of {sorted(arrays)}; the part adds {layout.names}")
    for name, values in arrays.items():
        if values.shape != (table.num_rows,):
            raise ValueError(f"{name} has the shape {values.shape} for {table.num_rows} rows")
    carried = schema.carried
    try:
        kept = table.select([field.name for field in carried]).cast(pa.schema(carried))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        found = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        wanted = ", ".join(f"{field.name} {field.type}" for field in carried)
        raise InputDataError(
            f"block {block} has the columns {found}; the output needs {wanted}",
            hint="have every input file store these columns in one type",
        ) from error
    added = [column.array(arrays[column.name]) for column in schema.added]
    return pa.Table.from_arrays([*kept.columns, *added], schema=layout)


def _write_file(path: Path, table: pa.Table) -> tuple[int, str]:
    try:
        with path.open("xb") as stream:
            sink = _HashingSink(stream)
            pq.write_table(
                table,
                sink,
                compression=COMPRESSION,
                row_group_size=ROW_GROUP_ROWS,
                write_page_checksum=True,
            )
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise as_storage_error(
            error, "write a part of the output", path.parent, needed=table.nbytes
        ) from error
    return sink.size, sink.digest.hexdigest()


def _check_file(path: Path, rows: int, size: int) -> None:
    found = path.stat().st_size
    if found != size:
        raise _not_as_written(f"{size:,} bytes were written but {found:,} are there", path)
    try:
        stored = pq.read_metadata(path).num_rows
    except pa.ArrowInvalid as error:
        raise _not_as_written(f"what was written is not Parquet: {error}", path) from error
    if stored != rows:
        raise _not_as_written(f"{rows:,} rows were written but {stored:,} are there", path)


def _not_as_written(text: str, path: Path) -> StorageError:
    hint = "look after the disk or its server, then run the job again"
    return StorageError(text, file=str(path), hint=hint)


class _HashingSink(io.RawIOBase):
    """Passes bytes on to a stream and hashes them on the way."""

    def __init__(self, stream: io.BufferedWriter) -> None:
        super().__init__()
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._stream.write(view)
        self.digest.update(view)
        self.size += len(view)
        return len(view)
