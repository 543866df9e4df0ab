"""Reads every block once, before anything is computed, and lists all that is wrong with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dask.delayed import delayed

from ssl_dask.errors import MAX_PROBLEMS_SHOWN, Caution, JobSpecError, Problem, did_you_mean
from ssl_dask.execution import Execution
from ssl_dask.kernels.arithmetic.offsets import (
    distance_told,
    far_from_offset,
    fits_offset,
    rounding_shows,
    rounding_told,
)
from ssl_dask.storage.checks.block_scan import MAX_CELL_BYTES, BlockScan, count_truth, scan_block
from ssl_dask.storage.checks.column_check import ColumnNeeds, lacking_files
from ssl_dask.storage.ids.id_check import IdCheck, find_duplicate_ids
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.labels.label_cells import label_key
from ssl_dask.storage.labels.label_file import SeedFile
from ssl_dask.storage.labels.label_rules import OTHER_TRUTH, ClassRule
from ssl_dask.storage.labels.number_rule import NumberRule
from ssl_dask.storage.labels.seed_labels import SeedTable, seeds_from_column, seeds_from_file

_MISSING_CURE = "fill them, or set `missing` in the feature group"
FINDINGS: dict[str, tuple[str, str]] = {
    "null": ("null values", _MISSING_CURE),
    "nan": ("NaN values", _MISSING_CURE),
    "inf": ("infinite values", "correct them, or write null where the value is unknown"),
    "beyond": (
        "vectors with numbers beyond 3.4e38, the largest of float32",
        "divide the vectors by one number where the data is written",
    ),
    "null_id": ("rows without an id", "give every row an id"),
    "long": (
        f"values of more than {MAX_CELL_BYTES >> 20} MiB",
        "cut them where the data is written",
    ),
    "utf8": ("values that are not valid UTF-8", "write them again as UTF-8"),
    "length": ("vectors of another length", "write all vectors with one length"),
}
"""What a scan counts: its name in messages, and the cure."""
MOST_NAMES = 20
"""Classes that a warning names."""
NO_PROBLEMS = NO_ENTITY, ROUNDED = "no_entity", "rounded"
"""Beside these: rows whose value of an entity stands for none, and whose integer is rounded."""


@dataclass(frozen=True)
class InputScan:
    """What the rows look like."""

    problems: tuple[Problem, ...]
    """What stops the job, in the order of the rows; at most 100."""
    n_problems: int
    """How many there are."""
    notes: tuple[str, ...]
    """What is worth knowing."""
    constant_columns: tuple[str, ...]
    """Feature columns with one and the same value in all rows that have one."""
    vector_lengths: Mapping[str, int]
    """Vector column -> length of its vectors."""
    offsets: Mapping[str, int]
    """Numeric column -> what is to be subtracted from its values as they are read: of integers that
    float64 does not hold, the smallest."""
    ids: IdCheck | None
    """Whether ids are different; None without an id column, or when the input cannot be read."""
    seeds: SeedTable | None
    """The labels; None where the job names none, or when the input cannot be read."""
    n_truth: int
    """Rows with a truth that can be scored."""


def scan_input(
    reader: ColumnReader,
    needs: ColumnNeeds,
    execution: Execution,
    *,
    seed_file: SeedFile | None = None,
    offsets: Mapping[str, int] | None = None,
) -> InputScan:
    """Read all needed columns once on the workers; check values, ids and labels.

    Parameters
    ----------
    reader
        Of the whole data.
    needs
        What the job reads; `check_columns` found no problem with it.
    execution
        Where the tasks run.
    seed_file
        Labels of a file, in place of `needs.label`.
    offsets
        Those that features were fitted with; None: they will be fitted on these rows.

    Raises
    ------
    JobSpecError
        Labels come both from a column and from a file.
    ComputeError
        Workers were lost. Whatever is wrong with the input is in `problems`, not raised.

    Notes
    -----
    One task a block, which holds one block and returns counts; see `find_duplicate_ids` for the
    second reading of ids that are not in order; a truth of more than 10,000 values a block is
    read a second time too. O(blocks + S) in this process.
    """
    if needs.label is not None and seed_file is not None:
        raise JobSpecError("labels come from a column and from a file", hint="give one of them")
    scans = _scanned(reader, needs, seed_file, execution)
    unreadable = [problem for scan in scans for problem in scan.problems]
    lengths, length_counts = _vector_lengths(scans)
    found, notes = _value_problems(reader, needs, scans, length_counts)
    constant, empty = _constant_columns(needs, scans)
    problems = list(dict.fromkeys(unreadable)) + found + empty
    if constant:
        notes.append(f"the same value in all rows: {', '.join(constant)}")
    ids = None if unreadable else _ids(reader, needs, scans, execution)
    seeds = None if unreadable else _seeds(reader, needs, scans, seed_file)
    for more in (ids, seeds):
        problems += more.problems if more is not None else ()
    offsets, rounded = _rounded(reader, needs, scans, offsets)
    notes += [*_no_entities(reader, scans), *rounded, *(seeds.notes if seeds else ())]
    notes += lacking_files(reader.dataset, needs)
    truth = _counted_truth(reader, needs, scans, seeds, execution)
    n_truth = _truth(needs, truth, seeds, notes)
    notes += [] if seeds is None else _not_met(needs, truth, seeds)
    shown, told, same = tuple(problems[:MAX_PROBLEMS_SHOWN]), tuple(notes), tuple(constant)
    return InputScan(shown, len(problems), told, same, lengths, offsets, ids, seeds, n_truth)


def _scanned(
    reader: ColumnReader, needs: ColumnNeeds, seed_file: SeedFile | None, execution: Execution
) -> list[BlockScan]:
    shared, wanted = (delayed(one, pure=False, traverse=False) for one in (reader, needs))
    labels = None if seed_file is None else execution.place([seed_file], lasting=True)[0]
    tasks = [
        delayed(scan_block, pure=False)(shared, block, wanted, labels) for block in reader.blocks
    ]
    return execution.compute(tasks, "checking the input")


def _no_entities(reader: ColumnReader, scans: Sequence[BlockScan]) -> list[Caution]:
    """Return a caution for each column of entities with words for "no value"."""
    return [
        Caution(
            f"Of {reader.layout.n_rows:,} rows {n:,} hold a word for 'no value' in {column!r}, as"
            " NA, unknown, -1 or what -1 becomes in an unsigned type: it joins them with no other"
            " row. Where it is a value, spell it otherwise."
        )
        for column, n in _columns_with(NO_ENTITY, scans)
    ]


def _rounded(
    reader: ColumnReader,
    needs: ColumnNeeds,
    scans: Sequence[BlockScan],
    fitted: Mapping[str, int] | None,
) -> tuple[dict[str, int], list[Caution]]:
    """Return the offsets of columns, those `fitted` if there are any, and what they cannot help."""
    offsets, cautions = dict(fitted or {}), []
    for column, n in _columns_with(ROUNDED, scans):
        ends = _ends(column, scans)
        may_move = column in needs.numeric and column not in needs.unmoved
        if fitted is None and may_move and ends is not None and fits_offset(*ends):
            offsets[column] = math.floor(ends[0])
        # Vectors have no ends.
        elif column not in offsets and (ends is None or rounding_shows(*ends)):
            cautions.append(Caution(rounding_told(repr(column), n, reader.layout.n_rows)))
    for column, offset in (fitted or {}).items():
        ends = _ends(column, scans)
        if ends is not None and far_from_offset(ends[0] - offset, ends[1] - offset):
            cautions.append(Caution(distance_told(repr(column))))
    return offsets, cautions


def _ends(column: str, scans: Sequence[BlockScan]) -> tuple[float, float] | None:
    """Return the smallest and the largest value of a column, if it has a value."""
    found = [scan.ranges[column] for scan in scans if column in scan.ranges]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _columns_with(what: str, scans: Sequence[BlockScan]) -> list[tuple[str, int]]:
    """Return (column, rows) of what scans count, in the order of names."""
    counts: Counter[str] = Counter()
    for scan in scans:
        for (column, found, _), n in scan.counts.items():
            if found == what:
                counts[column] += n
    return sorted(counts.items())


def _ids(
    reader: ColumnReader, needs: ColumnNeeds, scans: Sequence[BlockScan], execution: Execution
) -> IdCheck | None:
    if needs.id is None:
        return None
    summaries = [scan.ids for scan in scans if scan.ids is not None]
    return find_duplicate_ids(reader, needs.id, summaries, execution)


def _seeds(
    reader: ColumnReader,
    needs: ColumnNeeds,
    scans: Sequence[BlockScan],
    seed_file: SeedFile | None,
) -> SeedTable | None:
    blocks = [scan.labels for scan in scans if scan.labels is not None]
    if seed_file is not None:
        return seeds_from_file(reader, seed_file, blocks, needs.rule, needs.label_by)
    if needs.label is not None:
        return seeds_from_column(reader, needs.label, blocks, needs.rule)
    return None


def _value_problems(
    reader: ColumnReader,
    needs: ColumnNeeds,
    scans: Sequence[BlockScan],
    length_counts: Mapping[tuple[int, int, str, str], int],
) -> tuple[list[Problem], list[str]]:
    """Merge the counts of all blocks: one problem for a column, a kind of finding and a file."""
    counts: Counter[tuple[int, int, str, str]] = Counter(length_counts)
    for scan in scans:
        for (column, what, (file, group)), n in scan.counts.items():
            if what not in NO_PROBLEMS:
                counts[file, group, column, what] += n
    uses = (needs.numeric, needs.string, needs.vector)
    allowed = {
        column: all(use.get(column, True) for use in uses) for column in needs.feature_columns
    }
    groups: dict[tuple[int, str, str], dict[int, int]] = {}
    notes = []
    for (file, group, column, what), n in sorted(counts.items()):
        if what in ("null", "nan") and allowed[column]:
            there = reader.dataset.has_column(file, column)
            if there and n == reader.dataset.files[file].row_groups[group][0]:
                shown = reader.dataset.shown_path(file)
                notes.append(f"{shown}, row group {group}: column {column!r} has no value")
        else:
            groups.setdefault((file, column, what), {})[group] = n
    problems = [
        _as_problem(reader, file, column, what, rows)
        for (file, column, what), rows in groups.items()
    ]
    return problems, notes


def _as_problem(
    reader: ColumnReader, file: int, column: str, what: str, rows: Mapping[int, int]
) -> Problem:
    text, hint = FINDINGS[what]
    n = sum(rows.values())
    sizes = reader.dataset.files[file].row_groups
    full = [group for group, count in rows.items() if count == sizes[group][0]]
    where = f" in {len(rows)} row groups" if len(rows) > 1 else ""
    if what in ("null", "nan") and full:
        where += f", among them all of row group {', '.join(map(str, full[:5]))}"
        where += ", ..." if len(full) > 5 else ""
    group = next(iter(rows)) if len(rows) == 1 else None
    return Problem(f"{text}: {n:,}{where}", reader.dataset.shown_path(file), group, column, n, hint)


def _vector_lengths(
    scans: Sequence[BlockScan],
) -> tuple[dict[str, int], dict[tuple[int, int, str, str], int]]:
    """Return the length that most vectors of a column have, and how many rows have another."""
    totals: dict[str, Counter[int]] = {}
    for scan in scans:
        for column, found in scan.lengths.items():
            for lengths in found.values():
                totals.setdefault(column, Counter()).update(lengths)
    usual = {
        column: max(total, key=lambda length: (total[length], length))
        for column, total in totals.items()
        if total
    }
    counts: dict[tuple[int, int, str, str], int] = {}
    for scan in scans:
        for column, found in scan.lengths.items():
            for (file, group), lengths in found.items():
                if other := sum(n for length, n in lengths.items() if length != usual[column]):
                    key = (file, group, column, "length")
                    counts[key] = counts.get(key, 0) + other
    return usual, counts


def _constant_columns(
    needs: ColumnNeeds, scans: Sequence[BlockScan]
) -> tuple[list[str], list[Problem]]:
    """Return the columns with one value in all rows, and problems for those with none at all."""
    if any(scan.problems for scan in scans):
        return [], []
    constant, problems = [], []
    for column in dict.fromkeys([*needs.numeric, *needs.string]):
        ranges = {scan.ranges[column] for scan in scans if column in scan.ranges}
        if not ranges and not needs.empty_allowed:
            hint = "leave it out of the features"
            problems.append(Problem("no value in any row", column=column, hint=hint))
        elif len(ranges) == 1 and len(set(next(iter(ranges)))) == 1:
            constant.append(column)
    problems += [
        Problem("no vector in any row", column=column, hint="leave it out of the features")
        for column in needs.vector
        if not needs.empty_allowed
        and not any(lengths for scan in scans for lengths in scan.lengths[column].values())
    ]
    return constant, problems


def _counted_truth(
    reader: ColumnReader,
    needs: ColumnNeeds,
    scans: Sequence[BlockScan],
    seeds: SeedTable | None,
    execution: Execution,
) -> Counter[Any]:
    """Return true label -> rows; blocks of very many are read again now that classes are known."""
    counts = [scan.truth for scan in scans]
    again = [block for block, found in enumerate(counts) if OTHER_TRUTH in found]
    rule = needs.rule
    if again and seeds is not None and isinstance(rule, ClassRule) and rule.classes is None:
        classes = replace(rule, classes=tuple(seeds.labels.classes.tolist()))
        shared, count = (
            delayed(reader, pure=False, traverse=False),
            delayed(count_truth, pure=False),
        )
        tasks = [count(shared, block, needs.truth, rule, classes) for block in again]
        for block, found in zip(again, execution.compute(tasks, "checking the truth"), strict=True):
            counts[block] = found
    return sum(map(Counter, counts), Counter[Any]())


def _truth(
    needs: ColumnNeeds,
    counts: Counter[Any],
    seeds: SeedTable | None,
    notes: list[str],
) -> int:
    """Return how many rows have a truth that can be scored; note those that have none."""
    if needs.truth is None:
        return 0
    labels = None if seeds is None else seeds.labels.classes
    known, more = needs.rule.judge_truth(needs.truth, counts, labels)
    notes += more
    return known


def _not_met(needs: ColumnNeeds, truth: Counter[Any], seeds: SeedTable) -> list[Caution]:
    """Return a caution for each entry of `input.unlabelled` that no label and no truth is."""
    names = [] if isinstance(needs.rule, NumberRule) else seeds.labels.class_names
    met = {
        *seeds.said_none,
        *(needs.rule.verdict(one).word for one in truth if names and one != OTHER_TRUTH),
    }
    if not names and truth.get(False):
        # Of a truth of numbers it is only counted that there is none.
        return []
    hint = f"the labels are {', '.join(names[:MOST_NAMES])}" if names else "correct it"
    return [
        Caution(
            f"input.unlabelled lists {entry!r}, which is no row's label:"
            f" {did_you_mean(str(entry), names, hint)}"
        )
        for entry in needs.rule.unlabelled
        if label_key(entry) not in met
    ]
