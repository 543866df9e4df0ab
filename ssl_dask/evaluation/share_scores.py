"""Precision, recall and accuracy among the rows, where the seeds are no fair sample of them.

Hidden seeds tell what becomes of the rows of each class; with the shares of the classes, and with
how many rows got each label, they tell what a label is worth. See `kernels/distributions/
class_shares.py` for the mixture and its draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ssl_dask.array_types import Float32, Float64, Int32, Int64
from ssl_dask.evaluation.metrics import Estimate
from ssl_dask.kernels.distributions.class_shares import (
    ClassShares,
    Mixture,
    Origin,
    ScoreCells,
    cell_counts,
    draw_mixtures,
)

KNOWN_WIDTH = 0.3
"""An interval wider than this says nothing that a person could act on."""
SETTLED = 0.1
"""Half the width that more labels are to bring it to."""


@dataclass(frozen=True)
class ClassAtShares:
    """One class among the rows that are no seeds."""

    name: str
    """The class as text."""
    share: Estimate
    """Its share among all rows."""
    called: int
    """Rows that got its label."""
    precision: Estimate
    """Share of them that are of the class."""
    recall: Estimate
    """Share of the rows of the class that got its label."""
    f1: Estimate
    """Harmonic mean of the two."""
    n_hidden: int
    """Hidden seeds of the class."""
    labels_to_settle: int | None
    """So many rows, drawn at random among those called so and labelled by hand, bring the precision
    to within 10 points; None where it is known."""


@dataclass(frozen=True)
class ScoresAtShares:
    """What the labels of the rows are worth."""

    origin: Origin
    """Where the shares come from."""
    reason: str | None
    """Why the shares are not known, in words."""
    seeds_differ: bool
    """Whether the shares among the seeds are beyond what is possible among the rows."""
    corrected: bool
    """Whether probabilities and labels were moved from the seeds' shares to these."""
    n_hidden: int
    """Hidden seeds behind all figures."""
    confidence: float
    """Of the intervals."""
    accuracy: Estimate
    """Right labels among the rows that got one."""
    accuracy_all: Estimate
    """Right labels among all rows that are no seeds."""
    classes: tuple[ClassAtShares, ...]
    """One a class."""


@dataclass(frozen=True)
class JudgedRows:
    """Hidden seeds and a sample of the rows, decided by the same rule."""

    seed_p: Float32
    seed_labels: Int32
    codes: Int32
    """(S, C), int32 (S,), int32 (S,): probabilities, labels (-1 for none) and true classes of the
    seeds while they were hidden."""
    row_p: Float32
    row_labels: Int32
    """(n, C) and int32 (n,): of a random sample of the rows that are no seeds."""


def score_at_shares(
    judged: JudgedRows,
    called: Int64,
    shares: ClassShares,
    class_names: Sequence[str],
    confidence: float,
    *,
    seeds_differ: bool,
    corrected: bool,
) -> ScoresAtShares:
    """Return what the labels of all rows are worth.

    Parameters
    ----------
    called
        int64 (C + 1,): rows that are no seeds by the label they got, last none.
    seeds_differ, corrected
        As of `ScoresAtShares`.
    """
    mixture, cells, seeds = _mixture(judged, called, shares)
    n_classes = len(class_names)
    own = cells[None, :] == np.arange(n_classes)[:, None]
    joint = mixture.shares[:, :, None] * mixture.rates
    right = np.einsum("dck,ck->dc", joint, own)
    given = np.einsum("dck,lk->dl", joint, own)
    tiny = np.finfo(float).tiny
    with np.errstate(invalid="ignore"):
        precision = right / np.maximum(given, tiny)
        recall = right / np.maximum(mixture.shares, tiny)
        f1 = 2.0 * right / np.maximum(given + mixture.shares, tiny)
    hits = (seeds * own).sum(axis=1)
    wrong = (seeds[:, None, :] * own[None]).sum(axis=2).sum(axis=0) - hits
    sizes = seeds.sum(axis=1)
    classes = []
    for code, name in enumerate(class_names):
        ends = _Ends(confidence, surely_none=hits[code] == 0, surely_all=wrong[code] == 0)
        found = ends.of(precision[:, code]) if called[code] else Estimate(None, None, None)
        classes.append(
            ClassAtShares(
                name,
                _share(shares, code),
                int(called[code]),
                found,
                _Ends(confidence, hits[code] == 0, hits[code] == sizes[code]).of(recall[:, code]),
                _Ends(confidence, hits[code] == 0).of(f1[:, code]),
                int(sizes[code]),
                _to_settle(found, confidence),
            )
        )
    total = right.sum(axis=1)
    # No hidden seed is wrong: nothing says that a row is.
    faultless = bool(wrong.sum() == 0)
    return ScoresAtShares(
        origin=shares.origin,
        reason=shares.reason,
        seeds_differ=seeds_differ,
        corrected=corrected,
        n_hidden=len(judged.codes),
        confidence=confidence,
        accuracy=_Ends(confidence, surely_all=faultless).of(
            total / np.maximum(given.sum(axis=1), tiny)
        ),
        accuracy_all=_Ends(confidence).of(total),
        classes=tuple(classes),
    )


def _mixture(
    judged: JudgedRows, called: Int64, shares: ClassShares
) -> tuple[Mixture, Int64, Int64]:
    """Return the mixture in cells of labels, the label of each cell, and seeds (C, K) in them."""
    seed_F = np.where(judged.seed_labels[:, None] < 0, np.float32(0.0), judged.seed_p)
    row_F = np.where(judged.row_labels[:, None] < 0, np.float32(0.0), judged.row_p)
    places = ScoreCells.of_seeds(seed_F)
    cells = places.classes
    seeds = cell_counts(places.places(seed_F), judged.codes, cells)
    rows = np.bincount(places.places(row_F), minlength=len(cells)).astype(np.float64)
    # The sample tells how rows of a label lie in its cells; how many they are is known.
    sampled = np.bincount(cells, weights=rows, minlength=len(called))
    alike = np.bincount(cells, minlength=len(called))
    rows = np.where(
        sampled[cells] > 0,
        rows * (called / np.maximum(sampled, 1.0))[cells],
        (called / alike)[cells],
    )
    known = shares.draws if shares.origin in ("given", "seeds", "unknown") else None
    return draw_mixtures(seeds, rows, cells, known), cells, seeds


@dataclass(frozen=True)
class _Ends:
    """How an interval is made of draws."""

    confidence: float
    surely_none: bool = False
    surely_all: bool = False
    """No hidden seed speaks against 0, or against 1: then that end is in the interval."""

    def of(self, draws: Float64) -> Estimate:
        tail = 50.0 * (1.0 - self.confidence)
        low, middle, high = np.percentile(draws, [tail, 50.0, 100.0 - tail])
        return Estimate(
            float(middle),
            0.0 if self.surely_none else float(low),
            1.0 if self.surely_all else float(high),
        )


def _share(shares: ClassShares, code: int) -> Estimate:
    return Estimate(float(shares.values[code]), float(shares.low[code]), float(shares.high[code]))


def _to_settle(precision: Estimate, confidence: float) -> int | None:
    """Return how many labels make the interval narrow, None where it is, by the normal law."""
    if precision.low is None or precision.high is None:
        return None
    if precision.high - precision.low <= KNOWN_WIDTH:
        return None
    p = min(max(0.5, precision.low), precision.high)
    z = float(norm.ppf(0.5 + confidence / 2.0))
    return math.ceil(p * (1.0 - p) * (z / SETTLED) ** 2)
