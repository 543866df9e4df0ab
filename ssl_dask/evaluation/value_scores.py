"""How far numbers are from the truth: R2, mean absolute and root mean squared error, intervals.

Everything is made of means over rows of a few products, so blocks of any size add up exactly.
Intervals are those of the delta method on the logarithm of each figure, with Student's quantile:
the logarithm keeps them where the figure can be, and nearer to their coverage for skewed errors.

References
----------
A. van der Vaart, "Asymptotic Statistics", 1998, chapter 3 (delta method).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ssl_dask.array_types import Float64
from ssl_dask.evaluation.metrics import Estimate, Interval, clopper_pearson
from ssl_dask.kernels.arithmetic.exact_sums import ColumnSums
from ssl_dask.kernels.arithmetic.field_sums import FieldSums

FARTHEST = 1e6
"""Of the squared mean of the true numbers, in the seeds' unit, to their variance: beyond, means of
fourth powers say nothing of the fourth moment about the mean."""
Z = 3
"""Place of z in the products."""


@dataclass(frozen=True)
class Unit:
    """What numbers are measured in while they are summed, so that powers of them stay small."""

    middle: float
    scale: float
    """Mean and standard deviation (1 if that is 0) of the seeds' numbers."""

    @classmethod
    def of(cls, values: Float64) -> Unit:
        """Return the unit of the seeds' numbers (S,), S at least 1."""
        return cls(float(values.mean()), float(values.std()) or 1.0)


@dataclass(frozen=True)
class ErrorSums(FieldSums):
    """Sums over rows whose true number is known; `a + b` are those of both."""

    products: ColumnSums
    """Sums of |e|, e^2, e^4, z, z^2, z^3, z^4, e^2 z and e^2 z^2 over the rows that got a number,
    with e = (found - true) / scale and z = (true - middle) / scale."""
    n_without: int
    """Rows that got none."""
    n_inside: int
    n_intervals: int
    """Rows whose true number lies in their interval, of those that have one."""


@dataclass(frozen=True)
class ValueScores:
    """How good numbers are."""

    n: int
    """Rows judged: those that got a number."""
    n_without: int
    """Rows with a known truth that got none."""
    r2: Estimate
    """1 less the squared error over the variance of the true numbers; 1 is perfect, and the mean of
    all true numbers gets 0. None where the true numbers do not vary."""
    mae: Estimate
    rmse: Estimate
    """Mean absolute and root mean squared error, in the unit of the labels."""
    inside: Interval
    """Share of the rows whose interval holds the truth, of those that have an interval."""
    confidence: float
    """Of the intervals."""


@dataclass(frozen=True)
class PairedErrors:
    """Two methods on the same rows, by their absolute errors."""

    n: int
    """Rows to which both gave a number."""
    difference: float
    """Mean absolute error of the first less that of the second: below 0 the first is better."""
    low: float
    high: float
    """Student's interval of the difference; infinite for fewer than two rows."""
    confidence: float
    """Of the interval."""

    def verdict(self, first: str, second: str) -> str:
        """Return one sentence on which is ahead, naming the two as `first` and `second`."""
        ahead, behind = (first, second) if self.difference <= 0 else (second, first)
        where = f"on {self.n} hidden seeds"
        text = ahead[:1].upper() + ahead[1:]
        if self.difference == 0:
            return f"{text} and {behind} are level {where}."
        chance = "" if self.low > 0 or self.high < 0 else ", which may be chance"
        return (
            f"{text} is off by {abs(self.difference):.3g} less than {behind} in the mean"
            f" {where}{chance}."
        )


# Powers that are no float64 are counted beside the sums, and `score_values` heeds them.
@np.errstate(over="ignore", invalid="ignore")
def sum_errors(
    truth: Float64,
    found: Float64,
    unit: Unit,
    low: Float64 | None = None,
    high: Float64 | None = None,
) -> ErrorSums:
    """Sum the errors of one block.

    Parameters
    ----------
    truth
        float64 (n,): true numbers, NaN where unknown.
    found
        float64 (n,): NaN for none.
    unit
        The same for all blocks.
    low, high
        float64 (n,): ends of intervals, NaN for none.
    """
    known = ~np.isnan(truth)
    given = known & ~np.isnan(found)
    e = (found[given] - truth[given]) / unit.scale
    z = (truth[given] - unit.middle) / unit.scale
    e2, z2 = e * e, z * z
    columns = np.column_stack([np.abs(e), e2, e2 * e2, z, z2, z2 * z, z2 * z2, e2 * z, e2 * z2])
    inside = intervals = np.zeros(len(truth), dtype=bool)
    if low is not None and high is not None:
        intervals = given & ~np.isnan(low) & ~np.isnan(high)
        inside = intervals & (low <= truth) & (truth <= high)
    return ErrorSums(
        ColumnSums.of(columns), int((known & ~given).sum()), int(inside.sum()), int(intervals.sum())
    )


@np.errstate(over="ignore", invalid="ignore")
def score_values(sums: ErrorSums, unit: Unit, confidence: float = 0.95) -> ValueScores:
    """Return what the sums of all rows say."""
    n = sums.products.n_rows
    inside = clopper_pearson(sums.n_inside, sums.n_intervals, confidence)
    if n == 0:
        nothing = Estimate(None, None, None)
        return ValueScores(0, sums.n_without, nothing, nothing, nothing, inside, confidence)
    # A power that is no float64 is in no sum: what is made of it cannot be told.
    whole = sums.products.counts == n
    size, e2, e4, z, z2, z3, z4, e2z, e2z2 = np.where(whole, sums.products.mean(), np.inf)
    variance = sums.products.std()[Z] ** 2 if np.isfinite(z2) else np.nan
    d4 = z4 - 4.0 * z * z3 + 6.0 * z * z * z2 - 3.0 * z**4
    e2d2 = e2z2 - 2.0 * z * e2z + z * z * e2
    if z * z > FARTHEST * variance:
        # All digits of the centred powers are rounding.
        d4 = e2d2 = np.float64(np.nan)
    quantile = float(stdtrit(n - 1, 0.5 + confidence / 2.0)) if n > 1 else np.inf

    def around(figure: float, relative_variance: float) -> tuple[float, float]:
        """Return the interval of a figure whose logarithm has this variance times n - 1."""
        if n < 2 or figure == 0.0:
            return (figure, figure) if n > 1 else (0.0, np.inf)
        half = quantile * np.sqrt(np.maximum(relative_variance, 0.0) / (n - 1))
        return float(figure * np.exp(-half)), float(figure * np.exp(half))

    absolute = around(size, e2 / size**2 - 1.0 if size else 0.0)
    squared = around(e2, e4 / e2**2 - 1.0 if e2 else 0.0)
    r2 = Estimate(None, None, None)
    if variance > 0.0:
        ratio = e2 / variance
        spread = (e4 / e2**2 + d4 / variance**2 - 2.0 * e2d2 / (e2 * variance)) if e2 else 0.0
        low, high = around(ratio, spread)
        r2 = _estimate(1.0 - ratio, 1.0 - high, 1.0 - low)
    scale = unit.scale
    return ValueScores(
        n,
        sums.n_without,
        r2,
        _estimate(size * scale, absolute[0] * scale, absolute[1] * scale),
        _estimate(np.sqrt(e2) * scale, np.sqrt(squared[0]) * scale, np.sqrt(squared[1]) * scale),
        inside,
        confidence,
    )


def compare_errors(
    truth: Float64, first: Float64, second: Float64, confidence: float = 0.95
) -> PairedErrors | None:
    """Compare two methods' numbers (n,) on the same rows; None where none has both numbers."""
    both = ~(np.isnan(first) | np.isnan(second) | np.isnan(truth))
    n = int(both.sum())
    if n == 0:
        return None
    gaps = np.abs(first[both] - truth[both]) - np.abs(second[both] - truth[both])
    mean = float(gaps.mean())
    if n == 1:
        return PairedErrors(n, mean, -np.inf, np.inf, confidence)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2.0) * gaps.std(ddof=1) / np.sqrt(n))
    return PairedErrors(n, mean, mean - half, mean + half, confidence)


def _estimate(value: float, low: float, high: float) -> Estimate:
    """Return an estimate; what is not known, as the bounds of one row, is None."""
    if not np.isfinite(value):
        return Estimate(None, None, None)
    known = bool(np.isfinite(low) and np.isfinite(high))
    return Estimate(float(value), float(low) if known else None, float(high) if known else None)
