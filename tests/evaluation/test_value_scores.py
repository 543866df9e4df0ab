"""R2, mean absolute and root mean squared error: scikit-learn's, and intervals that cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ssl_dask.evaluation.value_scores import (
    Unit,
    ValueScores,
    compare_errors,
    score_values,
    sum_errors,
)
from ssl_dask.features.block_reader import add_all


def scored(truth: Any, found: Any, **more: Any) -> ValueScores:
    unit = Unit.of(np.array([5.0, 9.0]))
    return score_values(sum_errors(np.asarray(truth), np.asarray(found), unit, **more), unit)


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    # Far from 0 beside its spread, where careless sums of powers lose all digits.
    truth = 1e6 + rng.gamma(2, 3, 500)
    found = truth + rng.normal(size=500)
    unit = Unit.of(truth[:20])
    scores = score_values(sum_errors(truth, found, unit), unit)
    assert scores.r2.value == pytest.approx(r2_score(truth, found), abs=1e-9)
    assert scores.mae.value == pytest.approx(mean_absolute_error(truth, found))
    assert scores.rmse.value == pytest.approx(root_mean_squared_error(truth, found))
    assert 0.5 < scores.r2.value < 1.0


def test_blocks_add_up_to_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    truth, found = rng.normal(size=(2, 1000))
    truth[rng.random(1000) < 0.1] = np.nan
    found[rng.random(1000) < 0.2] = np.nan
    unit = Unit.of(rng.normal(3, 2, 30))
    ends = found - 0.5, found + 0.5
    whole = sum_errors(truth, found, unit, *ends)
    for cuts in ([500], [1, 7, 998]):
        pieces = [np.split(values, cuts) for values in (truth, found, *ends)]
        parts = [sum_errors(t, f, unit, a, b) for t, f, a, b in zip(*pieces, strict=True)]
        assert score_values(add_all(parts), unit) == score_values(whole, unit)
    both = ~np.isnan(truth) & ~np.isnan(found)
    scores = score_values(whole, unit)
    assert (scores.n, scores.n_without) == (both.sum(), (~np.isnan(truth)).sum() - both.sum())
    assert scores.inside.n == both.sum()
    assert scores.inside.right == (np.abs(found - truth)[both] <= 0.5).sum()
    assert 0 < scores.inside.right < scores.inside.n


def test_intervals_cover_the_figures_of_all_rows() -> None:
    rng = np.random.default_rng(2)
    everything = rng.gamma(2.0, 2.0, 200_000)
    errors = rng.standard_t(8, 200_000) * 0.8
    true = {
        "r2": 1 - (errors**2).mean() / everything.var(),
        "mae": np.abs(errors).mean(),
        "rmse": np.sqrt((errors**2).mean()),
    }
    covered = dict.fromkeys(true, 0)
    for _ in range(400):
        rows = rng.integers(0, 200_000, 60)
        scores = scored(everything[rows], everything[rows] + errors[rows])
        for name, figure in true.items():
            found = getattr(scores, name)
            assert found.low < found.value < found.high
            covered[name] += found.low <= figure <= found.high
    # Delta-method intervals of 60 rows with heavy tails: a few points short of 95 %.
    assert all(0.90 <= n / 400 <= 0.985 for n in covered.values()), covered


def test_what_cannot_be_said_is_none() -> None:
    nothing = scored([np.nan], [1.0])
    assert (nothing.n, nothing.r2.value, nothing.mae.value) == (0, None, None)
    one = scored([3.0], [5.0])
    assert (one.mae.value, one.mae.low, one.r2.value) == (2.0, None, None)
    flat = scored([3.0, 3.0, 3.0], [3.0, 4.0, 5.0])
    assert flat.r2.value is None
    assert flat.mae.value == 1.0
    perfect = scored([3.0, 4.0, 7.0], [3.0, 4.0, 7.0])
    assert (perfect.r2.value, perfect.r2.low, perfect.rmse.high) == (1.0, 1.0, 0.0)
    missed = scored([3.0, 4.0], [np.nan, np.nan])
    assert (missed.n, missed.n_without) == (0, 2)


@pytest.mark.parametrize("stray", [1e78, 1e90, -1e160, 1.7e308])
def test_a_stray_truth_is_neither_a_crash_nor_left_out(stray: float) -> None:
    truth = np.array([stray, 1.0, 2.0, 3.0])
    found = np.array([0.0, 1.1, 2.2, 3.1])
    scores = scored(truth, found)
    assert scores.n == 4
    assert scores.mae.value == pytest.approx(abs(stray) / 4)
    assert scores.r2.value is None or scores.r2.value <= 0.0
    assert scores.rmse.low is None
    assert scores.r2.low is None


def test_truth_that_is_far_from_the_seeds_keeps_its_digits() -> None:
    truth = 1e9 + np.random.default_rng(4).normal(size=1000)
    scores = scored(truth, truth + 0.5)
    assert scores.r2.value == pytest.approx(r2_score(truth, truth + 0.5), abs=1e-4)
    assert 0.5 < scores.r2.value < 0.8


def test_two_methods_are_compared_on_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=80)
    first, second = truth + 0.1 * rng.normal(size=80), truth + rng.normal(size=80)
    second[:5] = np.nan
    found = compare_errors(truth, first, second)
    gaps = (np.abs(first - truth) - np.abs(second - truth))[5:]
    low, high = stats.t.interval(0.95, 74, gaps.mean(), stats.sem(gaps))
    assert found.n == 75
    np.testing.assert_allclose(
        [found.difference, found.low, found.high], [gaps.mean(), low, high], rtol=1e-12
    )
    assert found.verdict("graph", "ridge").startswith("Graph is off by")
    turned = compare_errors(truth, second, first)
    assert turned.verdict("graph", "ridge").startswith("Ridge is off by")
    assert "chance" not in turned.verdict("graph", "ridge")
    level = compare_errors(truth, first, first)
    assert "level" in level.verdict("graph", "ridge")
    assert compare_errors(truth[:5], first[:5], second[:5]) is None
