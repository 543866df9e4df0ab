"""Weights of sets of features from pairs of seeds."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from sklearn.metrics import pairwise_distances

from ssl_dask.kernels.graph.seed_pairs import (
    MAX_SEEDS,
    SeedRows,
    learned_weights,
    permutation_p_value,
)

RNG = np.random.default_rng(3)
CODES = np.repeat(np.arange(4), 10).astype(np.int32)
EVERY = np.ones(40, bool)
GOOD = np.eye(4)[CODES] * 3 + RNG.normal(size=(40, 4))
FAIR = np.eye(4)[CODES] * 1.0 + RNG.normal(size=(40, 4))
NOISE = RNG.normal(size=(40, 6)) * 100


def part(X: Any, has: np.ndarray = EVERY, metric: str = "euclidean") -> SeedRows:
    return SeedRows(X, has, metric)


def oracle(parts: list[tuple[np.ndarray, str]], codes: np.ndarray) -> np.ndarray:
    """The same objective written out seed by seed, and searched without its slope."""
    Z = []
    for X, metric in parts:
        D = 2 * pairwise_distances(X, metric="cosine") if metric == "cosine" else None
        D = pairwise_distances(X) ** 2 if D is None else D
        pairs = D[~np.eye(len(D), dtype=bool)]
        Z.append((D - pairs.mean()) / pairs.std())

    def loss(a: np.ndarray) -> float:
        value = ((a - 1) ** 2).sum()
        for i in range(len(codes)):
            others = np.flatnonzero(np.arange(len(codes)) != i)
            p = np.exp(-sum(w * z[i, others] for w, z in zip(a, Z, strict=True)))
            value -= np.log(p[codes[others] == codes[i]].sum() / p.sum())
        return float(value)

    found = minimize(
        loss, np.ones(len(Z)), bounds=[(0, None)] * len(Z), method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000},
    ).x  # fmt: skip
    return np.maximum(found / found.max(), 0.01)


def test_the_weights_minimise_what_is_said() -> None:
    parts = [part(GOOD), part(sp.csr_array(FAIR), metric="cosine")]
    found = learned_weights(parts, CODES)
    # Both are sure: of 199 permutations none is as near, and (1 - 2 / 200)^2 is common to them.
    want = oracle([(GOOD, "euclidean"), (FAIR, "cosine")], CODES)
    np.testing.assert_allclose(found, want, atol=2e-3)
    assert found[0] == 1.0
    assert found[0] > found[1] > 0.1
    # What says no more of the classes than chance does has little to say.
    more = learned_weights([*parts, part(NOISE)], CODES)
    assert more[2] < 0.05 < 0.5 * more[1]


def test_the_chance_is_that_of_permuted_classes() -> None:
    few = np.arange(0, 40, 5)
    codes = np.repeat([0, 1], 4).astype(np.int32)
    X = RNG.normal(size=(8, 3)) + codes[:, None] * [0.8, 0, 0]
    D = pairwise_distances(X) ** 2
    Z = (D - D[~np.eye(8, dtype=bool)].mean()) / D[~np.eye(8, dtype=bool)].std()
    p = np.exp(-Z) * (1 - np.eye(8))
    p /= p.sum(axis=1, keepdims=True)

    def nearness(y: np.ndarray) -> float:
        return sum(p[i, j] for i in range(8) for j in range(8) if y[i] == y[j])

    every = [np.isin(np.arange(8), one).astype(int) for one in combinations(range(8), 4)]
    exact = np.mean([nearness(y) >= nearness(codes) - 1e-12 for y in every])
    assert 0.02 < exact < 0.5
    has = np.isin(np.arange(40), few)
    whole = np.zeros((40, 40))
    whole[np.ix_(has, has)] = Z
    all_codes = np.full(40, 7, np.int32)
    all_codes[has] = codes
    assert abs(permutation_p_value(whole, all_codes, has, 0) - exact) < 0.1


def test_in_doubt_weights_shrink_by_chance() -> None:
    two = np.array([0, 0, 1, 1], np.int32)
    near = part(np.array([[0.0], [0.3], [5.0], [5.5]]), np.ones(4, bool))
    far = part(np.array([[0.0], [5.0], [0.2], [5.3]]), np.ones(4, bool))
    # Of four seeds chance is never small: a third of the permutations are as near as can be.
    np.testing.assert_array_equal(learned_weights([near, far], two), [1.0, 0.01])
    # Nothing is known by either, so both are heard alike.
    assert len(set(learned_weights([far, far], two).tolist())) == 1


def test_unit_and_order_do_not_matter() -> None:
    plain = learned_weights([part(GOOD), part(FAIR)], CODES)
    scaled = learned_weights([part(FAIR * 1000), part(GOOD - 7)], CODES)
    np.testing.assert_allclose(plain, scaled[::-1], atol=1e-3)


def test_seeds_that_lack_a_part_say_nothing_of_it() -> None:
    has = np.arange(40) % 3 > 0
    found = learned_weights([part(GOOD[has], has), part(NOISE)], CODES)
    assert found[0] == 1.0
    assert found[1] < 0.5
    nobody = part(np.zeros((0, 4)), ~EVERY)
    alone = learned_weights([nobody, part(GOOD)], CODES)
    assert alone.max() == 1.0
    assert alone.min() >= 0.01


def test_without_pairs_of_one_class_all_weigh_the_same() -> None:
    different = np.arange(40, dtype=np.int32)
    parts = [part(GOOD), part(NOISE)]
    assert learned_weights(parts, different).tolist() == [1.0, 1.0]


def test_many_seeds_are_sampled() -> None:
    n = MAX_SEEDS + 500
    codes = (np.arange(n) % 2).astype(np.int32)
    X = codes[:, None] + RNG.normal(size=(n, 2)) * 0.3
    everywhere = np.ones(n, bool)
    noise = RNG.normal(size=(n, 2))
    found = learned_weights([part(X, everywhere), part(noise, everywhere)], codes)
    assert found[0] == 1.0
    assert found[1] < 0.5
