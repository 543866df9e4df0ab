"""Exact distances: in float64, in the order that the module promises, whatever the machine."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba.core.errors import TypingError

from ssl_dask.kernels.knn.exact_distance import (
    LANES,
    exact_distance,
    inner_product,
    squared_distance,
    squared_lengths,
)

FINITE = st.floats(-1e6, 1e6, width=32)


def lanes_in_pairs(products: np.ndarray) -> float:
    """Return the sum of float64 numbers in the order of the module's docstring."""
    whole = len(products) - len(products) % LANES
    lanes = np.zeros(LANES)
    for start in range(0, whole, LANES):
        lanes = lanes + products[start : start + LANES]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    total = lanes[0]
    for product in products[whole:]:
        total += product
    return float(total)


@given(
    st.integers(0, 3 * LANES + 5).flatmap(
        lambda d: st.tuples(*(arrays(np.float32, d, elements=FINITE) for _ in range(2)))
    )
)
def test_sums_are_taken_in_one_order_both_ways_round(rows):
    x, y = rows
    wide = x.astype(np.float64), y.astype(np.float64)
    steps = (wide[0] - wide[1]) ** 2
    assert squared_distance(x, y) == squared_distance(y, x) == lanes_in_pairs(steps)
    assert inner_product(x, y) == inner_product(y, x) == lanes_in_pairs(wide[0] * wide[1])


def test_is_as_exact_as_float64_can_be():
    rng = np.random.default_rng(3)
    X = (rng.normal(size=(2, 203)) * 10.0 ** rng.integers(-3, 4, 203)).astype(np.float32)
    true = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in X.T)
    assert abs(Fraction(squared_distance(*X)) / true - 1) < 203 * 2.0**-53
    np.testing.assert_array_equal(squared_lengths(X), [inner_product(x, x) for x in X])


def test_cosine_of_equal_rows_is_exactly_zero_and_of_zeros_infinite():
    x = np.random.default_rng(4).normal(size=37).astype(np.float32)
    assert exact_distance(x, x.copy(), True) == 0
    assert exact_distance(x, np.zeros_like(x), True) == np.inf
    assert exact_distance(x, -x, True) == pytest.approx(2, abs=1e-15)
    assert exact_distance(x, np.zeros_like(x), False) == inner_product(x, x) > 0


@pytest.mark.parametrize("row", [np.ones((4, 2), np.float32)[:, 0], np.ones(4)])
def test_refuses_rows_that_are_not_contiguous_float32(row):
    with pytest.raises(TypingError, match="contiguous arrays of float32"):
        numba.njit(lambda x: squared_distance(x, x))(row)
