"""Counts over one block of decided rows that add up to the counts over all of them.

All counts are integers, so the sum does not depend on how the rows were cut into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.evaluation.metrics import Scores, confusion_counts, score_confusion
from ssl_dask.kernels.arithmetic.field_sums import FieldSums
from ssl_dask.labels import OTHER_CLASS, UNLABELLED

N_BINS = 20
"""Bins of equal width for probabilities from 0 to 1."""

PROBABILITY_UNIT = 2**24
"""Probabilities are summed in units of 2**-24, as integers; float32 has no finer steps near 1."""


class DecidedRows(Protocol):
    """What a decided block of n rows offers."""

    @property
    def label(self) -> Int32:
        """int32 (n,): class code, -1 for none."""

    @property
    def probability(self) -> Float32:
        """float32 (n,): stated chance that the label is right."""

    @property
    def source(self) -> npt.NDArray[np.uint8]:
        """uint8 (n,): code of where the label comes from."""

    @property
    def reason(self) -> npt.NDArray[np.uint8]:
        """uint8 (n,): code of why there is none."""


@dataclass(frozen=True)
class TruthCounts(FieldSums):
    """Counts against a truth column."""

    unlabelled: Int64
    seeds: Int64
    """int64 (C, C + 1) each: true class x label given, last column no label; rows that are no
    seeds, and seeds. Never added together."""
    unlabelled_other: Int64
    seeds_other: Int64
    """int64 (C + 1,) each: rows whose true class is none of the C, by the label given, last
    none."""
    unlabelled_unknown: int
    seeds_unknown: int
    """Rows whose truth is missing."""


@dataclass(frozen=True)
class Reliability(FieldSums):
    """Stated probability against how often the label was right, in `N_BINS` bins."""

    count: Int64
    right: Int64
    """int64 (N_BINS,): rows, and rows whose label is right."""
    probability_units: Int64
    """int64 (N_BINS,): sum of the stated probabilities in units of 2**-24."""

    def stated(self) -> Float64:
        """Return the mean stated probability of each bin, float64; NaN where a bin is empty."""
        units = self.probability_units / PROBABILITY_UNIT
        return np.divide(units, self.count, out=np.full(N_BINS, np.nan), where=self.count > 0)


@dataclass(frozen=True)
class BlockScore(FieldSums):
    """Counts of a run of rows; `a + b` are the counts of both."""

    n_rows: int
    """Rows."""
    labels: Int64
    """int64 (C,): rows given each class, seeds included."""
    sources: Int64
    reasons: Int64
    """int64 by code."""
    n_abstained: int
    """Rows without a label."""
    probability: Int64
    """int64 (N_BINS,): labelled rows that are no seeds, by stated probability."""
    reliability: Reliability | None
    """Of labelled rows that are no seeds and whose truth is known; None without truth."""
    truth: TruthCounts | None
    """None without truth."""


def score_block(
    decided: DecidedRows,
    seed_positions: Int64,
    *,
    n_classes: int,
    n_sources: int,
    n_reasons: int,
    truth: Int32 | None = None,
) -> BlockScore:
    """Count one block.

    Parameters
    ----------
    decided
        Decisions of n rows.
    seed_positions
        int64 (s,): the block's seeds, counted from its first row.
    n_classes, n_sources, n_reasons
        How many codes there are.
    truth
        int32 (n,): true classes, -1 where unknown, -2 where it is another class than the C, so
        that no label is right; None without a truth column.
    """
    label = decided.label
    seed = np.zeros(len(label), dtype=bool)
    seed[seed_positions] = True
    given = (label != UNLABELLED) & ~seed
    bins = _bins(decided.probability)
    return BlockScore(
        n_rows=len(label),
        labels=_counts(label[label != UNLABELLED], n_classes),
        sources=_counts(decided.source, n_sources),
        reasons=_counts(decided.reason, n_reasons),
        n_abstained=int((label == UNLABELLED).sum()),
        probability=_counts(bins[given], N_BINS),
        reliability=None if truth is None else _reliability(decided, bins, given, truth),
        truth=None if truth is None else _against_truth(decided, seed, truth, n_classes),
    )


@dataclass(frozen=True)
class TruthScores:
    """Three answers that are never one: on the unlabelled rows, on the seeds, on both together."""

    unlabelled: Scores
    """Rows that were no seeds: how good the propagated labels are."""
    seeds: Scores
    """Rows whose label was given: how good the given labels are."""
    overall: Scores
    """Both; flattered by the seeds."""
    unknown: int
    """Rows without a truth, left out of all three."""
    other_class: int = 0
    """Rows whose true class is none of the classes (no seed shows it), wrong in all three."""


def truth_scores(
    truth: TruthCounts, class_names: Sequence[str], confidence: float = 0.95
) -> TruthScores:
    """Return the scores of all rows' counts against a truth column."""
    other = truth.unlabelled_other + truth.seeds_other
    return TruthScores(
        unlabelled=score_confusion(
            truth.unlabelled, class_names, confidence, other=truth.unlabelled_other
        ),
        seeds=score_confusion(truth.seeds, class_names, confidence, other=truth.seeds_other),
        overall=score_confusion(
            truth.unlabelled + truth.seeds, class_names, confidence, other=other
        ),
        unknown=truth.unlabelled_unknown + truth.seeds_unknown,
        other_class=int(other.sum()),
    )


def _reliability(decided: DecidedRows, bins: Int64, given: Bool, truth: Int32) -> Reliability:
    known = given & (truth != UNLABELLED)
    units = np.rint(decided.probability[known].astype(np.float64) * PROBABILITY_UNIT)
    summed = np.zeros(N_BINS, dtype=np.int64)
    np.add.at(summed, bins[known], units.astype(np.int64))
    right = known & (decided.label == truth)
    return Reliability(_counts(bins[known], N_BINS), _counts(bins[right], N_BINS), summed)


def _against_truth(decided: DecidedRows, seed: Bool, truth: Int32, n_classes: int) -> TruthCounts:
    unknown, other = truth == UNLABELLED, truth == OTHER_CLASS
    given = np.where(decided.label == UNLABELLED, n_classes, decided.label)
    return TruthCounts(
        unlabelled=confusion_counts(truth[~seed], decided.label[~seed], n_classes),
        seeds=confusion_counts(truth[seed], decided.label[seed], n_classes),
        unlabelled_other=_counts(given[other & ~seed], n_classes + 1),
        seeds_other=_counts(given[other & seed], n_classes + 1),
        unlabelled_unknown=int((unknown & ~seed).sum()),
        seeds_unknown=int((unknown & seed).sum()),
    )


def _bins(probability: Float32) -> Int64:
    # In float64, so that 0.05 steps are not moved by float32 products.
    bins = (probability.astype(np.float64) * N_BINS).astype(np.int64)
    return np.minimum(bins, N_BINS - 1)


def _counts(codes: npt.NDArray[np.integer], length: int) -> Int64:
    return np.bincount(codes, minlength=length).astype(np.int64)
