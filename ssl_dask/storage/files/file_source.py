"""Opens the files behind an input path, here or on a worker, and says why one cannot be read.

Credentials in URLs and storage options never reach a `repr` or an error.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from socket import gaierror
from typing import Any
from urllib.parse import urlsplit

import fsspec.config
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
MARKS = (
    *("ETag", "etag", "LastModified", "last_modified", "Last-Modified"),
    *("mtime", "modificationTime", "modify", "updated", "created"),
)
"""What back ends call the version of a file, or when it was last written."""
LISTING_THREADS = 16
"""Requests at a time while an input is looked at."""
CONTAINER_SCHEMES = ("abfs", "abfss", "az", "adl", "wasb", "wasbs")
"""Azure's URLs have a container in front of the @, which is no secret."""
SECRET_VARIABLE = re.compile(r"^(AWS|AZURE|GOOGLE|GCS)_.*(KEY|SECRET|TOKEN|PASSWORD|CONNECTION)")
SECRET_OF_CONNECTION = re.compile(r"(?:AccountKey|SharedAccessSignature)=([^;]+)", re.IGNORECASE)
SHORT = 4
"""Characters from which on a text among the credentials is blotted out."""


@dataclass(frozen=True)
class FileSource:
    """Opens the files of one input path, in this process or on a worker."""

    shown: str
    """The path as the user wrote it, without credentials; for a glob the folder above it."""
    root: str = field(repr=False)
    """Folder that names of files are relative to: absolute, or a path of the remote file system."""
    single: str | None = field(default=None, repr=False)
    """Path of the one file, when the input is a file."""
    url: str | None = field(default=None, repr=False)
    """The URL, or None for local files."""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Passed to fsspec with a URL."""

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

        A store may answer from what it has seen; `forget` before.

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
        return next((str(about[mark]) for mark in MARKS if about.get(mark) is not None), "unknown")

    def open_remote(self, name: str, size: int) -> RemoteFile:
        """Open the remote file `name` of `size` bytes for reading; no request yet."""
        return RemoteFile(self, name, size)

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop` of the file `name`; one request if remote."""
        if self.is_local:
            with open(self.path_of(name), "rb") as handle:
                handle.seek(start)
                return handle.read(stop - start)
        data: bytes = self.filesystem().cat_file(self.path_of(name), start=start, end=stop)
        # A web server that knows no ranges answers with the whole file.
        return data if len(data) <= stop - start else data[start:stop]

    def redact(self, text: str) -> str:
        """Return `text` without the credentials of this source."""
        secrets = {*_strings(self.storage_options), *_secrets_around()}
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= SHORT:
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
        """Return the remote file system, one for all of a process.

        Raises
        ------
        InputDataError
            Azure's settings are those of another account than the URL's.
        """
        found = fsspec.core.url_to_fs(self.url, **dict(self.storage_options))[0]
        # adlfs reads where a connection string says, whatever account the URL has.
        client = getattr(found, "service_client", None)
        used = getattr(client, "account_name", None)
        if used and (asked := _azure_account(self.url or "")) not in (None, used.lower()):
            raise InputDataError(
                f"the URL is of Azure's account {asked!r}, but the settings are of {used!r}",
                file=self.shown,
                hint="set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_NAME for it",
            )
        return found

    def forget(self) -> Any:
        """Let the remote file system forget listings and sizes that it has seen, and return it."""
        found = self.filesystem()
        found.invalidate_cache()
        return found


class RemoteFile(io.RawIOBase):
    """A remote file that is read by requests for just the bytes that are asked for.

    What fsspec opens asks for the size first, and reads up to 50 MiB ahead. The bytes of the first
    request, a footer's, are kept: a small file is one request.

    Parameters
    ----------
    source, name
        Where it lies.
    size
        Bytes.
    """

    def __init__(self, source: FileSource, name: str, size: int) -> None:
        self._source, self._name, self._size = source, name, size
        self._at = 0
        self._kept: tuple[int, bytes] | None = None

    def read_range(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        if self._kept is not None:
            begin, data = self._kept
            if begin <= start and stop <= begin + len(data):
                return data[start - begin : stop - begin]
        data = self._source.read_range(self._name, start, stop)
        self._kept = self._kept or (start, data)
        return data

    def readable(self) -> bool:
        """Say so."""
        return True

    def seekable(self) -> bool:
        """Say so."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, from the start, from here or from the end."""
        self._at = offset + {os.SEEK_CUR: self._at, os.SEEK_END: self._size}.get(whence, 0)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes; all that is left for a negative number."""
        stop = self._size if size is None or size < 0 else min(self._at + size, self._size)
        data = self.read_range(self._at, stop) if stop > self._at else b""
        self._at += len(data)
        return data


def is_damage(error: Exception) -> bool:
    """Return whether Arrow or the operating system could not make sense of a file's bytes."""
    # Arrow's lack of memory is one of its exceptions too.
    kinds = (pa.ArrowException, OSError, EOFError)
    return isinstance(error, kinds) and not isinstance(error, MemoryError)


def redact_url(text: str) -> str:
    """Return `text` with user names, passwords and query strings of URLs blotted out."""
    text = re.sub(r"(\w+)://([^/\s]*)@", _redacted_user, text)
    return re.sub(r"(://[^\s?]*)\?[^\s]*=[^\s]*", r"\1?***", text)


def _azure_account(url: str) -> str | None:
    """Return the account in a URL of Azure's; None where it has none, or is another kind of URL."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme not in CONTAINER_SCHEMES or not (at or "." in host) or ":" in user:
        return None
    return host.split(".")[0].lower()


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


def _secrets_around() -> Iterator[str]:
    """Yield the credentials that back ends take from the environment and fsspec's own settings."""
    for name, value in os.environ.items():
        if SECRET_VARIABLE.match(name):
            yield from SECRET_OF_CONNECTION.findall(value)
            yield value
    yield from _strings(fsspec.config.conf)
