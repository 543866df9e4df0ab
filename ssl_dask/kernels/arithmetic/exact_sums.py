"""Exact sums over rows: column sums, variances and second moments, the same bits for any blocks.

A float sum depends on the order of its terms. Here every sum is a sum of integers, which does not.

`ColumnSums` does not round: each float64 is an integer times 2**-1074, and these integers are added
into words of 32 bits held in 64 (the small superaccumulator of R. Neal, Fast exact summation using
small and large superaccumulators, arXiv:1505.05571, 2015, section 3). Squares are added likewise,
so one pass gives an exact variance.

`SecondMoments` rounds each centred value to 20 bits of its column's range and sums products of
these integers by GEMM, which float64 does exactly while sums stay below 2**53.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from ssl_dask.array_types import Float64, Floating, Int64, UInt64

MAX_BLOCK_ROWS = 2**29
"""Most rows of a block: a 64-bit word takes 2**30 additions of 33 bits each."""
VALUE_BITS = 20
"""Bits of a centred value in `SecondMoments`."""
SLICE_ROWS = 4096
"""Rows of one GEMM: 4096 products of 2 * 20 bits stay below 2**53."""

_SUM_WORDS = 66
_SQUARE_WORDS = 133
_TILE_COLUMNS = 32
_UNIT = 1074


@njit(nogil=True, cache=True)
def _add_columns(
    values: Float64,
    bits: UInt64,
    sums: Int64,
    squares: Int64,
    missing: Int64,
    infinite: Int64,
    minimum: Float64,
    maximum: Float64,
) -> None:
    mask = np.uint64(0xFFFFFFFF)
    word = np.uint64(32)
    n, d = bits.shape
    for first in range(0, d, _TILE_COLUMNS):
        for i in range(n):
            for j in range(first, min(first + _TILE_COLUMNS, d)):
                b = bits[i, j]
                exponent = (b >> np.uint64(52)) & np.uint64(0x7FF)
                mantissa = b & np.uint64(0xFFFFFFFFFFFFF)
                if exponent == np.uint64(0x7FF):
                    if mantissa != np.uint64(0):
                        missing[j] += 1
                    else:
                        infinite[j] += 1
                    continue
                minimum[j] = min(minimum[j], values[i, j])
                maximum[j] = max(maximum[j], values[i, j])
                if exponent > np.uint64(0):
                    mantissa |= np.uint64(0x10000000000000)
                    exponent -= np.uint64(1)
                low, high = mantissa & mask, mantissa >> word

                at = np.int64(exponent >> np.uint64(5))
                shift = exponent & np.uint64(31)
                shifted_low, shifted_high = low << shift, high << shift
                w0 = np.int64(shifted_low & mask)
                w1 = np.int64((shifted_low >> word) + (shifted_high & mask))
                w2 = np.int64(shifted_high >> word)
                if b >> np.uint64(63):
                    w0, w1, w2 = -w0, -w1, -w2
                sums[j, at] += w0
                sums[j, at + 1] += w1
                sums[j, at + 2] += w2

                # (low + high * 2**32)**2 as four carried digits of 32 bits.
                low_low, cross, high_high = low * low, np.uint64(2) * low * high, high * high
                s1 = (low_low >> word) + (cross & mask)
                s2 = (cross >> word) + (high_high & mask) + (s1 >> word)
                s3 = (high_high >> word) + (s2 >> word)
                position = np.uint64(2) * exponent
                at = np.int64(position >> np.uint64(5))
                shift = position & np.uint64(31)
                carry = np.uint64(0)
                for digit in (low_low & mask, s1 & mask, s2 & mask, s3):
                    shifted = digit << shift
                    squares[j, at] += np.int64((shifted & mask) + carry)
                    carry = shifted >> word
                    at += 1
                squares[j, at] += np.int64(carry)


def _as_integers(words: Int64) -> tuple[int, ...]:
    """Return the integer that the 32-bit words of each row stand for."""
    totals = []
    for row in words:
        filled = np.flatnonzero(row)
        totals.append(sum(int(row[c]) << (32 * int(c)) for c in filled))
    return tuple(totals)


@dataclass(frozen=True)
class ColumnSums:
    """Exact counts, extremes, sums and sums of squares of d columns; `+` merges two blocks.

    Examples
    --------
    >>> left, right = np.array([[1.0], [np.nan]]), np.array([[1e300], [-1e300], [3.0]])
    >>> sums = ColumnSums.of(left) + ColumnSums.of(right)
    >>> sums.mean().tolist(), sums.missing.tolist()
    ([1.0], [1])
    """

    n_rows: int
    """Rows seen, with missing values."""
    missing: Int64
    infinite: Int64
    """int64 (d,): NaN and infinite values, which are left out of sums and extremes."""
    minimum: Float64
    maximum: Float64
    """float64 (d,); +inf and -inf in a column without finite values."""
    sums: tuple[int, ...]
    """d integers in units of 2**-1074."""
    squares: tuple[int, ...]
    """d integers in units of 2**-2148."""

    @classmethod
    def of(cls, X: Floating) -> ColumnSums:
        """Sum the columns of `X`, float32 or float64 (n, d).

        One pass at about 15 ns a value; 1.6 kB a column and a float64 copy of 4096 rows.

        Raises
        ------
        ValueError
            More than 2**29 rows.
        """
        n, d = X.shape
        if n > MAX_BLOCK_ROWS:
            raise ValueError(
                f"a block has {n} rows; at most {MAX_BLOCK_ROWS} can be summed at once"
            )
        sums = np.zeros((d, _SUM_WORDS), dtype=np.int64)
        squares = np.zeros((d, _SQUARE_WORDS), dtype=np.int64)
        missing, infinite = np.zeros(d, dtype=np.int64), np.zeros(d, dtype=np.int64)
        minimum, maximum = np.full(d, np.inf), np.full(d, -np.inf)
        for start in range(0, n, SLICE_ROWS):
            rows = np.ascontiguousarray(X[start : start + SLICE_ROWS], dtype=np.float64)
            bits = rows.view(np.uint64)
            _add_columns(rows, bits, sums, squares, missing, infinite, minimum, maximum)
        # -0.0 equals 0.0: which of them is the extreme would depend on the order.
        minimum, maximum = minimum + 0.0, maximum + 0.0
        return cls(
            n, missing, infinite, minimum, maximum, _as_integers(sums), _as_integers(squares)
        )

    def __add__(self, other: ColumnSums) -> ColumnSums:
        return ColumnSums(
            self.n_rows + other.n_rows,
            self.missing + other.missing,
            self.infinite + other.infinite,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
        )

    @property
    def counts(self) -> Int64:
        """Finite values of each column, int64 (d,)."""
        return self.n_rows - self.missing - self.infinite

    def with_zeros(self) -> ColumnSums:
        """Return the sums with missing values taken as 0."""
        filled = self.missing > 0
        return ColumnSums(
            self.n_rows,
            np.zeros_like(self.missing),
            self.infinite,
            np.where(filled, np.minimum(self.minimum, 0.0), self.minimum),
            np.where(filled, np.maximum(self.maximum, 0.0), self.maximum),
            self.sums,
            self.squares,
        )

    def mean(self) -> Float64:
        """Return the mean of each column, float64 (d,), correctly rounded; NaN without values."""
        pairs = zip(self.sums, self.counts.tolist(), strict=True)
        return np.array([total / (count << _UNIT) if count else math.nan for total, count in pairs])

    def std(self) -> Float64:
        """Return the standard deviation (divisor n) of each column, float64 (d,).

        0.0 for a constant column, NaN without values; no cancellation for any offset.
        """
        deviations = np.empty(len(self.sums))
        for j, (total, square) in enumerate(zip(self.sums, self.squares, strict=True)):
            count = int(self.counts[j])
            if count == 0:
                deviations[j] = math.nan
                continue
            # 128 extra bits under the root: its floor then is exact to more bits than float64 has.
            root = math.isqrt((count * square - total * total) << 128)
            deviations[j] = root / (count << (_UNIT + 64))
        return deviations


@dataclass(frozen=True)
class SecondMoments:
    """Integer sums of products of all pairs of d columns; `+` merges two blocks."""

    n_rows: int
    """Rows summed."""
    high: Int64
    low: Int64
    """int64 (d, d): the sum of products is high * 2**32 + low, 0 <= low < 2**32."""
    sums: Int64
    """int64 (d,): sums of the integers themselves."""

    @classmethod
    def zero(cls, d: int) -> SecondMoments:
        """Return the moments of no rows."""
        empty = np.zeros((d, d), dtype=np.int64)
        return cls(0, empty, empty.copy(), np.zeros(d, dtype=np.int64))

    @classmethod
    def of(cls, Z: Floating, centre: Float64, quantum: Float64) -> SecondMoments:
        """Sum the products of the columns of (Z - centre) / quantum, rounded to integers.

        n d^2 multiply-adds by GEMM; four arrays of d^2 words and two float64 copies of 4096 rows.

        Parameters
        ----------
        Z
            Finite float32 or float64 (n, d).
        centre
            float64 (d,), near the mean.
        quantum
            float64 (d,), of `quantum_of`.
        """
        n, d = Z.shape
        moments = cls.zero(d)
        high, low, sums = moments.high, moments.low, moments.sums
        for start in range(0, n, SLICE_ROWS):
            rows = Z[start : start + SLICE_ROWS].astype(np.float64)
            rows -= centre
            rows /= quantum
            np.rint(rows, out=rows)
            sums += rows.sum(axis=0).astype(np.int64)
            products = (rows.T @ rows).astype(np.int64)
            high += products >> 32
            products &= 0xFFFFFFFF
            low += products
        return cls(n, high, low, sums)._carried()

    def __add__(self, other: SecondMoments) -> SecondMoments:
        total = SecondMoments(
            self.n_rows + other.n_rows,
            self.high + other.high,
            self.low + other.low,
            self.sums + other.sums,
        )
        return total._carried()

    def _carried(self) -> SecondMoments:
        # With `low` below 2**32 the pair of words is unique for any order of the sums.
        high, low = self.high, self.low
        high += low >> 32
        low &= 0xFFFFFFFF
        return self

    def covariance(self, quantum: Float64) -> Float64:
        """Return the covariance matrix (divisor n - 1) of the columns, float64 (d, d)."""
        products = self.high.astype(np.float64)
        products *= 2.0**32
        products += self.low
        sums = self.sums.astype(np.float64)
        products -= np.outer(sums, sums / self.n_rows)
        # The outer product may be asymmetric in its last bit.
        products = (products + products.T) / 2.0
        products *= quantum[:, None]
        products *= quantum
        products /= max(self.n_rows - 1, 1)
        return products

    def mean(self, centre: Float64, quantum: Float64) -> Float64:
        """Return the mean of each column, float64 (d,), within half a quantum."""
        return centre + self.sums / self.n_rows * quantum


def quantum_of(largest: Float64) -> Float64:
    """Return the power of two in whose units values up to `largest` (d,) take 20 bits; 1 for 0.

    No value of n is further than sqrt(n) standard deviations from the mean, so a unit is at most
    sqrt(n) / 2**19 standard deviations: 1/128 for 16 million rows.
    """
    _, exponent = np.frexp(largest)
    return np.where(largest > 0.0, np.ldexp(1.0, exponent - VALUE_BITS), 1.0)
