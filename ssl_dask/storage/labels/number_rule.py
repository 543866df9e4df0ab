"""Which values are labels where labels are numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_dask.errors import Problem
from ssl_dask.label_words import stands_for_nothing
from ssl_dask.storage.input.arrow_to_numpy import number_label_array
from ssl_dask.storage.input.column_types import number_label_trouble
from ssl_dask.storage.labels.label_cells import NUMBER, as_number, label_key, values_of_cells
from ssl_dask.storage.labels.label_verdict import (
    LabelKind,
    LabelValue,
    Verdict,
    refusals,
)

MAX_NUMBER = 1e100
"""Errors are squared and added up over all rows: of larger numbers that would not be finite."""


@dataclass(frozen=True)
class NumberRule:
    """Labels are finite numbers, read as float64."""

    unlabelled: Sequence[LabelValue] = ()
    """Values that stand for no label."""

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
        self,
        cells: list[str],
        shown: str,
        column: str,
        problems: list[Problem],
        notes: list[str],
    ) -> tuple[pa.Array, LabelKind, Counter[str]]:
        """Return the labels of text cells, null where there is none, "number", and `said_none`.

        Appends problems that count the wrong ones.
        """
        keys = map(label_key, cells) if self._no_labels else iter([])
        said = Counter(key for key in keys if key in self._no_labels)
        known = ["" if said and label_key(cell) in said else cell for cell in cells]
        words = Counter(
            Verdict(None, "placeholder", cell.strip())
            for cell in known
            if cell.strip() and NUMBER.fullmatch(cell.strip()) is None and stands_for_nothing(cell)
        )
        problems += refusals(words, shown, None, column)
        values, kept = values_of_cells(known, as_number)
        if wrong := kept.count(False) - sum(words.values()):
            text = f"labels that are no numbers: {wrong:,}"
            hint = "write a decimal point, and leave the cell empty where there is no label"
            problems.append(Problem(text, shown, None, column, wrong, hint))
        return pa.array(values, pa.float64()), "number", said

    def verdict(self, value: LabelValue | None) -> Verdict:
        """Return whether `value` is a number to reckon with, no label, or refused."""
        number = float(value) if value is not None else math.nan
        if self._no_labels and (key := label_key(number)) in self._no_labels:
            return Verdict(None, None, key)
        if math.isfinite(number):
            return Verdict(None, "huge") if abs(number) > MAX_NUMBER else Verdict(number)
        return Verdict(None, "nan" if math.isnan(number) else "infinite")

    @cached_property
    def _no_labels(self) -> frozenset[str]:
        return frozenset(map(label_key, self.unlabelled))

    def are_numbers(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which values have a label for `verdict`, bool (n,)."""
        none = [float(key) for key in self._no_labels if NUMBER.fullmatch(key)]
        return (np.abs(values) <= MAX_NUMBER) & ~np.isin(values, none)

    def values(self, found: Iterable[LabelValue], kind: LabelKind) -> npt.NDArray[Any]:
        """Return the distinct numbers, float64 (C,), sorted."""
        return np.array(sorted(set(found)), dtype=np.float64)

    def truth_counts(self, values: Sequence[Any], rows: Sequence[int]) -> dict[Any, int]:
        """Return whether there is a number -> rows."""
        known = self.are_numbers(np.array(values, dtype=np.float64))
        n = np.bincount(known, weights=rows, minlength=2).astype(np.int64).tolist()
        return {is_known: count for is_known, count in zip((False, True), n, strict=True) if count}

    def judge_truth(
        self, column: str, counts: Mapping[Any, int], labels: npt.NDArray[Any] | None
    ) -> tuple[int, list[str]]:
        """Return how many rows have a true number, and notes on those that hold none."""
        without = counts.get(False, 0)
        text = (
            f"column {column!r}: {without:,} rows hold NaN, infinity, a number beyond 1e100 or one"
            " of input.unlabelled in place of a truth; they are not scored"
        )
        return counts.get(True, 0), [text] if without else []
