"""Which files an input path means: one file, a folder, a glob or a URL.

Names of files are relative to the folder that the path names, with `/` between the parts.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec.core

from ssl_dask.errors import Caution, InputDataError
from ssl_dask.storage.files.file_links import is_loop, leads_nowhere, once_each
from ssl_dask.storage.files.file_names import (
    GLOB_CHARACTERS,
    folder_above_glob,
    hidden_part,
    is_hidden,
    may_hold_rows,
    natural_key,
    not_found,
    parts_by_name,
)
from ssl_dask.storage.files.file_source import LISTING_THREADS, FileSource, redact_url
from ssl_dask.storage.files.remote_listing import list_remote, naming_store
from ssl_dask.storage.files.table_folders import refuse_tables
from ssl_dask.storage.files.table_version import TableVersion

MAGIC = (b"PAR1", b"PARE")
UNFINISHED = re.compile(r"\.(tmp|temp|part|partial|inprogress|crdownload)$", re.IGNORECASE)
"""Names of files that are still being written."""
MIN_PARQUET_BYTES = 12


@dataclass(frozen=True)
class Listing:
    """The files found.

    Parameters
    ----------
    source
        Opens them.
    files
        (name, bytes) of each, in natural order of the names: part-2 before part-10.
    ignored
        Names that were left out: no Parquet, or `_` or `.` in front of a name that the path does
        not ask for.
    local_paths
        What the path means on this machine: the file, the folder, or what the glob matched.
    notes
        What changes which rows are read.
    table
        The version of a table whose files these are.
    unread
        Those of `ignored` that may hold rows.
    """

    source: FileSource
    files: tuple[tuple[str, int], ...]
    ignored: tuple[str, ...]
    local_paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    table: TableVersion | None = None
    unread: tuple[str, ...] = ()


def list_files(
    path: str | os.PathLike[str],
    *,
    base: Path,
    storage_options: Mapping[str, Any] | None = None,
    also: tuple[str, ...] = (),
    elsewhere: Sequence[str] = (),
) -> Listing:
    """Find the Parquet files that `path` means.

    Parameters
    ----------
    path
        File, folder (searched at every depth), glob, or fsspec URL of one of these.
    base
        Folder that a relative local path starts from.
    storage_options
        For fsspec, with a URL.
    also
        Endings of other files that are taken where there is no Parquet file, gzipped or not.
    elsewhere
        Paths that are read as something else: their files are not told as left out.

    Raises
    ------
    InputDataError
        Nothing is there, it cannot be listed, there is no Parquet file in it, or its files are
        those of a table format.
    StorageError
        The store cannot be reached.
    """
    text = without_file_scheme(os.fspath(path))
    if "://" in text:
        far = list_remote(text, dict(storage_options or {}))
        with naming_store(far.source):
            sizes, whole = far.sizes.items(), far.whole
            found = _listing(far.source, sizes, (), whole=whole, also=also, named=far.named)
        return _without(found, elsewhere)
    if storage_options:
        raise InputDataError(
            "storage options come with a local path",
            file=text,
            hint="give a URL, or leave them out",
        )
    full = os.path.abspath(Path(base) / os.path.expanduser(text))
    try:
        return _without(_list_local(text, full, also), elsewhere)
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else text
        text = f"cannot be listed: {error.strerror or error}"
        raise InputDataError(text, file=where, hint="make it readable for this user") from error


def _without(listing: Listing, elsewhere: Sequence[str]) -> Listing:
    """Return a listing that warns of what is left out, but for what is read as something else."""

    def is_left(name: str) -> bool:
        shown = listing.source.shown_path(name)
        return not any(
            fnmatchcase(shown, path) or shown.startswith(f"{path.rstrip('/')}/")
            for path in elsewhere
        )

    notes = listing.notes
    if unread := list(filter(is_left, listing.unread)):
        text = f"files of other kinds are left out ({len(unread):,}): {_listed(unread)}"
        notes = (*notes, Caution(f"{listing.source.shown}: {text}"))
    return replace(listing, ignored=tuple(filter(is_left, listing.ignored)), notes=notes)


def without_file_scheme(text: str) -> str:
    """Return a path of this machine for a URL of one; anything else as it is."""
    return unquote(urlsplit(text).path) if text.startswith("file://") else text


def folder_source(
    path: str | os.PathLike[str], base: Path, storage_options: Mapping[str, Any] | None
) -> FileSource:
    """Return what opens the files of a folder, or below a URL; nothing is looked at.

    Raises
    ------
    InputDataError
        The kind of URL needs a package that is not installed.
    """
    text = without_file_scheme(os.fspath(path))
    if "://" not in text:
        return FileSource(text, os.path.abspath(Path(base) / os.path.expanduser(text)))
    options, shown = dict(storage_options or {}), redact_url(text)
    with naming_store(FileSource(shown, "", url=text, storage_options=options)):
        root = fsspec.core.url_to_fs(text, **options)[1].rstrip("/")
    return FileSource(shown, root, None, text, options)


def _list_local(text: str, full: str, also: tuple[str, ...]) -> Listing:
    if os.path.isfile(full):
        source = FileSource(text, os.path.dirname(full), single=full)
        return _listing(source, [(os.path.basename(full), os.path.getsize(full))], (Path(full),))
    if os.path.isdir(full):
        source = FileSource(text, full)
        return _listing(source, _walk(full, full), (Path(full),), whole=True, also=also)
    if not GLOB_CHARACTERS.search(full):
        if leads_nowhere(full):
            nowhere, hint = "is a link that leads nowhere", "mend the link, or name another path"
            raise InputDataError(nowhere, file=text, hint=hint)
        raise not_found("no such file or folder", text)
    root = folder_above_glob(full)
    matches = sorted(glob.glob(full, recursive=True))
    if not matches:
        raise not_found("nothing matches this pattern", text)
    named = parts_by_name(full.removeprefix(root))
    found: dict[str, int | None] = {}
    for match in matches:
        if os.path.isdir(match):
            if hidden_part(os.path.relpath(match, root), named):
                found[os.path.relpath(match, root) + "/"] = None
            else:
                found.update(_walk(match, root))
        else:
            found[os.path.relpath(match, root)] = _bytes_of_path(match)
    source = FileSource(folder_above_glob(text), root)
    local_paths = tuple(Path(match) for match in matches)
    return _listing(source, found.items(), local_paths, also=also, named=named)


def _walk(folder: str, root: str) -> Iterator[tuple[str, int | None]]:
    """Yield (name, bytes) of the files under `folder`; bytes are None for what is left out."""

    def stop(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        relative = os.path.relpath(parent, root)
        here = "" if relative == "." else f"{relative}/"
        for name in list(folders):
            if is_hidden(name) or is_loop(parent, name):
                folders.remove(name)
                yield f"{here}{name}/", None
        for name in names:
            yield here + name, _bytes_of_path(os.path.join(parent, name))


def _bytes_of_path(path: str) -> int:
    # A link that leads nowhere has none: where it would be read, its footer is the place to say so.
    return os.path.getsize(path) if os.path.exists(path) else 0


def _listing(
    source: FileSource,
    found: Iterable[tuple[str, int | None]],
    local_paths: tuple[Path, ...],
    *,
    whole: bool = False,
    also: tuple[str, ...] = (),
    named: tuple[str, ...] = (),
) -> Listing:
    """Return the Parquet files among what was found, known by their bytes, each once.

    `whole` says that all of the folder was listed; `also` as for `list_files`; `named` as for
    `hidden_part`.
    """
    sizes = dict(found)
    refuse_tables(source, list(sizes), whole=whole)
    if source.single is not None:
        one = tuple((name, size or 0) for name, size in sizes.items())
        return Listing(source, one, (), local_paths)
    hidden = {name for name, size in sizes.items() if size is None or hidden_part(name, named)}
    kept, ignored, notes = _known_parquet(source, sizes, hidden)
    texts = [name for name in ignored if name not in hidden and _ends_in(name, also)]
    if kept and any(sizes[name] for name in texts):
        raise InputDataError(
            f"Parquet and text lie in one folder: {_listed(kept)}; {_listed(texts)}",
            file=source.shown,
            hint="keep files of one kind there, or name these by a pattern such as FOLDER/*.csv",
        )
    kept = kept or texts
    ignored = [name for name in ignored if name not in texts]
    if not kept:
        raise _nothing_to_read(source, ignored, also)
    unread = tuple(name for name in ignored if may_hold_rows(name, sizes[name]))
    broken = [name for name in ignored if source.is_local and leads_nowhere(source.path_of(name))]
    if broken:
        notes.append(Caution(f"{source.shown}: links that lead nowhere: {_listed(broken)}"))
    kept, links = once_each(source, kept)
    files = tuple((name, sizes[name] or 0) for name in kept)
    return Listing(source, files, tuple(ignored), local_paths, (*notes, *links), unread=unread)


def _nothing_to_read(
    source: FileSource, ignored: Sequence[str], also: tuple[str, ...]
) -> InputDataError:
    hint = "give a folder of Parquet files; names that start with _ or . are left out"
    if also:
        hint = f"{hint}; text needs a name that ends in {', '.join(also)}, such as part-0{also[0]}"
    elif any(name.lower().endswith(".csv") for name in ignored):
        hint = "write Parquet; CSV is read for labels alone"
    seen = f"; left out: {_listed(ignored)}" if ignored else ""
    kinds = "Parquet files or text of labels" if also else "Parquet files"
    return InputDataError(f"no {kinds} here{seen}", file=source.shown, hint=hint)


def _ends_in(name: str, endings: tuple[str, ...]) -> bool:
    return name.lower().removesuffix(".gz").endswith(endings)


def _known_parquet(
    source: FileSource, sizes: Mapping[str, int | None], hidden: Collection[str]
) -> tuple[list[str], list[str], list[Caution]]:
    """Return which of the names are Parquet files, which are left out, and notes."""
    folders = {parent for name in sizes for parent in _parents(name)}
    usual: list[str] = []
    others: list[str] = []
    ignored: list[str] = []
    for name in sizes:
        if name in hidden:
            ignored.append(name)
        elif name.lower().endswith(".parquet") and name not in folders:
            usual.append(name)
        elif name not in folders and not name.endswith("/"):
            # What is left over are empty objects that mark the folder of their name.
            others.append(name)
    with ThreadPoolExecutor(LISTING_THREADS) as pool:
        is_parquet = list(pool.map(lambda name: holds_parquet(source, name, sizes[name]), others))
    unusual = sorted(
        (name for name, yes in zip(others, is_parquet, strict=True) if yes), key=natural_key
    )
    ignored += [name for name, yes in zip(others, is_parquet, strict=True) if not yes]
    notes = []
    if usual and unusual:
        text = f"Parquet files that do not end in .parquet are read too: {_listed(unusual)}"
        notes.append(Caution(f"{source.shown}: {text}"))
    kept = sorted([*usual, *unusual], key=natural_key)
    return kept, sorted(ignored, key=natural_key), notes


def holds_parquet(source: FileSource, name: str, size: int | None) -> bool:
    """Return whether a file is Parquet by its bytes, or was to be: one that is cut off is refused.

    Raises
    ------
    StorageError
        The store cannot be reached.
    """
    if size is None or size < MIN_PARQUET_BYTES:
        return False
    try:
        first, last = (source.read_range(name, at, at + 4) for at in (0, size - 4))
    except Exception as error:
        # What may not be read is left out as what is no Parquet, and listed.
        source.require_reachable(error)
        return False
    return first in MAGIC and (last in MAGIC or not UNFINISHED.search(name))


def _parents(name: str) -> Iterator[str]:
    while "/" in name.rstrip("/"):
        name = name.rstrip("/").rpartition("/")[0]
        yield name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
