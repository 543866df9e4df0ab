"""Which files an input means, and their footers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.input_files import InputFiles
from ssl_dask.storage.files.delta_table import list_delta_files
from ssl_dask.storage.files.file_listing import Listing, list_files
from ssl_dask.storage.files.file_names import hive_values
from ssl_dask.storage.files.iceberg_table import list_iceberg_files
from ssl_dask.storage.input.parquet_footer import Footer, read_footer
from ssl_dask.storage.input.table_columns import in_names_of_table

FOOTER_THREADS = 16
TABLES: dict[str, Callable[..., Listing]] = {
    "delta": list_delta_files,
    "iceberg": list_iceberg_files,
}
"""Format of a table -> what finds the files of one version."""


def list_input(
    files: str | os.PathLike[str] | InputFiles, *, elsewhere: Sequence[str] = (), **where: Any
) -> Listing:
    """Find the files of a path, or of one version of a table; keywords as for `list_files`."""
    if not isinstance(files, InputFiles):
        return list_files(files, elsewhere=elsewhere, **where)
    if files.format == "parquet":
        return list_files(files.path, elsewhere=elsewhere, **where)
    return TABLES[files.format](files.path, version=files.chosen, **where)


def read_footers(listing: Listing) -> list[Footer]:
    """Read the footers of all files, in threads.

    Raises
    ------
    InputDataError
        With each file that cannot be used.
    """
    with ThreadPoolExecutor(min(FOOTER_THREADS, len(listing.files))) as pool:
        read = list(pool.map(lambda file: _footer_of(listing, *file), listing.files))
    problems: list[Problem] = []
    footers: list[Footer] = []
    for footer in read:
        if isinstance(footer, Footer):
            footers.append(footer)
        else:
            problems.extend(footer)
    if problems:
        raise InputDataError(problems)
    return footers


def _footer_of(listing: Listing, name: str, size: int) -> Footer | list[Problem]:
    found = read_footer(listing.source, name, size, folder_values(listing, name))
    if listing.table is None or not isinstance(found, Footer):
        return found
    return in_names_of_table(found, listing.table, listing.source.shown_path(name))


def folder_values(listing: Listing, name: str) -> tuple[tuple[str, str | None], ...]:
    """Return what the names of a file's folders say."""
    # The one file of an input path has no folders: those above it belong to the user's disk.
    # What the folders of a table are called its log says.
    alone = listing.source.single is not None or listing.table is not None
    return () if alone else hive_values(name)
