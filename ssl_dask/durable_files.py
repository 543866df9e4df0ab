"""Writing files that are whole or absent after a crash, and naming why a write failed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ssl_dask.errors import StorageError

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_PERMISSION = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# Some network file systems refuse fsync of a folder; they order renames themselves.
NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP})
HASH_CHUNK_BYTES = 1 << 20
SEAL = "sha256"
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class FileRecord:
    """What a file held when it was written."""

    path: str
    """Relative to the folder that is described, with forward slashes."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of its content, 64 hexadecimal digits."""


@contextmanager
def storage_errors(
    doing: str, path: Path, *, needed: int | None = None, hint: str | None = None
) -> Iterator[None]:
    """Turn an `OSError` of the body into a `StorageError` that names path, cause and cure.

    Parameters
    ----------
    doing
        What failed, as in "could not <doing>".
    path
        Named in the error, and asked for its free space when the disk is full.
    needed
        Bytes that were about to be written, named when the disk is full.
    hint
        What to do when the cause is neither a full disk nor a lack of permission.

    Raises
    ------
    StorageError
        In place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise as_storage_error(error, doing, path, needed=needed, hint=hint) from error


def as_storage_error(
    error: OSError, doing: str, path: Path, *, needed: int | None = None, hint: str | None = None
) -> StorageError:
    """Return `error` as a `StorageError`, with the parameters of `storage_errors`."""
    if error.errno in FULL_DISK:
        wants = "" if needed is None else f" about {needed:,} bytes were to be written,"
        return StorageError(
            f"could not {doing}: disk full,{wants} {_free_bytes(path)} bytes are free",
            file=str(path),
            hint="free some space or choose another output.path; the earlier output is untouched",
        )
    if error.errno in NO_PERMISSION:
        return StorageError(
            f"could not {doing}: {error.strerror}",
            file=str(path),
            hint="make the folder writable for this user, or choose another output.path",
        )
    hint = hint or "look after the disk or its server, and run again"
    return StorageError(f"could not {doing}: {error.strerror or error}", file=str(path), hint=hint)


def _free_bytes(path: Path) -> str:
    for folder in (path, *path.parents):
        if folder.exists():
            return f"{shutil.disk_usage(folder).free:,}"
    return "unknown"


def sync_file(path: Path) -> None:
    """Have the content of a file reach the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Have the names in a folder reach the disk, where the file system supports that."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet, and have it reach the disk."""
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def whole_file(path: str | os.PathLike[str], *, sync: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes the name `path` in one step, once all of it is written.

    Two processes that write it at a time leave the file of one of them, whole.

    Parameters
    ----------
    path
        A file of this name is replaced: readers see the old one or the new one.
    sync
        Have the content reach the disk before the file takes its name.

    Raises
    ------
    OSError
        The folder cannot be written to, or is full. It names `path`, as NumPy's own does not.
    """
    # Workers in containers may have the same process id.
    attempt = f"{os.fspath(path)}.{secrets.token_hex(8)}.tmp"
    try:
        with open(attempt, "xb") as stream:
            yield stream
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(attempt, path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = os.fspath(path)
        with suppress(OSError):
            os.remove(attempt)
        raise


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step, and have file and name reach the disk."""
    with whole_file(path, sync=True) as stream:
        stream.write(content)
    sync_folder(path.parent)


def rename_durably(source: Path, target: Path) -> None:
    """Rename a file or folder within a file system, and have the new name reach the disk."""
    os.replace(source, target)
    sync_folder(target.parent)


def to_json(value: Any) -> bytes:
    """Return `value` as indented UTF-8 JSON with a final newline."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def canonical_json(value: Any) -> bytes:
    """Return the one spelling of a JSON value that hashes are made of.

    Raises
    ------
    TypeError, ValueError
        `value` is not made of JSON types only, or holds NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def seal(content: Mapping[str, Any]) -> bytes:
    """Return `content` as JSON that carries the hash of itself; see `unseal`."""
    return to_json({**content, SEAL: hashlib.sha256(canonical_json(content)).hexdigest()})


def unseal(text: bytes) -> dict[str, Any]:
    """Return the content that `seal` wrote.

    Raises
    ------
    ValueError
        It is not JSON, not sealed, or was changed since; the message is the reason.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(content, dict) or SEAL not in content:
        raise ValueError("it is not a file of ssl_dask")
    written = content.pop(SEAL)
    if written != hashlib.sha256(canonical_json(content)).hexdigest():
        raise ValueError("its own hash differs")
    return content


def hash_file(path: Path) -> tuple[int, str]:
    """Return (bytes, SHA-256) of a file, reading it once in chunks of 1 MiB."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def record_file(folder: Path, name: str) -> FileRecord:
    """Return the record of the file `name` in `folder`; reads it once."""
    return FileRecord(name, *hash_file(folder / name))


def damage_of(folder: Path, record: FileRecord) -> str | None:
    """Return what is wrong with a file, or None if it agrees with `record`; reads it once."""
    path = folder / record.path
    try:
        size = path.stat().st_size
        if size != record.bytes:
            return f"holds {size:,} bytes, not the {record.bytes:,} that were written"
        if hash_file(path)[1] != record.sha256:
            return "its content is not what was written (SHA-256 differs)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None


def check_plain_name(name: str) -> str:
    """Return `name` if it is a plain file name: letters, digits, `_`, `-` and inner dots.

    Raises
    ------
    ValueError
        It is not, so it might lead out of its folder.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain file name")
    return name


def remove_tree(path: Path, report: Callable[[str], None]) -> None:
    """Remove a folder and all in it; `report` is called for what cannot be removed."""

    def tell(function: Any, where: str, error: BaseException) -> None:
        if not isinstance(error, FileNotFoundError):
            report(f"could not remove {where}: {error}")

    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=tell)
    else:
        shutil.rmtree(path, onerror=lambda function, where, info: tell(function, where, info[1]))
