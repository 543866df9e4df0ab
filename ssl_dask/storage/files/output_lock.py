"""One run at a time for an output folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ssl_dask.durable_files import storage_errors
from ssl_dask.errors import OutputLockedError, StorageError

LOCK_NAME = ".lock"
HOLDER_WAIT_SECONDS = 1.0
HOLDER_POLL_SECONDS = 0.02
HOLDER_BYTES = 4096


@dataclass(frozen=True)
class LockHolder:
    """The run that holds an output."""

    run_id: str
    """Its run."""
    host: str
    pid: int
    """Where it runs."""
    started: str
    """When it took the lock, UTC, ISO 8601."""

    @classmethod
    def this_process(cls, run_id: str) -> LockHolder:
        """Return the holder that this process would be."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(run_id, socket.gethostname(), os.getpid(), now)

    def is_surely_dead(self) -> bool:
        """Return whether it ran on this host and its process is gone."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class OutputLock:
    """An advisory lock (`flock`) on the file `.lock` of an output folder.

    The kernel drops the lock when the holding process ends, however it ends, so a dead run never
    has to be cleared away by hand. The file itself stays: removing it would let two runs lock two
    different files of the same name. On a network file system the lock holds between machines
    only if that file system passes `flock` on to its server, as NFS 4 does.

    Parameters
    ----------
    folder
        The output folder; must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._handle: int | None = None

    def acquire(self, run_id: str) -> None:
        """Take the lock at once or not at all.

        Raises
        ------
        OutputLockedError
            Another run holds it; the message names that run, its host, process and start.
        StorageError
            The lock file cannot be opened, or the file system knows no locks.
        """
        while self._handle is None:
            with storage_errors("open the lock file", self.path):
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = os.open(self.path, flags, 0o666)
            try:
                self._lock(handle)
                if self._is_current(handle):
                    self._handle = handle
            finally:
                if self._handle is None:
                    os.close(handle)
        self.name_holder(run_id)

    def name_holder(self, run_id: str) -> None:
        """Write who holds the lock, for the message that a second run gets."""
        if self._handle is None:
            raise RuntimeError("the lock is not held")
        text = json.dumps(asdict(LockHolder.this_process(run_id))).encode()
        with storage_errors("write the lock file", self.path, needed=len(text)):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, text, 0)

    def release(self) -> None:
        """Give the lock back; does nothing if it is not held."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            os.ftruncate(handle, 0)
            fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._locked(handle) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            raise StorageError(
                "the file system of the output knows no file locks, so two runs could not be kept"
                " apart",
                file=str(self.path),
                hint="choose an output.path on a local disk or on NFS 4",
            ) from error

    def _is_current(self, handle: int) -> bool:
        """Return whether the locked file still is the one that the name leads to."""
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _locked(self, handle: int) -> OutputLockedError:
        holder = self._wait_for_holder(handle)
        if holder is None:
            who = "another run, which has not yet written its name"
        else:
            who = (
                f"run {holder.run_id} (process {holder.pid} on {holder.host}, since"
                f" {holder.started})"
            )
        return OutputLockedError(
            f"the output is held by {who}",
            file=str(self.path.parent),
            hint="wait until it ends, or choose another output.path",
        )

    def _wait_for_holder(self, handle: int) -> LockHolder | None:
        # The winner writes its name just after it got the lock; until then the file is empty or
        # names a run that died.
        give_up = time.monotonic() + HOLDER_WAIT_SECONDS
        while True:
            holder = _parse_holder(os.pread(handle, HOLDER_BYTES, 0))
            if holder is not None and not holder.is_surely_dead():
                return holder
            if time.monotonic() > give_up:
                return None
            time.sleep(HOLDER_POLL_SECONDS)


def _parse_holder(text: bytes) -> LockHolder | None:
    try:
        fields = json.loads(text)
        return LockHolder(
            str(fields["run_id"]), str(fields["host"]), int(fields["pid"]), str(fields["started"])
        )
    except (ValueError, KeyError, TypeError):
        return None
