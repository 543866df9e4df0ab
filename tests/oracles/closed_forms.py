"""Dense closed forms of the methods on a graph, in float64.

W (N, N) are the weights of a graph, Y (N, C) what stands at the seeds: a row without label is zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm
from scipy.sparse.csgraph import connected_components

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def one_hot(codes: npt.NDArray[np.integer], n_classes: int) -> Array:
    """Return (N, C): one at each seed's class; rows of code -1 are zero."""
    return np.vstack([np.eye(n_classes), np.zeros(n_classes)])[codes]


def normalised(F: Array) -> Array:
    """Return each row divided by its sum; zero rows stay."""
    total = F.sum(axis=1, keepdims=True)
    return np.divide(F, total, where=total > 0, out=np.zeros_like(F))


def root_degree(W: Array) -> Array:
    """Return D^1/2 (N, 1), one for rows without edges."""
    degree = W.sum(axis=1, keepdims=True)
    return np.sqrt(np.where(degree > 0, degree, 1.0))


def spread(W: Array, Y: Array, alpha: float) -> Array:
    """Return (1 - alpha) (I - alpha D^-1/2 W D^-1/2)^-1 Y, not normalised."""
    root = root_degree(W)
    return np.linalg.solve(np.eye(len(W)) - alpha * W / (root * root.T), (1.0 - alpha) * Y)


def balanced(W: Array, Y: Array, alpha: float) -> Array:
    """Return D^-1/2 (I - alpha S)^-1 D^-1/2 B, B each class's seeds divided by their sum."""
    total, root = Y.sum(axis=0), root_degree(W)
    return spread(W, Y / np.where(total > 0, total, 1.0) / root, alpha) / root


def harmonic(W: Array, Y: Array) -> Array:
    """Return the harmonic function that is Y on the seeds; zero where no seed can be reached."""
    F, seeds = Y.copy(), Y.any(axis=1)
    seeded = reach_of(W)[:, seeds].any(axis=1)
    free = np.flatnonzero(seeded & ~seeds)
    laplacian = np.diag(W.sum(axis=1)) - W
    if len(free):
        right = W[free][:, seeds] @ F[seeds]
        F[free] = np.linalg.solve(laplacian[np.ix_(free, free)], right)
    return F


def reach_of(W: Array) -> Mask:
    """Return which rows a path of edges joins, by squaring the adjacency until nothing changes."""
    reach = (W > 0) | np.eye(len(W), dtype=bool)
    while True:
        further = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
        if np.array_equal(further, reach):
            return reach
        reach = further


def class_mass_normalised(F: Array, unlabelled: Mask, shares: Array) -> Array:
    """Return F_ic q_c / sum over unlabelled u of F_uc, rows divided by their sums."""
    F = normalised(F)
    return normalised(F * (shares / F[unlabelled].sum(axis=0)))


def poisson_scores(W: Array, Y: Array) -> tuple[Array, Mask]:
    """Return (u, present): u (N, C) with L u = b and sum_i d_i u_i = 0 in each component.

    b is w_j (y_j - mean of y over the seeds of the component), w_j the sum of row j of Y; `present`
    says which classes have seeds in the component of each row.
    """
    weights, degree = Y.sum(axis=1), W.sum(axis=1)
    u, present = np.zeros_like(Y), np.zeros(Y.shape, dtype=bool)
    n_parts, part = connected_components(W > 0, directed=False)
    for number in range(n_parts):
        rows = np.flatnonzero(part == number)
        seeds = rows[weights[rows] > 0]
        if len(seeds) == 0:
            continue
        present[rows] = Y[seeds].any(axis=0)
        b = np.zeros_like(Y)
        b[seeds] = Y[seeds] - weights[seeds, None] * Y[seeds].sum(axis=0) / weights[seeds].sum()
        L = np.diag(degree[rows]) - W[np.ix_(rows, rows)]
        solved = np.linalg.pinv(L, hermitian=True) @ b[rows]
        if len(rows) > 1:
            solved -= np.average(solved, axis=0, weights=degree[rows])
        u[rows] = solved
    return u, present


def poisson_mbo_scores(W: Array, Y: Array, n_rounds: int, time: float = 10.0) -> Array:
    """Return u after rounds of du/dt = -D^-1 (L u - b), b the sources, from the likeliest classes.

    One matrix exponential solves the equation with its right-hand side: that of the matrix which
    has D^-1 b as further columns.
    """
    u, present = poisson_scores(W, Y)
    n, n_classes = Y.shape
    degree = root_degree(W) ** 2
    b = (np.diag(W.sum(axis=1)) - W) @ u
    whole = np.zeros((n + n_classes, n + n_classes))
    whole[:n, :n] = W / degree - np.eye(n)
    whole[:n, n:] = b / degree
    flow = expm(time * whole)
    for _ in range(n_rounds):
        best = np.where(present, u, -np.inf).argmax(axis=1)
        u = np.eye(n_classes)[best] * present.any(axis=1)[:, None]
        u = flow[:n, :n] @ u + flow[:n, n:]
    return np.where(present, u, -np.inf)


def corrected_and_smoothed(
    W: Array, Z: Array, z_seeds: Array, Y: Array, alphas: tuple[float, float]
) -> Array:
    """Return F of Correct & Smooth with autoscale; z_seeds (S, C) are out-of-fold."""
    seeds = np.flatnonzero(Y.any(axis=1))
    E0 = np.zeros_like(Y)
    E0[seeds] = Y[seeds] - z_seeds
    E = spread(W, E0, alphas[0])
    size, total = np.abs(E0[seeds]).sum(axis=1).mean(), np.abs(E).sum(axis=1)
    factor = np.divide(size, total, where=total > 0, out=np.zeros_like(total))
    factor[factor > 1000] = 1
    G = np.maximum(Z + factor[:, None] * E, 0)
    G[seeds] = Y[seeds]
    return normalised(spread(W, G, alphas[1]))


def modified_adsorption(
    W: Array, Y: Array, mu: tuple[float, float, float], beta: float = 2.0
) -> Array:
    """Return F (N, C): zero where the dummy label is not outweighed.

    Row by row as in the paper's algorithm 1, with the linear system in the place of its iterations.
    """
    n = len(Y)
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
    right = np.column_stack([mu[0] * inject[:, None] * Y, mu[2] * abandon])
    scores = np.linalg.solve(M, right)
    classes, dummy = scores[:, :-1], scores[:, -1]
    return normalised(classes) * (classes.max(axis=1) > dummy)[:, None]
