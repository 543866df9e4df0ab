"""Weights of neighbour lists the plain way: one pair at a time, in float64, from the papers."""

from __future__ import annotations

from math import exp, log2, sqrt

import numpy as np
from scipy.optimize import brentq


def row_neighbours(best, index, i):
    """Return [(distance, neighbour)] of row i."""
    return [(sqrt(d), int(j)) for d, j in zip(best[i], index[i], strict=True) if j >= 0]


def scales(best, index, place):
    """Return the distance to the place-th neighbour (the last if None), at least 1e-3 median."""
    found = {}
    for i in range(len(best)):
        row = row_neighbours(best, index, i)
        if row:
            found[i] = row[min(place or len(row), len(row)) - 1][0]
    least = 1e-3 * sorted(found.values())[(len(found) - 1) // 2]
    return {i: max(s, least) for i, s in found.items()}, least


def directed(best, index, n, kind):
    """Return the dense float64 (n, n) weights before they are made symmetric."""
    W = np.zeros((n, n))
    if kind in ("gaussian", "symmetric_gaussian", "steep_gaussian", "self_tuning"):
        s, least = scales(best, index, 7 if kind == "self_tuning" else None)
    for i in range(n):
        row = row_neighbours(best, index, i)
        if not row:
            continue
        if kind == "fuzzy":
            rho, sigma = rho_and_sigma([d for d, _ in row])
        for d, j in row:
            if kind == "uniform":
                w = 1.0
            elif kind == "gaussian":
                w = exp(-4 * d**2 / s[i] ** 2)
            elif kind == "symmetric_gaussian":
                w = exp(-4 * d**2 / (s[i] * s.get(j, least)))
            elif kind == "steep_gaussian":
                w = exp(-8 * d**2 / (s[i] * s.get(j, least)))
            elif kind == "self_tuning":
                w = exp(-(d**2) / (s[i] * s.get(j, least)))
            else:
                w = 1.0 if d <= rho else exp(-(d - rho) / sigma)
            W[i, j] = w
    return W


def rho_and_sigma(distances):
    """Return UMAP's rho and sigma of a row; see McInnes et al. 2018, section 3.1."""
    above = [d for d in distances if d > 0]
    rho = min(above, default=0.0)
    k = len(distances)
    least = 1e-3 * sum(distances) / (k + 1)
    excess = [max(d - rho, 0.0) for d in distances]

    def missing(sigma):
        return sum(exp(-e / sigma) for e in excess) - log2(k + 1)

    if least == 0.0 or missing(least) >= 0:
        return rho, max(least, 1e-300)
    top = 1.0
    while missing(top) < 0 and top < 1e12:
        top *= 2
    return rho, brentq(missing, least, top, xtol=1e-14)


def symmetric(W, how):
    """Return the symmetric weights of directed ones."""
    if how == "average":
        return (W + W.T) / 2
    if how == "union":
        return np.maximum(W, W.T)
    if how == "mutual":
        return np.minimum(W, W.T)
    return W + W.T - W * W.T
