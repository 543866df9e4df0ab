"""Cells of a CSV file of labels, turned into the types of the data; no cell is ever quoted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.storage.input.column_types import id_read_type, is_text, is_uuid, plain_type
from ssl_dask.storage.labels.label_values import LabelKind, LabelValue, kind_of_value

INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"-?[0-9]+\.[0-9]*")
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
BOOLEANS = {"true": True, "false": False}


def parse_ids(
    cells: list[str], id_type: pa.DataType, shown: str, column: str, problems: list[Problem]
) -> tuple[pa.Array, list[bool]]:
    """Return the ids in the type of the data, and which cells they are; others are a problem."""
    kind = id_read_type(id_type)
    turn: Callable[[str], Any]
    if pt.is_integer(kind):
        low = 0 if pt.is_unsigned_integer(kind) else -(2 ** (kind.bit_width - 1))
        high = low + 2**kind.bit_width

        def turn(cell: str) -> int:
            if not INTEGER.fullmatch(cell.strip()) or not low <= int(cell) < high:
                raise ValueError
            return int(cell)
    elif is_text(kind):
        turn = str
    elif is_uuid(plain_type(id_type)) or pt.is_fixed_size_binary(kind):

        def turn(cell: str) -> bytes:
            return uuid.UUID(cell.strip()).bytes
    else:
        text = f"the ids of the data are {id_type}, which CSV cannot hold"
        raise InputDataError(text, file=shown, column=column, hint="keep the labels in Parquet")
    values, kept = _turn_cells(cells, turn)
    if wrong := kept.count(False):
        problems.append(Problem(f"ids that are no {kind}: {wrong:,}", shown, None, column, wrong))
    return pa.array([value for value, keep in zip(values, kept, strict=True) if keep], kind), kept


def parse_labels(
    cells: list[str],
    classes: Sequence[LabelValue] | None,
    shown: str,
    column: str,
    problems: list[Problem],
) -> tuple[pa.Array, LabelKind]:
    """Return the labels, null where empty or wrong, and what they are; wrong ones are a problem."""
    filled = [cell for cell in cells if cell != ""]
    kinds = {kind_of_value(value) for value in classes or ()} - {None}
    if len(kinds) == 1:
        kind = kinds.pop() or "string"
    elif filled and all(INTEGER.fullmatch(cell) for cell in filled):
        kind = "integer"
    elif filled and all(cell.lower() in BOOLEANS for cell in filled):
        kind = "boolean"
    else:
        kind = "string"
        if filled and all(DECIMAL.fullmatch(cell) for cell in filled):
            hint = "write whole numbers, and leave the cell empty where there is no label"
            text = "labels are decimal numbers"
            hint += ", or take method harmonic_regression, whose labels are numbers"
            problems.append(Problem(text, shown, None, column, len(filled), hint))
    turn: dict[str, Callable[[str], Any]] = {
        "integer": _as_int64,
        "boolean": lambda cell: BOOLEANS[cell.lower()],
        "string": str,
    }
    arrow = {"integer": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}[kind]
    values, kept = _turn_cells(cells, turn[kind])
    if wrong := kept.count(False):
        text = f"labels that are not of kind {kind}, as input.classes is: {wrong:,}"
        problems.append(Problem(text, shown, None, column, wrong))
    return pa.array(values, arrow), kind


def parse_numbers(cells: list[str], shown: str, column: str, problems: list[Problem]) -> pa.Array:
    """Return labels that are numbers, float64, null where empty or wrong; wrong ones a problem."""
    values, kept = _turn_cells(cells, _as_number)
    if wrong := kept.count(False):
        hint = "write them with a decimal point, and leave the cell empty where there is no label"
        problems.append(
            Problem(f"labels that are no numbers: {wrong:,}", shown, None, column, wrong, hint)
        )
    return pa.array(values, pa.float64())


def _as_number(cell: str) -> float:
    if not NUMBER.fullmatch(cell.strip()):
        raise ValueError
    # -0.0 becomes 0.0, as in a column.
    return float(cell) + 0.0


def _as_int64(cell: str) -> int:
    if not INTEGER.fullmatch(cell.strip()) or not -(2**63) <= int(cell) < 2**63:
        raise ValueError
    return int(cell)


def _turn_cells(cells: list[str], turn: Callable[[str], Any]) -> tuple[list[Any], list[bool]]:
    """Return the value of each cell, None where empty or wrong, and whether it is not wrong."""
    values: list[Any] = []
    kept: list[bool] = []
    for cell in cells:
        value, right = None, True
        if cell != "":
            try:
                value = turn(cell)
            except (ValueError, KeyError):
                right = False
        values.append(value)
        kept.append(right)
    return values, kept
