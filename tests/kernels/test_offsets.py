"""Columns far from zero: when something is subtracted, what, and that no digit is lost."""

from __future__ import annotations

from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ssl_dask.kernels.arithmetic.offsets import (
    extent_of,
    far_offsets,
    less_offset,
    loses_digits,
    without_offsets,
)


def test_only_columns_far_from_zero_lose_their_smallest_value() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.0, 1.0, (50, 4))
    assert far_offsets([extent_of(X)]) is None
    X += np.array([0.0, 1e9, -1e6, 5.0])
    found = far_offsets([extent_of(X)])
    np.testing.assert_array_equal(found, [0.0, X[:, 1].min(), X[:, 2].min(), 0.0])
    for size in (1, 7, 50):
        blocks = [extent_of(X[i : i + size]) for i in range(0, 51, size)]
        np.testing.assert_array_equal(far_offsets(blocks), found)
    near = without_offsets(X, found)
    np.testing.assert_array_equal(near[:, [0, 3]], X[:, [0, 3]].astype(np.float32))
    np.testing.assert_allclose(near[:, 1], X[:, 1] - found[1], atol=2e-7)


def test_columns_of_one_value_are_compared_with_the_widest() -> None:
    X = np.array([[3.0, 1e9, 0.0, np.nan], [3.0, 1e9, 1.0, np.nan]])
    found = far_offsets([extent_of(X)])
    assert found.tolist() == [0.0, 1e9, 0.0, 0.0]
    assert far_offsets([extent_of(np.ones((3, 2)))]) is None
    assert far_offsets([extent_of(np.array([[np.inf, 2.0], [1.0, 3.0]]))]) is None


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32])
def test_integers_keep_all_digits(dtype: type[np.integer]) -> None:
    first = {np.int64: -(2**62), np.uint64: 2**64 - 2**20, np.int32: 2**30}[dtype]
    X = np.array([[first + i] for i in (0, 4096, 8193, 90_001)], dtype=dtype)
    found = far_offsets([extent_of(X)])
    near = without_offsets(X, found).astype(np.int64)
    assert (near - near[0]).ravel().tolist() == [0, 4096, 8193, 90_001]


def test_large_unsigned_numbers_without_an_offset_stay_what_they_are() -> None:
    X = np.array([[2**64 - 2**40, 2**40], [5, 2**40 + 9]], dtype=np.uint64)
    found = far_offsets([extent_of(X)])
    assert found.tolist() == [0.0, 2.0**40]
    assert without_offsets(X, found).tolist() == [[2.0**64 - 2.0**40, 0.0], [5.0, 9.0]]


@pytest.mark.parametrize(
    ("fitted", "new"),
    [
        (np.array([2**63 + 5, 2**63 + 9], dtype=np.uint64), np.uint64(0)),
        (np.array([-(2**62) - 5, -(2**62)]), np.int64(2**63 - 1)),
    ],
)
def test_rows_far_from_those_of_the_offset_keep_their_side(
    fitted: npt.NDArray[Any], new: Any
) -> None:
    found = far_offsets([extent_of(np.column_stack([fitted, fitted - fitted[0]]))])
    ((near, kept),) = without_offsets(np.array([[new, 3]], dtype=fitted.dtype), found)
    assert near == np.float32(int(new) - int(fitted[0]))
    assert kept == 3.0


def test_types_that_float32_holds_are_left_alone() -> None:
    assert all(loses_digits(np.dtype(one)) for one in ("f8", "i8", "u4"))
    assert not any(loses_digits(np.dtype(one)) for one in ("f4", "i2", "?"))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint64])
@pytest.mark.parametrize("offset", [-(2**63), -5, 2**53 + 1, 1_700_000_000_000_000_001, 2**64 - 1])
def test_differences_are_those_of_whole_numbers(dtype: type[np.integer], offset: int) -> None:
    ends = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    some = {ends.min, ends.max, 0, 7, *rng.integers(ends.min, ends.max, 20, dtype=dtype).tolist()}
    near = {offset + i for i in range(-3, 4) if ends.min <= offset + i <= ends.max}
    values = sorted(some | near)
    found = less_offset(np.array(values, dtype=dtype), offset).tolist()
    differences = [one - offset for one in values]
    small = [abs(one) < 2**62 for one in differences]
    assert sum(small) >= len(near)
    assert list(compress(found, small)) == list(map(float, compress(differences, small)))
    assert found == pytest.approx(list(map(float, differences)), rel=1e-15)
    floats = [float(offset), float(offset) + 2.0**12]
    assert less_offset(np.array(floats), offset).tolist() == [int(x) - offset for x in floats]
