"""What the likeliest rows of a rare class hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ssl_dask.evaluation.ranking import RankedSeeds, Ranking, rank_class
from ssl_dask.kernels.distributions.class_shares import stated_shares

SHARE = 0.01


def drawn(seed: int, n: int = 20_000, steps: int = 0) -> tuple[Ranking, np.ndarray, np.ndarray]:
    """Return a ranking, and probability and truth of the rows; `steps` levels of it make ties."""
    rng = np.random.default_rng(seed)
    positive = np.repeat([True, False], [60, 240])
    truth = rng.random(n) < SHARE

    def p(of: np.ndarray) -> np.ndarray:
        found = 1.0 / (1.0 + np.exp(-rng.normal(2.5 * of - 1.0, 1.0)))
        return np.floor(found * steps) / steps if steps else found

    seed_p, row_p = p(positive), p(truth)
    shares = stated_shares(*2 * [np.array([1.0 - SHARE, SHARE])])
    return (
        rank_class("fraud", RankedSeeds(seed_p, positive), row_p, n, shares, 1, 0.9),
        row_p,
        truth,
    )


@pytest.mark.parametrize("steps", [0, 8])
def test_budgets_hold_what_the_rows_hold(steps: int) -> None:
    held = {"precision": [], "recall": [], "lift": []}
    for seed in range(25):
        ranking, p, truth = drawn(seed, steps=steps)
        order = np.argsort(-p - 1e-9 * np.random.default_rng(0).random(len(p)))
        assert [one.rows for one in ranking.budgets] == [100, 300, 1_000, 3_000, 10_000]
        for one in ranking.budgets:
            right = truth[order[: one.rows]].sum()
            figures = {
                "precision": right / one.rows,
                "recall": right / truth.sum(),
                "lift": right / one.rows / truth.mean(),
            }
            for name, value in figures.items():
                found = getattr(one, name)
                # The truth of one draw has a share of its own.
                slack = 0.1 * value
                held[name].append(found.low - slack <= value <= found.high + slack)
    assert min(np.mean(one) for one in held.values()) >= 0.85


def test_average_precision_is_weighted_to_the_share() -> None:
    ranking, p, truth = drawn(1)
    assert ranking.average_precision == pytest.approx(average_precision_score(truth, p), abs=0.15)
    assert ranking.average_precision < 0.6


def test_few_rows_have_no_budgets() -> None:
    assert drawn(0, n=150)[0].budgets == ()
    assert [one.rows for one in drawn(0, n=300)[0].budgets] == [100]


def test_a_small_sample_knows_no_small_budgets() -> None:
    rng = np.random.default_rng(0)
    positive = np.repeat([True, False], [30, 70])
    shares = stated_shares(*2 * [np.array([0.99, 0.01])])
    found = rank_class(
        "x", RankedSeeds(rng.random(100), positive), rng.random(1_000), 10**6, shares, 1, 0.9
    )
    assert [one.rows for one in found.budgets] == [30_000, 100_000]
