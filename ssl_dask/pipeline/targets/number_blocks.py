"""Steps 5 and 6 of one block of numbers, on a worker: decide, score, write, return counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_dask.array_types import Float64, Int64
from ssl_dask.decision.value_decision import (
    VALUE_REASONS,
    VALUE_SOURCES,
    DecidedValues,
    decide_values,
)
from ssl_dask.evaluation.value_scores import ErrorSums, Unit, sum_errors
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums
from ssl_dask.kernels.arithmetic.field_sums import FieldSums
from ssl_dask.labels import NumberLabels
from ssl_dask.pipeline.targets.block_task import BlockTask
from ssl_dask.storage.labels.number_rule import NumberRule
from ssl_dask.storage.labels.true_labels import true_numbers
from ssl_dask.storage.runs.manifest import PartRecord

N_BINS = 30


@dataclass(frozen=True)
class NumberCounts(FieldSums):
    """Counts over decided rows; `a + b` are those of both."""

    sources: Int64
    reasons: Int64
    """int64 by code."""
    bins: Int64
    """int64 (N_BINS,): numbers of rows that are no seeds."""
    spread: ColumnSums
    """Sums of these numbers, in the seeds' unit."""
    errors: ErrorSums | None
    baseline_errors: ErrorSums | None
    """Against the truth, rows that are no seeds; None without truth, or without baseline."""


@dataclass(frozen=True)
class NumberResult:
    """What comes back from a block: the record of its part, counts, and a few rows."""

    part: PartRecord
    """The written part."""
    counts: NumberCounts
    """Counts and sums."""
    sampled: Float64
    """float64: numbers of the sampled rows of this block, NaN for none."""


@dataclass(frozen=True, kw_only=True)
class NumberBlocks(BlockTask[NumberResult]):
    """Decides the number of each row of a block."""

    labels: NumberLabels
    """The seeds."""
    rule: NumberRule
    """Which values of the truth are numbers."""
    half_width: float | None
    """Of the interval; None for none."""
    source: str
    """Of numbers that are not the seeds', one of `VALUE_SOURCES`."""
    unit: Unit
    """What errors are summed in."""
    edges: Float64
    """float64 (N_BINS + 1,): bins that numbers are counted in."""

    def write(self, block: int, start: int, F: Any, *beside: Any) -> NumberResult:
        """Decide, count and write the rows of one block.

        Parameters
        ----------
        block, start
            Number of the block and of its first row.
        F
            float64 (n,): NaN where no path leads to a seed.
        beside
            float64 (n,): the numbers of ridge regression, to be scored by the truth as well; or
            None.
        """
        positions, given = self.labels.in_rows(start, start + len(F))
        decided = decide_values(F, positions, given, self.half_width, self.source)
        part = self.write_part(
            block,
            {
                "value": decided.value,
                "value_low": decided.low,
                "value_high": decided.high,
                "source": decided.source,
                "reason": decided.reason,
            },
        )
        counts = self._counted(block, decided, positions, *beside)
        return NumberResult(part, counts, self.sampled_of(start, decided.value))

    def _counted(
        self, block: int, decided: DecidedValues, positions: Int64, baseline: Float64 | None
    ) -> NumberCounts:
        others = np.ones(len(decided.value), dtype=bool)
        others[positions] = False
        numbers = decided.value[others & ~np.isnan(decided.value)]
        unit = self.unit
        errors = baseline_errors = None
        if self.truth is not None:
            truth = true_numbers(self.reader, block, self.truth, self.rule)[others]
            ends = decided.low[others], decided.high[others]
            errors = sum_errors(truth, decided.value[others], unit, *ends)
            if baseline is not None:
                # On the same rows: the two are set beside each other.
                both = np.where(np.isnan(decided.value[others]), np.nan, truth)
                baseline_errors = sum_errors(both, baseline[others], unit)
        return NumberCounts(
            np.bincount(decided.source, minlength=len(VALUE_SOURCES)),
            np.bincount(decided.reason, minlength=len(VALUE_REASONS)),
            # Rounding may carry a number past the last of the seeds'.
            np.histogram(numbers.clip(self.edges[0], self.edges[-1]), self.edges)[0],
            ColumnSums.of(((numbers - unit.middle) / unit.scale)[:, None]),
            errors,
            baseline_errors,
        )
