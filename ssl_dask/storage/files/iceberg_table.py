"""The files that hold the rows of one snapshot of an Iceberg table, as its metadata say.

Metadata are looked for in the folder of the table, without a catalog.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from ssl_dask.errors import InputDataError
from ssl_dask.input_files import METADATA_ENDINGS
from ssl_dask.storage.files.file_listing import Listing, folder_source
from ssl_dask.storage.files.file_names import natural_key
from ssl_dask.storage.files.file_source import FileSource, redact_url
from ssl_dask.storage.files.table_folders import AS_PARQUET
from ssl_dask.storage.files.table_version import Constants, TableVersion

NUMBER = re.compile(r"(v?)(\d+)(?:[.-].*)?")
"""A metadata file's name: v3 of a table without a catalog, 00003-... of one in a catalog."""
HINT = "version-hint.text"
ONE_STORE = {"s3a": "s3", "s3n": "s3", "abfss": "abfs", "az": "abfs"}
"""Schemes that other engines write into metadata -> fsspec's for the same store."""
SHOWN_SNAPSHOTS = 5
REWRITE = (
    "rewrite its files, in Spark by CALL system.rewrite_data_files(table => '...', options =>"
    " map('delete-file-threshold', '1')); or " + AS_PARQUET
)


class ElsewhereError(Exception):
    """A location is on another store than the input."""


class StoreFiles:
    """Reads the files of the input's store by the locations that metadata name, for pyiceberg."""

    def __init__(self, source: FileSource) -> None:
        self.system = fsspec.filesystem("file") if source.is_local else source.forget()

    def path_of(self, location: str) -> str:
        """Return the path of a location; raise ElsewhereError if it is on another store."""
        scheme, colon, rest = location.partition(":")
        kinds = self.system.protocol
        kinds = (kinds,) if isinstance(kinds, str) else kinds
        scheme = ONE_STORE.get(scheme, scheme)
        if colon and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
            if scheme not in kinds:
                raise ElsewhereError(f"names files on another store: {scheme}")
            location = f"{scheme}:{rest}"
        path = str(self.system._strip_protocol(location)).rstrip("/")
        return os.path.realpath(path) if "file" in kinds else path

    def new_input(self, location: str) -> StoreFile:
        """Return a file, as a FileIO of pyiceberg does."""
        return StoreFile(self, location)


@dataclass(frozen=True)
class StoreFile:
    """One file, as pyiceberg opens it."""

    files: StoreFiles
    location: str

    def open(self, seekable: bool = True) -> io.BytesIO:
        """Return all of its bytes."""
        return io.BytesIO(self.files.system.cat_file(self.files.path_of(self.location)))


@dataclass(frozen=True)
class _Table:
    metadata: Any
    name: str
    """Of the metadata file."""
    files: StoreFiles
    source: FileSource
    """Its root is the folder of the table."""

    def refusal(self, text: str, hint: str) -> InputDataError:
        return InputDataError(f"the Iceberg table {text}", file=self.source.shown, hint=hint)


def list_iceberg_files(
    path: str | os.PathLike[str],
    *,
    base: Path,
    version: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Listing:
    """Find the live files of an Iceberg table.

    Parameters
    ----------
    path
        Folder of the table, or one of its metadata files; local, or a URL for fsspec.
    base
        Folder that a relative local path starts from.
    version
        Id of a snapshot, or name of a branch or tag; None: the current snapshot.
    storage_options
        For fsspec, with a URL.

    Raises
    ------
    InputDataError
        There is no such table or snapshot; which of its metadata are current cannot be told;
        pyiceberg is not installed; the table is not where its metadata say; or it uses what a
        plain reading of its files would get wrong, by name: deletes, other files than Parquet,
        encryption.
    StorageError
        The store cannot be reached.
    """
    table = _open_table(folder_source(path, base, storage_options))
    snapshot, schema = _chosen(table, version)
    tasks = _live_files(table, snapshot.snapshot_id)
    _refuse_unreadable(table, tasks)
    source, names = _relative(table, [task.file.file_path for task in tasks])
    sizes = (task.file.file_size_in_bytes for task in tasks)
    files = sorted(zip(names, sizes, strict=True), key=lambda file: natural_key(file[0]))
    columns = {one.field_id: one.name for one in schema.fields}
    defaults = [one.name for one in schema.fields if one.initial_default is not None]
    constants = [
        (*_keys(table.metadata, columns, task.file), *((name, None) for name in defaults))
        for task in tasks
    ]
    about = TableVersion(
        f"snapshot {snapshot.snapshot_id}",
        table.name,
        pa.schema([pa.field(one.name, _arrow_type(one.field_type)) for one in schema.fields]),
        dict(zip(names, constants, strict=True)),
        columns,
        {name: one.field_id for one in table.metadata.name_mapping() or () for name in one.names},
        frozenset(defaults),
    )
    local = dict.fromkeys(map(Path, (table.source.root, source.root))) if source.is_local else ()
    return Listing(source, tuple(files), (), tuple(local), table=about)


def _open_table(given: FileSource) -> _Table:
    try:
        from pyiceberg.serializers import FromInputFile
    except ImportError:
        raise InputDataError(
            "format: iceberg needs the package pyiceberg",
            file=given.shown,
            hint="install ssl-dask[iceberg]",
        ) from None
    try:
        files = StoreFiles(given)
        named = given.root.endswith(METADATA_ENDINGS)
        path = given.root if named else _current_metadata(given, files)
        opened: Any = files.new_input(path)
        metadata = FromInputFile.table_metadata(opened)
    except InputDataError:
        raise
    except Exception as error:
        # What pyiceberg and the back ends of fsspec raise is of many kinds.
        given.require_reachable(error)
        raise InputDataError(
            f"the Iceberg table cannot be opened: {given.words_of(error)}",
            file=given.shown,
            hint="correct the path: it is the folder that holds metadata/, or a file in metadata/",
        ) from None
    shown = posixpath.dirname(posixpath.dirname(given.shown)) if named else given.shown
    return _at_its_place(_Table(metadata, posixpath.basename(path), files, given), path, shown)


def _current_metadata(given: FileSource, files: StoreFiles) -> str:
    """Return the path of the current metadata file of a folder."""
    folder = f"{given.root}/metadata"
    paths = {posixpath.basename(one): one for one in files.system.ls(folder, detail=False)}
    numbers = {
        name: (int(found[2]), found[1])
        for name in paths
        if name.endswith(METADATA_ENDINGS) and (found := NUMBER.fullmatch(name))
    }
    if not numbers:
        raise FileNotFoundError("no metadata file whose name begins with its number")
    highest = max(numbers.values())[0]
    newest = [name for name, (number, _) in numbers.items() if number == highest]
    told = None
    if HINT in paths:
        words = files.system.cat_file(paths[HINT]).decode().strip()
        named = {words, f"v{words}.metadata.json", f"{words}.metadata.json"}
        told = next((name for name in newest if name in named), None)
        # Readers of a table without a catalog go on from the hint to higher versions.
        sure = told is not None or numbers[newest[0]][1] == "v"
    else:
        sure = True
    if told is None and (len(newest) > 1 or not sure):
        raise InputDataError(
            "which metadata file of the Iceberg table is current cannot be told:"
            f" {', '.join(sorted(newest))}{f' beside {HINT}' if HINT in paths else ''}",
            file=given.shown,
            hint="name the metadata file that the catalog says: path: .../NAME.metadata.json",
        )
    return str(paths[told or newest[0]])


def _at_its_place(table: _Table, path: str, shown: str) -> _Table:
    """Return the table with its folder as the root; refuse one that was moved or copied."""
    location = table.metadata.location.rstrip("/")
    due = table.metadata.properties.get("write.metadata.path", f"{location}/metadata")
    try:
        there = table.files.path_of(due) == table.files.path_of(posixpath.dirname(path))
        root = table.files.path_of(location)
    except ElsewhereError:
        there, root = False, ""
    if not there:
        raise table.refusal(
            f"was moved or copied: its metadata lie at {redact_url(due)} by their own words, and so"
            " do all files that they name",
            f"give the path of that place; or {AS_PARQUET}. Spark's rewrite_table_path makes a copy"
            " that names its own files",
        )
    return replace(table, source=replace(table.source, shown=shown, root=root))


def _chosen(table: _Table, wanted: int | str | None) -> tuple[Any, Any]:
    """Return the snapshot, and the schema that it is read in."""
    metadata, of_now = table.metadata, wanted is None
    snapshot = metadata.current_snapshot() if of_now else None
    if isinstance(wanted, int):
        snapshot = metadata.snapshot_by_id(wanted)
    elif wanted in metadata.refs:
        # A branch goes on in the schema of now; a tag stays as it was.
        ref = metadata.refs[wanted]
        snapshot = metadata.snapshot_by_id(ref.snapshot_id)
        of_now = ref.snapshot_ref_type == "branch"
    if snapshot is None and wanted is None:
        raise table.refusal("has no snapshot, so no rows", "give one that has rows")
    if snapshot is None:
        newest = [str(one.snapshot_id) for one in metadata.snapshots[-SHOWN_SNAPSHOTS:]]
        raise table.refusal(
            f"has no snapshot, branch or tag {wanted!r}",
            f"correct snapshot; the latest are {', '.join([*newest, *metadata.refs])}",
        )
    schema = None if of_now else metadata.schema_by_id(snapshot.schema_id)
    return snapshot, schema or metadata.schema()


def _live_files(table: _Table, snapshot: int) -> Sequence[Any]:
    """Return pyiceberg's tasks: a data file each, with the delete files that concern it."""
    from pyiceberg.catalog.noop import NoopCatalog
    from pyiceberg.table import StaticTable

    store: Any = table.files
    opened = StaticTable(("table",), table.metadata, table.name, store, NoopCatalog("none"))
    try:
        tasks = list(opened.scan(snapshot_id=snapshot).plan_files())
    except ElsewhereError as error:
        raise table.refusal(str(error), AS_PARQUET) from None
    except Exception as error:
        table.source.require_reachable(error)
        if "equality deletes" in str(error):
            text = "has equality deletes: files hold rows that are deleted"
            raise table.refusal(text, REWRITE) from None
        raise table.refusal(
            f"has a snapshot whose files cannot be listed: {table.source.words_of(error)}",
            "name a snapshot that is not expired, and that this pyiceberg reads",
        ) from None
    if not tasks:
        raise table.refusal("has no rows in this snapshot", "name a snapshot that has rows")
    return tasks


def _refuse_unreadable(table: _Table, tasks: Sequence[Any]) -> None:
    """Refuse a snapshot whose files do not hold the rows as they are."""
    deletes = {one.file_format.name for task in tasks for one in task.delete_files}
    if deletes:
        kind = "deletion vectors" if "PUFFIN" in deletes else "position deletes"
        raise table.refusal(f"has {kind}: files hold rows that are deleted", REWRITE)
    others = sorted({task.file.file_format.name for task in tasks} - {"PARQUET"})
    if others:
        raise table.refusal(f"has files that are {', '.join(others)}, not Parquet", AS_PARQUET)
    if any(task.file.key_metadata for task in tasks):
        raise table.refusal("has encrypted files", AS_PARQUET)


def _relative(table: _Table, locations: Sequence[str]) -> tuple[FileSource, list[str]]:
    """Return names of files below the folder of the table, or below one that all of them share."""
    try:
        paths = [table.files.path_of(location) for location in locations]
    except ElsewhereError as error:
        raise table.refusal(str(error), AS_PARQUET) from None
    source = table.source
    if not all(path.startswith(f"{source.root}/") for path in paths):
        root = posixpath.commonpath([posixpath.dirname(path) for path in paths])
        source = replace(source, shown=f"{source.shown}, files in {root}", root=root)
    return source, [path[len(source.root) :].lstrip("/") for path in paths]


def _keys(metadata: Any, columns: Mapping[int, str], file: Any) -> Constants:
    """Return what the metadata say of the columns that the table is partitioned by as they are."""
    from pyiceberg.transforms import IdentityTransform

    fields = {one.field_id: one for schema in metadata.schemas for one in schema.fields}
    found = []
    for key, value in zip(metadata.specs()[file.spec_id].fields, file.partition, strict=True):
        if isinstance(key.transform, IdentityTransform) and key.source_id in columns:
            kind = fields[key.source_id].field_type
            text = None if value is None else key.transform.to_human_string(kind, value)
            found.append((columns[key.source_id], text))
    return tuple(found)


def _arrow_type(kind: Any) -> pa.DataType:
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    try:
        return schema_to_pyarrow(kind)
    except (NotImplementedError, TypeError, ValueError):
        # Arrow has no such type, such as that of a geometry: in files without it it is null.
        return pa.null()
