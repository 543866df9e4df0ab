"""Poisson learning: the closed form on every component, no drift, probabilities, shares."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import expm
from scipy.optimize import linear_sum_assignment

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.class_multipliers import (
    class_multipliers,
    class_offsets,
    hard_shares,
)
from ssl_dask.kernels.propagation.signed_scores import MEDIAN_ODDS
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.recurrence import heat_flow
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession
from tests.by_keywords import poisson, poisson_mbo
from tests.made_graphs import N_CLASSES, cut, labels_of, random_weights, some_codes
from tests.oracles import closed_forms


def islands(n_islands: int, seed: int) -> sp.csr_array:
    """Many small components beside a large one."""
    sizes = [60, *np.random.default_rng(seed).integers(1, 9, n_islands - 1)]
    parts = [random_weights(int(n), i, density=0.4 if n < 60 else 0.1) for i, n in enumerate(sizes)]
    return sp.csr_array(sp.block_diag(parts, format="csr").astype(np.float32))


def expected(W: sp.csr_array, codes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the distributions that belong to the closed form's scores."""
    Y = closed_forms.one_hot(codes, N_CLASSES) * (1 if weights is None else weights[:, None])
    u, present = closed_forms.poisson_scores(W.toarray().astype(float), Y)
    two = np.sort(np.where(present, u, -np.inf)[present.sum(axis=1) > 1], axis=1)[:, -2:]
    leads = np.sort(np.diff(two).ravel())
    leads = leads[leads > 1e-9]
    unit = leads[(len(leads) - 1) // 2]
    F = np.where(present, np.exp(np.log(MEDIAN_ODDS) * (u - u.max(axis=1)[:, None]) / unit), 0)
    return closed_forms.normalised(F)


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_closed_form(connected: bool, weighted: bool) -> None:
    W = random_weights(150, 1) if connected else islands(30, 3)
    codes = some_codes(W.shape[0], 2, n_seeds=24)
    weights = np.random.default_rng(5).uniform(0.5, 2, W.shape[0]) if weighted else None
    F = expected(W, codes, weights)
    labels = labels_of(codes)
    at_seeds = None if weights is None else weights[labels.rows]
    graph = BlockGraph.from_scipy(W, n_strips=3)
    found = poisson(graph, labels, tol=1e-7, sample_weight=at_seeds)
    assert found.converged
    answer = found.F.compute()
    # The unit is known to 1.6 %.
    np.testing.assert_allclose(answer, F, atol=0.02)
    two = np.sort(F, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > 1e-4
    assert clear.mean() > 0.6
    np.testing.assert_array_equal(answer.argmax(1)[clear], F.argmax(1)[clear])
    assert set(F.argmax(axis=1)[clear]) == set(range(N_CLASSES))
    np.testing.assert_allclose(answer.sum(axis=1), F.any(axis=1), atol=1e-6)
    # A component with seeds of one class gets that class, one without seeds none.
    certain = np.isin(F, (0.0, 1.0)).all(axis=1)
    np.testing.assert_array_equal(answer[certain], F[certain])
    assert set(F[certain].sum(axis=1)) == (set() if connected else {0.0, 1.0})


def test_it_does_not_drift_with_more_iterations() -> None:
    # 78 components, as many as Cora has; most of their seeds do not sum to zero.
    W = islands(78, 1)
    codes = some_codes(W.shape[0], 3, n_seeds=60)
    graph, labels = BlockGraph.from_scipy(W), labels_of(codes)
    short = poisson(graph, labels, tol=1e-3)
    long = poisson(graph, labels, tol=0.0, max_iter=5_000)
    assert graph.components(Execution()).n_components >= 78
    assert long.reason == "rounding"
    assert long.n_iter < 1_000
    np.testing.assert_allclose(short.F.compute(), long.F.compute(), atol=5e-3)
    np.testing.assert_allclose(long.F.compute(), expected(W, codes), atol=0.02)


def test_shares_of_classes_are_met() -> None:
    W = random_weights(400, 4, density=0.03)
    codes = some_codes(400, 2)
    classes = np.array(["a", "b", "c", "d"])
    labels = Labels.from_codes(codes, classes)
    wanted = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    free = poisson(BlockGraph.from_scipy(W), labels).F.compute()
    graph = BlockGraph.from_scipy(W, n_strips=3)
    answer = poisson(graph, labels, class_shares=wanted).F.compute()
    shares = np.bincount(answer.argmax(axis=1), minlength=4) / 400
    np.testing.assert_allclose(shares, list(wanted.values()), atol=0.005)
    assert np.abs(np.bincount(free.argmax(axis=1), minlength=4) / 400 - shares).max() > 0.05
    with pytest.raises(ValueError, match="exactly the 4 classes"):
        poisson(BlockGraph.from_scipy(W), labels, class_shares={"a": 0.5, "b": 0.5})


def test_multipliers_of_brute_force() -> None:
    # Two classes: the multiplier is a quantile of the ratio.
    F = np.random.default_rng(1).dirichlet([1, 1], 2_000)
    w = class_multipliers(F, np.array([0.3, 0.7]))
    ratio = np.sort(F[:, 1] / F[:, 0])
    assert abs((w[0] / w[1]) - ratio[600]) < 0.05 * ratio[600]
    np.testing.assert_array_equal(class_multipliers(F, np.array([0.0, 1.0])), [0, 1])
    np.testing.assert_array_equal(class_multipliers(np.zeros((5, 2)), np.array([0.5, 0.5])), 1)


def test_offsets_are_those_of_transport() -> None:
    """Against linear programming: rows to classes at the largest total score, shares held."""
    rng = np.random.default_rng(3)
    n, q = 600, np.array([0.1, 0.15, 0.25, 0.5])
    for spread in (0.5, 30.0):
        scores = rng.normal(size=(n, 4)) * spread + [3.0 * spread, 0.0, 0.0, 0.0]
        offsets = class_offsets(scores, q)
        shares = hard_shares(scores, offsets)
        np.testing.assert_allclose(shares, q, atol=0.004)
        assert np.abs(hard_shares(scores, np.zeros(4)) - q).max() > 0.3
        places = np.repeat(np.arange(4), np.round(q * n).astype(int))
        _, chosen = linear_sum_assignment(scores[:, places], maximize=True)
        assert (places[chosen] == (scores + offsets).argmax(axis=1)).mean() > 0.99
        # From nearly right ones it finds as good ones, and from none it keeps none.
        again = class_offsets(scores, q, offsets + rng.normal(size=4) * 0.01 * spread)
        np.testing.assert_allclose(hard_shares(scores, again), q, atol=0.004)
        assert not class_offsets(scores, np.bincount(scores.argmax(1), minlength=4) / n).any()


def test_offsets_of_other_scores_are_a_start_that_leads_as_far_as_none() -> None:
    rng = np.random.default_rng(4)
    q = np.array([0.02, 0.1, 0.3, 0.3, 0.08, 0.2])
    for _ in range(5):
        scores = 10.0 * rng.normal(size=(2_000, 6))
        start = class_offsets(scores + np.array([30.0, 0.0, 0.0, -20.0, 0.0, 0.0]), q)
        assert np.abs(hard_shares(scores, start) - q).max() > 0.1
        again = class_offsets(scores, q, start)
        np.testing.assert_allclose(hard_shares(scores, again), q, atol=0.01)


def test_heat_flows_as_the_exponential_of_the_walk() -> None:
    W = random_weights(60, 1, density=0.1)
    dense = W.toarray().astype(float)
    degree = np.where(dense.sum(axis=1) > 0, dense.sum(axis=1), 1.0)
    V = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    graph = BlockGraph.from_scipy(W, n_strips=2)
    blocks = list(cut(V, graph.node_chunks))
    for time in (0.0, 0.3, 10.0, 90.0):
        recurrence, n_sweeps = heat_flow("heat", time)
        with PropagationSession(graph, Execution(), n_columns=4) as session:
            solved = session.solve(
                recurrence, dense=DenseSources(blocks, 4), max_iter=n_sweeps, tol=None, scale=1.0
            )
        found = np.concatenate([block.compute() for block in solved.blocks])
        expected = expm(time * (dense / degree[:, None] - np.eye(60))) @ V
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert n_sweeps <= 5 + 4.5 * time**0.5
        with pytest.raises(ValueError, match="the series ends"):
            recurrence.steps(n_sweeps + 1)


def test_mbo_is_the_dense_iteration() -> None:
    W, codes = random_weights(150, 1), some_codes(150, 2)
    Y = closed_forms.one_hot(codes, N_CLASSES)
    u = closed_forms.poisson_mbo_scores(W.toarray().astype(float), Y, n_rounds=3)
    graph = BlockGraph.from_scipy(W, n_strips=3)
    found = poisson_mbo(graph, labels_of(codes), n_rounds=3, tol=1e-6)
    assert found.converged
    answer = found.F.compute()
    two = np.sort(u, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > 1e-5
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(answer.argmax(1)[clear], u.argmax(1)[clear])
    plain = poisson(graph, labels_of(codes)).F.compute()
    assert (plain.argmax(axis=1) != answer.argmax(axis=1)).any()


def test_mbo_holds_the_shares() -> None:
    W, codes = random_weights(400, 4, density=0.03), some_codes(400, 2)
    graph, q = BlockGraph.from_scipy(W, n_strips=3), {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}
    F = poisson_mbo(graph, labels_of(codes), class_shares=q, n_rounds=2).F.compute()
    shares = np.bincount(F.argmax(axis=1), minlength=4) / 400
    np.testing.assert_allclose(shares, list(q.values()), atol=0.02)
