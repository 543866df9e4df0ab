"""Dense closed forms of Poisson learning and class mass normalisation, in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm
from scipy.sparse.csgraph import connected_components

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer]


def poisson_scores(
    W: Array, codes: Codes, n_classes: int, weights: Array | None = None
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return (u, present): u (N, C) with L u = b and sum_i d_i u_i = 0 in each component.

    b is w_j (y_j - mean of y over the seeds of the component); `present` says which classes have
    seeds in the component of each row.
    """
    n = len(codes)
    weights = np.ones(n) if weights is None else weights
    u, present = np.zeros((n, n_classes)), np.zeros((n, n_classes), dtype=bool)
    n_parts, part = connected_components(W > 0, directed=False)
    degree = W.sum(axis=1)
    for number in range(n_parts):
        rows = np.flatnonzero(part == number)
        seeds = rows[codes[rows] >= 0]
        if len(seeds) == 0:
            continue
        present[np.ix_(rows, np.unique(codes[seeds]))] = True
        y = np.eye(n_classes)[codes[seeds]]
        mean = np.average(y, axis=0, weights=weights[seeds])
        b = np.zeros((n, n_classes))
        b[seeds] = weights[seeds, None] * (y - mean)
        L = np.diag(degree[rows]) - W[np.ix_(rows, rows)]
        solved = np.linalg.pinv(L, hermitian=True) @ b[rows]
        if len(rows) > 1:
            solved -= np.average(solved, axis=0, weights=degree[rows])
        u[rows] = solved
    return u, present


def class_mass_normalised(F: Array, codes: Codes, shares: Array) -> Array:
    """Return F_ic q_c / sum over unlabelled u of F_uc, rows divided by their sums."""
    total = F.sum(axis=1, keepdims=True)
    F = np.divide(F, total, where=total > 0, out=np.zeros_like(F))
    scaled = F * (shares / F[codes < 0].sum(axis=0))
    total = scaled.sum(axis=1, keepdims=True)
    return np.divide(scaled, total, where=total > 0, out=np.zeros_like(F))


def poisson_mbo_scores(
    W: Array, codes: Codes, n_classes: int, n_rounds: int, time: float = 10.0
) -> Array:
    """Return u after rounds of du/dt = -D^-1 (L u - b), b the sources, from the likeliest classes.

    One matrix exponential solves the equation with its right-hand side: that of the matrix which
    has D^-1 b as further columns.
    """
    u, present = poisson_scores(W, codes, n_classes)
    n, degree = len(W), W.sum(axis=1)
    degree = np.where(degree > 0, degree, 1.0)
    b = (np.diag(W.sum(axis=1)) - W) @ u
    whole = np.zeros((n + n_classes, n + n_classes))
    whole[:n, :n] = W / degree[:, None] - np.eye(n)
    whole[:n, n:] = b / degree[:, None]
    flow = expm(time * whole)
    for _ in range(n_rounds):
        best = np.where(present, u, -np.inf).argmax(axis=1)
        u = np.eye(n_classes)[best] * present.any(axis=1)[:, None]
        u = flow[:n, :n] @ u + flow[:n, n:]
    return np.where(present, u, -np.inf)


def corrected_and_smoothed(
    W: Array, Z: Array, z_seeds: Array, codes: Codes, alphas: tuple[float, float]
) -> Array:
    """Return F of Correct & Smooth with autoscale; z_seeds (S, C) are out-of-fold."""
    degree = W.sum(axis=1)
    root = np.sqrt(np.where(degree > 0, degree, 1.0))
    S, eye = W / np.outer(root, root), np.eye(len(W))
    seeds = np.flatnonzero(codes >= 0)
    Y = np.eye(Z.shape[1])[codes[seeds]]
    E0 = np.zeros_like(Z)
    E0[seeds] = Y - z_seeds
    E = np.linalg.solve(eye - alphas[0] * S, (1 - alphas[0]) * E0)
    size, total = np.abs(E0[seeds]).sum(axis=1).mean(), np.abs(E).sum(axis=1)
    factor = np.divide(size, total, where=total > 0, out=np.zeros_like(total))
    factor[factor > 1000] = 1
    G = np.maximum(Z + factor[:, None] * E, 0)
    G[seeds] = Y
    F = np.linalg.solve(eye - alphas[1] * S, (1 - alphas[1]) * G)
    return F / F.sum(axis=1, keepdims=True)


def modified_adsorption(
    W: Array, Y: Array, mu: tuple[float, float, float], beta: float = 2.0
) -> Array:
    """Return F (N, C): zero where the dummy label is not outweighed.

    Y (N, C) has rows of zeros where there is no label. Row by row as in the paper's algorithm 1,
    with the linear system in the place of its iterations.
    """
    n, n_classes = Y.shape
    labelled = Y.any(axis=1)
    inject, go_on, abandon = np.zeros(n), np.zeros(n), np.zeros(n)
    for v in range(n):
        p = W[v] / W[v].sum() if W[v].sum() > 0 else np.zeros(n)
        p = p[p > 0]
        entropy = -(p * np.log(p)).sum()
        c = np.log(beta) / np.log(beta + np.exp(entropy))
        d = (1 - c) * np.sqrt(entropy) if labelled[v] else 0.0
        z = max(c + d, 1)
        inject[v], go_on[v] = d / z, c / z
        abandon[v] = 1 - inject[v] - go_on[v]
    V = go_on[:, None] * W + (go_on[:, None] * W).T
    M = np.diag(mu[0] * inject + mu[1] * V.sum(axis=1) + mu[2]) - mu[1] * V
    right = np.zeros((n, n_classes + 1))
    right[:, :-1] = mu[0] * inject[:, None] * Y
    right[:, -1] = mu[2] * abandon
    scores = np.linalg.solve(M, right)
    classes, dummy = scores[:, :-1], scores[:, -1]
    F = classes / np.maximum(classes.sum(axis=1, keepdims=True), 1e-300)
    return F * (classes.max(axis=1) > dummy)[:, None]
