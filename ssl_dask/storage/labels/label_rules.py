"""What the labels of a job may be, classes or numbers, and which values only look like labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import Caution, Problem
from ssl_dask.label_words import folded, stands_for_nothing
from ssl_dask.storage.input.arrow_to_numpy import label_array
from ssl_dask.storage.input.column_types import (
    is_text,
    label_trouble,
    label_type,
    plain_type,
)
from ssl_dask.storage.labels.label_cells import (
    BOOLEANS,
    DECIMAL,
    WHOLE,
    NoChoicesError,
    as_int64,
    choices_in,
    label_key,
    values_of_cells,
)
from ssl_dask.storage.labels.label_verdict import (
    NO_LABEL,
    LabelKind,
    LabelValue,
    Verdict,
    refusals,
    said_none,
)
from ssl_dask.storage.labels.number_rule import NumberRule

MAX_TRUTH_VALUES = 10_000
"""True labels of a block that are counted one by one: those that say a class of the rule, or none,
then the most frequent."""
OTHER_TRUTH = ("other",)
"""Stands for all others in the counts."""
NOT_WHOLE = "labels are decimal numbers"
WHOLE_CURE = (
    "write whole numbers, and leave the cell empty where there is no label, or take method"
    " harmonic_regression, whose labels are numbers"
)


@dataclass(frozen=True)
class ClassRule:
    """Labels name classes: integers, booleans or texts."""

    classes: Sequence[LabelValue] | None = None
    """The classes, where the job lists them."""
    unlabelled: Sequence[LabelValue] = ()
    """Values that stand for no label."""

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
        self,
        cells: list[str],
        shown: str,
        column: str,
        problems: list[Problem],
        notes: list[str],
    ) -> tuple[pa.Array, LabelKind, Counter[str]]:
        """Return the labels of text cells, null where there is none, their kind, and `said_none`.

        The kind is that of the job's classes, else that of all cells which may be labels. Appends
        problems that count wrong cells, and a caution where numbers stand among other text.
        """
        verdicts = {cell: self._verdict_of_cell(cell) for cell in set(cells)}
        read = [verdicts[cell] for cell in cells]
        problems += refusals(Counter(one for one in read if one.refused), shown, None, column)
        filled = [str(one.label).strip() for one in read if one.label is not None]
        n_whole = sum(WHOLE.fullmatch(text) is not None for text in filled)
        n_decimal = sum(DECIMAL.fullmatch(text) is not None for text in filled if text)
        kinds = {kind_of_value(value) for value in self.classes or ()} - {None}
        if len(kinds) == 1:
            kind = kinds.pop() or "string"
        elif filled and n_whole == len(filled):
            kind = "integer"
        elif filled and all(text.lower() in BOOLEANS for text in filled):
            kind = "boolean"
        else:
            kind = "string"
            if filled and all(WHOLE.fullmatch(t) or DECIMAL.fullmatch(t) for t in filled):
                problems.append(Problem(NOT_WHOLE, shown, None, column, n_decimal, WHOLE_CURE))
            elif n_whole:
                text = (
                    f"{shown}, column {column!r}: {n_whole:,} labels are whole numbers and"
                    f" {len(filled) - n_whole:,} are not, so all are read as text. If the others"
                    " are no classes, list them in input.unlabelled."
                )
                notes.append(Caution(text))
        turn: dict[str, Callable[[str], Any]] = {
            "integer": as_int64,
            "boolean": lambda cell: BOOLEANS[cell.strip().lower()],
            "string": str,
        }
        arrow = {"integer": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}[kind]
        texts = ["" if one.label is None else str(one.label) for one in read]
        values, kept = values_of_cells(texts, turn[kind])
        if wrong := kept.count(False):
            text = f"labels that are not of kind {kind}, as input.classes is: {wrong:,}"
            hint = "correct the labels, or input.classes, or list them in input.unlabelled"
            if not self.classes:
                text = f"labels that are whole numbers of more than 64 bits: {wrong:,}"
                hint = "correct them, or keep the labels as text in Parquet"
            problems.append(Problem(text, shown, None, column, wrong, hint))
        return pa.array(values, arrow), kind, said_none(read)

    def _verdict_of_cell(self, cell: str) -> Verdict:
        """Return what a cell says before its kind is known: -1 may be a number or a word."""
        if cell == "":
            return NO_LABEL
        if label_key(cell) in self.no_labels:
            return self._said_none(cell)
        return Verdict(cell) if WHOLE.fullmatch(cell.strip()) else self._verdict_of_text(cell)

    def _verdict_of_text(self, text: str) -> Verdict:
        """Return what a text says, whichever classes the job lists: a choice is unpacked."""
        listed = self._listed
        try:
            choices = None if text in listed else choices_in(text)
        except NoChoicesError:
            return Verdict(None, "json")
        if choices is not None:
            if len(choices) > 1:
                return Verdict(None, "several")
            if not choices:
                return NO_LABEL
            text = choices[0]
        if label_key(text) in self.no_labels:
            return self._said_none(text)
        if text in listed:
            return Verdict(text)
        if stands_for_nothing(text):
            word = text.strip() if folded(text) else ""
            return Verdict(None, "placeholder" if word else "empty", word)
        if WHOLE.fullmatch(text.strip()) and float(text) < 0:
            return Verdict(None, "negative")
        return Verdict(text)

    def _said_none(self, value: LabelValue) -> Verdict:
        return Verdict(None, None, label_key(value))

    def verdict(self, value: LabelValue | None) -> Verdict:
        """Return whether `value` is a label, no label, or refused.

        The value None stands for text that is not valid UTF-8.
        """
        if value is None:
            return Verdict(None, "utf8")
        if label_key(value) in self.no_labels:
            return self._said_none(value)
        if isinstance(value, str):
            read = self._verdict_of_text(value)
            if read.label is None:
                return read
            value = read.label
        if self.classes is not None:
            return Verdict(value) if value in self._listed else Verdict(None, "outside")
        if not isinstance(value, (bool, str)) and value < 0:
            return Verdict(None, "negative")
        return Verdict(value)

    @cached_property
    def no_labels(self) -> frozenset[str]:
        """What stands for no label, each as `label_key` gives it."""
        return frozenset(map(label_key, self.unlabelled))

    @cached_property
    def _listed(self) -> frozenset[LabelValue]:
        """The classes that the job lists, to be looked up."""
        return frozenset(self.classes or ())

    def values(self, found: Iterable[LabelValue], kind: LabelKind) -> npt.NDArray[Any]:
        """Return the classes, int64, bool or object (C,): as the job lists them, else sorted."""
        chosen = list(self.classes) if self.classes is not None else sorted(set(found))
        dtype = {"integer": np.int64, "boolean": np.bool_, "string": object}[kind]
        return np.array(chosen, dtype=dtype)

    def truth_counts(self, values: Sequence[Any], rows: Sequence[int]) -> dict[Any, int]:
        """Return true label -> rows, given the distinct values of a block and their rows."""
        counts = list(zip(values, rows, strict=True))
        if len(counts) > MAX_TRUTH_VALUES:
            counts.sort(key=lambda one: (true_label(one[0], self).refused is not None, -one[1]))
        others = sum(n for _, n in counts[MAX_TRUTH_VALUES:])
        return dict(counts[:MAX_TRUTH_VALUES]) | ({OTHER_TRUTH: others} if others else {})

    def judge_truth(
        self, column: str, counts: Mapping[Any, int], labels: npt.NDArray[Any] | None
    ) -> tuple[int, list[str]]:
        """Return how many rows have a truth that is a class, and notes on the others."""
        classes = self.classes if labels is None or self.classes is not None else labels.tolist()
        rule = ClassRule(classes or (), self.unlabelled)
        told = ((value, n) for value, n in counts.items() if value != OTHER_TRUTH)
        read = [(true_label(value, rule), n) for value, n in told]
        known = sum(n for one, n in read if one.label is not None)
        without = sum(n for one, n in read if one.says_none)
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


def true_label(value: LabelValue | None, rule: ClassRule) -> Verdict:
    """Return the true class that a value names, no label where it is not known, or "outside".

    `rule` lists the classes, and what stands for no label.
    """
    found = rule.verdict(value)
    if found.label is not None or found.says_none:
        return found
    not_known = found.refused in ("placeholder", "empty")
    if not_known or (value is not None and stands_for_nothing(value)):
        return NO_LABEL
    return Verdict(None, "outside")


LabelRule = ClassRule | NumberRule
"""Which values are labels. Both have the same methods."""


def distinct_labels(labels: pa.Array) -> tuple[pa.Array, tuple[LabelValue | None, ...]]:
    """Return the place of each label among the distinct ones, int32, and these.

    The place of a null is null. None stands for text that is not valid UTF-8.
    """
    if is_text(labels.type):
        labels = labels.cast(pa.binary())
    encoded = labels.dictionary_encode()
    return encoded.indices, tuple(_decoded(value) for value in encoded.dictionary.to_pylist())


def _decoded(value: int | bool | float | bytes) -> LabelValue | None:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


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
