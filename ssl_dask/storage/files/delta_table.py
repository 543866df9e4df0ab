"""The files that hold the rows of one version of a Delta table, as its log says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from ssl_dask.errors import InputDataError
from ssl_dask.storage.files.file_listing import Listing, folder_source
from ssl_dask.storage.files.file_names import natural_key
from ssl_dask.storage.files.file_source import FileSource
from ssl_dask.storage.files.table_folders import AS_PARQUET
from ssl_dask.storage.files.table_version import TableVersion

READABLE = frozenset(
    {
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        "variantShredding-preview",
        "variantType",
        "variantType-preview",
    }
)
"""Reader features under which a file holds the rows as they are; the first two are looked into."""


def list_delta_files(
    path: str | os.PathLike[str],
    *,
    base: Path,
    version: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Listing:
    """Find the live files of a Delta table.

    Parameters
    ----------
    path
        Folder of the table, or its URL as deltalake takes it.
    base
        Folder that a relative local path starts from.
    version
        Of the table; None: the latest.
    storage_options
        For deltalake and fsspec, with a URL.

    Raises
    ------
    InputDataError
        There is no such table or version; deltalake is not installed; or the table uses what a
        plain reading of its files would get wrong, by name: deletion vectors, column mapping, a
        reader feature that is not known here.
    StorageError
        The store cannot be reached.
    """
    source = folder_source(path, base, storage_options)
    shown = source.shown
    table = _open_table(source, version)
    _refuse_unreadable(table, shown)
    actions = pa.table(table.get_add_actions(flatten=True))
    names = [unquote(path) for path in actions.column("path").to_pylist()]
    files = list(zip(names, map(int, actions.column("size_bytes").to_pylist()), strict=True))
    files.sort(key=lambda file: natural_key(file[0]))
    if outside := [name for name, _ in files if "://" in name or name.startswith("/")]:
        raise InputDataError(
            f"the table has {len(outside):,} files outside its folder, such as a shallow clone has",
            file=shown,
            hint=AS_PARQUET,
        )
    if not files:
        raise InputDataError("the table has no files", file=shown, hint="give one that has rows")
    keys = table.metadata().partition_columns
    texts = [actions.column(f"partition.{key}").cast(pa.string()).to_pylist() for key in keys]
    constants = {
        name: tuple((key, values[i]) for key, values in zip(keys, texts, strict=True))
        for i, name in enumerate(names)
    }
    number = table.version()
    schema = pa.schema(table.schema().to_arrow())
    about = TableVersion(f"version {number}", number, schema, constants)
    local = (Path(source.root),) if source.is_local else ()
    return Listing(source, tuple(files), (), local, table=about)


def _open_table(source: FileSource, version: int | None) -> Any:
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise InputDataError(
            "format: delta needs the package deltalake",
            file=source.shown,
            hint="install ssl-dask[delta]",
        ) from None
    try:
        options = dict(source.storage_options) or None
        return DeltaTable(source.url or source.root, version=version, storage_options=options)
    except (DeltaError, OSError) as error:
        if "error sending request" in str(error) or "HTTP error" in str(error):
            # The library of deltalake says it in words alone.
            error = ConnectionError(str(error))
        source.require_reachable(error)
        which = "the table" if version is None else f"version {version} of the table"
        words = source.words_of(error)
        if version is not None and (latest := _open_table(source, None).version()) < version:
            words = f"the latest is {latest}"
        raise InputDataError(
            f"{which} cannot be opened: {words}",
            file=source.shown,
            hint="correct path or version; the path is the folder with _delta_log",
        ) from None


def _refuse_unreadable(table: Any, shown: str) -> None:
    """Refuse a table whose files do not hold the rows as they are."""
    trouble, cure = "", AS_PARQUET
    mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    unknown = sorted(set(table.protocol().reader_features or ()) - READABLE)
    if mode != "none":
        trouble = f"maps its columns (delta.columnMapping.mode: {mode}): files have other names"
    elif unknown:
        trouble = f"has reader features that are not known here: {', '.join(unknown)}"
    elif pa.RecordBatchReader.from_stream(table.deletion_vectors()).read_all().num_rows:
        trouble = "has deletion vectors: files hold rows that are deleted"
        cure = "rewrite its files, by REORG TABLE ... APPLY (PURGE) in Spark or Databricks"
    if trouble:
        raise InputDataError(f"the Delta table {trouble}", file=shown, hint=cure)
