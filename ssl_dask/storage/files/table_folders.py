"""Folders of table formats: which of their Parquet files hold rows of the table, a log says.

A folder of Delta Lake, Hudi, Iceberg, Paimon or DuckLake also holds files of rows that were
replaced or deleted; read as plain Parquet it gives them all, without a word.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ssl_dask.errors import InputDataError
from ssl_dask.storage.files.file_source import LISTING_THREADS, FileSource

MARKS = {
    "Delta Lake": re.compile(r"(^|/)_delta_log/"),
    "Apache Hudi": re.compile(r"(^|/)(\.hoodie/|\.hoodie_partition_metadata)"),
    "Apache Iceberg": re.compile(r"(^|/)metadata/[^/]*\.metadata\.json$"),
    "Apache Paimon": re.compile(r"(^|/)schema/schema-\d+$"),
    "DuckLake": re.compile(r"(^|/)ducklake-[0-9a-f-]{36}[^/]*\.parquet$"),
}
"""Table format -> what the name of a file in its folder looks like."""
LOOKED_FOR = {
    "Delta Lake": ("_delta_log",),
    "Apache Hudi": (".hoodie", ".hoodie_partition_metadata"),
    "Apache Iceberg": ("metadata/*.metadata.json",),
    "Apache Paimon": ("schema/schema-0",),
}
"""Table format -> what its folder holds; the names of DuckLake's files say enough."""
DEEP = {"Delta Lake": "_delta_log", "Apache Hudi": ".hoodie"}
"""Table format whose files may lie at any depth below -> what the folder of the table holds."""
LEVEL = re.compile(r"=|^bucket-\d+$")
"""What folders of keys are called, and Paimon's buckets."""
AS_PARQUET = "write the rows of the table to Parquet files, and name these"
CURES = {
    "Delta Lake": f"set format: delta beside the path of the table's folder; or {AS_PARQUET}",
    "Apache Iceberg": f"set format: iceberg beside the path of the table's folder; or {AS_PARQUET}",
    "DuckLake": f"{AS_PARQUET}: COPY (FROM the_table) TO 'rows.parquet' in DuckDB",
}


def refuse_tables(source: FileSource, names: Sequence[str], *, whole: bool) -> None:
    """Refuse files of a table format.

    Parameters
    ----------
    source
        Where they lie.
    names
        All that was found, hidden names included.
    whole
        Whether this is all that the folder of the source holds.

    Raises
    ------
    InputDataError
        With the kind of table, its folder and the cure.

    Notes
    -----
    Where the names do not say it, looks at the folder of the input, or of each file of a glob, and
    at those above that a table could have made it in: five looks a folder, and two at each folder
    above, in threads.
    """
    for name in names:
        for kind, mark in MARKS.items():
            if (found := mark.search(name)) is not None:
                raise _refusal(source, kind, name[: found.start()])
    if source.url is not None and source.url.startswith("http"):
        # A web server has files, and seldom says which others lie beside them.
        return
    inside = sorted({"" if whole else posixpath.dirname(name.rstrip("/")) for name in names})
    looks = [
        (kind, folder, one)
        for folder in dict.fromkeys(_table_folders(source, inside))
        for kind, wanted in LOOKED_FOR.items()
        for one in wanted
    ]
    above = dict.fromkeys(_folders_above(source, inside))
    looks += [(kind, folder, log) for folder in above for kind, log in DEEP.items()]
    files = None if source.is_local else source.forget()
    with ThreadPoolExecutor(LISTING_THREADS) as pool:
        paths = (f"{folder}/{one}" for _, folder, one in looks)
        there = list(pool.map(lambda path: _is_there(source, files, path), paths))
    for (kind, folder, _), yes in zip(looks, there, strict=True):
        if yes:
            raise _refusal(source, kind, posixpath.relpath(folder, source.root))


def _refusal(source: FileSource, kind: str, folder: str) -> InputDataError:
    below = "" if folder in ("", ".") else f", in {folder},"
    return InputDataError(
        f"these{below} are files of a table of {kind}: its log says which of them hold its rows",
        file=source.shown,
        hint=CURES.get(kind, AS_PARQUET),
    )


def _table_folders(source: FileSource, inside: Sequence[str]) -> Iterator[str]:
    """Yield the folders, full paths, that would be a table's if files in these were its own."""
    for below in inside:
        folder = posixpath.join(source.root, below).rstrip("/")
        while LEVEL.search(posixpath.basename(folder)):
            folder = posixpath.dirname(folder)
        yield folder
        if posixpath.basename(folder) == "data":
            yield posixpath.dirname(folder)


def _folders_above(source: FileSource, inside: Sequence[str]) -> Iterator[str]:
    for below in inside:
        folder = posixpath.join(source.root, below).rstrip("/")
        while (folder := posixpath.dirname(folder)) not in ("", "/"):
            yield folder


def _is_there(source: FileSource, files: Any, path: str) -> bool:
    if files is None:
        folder, pattern = os.path.split(path)
        if "*" not in pattern:
            return os.path.exists(path)
        return os.path.isdir(folder) and any(
            name.endswith(pattern[1:]) for name in os.listdir(folder)
        )
    try:
        return bool(files.glob(path)) if "*" in path else bool(files.exists(path))
    except Exception as error:
        # Who may read these files may not list what lies beside them.
        source.require_reachable(error)
        return False
