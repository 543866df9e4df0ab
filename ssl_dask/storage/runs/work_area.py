"""The folder `.work` of an output: a run is put together there, out of the reach of its tasks."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_dask.durable_files import (
    FileRecord,
    check_plain_name,
    record_file,
    remove_tree,
    sync_folder,
    write_new,
)
from ssl_dask.errors import StorageError
from ssl_dask.storage.runs.checkpoint import has_checkpoints
from ssl_dask.storage.runs.manifest import (
    LABELS_FOLDER,
    MANIFEST_NAME,
    PART_FOLDERS,
    RUN_ID,
    PartRecord,
)

WORK = ".work"
CHECKPOINTS = "checkpoints"
STAGE = "stage"
TRASH_PREFIX = "trash-"


class WorkArea:
    """Working folders of the runs of one output; only the holder of the output's lock uses it.

    Parameters
    ----------
    root
        The output folder.
    notes
        Receives a sentence for each thing that could not be removed: that stops no run.
    """

    def __init__(self, root: Path, notes: list[str]) -> None:
        self.path = root / WORK
        self._notes = notes

    def prepare(self) -> None:
        """Make the folder, open to its owner only."""
        self.path.mkdir(mode=0o700, exist_ok=True)

    def start(self, run_id: str) -> None:
        """Make the working folder of a run with its staging folders."""
        work = self.path / run_id
        work.mkdir(mode=0o700, exist_ok=True)
        for folder in PART_FOLDERS:
            (work / STAGE / folder).mkdir(parents=True)
        # A file system without links is found out now, not after hours of computing.
        probe = work / "probe"
        probe.symlink_to(STAGE)
        probe.unlink()
        sync_folder(self.path)

    def runs(self) -> list[Path]:
        """Return the working folders of all runs, newest first."""
        return sorted((path for path in self.path.iterdir() if is_run(path)), reverse=True)

    def clear(self, *, keep_all_checkpoints: bool) -> None:
        """Remove what dead runs left, but for the newest with checkpoints, or all with them."""
        for path in self.path.glob(f"{TRASH_PREFIX}*"):
            self._remove(path)
        kept = 0
        for folder in self.runs():
            if has_checkpoints(folder / CHECKPOINTS) and (keep_all_checkpoints or kept == 0):
                kept += 1
                self.drop_staging(folder)
            else:
                self.discard(folder)

    def leave(self, work: Path) -> None:
        """Clear after a run that ends without a commit: checkpoints stay, all else goes."""
        if not work.is_dir():
            return
        if has_checkpoints(work / CHECKPOINTS):
            self.drop_staging(work)
        else:
            self.discard(work)

    def drop_staging(self, work: Path) -> None:
        """Remove all but the checkpoints from a run's working folder."""
        for path in work.iterdir():
            if path.name != CHECKPOINTS:
                self.discard(path)

    def discard(self, path: Path) -> None:
        """Remove a folder or file of this output, or note why it stays."""
        # Renamed first, so that a kill half-way leaves no half of a run under a run's name.
        trash = self.new_name()
        try:
            os.rename(path, trash)
            self._remove(trash)
        except OSError as error:
            self._notes.append(f"could not remove {path}: {error.strerror or error}")

    def new_name(self) -> Path:
        """Return a fresh path that the next run clears away if it is still there."""
        return self.path / f"{TRASH_PREFIX}{secrets.token_hex(8)}"

    def _remove(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path, self._notes.append)
        else:
            path.unlink()


def is_run(path: Path) -> bool:
    """Return whether a folder carries the name of a run."""
    return RUN_ID.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def check_parts(parts: Sequence[PartRecord], expected_rows: int) -> list[PartRecord]:
    """Return the parts in order, after a check that they are all there and add up.

    Raises
    ------
    StorageError
        A part is missing or comes twice, or the rows of `labels` are not `expected_rows`.
    """
    ordered = sorted(parts, key=lambda part: (part.folder, part.block))
    for folder, count in Counter(part.folder for part in ordered).items():
        if folder not in PART_FOLDERS:
            raise ValueError(f"{folder!r} is not one of {', '.join(PART_FOLDERS)}")
        blocks = [part.block for part in ordered if part.folder == folder]
        if blocks != list(range(count)):
            text = f"the {count} parts of {folder} are not blocks 0 to {count - 1}"
            raise StorageError(text, hint="run the job again")
    rows = sum(part.rows for part in ordered if part.folder == LABELS_FOLDER)
    if rows != expected_rows:
        raise StorageError(
            f"the parts hold {rows:,} rows, but the input has {expected_rows:,}",
            hint="run the job again",
        )
    return ordered


def gather_parts(stage: Path, target: Path, parts: Sequence[PartRecord]) -> None:
    """Move the files that `parts` name from `stage` to `target`, under their final names.

    Raises
    ------
    StorageError
        A file is not there, or has not the size that the task reported.
    """
    for folder in sorted({LABELS_FOLDER, *(part.folder for part in parts)}):
        (target / folder).mkdir(parents=True)
    for part in parts:
        source = stage / part.folder / check_plain_name(part.attempt)
        try:
            size = source.stat().st_size
            os.rename(source, target / part.folder / check_plain_name(part.name))
        except FileNotFoundError as error:
            raise StorageError(
                f"part {part.block} was written by a worker but is not here",
                file=str(source),
                hint="output.path must be on a file system that the client and all workers share",
            ) from error
        if size != part.bytes:
            raise StorageError(
                f"part {part.block} holds {size:,} bytes, not the {part.bytes:,} that were written",
                file=str(source),
                hint="run the job again",
            )
    for path in target.iterdir():
        sync_folder(path)


def write_reports(target: Path, files: Mapping[str, bytes]) -> list[FileRecord]:
    """Write the further files of a run into `target` and return their records.

    Pages get none: they are made from the other files and may be made again, by another version.
    """
    for name, content in files.items():
        if check_plain_name(name) in (MANIFEST_NAME, *PART_FOLDERS):
            raise ValueError(f"{name} is a name that the run needs for itself")
        write_new(target / name, content)
    return [record_file(target, name) for name in files if not name.endswith(".html")]
