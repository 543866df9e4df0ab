"""One multiplier a class, such that the most likely classes have given shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SHARE_ERROR = 1e-3
"""Shares that are this near to those wanted are good enough."""
SOFT_STEPS = 30
SHARP_STEPS = 300
SHARPNESS = (1.0, 3.0, 10.0, 30.0)
FLOOR = 1e-30


def class_multipliers(
    F: npt.NDArray[np.floating], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return w, float64 (C,), largest 1, such that argmax_c w_c F_ic has nearly the given shares.

    First by soft assignments that become ever sharper, each class being multiplied by what its
    share lacks (the dual of optimal transport to C points: Cuturi 2013); then by the hard ones,
    whose step shrinks. What came nearest is kept, no multiplier at all included.

    Parameters
    ----------
    F
        (n, C): scores >= 0. Rows of zeros are left out.
    shares
        float64 (C,), >= 0, sum 1. A class of share 0 is never the answer.

    Notes
    -----
    About 400 n C steps.
    """
    rows = np.asarray(F, dtype=np.float64)
    rows = rows[rows.max(axis=1, initial=0.0) > 0.0]
    wanted = shares > 0.0
    if len(rows) == 0 or wanted.sum() < 2:
        return wanted.astype(np.float64)
    logs = np.log(np.maximum(rows[:, wanted], FLOOR))
    offsets = _fitted_offsets(logs, shares[wanted] / shares[wanted].sum())
    w = np.zeros(len(shares))
    w[wanted] = np.exp(offsets - offsets.max())
    return w


def _fitted_offsets(
    logs: npt.NDArray[np.float64], q: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    n, n_classes = logs.shape

    def shares_of(offsets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.bincount((logs + offsets).argmax(axis=1), minlength=n_classes) / n

    offsets = np.zeros(n_classes)
    best, best_error = offsets, float(np.abs(shares_of(offsets) - q).max())
    for sharpness in SHARPNESS:
        for _ in range(SOFT_STEPS):
            steep = sharpness * (logs + offsets)
            soft = np.exp(steep - steep.max(axis=1, keepdims=True))
            soft /= soft.sum(axis=1, keepdims=True)
            offsets = offsets + np.log(q / np.maximum(soft.mean(axis=0), FLOOR)) / sharpness
    # A class may be rescued only from where its rows are: as wide as the scores are.
    step = 1.0
    for _ in range(SHARP_STEPS):
        lacks = q - shares_of(offsets)
        error = float(np.abs(lacks).max())
        if error < best_error:
            best, best_error = offsets, error
        if best_error <= SHARE_ERROR:
            break
        offsets = offsets + step * lacks
        step *= 0.985
    return best
