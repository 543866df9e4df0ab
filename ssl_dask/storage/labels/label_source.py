"""Files of labels before they are read: text or Parquet, and which columns they have."""

from __future__ import annotations

from pathlib import Path

from ssl_dask.errors import InputDataError
from ssl_dask.storage.files.file_listing import Listing, holds_parquet, list_files
from ssl_dask.storage.files.file_source import FileSource
from ssl_dask.storage.input.column_profile import profile_columns
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.labels.label_text import ENDINGS, text_ending, values_of_text


def label_file_columns(path: str, base: Path) -> dict[str, int]:
    """Return the columns of labels that are kept apart, and how many values each has.

    Of Parquet a sample is looked at, of several files of text the first.

    Parameters
    ----------
    path, base
        As of `label_file.read_label_file`.

    Raises
    ------
    InputDataError
        As `label_file.read_label_file`.
    """
    listing = list_files(path, base=base, also=ENDINGS)
    if not holds_text(listing):
        columns = profile_columns(Dataset.open(path, base=base))
        return {one.name: one.n_distinct for one in columns}
    name, size = listing.files[0]
    shown = listing.source.shown_path(name)
    found = values_of_text(bytes_of(listing.source, name, size), name, shown)
    return {column: len(values) for column, values in found.items()}


def bytes_of(source: FileSource, name: str, size: int) -> bytes:
    """Return a whole file; raises InputDataError if it cannot be read."""
    try:
        return source.read_range(name, 0, size)
    except Exception as error:
        raise InputDataError(
            source.why_unreadable(error),
            file=source.shown_path(name),
            hint="make the file readable",
        ) from error


def refuse_twice(listing: Listing | None, seen: set[str]) -> None:
    """Raise InputDataError if a file is among those that were `seen`; add all of them."""
    if listing is None:
        return  # A table, which stands alone.
    names = [listing.source.shown_path(name) for name, _ in listing.files]
    if twice := [name for name in names if name in seen]:
        raise InputDataError(
            "two of the paths of the labels read this file: its labels would count twice",
            file=twice[0],
            hint="leave one of the paths out",
        )
    seen.update(names)


def holds_text(listing: Listing) -> bool:
    """Return whether the labels are text and not Parquet; a file is Parquet by its bytes."""
    name, size = listing.files[0]
    ending = text_ending(name)
    if ending == ".parquet" or (ending not in ENDINGS and listing.source.single is None):
        return False
    if holds_parquet(listing.source, name, size):
        return False
    if ending in ENDINGS:
        return True
    raise InputDataError(
        f"labels are CSV, TSV, JSON lines or Parquet; this is {ending or 'none of them'}",
        file=listing.source.shown_path(name),
        hint=f"save them under a name that ends in .parquet or {', '.join(ENDINGS)}",
    )
