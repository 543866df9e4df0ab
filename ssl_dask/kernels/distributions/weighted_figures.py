"""Accuracy, precision and average precision of hidden seeds at the shares of all rows.

Seeds are not a sample of the rows: a class may have a third of the seeds and a hundredth of the
rows. A hidden seed of class c therefore weighs share_c / (hidden seeds of class c).

Intervals of shares take 1 / sum(w^2) as the number of seeds (Kish 1965): with equal weights that is
their number. Intervals of the classes added up would keep the coverage too, but each class of few
seeds would bring a wide one: with ten classes of five seeds a difference of .90 to .98 is then seen
in one of eight cases, here in one of two.

References
----------
L. Kish, "Survey Sampling", 1965, section 11.7 (effective number). B. Efron, R. Tibshirani, "An
Introduction to the Bootstrap", 1993, section 13.3 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int32
from ssl_dask.kernels.distributions.class_votes import (
    paired_difference_interval,
    wilson_interval,
)
from ssl_dask.kernels.distributions.label_distributions import predicted_codes

N_DRAWS = 500
"""Draws of the bootstrap: its ends are then off by a twentieth of the interval's width."""
RANDOM_STATE = 20_261_201
RARE = 0.5
"""A class is rare whose share is at most this part of an even share."""
FEWEST_POSITIVES = 5
"""Average precision takes so many hidden seeds of the rare class, else accuracy is compared."""
MOST_CELLS = 4_000_000
"""Weights that are held at a time, 32 MB."""


class Figure(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float


def seed_weights(codes: Int32, shares: Float64, own: Float64 | None = None) -> Float64:
    """Return the weight of each hidden seed, float64 (n,), n at least 1; they sum to 1.

    A class without a hidden seed is left out, and the shares of the others count.

    Parameters
    ----------
    codes
        int32 (n,): true classes of the hidden seeds.
    shares
        float64 (C,): shares of the classes among all rows.
    own
        float64 (n,): how much each counts among those of its class; None: 1.

    Examples
    --------
    >>> seed_weights(np.array([0, 1, 1], np.int32), np.array([0.5, 0.25, 0.25])).round(3).tolist()
    [0.667, 0.167, 0.167]
    """
    counts = np.bincount(codes, own, len(shares))
    each = np.divide(shares, counts, where=counts > 0, out=np.zeros(len(shares)))
    weights = each[codes] if own is None else own * each[codes]
    # Where all rows are of classes without a hidden seed, seeds count alike.
    return weights / weights.sum() if weights.any() else np.full(len(codes), 1.0 / len(codes))


def weighted_share(right: Bool, weights: Float64, confidence: float) -> Figure | None:
    """Return the weighted share of `right`, bool (n,), with Wilson's interval; None for no weight.

    Parameters
    ----------
    weights
        float64 (n,), at least 0; they need not sum to 1.
    confidence
        Of the interval.
    """
    total = weights.sum()
    if not total > 0.0:
        return None
    n = total**2 / (weights**2).sum()
    value = float((weights * right).sum() / total)
    return Figure(value, *wilson_interval(value * n, n, confidence))


def weighted_difference(
    first_right: Bool, second_right: Bool, weights: Float64, confidence: float
) -> Figure:
    """Return the weighted accuracy of the first, bool (n,), less that of the second, paired.

    Parameters
    ----------
    weights
        float64 (n,) that sum to 1; with equal ones the interval is that of
        `paired_difference_interval`.
    """
    n = 1.0 / float((weights**2).sum())
    first_only = float(weights[first_right & ~second_right].sum())
    second_only = float(weights[second_right & ~first_right].sum())
    ends = paired_difference_interval(first_only * n, second_only * n, n, confidence)
    return Figure(first_only - second_only, *ends)


def average_precision(scores: Floating, positive: Bool, weights: Float64) -> Float64:
    """Return the average precision of each row of weights, as scikit-learn's for each.

    Parameters
    ----------
    scores, positive
        (n,) and bool (n,): seeds of equal scores come in at once.
    weights
        float64 (B, n): each row has weight on a positive.

    Returns
    -------
    float64 (B,). Costs n log n + B n.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    rows = weights[:, order]
    total = np.cumsum(rows, axis=1)[:, ends]
    rows *= positive[order]
    found = np.cumsum(rows, axis=1)[:, ends]
    precision = np.divide(found, total, where=total > 0.0, out=np.zeros_like(found))
    gained = np.diff(found, axis=1, prepend=0.0)
    return (gained * precision).sum(axis=1) / found[:, -1]


def drawn_weights(codes: Int32, weights: Float64, n_draws: int = N_DRAWS) -> Iterator[Float64]:
    """Yield batches (b, n) of weights, `n_draws` rows in all: each class is drawn with replacement.

    The draws depend on the order of the seeds alone.

    Parameters
    ----------
    codes, weights
        int32 (n,) and float64 (n,).
    """
    rng = np.random.default_rng(RANDOM_STATE)
    n = len(codes)
    classes = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    left = n_draws
    while left:
        size = min(left, max(1, MOST_CELLS // n))
        counts = np.zeros((size, n))
        first = np.arange(size)[:, None] * n
        for members in classes:
            drawn = members[rng.integers(0, len(members), (size, len(members)))]
            counts += np.bincount((first + drawn).ravel(), minlength=size * n).reshape(size, n)
        yield counts * weights
        left -= size


def percentile_interval(draws: Float64, confidence: float) -> tuple[float, float]:
    """Return the interval of a figure by its bootstrap draws, float64 (B,)."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(draws, [tail, 100.0 - tail])
    return float(low), float(high)


def rare_class(shares: Float64) -> int | None:
    """Return the code of the rare class of two, or None: the measure is then accuracy.

    Parameters
    ----------
    shares
        float64 (C,): shares of the classes among all rows.
    """
    rare = len(shares) == 2 and shares.min() <= RARE * shares.mean()
    return int(shares.argmin()) if rare else None


def measured_class(truth: Int32, shares: Float64) -> int | None:
    """Return the rare class if there are hidden seeds enough of it, int32 (n,), else None."""
    rare = rare_class(shares)
    enough = rare is not None and np.count_nonzero(truth == rare) >= FEWEST_POSITIVES
    return rare if enough and (truth != rare).any() else None


def class_figure(F: Float32, truth: Int32, shares: Float64) -> float:
    """Return what answers are compared by: average precision of the rare class, or accuracy.

    Parameters
    ----------
    F, truth
        float32 (n, C) and int32 (n,): hidden seeds, at least one.
    shares
        float64 (C,): shares of the classes among all rows.
    """
    rare = measured_class(truth, shares)
    if rare is None:
        return class_accuracy(F, truth, shares)
    weights = seed_weights(truth, shares)
    return float(average_precision(F[:, rare], truth == rare, weights[None])[0])


def class_accuracy(F: Float32, truth: Int32, shares: Float64) -> float:
    """Return the share of right labels at the shares of the classes; as of `class_figure`."""
    return float(seed_weights(truth, shares)[predicted_codes(F) == truth].sum())


def largest_class_figure(truth: Int32, shares: Float64) -> float:
    """Return the `class_figure` of naming the class of the largest share for every row."""
    F = np.zeros((len(truth), len(shares)), dtype=np.float32)
    F[:, shares.argmax()] = 1.0
    return class_figure(F, truth, shares)
