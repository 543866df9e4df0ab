"""What the likeliest rows of a rare class hold: finds by budget, precision at k, lift.

For a rare class the order of the rows matters more than their labels: a person looks at the first
k. The rows are cut into bands by their rank; hidden seeds tell which part of a class lies in each
band, and the mixture of `kernels/distributions/class_mixture.py` what a band holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_dask.array_types import Bool, Float64, Floating
from ssl_dask.evaluation.metrics import Estimate
from ssl_dask.kernels.distributions.class_mixture import cell_counts, draw_mixtures
from ssl_dask.kernels.distributions.class_shares import ClassShares
from ssl_dask.kernels.distributions.weighted_figures import average_precision, seed_weights

BUDGETS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
FEWEST_SAMPLED = 20
"""Rows of the sample that a budget has at least: with fewer its last rank is not known."""
RANKED_WORTH = 0.8
"""A hidden seed counts as so much of one here: the models of folds do not score on one scale."""
LEAST_SHARE = 1e-9
LARGEST_PART = 0.5
"""Of all rows: beyond, nobody ranks."""


@dataclass(frozen=True)
class Budget:
    """The first rows of a ranking."""

    rows: int
    """How many are looked at."""
    precision: Estimate
    """Share of them that are of the class."""
    recall: Estimate
    """Share of the class that is among them."""
    lift: Estimate
    """Precision over the share of the class among all rows."""


@dataclass(frozen=True)
class Ranking:
    """How well rows are ranked by the probability of one class."""

    name: str
    """The class as text."""
    average_precision: float
    """Of the hidden seeds, weighted so that the class has its share; chance gives that share."""
    budgets: tuple[Budget, ...]
    """The first rows, the smallest budget first; none where rows are too few."""


@dataclass(frozen=True)
class RankedSeeds:
    """Hidden seeds, and how a class is ranked among them."""

    p: Floating
    """(S,): probability of the class."""
    positive: Bool
    """bool (S,): whether they are of the class."""
    weights: Float64 | None = None
    """float64 (S,): how much each counts among those of its class; None: 1."""


def rank_class(
    name: str,
    seeds: RankedSeeds,
    row_p: Floating,
    n_rows: int,
    share: ClassShares,
    code: int,
    confidence: float,
) -> Ranking:
    """Return what the likeliest rows of a class hold.

    Parameters
    ----------
    name, code
        The class.
    seeds
        While they were hidden.
    row_p
        (n,): its probability of a random sample of the rows that are no seeds.
    n_rows
        All rows that are no seeds.
    share
        Shares of the classes.
    confidence
        Of the intervals.
    """
    drawn = np.maximum(share.draws[:, code], LEAST_SHARE)
    pi, of_seeds = np.stack([1.0 - drawn, drawn], axis=1), share.values[code]
    two = seeds.positive.astype(np.int32)
    weights = seed_weights(two, np.array([1.0 - of_seeds, of_seeds]), seeds.weights)
    ap = average_precision(seeds.p, seeds.positive, weights[None])[0]
    scale = n_rows / max(len(row_p), 1)
    budgets = [k for k in BUDGETS if k >= FEWEST_SAMPLED * scale and k <= LARGEST_PART * n_rows]
    if not budgets:
        return Ranking(name, float(ap), ())
    ranks, seed_ranks = _ranks(row_p, seeds.p)
    ends = np.sort(ranks)[(np.array(budgets) / scale).astype(np.int64) - 1]
    bands = np.zeros(len(budgets) + 1, dtype=np.int64)
    bands[-1] = 2
    counts = cell_counts(np.searchsorted(ends, seed_ranks), two, bands, seeds.weights)
    rows = np.diff(np.concatenate([[0], budgets, [n_rows]])).astype(np.float64)
    mixture = draw_mixtures(RANKED_WORTH * counts, rows, bands, pi)
    found = (drawn[:, None] * mixture.rates[:, 1]).cumsum(axis=1) * n_rows
    hits = counts[1].cumsum()
    # Where every hidden seed of the class is above, or none, nothing speaks against that end.
    least = np.where(hits == 0, 0.0, found)
    most = np.where(hits == hits[-1], drawn[:, None] * n_rows, found)
    told = [
        _budget(k, [least[:, at], found[:, at], most[:, at]], drawn, n_rows, confidence)
        for at, k in enumerate(budgets)
    ]
    return Ranking(name, float(ap), tuple(told))


def _budget(
    k: int, finds: Sequence[Float64], share: Float64, n_rows: int, confidence: float
) -> Budget:
    """Return what the first k rows hold.

    Parameters
    ----------
    finds
        float64 (D,) each: rows of the class among them, the least, as drawn, and the most.
    share
        float64 (D,): of the class.
    """
    least, middle, most = (np.minimum(rows, k) for rows in finds)

    def figure(of: Float64) -> Estimate:
        low, high = (Estimate.of_draws(rows / of, confidence) for rows in (least, most))
        return Estimate(float(np.median(middle / of)), low.low, high.high)

    precision = figure(np.full(len(share), float(k)))
    return Budget(k, precision, recall=figure(share * n_rows), lift=figure(k * share))


def _ranks(row_p: Floating, seed_p: Floating) -> tuple[Float64, Float64]:
    """Return ranks of rows and of seeds on one scale, the likeliest first, ties in random order."""
    levels, places = np.unique(-np.concatenate([row_p, seed_p]), return_inverse=True)
    ranks = places + np.random.default_rng(len(levels)).random(len(places))
    return ranks[: len(row_p)], ranks[len(row_p) :]
