"""Sums of floats against rational arithmetic, for any cut into blocks."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ssl_dask.kernels.arithmetic import exact_sums
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums, SecondMoments, quantum_of
from tests.memory_reader import cuts_of

N_ROWS = 12

any_floats = arrays(
    np.float64, (N_ROWS, 2), elements=st.floats(allow_nan=True, allow_infinity=False)
)


def rationals(column: np.ndarray) -> list[Fraction]:
    return [Fraction(value) for value in column.tolist() if value == value]


def same(a: ColumnSums, b: ColumnSums) -> bool:
    return (
        a.n_rows == b.n_rows
        and a.sums == b.sums
        and a.squares == b.squares
        and all(
            getattr(a, name).tobytes() == getattr(b, name).tobytes()
            for name in ("missing", "infinite", "minimum", "maximum")
        )
    )


@settings(deadline=None)
@given(any_floats)
def test_sums_and_squares_are_exact(X: np.ndarray) -> None:
    sums = ColumnSums.of(X)
    for j in range(2):
        values = rationals(X[:, j])
        assert Fraction(sums.sums[j], 2**1074) == sum(values)
        assert Fraction(sums.squares[j], 2**2148) == sum(v * v for v in values)
        assert sums.counts[j] == len(values)
        if values:
            assert sums.minimum[j] == float(min(values))
            assert sums.maximum[j] == float(max(values))


@settings(deadline=None)
@given(any_floats, cuts_of(N_ROWS), st.permutations(range(N_ROWS)))
def test_any_cut_and_order_gives_the_same_bits(
    X: np.ndarray, cuts: list[int], order: list[int]
) -> None:
    whole = ColumnSums.of(X)
    parts = [ColumnSums.of(part) for part in np.split(X[order], sorted(cuts))]
    merged = parts[-1]
    for part in parts[:-1]:
        merged = part + merged
    assert same(whole, merged)


def test_a_float_sum_would_not_do() -> None:
    X = np.random.default_rng(0).lognormal(sigma=4, size=(1000, 1))
    assert X.sum() != sum(part.sum() for part in np.split(X, [137, 700]))
    parts = [ColumnSums.of(part) for part in np.split(X, [137, 700])]
    assert same(ColumnSums.of(X), parts[0] + parts[1] + parts[2])


@settings(deadline=None)
@given(
    arrays(np.float64, (N_ROWS, 1), elements=st.floats(-1e6, 1e6)),
    st.sampled_from([0.0, 1e9, -1e15]),
)
def test_mean_and_deviation_are_correctly_rounded(X: np.ndarray, offset: float) -> None:
    X = X + offset
    values = rationals(X[:, 0])
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    sums = ColumnSums.of(X)
    assert sums.mean()[0] == float(mean)
    if variance == 0:
        assert sums.std()[0] == 0.0
    else:
        # Only the reference rounds twice (the variance, then its root), unless it underflows.
        assert sums.std()[0] == pytest.approx(sqrt(variance), rel=3e-16, abs=1e-160)


def test_deviation_of_huge_and_tiny_values() -> None:
    X = np.array([[1e300, 3e-310], [-1e300, 1e-310]])
    assert ColumnSums.of(X).std() == pytest.approx([1e300, 1e-310], rel=1e-12)


def test_missing_infinite_and_signed_zero() -> None:
    X = np.array([[np.nan, np.inf, -0.0], [2.0, -np.inf, -0.0], [np.nan, 5.0, 0.0]])
    sums = ColumnSums.of(X)
    assert sums.missing.tolist() == [2, 0, 0]
    assert sums.infinite.tolist() == [0, 2, 0]
    assert sums.counts.tolist() == [1, 1, 3]
    assert sums.mean().tolist() == [2.0, 5.0, 0.0]
    assert same(sums, ColumnSums.of(X[::-1]))
    assert np.isnan(ColumnSums.of(np.array([[np.nan]])).mean()[0])
    filled = sums.with_zeros()
    assert filled.mean()[0] == pytest.approx(2 / 3)
    assert filled.minimum[0] == 0.0
    assert filled.counts[0] == 3


def test_float32_and_more_rows_than_a_slice() -> None:
    X = np.random.default_rng(1).normal(3, 2, (10_001, 40)).astype(np.float32)
    sums = ColumnSums.of(X)
    assert sums.mean() == pytest.approx(X.mean(axis=0, dtype=np.float64), rel=1e-13)
    assert sums.std() == pytest.approx(X.std(axis=0, dtype=np.float64), rel=1e-13)
    assert same(sums, ColumnSums.of(np.asfortranarray(X.astype(np.float64))))


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_sums, "MAX_BLOCK_ROWS", 3)
    with pytest.raises(ValueError, match="4 rows"):
        ColumnSums.of(np.zeros((4, 1)))


def moments_of(X: np.ndarray) -> tuple[SecondMoments, np.ndarray, np.ndarray]:
    centre = X.mean(axis=0)
    quantum = quantum_of(np.abs(X - centre).max(axis=0))
    return SecondMoments.of(X, centre, quantum), centre, quantum


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), cuts_of(N_ROWS), st.permutations(range(N_ROWS)))
def test_second_moments_are_integers_that_have_no_order(
    seed: int, cuts: list[int], order: list[int]
) -> None:
    X = np.random.default_rng(seed).lognormal(sigma=3, size=(N_ROWS, 4))
    whole, centre, quantum = moments_of(X)
    on_grid = [[int(v) for v in row] for row in np.rint((X - centre) / quantum)]
    assert max(abs(v) for row in on_grid for v in row) <= 2**20
    for i in range(4):
        assert whole.sums[i] == sum(row[i] for row in on_grid)
        for j in range(4):
            expected = sum(row[i] * row[j] for row in on_grid)
            assert int(whole.high[i, j]) * 2**32 + int(whole.low[i, j]) == expected
    parts = [SecondMoments.of(part, centre, quantum) for part in np.split(X[order], sorted(cuts))]
    merged = SecondMoments.zero(4)
    for part in parts:
        merged = part + merged
    assert merged.n_rows == N_ROWS
    assert merged.high.tobytes() == whole.high.tobytes()
    assert merged.low.tobytes() == whole.low.tobytes()
    assert merged.sums.tobytes() == whole.sums.tobytes()


def test_second_moments_stay_exact_at_the_largest_values() -> None:
    n_rows = 3 * exact_sums.SLICE_ROWS + 5
    X = np.ones((n_rows, 3))
    X[::2, 1] = -1.0
    X[:, 2] = np.linspace(-1, 1, n_rows)
    moments = SecondMoments.of(X, np.zeros(3), np.full(3, 2.0**-20))
    product = int(moments.high[0, 0]) * 2**32 + int(moments.low[0, 0])
    assert product == n_rows * 2**40
    for _ in range(12):
        moments = moments + moments
    assert int(moments.high[0, 0]) * 2**32 + int(moments.low[0, 0]) == n_rows * 2**52
    assert product * 2**12 > 2**63


def test_covariance_is_that_of_numpy() -> None:
    X = np.random.default_rng(3).normal(size=(5000, 6)) @ np.diag([1, 10, 1e-3, 1, 1e4, 1]) + 7
    moments, centre, quantum = moments_of(X)
    covariance = moments.covariance(quantum)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs(covariance - np.cov(X, rowvar=False)).max() > 0
    assert (np.abs(covariance - np.cov(X, rowvar=False)) / scale).max() < 1e-5
    assert (covariance == covariance.T).all()
    off = np.abs(moments.mean(centre, quantum) - X.mean(axis=0)) / X.std(axis=0)
    assert off.max() < 1e-6
    # A centre that is not the mean is made up for.
    shifted = centre + 2.0
    coarse = quantum_of(np.abs(X - shifted).max(axis=0))
    again = SecondMoments.of(X, shifted, coarse).covariance(coarse)
    assert (np.abs(again - covariance) / scale)[:2, :2].max() < 1e-4


def test_arguments_are_not_changed() -> None:
    X = np.arange(12.0).reshape(4, 3)
    before = X.copy()
    one, _, _ = moments_of(X)
    high = one.high.copy()
    assert (one + one).n_rows == 8
    ColumnSums.of(X)
    assert (before == X).all()
    assert (one.high == high).all()
