"""Votes of several learners on each row: shares, plurality, weighted majority.

Counts are integers and weights are added in the order of the learners, so the result of a row
depends on its votes alone. Ties go to the smaller class code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numba
import numpy as np
from scipy.special import ndtri

from ssl_dask.array_types import Bool, Float32, Float64, Int32


def vote_shares(votes: Int32, n_classes: int) -> Float32:
    """Return the share of the L learners that vote for each class, int32 (n, L) -> float32 (n, C).

    >>> vote_shares(np.array([[0, 1, 1, 1]], dtype=np.int32), n_classes=3).tolist()
    [[0.25, 0.75, 0.0]]
    """
    totals = np.zeros((len(votes), n_classes), dtype=np.int32)
    rows = np.arange(len(votes))
    for column in votes.T:
        totals[rows, column] += 1
    return (totals / votes.shape[1]).astype(np.float32)


def others_plurality(
    votes: Int32, n_classes: int, counted: Bool | None = None
) -> tuple[Int32, Int32, Int32]:
    """Return the plurality vote of all learners but one, for each learner.

    Parameters
    ----------
    votes
        int32 (n, L).
    n_classes
        Number of classes C.
    counted
        bool (n, L): votes that count; None: all.

    Returns
    -------
    codes, counts, voters : int32 (n, L) each
        For learner l: the class with most votes of the others (-1 without votes), the number of
        these votes, and of all votes of the others.

    Notes
    -----
    Costs n (L + C), not n L^2: the learner's own vote is subtracted from the totals.
    """
    codes, counts, voters = (np.empty(votes.shape, dtype=np.int32) for _ in range(3))
    if counted is None:
        counted = np.ones(votes.shape, dtype=np.bool_)
    _others(np.ascontiguousarray(votes), counted, n_classes, codes, counts, voters)
    return codes, counts, voters


def weighted_majority(votes: Int32, weights: Sequence[float], n_classes: int) -> Int32:
    """Return the class with most votes if it also has the largest weight, else -1; int32 (n,).

    Parameters
    ----------
    votes
        int32 (n, L).
    weights
        Weight of each learner (L,), at least 0.
    n_classes
        Number of classes C.

    References
    ----------
    Y. Zhou, S. Goldman: Democratic Co-Learning, ICTAI 2004, fig. 1: the weights for the class of
    the majority sum to more than those for any other class.
    """
    codes = np.empty(len(votes), np.int32)
    _weighted(np.ascontiguousarray(votes), np.asarray(weights, dtype=np.float64), n_classes, codes)
    return codes


def group_confidences(votes: Int32, weights: Sequence[float], n_classes: int) -> Float64:
    """Return (g + 0.5) / (g + 1) times the mean weight of the g learners for each class.

    float64 (n, C); 0 for a class without votes. Learners of weight 0 are not counted.

    Parameters
    ----------
    votes
        int32 (n, L).
    weights
        Weight of each learner (L,).
    n_classes
        Number of classes C.

    References
    ----------
    Y. Zhou, S. Goldman: Democratic Co-Learning, ICTAI 2004, fig. 2.
    """
    shares = np.zeros((len(votes), n_classes))
    _groups(np.ascontiguousarray(votes), np.asarray(weights, dtype=np.float64), shares)
    return shares


@numba.njit(nogil=True, cache=True)
def _others(votes: Any, counted: Any, n_classes: int, codes: Any, counts: Any, voters: Any) -> None:
    n, n_learners = votes.shape
    total = np.zeros(n_classes, np.int32)
    for i in range(n):
        total[:] = 0
        n_counted = 0
        for j in range(n_learners):
            if counted[i, j]:
                total[votes[i, j]] += 1
                n_counted += 1
        # The best class and the best of the rest: taking one vote off changes no more than these.
        first = 0
        for c in range(1, n_classes):
            if total[c] > total[first]:
                first = c
        second = -1
        for c in range(n_classes):
            if c != first and (second < 0 or total[c] > total[second]):
                second = c
        for j in range(n_learners):
            best, most, left = first, total[first], n_counted
            if counted[i, j]:
                left -= 1
                if votes[i, j] == first:
                    most -= 1
                    if second >= 0 and (
                        total[second] > most or (total[second] == most and second < first)
                    ):
                        best, most = second, total[second]
            codes[i, j] = best if left > 0 else -1
            counts[i, j] = most
            voters[i, j] = left


@numba.njit(nogil=True, cache=True)
def _weighted(votes: Any, weights: Any, n_classes: int, codes: Any) -> None:
    total = np.zeros(n_classes, np.int32)
    weight = np.zeros(n_classes)
    for i in range(len(votes)):
        total[:] = 0
        weight[:] = 0.0
        for j in range(votes.shape[1]):
            total[votes[i, j]] += 1
            weight[votes[i, j]] += weights[j]
        best = 0
        for c in range(1, n_classes):
            if total[c] > total[best]:
                best = c
        codes[i] = best
        for c in range(n_classes):
            if c != best and weight[c] >= weight[best]:
                codes[i] = -1


@numba.njit(nogil=True, cache=True)
def _groups(votes: Any, weights: Any, shares: Any) -> None:
    size = np.zeros(shares.shape[1], np.int32)
    for i in range(len(votes)):
        size[:] = 0
        for j in range(votes.shape[1]):
            if weights[j] > 0.0:
                size[votes[i, j]] += 1
                shares[i, votes[i, j]] += weights[j]
        for c in range(shares.shape[1]):
            g = size[c]
            if g > 0:
                shares[i, c] = shares[i, c] / g * ((g + 0.5) / (g + 1.0))


def wilson_interval(right: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of `right` successes in `n` trials; (0, 1) for no trial.

    scipy.stats gives other last bits, which would change the weights of voters.

    References
    ----------
    E. B. Wilson: Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    Examples
    --------
    >>> low, high = wilson_interval(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share = right / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1.0 - share) / n + z * z / (4 * n * n))
    scale = 1.0 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def paired_difference_interval(
    first_only: float, second_only: float, n: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return (low, high), -1 to 1, of the difference of two proportions on the same n trials.

    Wald's interval with one added to each kind of disagreement, which keeps its coverage down to a
    few dozen pairs.

    Parameters
    ----------
    first_only, second_only
        Trials that only the first, or only the second, has right.
    n
        Trials, at least 1.
    confidence
        Above 0 and below 1.

    References
    ----------
    D. Bonett, R. Price, "Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data", 2012.
    """
    p12, p21 = (first_only + 1) / (n + 2), (second_only + 1) / (n + 2)
    half = ndtri(0.5 + confidence / 2) * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    return max(float(p12 - p21 - half), -1.0), min(float(p12 - p21 + half), 1.0)
