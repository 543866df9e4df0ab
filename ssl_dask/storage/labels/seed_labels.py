"""The seeds: which rows carry a label, read from a column or joined from a file by id.

Tasks find the labelled rows of their block; this process holds only those, O(S), never a row
without a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_dask.errors import Problem, QualityError
from ssl_dask.labels import UNLABELLED, Labels, alike_names
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.labels.block_labels import BlockLabels, true_numbers, truth_codes
from ssl_dask.storage.labels.label_file import SeedFile
from ssl_dask.storage.labels.label_rules import LabelRule
from ssl_dask.storage.labels.label_values import REFUSALS, LabelKind, LabelValue, codes_of

__all__ = [
    "SeedTable",
    "seeds_from_column",
    "seeds_from_file",
    "true_numbers",
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


def require_numbers(seeds: SeedTable) -> None:
    """Refuse labels that are numbers and tell nothing: fewer than two, or all the same.

    Raises
    ------
    QualityError
        The message gives the counts.
    """
    labels = seeds.labels
    if labels.n_seeds == 0:
        text = f"no labelled row among {labels.n_rows:,}"
    elif labels.n_classes == 1:
        text = f"one and the same number on all {labels.n_seeds:,} labelled rows"
    else:
        return
    raise QualityError(
        f"{text}; at least two rows must have labels, and different ones",
        rows=labels.n_seeds,
        hint="label a few more rows; null means unlabelled",
    )


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
        One a block, from `labels_of_block`.
    rule
        What labels may be.
    """
    kind = reader.dataset.schema.field(column).type
    label_kind = rule.kind_of(kind)
    if trouble := rule.job_problems(label_kind, column):
        return SeedTable(_no_labels(reader, label_kind, rule), 0, tuple(trouble), ())
    refused: Counter[tuple[int, int, str]] = Counter()
    accepted: set[LabelValue] = set()
    for place, block in zip(reader.layout.blocks, blocks, strict=True):
        for code, value in enumerate(block.values):
            why = rule.refusal(value)
            if why is None and value is not None:
                accepted.add(value)
                continue
            at = block.positions[block.codes == code]
            for group, first, stop in place.segments():
                if n := int(((at >= first) & (at < stop)).sum()):
                    refused[place.file, group, str(why)] += n
    found = rule.values(accepted, label_kind)
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
    rule: LabelRule,
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
    """
    problems, notes = list(seeds.problems), list(seeds.notes)
    usable = [value for value in seeds.values if rule.refusal(value) is None]
    if rule.job_problems(seeds.kind, None):
        # The file's own problems tell of it.
        return SeedTable(_no_labels(reader, seeds.kind, rule), 0, tuple(problems), tuple(notes))
    found = rule.values(usable, seeds.kind)
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


def _no_labels(reader: ColumnReader, kind: LabelKind, rule: LabelRule) -> Labels:
    codes = np.empty(0, dtype=np.int32)
    rows = np.empty(0, dtype=np.int64)
    return Labels(reader.layout.n_rows, rows, codes, rule.values([], kind))


def _notes(labels: Labels) -> list[str]:
    notes = []
    names = [str(value) for value in labels.classes.tolist()]
    counts = labels.class_counts()
    if without := [name for name, n in zip(names, counts, strict=True) if n == 0]:
        notes.append(
            f"no row is labelled with: {', '.join(without)}; these classes cannot be given"
        )
    if alike := alike_names(names):
        notes.append(alike)
    if labels.n_seeds == labels.n_rows:
        notes.append("every row has a label already")
    return notes
