"""Bootstrap samples, intervals of proportions and the dependence of errors."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.kernels.distributions.class_votes import wilson_interval
from ssl_dask.kernels.learners.co_training import error_dependence
from ssl_dask.kernels.learners.row_samples import stratified_bootstrap
from tests.oracles.committees import wilson


def test_a_bootstrap_sample_keeps_every_class_and_its_size() -> None:
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(10_000, 200, replace=False)).astype(np.int64)
    codes = rng.choice(5, 200, p=[0.5, 0.3, 0.1, 0.09, 0.01]).astype(np.int32)
    sample = stratified_bootstrap(rows, codes, 7, 0, 1)
    np.testing.assert_array_equal(
        np.bincount(codes[sample], minlength=5), np.bincount(codes, minlength=5)
    )
    # With replacement: 1 - 1/e of the rows are in a sample.
    assert 0.55 < len(np.unique(sample)) / 200 < 0.72
    other = stratified_bootstrap(rows, codes, 7, 0, 2)
    assert (sample != other).any()
    np.testing.assert_array_equal(sample, stratified_bootstrap(rows, codes, 7, 0, 1))


def test_one_seed_a_class_is_its_own_sample() -> None:
    rows, codes = np.array([4, 9, 30]), np.array([2, 0, 1], dtype=np.int32)
    np.testing.assert_array_equal(stratified_bootstrap(rows, codes, 0), [0, 1, 2])


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (3, 7), (90, 100)])
def test_intervals_are_wilsons(right: int, n: int) -> None:
    np.testing.assert_allclose(wilson_interval(right, n, 0.9), wilson(right, n, 0.9), atol=1e-9)


def test_nothing_is_known_without_trials() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_errors_that_coincide_depend_on_each_other() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, 300).astype(np.int32)
    # Hard classes are hard for both, which is no dependence given the class.
    rate = np.array([0.1, 0.5, 0.8])[codes]
    apart = rng.random((300, 2)) < rate[:, None]
    assert abs(error_dependence(apart, codes).correlation) < 0.15
    assert error_dependence(apart, codes).p_value > 0.05
    pooled = np.corrcoef(apart.T)[0, 1]
    assert pooled > 0.25
    together = np.repeat(apart[:, :1], 2, axis=1)
    found = error_dependence(together, codes)
    assert found.correlation == pytest.approx(1.0)
    assert found.p_value < 1e-9
    assert error_dependence(np.stack([apart[:, 0], ~apart[:, 0]], 1), codes).correlation == -1.0


def test_no_errors_no_verdict() -> None:
    found = error_dependence(np.zeros((20, 2), dtype=bool), np.zeros(20, dtype=np.int32))
    assert found == (0.0, 1.0, 0)
