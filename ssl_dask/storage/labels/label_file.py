"""Labels kept in files of their own: Parquet, CSV or JSON with an id and a label a row."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import InputDataError, Problem, cautions
from ssl_dask.input_files import InputFiles
from ssl_dask.storage.files.file_listing import Listing, list_files
from ssl_dask.storage.input.arrow_to_numpy import id_array
from ssl_dask.storage.input.column_problems import column_problems, id_problems
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import (
    id_read_type,
    is_text,
)
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from ssl_dask.storage.labels.label_cells import as_whole, values_of_cells
from ssl_dask.storage.labels.label_places import LabelPlaces
from ssl_dask.storage.labels.label_rules import ANY_CLASSES, LabelRule, distinct_labels
from ssl_dask.storage.labels.label_source import bytes_of, holds_text, refuse_twice
from ssl_dask.storage.labels.label_text import (
    ENDINGS,
    cells_of_text,
    own_answers,
)
from ssl_dask.storage.labels.label_verdict import (
    LabelKind,
    LabelValue,
    Verdict,
    refusals,
    said_none,
)
from ssl_dask.storage.labels.repeated_ids import Conflicts, one_label_each
from ssl_dask.storage.labels.unsigned_labels import refuse_wrapped

MOST_SHOWN = 3
"""Paths that a message names."""
LAST_EXACT = 2**53
"""Beyond it, ids that were floats once may be those of other rows."""


@dataclass(frozen=True)
class SeedFile:
    """The labels of a file, one for each id.

    Parameters
    ----------
    shown
        Path in the user's words.
    ids
        Arrow array (S,) of different ids, in the type that the data's ids are compared in.
    codes
        int32 (S,): position of each id's label in `values`.
    values
        The distinct labels.
    kind
        What the labels are.
    said_none
        Entry of `input.unlabelled` -> rows that hold it.
    allow_unmatched
        Whether ids that the data does not hold are only noted.
    problems, notes
        What is wrong with the file; what is worth knowing.
    identity
        Name, bytes and hash of each file: equal lists mean the same labels.
    local_paths
        Where the file is on this machine; empty for a URL.
    dataset
        The files of the labels; None for text.
    """

    shown: str
    ids: pa.Array
    codes: npt.NDArray[np.int32]
    values: tuple[LabelValue, ...]
    kind: LabelKind
    said_none: Mapping[str, int]
    allow_unmatched: bool
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    identity: tuple[Mapping[str, Any], ...]
    local_paths: tuple[Path, ...]
    dataset: Dataset | None = None

    @property
    def n_labels(self) -> int:
        """Number of labelled ids S."""
        return len(self.ids)


@dataclass(frozen=True)
class _Columns:
    """The two columns of a label file before they are judged; null ids and labels included.

    `places` says where each of their rows stands.
    """

    shown: str
    ids: pa.Array
    labels: pa.Array
    places: LabelPlaces
    kind: LabelKind
    said_none: Counter[str]
    problems: list[Problem]
    notes: list[str]
    identity: tuple[Mapping[str, Any], ...]
    local_paths: tuple[Path, ...]
    dataset: Dataset | None = None


Source = str | os.PathLike[str] | InputFiles


def read_label_file(
    files: Source | Sequence[Source],
    *,
    id_column: str,
    label_column: str,
    base: Path,
    id_type: pa.DataType,
    rule: LabelRule = ANY_CLASSES,
    allow_unmatched: bool = False,
    conflicts: Conflicts = "refuse",
) -> SeedFile:
    """Read labels that are kept apart from the data, whole in this process: O(S).

    Parameters
    ----------
    files
        Text in UTF-8, gzipped or not: `.csv` or `.tsv` with a header line, `.jsonl`, `.ndjson` or
        `.json` with an object a line; a folder or glob of such files; or Parquet, or a table, as
        for `Dataset.open`. Or several of these, of one kind of labels.
    id_column, label_column
        Its columns. A null label, or an empty cell, is a row without a label.
    base
        Folder that a relative path starts from.
    id_type
        Arrow type of the data's ids; int64 where row numbers are the ids.
    rule
        What labels may be.
    allow_unmatched
        Whether ids that the data does not hold are only noted.
    conflicts
        What becomes of an id with different labels: a problem ("refuse"), no label ("leave_out"),
        or the most frequent label ("majority"; no label where two are as frequent).

    Returns
    -------
    SeedFile, whose `problems` hold all that is wrong with the labels; none of them is raised.

    Raises
    ------
    InputDataError
        A file is not there, cannot be read, or lacks a column; a folder holds Parquet and text;
        labels are of one kind in one file and of another in the next; two paths read one file.
    """
    wanted = (id_column, label_column)
    texts, read, seen = [], [], set[str]()
    for source in [files] if isinstance(files, (str, os.PathLike, InputFiles)) else files:
        path = source.path if isinstance(source, InputFiles) else source
        is_table = isinstance(source, InputFiles) and source.format != "parquet"
        listing = None if is_table else list_files(path, base=base, also=ENDINGS)
        refuse_twice(listing, seen)
        if listing is not None and holds_text(listing):
            texts.append(listing)
        else:
            read.append(_read_parquet(source, wanted, base, id_type, rule))
    if texts:
        read.append(_read_text(texts, wanted, id_type, rule))
    return _judged(_joined(read), wanted, rule, allow_unmatched, conflicts)


def _joined(read: Sequence[_Columns]) -> _Columns:
    """Return the labels of all files as if they stood in one."""
    first, *others = read
    if not others:
        return first
    for one in others:
        if one.kind != first.kind:
            raise InputDataError(
                f"labels are of kind {one.kind} here and {first.kind} in {first.shown}",
                file=one.shown,
                hint="write the labels of all files in one way",
            )
    return _Columns(
        _shown([one.shown for one in read]),
        pa.concat_arrays([one.ids for one in read]),
        pa.concat_arrays([one.labels for one in read]),
        LabelPlaces.joined([one.places for one in read]),
        first.kind,
        sum((one.said_none for one in read), Counter[str]()),
        [problem for one in read for problem in one.problems],
        [note for one in read for note in one.notes],
        tuple(part for one in read for part in one.identity),
        tuple(path for one in read for path in one.local_paths),
    )


def _judged(
    read: _Columns,
    wanted: tuple[str, str],
    rule: LabelRule,
    allow_unmatched: bool,
    conflicts: Conflicts,
) -> SeedFile:
    """Return the labels, each id once, and what is wrong with them."""
    id_column, label_column = wanted
    problems = list(read.problems)
    trouble = rule.job_problems(read.kind, label_column)
    indices, found = distinct_labels(read.labels)
    verdicts = [rule.verdict(value) for value in found]
    # Classes of another kind would refuse every label once more.
    counts = _rows_of(indices, verdicts)
    refused = {one: n for one, n in counts.items() if one.refused is not None}
    problems += trouble or refusals(refused, read.shown, None, label_column)
    values = tuple(dict.fromkeys(one.label for one in verdicts if one.label is not None))
    codes_of = {value: code for code, value in enumerate(values)}
    codes_found = [None if one.label is None else codes_of[one.label] for one in verdicts]
    labels = pa.array(codes_found, pa.int32()).take(indices)
    notes = list(read.notes)
    if unlabelled := len(labels) - labels.is_valid().true_count:
        notes.append(f"{read.shown}: rows without a label: {unlabelled:,}")
    places = read.places.keep(labels.is_valid().to_numpy(zero_copy_only=False))
    ids, labels = read.ids.filter(labels.is_valid()), labels.drop_null()
    if ids.null_count:
        has_id = ids.is_valid().to_numpy(zero_copy_only=False)
        where = places.told(np.flatnonzero(~has_id))
        problems.append(
            Problem(
                f"rows with a label but no id: {ids.null_count:,}, at {where}",
                file=read.shown,
                column=id_column,
                rows=ids.null_count,
                hint="give every labelled row an id",
            )
        )
        places = places.keep(has_id)
        labels, ids = labels.filter(ids.is_valid()), ids.drop_null()
    codes = labels.to_numpy()
    ids, codes, more_problems, more_notes = one_label_each(
        ids, codes, places, (read.shown, id_column), conflicts
    )
    return SeedFile(
        read.shown,
        ids,
        codes,
        values,
        read.kind,
        read.said_none + said_none(counts.elements()),
        allow_unmatched,
        tuple(problems + more_problems),
        tuple(notes + more_notes),
        read.identity,
        read.local_paths,
        read.dataset,
    )


def _rows_of(indices: pa.Array, verdicts: Sequence[Verdict]) -> Counter[Verdict]:
    rows = np.bincount(indices.drop_null().to_numpy(), minlength=len(verdicts)).tolist()
    counts: Counter[Verdict] = Counter()
    for verdict, n in zip(verdicts, rows, strict=True):
        counts[verdict] += n
    return counts


def _shown(names: Sequence[str]) -> str:
    more = f"; and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return "; ".join(names[:MOST_SHOWN]) + more


def _read_parquet(
    files: Source,
    wanted: tuple[str, str],
    base: Path,
    id_type: pa.DataType,
    rule: LabelRule,
) -> _Columns:
    dataset = Dataset.open(files, base=base)
    id_column, label_column = wanted
    problems = [
        *id_problems(dataset, id_column, id_type),
        *column_problems(dataset, label_column, "label", rule.type_trouble),
        *own_answers(label_column, dataset.schema.names, dataset.path),
    ]
    if problems:
        raise InputDataError(problems)
    label_kind = dataset.schema.field(label_column).type
    reader = ColumnReader(dataset, plan_layout(dataset, wanted, block_bytes=2**26))
    ids, labels = [], []
    for block in reader.blocks:
        table = reader.read_raw(block, wanted)
        with reader.naming_place(block, id_column):
            ids.append(id_array(table.column(id_column), id_type))
        with reader.naming_place(block, label_column):
            refuse_wrapped(table.column(label_column), rule)
            labels.append(rule.array(table.column(label_column), label_kind))
    return _Columns(
        dataset.path,
        pa.concat_arrays(ids),
        pa.concat_arrays(labels),
        LabelPlaces.of(
            (dataset.shown_path(i), "row", range(1, file.n_rows + 1))
            for i, file in enumerate(dataset.files)
        ),
        rule.kind_of(label_kind),
        Counter(),
        [],
        list(cautions(dataset.notes)),
        tuple(dataset.identity()),
        dataset.local_paths,
        dataset,
    )


def _read_text(
    listings: Sequence[Listing], wanted: tuple[str, str], id_type: pa.DataType, rule: LabelRule
) -> _Columns:
    """Return the labels of text files, whose kind all their cells decide together."""
    cells, identity = list[tuple[str, str]](), []
    places = list[tuple[str, str, Sequence[int]]]()
    files = [(one.source, *file) for one in listings for file in one.files]
    for source, name, size in files:
        shown = source.shown_path(name)
        data = bytes_of(source, name, size)
        digest = hashlib.sha256(data).hexdigest()
        identity.append({"path": name, "bytes": size, "sha256": digest})
        if data or len(files) == 1:
            # Spark writes an empty part where a task had no row.
            found = cells_of_text(data, name, wanted, shown)
            cells += found.pairs
            places.append((shown, found.unit, found.numbers))
    if len(files) > 1:
        shown = _shown([one.source.shown for one in listings])
    problems: list[Problem] = []
    notes = [note for one in listings for note in one.notes]
    ids, kept = _ids_of_cells([one for one, _ in cells], id_type)
    at = LabelPlaces.of(places)
    wrong = np.flatnonzero(~kept)
    if len(wrong):
        text = f"ids that are no {id_read_type(id_type)}: {len(wrong):,}, at {at.told(wrong)}"
        hint = "write ids as they stand in the data"
        problems.append(Problem(text, shown, None, wanted[0], len(wrong), hint))
    texts = [text for (_, text), keep in zip(cells, kept, strict=True) if keep]
    labels, kind, said = rule.parse(texts, shown, wanted[1], problems, notes)
    return _Columns(
        shown,
        ids,
        labels,
        at.keep(kept),
        kind,
        said,
        problems,
        notes,
        tuple(identity),
        tuple(path for one in listings for path in one.local_paths),
    )


def _ids_of_cells(cells: list[str], id_type: pa.DataType) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Return the ids in the type of the data, and which cells are ids, bool (S,)."""
    kind = id_read_type(id_type)
    turn: Callable[[str], Any]
    if pt.is_integer(kind):
        low = 0 if pt.is_unsigned_integer(kind) else -(2 ** (kind.bit_width - 1))
        high = low + 2**kind.bit_width

        def turn(cell: str) -> int:
            value = as_whole(cell)
            if not low <= value < high or ("." in cell and abs(value) > LAST_EXACT):
                raise ValueError
            return value
    elif is_text(kind):
        turn = str
    elif pt.is_large_binary(kind):
        turn = str.encode
    else:

        def turn(cell: str) -> bytes:
            return uuid.UUID(cell.strip()).bytes

    values, kept = values_of_cells(cells, turn)
    ids = pa.array([value for value, keep in zip(values, kept, strict=True) if keep], kind)
    return ids, np.array(kept, dtype=bool)
