"""What several learners say together of each row, from the class that each of them names.

Counts are integers and weights are added in the order of the learners, so that a row's answer
depends on its votes alone. Equal counts go to the class with the smaller code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Int32


def vote_shares(votes: Int32, n_classes: int) -> Float32:
    """Return the share of the learners that name each class, float32 (n, C).

    Parameters
    ----------
    votes
        int32 (n, L).
    n_classes
        Number of classes C.
    """
    totals = np.zeros((len(votes), n_classes), dtype=np.int32)
    rows = np.arange(len(votes))
    for column in votes.T:
        totals[rows, column] += 1
    return (totals / votes.shape[1]).astype(np.float32)


def others_plurality(
    votes: Int32, n_classes: int, counted: Bool | None = None
) -> tuple[Int32, Int32, Int32]:
    """Return what all learners but one say, for each one of them (its concomitant ensemble).

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
        For learner l: the class with most votes of the others (-1 where none of them counts), its
        votes, and all votes of the others.

    Notes
    -----
    n L operations for L learners, not n L^2: one learner's vote is taken off the totals.
    """
    codes, counts, voters = (np.empty(votes.shape, dtype=np.int32) for _ in range(3))
    if counted is None:
        counted = np.ones(votes.shape, dtype=np.bool_)
    _others(np.ascontiguousarray(votes), counted, n_classes, codes, counts, voters)
    return codes, counts, voters


def weighted_majority(votes: Int32, weights: Sequence[float], n_classes: int) -> Int32:
    """Return the class with most votes if it has most of the weights too, else -1; int32 (n,).

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
    Y. Zhou, S. Goldman: Democratic Co-Learning, ICTAI 2004, fig. 1: the sum of the weights of
    those who name the majority's class exceeds that of any other class.
    """
    codes = np.empty(len(votes), np.int32)
    _weighted(np.ascontiguousarray(votes), np.asarray(weights, dtype=np.float64), n_classes, codes)
    return codes


def group_confidences(votes: Int32, weights: Sequence[float], n_classes: int) -> Float64:
    """Return (g + 0.5) / (g + 1) times the mean weight of the g learners that name each class.

    float64 (n, C); 0 for a class that nobody names, and for learners of weight 0, which are in no
    group.

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
