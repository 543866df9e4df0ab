"""Each row's number or abstention, and an interval around it that hidden seeds have calibrated.

The interval is split conformal: a hidden seed's error is one draw of how far the method is off, so
the k-th smallest of n such errors, k = ceil((n + 1) coverage), bounds the error of another row in
at least that share of cases, if seeds and rows are alike. The final numbers know all seeds, those
of hidden seeds only the other folds, so the interval is rather too wide than too narrow.

References
----------
V. Vovk, A. Gammerman, G. Shafer, "Algorithmic learning in a random world", 2005. J. Lei,
M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman, "Distribution-free predictive inference for
regression", 2018, section 2.2. V. Vovk, "Cross-conformal predictors", 2015 (errors of all folds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Float64, Int32, Int64

VALUE_SOURCES: tuple[str, ...] = ("none", "seed", "propagated", "supervised")
"""Where a number comes from; the position is the code. `none`: the row has no number."""

VALUE_REASONS: tuple[str, ...] = ("none", "no_path_to_seed")
"""Why a row has no number; the position is the code. `none`: nothing to report."""

DEFAULT_COVERAGE = 0.9


@dataclass(frozen=True)
class ValueInterval:
    """How wide the interval around a number is, or the reason why there is none."""

    coverage: float
    """Share of the rows whose true number the interval is to hold."""
    half_width: float | None
    """Half the width of the interval of every row; None where it is not known."""
    reason: str | None
    """Why it is not known, in words; None where it is."""
    n_hidden: int
    """Hidden seeds with a number, whose errors it was made of."""
    n_checked: int = 0
    n_inside: int = 0
    """Hidden seeds that were held against an interval made without their fold, and how many of them
    lay inside."""


@dataclass(frozen=True)
class DecidedValues:
    """What was decided for n consecutive rows."""

    value: Float64
    """float64 (n,): the number; NaN where there is none."""
    low: Float64
    high: Float64
    """float64 (n,): ends of the interval; NaN without one. Both are the given number for seeds,
    which is taken as right."""
    source: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.uint8]
    """uint8 (n,): positions in `VALUE_SOURCES` and `VALUE_REASONS`."""


def fit_interval(
    errors: Float64, folds: Int32, coverage: float = DEFAULT_COVERAGE
) -> ValueInterval:
    """Make the interval from the errors of hidden seeds.

    Parameters
    ----------
    errors
        float64 (n,): |true - found| of each hidden seed that got a number.
    folds
        int32 (n,): the fold in which each was hidden.
    coverage
        Above 0, below 1.
    """
    n = len(errors)
    half_width = _bound(errors, coverage)
    if half_width is None:
        fewest = math.ceil(_exact(coverage) / (1 - _exact(coverage)))
        reason = (
            f"{n:,} hidden seeds got a number; a coverage of {coverage:g} takes at least {fewest:,}"
        )
        return ValueInterval(coverage, None, reason, n)
    checked = inside = 0
    for fold in np.unique(folds):
        own = folds == fold
        bound = _bound(errors[~own], coverage)
        if bound is not None:
            checked += int(own.sum())
            inside += int((errors[own] <= bound).sum())
    return ValueInterval(coverage, half_width, None, n, checked, inside)


def decide_values(
    values: Float64,
    seed_positions: Int64,
    seed_values: Float64,
    half_width: float | None,
    source: str = "propagated",
) -> DecidedValues:
    """Decide the rows of one block; a row's answer depends on that row alone.

    Parameters
    ----------
    values
        float64 (n,): NaN where no path leads to a seed.
    seed_positions, seed_values
        int64 (s,) and float64 (s,): the block's seeds, counted from its first row; they keep the
        number that was given.
    half_width
        Of the interval; None: no interval but the seeds'.
    source
        Of numbers that are not the seeds', one of `VALUE_SOURCES`.
    """
    value = values.copy()
    half = np.nan if half_width is None else half_width
    low, high = value - half, value + half
    sources = np.full(len(value), VALUE_SOURCES.index(source), dtype=np.uint8)
    reason = np.zeros(len(value), dtype=np.uint8)
    without = np.isnan(value)
    sources[without] = VALUE_SOURCES.index("none")
    reason[without] = VALUE_REASONS.index("no_path_to_seed")
    for ends in (value, low, high):
        ends[seed_positions] = seed_values
    sources[seed_positions] = VALUE_SOURCES.index("seed")
    reason[seed_positions] = VALUE_REASONS.index("none")
    return DecidedValues(value, low, high, sources, reason)


def _bound(errors: Float64, coverage: float) -> float | None:
    """Return the k-th smallest error, k = ceil((n + 1) coverage); None where k is above n."""
    rank = math.ceil((len(errors) + 1) * _exact(coverage))
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else None


def _exact(coverage: float) -> Fraction:
    # 0.9 is 9/10 here, not the float next to it: 10 * 0.9 must not become 10.
    return Fraction(str(coverage))
