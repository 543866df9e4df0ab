"""Intermediate results that a later run may continue from, whole and checked or not used at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.durable_files import (
    FileRecord,
    check_plain_name,
    damage_of,
    record_file,
    remove_tree,
    rename_durably,
    replace_file,
    seal,
    storage_errors,
    sync_file,
    sync_folder,
    unseal,
    whole_file,
    write_new,
)
from ssl_dask.errors import ResumeMismatchError
from ssl_dask.execution import Execution
from ssl_dask.storage.runs.manifest import Fingerprint

CHECKPOINT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
COMMITTED = re.compile(r"([a-z][a-z0-9_]*)-(\d{6})")
CONTENT_NAME = "checkpoint.json"
FINGERPRINT_NAME = "fingerprint.json"
KEPT_OF_A_NAME = 2

Report = Callable[[str], None]
"""Called with one sentence for the log of the run."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files were checked."""

    folder: Path
    """Where its files are."""
    meta: Mapping[str, Any]
    """What was stored with it: JSON types."""


class Checkpoints:
    """The checkpoints of one run, by name; the last two of each name are kept.

    Parameters
    ----------
    folder
        Where they are kept; made if missing.
    fingerprint
        What they belong to.
    report
        Told when a damaged checkpoint is set aside, or an old one cannot be removed.
    execution
        Where the hashing of files runs, one task a file; None: in threads of this process. The
        folder must then be reachable from the workers.
    tables
        Kept beside them for `stored_tables`: the versions of tables that the run reads.

    Raises
    ------
    ResumeMismatchError
        The folder holds checkpoints of something else; the error names what differs.
    StorageError
        The folder cannot be made or written.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: Fingerprint,
        *,
        report: Report,
        execution: Execution | None = None,
        tables: Sequence[int | str | None] = (),
    ) -> None:
        self.folder = folder
        self._fingerprint = fingerprint
        self._report = report
        self._execution = execution or Execution()
        stored = stored_fingerprint(folder)
        if stored is not None and stored != fingerprint:
            raise mismatch(folder, stored, fingerprint)
        with storage_errors("make the folder of checkpoints", folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stored is None:
                content = {**fingerprint.as_dict(), "tables": list(tables)}
                replace_file(folder / FINGERPRINT_NAME, seal(content))

    def new(self, name: str) -> Path:
        """Return a fresh folder to fill with the files of a checkpoint called `name`.

        Raises
        ------
        StorageError
            It cannot be made.
        """
        _check_name(name)
        folder = self.folder / f"{name}.{secrets.token_hex(8)}.unfinished"
        with storage_errors("start a checkpoint", self.folder):
            folder.mkdir(mode=0o700)
        return folder

    def commit(self, name: str, folder: Path, meta: Mapping[str, Any]) -> Checkpoint:
        """Make a filled folder the newest checkpoint called `name`, and drop all but the last two.

        Parameters
        ----------
        name
            As given to `new`.
        folder
            From `new`, with all its files written.
        meta
            JSON types, returned by `find`.

        Raises
        ------
        StorageError
            Disk full or no permission; the checkpoints before this one stay.

        Notes
        -----
        Reads every file once, to hash it, in one task a file.
        """
        _check_name(name)
        if folder.parent != self.folder:
            raise ValueError(f"{folder} was not made by new({name!r})")
        with storage_errors("write a checkpoint", folder):
            names = _files_in(folder)
            hashing = delayed(partial(_sync_and_record, folder), pure=False)
            records = self._execution.compute([hashing(n) for n in names], "checkpoint")
            content = {
                "name": name,
                "fingerprint": self._fingerprint.total,
                "meta": dict(meta),
                "files": [asdict(record) for record in records],
            }
            write_new(folder / CONTENT_NAME, seal(content))
            for inner in {(folder / n).parent for n in names} | {folder}:
                sync_folder(inner)
            target = self.folder / f"{name}-{self._next_number(name):06d}"
            rename_durably(folder, target)
        for old in self._committed(name)[KEPT_OF_A_NAME:]:
            self._discard(old)
        return Checkpoint(target, dict(meta))

    def find(self, name: str) -> Checkpoint | None:
        """Return the newest intact checkpoint called `name`, or None.

        A damaged one is renamed, reported, and never used; the one before it is tried then. Costs
        one reading of its files, in one task a file.
        """
        _check_name(name)
        for folder in self._committed(name):
            damage, meta = self._inspect(folder)
            if damage is None:
                return Checkpoint(folder, meta)
            aside = self.folder / f"{folder.name}.{secrets.token_hex(4)}.damaged"
            with storage_errors("set a damaged checkpoint aside", folder):
                os.rename(folder, aside)
            self._report(f"checkpoint {folder.name} is damaged and not used: {damage}")
        return None

    def _inspect(self, folder: Path) -> tuple[str | None, dict[str, Any]]:
        try:
            content = unseal((folder / CONTENT_NAME).read_bytes())
        except (OSError, ValueError) as error:
            return f"{CONTENT_NAME} cannot be used: {error}", {}
        if content["fingerprint"] != self._fingerprint.total:
            return "it belongs to another job", {}
        records = [FileRecord(**record) for record in content["files"]]
        check = delayed(partial(damage_of, folder), pure=False)
        found = self._execution.compute([check(record) for record in records], "checkpoint")
        for record, damage in zip(records, found, strict=True):
            if damage is not None:
                return f"{record.path} {damage}", {}
        return None, content["meta"]

    def _committed(self, name: str) -> list[Path]:
        """Return the folders of committed checkpoints called `name`, newest first."""
        found = [
            path
            for path in self.folder.iterdir()
            if (match := COMMITTED.fullmatch(path.name)) and match[1] == name
        ]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def _next_number(self, name: str) -> int:
        newest = self._committed(name)[:1]
        return 1 + max((int(path.name.rpartition("-")[2]) for path in newest), default=0)

    def _discard(self, folder: Path) -> None:
        # Renamed first: a kill half-way through must not leave a committed name with files missing.
        doomed = self.folder / f"{folder.name}.{secrets.token_hex(4)}.unfinished"
        with storage_errors("remove an old checkpoint", folder):
            os.rename(folder, doomed)
        remove_tree(doomed, self._report)


def save_block(folder: Path, index: int, array: npt.NDArray[Any], *, kind: str = "block") -> None:
    """Write block number `index` of a checkpoint as .npy without pickle; for tasks on workers.

    Parameters
    ----------
    folder
        From `Checkpoints.new`.
    index
        Number of the block, from 0.
    array
        Any numeric array.
    kind
        Tells several lists of blocks in one checkpoint apart.

    Raises
    ------
    ValueError
        The array holds Python objects.
    StorageError
        Disk full, no permission, or the folder is not reachable from this machine.
    """
    path = block_path(folder, index, kind)
    with (
        storage_errors("write a checkpoint", folder, needed=array.nbytes),
        whole_file(path, sync=True) as stream,
    ):
        np.save(stream, array, allow_pickle=False)


def load_block(folder: Path, index: int, *, kind: str = "block") -> npt.NDArray[Any]:
    """Read what `save_block` wrote; for tasks on workers.

    Raises
    ------
    StorageError
        The file is missing or not reachable from this machine.
    ValueError
        The file holds pickled objects, which are never loaded.
    """
    path = block_path(folder, index, kind)
    with storage_errors("read a checkpoint", path):
        return np.load(path, allow_pickle=False)


def block_path(folder: Path, index: int, kind: str = "block") -> Path:
    """Return where `save_block` puts block number `index`."""
    _check_name(kind)
    return folder / f"{kind}-{index:05d}.npy"


def stored_fingerprint(folder: Path) -> Fingerprint | None:
    """Return what the checkpoints in `folder` belong to, or None if that is unknown."""
    try:
        return Fingerprint.from_dict(unseal((folder / FINGERPRINT_NAME).read_bytes()))
    except (OSError, ValueError):
        # Nothing that lacks a readable fingerprint is ever continued.
        return None


def stored_tables(folder: Path) -> list[int | str | None]:
    """Return the versions of tables that the run of the checkpoints in `folder` read."""
    try:
        return list(unseal((folder / FINGERPRINT_NAME).read_bytes()).get("tables", ()))
    except (OSError, ValueError):
        return []


def has_checkpoints(folder: Path) -> bool:
    """Return whether `folder` has a committed checkpoint and the fingerprint of its job."""
    if stored_fingerprint(folder) is None:
        return False
    return any(COMMITTED.fullmatch(path.name) for path in folder.iterdir())


def mismatch(folder: Path, stored: Fingerprint, wanted: Fingerprint) -> ResumeMismatchError:
    """Return the error that names the fields in which checkpoints and job differ."""
    differing = wanted.differing_fields(stored)
    return ResumeMismatchError(
        f"the checkpoints are of another job: {', '.join(differing)} changed since",
        file=str(folder),
        hint="run without --resume to start anew, or undo the change",
    )


def _check_name(name: str) -> None:
    if not CHECKPOINT_NAME.fullmatch(name):
        raise ValueError(f"a checkpoint's name is lower case letters, digits and _, not {name!r}")


def _files_in(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"{path} is a link; a checkpoint holds its files itself")
        if path.name.endswith(".tmp"):
            # Left by an attempt that was killed; another attempt of the same task took its place.
            path.unlink()
        elif path.is_file():
            for step in path.relative_to(folder).parts:
                check_plain_name(step)
            found.append(path.relative_to(folder).as_posix())
    return found


def _sync_and_record(folder: Path, name: str) -> FileRecord:
    sync_file(folder / name)
    return record_file(folder, name)
