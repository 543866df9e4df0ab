"""Labels in text: CSV, TSV or JSON lines, gzipped or not, as the cells of two columns."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Sequence
from typing import Any

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.storage.input.column_types import nearest_names
from ssl_dask.storage.labels.label_cells import NUMBER

MARKS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson", ".json")
ENDINGS = (*MARKS, *JSON_LINES)
GZIP = b"\x1f\x8b"

Cells = list[tuple[str, str]]
"""(id, label) of each row, empty where there is none."""


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
        Its name, whose ending is one of `ENDINGS`.
    wanted
        The columns, or keys of the objects, of ids and labels.
    shown
        Its path in the user's words.

    Raises
    ------
    InputDataError
        The file is damaged or of another kind than its name says, or lacks a column.
    """
    if data[:2] == GZIP:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise InputDataError(
                "is damaged: it cannot be unpacked", file=shown, hint="write the file again"
            ) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputDataError("is not UTF-8 text", file=shown, hint="save it as UTF-8") from None
    ending = text_ending(name)
    if ending in JSON_LINES:
        return _cells_of_json(text, wanted, shown)
    return _cells_of_lines(text, MARKS[ending], wanted, shown)


def _cells_of_lines(text: str, mark: str, wanted: tuple[str, str], shown: str) -> Cells:
    _require_mark(text, mark, shown)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True))
    except csv.Error as error:
        hint = "save it as CSV again; ids and labels alone, where it holds long texts"
        raise InputDataError(f"is no valid CSV: {error}", file=shown, hint=hint) from None
    header, rows = (rows[0], rows[1:]) if rows else ([], [])
    _require_columns(wanted, header, shown)
    id_place, label_place = (header.index(column) for column in wanted)
    # A line of blanks holds no cells, however few cells the header has.
    rows = [row for row in rows if row and (len(row) == len(header) or any(map(str.strip, row)))]
    if uneven := sum(len(row) != len(header) for row in rows):
        found = f"lines without the {len(header)} cells of the header: {uneven:,}"
        raise InputDataError(
            found, file=shown, rows=uneven, hint="quote cells that hold a comma or tab"
        )
    return [(row[id_place], row[label_place]) for row in rows]


def _cells_of_json(text: str, wanted: tuple[str, str], shown: str) -> Cells:
    """Return the cells of objects, one a line, or of one list of objects."""
    # Not `splitlines`: strings of JSON may hold other ends of lines, such as U+2028, as they are.
    lines = [(at, line) for at, line in enumerate(text.split("\n"), 1) if line.strip()]
    listed = text.lstrip().startswith("[")
    try:
        objects = [_json_of(one, at, shown) for at, one in ([(None, text)] if listed else lines)]
    except (ValueError, RecursionError):
        objects = [None]
    rows: list[Any] = objects[0] if listed and objects[0] is not None else objects
    if not all(isinstance(row, dict) for row in rows):
        raise InputDataError(
            "is no JSON of one object a line",
            file=shown,
            hint='write lines such as {"id": 7, "label": "ham"}',
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    _require_columns(wanted, names, shown)
    return [(_cell(row.get(wanted[0])), _cell(row.get(wanted[1]))) for row in rows]


def _json_of(text: str, line: int | None, shown: str) -> Any:
    """Return what a text of JSON holds, floats as they are written; refuse a key twice."""

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

    return json.loads(text, parse_float=str, object_pairs_hook=once)


def _cell(value: Any) -> str:
    """Return a JSON value as the text of a cell: lists and objects as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def _require_mark(text: str, mark: str, shown: str) -> None:
    """Refuse a file that a spreadsheet has saved with other marks: its lines are one cell each."""
    header = text.partition("\n")[0]
    due = {",": "a CSV file of labels has commas", "\t": "a TSV file has tabs"}[mark]
    for other, words in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
        if other in header and mark not in header and not header.startswith("#"):
            raise InputDataError(
                f"looks like cells with {words} between them; {due}",
                file=shown,
                hint="save it with commas and decimal points, or keep the labels in Parquet",
            )


def _require_columns(wanted: Sequence[str], names: Sequence[str], shown: str) -> None:
    there = f"the columns are {', '.join(names[:20]) or 'none'}"
    if any(name[:1] == "#" or NUMBER.fullmatch(name.strip()) for name in names):
        # The names would be cells of a row.
        there = f"the first line must be the header, with the columns {' and '.join(wanted)}"
    problems = [
        Problem(
            "missing in the labels",
            shown,
            column=column,
            hint=nearest_names(column, names) or there,
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
    if problems:
        raise InputDataError(problems)
