"""Which rows the review lists of an output have proposed, run after run, and not at random.

Answers to them come back as seeds. They were chosen by their score, so they are no fair sample of
the rows of their class: what is told from seeds leaves them out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_dask.array_types import Int64
from ssl_dask.durable_files import replace_file, seal, storage_errors, unseal
from ssl_dask.errors import StorageError
from ssl_dask.storage.runs.output_path import MARKER_NAME

REVIEWED_NAME = f"{MARKER_NAME}.reviewed"
REVIEWED_FORMAT = "ssl_dask reviewed rows"


def reviewed_rows(root: Path) -> Int64:
    """Return the tags of the rows that were proposed, int64, ascending.

    Raises
    ------
    StorageError
        The file that remembers them is damaged or cannot be read.
    """
    path = root / REVIEWED_NAME
    if not path.exists():
        return np.empty(0, dtype=np.int64)
    with storage_errors("read which rows were reviewed", path):
        content = path.read_bytes()
    try:
        return np.array(unseal(content)["tags"], dtype=np.int64)
    except (ValueError, KeyError, OverflowError) as error:
        raise StorageError(
            f"it does not say which rows were reviewed: {error}",
            file=str(path),
            hint="restore it; without it, seeds that review lists proposed are taken for a fair"
            " sample of their class",
        ) from error


def remember_reviewed(root: Path, tags: Int64) -> None:
    """Add rows by their tags, int64 (m,); in one step, 20 bytes a row that was ever proposed."""
    if len(tags):
        known = np.union1d(reviewed_rows(root), tags)
        replace_file(
            root / REVIEWED_NAME, seal({"format": REVIEWED_FORMAT, "tags": known.tolist()})
        )
