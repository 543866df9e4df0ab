"""Which shares the classes have among the rows, where the seeds are no fair sample of them.

Seeds are taken as a fair sample of the rows *of their class*; how many seeds a class has may say
nothing. The rows are a mixture of the classes, see `class_mixture`.

References
----------
M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities: a simple procedure", 2002 (EM on probabilities, and the correction of them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int32, Int64
from ssl_dask.kernels.distributions.class_mixture import (
    N_DRAWS,
    SEED,
    ScoreCells,
    cell_counts,
    draw_mixtures,
    mixture_misfit,
)

MAX_CLASSES = 50
"""The fit takes C^2 numbers a draw: of more classes no share is estimated."""
FEWEST_HIDDEN = 3
"""Hidden seeds that each class needs for an estimate."""
FEWEST_SAMPLED = 20
"""Seeds of a random sample that tell the shares without scores."""
MISFIT_LEVEL = 1e-3
"""Seeds less likely than this are told to be no fair sample of their class."""
CHOSEN_SEEDS = (
    "the scores of the hidden seeds and of the rows do not fit together: the seeds are no fair"
    " sample of the rows of their class, as where they were chosen by their score"
)
SAME = 1e-9
"""Shares that are nearer than this differ by rounding alone."""

Origin = Literal["given", "seeds", "estimated", "unknown"]


@dataclass(frozen=True)
class ClassShares:
    """Shares of C classes among the rows that are no seeds, and how well they are known."""

    values: Float64
    """float64 (C,), sum 1."""
    low: Float64
    high: Float64
    """float64 (C,): interval of each; the ends of the range where one was given."""
    origin: Origin
    """given: by the job. seeds: the job calls the seeds a random sample of the rows. estimated:
    from scores. unknown: `values` are those of the seeds for want of better."""
    draws: Float64
    """float64 (D, C): what they may be, for intervals of figures that follow from them."""
    reason: str | None = None
    """Why they are unknown, in words."""

    def excludes(self, shares: Float64) -> bool:
        """Return whether shares (C,) are beyond what is possible, for one class or more.

        The level of a class is 5 % / C, so that all of them together are wrong in 5 % of cases.
        """
        if self.origin == "unknown":
            return False
        tail = 2.5 / len(shares)
        low, high = np.percentile(self.draws, [tail, 100.0 - tail], axis=0)
        return bool(((shares < low - SAME) | (shares > high + SAME)).any())


def shares_of_draws(draws: Float64, origin: Origin, confidence: float) -> ClassShares:
    """Return shares whose values are the means of draws (D, C)."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(draws, [tail, 100.0 - tail], axis=0)
    return ClassShares(draws.mean(axis=0), low, high, origin, draws)


def stated_shares(low: Float64, high: Float64) -> ClassShares:
    """Return shares that a person gave: the ends float64 (C,) of a range each, equal for a number.

    Shares in a range are drawn with equal chances, then moved to a sum of 1 within their ranges.
    """
    rng = np.random.default_rng(SEED)
    draws = low + (high - low) * rng.random((N_DRAWS, len(low)))
    middle = (low + high) / 2.0
    values = _with_sum_1(middle[None], low, high)[0]
    return ClassShares(values, low, high, "given", _with_sum_1(draws, low, high))


def _with_sum_1(shares: Float64, low: Float64, high: Float64) -> Float64:
    """Return shares (D, C) with sum 1, each nearer to the end of its range that lies that way."""
    tiny = np.finfo(float).tiny
    over = shares.sum(axis=1, keepdims=True) - 1.0
    down, up = shares - low, high - shares
    shares = shares - down * (over / down.sum(axis=1, keepdims=True).clip(tiny)).clip(0.0, 1.0)
    shares = shares + up * (-over / up.sum(axis=1, keepdims=True).clip(tiny)).clip(0.0, 1.0)
    return shares / shares.sum(axis=1, keepdims=True)


def shares_of_sample(counts: Int64 | Float64, confidence: float) -> ClassShares:
    """Return the shares of seeds, (C,) by class, that are a random sample of the rows."""
    draws = np.random.default_rng(SEED).dirichlet(counts + 0.5, N_DRAWS)
    found = shares_of_draws(draws, "seeds", confidence)
    return replace(found, values=counts / counts.sum())


def unknown_shares(counts: Int64, reason: str) -> ClassShares:
    """Return the shares of seeds, int64 (C,) by class, that may be anything."""
    n = len(counts)
    draws = np.random.default_rng(SEED).dirichlet(np.ones(n), N_DRAWS)
    return ClassShares(counts / counts.sum(), np.zeros(n), np.ones(n), "unknown", draws, reason)


def estimate_shares(
    hidden_F: Floating,
    codes: Int32,
    row_F: Floating,
    confidence: float,
    weights: Float64 | None = None,
    sampled: Int64 | None = None,
) -> ClassShares:
    """Estimate the shares of the classes among the rows.

    Parameters
    ----------
    hidden_F, codes
        (S, C) and int32 (S,): distributions of seeds while they were hidden, and their classes.
    row_F
        (n, C): distributions of unlabelled rows, a random sample of them.
    confidence
        Of the intervals.
    weights
        float64 (S,): how much each seed counts among those of its class; None: 1.
    sampled
        int64 (C,): seeds of each class in a random sample of the rows. Where scores tell nothing,
        they do from `FEWEST_SAMPLED` seeds on.
    """
    counts = np.bincount(codes, minlength=hidden_F.shape[1])
    # What no evidence reaches tells nothing; hidden seeds lack it for other reasons than rows.
    reached, row_F = _with_evidence(hidden_F), row_F[_with_evidence(row_F)]
    hidden_F, codes = hidden_F[reached], codes[reached]
    weights = None if weights is None else weights[reached]
    reason = _untold(hidden_F, codes, row_F, weights)
    if reason is None:
        cells = ScoreCells.of_seeds(hidden_F)
        seeds = cell_counts(cells.places(hidden_F), codes, cells.classes, weights)
        rows = np.bincount(cells.places(row_F), minlength=len(cells.classes))
        draws = draw_mixtures(seeds, rows, cells.classes, sampled=sampled).shares
        return shares_of_draws(draws, "estimated", confidence)
    if sampled is not None and sampled.sum() >= FEWEST_SAMPLED:
        found = shares_of_draws(
            shares_of_sample(sampled, confidence).draws, "estimated", confidence
        )
        return replace(found, reason=reason)
    return unknown_shares(np.maximum(counts, 1), reason)


def _with_evidence(F: Floating) -> Bool:
    return F.max(axis=1, initial=0.0) > 0.0


def _untold(
    hidden_F: Floating, codes: Int32, row_F: Floating, weights: Float64 | None
) -> str | None:
    """Return why scores tell nothing of the shares, in words; None if they do.

    They do not if no mixture makes the most likely classes of the rows of those of the seeds.
    """
    n_classes = hidden_F.shape[1]
    if n_classes > MAX_CLASSES:
        return f"there are more than {MAX_CLASSES} classes"
    if np.bincount(codes, minlength=n_classes).min() < FEWEST_HIDDEN:
        return f"of a class fewer than {FEWEST_HIDDEN} seeds got scores while hidden"
    if len(row_F) == 0:
        return "no row that is no seed has scores"
    # Where in a class a score lies is not compared: models of folds have another scale.
    plain = ScoreCells((np.empty(0),) * hidden_F.shape[1])
    seeds = cell_counts(plain.places(hidden_F), codes, plain.classes, weights)
    rows = np.bincount(plain.places(row_F), minlength=len(plain.classes))
    misfit = mixture_misfit(seeds, rows, plain.classes)
    return CHOSEN_SEEDS if misfit < MISFIT_LEVEL else None


def em_shares(
    P: Floating, prior: Float64, *, tolerance: float = 1e-10, max_steps: int = 10_000
) -> Float64:
    """Return the shares of the classes by the EM of Saerens et al., run to convergence.

    Parameters
    ----------
    P
        (n, C): probabilities of the rows, as they are where the classes have the shares `prior`,
        float64 (C,).
    tolerance
        Largest change of a share in the last step.
    """
    P = P[P.max(axis=1, initial=0.0) > 0.0].astype(np.float64)
    pi = prior / prior.sum()
    ratio = P / pi
    for _ in range(max_steps):
        joint = ratio * pi
        found = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        moved, pi = np.abs(found - pi).max(), found
        if moved < tolerance:
            break
    return pi


def share_ratios(shares: Float64, seed_counts: Sequence[int] | Int64) -> Float32:
    """Return by what each class's probability is multiplied, float32 (C,), largest 1.

    Probabilities that hold where classes have the shares of the seeds become, once each row sums to
    1 again, those that hold at `shares`, float64 (C,).
    """
    counts = np.asarray(seed_counts, dtype=np.float64)
    ratio = shares * counts.sum() / np.maximum(counts, 1.0)
    return (ratio / ratio.max()).astype(np.float32)
