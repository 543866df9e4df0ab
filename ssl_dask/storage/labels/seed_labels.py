"""The seeds: which rows carry a label, read from a column or joined from a file by id.

Tasks find the labelled rows of their block; this process holds only those, O(S), never a row
without a label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ssl_dask.errors import Caution, Problem, QualityError
from ssl_dask.label_words import alike_names, code_for_nothing
from ssl_dask.labels import UNLABELLED, Labels
from ssl_dask.storage.files.file_names import NULL_PARTITION
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.row_layout import Place
from ssl_dask.storage.labels.label_file import SeedFile
from ssl_dask.storage.labels.label_rules import ClassRule, LabelRule, distinct_labels
from ssl_dask.storage.labels.label_verdict import (
    WRITE_NULL,
    LabelKind,
    LabelValue,
    Verdict,
    refusals,
    said_none,
)
from ssl_dask.storage.labels.unsigned_labels import refuse_wrapped

NEARLY_ALL = 0.9
"""Share of the rows from which on seeds are said to be nearly all of them."""


@dataclass(frozen=True)
class BlockLabels:
    """The labelled rows of one block."""

    positions: npt.NDArray[np.int64]
    """int64 (s,): rows, counted in the block."""
    codes: npt.NDArray[np.int32]
    """int32 (s,): position of each label in `values`."""
    values: tuple[LabelValue | None, ...]
    """Labels; None for text that is not valid UTF-8. Empty when the labels are those of a
    `SeedFile`, whose ids `codes` then points to."""
    n_said_none: int = 0
    """Rows beside them whose value says that there is no label."""
    said_none: Mapping[str, int] = field(default_factory=dict)
    """Entry of `input.unlabelled` -> rows among these that hold it."""
    refused: Mapping[tuple[Place, Verdict], int] = field(default_factory=dict)
    """(place, why) -> rows beside them whose value is refused."""
    tags: npt.NDArray[np.int64] | None = None
    """int64 (s,): those of the rows; None where rows have no ids."""


def seeds_of_block(
    column: pa.ChunkedArray,
    kind: pa.DataType,
    rule: LabelRule,
    segments: Sequence[tuple[Place, int, int]],
) -> BlockLabels:
    """Find the seeds in one block of a label column; other values are counted.

    Parameters
    ----------
    column, kind, rule
        As for `labels_of_block`.
    segments
        From `Block.segments`.

    Raises
    ------
    ColumnValueError
        As `labels_of_block`, and `refuse_wrapped`.
    """
    refuse_wrapped(column, rule)
    found = labels_of_block(column, kind, rule)
    verdicts = [rule.verdict(value) for value in found.values]
    # Many values share a verdict: rows are counted by it, not by value.
    whys = dict.fromkeys(verdict for verdict in verdicts if verdict.refused is not None)
    numbers = {why: number for number, why in enumerate(whys)}
    why_of_row = np.array([numbers.get(one, -1) for one in verdicts], dtype=np.int64)[found.codes]
    refused: Counter[tuple[Place, Verdict]] = Counter()
    for place, first, stop in segments if whys else ():
        inside = slice(*np.searchsorted(found.positions, [first, stop]))
        counts = np.bincount(why_of_row[inside] + 1, minlength=len(whys) + 1)[1:]
        refused.update({(place, why): n for why, n in zip(whys, counts.tolist(), strict=True) if n})
    none = np.array([verdict.says_none for verdict in verdicts], dtype=bool)
    values = tuple(dict.fromkeys(one.label for one in verdicts if one.label is not None))
    codes = _codes_of([one.label for one in verdicts], np.array(values, dtype=object))[found.codes]
    keep = codes != UNLABELLED
    n_said_none = int(none[found.codes].sum())
    said = said_none(verdicts[code] for code in found.codes[none[found.codes]].tolist())
    return BlockLabels(found.positions[keep], codes[keep], values, n_said_none, said, refused)


def labels_of_block(column: pa.ChunkedArray, kind: pa.DataType, rule: LabelRule) -> BlockLabels:
    """Find the rows that have a value in one block of a label column.

    Parameters
    ----------
    column
        As read from one file.
    kind
        The column's type in the whole data set.
    rule
        What labels may be.

    Raises
    ------
    ColumnValueError
        An integer that is beyond what labels are read as.
    """
    array = rule.array(column, kind)
    positions = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
    places, values = distinct_labels(array.drop_null())
    codes = places.to_numpy(zero_copy_only=False).astype(np.int32)
    return BlockLabels(positions, codes, values)


def matches_of_block(ids: pa.Array, seeds: SeedFile) -> BlockLabels:
    """Find the rows of one block whose ids are in a label file; `codes` are places in `seeds.ids`.

    Costs a hash table of the seeds' ids, O(S), in each task.
    """
    found = pc.index_in(ids, value_set=seeds.ids, skip_nulls=True)
    positions = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
    codes = found.drop_null().to_numpy(zero_copy_only=False).astype(np.int32)
    return BlockLabels(positions, codes, ())


def block_ids(reader: ColumnReader, block: int, id_column: str | None) -> pa.Array:
    """Return the ids of one block, which are row numbers where there is no id column.

    Raises
    ------
    InputDataError
        As `ColumnReader.read`.
    """
    if id_column is None:
        return pa.array(reader.read_ids(block, None))
    return reader.id_array(block, id_column)


@dataclass(frozen=True)
class SeedTable:
    """The labels there are, and what is wrong with them."""

    labels: Labels
    """Rows and codes; labels that are refused are not in it."""
    n_unmatched: int
    """Labels of a file whose id is not in the data."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """What stops the job; what is worth knowing."""
    said_none: Mapping[str, int] = field(default_factory=dict)
    """Entry of `input.unlabelled` -> rows that have no label for it."""

    def require_classes(self, n_classes: int = 2) -> None:
        """Refuse labels of too few classes.

        Parameters
        ----------
        n_classes
            Classes with at least one labelled row that the method needs.

        Raises
        ------
        QualityError
            Fewer classes have a label; the message gives the counts.
        """
        counts = self.labels.class_counts()
        found = int((counts > 0).sum())
        if found >= n_classes:
            return
        if found == 0:
            text = f"no labelled row among {self.labels.n_rows:,}"
        else:
            text = (
                f"labels of {found} class only, on {self.labels.n_seeds:,} of"
                f" {self.labels.n_rows:,} rows"
            )
        taken, more = self._taken_away()
        raise QualityError(
            f"{text}{taken}; at least {n_classes} classes must have one",
            rows=self.labels.n_seeds,
            hint=f"label a few rows of each class; null means unlabelled{more}",
        )

    def require_numbers(self) -> None:
        """Refuse labels that are numbers where there are fewer than two, or all are the same.

        Raises
        ------
        QualityError
            The message gives the counts.
        """
        labels = self.labels
        if labels.n_seeds == 0:
            text = f"no labelled row among {labels.n_rows:,}"
        elif labels.n_classes == 1:
            text = f"one and the same number on all {labels.n_seeds:,} labelled rows"
        else:
            return
        taken, more = self._taken_away()
        raise QualityError(
            f"{text}{taken}; at least two rows must have labels, and different ones",
            rows=labels.n_seeds,
            hint=f"label a few more rows; null means unlabelled{more}",
        )

    def _taken_away(self) -> tuple[str, str]:
        """Return what `input.unlabelled` has to do with it, and the cure; both may be empty."""
        if not self.said_none:
            return "", ""
        words = ", ".join(f"{word!r}: {n:,}" for word, n in self.said_none.items())
        cure = "; take out of input.unlabelled what is a label"
        return f"; input.unlabelled takes labels away ({words})", cure


def seeds_from_column(
    reader: ColumnReader,
    column: str,
    blocks: Sequence[BlockLabels],
    rule: LabelRule,
) -> SeedTable:
    """Join what the tasks found in a label column.

    Parameters
    ----------
    reader
        Of the whole data.
    column
        The label column.
    blocks
        One a block, from `seeds_of_block`.
    rule
        What labels may be.
    """
    kind = reader.dataset.schema.field(column).type
    label_kind = rule.kind_of(kind)
    if trouble := rule.job_problems(label_kind, column):
        return SeedTable(_no_labels(reader, label_kind, rule), 0, tuple(trouble), ())
    refused: dict[Place, Counter[Verdict]] = {}
    for block in blocks:
        for (place, verdict), n in block.refused.items():
            refused.setdefault(place, Counter())[verdict] += n
    accepted = {value for block in blocks for value in block.values if value is not None}
    classes = rule.values(accepted, label_kind)
    codes = [_codes_of(block.values, classes)[block.codes] for block in blocks]
    labels = _joined_labels(reader, blocks, codes, classes)
    problems = tuple(
        problem
        for (file, group), counts in sorted(refused.items())
        for problem in refusals(counts, reader.dataset.shown_path(file), group, column)
    )
    if column in reader.dataset.partition_columns:
        unlabelled = f"rename the folder to {column}={NULL_PARTITION} where rows are unlabelled"
        problems = tuple(
            replace(one, hint=str(one.hint).replace(WRITE_NULL, unlabelled)) for one in problems
        )
    notes: list[str] = [*_cautions_on(labels, rule)]
    if none := sum(block.n_said_none for block in blocks):
        notes.append(f"column {column!r}: rows whose label says that there is none: {none:,}")
    said = sum((Counter(block.said_none) for block in blocks), Counter[str]())
    return SeedTable(labels, 0, problems, tuple(notes), said)


def seeds_from_file(
    reader: ColumnReader,
    seeds: SeedFile,
    blocks: Sequence[BlockLabels],
    rule: LabelRule,
    by: str | None = None,
) -> SeedTable:
    """Join what the tasks found of the ids in a label file.

    Parameters
    ----------
    reader
        Of the whole data.
    seeds
        From `read_label_file`.
    blocks
        One a block, from `matches_of_block`.
    rule
        What labels may be.
    by
        Column of the data that the ids name; None: its ids.
    """
    problems, notes = list(seeds.problems), list(seeds.notes)
    if rule.job_problems(seeds.kind, None):
        # It is among the problems of the file.
        return SeedTable(_no_labels(reader, seeds.kind, rule), 0, tuple(problems), tuple(notes))
    classes = rule.values(seeds.values, seeds.kind)
    seed_codes = _codes_of(seeds.values, classes)[seeds.codes]
    codes = [seed_codes[block.codes] for block in blocks]
    labels = _joined_labels(reader, blocks, codes, classes)
    matched = np.zeros(seeds.n_labels, dtype=bool)
    for block in blocks:
        matched[block.codes] = True
    if n_unmatched := int((~matched).sum()):
        what = "ids" if by is None else f"values of {by!r}"
        text = f"{n_unmatched:,} of {seeds.n_labels:,} labelled {what} are not in the data"
        if seeds.allow_unmatched:
            notes.append(f"{seeds.shown}: {text}")
        else:
            hint = "correct them, or set input.labels.allow_unmatched: true"
            problems.append(Problem(text, seeds.shown, rows=n_unmatched, hint=hint))
    n_rows = int(sum(len(block.codes) for block in blocks))
    if n_rows > matched.sum():
        text = (
            f"{int(matched.sum()):,} labels name groups of {n_rows:,} rows: a hidden row has others"
            " of its group beside it, so the accuracy may look better than it is"
        )
        notes.append(Caution(text))
    notes = [*_cautions_on(labels, rule), *notes]
    return SeedTable(labels, n_unmatched, tuple(problems), tuple(notes), seeds.said_none)


def _codes_of(
    values: Sequence[LabelValue | None], classes: npt.NDArray[Any]
) -> npt.NDArray[np.int32]:
    """Return the position of each value in `classes`, int32; -1 for what is no class."""
    places = {value: code for code, value in enumerate(classes.tolist())}
    return np.array([places.get(value, UNLABELLED) for value in values], dtype=np.int32)


def _joined_labels(
    reader: ColumnReader,
    blocks: Sequence[BlockLabels],
    codes: Sequence[npt.NDArray[np.int32]],
    classes: npt.NDArray[Any],
) -> Labels:
    """Return the labels of all blocks by tag, or by row, without those whose code is -1."""
    rows = [
        block.positions + start
        for block, start in zip(blocks, reader.layout.starts.tolist(), strict=True)
    ]
    joined, joined_codes, tags = np.concatenate(rows), np.concatenate(codes), None
    order = np.flatnonzero(joined_codes != UNLABELLED)
    given = [block.tags for block in blocks if block.tags is not None]
    if len(given) == len(blocks):
        tags = np.concatenate(given)
        order = order[np.argsort(tags[order], kind="stable")]
        tags = tags[order]
    n_rows = reader.layout.n_rows
    return Labels(n_rows, joined[order], joined_codes[order], classes, tags=tags)


def _no_labels(reader: ColumnReader, kind: LabelKind, rule: LabelRule) -> Labels:
    codes = np.empty(0, dtype=np.int32)
    rows = np.empty(0, dtype=np.int64)
    return Labels(reader.layout.n_rows, rows, codes, rule.values([], kind))


def _cautions_on(labels: Labels, rule: LabelRule) -> list[Caution]:
    notes = _nothing_to_label(labels)
    names = [str(value) for value in labels.classes.tolist()]
    counts = labels.class_counts()
    if without := [name for name, n in zip(names, counts, strict=True) if n == 0]:
        text = f"no row is labelled with: {', '.join(without)}; these classes cannot be given"
        notes.append(Caution(text))
    whole = isinstance(rule, ClassRule) and not rule.classes and labels.classes.dtype.kind == "i"
    code = code_for_nothing(labels.classes.tolist()) if whole else None
    if code is not None:
        text = (
            f"{int(counts[-1]):,} labels are {code}, far from all others: if that stands for 'not"
            f" known', set input.unlabelled: [{code}]; if it is a class, list it in input.classes"
            " with all others"
        )
        notes.append(Caution(text))
    if alike := alike_names(names):
        notes.append(Caution(alike))
    return notes


def _nothing_to_label(labels: Labels) -> list[Caution]:
    """Return a caution where there is next to nothing to label."""
    if labels.n_seeds < NEARLY_ALL * labels.n_rows:
        return []
    rest = labels.n_rows - labels.n_seeds
    counts = labels.class_counts()
    name, n = labels.class_names[int(counts.argmax())], int(counts.max())
    text = (
        f"Of {labels.n_rows:,} rows only {rest:,} have no label"
        if rest
        else "Every row has a label already: nothing will be labelled"
    )
    cure = "If a class stands for 'not known', list it in input.unlabelled."
    if n >= NEARLY_ALL * labels.n_seeds:
        listed = json.dumps(name, ensure_ascii=False)
        cure = (
            f"{n:,} labels are {name!r}: if that stands for 'not known', set"
            f" input.unlabelled: [{listed}]; two other classes must have labels then."
        )
    return [Caution(f"{text}. {cure}")]
