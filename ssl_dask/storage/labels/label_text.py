"""Labels in text: CSV, TSV or JSON lines, gzipped or not, as the cells of two columns."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.storage.files.file_names import hive_values
from ssl_dask.storage.input.column_types import nearest_names
from ssl_dask.storage.labels.label_cells import NUMBER

MARKS = {".csv": ",", ".tsv": "\t"}
MARK_WORDS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
JSON_LINES = (".jsonl", ".ndjson", ".json")
ENDINGS = (*MARKS, *JSON_LINES)
GZIP = b"\x1f\x8b"
REVIEW_COLUMNS = ("predicted", "nearest_seed_label", "reason", "review_kind")
"""What a review list says by itself, and what no person has said."""


class Cells(NamedTuple):
    """The cells of two columns of one file."""

    pairs: list[tuple[str, str]]
    """(id, label) of each row, empty where there is none."""
    unit: str
    """What `numbers` count, from 1: the lines of the file, or the objects of a list."""
    numbers: list[int]
    """The line in which each row begins."""


def text_ending(name: str) -> str:
    """Return the ending of a name in small letters, without that of its packing."""
    return os.path.splitext(name.lower().removesuffix(".gz"))[1]


def cells_of_text(data: bytes, name: str, wanted: tuple[str, str], shown: str) -> Cells:
    """Return the cells of two columns.

    Parameters
    ----------
    data
        The whole file.
    name
        Its name, whose ending is one of `ENDINGS`, with its folders.
    wanted
        The columns, or keys of the objects, of ids and labels.
    shown
        Its path in the user's words.

    Raises
    ------
    InputDataError
        The file is damaged or of another kind than its name says, or lacks a column.
    """
    text, ending = _unpacked(data, shown), text_ending(name)
    in_folders = [key for key, _ in hive_values(name)]
    if ending in JSON_LINES:
        return _cells_of_json(text, wanted, in_folders, shown)
    return _cells_of_lines(text, ending, wanted, in_folders, shown)


def values_of_text(data: bytes, name: str, shown: str) -> dict[str, set[str]]:
    """Return the distinct cells of each column that are not empty; as `cells_of_text`."""
    text, ending = _unpacked(data, shown), text_ending(name)
    if ending in JSON_LINES:
        pairs = [pair for _, row in _objects(text, shown)[1] for pair in row.items()]
    else:
        _require_mark(text, ending, shown)
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=MARKS[ending])
        pairs = [pair for row in rows for pair in zip(header, row, strict=False)]
    found: dict[str, set[str]] = {key: set() for key, _ in pairs}
    for key, cell in pairs:
        found[key].add(_cell(cell))
    return {key: cells - {""} for key, cells in found.items()}


def _unpacked(data: bytes, shown: str) -> str:
    if data[:2] == GZIP:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise InputDataError(
                "is damaged: it cannot be unpacked", file=shown, hint="write the file again"
            ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputDataError("is not UTF-8 text", file=shown, hint="save it as UTF-8") from None


def _cells_of_lines(
    text: str, ending: str, wanted: tuple[str, str], in_folders: Sequence[str], shown: str
) -> Cells:
    _require_mark(text, ending, shown)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=MARKS[ending], strict=True)
    lines: list[tuple[int, list[str]]] = []
    first = 1
    try:
        for row in reader:
            lines.append((first, row))
            first = reader.line_num + 1
    except csv.Error as error:
        found = f"is no valid CSV: {error}, in what begins in line {first:,}"
        hint = "save it as CSV again; ids and labels alone, where it holds long texts"
        raise InputDataError(found, file=shown, hint=hint) from None
    header = lines[0][1] if lines else []
    _require_columns(wanted, header, in_folders, shown)
    # A line of blanks holds no cells, however few cells the header has.
    lines = [
        (at, row)
        for at, row in lines[1:]
        if row and (len(row) == len(header) or any(map(str.strip, row)))
    ]
    if uneven := [(at, len(row)) for at, row in lines if len(row) != len(header)]:
        at, n_cells = uneven[0]
        raise InputDataError(
            f"lines without the {len(header)} cells of the header: {len(uneven):,}, the first is"
            f" line {at:,} with {n_cells}",
            file=shown,
            rows=len(uneven),
            hint="write empty cells too, and quote cells that hold a comma or tab",
        )
    id_place, label_place = (header.index(column) for column in wanted)
    pairs = [(row[id_place], row[label_place]) for _, row in lines]
    return Cells(pairs, "line", [at for at, _ in lines])


def _cells_of_json(
    text: str, wanted: tuple[str, str], in_folders: Sequence[str], shown: str
) -> Cells:
    """Return the cells of objects, one a line, or of one list of objects."""
    unit, rows = _objects(text, shown)
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    _require_columns(wanted, names, in_folders, shown)
    pairs = [(_cell(row.get(wanted[0])), _cell(row.get(wanted[1]))) for _, row in rows]
    return Cells(pairs, unit, [at for at, _ in rows])


def _objects(text: str, shown: str) -> tuple[str, list[tuple[int, dict[str, Any]]]]:
    """Return what numbers count, and the objects with their numbers."""
    unit, numbered = "line", list[tuple[int, Any]]()
    if text.lstrip().startswith("["):
        unit, found = "object", _json_of(text, None, shown)
        numbered = list(enumerate(found if isinstance(found, list) else [None], 1))
    else:
        # Not `splitlines`: strings of JSON may hold other ends of lines, such as U+2028.
        for at, line in enumerate(text.split("\n"), 1):
            if line.strip():
                numbered.append((at, _json_of(line, at, shown)))
    if wrong := [at for at, row in numbered if not isinstance(row, dict)]:
        raise InputDataError(
            f"is no JSON of one object a line: {unit} {wrong[0]:,} is none",
            file=shown,
            hint='write lines such as {"id": 7, "label": "ham"}',
        )
    return unit, numbered


def _json_of(text: str, line: int | None, shown: str) -> Any:
    """Return what a text of JSON holds, floats as they are written, None where it is none.

    Refuses an object that has a key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            where = "" if line is None else f", in line {line:,}"
            raise InputDataError(
                f"an object has this key more than once{where}",
                file=shown,
                column=twice[0],
                hint="keep one of them",
            )
        return dict(pairs)

    try:
        return json.loads(text, parse_float=str, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None


def _cell(value: Any) -> str:
    """Return a JSON value as the text of a cell: lists and objects as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def _require_mark(text: str, ending: str, shown: str) -> None:
    """Refuse a file whose cells have other marks between them: its lines are one cell each."""
    header, mark = text.partition("\n")[0], MARKS[ending]
    if mark in header or header.startswith("#"):
        return
    for other, words in MARK_WORDS.items():
        if other in header:
            right = next((one for one, its in MARKS.items() if its == other), None)
            cure = "save it with commas and decimal points, or keep the labels in Parquet"
            raise InputDataError(
                f"looks like cells with {words} between them; a {ending} file has"
                f" {MARK_WORDS[mark]}",
                file=shown,
                hint=cure if right is None else f"give it a name that ends in {right}",
            )


def _require_columns(
    wanted: Sequence[str], names: Sequence[str], in_folders: Sequence[str], shown: str
) -> None:
    there = f"the columns are {', '.join(names[:20]) or 'none'}"
    if any(name[:1] == "#" or NUMBER.fullmatch(name.strip()) for name in names):
        # The names would be cells of a row.
        there = f"the first line must be the header, with the columns {' and '.join(wanted)}"
    from_folders = (
        "it is in the names of folders, which are columns of Parquet alone: write the labels as"
        " Parquet, or the column into the files"
    )
    problems = [
        Problem(
            "missing in the labels",
            shown,
            column=column,
            hint=from_folders
            if column in in_folders
            else f"{nearest_names(column, names) or ''} {there}".strip(),
        )
        for column in wanted
        if column not in names
    ]
    problems += [
        Problem(
            "the header has this column more than once",
            shown,
            column=column,
            hint="keep one of them",
        )
        for column in wanted
        if list(names).count(column) > 1
    ]
    problems += own_answers(wanted[1], names, shown)
    if problems:
        raise InputDataError(problems)


def own_answers(label_column: str, names: Sequence[str], shown: str) -> list[Problem]:
    """Return what is wrong with a review list whose own columns are given as labels."""
    if "review_kind" not in names or label_column not in REVIEW_COLUMNS:
        return []
    return [
        Problem(
            "is a list of rows to review: this column of it is the run's own answer, no label",
            shown,
            column=label_column,
            hint="write a person's answers into a column of their own, such as answer, and name"
            " that as labels.label",
        )
    ]
