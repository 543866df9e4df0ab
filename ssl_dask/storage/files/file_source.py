"""Opens the files behind an input path, here or on a worker, and says why one cannot be read.

Credentials in URLs and storage options never reach a `repr` or an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from socket import gaierror
from typing import Any, BinaryIO

import fsspec
import fsspec.core
import pyarrow as pa

from ssl_dask.errors import InputDataError, StorageError

UNREACHABLE = frozenset(
    {
        "ClientConnectorError",
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "NoValidConnectionsError",
        "ProxyConnectionError",
        "ServerDisconnectedError",
        "ServiceRequestError",
    }
)
"""Classes of errors of aiohttp, botocore, azure.core and paramiko when nobody answers."""
LISTING_THREADS = 16
"""Requests at a time while an input is looked at."""
CONTAINER_SCHEMES = ("abfs", "abfss", "az", "adl", "wasb", "wasbs")
"""Azure's URLs have a container in front of the @, which is no secret."""


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
        """Return when the file `name` was last written, or the version mark of the store.

        Raises
        ------
        InputDataError
            It cannot be looked at.
        """
        try:
            if self.is_local:
                return str(os.stat(self.path_of(name)).st_mtime_ns)
            about = self.filesystem().info(self.path_of(name))
        except Exception as error:
            text, hint = self.why_unreadable(error), "run again when nothing writes to the input"
            raise InputDataError(text, file=self.shown_path(name), hint=hint) from None
        marks = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
        return next((str(about[mark]) for mark in marks if about.get(mark) is not None), "unknown")

    def open_remote(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open the remote file `name` for reading."""
        handle: AbstractContextManager[BinaryIO] = self.filesystem().open(self.path_of(name), "rb")
        return handle

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop` of the file `name`; one request if remote."""
        if self.is_local:
            with open(self.path_of(name), "rb") as handle:
                handle.seek(start)
                return handle.read(stop - start)
        data: bytes = self.filesystem().cat_file(self.path_of(name), start=start, end=stop)
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
            `error` itself where its cause is not the file: a lack of memory, a fault of ours; or
            as `require_reachable`.
        """
        self.require_reachable(error)
        if isinstance(error, OSError) and error.errno is not None:
            return f"cannot be read: {error.strerror or type(error).__name__}"
        if isinstance(error, FileNotFoundError | PermissionError):
            return f"cannot be read: {self.words_of(error)}"
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
        text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
        return self.redact(f"{type(error).__name__}: {text}")[:300]

    def require_reachable(self, error: Exception) -> None:
        """Tell an error of which the store is the cause, not its files.

        Raises
        ------
        StorageError
            Nobody answers at the store's endpoint.
        """
        if not self.is_local and _is_unreachable(error):
            raise StorageError(
                f"the store cannot be reached: {self.words_of(error)}",
                file=self.shown,
                hint="see whether its endpoint is right and up, then run the job again",
            ) from None

    def filesystem(self) -> Any:
        """Return the remote file system, which is to forget what it has seen.

        fsspec keeps one for all of a process, and that keeps listings and sizes.
        """
        found = fsspec.core.url_to_fs(self.url, **dict(self.storage_options))[0]
        found.invalidate_cache()
        return found


def is_damage(error: Exception) -> bool:
    """Return whether Arrow or the operating system could not make sense of a file's bytes."""
    # Arrow's lack of memory is one of its exceptions too.
    kinds = (pa.ArrowException, OSError, EOFError)
    return isinstance(error, kinds) and not isinstance(error, MemoryError)


def redact_url(text: str) -> str:
    """Return `text` with user names, passwords and query strings of URLs blotted out."""
    text = re.sub(r"(\w+)://([^/\s]*)@", _redacted_user, text)
    return re.sub(r"(://[^\s?]*)\?[^\s]*=[^\s]*", r"\1?***", text)


def _redacted_user(found: re.Match[str]) -> str:
    scheme, user = found.groups()
    return found[0] if scheme in CONTAINER_SCHEMES and ":" not in user else f"{scheme}://***@"


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that nobody answers."""
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        if names & UNREACHABLE or isinstance(error, ConnectionError | TimeoutError | gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
