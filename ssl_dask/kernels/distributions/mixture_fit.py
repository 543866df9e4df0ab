"""The steps of EM that fit a mixture to each draw; see `class_mixture`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

MAX_STEPS, TOLERANCE = 500, 1e-7
TINY = float(np.finfo(np.float64).tiny)


@numba.njit(nogil=True, cache=True)
def fit_draws(seeds: Any, rows: Any, sampled: Any, pi: Any, theta: Any, free: bool) -> None:
    """Take steps of EM, each draw on its own, until none of its numbers moves; in place.

    Parameters
    ----------
    seeds, rows, sampled
        float64 (D, C, K), (D, K) and (D, C): seeds and rows in cells, and a sample of the classes.
    pi, theta
        float64 (D, C) and (D, C, K): shares of the classes and of their cells, where they begin.
    free
        Whether the shares of the classes are fitted.
    """
    n_draws, n_classes, n_cells = seeds.shape
    ratio, share = np.empty(n_cells), np.empty(n_classes)
    joint = np.empty(n_cells)
    for d in range(n_draws):
        for _ in range(MAX_STEPS):
            ratio[:] = 0.0
            for c in range(n_classes):
                for k in range(n_cells):
                    ratio[k] += pi[d, c] * theta[d, c, k]
            for k in range(n_cells):
                ratio[k] = rows[d, k] / max(ratio[k], TINY)
            moved = 0.0
            for c in range(n_classes):
                mass = 0.0
                total = 0.0
                for k in range(n_cells):
                    joint[k] = pi[d, c] * theta[d, c, k] * ratio[k]
                    mass += joint[k]
                    joint[k] += seeds[d, c, k]
                    total += joint[k]
                share[c] = mass + sampled[d, c]
                for k in range(n_cells):
                    found = joint[k] / max(total, TINY)
                    moved = max(moved, abs(found - theta[d, c, k]))
                    theta[d, c, k] = found
            if free:
                total = share.sum()
                for c in range(n_classes):
                    found = share[c] / total
                    moved = max(moved, abs(found - pi[d, c]))
                    pi[d, c] = found
            if moved < TOLERANCE:
                break
