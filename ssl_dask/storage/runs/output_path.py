"""Where an output may be: never over the input, never over a folder that is not ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ssl_dask.durable_files import (
    replace_file,
    seal,
    storage_errors,
    unseal,
)
from ssl_dask.errors import JobSpecError, StorageError
from ssl_dask.storage.files.output_lock import LOCK_NAME

MARKER_NAME = ".ssl_dask_output"
MARKER_FORMAT = "ssl_dask output"
MARKER_VERSION = 1
# A `Path` made of "s3://bucket" has one slash left.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def check_output_path(path: str | Path, inputs: Iterable[Path]) -> Path:
    """Return the real path of an output folder; refuse one that may not be there; make nothing.

    Parameters
    ----------
    path
        The output folder; neither it nor the folders above it need exist.
    inputs
        Local files and folders that are read.

    Raises
    ------
    JobSpecError
        It is a URL, or it is the same as, inside or above an input, also through links.
    StorageError
        It cannot be made or written to; it is a file; or it holds things that are not ours.
    """
    refuse_url(path, "output.path")
    if "\0" in str(path):
        raise JobSpecError("output.path holds a NUL character", hint="remove it")
    output = Path(os.path.realpath(path))
    for given in inputs:
        _refuse_overlap(output, Path(os.path.realpath(given)))
    with storage_errors("look into the output folder", output):
        if output.exists():
            _refuse_foreign(output)
        else:
            _refuse_parent(Path(os.path.abspath(path)), output)
    return output


def refuse_url(path: str | Path, what: str) -> None:
    """Refuse a URL where something is written or a run is read; `what` names it in the message.

    Raises
    ------
    JobSpecError
        It is a URL. As a path it would make a folder `s3:` here.
    """
    if URL.match(str(path)):
        raise JobSpecError(
            f"{what} is a URL: {str(path).split(':')[0]}://...",
            hint="outputs are folders on a local or shared disk; copy the finished run from there",
        )


def mark_as_ours(output: Path) -> None:
    """Write the marker file by which a later run knows that the folder is an output."""
    marker = output / MARKER_NAME
    if not marker.exists():
        replace_file(marker, seal({"format": MARKER_FORMAT, "format_version": MARKER_VERSION}))


def _refuse_overlap(output: Path, given: Path) -> None:
    if _is_inside(output, given):
        how = "is the same as" if _is_same(output, given) else "is inside"
    elif _is_inside(given, output):
        how = "is above"
    else:
        return
    raise JobSpecError(
        f"the output {output} {how} the input {given}",
        file=str(output),
        hint="choose an output.path apart from the input",
    )


def _is_inside(inner: Path, outer: Path) -> bool:
    return any(_is_same(folder, outer) for folder in (inner, *inner.parents))


def _is_same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    # Two names may lead to one folder without a link: bind mounts, letters' case.
    return one.exists() and other.exists() and one.samefile(other)


def _refuse_parent(given: Path, output: Path) -> None:
    # Behind a link may lie a disk that is not mounted: nothing is made in its place.
    if dangling := [
        one for one in (given, *given.parents) if one.is_symlink() and not one.exists()
    ]:
        raise StorageError(
            "the output is a link, or lies behind one, to a folder that is missing",
            file=str(dangling[0]),
            hint="mount or make that folder, or choose another output.path",
        )
    there = next(folder for folder in output.parents if folder.exists())
    if not there.is_dir():
        raise StorageError(
            "the output is to lie in a file, which is no folder",
            file=str(there),
            hint="choose another output.path",
        )
    _refuse_read_only(there)


def _refuse_foreign(output: Path) -> None:
    if not output.is_dir():
        raise StorageError(
            "the output is a file, not a folder", file=str(output), hint="choose another name"
        )
    # Listed before the marker is looked for: another run may be writing it at this moment.
    foreign = [
        name
        for name in os.listdir(output)
        if name != LOCK_NAME and not name.startswith(MARKER_NAME)
    ]
    if (output / MARKER_NAME).exists():
        _refuse_newer(output / MARKER_NAME)
    elif foreign:
        raise StorageError(
            f"the output folder holds {len(foreign)} files or folders that ssl_dask did not make",
            file=str(output),
            hint="choose a new or empty folder as output.path",
        )
    for name in ("runs", ".work"):
        inner = output / name
        if inner.is_symlink() or (inner.exists() and not inner.is_dir()):
            raise StorageError(
                f"{name!r} in the output is not a folder of its own",
                file=str(inner),
                hint="remove it; to move an output to another disk, make output.path itself a link",
            )
    if (output / "latest").exists() and not (output / "latest").is_symlink():
        raise StorageError(
            "'latest' in the output is not a link", file=str(output / "latest"), hint="remove it"
        )
    _refuse_read_only(output)


def _refuse_newer(marker: Path) -> None:
    try:
        content = unseal(marker.read_bytes())
    except ValueError as error:
        raise StorageError(
            f"the output's marker file is damaged: {error}",
            file=str(marker),
            hint=f"if the folder is an output of ssl_dask, remove {MARKER_NAME} and its content",
        ) from error
    if content.get("format_version") != MARKER_VERSION:
        raise StorageError(
            f"the output has format version {content.get('format_version')}, not {MARKER_VERSION}",
            file=str(marker.parent),
            hint="use the version of ssl_dask that made it, or choose another output.path",
        )


def _refuse_read_only(folder: Path) -> None:
    effective = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        raise StorageError(
            "no permission to write here",
            file=str(folder),
            hint="make the folder writable for this user, or choose another output.path",
        )
