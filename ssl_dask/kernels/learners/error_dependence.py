"""Whether two learners err on the same rows more often than their classes explain."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ssl_dask.array_types import Bool, Int32


class Dependence(NamedTuple):
    """Association of the errors of two learners within the classes.

    Parameters
    ----------
    correlation
        -1 to 1: covariance of the errors within classes, over that of errors that always coincide;
        0 if one of them never errs or always does.
    p_value
        Chance of an association as strong in either direction if the errors were independent
        given the class (Mantel-Haenszel, chi-squared without continuity correction); 1 where
        nothing can be said.
    n_rows
        Rows in classes in which both learners are right at times and wrong at times.
    """

    correlation: float
    p_value: float
    n_rows: int


def error_dependence(wrong: Bool, codes: Int32) -> Dependence:
    """Measure the dependence of two learners' errors given the class.

    Parameters
    ----------
    wrong
        bool (n, 2): whether each learner is wrong on rows that neither has learned from.
    codes
        int32 (n,): true classes.

    References
    ----------
    N. Mantel, W. Haenszel: Statistical Aspects of the Analysis of Data from Retrospective Studies
    of Disease, JNCI 1959.
    """
    difference, variance, bound_first, bound_second, n_rows = 0.0, 0.0, 0.0, 0.0, 0
    for code in np.unique(codes):
        first, second = wrong[codes == code].T
        n, a, b = len(first), int(first.sum()), int(second.sum())
        if n < 2 or a in (0, n) or b in (0, n):
            continue
        difference += int((first & second).sum()) - a * b / n
        variance += a * (n - a) * b * (n - b) / (n * n * (n - 1))
        bound_first += a * (n - a) / n
        bound_second += b * (n - b) / n
        n_rows += n
    if variance == 0.0:
        return Dependence(0.0, 1.0, n_rows)
    correlation = difference / math.sqrt(bound_first * bound_second)
    p_value = math.erfc(abs(difference) / math.sqrt(2.0 * variance))
    return Dependence(correlation, p_value, n_rows)
