"""Parquet footers: schema, row groups and sizes of a file, read without its data."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from ssl_dask.errors import Problem
from ssl_dask.storage.files.file_links import leads_nowhere
from ssl_dask.storage.files.file_source import FileSource
from ssl_dask.storage.input.column_types import STRING_OVERHEAD, unreadable, without_view

MAGIC = b"PAR1"
TAIL_BYTES = 1 << 16
ARROW_SCHEMA, SKIPPED_SCHEMA = b"ARROW:schema", b"ARROW-schema"
CUT_TEXT = 16
"""Characters from which on a text in the statistics may be the beginning of one."""
COMPARED = (pt.is_integer, pt.is_boolean, pt.is_string, pt.is_large_string, pt.is_date)
"""Types whose values stand in a folder name as they are written elsewhere."""
LEAF_BYTES = {"BOOLEAN": 8, "INT32": 8, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}


@dataclass(frozen=True)
class Footer:
    """The content of the footer of one file.

    Parameters
    ----------
    schema
        Columns and types, without metadata; a column that cannot be read has the type `unreadable`.
    row_groups
        (rows, uncompressed bytes) of each row group.
    column_bytes
        Estimated bytes of each column of `schema` when it is read.
    sha256
        Hash of the footer, in hexadecimal digits: another file has another one.
    differing
        Keys of the folder's name that are columns of the file too, with another value in some rows
        by the statistics of its row groups.
    int96
        Columns that hold times as INT96.
    stored_names
        Column of the table -> its name in the file, where that is another one.
    """

    schema: pa.Schema
    row_groups: tuple[tuple[int, int], ...]
    column_bytes: tuple[int, ...]
    sha256: str
    differing: tuple[str, ...]
    int96: tuple[str, ...]
    stored_names: Mapping[str, str] = dataclasses.field(default_factory=dict)


class NotParquetError(Exception):
    """The bytes are not those of a whole Parquet file."""


def read_footer_bytes(read: Callable[[int, int], bytes], size: int) -> bytes:
    """Return the footer of a file of `size` bytes, up to its end.

    `read` gives the bytes of the file from a start to a stop.

    Raises
    ------
    NotParquetError
        The file is empty, cut off, or something else.
    """
    if size == 0:
        raise NotParquetError("the file has 0 bytes")
    tail = read(max(0, size - TAIL_BYTES), size)
    if size < 12 or tail[-4:] != MAGIC:
        if tail[-4:] == b"PARE":
            raise NotParquetError("the footer is encrypted, which is not supported")
        raise NotParquetError("not a whole Parquet file: its end is missing or it is another kind")
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > size - 4:
        raise NotParquetError("not a whole Parquet file: the footer is longer than the file")
    if length > len(tail):
        tail = read(size - length, size)
    return tail[-length:]


def parse_footer(footer: bytes) -> Any:
    """Return the `pyarrow.parquet.FileMetaData` in `footer`."""
    try:
        return pq.read_metadata(pa.BufferReader(footer))
    except pa.ArrowNotImplementedError:
        # polars names integers of 128 bits in its Arrow schema, at which pyarrow gives up: under
        # another name that schema is not looked at, and Parquet's own types say the rest.
        return pq.read_metadata(pa.BufferReader(footer.replace(ARROW_SCHEMA, SKIPPED_SCHEMA)))


def open_parquet(handle: Any, metadata: Any, *, time_unit: str = "us", **options: Any) -> Any:
    """Return a `pyarrow.parquet.ParquetFile` that names the same types as `read_footer`.

    Parameters
    ----------
    handle
        The open file; of its schema alone, anything.
    metadata
        From `parse_footer`.
    time_unit
        What INT96 times are read in. Their range is far beyond that of nanoseconds, in which Arrow
        reads them otherwise: dates after 2262 would become others.
    """
    return pq.ParquetFile(
        handle,
        metadata=metadata,
        coerce_int96_timestamp_unit=time_unit,
        arrow_extensions_enabled=True,
        **options,
    )


def int96_columns(metadata: Any, columns: pa.Schema) -> list[str]:
    """Return which columns hold times as INT96, at any depth; `columns` are those of the file."""
    leaves = zip(_columns_of_leaves(columns), _leaves(metadata), strict=True)
    names = [columns.names[at] for at, leaf in leaves if leaf.physical_type == "INT96"]
    return list(dict.fromkeys(names))


def _leaves(metadata: Any) -> list[Any]:
    return [metadata.schema.column(i) for i in range(metadata.num_columns)]


def _columns_of_leaves(columns: pa.Schema) -> list[int]:
    """Return the position of each leaf's column: leaves come in the order of the columns.

    Not by their paths: a column may be called `a.b` too.
    """
    return [i for i, kind in enumerate(columns.types) for _ in range(_n_leaves(kind))]


def footer_sha256(footer: bytes) -> str:
    """Return the hash by which a file is known, in hexadecimal digits."""
    return hashlib.sha256(footer).hexdigest()


def read_footer(
    source: FileSource, name: str, size: int, folder: Sequence[tuple[str, str | None]]
) -> Footer | list[Problem]:
    """Read one footer; a file that cannot be used is returned as its problems.

    `folder` holds the keys and values in the name of the file's folder.
    """
    shown = source.shown_path(name)
    try:
        footer = read_footer_bytes(partial(source.read_range, name), size)
        metadata = parse_footer(footer)
        columns = open_parquet(pa.BufferReader(footer), metadata).schema_arrow
    except NotParquetError as error:
        nowhere = source.is_local and leads_nowhere(source.path_of(name))
        text = "is a link that leads nowhere" if nowhere else str(error)
        return [Problem(text, file=shown, hint="write the file again, or take it away")]
    except Exception as error:
        hint = "write the file again from its source, or make it readable"
        if isinstance(error, FileNotFoundError):
            hint = (
                "run again when nothing writes there; of a table give a later version: a vacuum"
                " and the expiry of snapshots take away the files of earlier ones"
            )
        return [Problem(source.why_unreadable(error), file=shown, hint=hint)]
    groups = tuple(
        (group.num_rows, group.total_byte_size)
        for group in map(metadata.row_group, range(metadata.num_row_groups))
    )
    schema = _readable(columns, _wide_integers(metadata, columns))
    sizes = dict(zip(columns.names, _column_bytes(metadata, columns), strict=True))
    differing = tuple(
        key
        for key, value in folder
        if key in schema.names
        and _differs(metadata, _leaf_of(columns, key), schema.field(key).type, value)
    )
    widths = tuple(sizes[name] for name in schema.names)
    int96 = tuple(int96_columns(metadata, columns))
    return Footer(schema, groups, widths, footer_sha256(footer), differing, int96)


def _leaf_of(columns: pa.Schema, name: str) -> int:
    """Return the number of the first leaf of a column."""
    return _columns_of_leaves(columns).index(columns.names.index(name))


def _differs(metadata: Any, leaf: int, kind: pa.DataType, value: str | None) -> bool:
    """Return whether the statistics say that rows of a leaf hold another value than a text's."""
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    if not any(is_kind(kind) for is_kind in COMPARED):
        return False
    try:
        due = pa.scalar(value, pa.string()).cast(kind).as_py()
    except pa.ArrowInvalid:
        # The text is no value of this type.
        due = value
    for g in range(metadata.num_row_groups):
        about = metadata.row_group(g).column(leaf).statistics
        if about is None:
            continue
        if value is not None and about.has_null_count and about.null_count:
            return True
        try:
            ends = (about.min, about.max) if about.has_min_max else ()
        except UnicodeDecodeError:
            # No text, or one that was cut within a character.
            ends = ()
        except (OverflowError, ValueError):
            # Days beyond the year 9999: `due` is none of them.
            return True
        # Writers cut long texts.
        if any(end != due and len(str(end)) < CUT_TEXT for end in ends):
            return True
    return False


def _wide_integers(metadata: Any, columns: pa.Schema) -> set[str]:
    """Return the columns that hold integers of 128 bits, as polars writes them."""
    if SKIPPED_SCHEMA not in (metadata.metadata or {}):
        return set()
    return {
        columns.names[at]
        for at, leaf in zip(_columns_of_leaves(columns), _leaves(metadata), strict=True)
        if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY"
        and (leaf.length, leaf.logical_type.type) == (16, "NONE")
    }


def _readable(columns: pa.Schema, wide: set[str]) -> pa.Schema:
    """Return each column once, in the type that its values come in."""
    fields = []
    counts = Counter(columns.names)
    for field in columns:
        kind = without_view(field.type)
        if counts[field.name] > 1:
            kind = unreadable("in the file more than once")
        elif field.name in wide:
            kind = unreadable("an integer of more than 64 bits")
        fields.append(field.with_type(kind))
    return pa.schema({field.name: field for field in fields}.values())


def _column_bytes(metadata: Any, schema: pa.Schema) -> tuple[int, ...]:
    """Estimate the decoded bytes of each top-level column.

    The footer's uncompressed size understates columns with dictionaries or runs, so that values
    times their width is the lower bound.
    """
    leaf_columns = _columns_of_leaves(schema)
    totals = [0] * len(schema)
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        for leaf, column in enumerate(leaf_columns):
            chunk = group.column(leaf)
            stored = chunk.total_uncompressed_size
            width = LEAF_BYTES.get(chunk.physical_type)
            if width is None:
                totals[column] += stored + chunk.num_values * STRING_OVERHEAD
            else:
                totals[column] += max(stored, chunk.num_values * width)
    return tuple(totals)


def _n_leaves(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _n_leaves(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return 1
    if kind.num_fields == 0:
        return 0 if pa.types.is_struct(kind) else 1
    return sum(_n_leaves(kind.field(i).type) for i in range(kind.num_fields))
