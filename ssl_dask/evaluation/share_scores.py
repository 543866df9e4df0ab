"""Precision, recall and accuracy among the rows, where the seeds are no fair sample of them.

Hidden seeds tell what becomes of the rows of each class; with the shares of the classes, and with
how many rows got each label, they tell what a label is worth. See `kernels/distributions/
class_mixture.py` for the mixture and its draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from ssl_dask.array_types import Float32, Float64, Int32, Int64
from ssl_dask.evaluation.metrics import Estimate, confusion_counts
from ssl_dask.evaluation.ranking import RankedSeeds, Ranking, rank_class
from ssl_dask.kernels.distributions.class_mixture import (
    Mixture,
    ScoreCells,
    cell_counts,
    draw_mixtures,
)
from ssl_dask.kernels.distributions.class_shares import (
    MAX_CLASSES,
    ClassShares,
    Origin,
)

NOT_KNOWN = Estimate(None, None, None)
KNOWN_WIDTH = 0.3
"""An interval wider than this says nothing that a person could act on."""
MOST_RARE = 3
"""So many rare classes are looked at closely."""
SETTLED = 0.1
"""Half the width that more labels are to bring it to."""


@dataclass(frozen=True)
class ClassAtShares:
    """One class among the rows that are no seeds."""

    name: str
    """The class as text."""
    share: Estimate
    """Its share among these rows."""
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
    rankings: tuple[Ranking, ...] = ()
    """Of the rarest classes, at most `MOST_RARE`, if they have at most half of an even share."""
    other_estimates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Shares of the classes told in other ways: `em` by the EM of Saerens et al. on calibrated
    probabilities of 20,000 rows, `mean` their mean distribution, of a graph its mass. Beside the
    values of `classes`: they have no interval. Empty where scores tell nothing."""

    def rare(self) -> list[ClassAtShares]:
        """Return the classes with at most half of an even share, the rarest first."""
        shares = np.array([one.share.value for one in self.classes], dtype=np.float64)
        return [self.classes[code] for code in rare_codes(shares)]


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
    chosen_p: Float32
    chosen_labels: Int32
    chosen_codes: Int32
    """(m, C), int32 (m,), int32 (m,): the same as of the seeds, of those that were chosen by their
    score: they belong to the rows that the others are a sample of."""
    seed_weights: Float64 | None = None
    """float64 (S,): how much each seed counts among those of its class; None: 1."""


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

    Notes
    -----
    Where the shares are unknown, and of more than `MAX_CLASSES` classes, no figure is known.
    """
    if shares.origin == "unknown" or len(class_names) > MAX_CLASSES:
        classes, accuracy = _untold(judged, called, shares, class_names), (NOT_KNOWN, NOT_KNOWN)
    else:
        table = _table(judged, called, shares)
        classes = _told(table, called, shares, class_names, confidence)
        total, given = table.right.sum(axis=1), table.given.sum(axis=1)
        n_all, faultless = np.full(len(total), float(called.sum())), bool(table.wrong.sum() == 0)
        accuracy = (
            _share(total, given, confidence, every=faultless),
            _share(total, n_all, confidence),
        )
    return ScoresAtShares(
        origin=shares.origin,
        reason=shares.reason,
        seeds_differ=seeds_differ,
        corrected=corrected,
        n_hidden=len(judged.codes),
        confidence=confidence,
        accuracy=accuracy[0],
        accuracy_all=accuracy[1],
        classes=classes,
        rankings=_rankings(judged, int(called.sum()), shares, class_names, confidence),
    )


def _share_of(shares: ClassShares, code: int) -> Estimate:
    return Estimate(*(float(one[code]) for one in (shares.values, shares.low, shares.high)))


def _untold(
    judged: JudgedRows, called: Int64, shares: ClassShares, class_names: Sequence[str]
) -> tuple[ClassAtShares, ...]:
    """Return the classes without figures."""
    n_hidden, none = np.bincount(judged.codes, minlength=len(class_names)), (NOT_KNOWN,) * 3
    return tuple(
        ClassAtShares(
            name, _share_of(shares, code), int(called[code]), *none, int(n_hidden[code]), None
        )
        for code, name in enumerate(class_names)
    )


def _told(
    table: _Table,
    called: Int64,
    shares: ClassShares,
    class_names: Sequence[str],
    confidence: float,
) -> tuple[ClassAtShares, ...]:
    """Return the figures of each class."""

    def scored(code: int) -> ClassAtShares:
        mine, size = table.right[:, code], table.of_class[:, code]
        hits, n_seeds, none = table.hits[code], table.sizes[code], table.hits[code] == 0
        given, precision = table.given[:, code], NOT_KNOWN
        if called[code]:
            precision = _share(mine, given, confidence, none, table.wrong[code] == 0)
        return ClassAtShares(
            class_names[code],
            _share_of(shares, code),
            int(called[code]),
            precision,
            _share(mine, size, confidence, none, hits == n_seeds),
            _share(2.0 * mine, given + size, confidence, none),
            int(n_seeds),
            _to_settle(precision, confidence),
        )

    return tuple(scored(code) for code in range(len(class_names)))


def _share(
    part: Float64, of: Float64, confidence: float, none: bool = False, every: bool = False
) -> Estimate:
    """Return a share of draws (D,); no hidden seed speaks against an end that is none or every."""
    shares = np.minimum(part / np.maximum(of, np.finfo(float).tiny), 1.0)
    found = Estimate.of_draws(shares, confidence)
    return Estimate(found.value, 0.0 if none else found.low, 1.0 if every else found.high)


@dataclass(frozen=True)
class _Table:
    """Rows that are no seeds, in draws, and the hidden seeds behind them."""

    right: Float64
    given: Float64
    of_class: Float64
    """float64 (D, C): rows that rightly got each label, that got it, and that are of the class."""
    hits: Int64
    wrong: Int64
    sizes: Int64
    """int64 (C,): hidden seeds that rightly got each label, that wrongly got it, and of the class.
    """


def _table(judged: JudgedRows, called: Int64, shares: ClassShares) -> _Table:
    reached, left = _with_evidence(judged, called)
    mixture, cells = _mixture(reached, left, shares)
    n_classes = len(called) - 1
    own = cells[None, :] == np.arange(n_classes)[:, None]
    # What chosen seeds hold is known, and no row's.
    known = confusion_counts(judged.chosen_codes, judged.chosen_labels, n_classes)
    seeds = confusion_counts(judged.codes, judged.seed_labels, n_classes)
    n_all = float(called.sum() + known.sum())
    n_reached = float(left.sum()) + len(reached.chosen_codes)
    joint = mixture.shares[:, :, None] * mixture.rates * n_reached
    hits = np.diag(seeds)
    return _Table(
        np.maximum(np.einsum("dck,ck->dc", joint, own) - np.diag(known), 0.0),
        np.maximum(np.einsum("dck,lk->dl", joint, own) - known[:, :-1].sum(axis=0), 0.0),
        np.maximum(mixture.shares * n_all - known.sum(axis=1), 0.0),
        hits,
        seeds.sum(axis=0)[:-1] - hits,
        seeds.sum(axis=1),
    )


def _with_evidence(judged: JudgedRows, called: Int64) -> tuple[JudgedRows, Float64]:
    """Return the same without what no evidence reaches, and the rows that are left of `called`.

    Such rows got no label, whatever their class; that hidden seeds lack evidence says nothing of
    them.
    """
    seeds, rows, chosen = (
        p.max(axis=1, initial=0.0) > 0.0 for p in (judged.seed_p, judged.row_p, judged.chosen_p)
    )
    abstained = judged.row_labels < 0
    left = called.astype(np.float64)
    left[-1] *= rows[abstained].mean() if abstained.any() else 1.0
    weights = judged.seed_weights
    reached = replace(
        judged,
        seed_p=judged.seed_p[seeds],
        seed_labels=judged.seed_labels[seeds],
        codes=judged.codes[seeds],
        row_p=judged.row_p[rows],
        row_labels=judged.row_labels[rows],
        chosen_p=judged.chosen_p[chosen],
        chosen_labels=judged.chosen_labels[chosen],
        chosen_codes=judged.chosen_codes[chosen],
        seed_weights=None if weights is None else weights[seeds],
    )
    return reached, left


def _rankings(
    judged: JudgedRows,
    n_rows: int,
    shares: ClassShares,
    class_names: Sequence[str],
    confidence: float,
) -> tuple[Ranking, ...]:
    """Return the ranking of each rare class, the rarest first.

    None of a class without hidden seeds, or whose seeds alone were hidden; and none at all where
    seeds were chosen by their score: the likeliest rows are among them.
    """
    if shares.origin == "unknown" or len(judged.chosen_codes):
        return ()
    found = []
    for code in rare_codes(shares.values):
        positive = judged.codes == code
        if positive.all() or not positive.any():
            continue
        seeds = RankedSeeds(judged.seed_p[:, code], positive, judged.seed_weights)
        told = judged.row_p[:, code], n_rows, shares, code, confidence
        found.append(rank_class(class_names[code], seeds, *told))
    return tuple(found)


def rare_codes(shares: Float64) -> list[int]:
    """Return the classes that have at most half of an even share, (C,), the rarest first."""
    order = np.argsort(shares, kind="stable")
    return [int(code) for code in order[:MOST_RARE] if shares[code] <= 0.5 / len(shares)]


def _mixture(judged: JudgedRows, called: Float64, shares: ClassShares) -> tuple[Mixture, Int64]:
    """Return the mixture in cells of labels, and the label of each cell."""
    seed_F = np.where(judged.seed_labels[:, None] < 0, np.float32(0.0), judged.seed_p)
    row_F = np.where(judged.row_labels[:, None] < 0, np.float32(0.0), judged.row_p)
    places = ScoreCells.of_seeds(seed_F)
    cells = places.classes
    seeds = cell_counts(places.places(seed_F), judged.codes, cells, judged.seed_weights)
    rows = np.bincount(places.places(row_F), minlength=len(cells)).astype(np.float64)
    # The sample tells how rows of a label lie in its cells; how many they are is known.
    sampled = np.bincount(cells, weights=rows, minlength=len(called))
    alike = np.bincount(cells, minlength=len(called))
    rows = np.where(
        sampled[cells] > 0,
        rows * (called / np.maximum(sampled, 1.0))[cells],
        (called / alike)[cells],
    )
    chosen_F = np.where(judged.chosen_labels[:, None] < 0, np.float32(0.0), judged.chosen_p)
    rows += np.bincount(places.places(chosen_F), minlength=len(cells))
    by_scores = shares.origin == "estimated" and shares.reason is None
    known = None if by_scores else shares.draws
    return draw_mixtures(seeds, rows, cells, known), cells


def _to_settle(precision: Estimate, confidence: float) -> int | None:
    """Return how many labels make the interval narrow, None where it is, by the normal law."""
    if precision.low is None or precision.high is None:
        return None
    if precision.high - precision.low <= KNOWN_WIDTH:
        return None
    p = min(max(0.5, precision.low), precision.high)
    z = float(ndtri(0.5 + confidence / 2.0))
    return math.ceil(p * (1.0 - p) * (z / SETTLED) ** 2)
