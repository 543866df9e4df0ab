"""How much each of several sets of features says of which seeds are of one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from ssl_dask.array_types import Bool, Float64, Int32, Int64
from ssl_dask.kernels.arithmetic.row_keys import row_keys
from ssl_dask.one_thread import one_thread

MAX_SEEDS = 2000
"""Seeds that are compared: 8 bytes for each pair of them, twice for each set of features."""
STRENGTH = 1.0
"""How many seeds it takes to leave equal weights."""
LEAST_WEIGHT = 0.01
"""Of a part beside the largest: its edges count where a row has no others."""
DECIMALS = 4
CHOICE_KEY, CHANCE_KEY = 41, 42
N_PERMUTATIONS, MAX_TESTED = 199, 500
"""Permutations of the classes that say what chance does, and seeds that are looked at for it."""


@dataclass(frozen=True)
class SeedRows:
    """What the seeds have of one set of features.

    Parameters
    ----------
    X
        (s, d), dense or CSR: of the seeds that have them, in order.
    present
        bool (S,): which these are.
    metric
        "euclidean" or "cosine".
    """

    X: Any
    present: Bool
    metric: Literal["euclidean", "cosine"]


def learned_weights(parts: Sequence[SeedRows], codes: Int32, *, key: int = 0) -> Float64:
    """Return a weight for each set of features, float64 (V,): the largest is 1, none below 0.01.

    A seed draws another one as its neighbour, near ones more likely than far ones:
    p_ij ~ exp(-sum_v a_v z_v(i, j)), z_v the squared distances of all pairs brought to mean 0 and
    deviation 1. The weights a >= 0 make it likely that both are of one class: they minimise
    sum_i -log sum_{j like i} p_ij + |a - 1|^2, so few seeds leave them equal. Where a seed lacks
    the features of v, z_v is 0.

    Few seeds also leave noise with a weight, and its edges then lead anywhere. So each set is asked
    alone how often permuted classes look as near as those of the seeds: by that chance c its weight
    is multiplied by (1 - 2 c)^2, and by 0 from a half on, unless that leaves no set.

    Parameters
    ----------
    parts
        One for each set of features, of the same seeds.
    codes
        int32 (S,): classes.
    key
        Of the choice among more than 2,000 seeds.

    Notes
    -----
    Costs S^2 products of rows a set, 16 V S^2 bytes, S at most 2,000; one BLAS thread. On six
    newsgroups and HTTP parameters, two sets of features and one of noise, 2, 5 and 10 seeds a
    class, labels spread over the sum of graphs gain 8 to 16 points by the look at chance.

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
        Z = [z for z in distances if z is not None]
        told = [z is not None for z in distances]
        weights = np.ones(len(parts))
        like = (y[:, None] == y[None]) & ~np.eye(len(y), dtype=np.bool_)
        if Z and like.any() and not like.all():
            has = [
                part.present[chosen]
                for part, z in zip(parts, distances, strict=True)
                if z is not None
            ]
            chance = np.array([_chance(z, y, one, key) for z, one in zip(Z, has, strict=True)])
            weights[told] = _weighed(np.stack(Z), like, chance)
    weights /= max(weights.max(), LEAST_WEIGHT)
    return np.asarray(np.round(np.maximum(weights, LEAST_WEIGHT), DECIMALS), dtype=np.float64)


def _chosen(n_seeds: int, key: int) -> Int64:
    """Return the places of the seeds that are compared, ascending."""
    keys = row_keys(np.arange(n_seeds), CHOICE_KEY, key)
    return np.sort(np.argsort(keys, kind="stable")[:MAX_SEEDS])


def _standard_distances(part: SeedRows, chosen: Int64) -> Float64 | None:
    """Return squared distances of all pairs, float64 (S, S): mean 0, deviation 1; 0 without one.

    None where all pairs are alike.
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


def _weighed(Z: Float64, like: Bool, chance: Float64) -> Float64:
    """Return the weights of sets of features, float64 (V,), some 0 by what chance does."""
    doubt = np.maximum(1.0 - 2.0 * chance, 0.0) ** 2
    fitted = _fitted(Z, like)
    return fitted * doubt if doubt.any() else fitted


def _chance(Z: Float64, codes: Int32, has: Bool, key: int) -> float:
    """Return how often permuted classes are as near as those of the seeds, by one set of features.

    Parameters
    ----------
    Z
        (S, S): of `_standard_distances`.
    codes
        int32 (S,).
    has
        bool (S,): the seeds that have the features.
    """
    at = np.flatnonzero(has)
    if len(at) > MAX_TESTED:
        at = np.sort(at[np.argsort(row_keys(at, CHANCE_KEY, key), kind="stable")[:MAX_TESTED]])
    energy = -Z[np.ix_(at, at)]
    np.fill_diagonal(energy, -np.inf)
    p = np.exp(energy - energy.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)

    def nearness(y: Int32) -> float:
        return float(p[y[:, None] == y[None]].sum())

    own, places = nearness(codes[at]), np.arange(len(at))
    found = 0
    for number in range(N_PERMUTATIONS):
        order = np.argsort(row_keys(places, CHANCE_KEY, key, number), kind="stable")
        # Some permutations leave the classes as they are: rounding must not make them others.
        found += nearness(codes[at[order]]) >= own * (1.0 - 1e-9)
    return (1 + found) / (1 + N_PERMUTATIONS)


def _fitted(Z: Float64, like: Bool) -> Float64:
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
