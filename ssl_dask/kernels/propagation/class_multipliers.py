"""Class multipliers (or offsets of logits) that give the most likely classes prescribed shares."""

from __future__ import annotations

import numba
import numpy as np

from ssl_dask.array_types import Float64, Floating
from ssl_dask.one_thread import one_thread

SHARE_ERROR = 1e-3
"""Tolerance of the shares."""
SOFT_STEPS = 40
SOFT_ERROR = 1e-2
SHARP_STEPS = 300
SHARPNESS = (1.0, 3.0, 10.0, 30.0, 100.0)
WARM_SHARPNESS = (10.0, 30.0, 100.0)
"""Stages of a fit with `start`: the smoothest ones are skipped."""
MISLED_ERROR = 5e-3
"""A fit with `start` that ends with a larger error restarts without it."""
FLOOR = 1e-30
NEGLIGIBLE_LOG = -20.7
"""Soft assignments below exp of this are skipped."""
LONGEST_STEP = 20.0
"""Bound of a Newton step times the sharpness: the quadratic model does not hold beyond."""


def class_multipliers(F: Floating, shares: Float64) -> Float64:
    """Return w, float64 (C,), maximum 1, such that argmax_c w_c F_ic has nearly the given shares.

    `class_offsets` fits the logarithms.

    Parameters
    ----------
    F
        (n, C): scores >= 0. Rows of zeros are skipped.
    shares
        float64 (C,), >= 0, sum 1. A class of share 0 has w = 0.

    Examples
    --------
    >>> F = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> w = class_multipliers(F, np.array([0.5, 0.5]))
    >>> (F * w).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    rows = np.asarray(F, dtype=np.float64)
    rows = rows[rows.max(axis=1, initial=0.0) > 0.0]
    wanted = shares > 0.0
    if len(rows) == 0 or wanted.sum() < 2:
        return wanted.astype(np.float64)
    offsets = class_offsets(np.log(np.maximum(rows[:, wanted], FLOOR)), shares[wanted])
    w = np.zeros(len(shares))
    w[wanted] = np.exp(offsets - offsets.max())
    return w


def class_offsets(scores: Floating, shares: Float64, start: Float64 | None = None) -> Float64:
    """Return o, float64 (C,), such that argmax_c scores_ic + o_c has nearly the given shares.

    Solves the dual of entropic optimal transport to C points with increasing sharpness, by Newton
    steps if they lower it and Sinkhorn steps otherwise (M. Cuturi, NIPS 2013; C. Brauer et al., A
    Sinkhorn-Newton method for entropic optimal transport, 2017); then hard assignments with a
    shrinking step. Keeps the best offsets met, also none. About 20 passes over the scores; up to
    300 if no offsets give the shares, and twice that with `start`.

    Parameters
    ----------
    scores
        Finite (n, C), n >= 1: logits.
    shares
        float64 (C,), > 0; they are divided by their sum.
    start
        float64 (C,): offsets of similar scores. The search then skips its smoothest stages; if it
        does not converge, it restarts without `start`.
    """
    values = np.ascontiguousarray(scores, dtype=np.float64)
    q = shares / shares.sum()
    none = np.zeros(len(q))
    best, best_error = none, _hard_error(values, none, q)
    offsets, sharpness = (none, SHARPNESS) if start is None else (start, WARM_SHARPNESS)
    if start is not None:
        error = _hard_error(values, start, q)
        best, best_error = (start, error) if error < best_error else (best, best_error)
    # The last bit of a linear solver may depend on its number of threads.
    with one_thread():
        for sharp in sharpness:
            if best_error <= SHARE_ERROR:
                return best
            least = SHARE_ERROR / 4.0 if sharp == sharpness[-1] else SOFT_ERROR
            offsets = _soft_offsets(values, q, offsets, sharp, least)
    # The first step is as wide as typical differences of scores.
    step = 1.0
    for _ in range(SHARP_STEPS):
        lacks = q - hard_shares(values, offsets)
        error = float(np.abs(lacks).max())
        if error < best_error:
            best, best_error = offsets, error
        if best_error <= SHARE_ERROR:
            break
        offsets = offsets + step * lacks
        step *= 0.985
    if start is not None and best_error > MISLED_ERROR:
        other = class_offsets(values, q)
        return other if _hard_error(values, other, q) < best_error else best
    return best


def hard_shares(scores: Float64, offsets: Float64) -> Float64:
    """Return the share of rows with the largest scores_ic + o_c in each class, float64 (C,)."""
    counts = np.zeros(len(offsets), dtype=np.int64)
    _count_largest(scores, offsets, counts)
    return counts / len(scores)


def _hard_error(scores: Float64, offsets: Float64, q: Float64) -> float:
    return float(np.abs(hard_shares(scores, offsets) - q).max())


def _soft_offsets(
    scores: Float64, q: Float64, offsets: Float64, sharp: float, least_error: float
) -> Float64:
    """Minimise the convex mean_i log sum_c exp(sharp (scores_ic + o_c)) / sharp - q o."""
    n_classes = len(q)
    lowest = np.inf
    held = offsets
    sinkhorn = np.zeros(n_classes)
    for _ in range(SOFT_STEPS):
        means, products = np.zeros(n_classes), np.zeros((n_classes, n_classes))
        value = _soft_sums(scores, offsets, sharp, means, products) / len(scores)
        value = value / sharp - float(q @ offsets)
        if value > lowest:
            # The Newton step raised the loss.
            offsets, lowest = held + sinkhorn, np.inf
            continue
        means, products = means / len(scores), products / len(scores)
        if np.abs(means - q).max() <= least_error:
            break
        held, lowest = offsets, value
        sinkhorn = np.log(q / np.maximum(means, FLOOR)) / sharp
        curvature = sharp * (np.diag(means) - products)
        # Equal offsets for all classes change nothing: that null direction is removed.
        newton = np.linalg.lstsq(curvature + 1.0 / n_classes, q - means, rcond=1e-12)[0]
        longest = float(np.abs(newton).max())
        offsets = held + newton * min(1.0, LONGEST_STEP / sharp / max(longest, FLOOR))
    return offsets


@numba.njit(nogil=True, cache=True)
def _count_largest(scores, offsets, counts):  # type: ignore[no-untyped-def]
    for i in range(len(scores)):
        best = 0
        largest = scores[i, 0] + offsets[0]
        for c in range(1, len(offsets)):
            value = scores[i, c] + offsets[c]
            if value > largest:
                best, largest = c, value
        counts[best] += 1


@numba.njit(nogil=True, cache=True)
def _soft_sums(scores, offsets, sharp, means, products):  # type: ignore[no-untyped-def]
    """Add p and p p^T of the soft assignments p of all rows; return the sum of log partitions."""
    n_classes = len(offsets)
    kept = np.empty(n_classes, dtype=np.int64)
    p = np.empty(n_classes)
    logs = 0.0
    for i in range(len(scores)):
        largest = scores[i, 0] + offsets[0]
        for c in range(1, n_classes):
            largest = max(largest, scores[i, c] + offsets[c])
        total = 0.0
        n_kept = 0
        for c in range(n_classes):
            steep = sharp * (scores[i, c] + offsets[c] - largest)
            if steep > NEGLIGIBLE_LOG:
                kept[n_kept] = c
                p[n_kept] = np.exp(steep)
                total += p[n_kept]
                n_kept += 1
        logs += sharp * largest + np.log(total)
        for a in range(n_kept):
            share = p[a] / total
            means[kept[a]] += share
            for b in range(n_kept):
                products[kept[a], kept[b]] += share * (p[b] / total)
    return logs
