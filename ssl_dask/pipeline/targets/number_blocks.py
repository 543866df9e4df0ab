"""Steps 5 and 6 of one block of numbers, on a worker: decide, score, write, return counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_dask.decision.value_decision import (
    VALUE_REASONS,
    VALUE_SOURCES,
    DecidedValues,
    decide_values,
)
from ssl_dask.evaluation.value_scores import ErrorSums, Unit, sum_errors
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums
from ssl_dask.labels import NumberLabels
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.labels.seed_labels import true_numbers
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.result.result_schema import ResultSchema
from ssl_dask.storage.runs.manifest import PartRecord

Values = npt.NDArray[np.float64]
N_BINS = 30


@dataclass(frozen=True)
class ValueOutput:
    """What every task needs to turn a block of numbers into a part; sent once a worker.

    Parameters
    ----------
    reader, columns, row_numbers
        Read the block's id and kept columns; see `ColumnReader.read_table`.
    stage, run_id, schema
        Where and how a part is written.
    labels
        The seeds.
    half_width
        Of the interval; None for none.
    truth
        Column of the true numbers, or None.
    unit
        What errors are summed in.
    edges
        float64 (N_BINS + 1,): bins that numbers are counted in.
    sampled
        int64, sorted: global rows whose numbers the report's picture wants.
    """

    reader: ColumnReader
    columns: tuple[str, ...]
    row_numbers: str | None
    stage: Path
    run_id: str
    schema: ResultSchema
    labels: NumberLabels
    half_width: float | None
    truth: str | None
    unit: Unit
    edges: Values
    sampled: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ValueCounts:
    """Counts over decided rows; `a + b` are those of both.

    Parameters
    ----------
    sources, reasons
        int64 by code.
    bins
        int64 (N_BINS,): numbers of rows that are no seeds.
    spread
        Sums of these numbers, in the seeds' unit.
    errors, baseline_errors
        Against the truth, rows that are no seeds; None without truth, or without baseline.
    """

    sources: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.int64]
    bins: npt.NDArray[np.int64]
    spread: ColumnSums
    errors: ErrorSums | None
    baseline_errors: ErrorSums | None

    def __add__(self, other: ValueCounts) -> ValueCounts:
        return ValueCounts(
            self.sources + other.sources,
            self.reasons + other.reasons,
            self.bins + other.bins,
            self.spread + other.spread,
            _both(self.errors, other.errors),
            _both(self.baseline_errors, other.baseline_errors),
        )


@dataclass(frozen=True)
class ValueResult:
    """What comes back from a block: the record of its part, counts, and a few rows.

    Parameters
    ----------
    part
        The written part.
    counts
        Counts and sums.
    sampled_values
        float64: numbers of the sampled rows of this block, NaN for none.
    """

    part: PartRecord
    counts: ValueCounts
    sampled_values: Values


def write_value_block(
    output: ValueOutput, block: int, start: int, values: Values, baseline: Values | None
) -> ValueResult:
    """Decide the rows of one block, count them, and write its part. Runs on a worker.

    Parameters
    ----------
    output
        What all blocks share.
    block, start
        Number of the block and of its first row.
    values
        float64 (n,): NaN where no path leads to a seed.
    baseline
        float64 (n,): what ridge regression says, to be scored by the truth as well; or None.
    """
    stop = start + len(values)
    positions, given = output.labels.in_rows(start, stop)
    decided = decide_values(values, positions, given, output.half_width)
    part = write_part(
        output.stage,
        output.run_id,
        block,
        output.reader.read_table(block, output.columns, row_numbers=output.row_numbers),
        {
            "value": decided.value,
            "value_low": decided.low,
            "value_high": decided.high,
            "source": decided.source,
            "reason": decided.reason,
        },
        output.schema,
    )
    first, last = np.searchsorted(output.sampled, [start, stop])
    sampled = decided.value[output.sampled[first:last] - start]
    return ValueResult(part, _counted(output, block, decided, positions, baseline), sampled)


def merge_counts(counts: Iterable[ValueCounts]) -> ValueCounts:
    """Return the sum of at least one block's counts."""
    first, *others = counts
    for other in others:
        first = first + other
    return first


def _counted(
    output: ValueOutput,
    block: int,
    decided: DecidedValues,
    positions: npt.NDArray[np.int64],
    baseline: Values | None,
) -> ValueCounts:
    others = np.ones(len(decided.value), dtype=bool)
    others[positions] = False
    numbers = decided.value[others & ~np.isnan(decided.value)]
    unit = output.unit
    errors = baseline_errors = None
    if output.truth is not None:
        truth = true_numbers(output.reader, block, output.truth)[others]
        ends = decided.low[others], decided.high[others]
        errors = sum_errors(truth, decided.value[others], unit, *ends)
        if baseline is not None:
            # On the same rows: the two are set beside each other.
            both = np.where(np.isnan(decided.value[others]), np.nan, truth)
            baseline_errors = sum_errors(both, baseline[others], unit)
    return ValueCounts(
        np.bincount(decided.source, minlength=len(VALUE_SOURCES)),
        np.bincount(decided.reason, minlength=len(VALUE_REASONS)),
        # Rounding may carry a number past the last of the seeds'.
        np.histogram(numbers.clip(output.edges[0], output.edges[-1]), output.edges)[0],
        ColumnSums.of(((numbers - unit.middle) / unit.scale)[:, None]),
        errors,
        baseline_errors,
    )


def _both(a: ErrorSums | None, b: ErrorSums | None) -> ErrorSums | None:
    return None if a is None or b is None else a + b
