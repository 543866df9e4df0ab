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

MAX_FLOAT32 = float(np.finfo(np.float32).max)

Offsets = Float64 | npt.NDArray[Any]
"""What is subtracted from each column, (d,): integers, as they are, of integers; else float64."""

Extent = tuple[Offsets, Offsets]
"""Smallest and largest value of each column, (d,) each: integers, as they are, or float64."""


def loses_digits(dtype: np.dtype[Any]) -> bool:
    """Return whether numbers of this type may have more digits than float32."""
    return dtype.kind in "fiu" and dtype.itemsize >= 4 and dtype != np.float32


def extent_of(X: Any) -> Extent | None:
    """Return the extent of the columns of X (n, d) without NaN; NaN where there is no number.

    The smallest value is above the largest where X is of integers, and has no rows. None where X
    is sparse, or of a type that float32 holds.
    """
    if sp.issparse(X) or not loses_digits(X.dtype):
        return None
    if X.dtype.kind in "iu":
        ends = np.iinfo(X.dtype)
        return X.min(axis=0, initial=ends.max), X.max(axis=0, initial=ends.min)
    if len(X) == 0:
        return np.full(X.shape[1], np.nan), np.full(X.shape[1], np.nan)
    low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
    return low.astype(np.float64), high.astype(np.float64)


def number_beyond(X: Any, limit: float = MAX_FLOAT32) -> tuple[int, float] | None:
    """Return (column, magnitude) of the finite number of X (n, d) farthest beyond +-limit, or None.

    X is dense or CSR; NaN and infinity do not count.

    >>> number_beyond(np.array([[1.0, np.inf], [2.0, -1e39]]))
    (1, 1e+39)
    """
    values = X.data if sp.issparse(X) else X
    if values.dtype.kind != "f" or values.size == 0 or float(np.finfo(values.dtype).max) <= limit:
        return None
    if max(values.max(), -values.min()) <= limit:
        return None
    size = np.where(np.isfinite(values), np.abs(values), 0.0)
    at = int(size.argmax())
    if size.flat[at] <= limit:
        return None
    return int(X.indices[at] if sp.issparse(X) else at % X.shape[1]), float(size.flat[at])


def beyond_told(what: str, found: tuple[int, float], limit: float = MAX_FLOAT32) -> tuple[str, str]:
    """Return (what is wrong, cure) of what `number_beyond` found in the rows `what`."""
    column, largest = found
    text = (
        f"{what} hold numbers up to {largest:.3g} in column {column}, and at most {limit:.3g} fit"
    )
    return text, "divide the column by its largest number, or take its logarithm"


def far_offsets(extents: Iterable[Extent | None]) -> Offsets | None:
    """Return what is to be subtracted from each column, (d,); None: nothing from any.

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
        spread = _spread(low, high)
        widest = np.fmax.reduce(spread, initial=0.0)
        size = _size(low, high)
        far = np.isfinite(size) & (size > FAR * np.where(spread > 0.0, spread, widest))
        far &= widest > 0.0  # rows that are all equal differ in no digit
    return np.where(far, low, low.dtype.type(0)) if far.any() else None


def _spread(low: Offsets, high: Offsets) -> Float64:
    """Return high - low, float64 (d,), of integers without rounding them first."""
    if low.dtype.kind not in "iu":
        return high - low
    # Right modulo 2**64, and below that.
    spread = (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
    return np.where(high < low, 0.0, spread)


def _size(low: Offsets, high: Offsets) -> Float64:
    return np.fmax(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64)))


def less_offset(values: npt.NDArray[Any], offset: int) -> Float64:
    """Return values - offset, float64 of their shape; integers are not rounded first.

    Parameters
    ----------
    values
        Integers, or float64.
    offset
        From -2**63 to 2**64 - 1.

    >>> less_offset(np.array([2**60 + 1, 2**60 - 1]), 2**60).tolist()
    [1.0, -1.0]
    """
    if values.dtype.kind not in "iu":
        head = float(offset)
        return values - head - float(offset - int(head))
    rough = values.astype(np.float64) - float(offset)
    # Right modulo 2**64, and below half of that; beyond it float64 drops the last digits anyway.
    near = (values.astype(np.uint64) - np.uint64(offset % 2**64)).view(np.int64)
    return np.where(np.abs(rough) < 2.0**62, near, rough)


def rounded(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which integers of an array float64 does not hold, bool of its shape.

    >>> rounded(np.array([3, 2**53 + 1, 2**60])).tolist()
    [False, True, False]
    """
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return np.zeros(values.shape, dtype=bool)
    size = np.where(values < 0, -values, values).astype(np.uint64)
    lowest_bit = size & (~size + np.uint64(1))
    return (size >> np.uint64(53)) >= np.maximum(lowest_bit, np.uint64(1))


def rounding_shows(low: float, high: float) -> bool:
    """Return whether numbers that are rounded to float64 lose more digits than in float32 features.

    Features have 24 bits of the range of a column, from `low` to `high`.
    """
    return bool(high - low < 2.0**24 * np.spacing(float(max(abs(low), abs(high)))))


def rounding_told(column: str, n_rounded: int, n_rows: int) -> str:
    """Return a warning of a column of integers that lose digits, with the cure."""
    return (
        f"column {column}: {n_rounded:,} of {n_rows:,} rows hold integers that float64 rounds, and"
        " lose digits in which they differ: subtract the column's smallest value where the data is"
        " written; if they are ids or codes, leave them out or write them as text"
    )


def fits_offset(low: float, high: float) -> bool:
    """Return whether `less_offset` takes numbers from `low` to `high`."""
    return low >= -(2**63) and high < 2**64


def far_from_offset(low: float, high: float) -> bool:
    """Return whether integers lose digits whose distances from the offset are `low` to `high`."""
    return max(abs(low), abs(high)) > 2**53 and rounding_shows(low, high)


def distance_told(column: str) -> str:
    """Return a warning of a column whose new values are too far from those of the fit."""
    return (
        f"column {column}: its integers are more than 2**53 away from those that the models were"
        " fitted on, and lose digits in which they differ: look whether they are of the same unit"
    )


def may_be_far(X: npt.NDArray[Any]) -> bool:
    """Return whether a column of X can be far from zero; False for no block of one that is.

    A block's range is at most that of all blocks, and its magnitude less by at most that.
    """
    extent = extent_of(X)
    if extent is None:
        return False
    low, high = extent
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((_size(low, high) > (FAR - 1.0) * _spread(low, high)).any())


def without_offsets(X: npt.NDArray[Any], offsets: Offsets) -> Float32:
    """Return X - offsets, (n, d) with (d,), as float32, C-contiguous.

    Integers are subtracted as integers: no digit of an id is lost.
    """
    if X.dtype.kind not in "iu" or (offsets % 1 != 0).any():
        return np.ascontiguousarray(X.astype(np.float64) - offsets, dtype=np.float32)
    near = np.ascontiguousarray(X, dtype=np.float32)
    for column in np.flatnonzero(offsets):
        near[:, column] = less_offset(X[:, column], int(offsets[column]))
    return near
