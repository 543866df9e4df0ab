"""Co-training of two views: split, combination, dependence of errors, constant rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Bool, Float32, Floating, Int32, Int64
from ssl_dask.kernels.arithmetic.linear_scores import softmax_rows
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys

LEAST_PROBABILITY = 1e-6
"""Lower bound of a view's probability, so that no view alone excludes a class."""
STRIDE = 4096
"""Rows compared at a time: rows usually differ within the first of these runs."""


def split_columns(n_columns: int, random_state: int) -> tuple[Int64, Int64]:
    """Split column numbers into two random halves, int64 ascending; the first may be one longer.

    Raises
    ------
    ValueError
        `n_columns` is below 2.

    Examples
    --------
    >>> [half.tolist() for half in split_columns(5, random_state=0)]
    [[0, 1, 3], [2, 4]]
    """
    if n_columns < 2:
        raise ValueError(f"n_columns: {n_columns} feature cannot be split into two views")
    order = np.argsort(
        row_keys(np.arange(n_columns), random_state, Purpose.SPLIT_COLUMNS), kind="stable"
    )
    half = (n_columns + 1) // 2
    return np.sort(order[:half]), np.sort(order[half:])


def joined_views(probabilities: Sequence[Floating]) -> Float32:
    """Combine class probabilities of views by their normalised geometric mean, float32 (n, C).

    For views that are independent given the class, the paper multiplies probabilities (A. Blum,
    T. Mitchell, Combining Labeled and Unlabeled Data with Co-Training, COLT 1998). The root keeps
    that order of the classes and is no more confident than the views are.

    Parameters
    ----------
    probabilities
        (n, C) of each view.
    """
    logs: Any = 0.0
    for one in probabilities:
        logs = logs + np.log(np.maximum(one, LEAST_PROBABILITY, dtype=np.float64))
    return softmax_rows(logs / len(probabilities)).astype(np.float32)


class Dependence(NamedTuple):
    """Association of the errors of two learners within the classes."""

    correlation: float
    """-1 to 1: covariance of the errors within classes, divided by that of identical errors; 0 if
    one of the learners is always or never wrong."""
    p_value: float
    """Two-sided probability of such an association if the errors were independent given the class
    (Mantel-Haenszel, chi-squared without continuity correction); 1 without usable rows."""
    n_rows: int
    """Rows of the classes in which each learner is sometimes right and sometimes wrong."""


def error_dependence(wrong: Bool, codes: Int32) -> Dependence:
    """Measure the dependence of two learners' errors given the class.

    Parameters
    ----------
    wrong
        bool (n, 2): whether each learner is wrong on rows that neither was fitted on.
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


@dataclass(frozen=True)
class RowsAlike:
    """Whether all rows of features are equal; `+` merges two blocks."""

    first: tuple[Int64, Floating] | None
    """Column numbers, int64 (k,), and values, (k,), of the non-zeros of the first row; None without
    rows."""
    alike: bool
    """Whether all other rows equal the first."""

    def __add__(self, other: RowsAlike) -> RowsAlike:
        if self.first is None or other.first is None:
            return other if self.first is None else self
        same = all(np.array_equal(*pair) for pair in zip(self.first, other.first, strict=True))
        return RowsAlike(self.first, self.alike and other.alike and same)

    @classmethod
    def of_rows(cls, X: Any) -> RowsAlike:
        """Compare the rows of a block (n, d), dense or CSR; stops at the first run that differs."""
        if X.shape[0] == 0:
            return cls(None, True)
        row = _canonical(X[:1])
        starts = range(0, X.shape[0], STRIDE)
        alike = all(_all_equal(row, X[start : start + STRIDE]) for start in starts)
        return cls((row.indices.astype(np.int64), row.data), alike)


def _canonical(X: Any) -> sp.csr_array:
    rows = sp.csr_array(X, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


def _all_equal(row: sp.csr_array, X: Any) -> bool:
    """Return whether all rows of a run equal `row`, (1, d)."""
    if not sp.issparse(X):
        return bool((row.toarray() == X).all())
    part = _canonical(X)
    if (np.diff(part.indptr) != row.nnz).any():
        return False
    shape = (-1, row.nnz)
    return row.nnz == 0 or bool(
        (part.indices.reshape(shape) == row.indices).all()
        and (part.data.reshape(shape) == row.data).all()
    )
