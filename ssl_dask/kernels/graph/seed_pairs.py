"""Weights of several graphs, learned from pairs of seeds (neighbourhood components analysis)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Bool, Float64, Int32, Int64
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys
from ssl_dask.one_thread import one_thread

MAX_SEEDS = 2000
"""Most seeds that are compared: 16 bytes a pair for each set of features."""
STRENGTH = 1.0
"""Penalty that keeps weights equal with few seeds."""
LEAST_WEIGHT = 0.01
"""Least weight relative to the largest: such edges count only in rows without others."""
DECIMALS = 4
N_PERMUTATIONS, MAX_TESTED = 199, 500
"""Permutations of the test against chance, and most seeds in it."""


@dataclass(frozen=True)
class SeedRows:
    """One set of features of the seeds."""

    X: Any
    """(s, d), dense or CSR: rows of the seeds that have the features, in order."""
    present: Bool
    """bool (S,): which seeds these are."""
    metric: Literal["euclidean", "cosine"]
    """"euclidean" or "cosine"."""


def learned_weights(parts: Sequence[SeedRows], codes: Int32, *, key: int = 0) -> Float64:
    """Return a weight for each set of features, float64 (V,): the largest is 1, none below 0.01.

    A seed i draws a neighbour j with p_ij ~ exp(-sum_v a_v z_v(i, j)), z_v the squared distances of
    all pairs, standardised; z_v is 0 where a seed lacks the features. The weights a >= 0 minimise
    sum_i -log sum_{j like i} p_ij + |a - 1|^2, so few seeds leave them equal. Against noise each
    weight is multiplied by max(1 - 2 c, 0)^2, unless that leaves no set; c is the p-value of a
    permutation test of the set alone. S^2 d flops and 16 S^2 bytes a set; one BLAS thread.

    Parameters
    ----------
    parts
        One for each set of features, of the same seeds.
    codes
        int32 (S,): classes.
    key
        Chooses among more than 2,000 seeds.

    References
    ----------
    J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov: Neighbourhood Components Analysis, NIPS
    2004, eq. 1 to 3, with one scale for each set. J. Halcrow, A. Mosoi, S. Ruth, B. Perozzi: Grale:
    Designing Networks for Graph Learning, KDD 2020, for weights learned from pairs.
    """
    chosen = _chosen(len(codes), key)
    y = codes[chosen]
    with one_thread():
        distances = [_standard_distances(part, chosen) for part in parts]
        vary = [v for v, z in enumerate(distances) if z is not None]
        Z = np.array([distances[v] for v in vary])
        weights = np.ones(len(parts))
        like = (y[:, None] == y[None]) & ~np.eye(len(y), dtype=np.bool_)
        if vary and like.any() and not like.all():
            chance = np.array(
                [
                    permutation_p_value(z, y, parts[v].present[chosen], key)
                    for z, v in zip(Z, vary, strict=True)
                ]
            )
            doubt = np.maximum(1.0 - 2.0 * chance, 0.0) ** 2
            weights[vary] = _fitted(Z, like) * (doubt if doubt.any() else 1.0)
    weights /= max(weights.max(), LEAST_WEIGHT)
    return np.asarray(np.round(np.maximum(weights, LEAST_WEIGHT), DECIMALS), dtype=np.float64)


def _chosen(n_seeds: int, key: int) -> Int64:
    """Return the positions of the seeds that are compared, ascending."""
    keys = row_keys(np.arange(n_seeds), Purpose.PAIR_CHOICE, key)
    return np.sort(np.argsort(keys, kind="stable")[:MAX_SEEDS])


def _standard_distances(part: SeedRows, chosen: Int64) -> Float64 | None:
    """Return standardised squared distances of all pairs, float64 (S, S); 0 where a row is missing.

    None if all distances are equal.
    """
    has = part.present[chosen]
    place = (np.cumsum(part.present) - 1)[chosen[has]]
    X = part.X[place]
    if part.metric == "cosine":
        X = X.astype(np.float64)
        squares = np.asarray((X * X).sum(axis=1)).ravel()
        root = np.where(squares > 0.0, np.sqrt(squares), 1.0)
        X = sp.csr_array(X / root[:, None]) if sp.issparse(X) else X / root[:, None]
    else:
        X = X.astype(np.float64)
    products = X @ X.T
    G = products.toarray() if sp.issparse(products) else np.asarray(products)
    own = np.diag(G)
    D = np.maximum(own[:, None] + own[None] - 2.0 * G, 0.0)
    pairs = ~np.eye(len(D), dtype=np.bool_)
    spread = float(D[pairs].std()) if len(D) > 1 else 0.0
    if spread <= 1e-12 * float(D.max(initial=0.0)):
        return None
    Z = np.zeros((len(chosen), len(chosen)))
    Z[np.ix_(has, has)] = (D - D[pairs].mean()) / spread
    return Z


def permutation_p_value(Z: Float64, codes: Int32, has: Bool, key: int) -> float:
    """Return how likely permuted classes are as near as the classes of the seeds (1 of 200 steps).

    Parameters
    ----------
    Z
        float64 (S, S): standardised squared distances in one set of features.
    codes
        int32 (S,): classes.
    has
        bool (S,): seeds with the features.
    key
        Chooses the permutations, and the seeds among more than 500.
    """
    at = np.flatnonzero(has)
    if len(at) > MAX_TESTED:
        at = np.sort(
            at[np.argsort(row_keys(at, Purpose.PAIR_CHANCE, key), kind="stable")[:MAX_TESTED]]
        )
    energy = -Z[np.ix_(at, at)]
    np.fill_diagonal(energy, -np.inf)
    p = np.exp(energy - energy.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)

    def nearness(y: Int32) -> float:
        return float(p[y[:, None] == y[None]].sum())

    own, places = nearness(codes[at]), np.arange(len(at))
    found = 0
    for number in range(N_PERMUTATIONS):
        order = np.argsort(row_keys(places, Purpose.PAIR_CHANCE, key, number), kind="stable")
        # Permutations within classes must count as equal in spite of rounding.
        found += nearness(codes[at[order]]) >= own * (1.0 - 1e-9)
    return (1 + found) / (1 + N_PERMUTATIONS)


def _fitted(Z: Float64, like: Bool) -> Float64:
    from scipy.optimize import minimize

    counted = like.any(axis=1)
    own = np.eye(len(like), dtype=np.bool_)

    def loss(a: Float64) -> tuple[float, Float64]:
        energy = -np.tensordot(a, Z, 1)
        energy[own] = -np.inf
        energy -= energy.max(axis=1, keepdims=True)
        p = np.exp(energy)
        p /= p.sum(axis=1, keepdims=True)
        right = np.maximum((p * like).sum(axis=1, keepdims=True), 1e-300)
        pull = (p * like / right - p)[counted]
        value = -np.log(right[counted]).sum() + STRENGTH * np.sum((a - 1.0) ** 2)
        slope = np.array([(pull * one[counted]).sum() for one in Z]) + 2.0 * STRENGTH * (a - 1.0)
        return float(value), slope

    start = np.ones(len(Z))
    return minimize(loss, start, jac=True, bounds=[(0.0, None)] * len(Z), method="L-BFGS-B").x
