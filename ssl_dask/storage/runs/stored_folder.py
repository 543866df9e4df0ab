"""A folder that appears whole or not at all, and replaces an older one of its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_dask.durable_files import rename_durably, storage_errors, sync_file, sync_folder, write_new
from ssl_dask.errors import StorageError
from ssl_dask.storage.files.output_lock import OutputLock


class StoredFolder:
    """Where the parts of a folder are put together; use `open`.

    Parameters
    ----------
    target
        The folder that is to be.
    staging
        Where its content is written first, on the same file system.
    """

    def __init__(self, target: Path, staging: Path) -> None:
        self.target, self.staging = target, staging
        self._committed = False

    @classmethod
    @contextmanager
    def open(cls, target: Path) -> Iterator[StoredFolder]:
        """Make the staging folder; what is not committed is removed at the end.

        What a killed process left behind is removed first.

        Raises
        ------
        OutputLockedError
            Another process writes the same folder.
        StorageError
            The place cannot be written, or something else than a folder stands there.
        """
        if target.exists() and not target.is_dir():
            raise StorageError(
                "a file stands where the folder is to be",
                file=str(target),
                hint="remove it, or choose another place",
            )
        work = target.parent / f".{target.name}.work"
        with storage_errors("make the folder", work):
            work.mkdir(parents=True, exist_ok=True)
        lock = OutputLock(work)
        lock.acquire(target.name)
        try:
            staging = work / "staging"
            shutil.rmtree(staging, ignore_errors=True)
            cls._put_back(target, work)
            with storage_errors("make the folder", staging):
                staging.mkdir()
            yield cls(target, staging)
        finally:
            shutil.rmtree(work / "staging", ignore_errors=True)
            lock.release()

    def new(self, name: str) -> Path:
        """Return a new folder within the one that is put together."""
        folder = self.staging / name
        with storage_errors("make the folder", folder):
            folder.mkdir()
        return folder

    def commit(self, name: str, content: bytes) -> None:
        """Write the last file, and put the folder in the place of what was there.

        Raises
        ------
        StorageError
            Disk full or no permission; what was there stays.
        """
        with storage_errors("write the folder", self.staging):
            for root, _, files in os.walk(self.staging):
                for file in files:
                    sync_file(Path(root, file))
                sync_folder(Path(root))
            write_new(self.staging / name, content)
            replaced = self.staging.parent / "replaced"
            if self.target.exists():
                os.rename(self.target, replaced)
            rename_durably(self.staging, self.target)
        shutil.rmtree(replaced, ignore_errors=True)

    @staticmethod
    def _put_back(target: Path, work: Path) -> None:
        """Mend what a process left that was killed between the two renames of `commit`."""
        replaced = work / "replaced"
        if replaced.exists() and not target.exists():
            os.rename(replaced, target)
        shutil.rmtree(replaced, ignore_errors=True)
