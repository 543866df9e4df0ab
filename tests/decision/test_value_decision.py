"""Intervals from hidden seeds: the rank of split conformal, their coverage; rows and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.decision.value_decision import (
    VALUE_REASONS,
    VALUE_SOURCES,
    decide_values,
    fit_interval,
)


@pytest.mark.parametrize(
    ("n", "coverage", "rank"),
    [(9, 0.9, 9), (19, 0.95, 19), (20, 0.9, 19), (99, 0.9, 90), (4, 0.5, 3)],
)
def test_the_rank_is_that_of_split_conformal(n: int, coverage: float, rank: int) -> None:
    errors = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    found = fit_interval(errors, np.zeros(n, np.int32), coverage)
    assert found.half_width == rank
    assert found.reason is None
    assert found.n_checked == 0


@pytest.mark.parametrize(("n", "coverage", "fewest"), [(8, 0.9, 9), (18, 0.95, 19), (0, 0.5, 1)])
def test_too_few_hidden_seeds_give_no_interval(n: int, coverage: float, fewest: int) -> None:
    found = fit_interval(np.ones(n), np.zeros(n, np.int32), coverage)
    assert found.half_width is None
    assert f"at least {fewest}" in str(found.reason)
    assert fit_interval(np.ones(fewest), np.zeros(fewest, np.int32), coverage).half_width == 1.0


def test_seeds_are_checked_against_the_other_folds_alone() -> None:
    errors, folds = np.array([1.0, 2, 3, 4, 100, 100, 100, 100]), np.repeat([0, 1], 4)
    found = fit_interval(errors, folds.astype(np.int32), 0.6)
    # Bounds without the own fold: 100 (of four, the third) for the first, 3 for the second.
    assert (found.n_checked, found.n_inside) == (8, 4)
    assert found.half_width == 100


def test_intervals_cover_what_they_say() -> None:
    rng = np.random.default_rng(1)
    held = checked = inside = 0
    for _ in range(400):
        errors = np.abs(rng.standard_t(3, 60))
        found = fit_interval(errors[:50], rng.integers(0, 5, 50).astype(np.int32), 0.8)
        held += int((errors[50:] <= found.half_width).sum())
        checked, inside = checked + found.n_checked, inside + found.n_inside
    assert 0.78 < held / 4000 < 0.83
    assert 0.78 < inside / checked < 0.84


def test_rows_are_decided() -> None:
    values = np.array([1.0, np.nan, 3.0, np.nan])
    kept = values.copy()
    found = decide_values(values, np.array([2, 3]), np.array([-7.0, 9.0]), 0.5)
    np.testing.assert_array_equal(values, kept)
    np.testing.assert_array_equal(found.value, [1.0, np.nan, -7.0, 9.0])
    np.testing.assert_array_equal(found.low, [0.5, np.nan, -7.0, 9.0])
    np.testing.assert_array_equal(found.high, [1.5, np.nan, -7.0, 9.0])
    assert [VALUE_SOURCES[code] for code in found.source] == ["propagated", "none", "seed", "seed"]
    reasons = [VALUE_REASONS[code] for code in found.reason]
    assert reasons == ["none", "no_path_to_seed", "none", "none"]
    without = decide_values(values, np.array([2]), np.array([-7.0]), None)
    np.testing.assert_array_equal(without.low, [np.nan, np.nan, -7.0, np.nan])
