"""What the labels of a job may be, classes or numbers, and which values only look like labels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import Problem
from ssl_dask.storage.input.arrow_to_numpy import label_array, number_label_array
from ssl_dask.storage.input.column_types import (
    label_trouble,
    label_type,
    number_label_trouble,
    plain_type,
)

LabelKind = Literal["integer", "boolean", "string", "number"]
LabelValue = int | bool | str | float

PLACEHOLDERS = frozenset({"-1", "nan", "NaN", "None", "null", "<NA>"})
"""Text that programs write for "no value"."""
MAX_TRUTH_VALUES = 10_000
MAX_NUMBER = 1e100
"""Errors are squared and added up over all rows: of larger numbers that would not be finite."""

INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"-?[0-9]+\.[0-9]*")
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
BOOLEANS = {"true": True, "false": False}

REFUSALS: dict[str, tuple[str, str]] = {
    "outside": (
        "labels that are none of the classes of the job",
        "correct them, or list them in input.classes",
    ),
    "empty": ("labels that are empty text", "write null where a row is unlabelled"),
    "placeholder": (
        "labels such as '-1', 'nan' or 'None', written as text",
        "write null where a row is unlabelled, or list the value in input.classes if it is one",
    ),
    "negative": (
        "negative labels; scikit-learn's -1 for 'unlabelled' would become a class",
        "write null where a row is unlabelled, or list the value in input.classes if it is one",
    ),
    "utf8": ("labels that are not valid UTF-8", "write them again as UTF-8"),
    "nan": ("labels that are NaN", "write null where a row is unlabelled"),
    "huge": ("labels beyond 1e100", "correct them, or give them in another unit"),
    "infinite": ("labels that are infinite", "correct them, or write null where it is unknown"),
}
"""Why a value is no label -> what a message calls such values, and the cure."""


@dataclass(frozen=True)
class ClassRule:
    """Labels name classes: integers, booleans or texts.

    Parameters
    ----------
    classes
        The classes, where the job lists them.
    """

    classes: Sequence[LabelValue] | None = None

    def type_trouble(self, kind: pa.DataType) -> tuple[str, str] | None:
        """Return (what is wrong, cure) of a column's type, or None."""
        return label_trouble(kind)

    def column_problems(self, kinds: Mapping[str, pa.DataType]) -> list[Problem]:
        """Check that classes, labels and truth are of one kind; column -> type."""
        known = {
            column: kind_of_type(kind)
            for column, kind in kinds.items()
            if label_trouble(kind) is None and not pt.is_null(plain_type(kind))
        }
        if self.classes is not None:
            if not known:
                first = kind_of_value(self.classes[0]) if self.classes else None
                return self.job_problems(first or "string", None)
            return [
                one for column, kind in known.items() for one in self.job_problems(kind, column)
            ]
        if len(set(known.values())) > 1:
            (label, first_kind), (truth, second_kind) = known.items()
            text = f"is of kind {second_kind}, but the labels in {label!r} are of kind {first_kind}"
            return [Problem(text, column=truth, hint="give both columns one type")]
        return []

    def kind_of(self, kind: pa.DataType) -> LabelKind:
        """Return the kind of labels of an Arrow type; of nulls, that of the job's classes."""
        if pt.is_null(kind) and self.classes:
            return kind_of_value(self.classes[0]) or kind_of_type(kind)
        return kind_of_type(kind)

    def job_problems(self, kind: LabelKind, column: str | None) -> list[Problem]:
        """Return what is wrong with the job's classes, for labels of a kind."""
        if self.classes is None:
            return []
        if not self.classes:
            return [Problem("input.classes is empty", hint="list the classes, or leave it out")]
        wrong = sorted({kind_of_value(c) or type(c).__name__ for c in self.classes} - {kind})
        if wrong:
            hint = {
                "integer": "write them without quotes",
                "boolean": "write true and false without quotes",
                "string": "write them in quotes",
            }[kind]
            text = (
                f"input.classes holds {' and '.join(wrong)} values, but the labels are of kind"
                f" {kind}"
            )
            return [Problem(text, column=column, hint=hint)]
        if len(set(self.classes)) < len(self.classes):
            return [Problem("input.classes names a class twice", hint="name each class once")]
        return []

    def array(self, column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
        """Return labels as int64, bool or string, null where unlabelled; see `label_array`."""
        return label_array(column, kind)

    def parse(
        self, cells: list[str], shown: str, column: str, problems: list[Problem]
    ) -> tuple[pa.Array, LabelKind]:
        """Return the labels of CSV cells, null where empty or wrong, and their kind.

        Appends a problem that counts the wrong ones.
        """
        filled = [cell for cell in cells if cell != ""]
        kinds = {kind_of_value(value) for value in self.classes or ()} - {None}
        if len(kinds) == 1:
            kind = kinds.pop() or "string"
        elif filled and all(INTEGER.fullmatch(cell) for cell in filled):
            kind = "integer"
        elif filled and all(cell.lower() in BOOLEANS for cell in filled):
            kind = "boolean"
        else:
            kind = "string"
            if filled and all(DECIMAL.fullmatch(cell) for cell in filled):
                hint = (
                    "write whole numbers, and leave the cell empty where there is no label, or take"
                    " method harmonic_regression, whose labels are numbers"
                )
                text = "labels are decimal numbers"
                problems.append(Problem(text, shown, None, column, len(filled), hint))
        turn: dict[str, Callable[[str], Any]] = {
            "integer": _as_int64,
            "boolean": lambda cell: BOOLEANS[cell.lower()],
            "string": str,
        }
        arrow = {"integer": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}[kind]
        values, kept = values_of_cells(cells, turn[kind])
        if wrong := kept.count(False):
            text = f"labels that are not of kind {kind}, as input.classes is: {wrong:,}"
            hint = "correct the labels, or input.classes"
            problems.append(Problem(text, shown, None, column, wrong, hint))
        return pa.array(values, arrow), kind

    def refusal(self, value: LabelValue | None) -> str | None:
        """Return why `value` is no label, a key of `REFUSALS`, or None if it is one.

        The value None stands for text that is not valid UTF-8.
        """
        if value is None:
            return "utf8"
        if self.classes is not None:
            return None if value in self.classes else "outside"
        if isinstance(value, str):
            if not value.strip():
                return "empty"
            return "placeholder" if value in PLACEHOLDERS else None
        return "negative" if not isinstance(value, bool) and value < 0 else None

    def values(self, found: Iterable[LabelValue], kind: LabelKind) -> npt.NDArray[Any]:
        """Return the classes, int64, bool or object (C,): as the job lists them, else sorted."""
        chosen = list(self.classes) if self.classes is not None else sorted(set(found))
        dtype = {"integer": np.int64, "boolean": np.bool_, "string": object}[kind]
        return np.array(chosen, dtype=dtype)

    def truth_counts(self, values: Sequence[Any], rows: Sequence[int]) -> dict[Any, int]:
        """Return true label -> rows, given the distinct values of a block and their rows."""
        return dict(list(zip(values, rows, strict=True))[:MAX_TRUTH_VALUES])

    def judge_truth(
        self, column: str, counts: Mapping[Any, int], labels: npt.NDArray[Any] | None
    ) -> tuple[int, list[str]]:
        """Return how many rows have a truth that is a class, and notes on the others."""
        listed = self.classes if self.classes is not None else ()
        classes = set(listed if labels is None or self.classes is not None else labels.tolist())
        known = sum(n for value, n in counts.items() if value in classes)
        without = sum(
            n for value, n in counts.items() if value not in classes and is_stand_in(value)
        )
        other = sum(counts.values()) - known - without
        notes = []
        if other and labels is not None:
            notes.append(
                f"column {column!r}: {other:,} rows have a truth that is none of the classes;"
                " no label can be right there, so they count as wrong"
            )
        if without and labels is not None:
            notes.append(
                f"column {column!r}: {without:,} rows hold empty text, -1 or the like in place of"
                " a truth; they are not scored"
            )
        return known, notes


ANY_CLASSES = ClassRule()
"""The rule of a job that lists no classes."""


@dataclass(frozen=True)
class NumberRule:
    """Labels are finite numbers, read as float64."""

    def type_trouble(self, kind: pa.DataType) -> tuple[str, str] | None:
        """Return (what is wrong, cure) of a column's type, or None."""
        return number_label_trouble(kind)

    def column_problems(self, kinds: Mapping[str, pa.DataType]) -> list[Problem]:
        """Return nothing: numbers of all types can be compared."""
        return []

    def kind_of(self, kind: pa.DataType) -> LabelKind:
        """Return "number"."""
        return "number"

    def job_problems(self, kind: LabelKind, column: str | None) -> list[Problem]:
        """Return nothing: a job lists no numbers."""
        return []

    def array(self, column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
        """Return labels as float64, null where unlabelled; see `number_label_array`."""
        return number_label_array(column)

    def parse(
        self, cells: list[str], shown: str, column: str, problems: list[Problem]
    ) -> tuple[pa.Array, LabelKind]:
        """Return the labels of CSV cells, null where empty or wrong, and "number".

        Appends a problem that counts the wrong ones.
        """
        values, kept = values_of_cells(cells, _as_number)
        if wrong := kept.count(False):
            text = f"labels that are no numbers: {wrong:,}"
            hint = "write a decimal point, and leave the cell empty where there is no label"
            problems.append(Problem(text, shown, None, column, wrong, hint))
        return pa.array(values, pa.float64()), "number"

    def refusal(self, value: LabelValue | None) -> str | None:
        """Return "nan", "infinite" or "huge" for what cannot be reckoned with, else None."""
        number = float(value) if value is not None else math.nan
        if math.isfinite(number):
            return "huge" if abs(number) > MAX_NUMBER else None
        return "nan" if math.isnan(number) else "infinite"

    def values(self, found: Iterable[LabelValue], kind: LabelKind) -> npt.NDArray[Any]:
        """Return the distinct numbers, float64 (C,), sorted."""
        return np.array(sorted(set(found)), dtype=np.float64)

    def truth_counts(self, values: Sequence[Any], rows: Sequence[int]) -> dict[Any, int]:
        """Return whether there is a number -> rows."""
        counts: Counter[Any] = Counter()
        for value, n in zip(values, rows, strict=True):
            counts[self.refusal(value) is None] += n
        return dict(counts)

    def judge_truth(
        self, column: str, counts: Mapping[Any, int], labels: npt.NDArray[Any] | None
    ) -> tuple[int, list[str]]:
        """Return how many rows have a true number, and notes on those that hold none."""
        without = counts.get(False, 0)
        text = f"column {column!r}: {without:,} rows hold NaN or infinity in place of a truth"
        return counts.get(True, 0), [f"{text}; they are not scored"] if without else []


LabelRule = ClassRule | NumberRule
"""Which values are labels. Both have the same methods."""


def kind_of_type(kind: pa.DataType) -> LabelKind:
    """Return the kind of labels of an Arrow type."""
    read_as = label_type(kind)
    if pt.is_boolean(read_as):
        return "boolean"
    return "integer" if pt.is_integer(read_as) else "string"


def kind_of_value(value: object) -> LabelKind | None:
    """Return the kind of a class that a job names, or None for what cannot be a class."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "string" if isinstance(value, str) else None


def is_stand_in(value: LabelValue | None) -> bool:
    """Return whether `value` is what programs write for "no label": empty text, "nan", -1."""
    if isinstance(value, str):
        return not value.strip() or value in PLACEHOLDERS
    return not isinstance(value, bool) and value == -1


def values_of_cells(cells: list[str], turn: Callable[[str], Any]) -> tuple[list[Any], list[bool]]:
    """Return the value of each cell, None where empty or wrong, and whether it is not wrong.

    `turn` raises ValueError or KeyError for a wrong cell.
    """
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


def _as_number(cell: str) -> float:
    if not NUMBER.fullmatch(cell.strip()):
        raise ValueError
    # -0.0 becomes 0.0, as in a column.
    return float(cell) + 0.0


def _as_int64(cell: str) -> int:
    if not INTEGER.fullmatch(cell.strip()) or not -(2**63) <= int(cell) < 2**63:
        raise ValueError
    return int(cell)
