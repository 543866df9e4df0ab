"""Which rows the review lists of an output have proposed, run after run.

Answers to them come back as seeds. Those that were chosen by their score are no fair sample of the
rows of their class: what is told from seeds leaves them out. Those that were drawn at random are a
sample of all rows, whatever their class.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_dask.array_types import Bool, Int64
from ssl_dask.durable_files import replace_file, seal, storage_errors, unseal
from ssl_dask.errors import StorageError
from ssl_dask.storage.runs.output_path import MARKER_NAME

REVIEWED_NAME = f"{MARKER_NAME}.reviewed"
REVIEWED_FORMAT = "ssl_dask reviewed rows"


class ReviewedRows(NamedTuple):
    """Tags of rows that were proposed, int64 each, ascending; each in one of both."""

    chosen: Int64
    """By their score."""
    random: Int64
    """At random, and never by their score."""


def reviewed_rows(root: Path) -> ReviewedRows:
    """Return the rows that were proposed.

    Raises
    ------
    StorageError
        The file that remembers them is damaged or cannot be read.
    """
    path = root / REVIEWED_NAME
    if not path.exists():
        return ReviewedRows(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    with storage_errors("read which rows were reviewed", path):
        content = path.read_bytes()
    try:
        found = unseal(content)
        lists = found["tags"], found["random"]
        return ReviewedRows(*(np.array(one, dtype=np.int64) for one in lists))
    except (ValueError, KeyError, OverflowError) as error:
        raise StorageError(
            f"it does not say which rows were reviewed: {error}",
            file=str(path),
            hint="restore it; without it, seeds that review lists proposed are taken for a fair"
            " sample of their class",
        ) from error


def remember_reviewed(root: Path, tags: Int64, at_random: Bool) -> None:
    """Add rows by their tags, int64 (m,), and whether they were drawn at random, bool (m,).

    In one step; 20 bytes a row that was ever proposed.
    """
    if not len(tags):
        return
    known = reviewed_rows(root)
    chosen = np.union1d(known.chosen, tags[~at_random])
    random = np.setdiff1d(np.union1d(known.random, tags[at_random]), chosen)
    content = {"format": REVIEWED_FORMAT, "tags": chosen.tolist(), "random": random.tolist()}
    replace_file(root / REVIEWED_NAME, seal(content))
