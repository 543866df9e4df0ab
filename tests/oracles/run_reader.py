"""Reads a finished run as any reader would, and checks that it is whole: of one run, all of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pyarrow.parquet as pq


class Torn(AssertionError):
    """What a reader finds is not one whole run."""


def latest_folder(out: Path) -> Path:
    """Return the folder that `latest` names; check that `latest.json` names a run that exists."""
    if (out / "latest.json").exists():
        pointer = json.loads((out / "latest.json").read_text())
        if not (out / pointer["path"] / "manifest.json").is_file():
            raise Torn("latest.json points to nothing")
    return out / os.readlink(out / "latest")


def read_latest(out: Path, n_rows: int) -> str:
    """Return the one label of all rows of the latest run."""
    return read_run(latest_folder(out), n_rows)


def read_run(folder: Path, n_rows: int) -> str:
    """Return the one label of all rows of a run, after checking every part against the manifest."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise Torn(f"manifest: {error}") from error
    expected = [part["name"] for part in manifest["parts"] if part["folder"] == "labels"]
    found = sorted(path.name for path in (folder / "labels").glob("*"))
    if found != expected:
        raise Torn(f"parts {found}, not {expected}")
    ids: list[int] = []
    labels: set[str] = set()
    for part in manifest["parts"]:
        path = folder / part["folder"] / part["name"]
        if hashlib.sha256(path.read_bytes()).hexdigest() != part["sha256"]:
            raise Torn(f"{path.name} is not what the manifest says")
        table = pq.read_table(path, partitioning=None)
        ids += table["id"].to_pylist()
        labels |= set(table["label"].to_pylist())
    if ids != list(range(n_rows)) or len(labels) != 1:
        raise Torn(f"{len(ids)} rows, labels {labels}")
    return labels.pop()
