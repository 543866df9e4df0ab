"""Columns far from zero: what is subtracted from them before they become float32.

Timestamps, ids and coordinates have an offset that is large against their differences, and float32
would keep the digits of the offset and drop those of the differences. Where the offset is small
nothing is subtracted, so that the values are those of the input, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Float64

FAR = 16.0
"""A column is far from zero if its largest magnitude is more than so many times its range: float32
would drop more than 4 of the 24 bits that the range has."""

Extent = tuple[Float64, Float64]
"""Smallest and largest value of each column, float64 (d,) each."""


def loses_digits(dtype: np.dtype[Any]) -> bool:
    """Return whether numbers of this type may have more digits than float32."""
    return dtype.kind in "fiu" and dtype.itemsize >= 4 and dtype != np.float32


def extent_of(X: Any) -> Extent | None:
    """Return the extent of the columns of X (n, d) without NaN; NaN where there is no number.

    None where X is sparse, or of a type that float32 holds.
    """
    if sp.issparse(X) or not loses_digits(X.dtype):
        return None
    if len(X) == 0:
        return np.full(X.shape[1], np.nan), np.full(X.shape[1], np.nan)
    low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
    return low.astype(np.float64), high.astype(np.float64)


def far_offsets(extents: Iterable[Extent | None]) -> Float64 | None:
    """Return what is to be subtracted from each column, float64 (d,); None: nothing from any.

    Nothing where the extent of a block is None.

    The smallest value of columns that are far from zero, 0 of others. It depends on the smallest
    and the largest value of each column alone, so that it is the same for any blocks. A column of
    one value is compared with the widest range.

    >>> times = np.array([[1e9, 5.0], [1e9 + 60, 7.0]])
    >>> far_offsets([extent_of(times[:1]), extent_of(times[1:])]).tolist()
    [1000000000.0, 0.0]
    """
    known = list(extents)
    blocks = [one for one in known if one is not None]
    if not blocks or len(blocks) < len(known):
        return None
    smallest, largest = zip(*blocks, strict=True)
    low, high = np.fmin.reduce(smallest), np.fmax.reduce(largest)
    # Columns without a number, and those with infinite ones, which are refused elsewhere, stay.
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
        widest = np.fmax.reduce(spread, initial=0.0)
        size = np.fmax(np.abs(low), np.abs(high))
        far = np.isfinite(size) & (size > FAR * np.where(spread > 0.0, spread, widest))
        far &= widest > 0.0  # rows that are all equal differ in no digit
    return np.where(far, low, 0.0) if far.any() else None


def may_be_far(X: npt.NDArray[Any]) -> bool:
    """Return whether a column of X can be far from zero; False for no block of one that is.

    A block's range is at most that of all blocks, and its magnitude less by at most that.
    """
    extent = extent_of(X)
    if extent is None:
        return False
    low, high = extent
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.fmax(np.abs(low), np.abs(high))
        return bool((size > (FAR - 1.0) * (high - low)).any())


def without_offsets(X: npt.NDArray[Any], offsets: Float64) -> Float32:
    """Return X - offsets, (n, d) with float64 (d,), as float32, C-contiguous.

    Integers are subtracted as integers: no digit of an id is lost.
    """
    if X.dtype.kind not in "iu":
        return np.ascontiguousarray(X.astype(np.float64) - offsets, dtype=np.float32)
    # Unsigned numbers too: differences are right modulo 2**64, and these are small.
    whole = np.array([int(one) % 2**64 for one in offsets], dtype=np.uint64).view(np.int64)
    near = np.ascontiguousarray(X.astype(np.int64) - whole, dtype=np.float32)
    # Those of columns without an offset need not be small: int64 may not hold them.
    kept = offsets == 0.0
    near[:, kept] = X[:, kept]
    return near
