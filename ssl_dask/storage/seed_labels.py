"""The seeds: which rows carry a label, read from a column or joined from a file by id.

Tasks find the labelled rows of their block; this process holds only those, O(S), never a row
without a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.types as pt

from ssl_dask.errors import Problem, QualityError
from ssl_dask.labels import UNLABELLED, Labels
from ssl_dask.storage.block_labels import BlockLabels, truth_codes
from ssl_dask.storage.column_reader import ColumnReader
from ssl_dask.storage.label_file import SeedFile
from ssl_dask.storage.label_values import (
    REFUSALS,
    LabelKind,
    LabelValue,
    class_array,
    classes_trouble,
    codes_of,
    kind_of_type,
    kind_of_value,
    refusal,
)

__all__ = [
    "SeedTable",
    "seeds_from_column",
    "seeds_from_file",
    "truth_codes",
]


@dataclass(frozen=True)
class SeedTable:
    """The labels there are, and what is wrong with them.

    Parameters
    ----------
    labels
        Rows and codes; labels that are refused are not in it.
    n_unmatched
        Labels of a file whose id is not in the data.
    problems, notes
        What stops the job; what is worth knowing.
    """

    labels: Labels
    n_unmatched: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

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
        raise QualityError(
            f"{text}; at least {n_classes} classes must have one",
            rows=self.labels.n_seeds,
            hint="label a few rows of each class; null means unlabelled",
        )


def seeds_from_column(
    reader: ColumnReader,
    column: str,
    blocks: Sequence[BlockLabels],
    classes: Sequence[LabelValue] | None,
) -> SeedTable:
    """Join what the tasks found in a label column.

    Parameters
    ----------
    reader
        Of the whole data.
    column
        The label column.
    blocks
        One a block, from `labels_of_block`.
    classes
        The classes of the job, where it lists them.
    """
    kind = reader.dataset.schema.field(column).type
    label_kind = kind_of_type(kind)
    if pt.is_null(kind) and classes:
        label_kind = kind_of_value(classes[0]) or label_kind
    trouble = classes_trouble(classes, label_kind, column) if classes is not None else []
    if trouble:
        return SeedTable(_no_labels(reader, label_kind), 0, tuple(trouble), ())
    refused: Counter[tuple[int, int, str]] = Counter()
    accepted: set[LabelValue] = set()
    for place, block in zip(reader.layout.blocks, blocks, strict=True):
        for code, value in enumerate(block.values):
            why = refusal(value, classes)
            if why is None and value is not None:
                accepted.add(value)
                continue
            at = block.positions[block.codes == code]
            for group, first, stop in place.segments():
                if n := int(((at >= first) & (at < stop)).sum()):
                    refused[place.file, group, str(why)] += n
    found = class_array(accepted, label_kind, classes)
    rows, codes = [], []
    for start, block in zip(reader.layout.starts.tolist(), blocks, strict=True):
        table = np.array([*codes_of(block.values, found), UNLABELLED], dtype=np.int32)
        block_codes = table[block.codes]
        keep = block_codes != UNLABELLED
        rows.append(block.positions[keep] + start)
        codes.append(block_codes[keep])
    labels = Labels(reader.layout.n_rows, np.concatenate(rows), np.concatenate(codes), found)
    problems = tuple(
        Problem(
            f"{REFUSALS[why][0]}: {n:,}",
            reader.dataset.shown_path(file),
            group,
            column,
            n,
            REFUSALS[why][1],
        )
        for (file, group, why), n in sorted(refused.items())
    )
    return SeedTable(labels, 0, problems, tuple(_notes(labels)))


def seeds_from_file(
    reader: ColumnReader,
    seeds: SeedFile,
    blocks: Sequence[BlockLabels],
    classes: Sequence[LabelValue] | None,
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
    classes
        The classes of the job, where it lists them.
    """
    problems, notes = list(seeds.problems), list(seeds.notes)
    usable = [value for value in seeds.values if refusal(value, classes) is None]
    if classes is not None and classes_trouble(classes, seeds.kind, None):
        # The file's own problems tell of it.
        return SeedTable(_no_labels(reader, seeds.kind), 0, tuple(problems), tuple(notes))
    found = class_array(usable, seeds.kind, classes)
    table = np.array([*codes_of(seeds.values, found), UNLABELLED], dtype=np.int32)
    seed_codes = table[seeds.codes]
    matched = np.zeros(seeds.n_labels, dtype=bool)
    rows, codes = [], []
    for start, block in zip(reader.layout.starts.tolist(), blocks, strict=True):
        matched[block.codes] = True
        block_codes = seed_codes[block.codes]
        keep = block_codes != UNLABELLED
        rows.append(block.positions[keep] + start)
        codes.append(block_codes[keep])
    labels = Labels(reader.layout.n_rows, np.concatenate(rows), np.concatenate(codes), found)
    if n_unmatched := int((~matched).sum()):
        text = f"{n_unmatched:,} of {seeds.n_labels:,} labelled ids are not in the data"
        if seeds.allow_unmatched:
            notes.append(f"{seeds.shown}: {text}")
        else:
            hint = "correct the ids, or set allow_unmatched: true"
            problems.append(Problem(text, seeds.shown, rows=n_unmatched, hint=hint))
    notes += _notes(labels)
    return SeedTable(labels, n_unmatched, tuple(problems), tuple(notes))


def _no_labels(reader: ColumnReader, kind: LabelKind) -> Labels:
    codes = np.empty(0, dtype=np.int32)
    rows = np.empty(0, dtype=np.int64)
    return Labels(reader.layout.n_rows, rows, codes, class_array([], kind, None))


def _notes(labels: Labels) -> list[str]:
    notes = []
    if without := [
        str(value)
        for value, n in zip(labels.classes.tolist(), labels.class_counts(), strict=True)
        if n == 0
    ]:
        notes.append(
            f"no row is labelled with: {', '.join(without)}; these classes cannot be given"
        )
    if labels.n_seeds == labels.n_rows:
        notes.append("every row has a label already")
    return notes
