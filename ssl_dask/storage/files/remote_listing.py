"""Which files of a store a URL means: one object, a folder or a glob."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import fsspec.core
from fsspec.utils import glob_translate

from ssl_dask.errors import InputDataError, SslDaskError
from ssl_dask.storage.files.file_names import (
    GLOB_CHARACTERS,
    folder_above_glob,
    not_found,
    parts_by_name,
)
from ssl_dask.storage.files.file_source import (
    CONTAINER_SCHEMES,
    LISTING_THREADS,
    FileSource,
    redact_url,
)

EXTRAS = {
    **dict.fromkeys(("abfs", "abfss", "az"), "azure"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("http", "https"), "http"),
    **dict.fromkeys(("s3", "s3a"), "s3"),
}
"""Scheme of a URL -> the optional dependencies that read it."""


@dataclass(frozen=True)
class RemoteFiles:
    """The files that a URL means."""

    source: FileSource
    """Opens them."""
    sizes: dict[str, int]
    """Name -> bytes."""
    whole: bool
    """Whether this is all that a folder holds."""
    named: tuple[str, ...] = ()
    """The parts of names that a pattern asks for."""


def list_remote(url: str, storage_options: Mapping[str, Any]) -> RemoteFiles:
    """Find the files that a URL means.

    The store is looked at anew; folders, and empty objects that mark them, are left out where the
    store tells them from files.

    Parameters
    ----------
    url
        fsspec's, of an object, a folder (searched at every depth) or a glob.
    storage_options
        For fsspec.

    Raises
    ------
    InputDataError
        Nothing is there, or it cannot be listed: no permission, a package that is not installed.
    StorageError
        The store cannot be reached.
    """
    shown = redact_url(url)
    source = FileSource(shown, "", url=url, storage_options=storage_options)
    with naming_store(source):
        if _scheme(url) in CONTAINER_SCHEMES and re.search(r"\?.*\bsig=", url):
            raise InputDataError(
                "a signature in a URL of this kind is not read",
                file=shown,
                hint="leave out what follows the ?, and set AZURE_STORAGE_SAS_TOKEN to it",
            )
        filesystem = source.forget()
        path = fsspec.core.url_to_fs(url, **dict(storage_options))[1]
        if GLOB_CHARACTERS.search(path.split("?")[0] if _scheme(url).startswith("http") else path):
            root, whole = folder_above_glob(path), False
            found = _matches(filesystem, path, root)
            if not found:
                raise not_found("nothing matches this pattern", shown)
            named = parts_by_name(path.removeprefix(root))
            shown = redact_url(folder_above_glob(url))
        else:
            root, whole, named = path.rstrip("/"), True, ()
            info = filesystem.info(path)
            # Some tools mark a folder by an empty object of its name.
            is_folder = info["type"] != "file" or not info["size"]
            found = _below(filesystem, root) if is_folder else {}
            if info["type"] == "file" and not found:
                name = path.split("?")[0].rsplit("/", 1)[-1]
                one = FileSource(shown, os.path.dirname(path), path, url, storage_options)
                return RemoteFiles(one, {name: _bytes_of(one, filesystem, path, info)}, False)
        source = FileSource(shown, root, None, url, storage_options)
        files = {
            name: about
            for name, about in found.items()
            if about["type"] == "file" and not _is_marker(filesystem, name, about)
        }
        with ThreadPoolExecutor(LISTING_THREADS) as pool:
            sizes = pool.map(partial(_bytes_of, source, filesystem), files, files.values())
            names = (name.removeprefix(root).lstrip("/") for name in files)
            return RemoteFiles(source, dict(zip(names, sizes, strict=True)), whole, named)


@contextmanager
def naming_store(source: FileSource) -> Iterator[None]:
    """Turn whatever a store fails with inside into an error of ours that names its URL.

    Raises
    ------
    InputDataError
        It cannot be listed.
    StorageError
        The store cannot be reached.
    """
    try:
        yield
    except SslDaskError:
        raise
    except Exception as error:
        scheme = _scheme(source.url or "")
        if scheme in ("wasb", "wasbs"):
            raise InputDataError(
                f"{scheme}:// is not read",
                file=source.shown,
                hint="write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH: the same files",
            ) from error
        extra = EXTRAS.get(scheme)
        # Some schemes fsspec knows from the package alone.
        unknown = extra is not None and "Protocol not known" in str(error)
        if isinstance(error, ImportError) or unknown:
            raise InputDataError(
                f"this kind of URL needs a package that is not installed: {error}",
                file=source.shown,
                hint=f"install ssl-dask[{extra}]" if extra else "install that package",
            ) from error
        source.require_reachable(error)
        if isinstance(error, FileNotFoundError):
            raise not_found("no such object or folder", source.shown) from error
        # fsspec's back ends raise their own kinds: whatever it was, the input cannot be listed.
        text = f"cannot be listed: {source.words_of(error)}"
        hint = "see whether URL, network and credentials are right"
        raise InputDataError(text, file=source.shown, hint=hint) from None


def _matches(filesystem: Any, pattern: str, root: str) -> dict[str, Any]:
    """Return path -> info of what a pattern matches, and of what lies in folders that it matches.

    `root` is the folder above the pattern.
    """
    if _is_azure(filesystem) and filesystem.isfile(root):
        # adlfs finds nothing in a folder that an empty object marks.
        wanted = re.compile(f"(?:{glob_translate(pattern)})")
        below = _below(filesystem, root)
        return {name: info for name, info in below.items() if any(map(wanted.match, _up(name)))}
    found: dict[str, Any] = filesystem.glob(pattern, detail=True)
    for folder in [name for name, info in found.items() if info["type"] == "directory"]:
        found.update(_below(filesystem, folder))
    return found


def _below(filesystem: Any, folder: str) -> dict[str, Any]:
    """Return path -> info of all that lies below a folder."""
    found = filesystem.find(f"{folder}/", detail=True)
    if not isinstance(found, dict):
        # What adlfs says of an empty object that marks a folder: the name of the object.
        container, _, inner = folder.partition("/")
        found = filesystem.find(container, prefix=inner, detail=True)
    # Some back ends take a/b2 for something in a/b.
    inside = f"{folder}/" if folder else ""
    return {name: info for name, info in found.items() if name.startswith(inside)}


def _bytes_of(source: FileSource, filesystem: Any, path: str, about: Mapping[str, Any]) -> int:
    """Return the bytes of a file; a web server's page of links does not have them."""
    size = about["size"] if about["size"] is not None else filesystem.info(path)["size"]
    if size is None:
        raise InputDataError(
            f"the server does not say how many bytes {path.rpartition('/')[2].split('?')[0]} has",
            file=source.shown,
            hint="serve it with a Content-Length, or copy it here",
        )
    return int(size)


def _is_marker(filesystem: Any, name: str, about: Mapping[str, Any]) -> bool:
    """Return whether a file is the mark of a folder, an empty object `name/`: adlfs cuts the /."""
    empty = about["size"] == 0 and _is_azure(filesystem)
    return empty and filesystem.info(name)["type"] == "directory"


def _scheme(url: str) -> str:
    return url.partition("://")[0].rpartition("::")[2]


def _is_azure(filesystem: Any) -> bool:
    return "abfs" in filesystem.protocol


def _up(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
