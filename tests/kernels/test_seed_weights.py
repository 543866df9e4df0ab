"""Weights of seeds that were drawn of groups at different rates, and shares by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_dask.evaluation.share_scores import JudgedRows, score_at_shares
from ssl_dask.kernels.distributions.class_shares import ClassShares, stated_shares
from ssl_dask.kernels.distributions.seed_weights import SeedStrata, effective_weights

N, N_DRAWS = 20_000, 60


@given(st.lists(st.sampled_from([0.5, 1.0, 3.0, 40.0]), min_size=1, max_size=30), st.data())
def test_weights_of_a_class_sum_to_its_effective_number(
    weights: list[float], data: st.DataObject
) -> None:
    n = len(weights)
    codes = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), np.int32)
    w = np.array(weights)
    found = effective_weights(w, codes)
    for code in np.unique(codes):
        mine = codes == code
        assert found[mine].sum() == pytest.approx(w[mine].sum() ** 2 / (w[mine] ** 2).sum())
        np.testing.assert_allclose(found[mine] / found[mine][0], w[mine] / w[mine][0])


def made(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, SeedStrata, np.ndarray]:
    """Return truth, score and group of rows; the strata; and the seeds: most of the small group."""
    rng = np.random.default_rng(seed)
    group = (rng.random(N) < 0.05).astype(np.int64)
    truth = (rng.random(N) < np.where(group, 0.3, 0.02)).astype(np.int32)
    score = rng.normal(size=N) + 0.5 * truth + 2.5 * group * truth + 0.5 * group
    seeds = np.concatenate(
        [rng.choice(np.flatnonzero(group == one), 150, replace=False) for one in (0, 1)]
    )
    rows = np.bincount(group, minlength=2).astype(np.int64)
    return truth, score, group, SeedStrata(rows, group[seeds]), seeds


def covered(shares: ClassShares, share: float) -> bool:
    return bool(shares.low[1] <= share <= shares.high[1])


def test_shares_of_a_stratified_sample_are_covered() -> None:
    hits, plain = 0, 0
    for seed in range(N_DRAWS):
        truth, _, group, strata, seeds = made(seed)
        found = strata.shares(truth[seeds], 2, 0.9)
        by_hand = sum((group == g).mean() * truth[seeds][group[seeds] == g].mean() for g in (0, 1))
        assert found.values[1] == pytest.approx(by_hand, abs=0.005)
        hits += covered(found, truth.mean())
        one = SeedStrata(np.array([N]), np.zeros(len(seeds), np.int64))
        plain += covered(one.shares(truth[seeds], 2, 0.9), truth.mean())
    assert hits >= 0.8 * N_DRAWS
    assert plain == 0


def test_a_group_without_seeds_may_be_of_any_class() -> None:
    strata = SeedStrata(np.array([500, 500]), np.zeros(100, np.int64))
    found = strata.shares(np.repeat(np.array([0, 1], np.int32), 50), 2, 0.9)
    assert found.low[1] < 0.3
    assert found.high[1] > 0.7


def test_precision_weighs_seeds_by_the_rows_they_stand_for() -> None:
    hits, plain = 0, 0
    for seed in range(N_DRAWS):
        truth, score, _, strata, seeds = made(seed)
        p = 1.0 / (1.0 + np.exp(2.0 - score))
        F = np.stack([1.0 - p, p], axis=1).astype(np.float32)
        labels = F.argmax(axis=1).astype(np.int32)
        shares = stated_shares(*2 * [np.array([1.0 - truth.mean(), truth.mean()])])
        called = np.append(np.bincount(labels, minlength=2), 0)
        weights = strata.row_weights(np.ones(len(seeds), bool))
        true = truth[labels == 1].mean()
        for own in (None, effective_weights(weights, truth[seeds])):
            none = np.empty((0, 2), np.float32), np.empty(0, np.int32), np.empty(0, np.int32)
            judged = JudgedRows(F[seeds], labels[seeds], truth[seeds], F, labels, *none, own)
            told = score_at_shares(
                judged, called, shares, ["no", "yes"], 0.9, seeds_differ=True, corrected=False
            )
            precision = told.classes[1].precision
            hit = precision.low <= true <= precision.high
            hits, plain = hits + (own is not None and hit), plain + (own is None and hit)
    assert hits >= 0.8 * N_DRAWS
    assert plain <= 0.1 * N_DRAWS
