"""Which shares the classes have among the rows, where the seeds are no fair sample of them.

Seeds are taken as a fair sample of the rows *of their class*; how many seeds a class has may say
nothing. Scores of seeds, while they were hidden, are counted in cells, class by class, and scores
of unlabelled rows in the same cells. The rows are then a mixture of the classes,

    rows in cell j = sum_k pi_k theta_kj,

with pi_k the share of class k, and theta_kj the part of its rows that lies in cell j, of which its
seeds are a sample. Both are fitted together by EM; what chance may have done to the seeds is drawn
from the Dirichlet distribution of their counts, and every draw is fitted on its own.

References
----------
M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities: a simple procedure", 2002 (EM on probabilities, and the correction of them).
G. Forman, "Quantifying counts and costs via classification", 2008 (adjusted counts).
D. Rubin, "The Bayesian bootstrap", 1981.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import chi2

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int32, Int64

N_DRAWS = 400
SEED = 20_020_101
MAX_CLASSES = 50
"""The fit takes C^2 numbers a draw: of more classes no share is estimated."""
FEWEST_HIDDEN = 3
"""Hidden seeds that each class needs for an estimate."""
FEWEST_SAMPLED = 20
"""Seeds of a random sample that tell the shares without scores."""
CELL_SEEDS, MAX_CELLS = 15, 5
"""Rows that a class was said of are cut into cells of so many seeds, and into so many at most."""
SEED_WORTH = 0.5
"""A hidden seed counts as so much of a seed where chance is drawn: what labelled it had seen fewer
seeds than what labels the rows. With 1, intervals of 90 % held in 82 % of 440 draws of 11 sets."""
PRIOR = 0.2
"""Seeds that each class has in each cell before any is seen, cells of one class taken together."""
ROW_WEIGHT = 20.0
"""Unlabelled rows count as so many times the seeds at most: their counts are nearly a constraint,
and EM still moves."""
MISFIT_LEVEL = 1e-3
"""Seeds less likely than this are told to be no fair sample of their class."""
CHOSEN_SEEDS = (
    "the scores of the hidden seeds and of the rows do not fit together: the seeds are no fair"
    " sample of the rows of their class, as where they were chosen by their score"
)
MAX_STEPS, TOLERANCE = 500, 1e-7
SAME = 1e-9
"""Shares that are nearer than this differ by rounding alone."""
UNSEEN = 1e-3
"""A class without hidden seeds counts as so much of a seed: the rows alone say where it lies."""

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


@dataclass(frozen=True)
class ScoreCells:
    """Cells of distributions: by the most likely class, then by how likely it is.

    The last cell is that of rows without evidence.
    """

    edges: tuple[Float64, ...]
    """For each class, float64: where the next cell begins; empty for one cell."""

    @classmethod
    def of_seeds(cls, F: Floating) -> ScoreCells:
        """Return cells that hold about as many of the distributions (S, C) each."""
        best, top = F.argmax(axis=1), F.max(axis=1, initial=0.0).astype(np.float64)
        edges = []
        for code in range(F.shape[1]):
            mine = top[(best == code) & (top > 0.0)]
            n_cells = int(np.clip(len(mine) // CELL_SEEDS, 1, MAX_CELLS))
            inner = np.quantile(mine, np.arange(1, n_cells) / n_cells) if n_cells > 1 else []
            edges.append(np.unique(np.asarray(inner, dtype=np.float64)))
        return cls(tuple(edges))

    @property
    def classes(self) -> Int64:
        """int64 (K,): the class of each cell; C for the last."""
        sizes = [len(edges) + 1 for edges in self.edges]
        return np.append(np.repeat(np.arange(len(sizes)), sizes), len(sizes))

    def places(self, F: Floating) -> Int64:
        """Return the cell of each distribution (n, C), int64 (n,)."""
        best, top = F.argmax(axis=1), F.max(axis=1, initial=0.0)
        first = np.searchsorted(self.classes, np.arange(len(self.edges) + 1))
        found = np.full(len(F), first[-1], dtype=np.int64)
        for code, edges in enumerate(self.edges):
            mine = (best == code) & (top > 0.0)
            found[mine] = first[code] + np.searchsorted(edges, top[mine], side="right")
        return found


@dataclass(frozen=True)
class Mixture:
    """Draws of what the classes may be, by their seeds and the rows."""

    shares: Float64
    """float64 (D, C): of the rows."""
    rates: Float64
    """float64 (D, C, K): part of each class's rows that lies in each cell."""


def cell_counts(
    places: Int64, codes: Int32, cells: Int64, weights: Float64 | None = None
) -> Float64:
    """Return float64 (C, K): seeds of each class in each cell.

    Parameters
    ----------
    places, codes
        int64 (S,) and int32 (S,): cell and class of each seed.
    cells
        int64 (K,): as `ScoreCells.classes`.
    weights
        float64 (S,): how much each counts; None: 1.
    """
    n_classes, n_cells = int(cells[-1]), len(cells)
    found = np.bincount(codes * n_cells + places, weights, n_classes * n_cells)
    return found.reshape(n_classes, n_cells).astype(np.float64)


def draw_mixtures(
    seeds: Float64,
    rows: Floating | Int64,
    cells: Int64,
    shares: Float64 | None = None,
    sampled: Int64 | None = None,
) -> Mixture:
    """Draw what chance may have done to the seeds, and fit the mixture to each draw.

    Parameters
    ----------
    seeds
        (C, K): hidden seeds of each class in each cell.
    rows
        (K,): unlabelled rows in each cell.
    cells
        int64 (K,): which class each cell is of, as `ScoreCells.classes`.
    shares
        float64 (D, C): the shares of the classes, where they are known; None: they are fitted.
    sampled
        int64 (C,): seeds of each class in a random sample of the rows, which tell of the shares
        themselves; None: there are none.

    Notes
    -----
    Costs D C K numbers of memory, and up to `MAX_STEPS` passes over them: milliseconds for two
    classes. Deterministic.
    """
    rng = np.random.default_rng(SEED + 1)
    n_draws = N_DRAWS if shares is None else len(shares)
    alike = np.bincount(cells, minlength=int(cells[-1]) + 1)
    sizes = seeds.sum(axis=1)
    prior = PRIOR / alike[cells]
    drawn = rng.standard_gamma(SEED_WORTH * seeds + prior, (n_draws, *seeds.shape))
    worth = np.maximum(SEED_WORTH * sizes, UNSEEN)
    drawn *= (worth / drawn.sum(axis=2).clip(np.finfo(float).tiny))[..., None]
    total = float(np.sum(rows))
    mass = rng.standard_gamma(np.asarray(rows, dtype=np.float64) + 1e-3, (n_draws, len(cells)))
    weight = min(total, ROW_WEIGHT * float(sizes.sum()))
    mass *= weight / mass.sum(axis=1, keepdims=True).clip(np.finfo(float).tiny)
    direct = 0.0 if sampled is None else rng.standard_gamma(sampled, (n_draws, len(seeds)))
    return _fitted(drawn, mass, shares, direct)


def _fitted(
    seeds: Float64, rows: Float64, shares: Float64 | None, sampled: Float64 | float = 0.0
) -> Mixture:
    """Return the most likely mixtures of seeds (D, C, K), rows (D, K) and samples (D, C), by EM."""
    n_draws, n_classes, _ = seeds.shape
    free = shares is None
    pi = np.full((n_draws, n_classes), 1.0 / n_classes) if shares is None else shares
    theta = seeds / np.maximum(seeds.sum(axis=2, keepdims=True), np.finfo(float).tiny)
    for _ in range(MAX_STEPS):
        joint = pi[:, :, None] * theta
        joint *= (rows / np.maximum(joint.sum(axis=1), np.finfo(float).tiny))[:, None, :]
        before = pi, theta
        if free:
            pi = joint.sum(axis=2) + sampled
            pi = pi / pi.sum(axis=1, keepdims=True)
        theta = joint + seeds
        theta /= np.maximum(theta.sum(axis=2, keepdims=True), np.finfo(float).tiny)
        moved = max(np.abs(pi - before[0]).max(), np.abs(theta - before[1]).max())
        if moved < TOLERANCE:
            break
    return Mixture(pi, theta)


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


def mixture_misfit(seeds: Float64, rows: Int64, cells: Int64) -> float:
    """Return the chance of seeds that lie as far from every mixture that makes the rows.

    The likelihood ratio of the seeds' own rates against those of the best mixture, by chi-squared
    with K - 1 - C degrees of freedom, at least 1. Seeds that were chosen by their score fail.

    Parameters
    ----------
    seeds, rows, cells
        As of `draw_mixtures`.
    """
    sizes = seeds.sum(axis=1, keepdims=True)
    own = np.maximum(seeds, PRIOR / len(cells))[None].astype(np.float64)
    mass = rows.astype(np.float64)
    mass *= ROW_WEIGHT * float(sizes.sum()) / max(float(rows.sum()), 1.0)
    fitted = _fitted(own, mass[None], None).rates[0]
    there = seeds > 0
    ratio = seeds[there] / np.maximum((sizes * fitted)[there], np.finfo(float).tiny)
    statistic = 2.0 * SEED_WORTH * float((seeds[there] * np.log(ratio)).sum())
    return float(chi2.sf(statistic, max(len(cells) - 1 - len(seeds), 1)))


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
