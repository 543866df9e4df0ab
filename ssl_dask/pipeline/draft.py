"""`ssl-dask init`: a first draft of a job file, from the columns that are there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ssl_dask.errors import JobSpecError
from ssl_dask.storage.column_profile import ColumnProfile, profile_columns
from ssl_dask.storage.dataset import Dataset
from ssl_dask.storage.durable_files import storage_errors

LABEL_NAME = re.compile(
    r"(^|_)(labels?|class|truth|target|outcome|y|fraud|spam|attack|anomaly)($|_)", re.I
)
ID_NAME = re.compile(r"(^|_)(id|key|uuid|guid)$|^(id|key|uuid)(_|$)", re.I)
MAX_CLASSES = 1_000
FEW_CATEGORIES = 256
TEXT_LENGTH = 20.0


def draft_job(data: str, *, relative_to: Path) -> str:
    """Return a commented job file for the columns found in `data`.

    Parameters
    ----------
    data
        Parquet file, folder, glob or URL; relative to the working folder.
    relative_to
        Folder that the job file will stand in.

    Raises
    ------
    InputDataError
        Nothing usable is there.
    """
    dataset = Dataset.open(data, base=Path.cwd())
    profiles = profile_columns(dataset)
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(data.rstrip("/")).stem).strip("-") or "job"
    path = data if "://" in data else os.path.relpath(Path.cwd() / data, relative_to)
    label = _guess_label(profiles)
    row_id = _guess_id(profiles, label)
    lines = [
        f"# A job for {dataset.n_rows:,} rows in {len(dataset.files):,} file(s), drafted from their"
        " columns. Check each line.",
        f"# ssl-dask validate {name}.yaml, then plan, then run. `ssl-dask schema` lists every key.",
        f"name: {name}",
        "input:",
        f"  path: {_yaml(path)}",
        _id_line(row_id),
        *_label_lines(label),
        "  # truth: COLUMN            # true classes: score a benchmark, never learned from",
        "features:                     # groups of columns; none may hold the answer",
        *_feature_lines(profiles, {name for name in (row_id, label) if name}),
        "graph: {n_neighbors: 15}      # metric: cosine for texts and embeddings",
        "method: {name: label_spreading, alpha: 0.9}   # alpha 0.99 for one to five labels a class",
        "# decision: {min_probability: 0.8}            # refuse below it",
        f"output: {{path: out-{name}}}",
        "cluster: {kind: local}        # workers: 2, memory: 2GiB; or kind: address, address: tcp://...",
    ]
    return "\n".join(lines) + "\n"


def write_draft(text: str, path: Path, *, force: bool) -> None:
    """Write a job file; an existing one is kept, unless `force` is given.

    Raises
    ------
    JobSpecError
        The file exists.
    StorageError
        It cannot be written.
    """
    with storage_errors("write the job file", path):
        if path.exists() and not force:
            raise JobSpecError(
                "exists already", file=str(path), hint="choose another name, or --force"
            )
        path.write_text(text, encoding="utf-8")


def _guess_label(profiles: Sequence[ColumnProfile]) -> str | None:
    """Return the column that looks most like labels: named so, few values, some nulls."""
    possible = [
        one
        for one in profiles
        if one.kind in ("numeric", "string", "bool")
        and not one.type.startswith(("float", "double", "halffloat"))
        and 1 <= one.n_distinct <= MAX_CLASSES
        and not one.unique
    ]
    named = [one for one in possible if LABEL_NAME.search(one.name)]
    best = max(named, key=lambda one: one.null_share, default=None)
    return None if best is None else best.name


def _guess_id(profiles: Sequence[ColumnProfile], label: str | None) -> str | None:
    possible = [
        one
        for one in profiles
        if one.unique
        and one.null_share == 0
        and one.name != label
        and (one.kind == "string" or one.type.startswith(("int", "uint")))
    ]
    named = [one for one in possible if ID_NAME.search(one.name)]
    return next((one.name for one in [*named, *possible]), None)


def _id_line(row_id: str | None) -> str:
    if row_id is None:
        return "  # id: COLUMN               # no column looked like an id: rows are numbered"
    return f"  id: {_yaml(row_id)}"


def _label_lines(label: str | None) -> list[str]:
    if label is None:
        return [
            "  # No column looked like labels. Name one (null = unlabelled):",
            "  # label: COLUMN",
            "  # or give a file of ids and labels:",
            "  labels: {path: labels.csv, id: id, label: label}",
        ]
    return [f"  label: {_yaml(label)}          # null = unlabelled; or labels: {{path, id, label}}"]


def _feature_lines(profiles: Sequence[ColumnProfile], left_out: set[str]) -> list[str]:
    rest = [one for one in profiles if one.name not in left_out]
    answers = [one for one in rest if LABEL_NAME.search(one.name)]
    rest = [one for one in rest if one not in answers]
    numeric = [one for one in rest if one.kind in ("numeric", "bool")]
    texts = [one for one in rest if one.kind == "string"]
    long = [one for one in texts if _is_text(one)]
    few = [one for one in texts if not _is_text(one) and one.n_distinct <= FEW_CATEGORIES]
    many = [one for one in texts if not _is_text(one) and one.n_distinct > FEW_CATEGORIES]
    vectors = [one for one in rest if one.kind == "vector"]
    groups: list[tuple[str, str]] = []
    if numeric:
        missing = ", missing: mean" if any(one.null_share for one in numeric) else ""
        groups.append(("numbers", f"numeric: {_names(numeric)}{missing}"))
    if few:
        groups.append(("kinds", f"categorical: {_names(few)}"))
    if many:
        groups.append(("names", f"categorical: {_names(many)}, encoding: hash"))
    for one in long:
        missing = ", missing: empty" if one.null_share else ""
        groups.append((_group_name(one.name), f"text: {_yaml(one.name)}{missing}"))
    groups += [(_group_name(one.name), f"vector: {_yaml(one.name)}") for one in vectors]
    taken: set[str] = set()
    lines = []
    for name, content in groups:
        free = next(n for n in (name, *(f"{name}_{i}" for i in range(2, 10_000))) if n not in taken)
        taken.add(free)
        lines.append(f"  {free}: {{{content}}}")
    known = {one.name for one in [*numeric, *texts, *vectors]}
    lines += [
        f"  # {one.name}: looks like labels or the truth, so it is left out" for one in answers
    ]
    lines += [
        f"  # {one.name}: {one.type}, not usable as it is" for one in rest if one.name not in known
    ]
    return (
        lines if groups else ["  {}                          # no usable column was found", *lines]
    )


def _is_text(one: ColumnProfile) -> bool:
    return (
        one.mean_text_length is not None
        and one.mean_text_length >= TEXT_LENGTH
        and one.n_distinct > FEW_CATEGORIES
    )


def _names(profiles: Sequence[ColumnProfile]) -> str:
    return "[" + ", ".join(_yaml(one.name) for one in profiles) + "]"


def _group_name(column: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_") or "group"


def _yaml(text: str) -> str:
    """Return a YAML scalar; JSON strings are YAML strings."""
    plain = re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", text)
    word = text.lower() in ("true", "false", "null", "yes", "no", "on", "off")
    return text if plain and not word else json.dumps(text, ensure_ascii=False)
