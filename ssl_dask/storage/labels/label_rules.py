"""What the labels of a job may be, classes or numbers: all that reading them has to know."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import Problem
from ssl_dask.storage.input.arrow_to_numpy import label_array, number_label_array
from ssl_dask.storage.input.column_types import (
    label_trouble,
    number_label_trouble,
    plain_type,
)
from ssl_dask.storage.labels.label_csv import parse_labels, parse_numbers
from ssl_dask.storage.labels.label_values import (
    LabelKind,
    LabelValue,
    class_array,
    classes_trouble,
    is_stand_in,
    kind_of_type,
    kind_of_value,
    refusal,
)

MAX_TRUTH_VALUES = 10_000


MAX_NUMBER = 1e100
"""Errors are squared and added up over all rows: of larger numbers that would not be finite."""


class LabelRule(Protocol):
    """Says which values are labels; see `ClassRule` and `NumberRule`."""

    def type_trouble(self, kind: pa.DataType) -> tuple[str, str] | None:
        """Return (what is wrong, cure) of a column's type, or None."""

    def column_problems(self, kinds: Mapping[str, pa.DataType]) -> list[Problem]:
        """Return what is wrong with the columns of labels and truth beside each other."""

    def kind_of(self, kind: pa.DataType) -> LabelKind:
        """Return what labels of an Arrow type are."""

    def job_problems(self, kind: LabelKind, column: str | None) -> list[Problem]:
        """Return what is wrong with what the job says of labels of a kind."""

    def array(self, column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
        """Return labels as one Arrow array, null where unlabelled."""

    def parse(
        self, cells: list[str], shown: str, column: str, problems: list[Problem]
    ) -> tuple[pa.Array, LabelKind]:
        """Return the labels of CSV cells, and what they are; append what is wrong."""

    def refusal(self, value: LabelValue | None) -> str | None:
        """Return why `value` is no label, a key of `REFUSALS`, or None if it is one."""

    def values(self, found: Iterable[LabelValue], kind: LabelKind) -> npt.NDArray[Any]:
        """Return the distinct labels (C,), in the order of their codes."""

    def truth_counts(self, values: Sequence[Any], rows: Sequence[int]) -> dict[Any, int]:
        """Return what a block has to tell of its truth, given distinct values and their rows."""

    def judge_truth(
        self, column: str, counts: Mapping[Any, int], labels: npt.NDArray[Any] | None
    ) -> tuple[int, list[str]]:
        """Return how many rows have a truth that can be scored, and notes on the others."""


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
        """Check that classes, labels and truth are of one kind."""
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
        """Return what labels of an Arrow type are; of a column of nulls the job's classes tell."""
        if pt.is_null(kind) and self.classes:
            return kind_of_value(self.classes[0]) or kind_of_type(kind)
        return kind_of_type(kind)

    def job_problems(self, kind: LabelKind, column: str | None) -> list[Problem]:
        """Return what is wrong with the job's classes, for labels of a kind."""
        return [] if self.classes is None else classes_trouble(self.classes, kind, column)

    def array(self, column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
        """Return labels as int64, bool or string; raises as `column_values.label_array`."""
        return label_array(column, kind)

    def parse(
        self, cells: list[str], shown: str, column: str, problems: list[Problem]
    ) -> tuple[pa.Array, LabelKind]:
        """Return the labels of CSV cells, and what they are; append what is wrong."""
        return parse_labels(cells, self.classes, shown, column, problems)

    def refusal(self, value: LabelValue | None) -> str | None:
        """Return why `value` is no label, or None if it is one."""
        return refusal(value, self.classes)

    def values(self, found: Iterable[LabelValue], kind: LabelKind) -> npt.NDArray[Any]:
        """Return the classes (C,): as the job lists them, else those found, sorted."""
        return class_array(found, kind, self.classes)

    def truth_counts(self, values: Sequence[Any], rows: Sequence[int]) -> dict[Any, int]:
        """Return true label -> rows."""
        return dict(list(zip(values, rows, strict=True))[:MAX_TRUTH_VALUES])

    def judge_truth(
        self, column: str, counts: Mapping[Any, int], labels: npt.NDArray[Any] | None
    ) -> tuple[int, list[str]]:
        """Return how many rows have a truth that is a class; note those that have no such."""
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
        """Return nothing: a job says no more of numbers."""
        return []

    def array(self, column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
        """Return labels as float64; raises as `column_values.number_label_array`."""
        return number_label_array(column)

    def parse(
        self, cells: list[str], shown: str, column: str, problems: list[Problem]
    ) -> tuple[pa.Array, LabelKind]:
        """Return the labels of CSV cells, and what they are; append what is wrong."""
        return parse_numbers(cells, shown, column, problems), "number"

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
        """Return how many rows have a true number; note those that hold none in its place."""
        without = counts.get(False, 0)
        text = f"column {column!r}: {without:,} rows hold NaN or infinity in place of a truth"
        return counts.get(True, 0), [f"{text}; they are not scored"] if without else []
