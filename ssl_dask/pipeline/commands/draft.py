"""`ssl-dask init`: a first draft of a job file, from the columns that are there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ssl_dask.durable_files import storage_errors
from ssl_dask.errors import JobSpecError
from ssl_dask.storage.input.column_profile import ColumnProfile, columns_that_tell, profile_columns
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.labels.label_source import label_file_columns

LABEL_NAME = re.compile(
    r"(^|_)(labels?|class|truth|target|outcome|y|fraud|spam|attack|anomaly)($|_)", re.I
)
PLAIN_NAME = re.compile(r"labels?|class|truth|target", re.I)
ID_NAME = re.compile(r"(^|_)(id|key|uuid|guid)$|^(id|key|uuid)(_|$)", re.I)
MAX_CLASSES = 1_000
MOSTLY_EMPTY, FEW_LABELS = 0.8, 100
FLOATS = ("halffloat", "float", "double")
FEW_CATEGORIES = 256
TEXT_LENGTH = 20.0


def draft_job(data: str, *, relative_to: Path, labels: str | None = None) -> str:
    """Return a commented job file for the columns found in `data`.

    Parameters
    ----------
    data
        Parquet file, folder, glob or URL; relative to the working folder.
    relative_to
        Folder that the job file will stand in.
    labels
        File, folder, glob or URL of labels that are kept apart from the data.

    Raises
    ------
    InputDataError
        Nothing usable is there.
    """
    dataset = Dataset.open(data, base=Path.cwd())
    profiles = profile_columns(dataset)
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(data.rstrip("/")).stem).strip("-") or "job"
    label = _guess_label(profiles) if labels is None else None
    row_id = _guess_id(profiles, label)
    answers = {
        one.name: _why_left_out(one)
        for one in profiles
        if one.name not in (row_id, label) and _is_answer(one, label)
    }
    truth = min(
        (one.name for one in profiles if not _has_gaps(one) and one.name in answers),
        key=lambda name: not PLAIN_NAME.fullmatch(name),
        default=None,
    )
    answers |= _telling(dataset, profiles, truth or label, {row_id, label, *answers})
    keys = [one for one in profiles if one.name not in (row_id, label, *answers) and _is_key(one)]
    left_out = answers | {one.name: _why_no_feature(one) for one in keys}
    lines = [
        f"# A job for {dataset.n_rows:,} rows in {len(dataset.files):,} file(s), drafted from their"
        " columns. Check each line.",
        "# Next: ssl-dask validate, plan, run with this file. `ssl-dask schema` lists every key.",
        f"name: {name}",
        "input:",
        f"  path: {_yaml(_from(relative_to, data))}",
        _id_line(row_id),
        *(
            _label_lines(label, next((one.words for one in profiles if one.name == label), ()))
            if labels is None
            else _label_file_lines(labels, relative_to, row_id, {one.name for one in profiles})
        ),
        f"  # truth: {_yaml(truth) if truth else 'COLUMN'}            # true classes: only to"
        " score a benchmark, never learned from",
        "features:                     # groups of columns; none may hold the answer",
        *_feature_lines([one for one in profiles if one.name not in (row_id, label)], left_out),
        *_graph_lines([one for one in keys if not one.unique]),
        "method: {name: auto}          # several methods, weighed by hidden seeds; or one of them",
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


def _is_key(one: ColumnProfile) -> bool:
    """Return whether a column names things, such as a card: its numbers measure nothing."""
    whole = one.kind == "string" or one.type.startswith(("int", "uint"))
    return bool(ID_NAME.search(one.name)) and whole and one.n_distinct > 1


def _why_no_feature(one: ColumnProfile) -> str:
    return "names each row, so it tells nothing" if one.unique else "rows that share it are joined"


def _graph_lines(shared: Sequence[ColumnProfile]) -> list[str]:
    """Return the graph: near rows, and rows that share a key."""
    if not shared:
        return ["graph: {n_neighbors: 15}      # metric: cosine for texts and embeddings"]
    return [
        "graph:",
        "  parts:",
        "    - {n_neighbors: 15}       # near rows; metric: cosine for texts and embeddings",
        f"    - {{entities: {_names(shared)}}}   # rows that share a value",
    ]


def _may_be_labels(one: ColumnProfile) -> bool:
    """Return whether a column could hold labels: mostly empty with few values, or named so.

    Such a column is never a feature: better a feature too few than the answer among them.
    """
    if one.n_distinct == 0:
        # The few labels may all stand below the rows that were looked at.
        return one.null_share == 1 and one.kind in ("numeric", "bool", "string")
    if one.unique or one.n_distinct > MAX_CLASSES:
        return False
    sparse = one.null_share >= MOSTLY_EMPTY and one.n_distinct <= FEW_LABELS
    return bool(LABEL_NAME.search(one.name)) or (sparse and one.kind != "vector")


def _is_answer(one: ColumnProfile, label: str | None) -> bool:
    """Return whether a column could tell the label: one itself, or named with its words."""
    if one.name == label or one.unique or one.n_distinct > MAX_CLASSES:
        return False
    mine, its = (set(re.findall(r"[a-z0-9]+", name.lower())) for name in (one.name, label or ""))
    related = bool(mine and its) and one.n_distinct > 0 and (mine <= its or its <= mine)
    return _may_be_labels(one) or related


def _guess_label(profiles: Sequence[ColumnProfile]) -> str | None:
    """Return the column that looks most like labels of some rows; a complete one is the truth."""
    possible = [
        one
        for one in profiles
        if _may_be_labels(one) and _has_gaps(one) and (one.whole or one.type not in FLOATS)
    ]
    best = max(
        possible,
        key=lambda one: (
            bool(LABEL_NAME.search(one.name)),
            one.n_distinct > 0,
            one.null_share + one.word_share,
        ),
        default=None,
    )
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


def _has_gaps(one: ColumnProfile) -> bool:
    """Return whether rows have no value, or a word that stands for none."""
    return one.null_share + one.word_share > 0


def _label_lines(label: str | None, words: Sequence[str]) -> list[str]:
    if label is None:
        return [
            "  # No column looked like labels. Name one (null = unlabelled):",
            "  # label: COLUMN",
            "  # or give a file of ids and labels:",
            "  labels: {path: labels.csv, id: id, label: label}",
        ]
    lines = [
        f"  label: {_yaml(label)}          # null = unlabelled; or labels: {{path, id, label}}"
    ]
    if words:
        listed = ", ".join(map(_yaml, dict.fromkeys(word.strip() for word in words)))
        lines.append(
            f'  unlabelled: [{listed}]      # words that stand for "not known"; or classes'
        )
    return lines


def _label_file_lines(
    labels: str, relative_to: Path, row_id: str | None, columns: Collection[str]
) -> list[str]:
    """Return where the labels are: the id goes by its name, the label has few values."""
    names = label_file_columns(labels, Path.cwd())
    known = [name for name in names if name in columns]
    ids = [name for name in known if name == row_id or ID_NAME.search(name)]
    one_id = next(iter([*ids, *[name for name in names if ID_NAME.search(name)], *known]), None)
    label = min(
        (name for name in names if name != one_id),
        key=lambda name: (names[name] < 2, not LABEL_NAME.search(name), names[name]),
        default=None,
    )
    path = _yaml(_from(relative_to, labels))
    keys = {"path": path, "id": _yaml(one_id or "COLUMN"), "label": _yaml(label or "COLUMN")}
    if one_id in known and one_id != row_id:
        keys["by"] = _yaml(str(one_id))
    said = ", ".join(f"{key}: {value}" for key, value in keys.items())
    return [f"  labels: {{{said}}}   # its columns: {', '.join(names)}"]


def _from(folder: Path, path: str) -> str:
    return path if "://" in path else os.path.relpath(Path.cwd() / path, folder)


def _feature_lines(profiles: Sequence[ColumnProfile], answers: Mapping[str, str]) -> list[str]:
    """Return the groups of features, and in comments what is left out of them and why."""
    rest = [one for one in profiles if one.name not in answers]
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
    lines += [f"  # {name}: {why}" for name, why in answers.items()]
    lines += [
        f"  # {one.name}: {one.type}, not usable as it is" for one in rest if one.name not in known
    ]
    return (
        lines if groups else ["  {}                          # no usable column was found", *lines]
    )


def _telling(
    dataset: Dataset,
    profiles: Sequence[ColumnProfile],
    target: str | None,
    known: Collection[str | None],
) -> dict[str, str]:
    """Return the columns that tell the labels or the truth in other words, and that they do."""
    if target is None:
        return {}
    names = [
        one.name
        for one in profiles
        if one.name not in known and one.kind != "vector" and 1 < one.n_distinct <= MAX_CLASSES
    ]
    telling = columns_that_tell(dataset, names, target)
    why = f"each of its values goes with one value of {target}: it may hold the answer"
    return {name: why for name in names if name in telling}


def _why_left_out(one: ColumnProfile) -> str:
    if one.n_distinct == 0:
        return f"{one.type}, empty in the rows that were looked at: labels, if anything"
    if one.type in FLOATS and one.null_share > 0 and not one.whole:
        return (
            f"looks like labels, but is {one.type} and not whole: cast it to text, or name it as"
            " label with method harmonic_regression"
        )
    return "looks like labels or the truth, so it is left out"


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
