"""Dense closed forms of label spreading and label propagation, in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def one_hot(codes: npt.NDArray[np.integer], n_classes: int) -> Array:
    """Return (N, C): one at each seed's class; rows of code -1 are zero."""
    Y = np.zeros((len(codes), n_classes))
    seeds = np.flatnonzero(codes >= 0)
    Y[seeds, codes[seeds]] = 1.0
    return Y


def spread(W: Array, codes: npt.NDArray[np.integer], n_classes: int, alpha: float) -> Array:
    """Return (1 - alpha) (I - alpha D^-1/2 W D^-1/2)^-1 Y, not normalised."""
    return spread_sources(W, one_hot(codes, n_classes), alpha)


def spread_sources(W: Array, Y: Array, alpha: float) -> Array:
    """Return the same for any right-hand side Y (N, C)."""
    degree = W.sum(axis=1)
    root = np.sqrt(np.where(degree > 0, degree, 1.0))
    S = W / np.outer(root, root)
    return np.linalg.solve(np.eye(len(W)) - alpha * S, (1.0 - alpha) * Y)


def balanced(W: Array, codes: npt.NDArray[np.integer], n_classes: int, alpha: float) -> Array:
    """Return D^-1/2 (I - alpha S)^-1 D^-1/2 B, B each class's seeds divided by their number."""
    Y = one_hot(codes, n_classes)
    Y /= np.maximum(Y.sum(axis=0), 1.0)
    degree = W.sum(axis=1)
    root = np.sqrt(np.where(degree > 0, degree, 1.0))[:, None]
    return spread_sources(W, Y / root, alpha) / root


def harmonic(W: Array, codes: npt.NDArray[np.integer], n_classes: int) -> Array:
    """Return the harmonic function that is Y on the seeds; zero where no seed can be reached."""
    return harmonic_sources(W, one_hot(codes, n_classes))


def harmonic_sources(W: Array, Y: Array) -> Array:
    """Return the same where the seeds are the rows of Y (N, C) that are not zero."""
    F, seeds = Y.copy(), Y.any(axis=1)
    seeded = reach_of(W)[:, seeds].any(axis=1)
    free = np.flatnonzero(seeded & ~seeds)
    held = np.flatnonzero(seeds)
    laplacian = np.diag(W.sum(axis=1)) - W
    if len(free):
        right = W[np.ix_(free, held)] @ F[held]
        F[free] = np.linalg.solve(laplacian[np.ix_(free, free)], right)
    return F


def reach_of(W: Array) -> npt.NDArray[np.bool_]:
    """Return which rows a path of edges joins, by squaring the adjacency until nothing changes."""
    reach = (W > 0) | np.eye(len(W), dtype=bool)
    while True:
        further = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
        if np.array_equal(further, reach):
            return reach
        reach = further


def normalised(F: Array) -> Array:
    """Return each row divided by its sum; zero rows stay."""
    total = F.sum(axis=1, keepdims=True)
    return np.divide(F, total, where=total > 0, out=np.zeros_like(F))
