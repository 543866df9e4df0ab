"""Putting a run together from the files that tasks wrote, out of the reach of those tasks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_dask.errors import StorageError
from ssl_dask.storage.files.durable_files import (
    FileRecord,
    check_plain_name,
    record_file,
    sync_folder,
    write_new,
)
from ssl_dask.storage.runs.manifest import LABELS_FOLDER, MANIFEST_NAME, PART_FOLDERS, PartRecord


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
            raise StorageError(f"the {count} parts of {folder} are not blocks 0 to {count - 1}")
    rows = sum(part.rows for part in ordered if part.folder == LABELS_FOLDER)
    if rows != expected_rows:
        raise StorageError(f"the parts hold {rows:,} rows, but the input has {expected_rows:,}")
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
