"""Writing one part of the result: a picklable function that runs on a worker."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_dask.errors import InputDataError, StorageError
from ssl_dask.storage.files.durable_files import as_storage_error, storage_errors
from ssl_dask.storage.result.result_schema import NO_NAME, OutputSchema
from ssl_dask.storage.runs.manifest import LABELS_FOLDER, REVIEW_FOLDER, PartRecord, part_name

COMPRESSION = "zstd"
# Kept input columns may hold long texts; a row group this long stays readable in little memory.
ROW_GROUP_ROWS = 1 << 18


@dataclass(frozen=True)
class LabelColumns:
    """What was decided about the rows of one block.

    Parameters
    ----------
    codes
        int32 (n,): position of the label in the classes, -1 where it abstained.
    probability
        float32 (n,): chance that the label is right; NaN is written as null.
    source
        uint8 (n,): position in `OutputSchema.source_names`.
    reason
        uint8 (n,): position in `OutputSchema.reason_names`.
    margin
        float32 (n,): best score less second best; NaN is written as null.
    p
        float32 (n, C): chance of each class, or None when the schema has no such columns.
    """

    codes: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float32]
    source: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.uint8]
    margin: npt.NDArray[np.float32]
    p: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ReviewColumns:
    """Rows that a person should label next, best first.

    Parameters
    ----------
    rows
        int64 (n,): row numbers in the input.
    codes
        int32 (n,): what would be answered now, -1 where it abstained.
    probability, margin
        float32 (n,): as in `LabelColumns`.
    rank
        int64 (n,): from 1.
    """

    rows: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    rank: npt.NDArray[np.int64]


def write_label_part(
    stage: Path,
    run_id: str,
    block: int,
    table: pa.Table,
    columns: LabelColumns,
    schema: OutputSchema,
) -> PartRecord:
    """Write the labels of one block and return what was written.

    Each call writes a file of its own, so that a task that runs twice, even at the same time,
    disturbs nothing: only the file whose record comes back to the client enters the run.

    Parameters
    ----------
    stage
        The run's staging folder, reachable from this machine.
    run_id
        The run.
    block
        Number of the block, from 0.
    table
        The id and the kept columns of the block, n rows.
    columns
        What was decided about these rows.
    schema
        What the part looks like.

    Raises
    ------
    StorageError
        Disk full, no permission, staging folder not reachable, or the file reads back wrong.
    InputDataError
        The table's columns are not of the schema's types.

    Notes
    -----
    Holds the block's columns once more as Arrow arrays; writes each byte once and reads back the
    footer.
    """
    _check_columns(table.num_rows, columns, schema)
    added: list[pa.Array] = [
        schema.label_array(columns.codes),
        _numbers(columns.probability),
        name_array(columns.source, schema.source_names),
        name_array(columns.reason, schema.reason_names),
        _numbers(columns.margin),
    ]
    if schema.probabilities and columns.p is not None:
        added += [_numbers(column) for column in columns.p.T]
    layout = schema.labels(run_id)
    whole = joined_columns(table, schema.carried, added, layout, block)
    return write_part(stage, LABELS_FOLDER, run_id, block, whole)


def write_review_part(
    stage: Path,
    run_id: str,
    block: int,
    table: pa.Table,
    columns: ReviewColumns,
    schema: OutputSchema,
) -> PartRecord:
    """Write rows that a person should label next; parameters and errors as `write_label_part`.

    `table` holds the ids of the rows, in the order of `columns`.
    """
    n_rows = table.num_rows
    for name in ("rows", "codes", "probability", "margin", "rank"):
        check_shape(name, getattr(columns, name), (n_rows,))
    values = {
        "row": pa.array(columns.rows, pa.int64()),
        "label": schema.label_array(columns.codes),
        "probability": _numbers(columns.probability),
        "margin": _numbers(columns.margin),
        "rank": pa.array(columns.rank, pa.int64()),
    }
    layout = schema.review(run_id)
    added = [values[name] for name in layout.names[1:]]
    whole = joined_columns(table, [schema.id], added, layout, block)
    return write_part(stage, REVIEW_FOLDER, run_id, block, whole)


def _check_columns(n_rows: int, columns: LabelColumns, schema: OutputSchema) -> None:
    n_classes = len(schema.label_values)
    for name in ("codes", "probability", "source", "reason", "margin"):
        check_shape(name, getattr(columns, name), (n_rows,))
    if schema.probabilities:
        check_shape("p", columns.p, (n_rows, n_classes))
    if n_rows and not -1 <= int(columns.codes.min()) <= int(columns.codes.max()) < n_classes:
        raise ValueError(f"codes are not all between -1 and {n_classes - 1}")


def check_shape(name: str, values: npt.NDArray[Any] | None, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array of a part has its shape."""
    found = None if values is None else values.shape
    if found != shape:
        raise ValueError(f"{name} has the shape {found}; the part needs {shape}")


def name_array(codes: npt.NDArray[np.uint8], names: Sequence[str]) -> pa.Array:
    """Return the texts of `codes` uint8 (n,); null for `NO_NAME`."""
    texts = pa.array([None if name == NO_NAME else name for name in names], pa.string())
    return texts.take(pa.array(codes))


def _numbers(values: npt.NDArray[np.float32]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values, dtype=np.float32), from_pandas=True)


def joined_columns(
    table: pa.Table,
    carried: Sequence[pa.Field],
    added: Sequence[pa.Array],
    layout: pa.Schema,
    block: int,
) -> pa.Table:
    """Return the columns `carried` of the input beside those that are added.

    Raises
    ------
    InputDataError
        The table's columns are not of the types of `carried`.
    """
    try:
        kept = table.select([field.name for field in carried]).cast(pa.schema(carried))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        found = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        wanted = ", ".join(f"{field.name} {field.type}" for field in carried)
        raise InputDataError(
            f"block {block} has the columns {found}; the output needs {wanted}",
            hint="have every input file store these columns in one type",
        ) from error
    return pa.Table.from_arrays([*kept.columns, *added], schema=layout)


def write_part(stage: Path, folder: str, run_id: str, block: int, table: pa.Table) -> PartRecord:
    """Write a part under a name of this attempt's own; see `write_label_part`."""
    name = part_name(block, run_id)
    attempt = f"{name}.{secrets.token_hex(8)}.attempt"
    path = stage / folder / attempt
    if not path.parent.is_dir():
        raise StorageError(
            "the staging folder is not there on this worker",
            file=str(path.parent),
            hint="output.path must be on a file system that the client and all workers share",
        )
    try:
        size, sha256 = _write_file(path, table)
        with storage_errors("read back a part of the output", path):
            _check_file(path, table.num_rows, size)
    except BaseException:
        # A torn attempt would only hold disk space that other parts may need.
        path.unlink(missing_ok=True)
        raise
    return PartRecord(folder, block, name, attempt, table.num_rows, size, sha256)


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
        raise StorageError(f"{size:,} bytes were written but {found:,} are there", file=str(path))
    try:
        stored = pq.read_metadata(path).num_rows
    except pa.ArrowInvalid as error:
        raise StorageError(f"what was written is not Parquet: {error}", file=str(path)) from error
    if stored != rows:
        raise StorageError(f"{rows:,} rows were written but {stored:,} are there", file=str(path))


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
