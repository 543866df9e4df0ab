"""Looks at one block of rows and returns a small summary: counts, ranges, labels, never values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.storage.checks.column_check import ColumnNeeds
from ssl_dask.storage.ids.id_check import IdSummary, summarise_ids
from ssl_dask.storage.ids.id_hash import tags_of
from ssl_dask.storage.input.arrow_to_numpy import (
    ColumnValueError,
    cast_exactly,
    decoded,
    id_array,
    numeric_values,
    one_vector_array,
    rounded_integers,
    said_none,
    text_column,
    vector_lengths,
)
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import is_text
from ssl_dask.storage.input.row_layout import Place
from ssl_dask.storage.labels.label_file import SeedFile
from ssl_dask.storage.labels.label_rules import LabelRule
from ssl_dask.storage.labels.seed_labels import (
    BlockLabels,
    block_ids,
    labels_of_block,
    matches_of_block,
    seeds_of_block,
)

MAX_CELL_BYTES = 1 << 20


@dataclass
class BlockScan:
    """What one block looks like.

    Parameters
    ----------
    counts
        (column, what, place) -> rows; what is a key of `input_check.FINDINGS` or
        among `input_check.NO_PROBLEMS`.
    ranges
        Feature column -> (low, high) of its values: integers where float64 does not hold them, of
        text hashes; equal only if all values are. Absent where a column has no value here. Of a
        column that serves both as text and as numbers: of the numbers.
    lengths
        Vector column -> place -> length -> rows.
    ids, labels
        Of the block, where the job has them.
    truth
        What the rule of the labels counts of the truth -> rows, null left out.
    problems
        Why the block could not be read.
    """

    counts: dict[tuple[str, str, Place], int] = field(default_factory=dict)
    ranges: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    lengths: dict[str, dict[Place, dict[int, int]]] = field(default_factory=dict)
    ids: IdSummary | None = None
    labels: BlockLabels | None = None
    truth: dict[Any, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def scan_block(
    reader: ColumnReader, block: int, needs: ColumnNeeds, seeds: SeedFile | None
) -> BlockScan:
    """Read one block and summarise it; what cannot be read is a problem of the summary.

    Holds the block's columns as they are read, and one of them turned.
    """
    try:
        table = reader.read_raw(block, needs.columns)
    except InputDataError as error:
        return BlockScan(problems=list(error.problems))
    return _Scanner(reader, block, table, needs).scan(needs, seeds)


def count_truth(
    reader: ColumnReader, block: int, column: str, rule: LabelRule, classes: LabelRule
) -> dict[Any, int]:
    """Return true label -> rows of one block, read by `rule` and counted by `classes`.

    Raises
    ------
    InputDataError
        A file changed since it was opened, or a value is beyond what labels are read as.
    """
    values = reader.read_raw(block, [column]).column(column)
    with reader.naming_place(block, column):
        return _truth_of(values, reader.dataset.schema.field(column).type, rule, classes)


def _truth_of(
    values: pa.ChunkedArray, kind: pa.DataType, rule: LabelRule, classes: LabelRule
) -> dict[Any, int]:
    found = labels_of_block(values, kind, rule)
    rows = np.bincount(found.codes, minlength=len(found.values)).tolist()
    return classes.truth_counts(found.values, rows)


class _Scanner:
    """The scan of one block's table."""

    def __init__(
        self, reader: ColumnReader, block: int, table: pa.Table, needs: ColumnNeeds
    ) -> None:
        self._reader = reader
        self._block = block
        self._table = table
        self._segments = reader.layout.blocks[block].segments()
        self._rule = needs.rule
        self._id_array: pa.Array | None = None
        self._scan = BlockScan()

    def scan(self, needs: ColumnNeeds, seeds: SeedFile | None) -> BlockScan:
        steps: list[tuple[str, Callable[[str, pa.ChunkedArray, pa.DataType], None]]] = []
        if needs.id is not None:
            steps.append((needs.id, self._ids))
        if needs.label is not None:
            steps.append((needs.label, self._labels))
        if needs.truth is not None:
            steps.append((needs.truth, self._truth))
        steps += [(name, self._string) for name in needs.string]
        steps += [(name, self._numeric) for name in needs.numeric]
        steps += [(name, self._vector) for name in needs.vector]
        steps += [(name, self._kept) for name in needs.keep]
        steps += [(name, self._entities) for name in needs.entities]
        for column, step in steps:
            kind = self._reader.dataset.schema.field(column).type
            try:
                with self._reader.naming_place(self._block, column):
                    step(column, self._table.column(column), kind)
            except InputDataError as error:
                self._scan.problems += error.problems
        if seeds is not None and not self._scan.problems:
            self._join(needs.label_by or needs.id, seeds)
        ids, labels = self._id_array, self._scan.labels
        # A row without an id is a problem of its own.
        if labels is not None and ids is not None and not ids.null_count:
            tags = tags_of(ids.take(pa.array(labels.positions)))
            self._scan.labels = replace(labels, tags=tags)
        return self._scan

    def _count(self, column: str, what: str, mask: npt.NDArray[np.bool_]) -> None:
        """Count the rows of `mask`, bool (n,), in each row group."""
        if not mask.any():
            return
        for place, first, stop in self._segments:
            if n := int(mask[first:stop].sum()):
                # Set, not added: a column that serves twice is counted once.
                self._scan.counts[column, what, place] = n

    def _numeric(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        values = decoded(values)
        null = _mask_of(values.is_null())
        numbers = numeric_values(values)
        self._count(column, "null", null)
        self._count(column, "nan", np.isnan(numbers) & ~null)
        self._count(column, "inf", np.isinf(numbers))
        rounded = rounded_integers(values)
        self._count(column, "rounded", rounded)
        finite = numbers[np.isfinite(numbers)]
        if rounded.any():
            ends = pc.min_max(values).as_py()
            self._scan.ranges[column] = int(ends["min"]), int(ends["max"])
        elif len(finite):
            self._scan.ranges[column] = float(finite.min()), float(finite.max())

    def _string(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        values = decoded(values)
        self._count(column, "null", _mask_of(values.is_null()))
        if not is_text(values.type):
            values = text_column(values, kind)
        self._check_text(column, values)
        ends = pc.min_max(values.cast(pa.large_binary()))
        if ends["min"].is_valid:
            self._scan.ranges[column] = (
                _digest_of_text(ends["min"].as_py()),
                _digest_of_text(ends["max"].as_py()),
            )

    def _check_text(self, column: str, values: pa.ChunkedArray) -> None:
        """Count cells that are too long or no text."""
        if not is_text(values.type):
            return
        too_long = pc.greater(pc.binary_length(values), MAX_CELL_BYTES)
        self._count(column, "long", _mask_of(pc.fill_null(too_long, False)))
        try:
            text_column(values, values.type)
        except ColumnValueError:
            cells = values.cast(pa.large_binary())
            self._count(column, "utf8", np.array([_is_no_text(cell) for cell in cells]))

    def _vector(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        array = one_vector_array(values)
        lengths = vector_lengths(array)
        self._count(column, "null", lengths < 0)
        places = self._scan.lengths.setdefault(column, {})
        for place, first, stop in self._segments:
            found, n = np.unique(lengths[first:stop], return_counts=True)
            places[place] = {
                int(length): int(rows) for length, rows in zip(found, n, strict=True) if length >= 0
            }
        if not (lengths > 0).any():
            return
        values = pa.chunked_array([array.flatten()])
        exact = numeric_values(values)
        with np.errstate(over="ignore"):
            flat = exact.astype(np.float32)
        rounded = rounded_integers(values)
        if np.isfinite(flat).all() and not rounded.any():
            return
        row_of = np.repeat(np.arange(len(lengths)), np.maximum(lengths, 0))
        infinite = np.isinf(exact)
        findings = (
            ("nan", np.isnan(flat)),
            ("inf", infinite),
            ("beyond", np.isinf(flat) & ~infinite),
            ("rounded", rounded),
        )
        for what, wrong in findings:
            mask = np.zeros(len(lengths), dtype=bool)
            mask[row_of[wrong]] = True
            self._count(column, what, mask)

    def _ids(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        values = decoded(values)
        self._count(column, "null_id", _mask_of(values.is_null()))
        self._check_text(column, values)
        self._id_array = id_array(values, kind)
        self._scan.ids = summarise_ids(self._id_array)

    def _labels(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        self._scan.labels = seeds_of_block(values, kind, self._rule, self._segments)

    def _truth(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        self._scan.truth = _truth_of(values, kind, self._rule, self._rule)

    def _kept(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        cast_exactly(values, kind)

    def _entities(self, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> None:
        self._count(column, "no_entity", said_none(id_array(values, kind)))

    def _join(self, id_column: str | None, seeds: SeedFile) -> None:
        if id_column is None:
            ids = block_ids(self._reader, self._block, None)
        else:
            kind = self._reader.dataset.schema.field(id_column).type
            ids = id_array(self._table.column(id_column), kind)
        self._scan.labels = matches_of_block(ids, seeds)


def _mask_of(values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = values.to_numpy()
    return mask


def _digest_of_text(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()


def _is_no_text(cell: pa.Scalar) -> bool:
    if not cell.is_valid:
        return False
    try:
        cell.as_py().decode()
    except UnicodeDecodeError:
        return True
    return False
