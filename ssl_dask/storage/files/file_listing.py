"""Which files an input path means: one file, a folder, a glob or a URL.

Names of files are relative to the folder that the path names, with `/` between the parts.
Credentials in URLs and storage options never reach a `repr` or an error.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import fsspec
import fsspec.core
import pyarrow as pa

from ssl_dask.errors import InputDataError

GLOB_CHARACTERS = re.compile(r"[*?\[]")
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
TAIL_BYTES = 1 << 16
CHECK_PATH = "correct the path"


@dataclass(frozen=True)
class FileSource:
    """Opens the files of one input path, in this process or on a worker.

    Parameters
    ----------
    shown
        The path as the user wrote it, without credentials; for a glob the folder above it.
    root
        Folder that names of files are relative to: absolute, or a path of the remote file system.
    single
        Path of the one file, when the input is a file.
    url
        The URL, or None for local files.
    storage_options
        Passed to fsspec with a URL.
    """

    shown: str
    root: str = field(repr=False)
    single: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether files are opened by the operating system, not by fsspec."""
        return self.url is None

    def path_of(self, name: str) -> str:
        """Return the full path of the file `name`; it may hold credentials: never show it."""
        return self.single if self.single is not None else f"{self.root}/{name}"

    def shown_path(self, name: str) -> str:
        """Return the path of the file `name` in the user's words, for messages."""
        if self.single is not None:
            return self.shown
        return name if self.shown == "." else f"{self.shown.rstrip('/')}/{name}"

    def size(self, name: str) -> int:
        """Return the bytes of the file `name` as it is now; local files only."""
        return os.path.getsize(self.path_of(name))

    def modified(self, name: str) -> str:
        """Return when the file `name` was last written, or the version mark of the store."""
        if self.is_local:
            return str(os.stat(self.path_of(name)).st_mtime_ns)
        about = self._filesystem().info(self.path_of(name))
        marks = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
        return next((str(about[mark]) for mark in marks if about.get(mark) is not None), "unknown")

    def open_remote(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open the remote file `name` for reading."""
        handle: AbstractContextManager[BinaryIO] = self._filesystem().open(self.path_of(name), "rb")
        return handle

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop` of the file `name`; one request if remote."""
        if self.is_local:
            with open(self.path_of(name), "rb") as handle:
                handle.seek(start)
                return handle.read(stop - start)
        data: bytes = self._filesystem().cat_file(self.path_of(name), start=start, end=stop)
        return data

    def redact(self, text: str) -> str:
        """Return `text` without the credentials of this source."""
        for secret in _strings(self.storage_options):
            if len(secret) > 3:
                text = text.replace(secret, "***")
        return redact_url(text)

    def why_unreadable(self, error: Exception) -> str:
        """Return why a file cannot be read, without credentials and without data.

        Raises
        ------
        Exception
            `error` itself where its cause is not the file: a lack of memory, a fault of ours.
        """
        if isinstance(error, OSError) and error.errno is not None:
            return f"cannot be read: {error.strerror or type(error).__name__}"
        if isinstance(error, pa.ArrowNotImplementedError):
            return f"holds what pyarrow {pa.__version__} cannot read: {error}"
        if is_damage(error):
            return f"is damaged: it cannot be decoded ({type(error).__name__})"
        if self.is_local or isinstance(error, MemoryError):
            raise error
        # Back ends of fsspec raise their own kinds.
        return f"cannot be read: {self.words_of(error)}"

    def words_of(self, error: Exception) -> str:
        """Return kind and text of an error, without credentials."""
        return self.redact(f"{type(error).__name__}: {error}")[:300]

    def _filesystem(self) -> Any:
        return fsspec.core.url_to_fs(self.url, **dict(self.storage_options))[0]


def is_damage(error: Exception) -> bool:
    """Return whether Arrow or the operating system could not make sense of a file's bytes."""
    # Arrow's lack of memory is one of its exceptions too.
    kinds = (pa.ArrowException, OSError, EOFError)
    return isinstance(error, kinds) and not isinstance(error, MemoryError)


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
        Names that were left out: not `.parquet`, or `_` or `.` in front of a name.
    local_paths
        What the path means on this machine: the file, the folder, or what the glob matched.
    """

    source: FileSource
    files: tuple[tuple[str, int], ...]
    ignored: tuple[str, ...]
    local_paths: tuple[Path, ...]


def list_files(
    path: str | os.PathLike[str],
    *,
    base: Path,
    storage_options: Mapping[str, Any] | None = None,
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

    Raises
    ------
    InputDataError
        Nothing is there, it cannot be listed, or there is no Parquet file in it.
    """
    text = os.fspath(path)
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    if "://" in text:
        return _list_url(text, dict(storage_options or {}))
    if storage_options:
        raise InputDataError(
            "storage options come with a local path",
            file=text,
            hint="give a URL, or leave them out",
        )
    full = os.path.abspath(Path(base) / os.path.expanduser(text))
    try:
        return _list_local(text, full)
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else text
        text = f"cannot be listed: {error.strerror or error}"
        raise InputDataError(text, file=where, hint="make it readable for this user") from error


def _list_local(text: str, full: str) -> Listing:
    if os.path.isfile(full):
        source = FileSource(text, os.path.dirname(full), single=full)
        name = os.path.basename(full)
        return Listing(source, ((name, os.path.getsize(full)),), (), (Path(full),))
    if os.path.isdir(full):
        source = FileSource(text, full)
        return _sorted_listing(source, _walk(full, full), (Path(full),))
    if not GLOB_CHARACTERS.search(full):
        raise InputDataError("not found: no such file or folder", file=text, hint=CHECK_PATH)
    root = _folder_above_glob(full)
    matches = sorted(glob.glob(full, recursive=True))
    if not matches:
        raise InputDataError("not found: nothing matches this pattern", file=text, hint=CHECK_PATH)
    found: dict[str, int | None] = {}
    for match in matches:
        if os.path.isdir(match):
            if _hidden_part(os.path.relpath(match, root)):
                found[os.path.relpath(match, root) + "/"] = None
            else:
                found.update(_walk(match, root))
        else:
            found[os.path.relpath(match, root)] = _bytes_of_path(match)
    source = FileSource(_folder_above_glob(text), root)
    return _sorted_listing(source, found.items(), tuple(Path(match) for match in matches))


def _walk(folder: str, root: str) -> Iterator[tuple[str, int | None]]:
    """Yield (name, bytes) of the files under `folder`; bytes are None for what is left out."""

    def stop(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        relative = os.path.relpath(parent, root)
        here = "" if relative == "." else f"{relative}/"
        for name in list(folders):
            if _is_hidden(name) or _is_loop(parent, name):
                folders.remove(name)
                yield f"{here}{name}/", None
        for name in names:
            yield here + name, _bytes_of_path(os.path.join(parent, name))


def _is_loop(parent: str, name: str) -> bool:
    """Whether the folder is a link to a folder that it lies in."""
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    target, here = os.path.realpath(path), os.path.realpath(parent)
    return os.path.commonpath([target, here]) == target


def _bytes_of_path(path: str) -> int:
    # A dangling link is listed with no bytes: reading its footer then names it.
    return os.path.getsize(path) if os.path.exists(path) else 0


def _list_url(url: str, storage_options: dict[str, Any]) -> Listing:
    shown = redact_url(url)
    plain = FileSource(shown, "", url=url, storage_options=storage_options)
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **storage_options)
        pattern = GLOB_CHARACTERS.search(path.split("?")[0] if url.startswith("http") else path)
        if pattern:
            root = _folder_above_glob(path)
            found = filesystem.glob(path, detail=True)
            for folder in [name for name, info in found.items() if info["type"] == "directory"]:
                found.update(filesystem.find(folder, detail=True))
        else:
            info = filesystem.info(path)
            if info["type"] == "file":
                source = FileSource(shown, "", path, url, storage_options)
                name = path.split("?")[0].rsplit("/", 1)[-1]
                return Listing(source, ((name, int(info["size"] or 0)),), (), ())
            root = path.rstrip("/")
            found = filesystem.find(path, detail=True)
    except FileNotFoundError as error:
        text = "not found: no such object or folder"
        raise InputDataError(text, file=shown, hint=CHECK_PATH) from error
    except ImportError as error:
        raise InputDataError(
            f"this kind of URL needs a package that is not installed: {error}",
            file=shown,
            hint="for s3:// install ssl-dask[s3]",
        ) from error
    except Exception as error:
        # fsspec's back ends raise their own kinds: whatever it was, the input cannot be listed.
        text = f"cannot be listed: {plain.words_of(error)}"
        hint = "see whether URL, network and credentials are right"
        raise InputDataError(text, file=shown, hint=hint) from None
    if pattern and not found:
        raise InputDataError("not found: nothing matches this pattern", file=shown, hint=CHECK_PATH)
    root_shown = _folder_above_glob(shown) if pattern else shown
    files = (
        (name.removeprefix(root).lstrip("/"), int(info["size"] or 0))
        for name, info in found.items()
        if info["type"] == "file"
    )
    return _sorted_listing(FileSource(root_shown, root, None, url, storage_options), files, ())


def _sorted_listing(
    source: FileSource, found: Iterable[tuple[str, int | None]], local_paths: tuple[Path, ...]
) -> Listing:
    kept: list[tuple[str, int]] = []
    ignored: list[str] = []
    for name, size in found:
        if size is None or _hidden_part(name) or not name.lower().endswith(".parquet"):
            ignored.append(name)
        else:
            kept.append((name, size))
    ignored.sort(key=natural_key)
    if not kept:
        seen = f"; left out: {', '.join(ignored[:5])}" if ignored else ""
        more = f" and {len(ignored) - 5} more" if len(ignored) > 5 else ""
        raise InputDataError(
            f"no Parquet files here{seen}{more}",
            file=source.shown,
            hint="files must end in .parquet; names that start with _ or . are left out",
        )
    kept.sort(key=lambda file: natural_key(file[0]))
    return Listing(source, tuple(kept), tuple(ignored), local_paths)


def natural_key(name: str) -> tuple[Any, ...]:
    """Return a sort key in which part-2 comes before part-10."""
    parts = [
        tuple(int(piece) if i % 2 else piece for i, piece in enumerate(re.split("([0-9]+)", part)))
        for part in name.split("/")
    ]
    return tuple(parts), name


def hive_values(name: str) -> tuple[tuple[str, str | None], ...]:
    """Return the (key, value) pairs in the folders of a name such as `day=3/a.parquet`."""
    pairs = []
    for part in name.split("/")[:-1]:
        key, equals, value = part.partition("=")
        if equals and key:
            text = unquote(value)
            pairs.append((unquote(key), None if text == NULL_PARTITION else text))
    return tuple(pairs)


def redact_url(text: str) -> str:
    """Return `text` with user names, passwords and query strings of URLs blotted out."""
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    return re.sub(r"(://[^\s?]*)\?[^\s]*=[^\s]*", r"\1?***", text)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _is_hidden(part: str) -> bool:
    # A hive folder may be named after a column that starts with an underscore.
    return part.startswith(".") or (part.startswith("_") and "=" not in part)


def _hidden_part(name: str) -> bool:
    return any(_is_hidden(part) for part in name.split("/"))


def _folder_above_glob(path: str) -> str:
    parts = path.split("/")
    first = next(i for i, part in enumerate(parts) if GLOB_CHARACTERS.search(part))
    return "/".join(parts[:first]) or ("/" if path.startswith("/") else ".")
