"""A Parquet data set: its files, columns and rows, known from the footers alone."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ssl_dask.errors import Caution, InputDataError, Problem
from ssl_dask.input_files import InputFiles
from ssl_dask.storage.files.file_listing import Listing
from ssl_dask.storage.files.file_source import FileSource
from ssl_dask.storage.input.column_types import common_type, shown_type
from ssl_dask.storage.input.input_footers import (
    FOOTER_THREADS,
    folder_values,
    list_input,
    read_footers,
)
from ssl_dask.storage.input.parquet_footer import Footer
from ssl_dask.storage.input.table_columns import with_table_columns

NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Parameters
    ----------
    name
        Path relative to the data set's folder.
    size
        Bytes.
    n_rows
        Rows.
    row_groups
        (rows, uncompressed bytes) of each row group, in file order.
    footer_sha256
        Hash of the footer, in hexadecimal digits.
    partition
        (key, value) pairs in the names of the folders, such as `day=3`, of keys that not all files
        hold; of a table, of columns that this file lacks and its log tells. None for a null.
    schema
        Position of the file's schema in `Dataset.file_schemas`.
    column_bytes
        Estimated bytes of each column of that schema when it is read.
    stored_names
        Column -> its name in the file, where that is another one.
    """

    name: str
    size: int
    n_rows: int
    row_groups: tuple[tuple[int, int], ...]
    footer_sha256: str
    partition: tuple[tuple[str, str | None], ...]
    schema: int
    column_bytes: tuple[int, ...]
    stored_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Dataset:
    """The files behind an input path; holds no open file and travels to workers.

    Parameters
    ----------
    source
        Opens the files.
    files
        In natural order of their names, which is the order of the rows.
    file_schemas
        The distinct schemas of the files; of a table in its names.
    schema
        Columns of all files, in the type that all of them can be cast to; where there is none, in
        the type of most files. Columns from folder names come last.
    partition_columns
        Columns whose values come from folder names; they are text, as they stand there.
    notes
        What differs between files without harm: wider types, extra columns, empty files.
    ignored
        Names beside the files that were left out.
    local_paths
        What the input path means on this machine; empty for a URL.
    table_version
        Version of the table, in words; None where the files are Parquet and no more. A column of a
        table is null in files that lack it.
    table_pin
        What `InputFiles.pinned` takes to name that version.
    int96
        Columns that hold times as INT96 in some files, and are read three times there.
    """

    source: FileSource
    files: tuple[DataFile, ...]
    file_schemas: tuple[pa.Schema, ...]
    schema: pa.Schema
    partition_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    local_paths: tuple[Path, ...] = field(default=())
    table_version: str | None = None
    table_pin: int | str | None = None
    int96: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        files: str | os.PathLike[str] | InputFiles,
        *,
        base: Path,
        storage_options: Mapping[str, Any] | None = None,
        elsewhere: Sequence[str] = (),
    ) -> Dataset:
        """Find files and read their footers: one small read a file, in threads.

        Parameters
        ----------
        files
            One version of a table; or a file, folder (searched at every depth), glob,
            hive-partitioned folder, or fsspec URL.
        base
            Folder that a relative local path starts from.
        storage_options
            For fsspec, with a URL. They are kept in the object, never in its `repr`.
        elsewhere
            Paths that are read as something else: their files are not told as left out.

        Raises
        ------
        InputDataError
            Nothing is there; no Parquet files; files that are torn or no Parquet, all of them
            named; no rows.
        """
        listing = list_input(files, base=base, storage_options=storage_options, elsewhere=elsewhere)
        footers = read_footers(listing)
        found, distinct = _data_files(listing, footers)
        full = [file for file in found if file.n_rows]
        if not full:
            raise _no_rows(found, listing.source)
        partitions: list[pa.Field] = []
        if listing.table is None:
            found, partitions = _with_partitions(found, full, distinct, listing.source)
        schema, merged = _merge(full, distinct, partitions)
        if listing.table is not None:
            from_log = {name for file in full for name, _ in file.partition}
            schema = with_table_columns(schema, listing.table, from_log)
        notes = [*listing.notes, *_folders_that_differ(listing, footers, partitions), *merged]
        if len(full) < len(found):
            notes.append(f"{_counted(len(found) - len(full), 'file')} without rows")
        return cls(
            listing.source,
            tuple(found),
            tuple(distinct),
            schema,
            tuple(field.name for field in partitions),
            tuple(notes),
            listing.ignored,
            listing.local_paths,
            listing.table.shown if listing.table else None,
            listing.table.pin if listing.table else None,
            tuple(dict.fromkeys(name for footer in footers for name in footer.int96)),
        )

    @property
    def path(self) -> str:
        """The input path in the user's words, without credentials."""
        return self.source.shown

    @property
    def n_rows(self) -> int:
        """Number of rows N of all files."""
        return sum(file.n_rows for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def columns(self) -> dict[str, str]:
        """Type of each column, as text, by name."""
        return {field.name: shown_type(field.type) for field in self.schema}

    def id_type(self, column: str | None) -> pa.DataType:
        """Return the type of the ids in `column`; None stands for row numbers."""
        return pa.int64() if column is None else self.schema.field(column).type

    def holds_numbers(self, column: str) -> bool:
        """Return whether a column comes from folder names that are numbers, all of them."""
        if column not in self.partition_columns:
            return False
        values = {dict(file.partition)[column] for file in self.files if file.n_rows} - {None}
        return bool(values) and all(NUMBER.fullmatch(str(value)) for value in values)

    def shown_path(self, file: int) -> str:
        """Return the path of file number `file` for messages."""
        return self.source.shown_path(self.files[file].name)

    def identity(self) -> list[dict[str, Any]]:
        """Return name, bytes and footer hash of each file: lists that differ mean other data.

        Of a table also what its log says of the columns.

        Equal lists need not mean the same data: values can change places within a column and leave
        sizes and footer as they were; `modified` differs then. Names are relative to the
        folder of the data set, so that a moved data set stays the same.
        """
        files: list[dict[str, Any]] = [
            {"path": file.name, "bytes": file.size, "footer_sha256": file.footer_sha256}
            for file in self.files
        ]
        if self.table_version is not None:
            # Columns of a table may be renamed while its files stay as they are.
            for about, file in zip(files, self.files, strict=True):
                names = self.file_schemas[file.schema].names
                about["columns"] = {name: file.stored_names.get(name, name) for name in names}
                about["constants"] = dict(file.partition)
        return files

    def modified(self) -> list[str]:
        """Return when each file was last written. Costs a look at each file, in threads."""
        if not self.source.is_local:
            self.source.forget()
        with ThreadPoolExecutor(min(FOOTER_THREADS, len(self.files))) as pool:
            return list(pool.map(lambda file: self.source.modified(file.name), self.files))

    def types_of(self, column: str) -> dict[pa.DataType | None, list[int]]:
        """Return which types `column` has in which files; None where a file lacks it.

        Files without rows do not count.
        """
        kinds: dict[pa.DataType | None, list[int]] = {}
        for i, file in enumerate(self.files):
            if file.n_rows:
                kinds.setdefault(self._file_type(file, column), []).append(i)
        return kinds

    def is_null_in_gaps(self, column: str) -> bool:
        """Return whether files without a column stand for nulls: it is one of a table's."""
        return self.table_version is not None and column in self.schema.names

    def has_column(self, file: int, column: str) -> bool:
        """Return whether file number `file` has a column; of those that lack it, it is null."""
        return self._file_type(self.files[file], column) is not None

    def _file_type(self, file: DataFile, column: str) -> pa.DataType | None:
        if column in self.partition_columns or column in dict(file.partition):
            return self.schema.field(column).type
        schema = self.file_schemas[file.schema]
        position = schema.get_field_index(column)
        return None if position < 0 else schema.field(position).type

    def __repr__(self) -> str:
        return (
            f"Dataset({self.path!r}, {_counted(len(self.files), 'file')}, {self.n_rows:,} rows,"
            f" {_counted(len(self.schema), 'column')})"
        )


def _data_files(
    listing: Listing, footers: Sequence[Footer]
) -> tuple[list[DataFile], list[pa.Schema]]:
    """Return the files, and their distinct schemas."""
    schemas: dict[bytes, int] = {}
    distinct: list[pa.Schema] = []
    files = []
    for (name, size), footer in zip(listing.files, footers, strict=True):
        key = footer.schema.serialize().to_pybytes()
        if key not in schemas:
            schemas[key] = len(distinct)
            distinct.append(footer.schema)
        files.append(_data_file(name, size, footer, schemas[key], listing))
    return files, distinct


def _data_file(name: str, size: int, footer: Footer, schema: int, listing: Listing) -> DataFile:
    partition = folder_values(listing, name)
    if listing.table is not None:
        told = listing.table.constants[name]
        partition = tuple(pair for pair in told if pair[0] not in footer.schema.names)
    return DataFile(
        name,
        size,
        sum(rows for rows, _ in footer.row_groups),
        footer.row_groups,
        footer.sha256,
        partition,
        schema,
        footer.column_bytes,
        footer.stored_names,
    )


def _folders_that_differ(
    listing: Listing, footers: Sequence[Footer], partitions: Sequence[pa.Field]
) -> list[Caution]:
    """Return a caution for each key whose folder name and column do not agree, with its files."""
    from_folders = {field.name for field in partitions}
    places: dict[str, list[str]] = {}
    for (name, _), footer in zip(listing.files, footers, strict=True):
        for key in footer.differing:
            places.setdefault(key, []).append(listing.source.shown_path(name))
    return [
        Caution(
            f"column {key!r} has other values than the folder's name in some rows of"
            f" {_counted(len(files), 'file')}, first {files[0]}: the"
            f" {'names of the folders' if key in from_folders else 'values in the files'} are taken"
        )
        for key, files in places.items()
    ]


def _with_partitions(
    all_files: Sequence[DataFile],
    files: Sequence[DataFile],
    schemas: Sequence[pa.Schema],
    source: FileSource,
) -> tuple[list[DataFile], list[pa.Field]]:
    """Return all files with the columns of their folder names, and these, from `files` with rows.

    Columns that all of these hold as well are left out: what a file holds has a type, a folder
    name is text.
    """
    keys = [key for key, _ in files[0].partition]
    problems = []
    for file in files:
        here = [key for key, _ in file.partition]
        text, hint = "", "partition all files by the same keys"
        if len(set(here)) != len(here):
            text = f"folder names give the columns {here}, one of them twice"
            hint = "keep one folder of each key in a path"
        elif sorted(here) != sorted(keys):
            text = f"folder names give the columns {here}, those of the first file {keys}"
        if text:
            problems.append(Problem(text, file=source.shown_path(file.name), hint=hint))
    if problems:
        raise InputDataError(problems)
    keys = [key for key in keys if any(key not in schemas[file.schema].names for file in files)]
    kept = [
        replace(file, partition=tuple(pair for pair in file.partition if pair[0] in keys))
        for file in all_files
    ]
    return kept, [pa.field(key, pa.string()) for key in keys]


def _merge(
    files: Sequence[DataFile], schemas: Sequence[pa.Schema], partitions: Sequence[pa.Field]
) -> tuple[pa.Schema, list[str]]:
    """Return the schema that the files share, and notes on where they differ."""
    counts = Counter(file.schema for file in files)
    # Most files first; among equals the schema that comes first.
    order = sorted(counts, key=lambda i: (-counts[i], i))
    names = list(dict.fromkeys(name for i in order for name in schemas[i].names))
    from_folders = [field.name for field in partitions]
    fields, notes = [], list[str]()
    for name in names:
        if name in from_folders:
            n_here = sum(n for i, n in counts.items() if name in schemas[i].names)
            text = f"column {name!r} is in {n_here} of {_counted(len(files), 'file')} only: it is"
            notes.append(Caution(f"{text} taken from the folder names, not from the files"))
            continue
        kinds: Counter[pa.DataType] = Counter()
        for i in order:
            if (position := schemas[i].get_field_index(name)) >= 0:
                kinds[schemas[i].field(position).type] += counts[i]
        here = sum(kinds.values())
        if here < len(files):
            notes.append(f"column {name!r} is only in {here} of {len(files)} files")
        majority = kinds.most_common(1)[0][0]
        common = common_type(kinds)
        if len(kinds) > 1:
            found = ", ".join(f"{shown_type(kind)} in {n}" for kind, n in kinds.most_common())
            read_as = (
                f"read as {shown_type(common)}"
                if common is not None
                else "which do not go together"
            )
            notes.append(f"column {name!r} has several types ({found} files): {read_as}")
        fields.append(pa.field(name, common if common is not None else majority))
    if len({tuple(schemas[i].names) for i in order}) > len(
        {frozenset(schemas[i].names) for i in order}
    ):
        notes.append("the files have their columns in different orders")
    return pa.schema([*fields, *partitions]), notes


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _no_rows(files: Sequence[Any], source: FileSource) -> InputDataError:
    return InputDataError(
        f"no rows: {_counted(len(files), 'file')} found, all without rows",
        file=source.shown,
        hint="give files that have rows",
    )
