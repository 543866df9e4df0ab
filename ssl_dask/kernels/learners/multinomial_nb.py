"""Multinomial naive Bayes for EM: counts of a block (E step), a model (M step), log likelihood.

Counts are integers in units of 2**-30, so the counts of blocks may be added in any order. The
scores of a row are added in the order of its features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Float64, Int32, Int64
from ssl_dask.errors import InputDataError
from ssl_dask.kernels.arithmetic.linear_scores import linear_scores, ordered_sums, softmax_rows

Rows: TypeAlias = Any
"""Features of n rows: dense (n, d) or CSR, >= 0."""

UNIT_BITS = 30
"""Weighted values are summed in units of 2**-30."""
LIKELIHOOD_BITS = 16
"""Log likelihoods of rows are summed in units of 2**-16."""
LARGEST_UNITS = 2**61
"""Bound of a count: the sum of two does not overflow 64 bits."""


@dataclass(frozen=True)
class ClassFeatureCounts:
    """Weighted counts of rows and features by class; `+` merges two blocks."""

    rows: Int64
    """int64 (C,): weight of the rows of each class, in units of 2**-30."""
    features: Int64
    """int64 (d, C): weighted sum of each feature in each class, in units of 2**-30."""

    @classmethod
    def zero(cls, n_features: int, n_classes: int) -> ClassFeatureCounts:
        """Return the counts of no rows."""
        return cls(
            np.zeros(n_classes, dtype=np.int64), np.zeros((n_features, n_classes), dtype=np.int64)
        )

    def __add__(self, other: ClassFeatureCounts) -> ClassFeatureCounts:
        total = ClassFeatureCounts(self.rows + other.rows, self.features + other.features)
        total._check()
        return total

    def _check(self) -> None:
        largest = int(self.features.max(initial=0))
        # A sum of two counts below 2**61 cannot overflow, so an excess is seen in time.
        if largest >= LARGEST_UNITS or int(self.features.min(initial=0)) < 0:
            raise InputDataError(
                f"naive Bayes: a feature adds up to more than {LARGEST_UNITS >> UNIT_BITS:.3g} over"
                " the rows",
                hint="scale the features down",
            )


@numba.njit(nogil=True, cache=True)
def _add_sparse(
    data: Any, indices: Any, indptr: Any, shares: Any, weights: Any, features: Any, rows: Any
) -> None:
    n, n_classes = shares.shape
    step = np.float64(2**30)
    for i in range(n):
        for c in range(n_classes):
            weight = np.float64(weights[i]) * np.float64(shares[i, c])
            if weight == 0.0:
                continue
            rows[c] += np.int64(np.rint(weight * step))
            for e in range(indptr[i], indptr[i + 1]):
                features[indices[e], c] += np.int64(np.rint(weight * np.float64(data[e]) * step))


@numba.njit(nogil=True, cache=True)
def _add_dense(X: Any, shares: Any, weights: Any, features: Any, rows: Any) -> None:
    n, n_classes = shares.shape
    step = np.float64(2**30)
    for i in range(n):
        for c in range(n_classes):
            weight = np.float64(weights[i]) * np.float64(shares[i, c])
            if weight == 0.0:
                continue
            rows[c] += np.int64(np.rint(weight * step))
            for j in range(X.shape[1]):
                features[j, c] += np.int64(np.rint(weight * np.float64(X[i, j]) * step))


def count_rows(X: Rows, shares: Float32, weights: Float32) -> ClassFeatureCounts:
    """Return the counts of a block; one multiplication a value and class, and 8 d C bytes.

    Parameters
    ----------
    X
        Features (n, d).
    shares
        float32 (n, C): posterior of the classes; rows of zeros are skipped.
    weights
        float32 (n,), >= 0: weight of each row.

    Raises
    ------
    InputDataError
        A feature adds up to more than 2**31.

    Examples
    --------
    >>> X = np.array([[2.0, 0.0], [0.0, 4.0]], dtype=np.float32)
    >>> counts = count_rows(X, np.eye(2, dtype=np.float32), np.ones(2, dtype=np.float32))
    >>> (counts.features / 2**30).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    >>> fit_counts(counts, alpha=1.0).shares(X).argmax(axis=1).tolist()
    [0, 1]
    """
    total = ClassFeatureCounts.zero(X.shape[1], shares.shape[1])
    if sp.issparse(X):
        _add_sparse(X.data, X.indices, X.indptr, shares, weights, total.features, total.rows)
    else:
        _add_dense(np.ascontiguousarray(X), shares, weights, total.features, total.rows)
    total._check()
    return total


def check_not_negative(X: Rows) -> None:
    """Raise `InputDataError` unless all values of a block are finite and >= 0."""
    values: npt.NDArray[Any] = X.data if sp.issparse(X) else np.asarray(X)
    wrong = int(np.count_nonzero(~(values >= 0.0) | np.isinf(values)))
    if wrong:
        raise InputDataError(
            f"naive Bayes: {wrong} features are below 0 or not finite; it takes counts, and what is"
            " like them",
            hint="take text groups, categories, or numeric columns with scale: minmax",
        )


@dataclass(frozen=True)
class MultinomialModel:
    """The model P(class | row) proportional to p_c prod_j theta_jc ** x_j."""

    log_prior: Float64
    """float64 (C,): log p_c; -inf for a class without rows."""
    log_theta: Float64
    """float64 (d, C)."""
    log_density: float
    """Log of the Dirichlet prior of the parameters, without its constant."""

    def joint_log(self, X: Rows) -> Float64:
        """Return log p_c + sum_j x_j log theta_jc, float64 (n, C)."""
        return linear_scores(X, self.log_theta, self.log_prior)

    def shares_of(self, joint: Float64) -> Float32:
        """Return P(class | row) from `joint_log`, float32 (n, C)."""
        return softmax_rows(joint).astype(np.float32)

    def shares(self, X: Rows) -> Float32:
        """Return P(class | row), float32 (n, C)."""
        return self.shares_of(self.joint_log(X))


def fit_counts(
    counts: ClassFeatureCounts, alpha: float, *, learn_prior: bool = True
) -> MultinomialModel:
    """Return the maximum a posteriori model under a Dirichlet prior of alpha + 1 (M step).

    theta_jc = (alpha + n_jc) / (alpha m + n_c), with m features that occur; theta = 1 for the
    others. p_c = (1 + n_c) / (C + n) over the classes with rows.

    Parameters
    ----------
    counts
        Over all rows.
    alpha
        > 0: pseudo-count of each feature in each class.
    learn_prior
        False: the classes with rows have equal priors.

    References
    ----------
    K. Nigam, A. McCallum, S. Thrun, T. Mitchell: Text Classification from Labeled and Unlabeled
    Documents using EM, Machine Learning 39, 2000, eq. 5 and 6.
    """
    step = 2.0**-UNIT_BITS
    there = counts.features.any(axis=1)
    held = counts.features[there].astype(np.float64) * step
    rows = counts.rows.astype(np.float64) * step
    seen = counts.rows > 0
    total = _exact_totals(counts.features) * step
    theta = (held + alpha) / (total + alpha * len(held))
    log_theta = np.zeros(counts.features.shape)
    log_theta[there] = np.log(theta)
    with np.errstate(divide="ignore"):
        shares = np.where(seen, (1.0 + rows) if learn_prior else 1.0, 0.0)
        log_prior = np.log(shares / shares.sum())
    density = alpha * float(log_theta[:, seen].sum())
    if learn_prior:
        density += float(log_prior[seen].sum())
    return MultinomialModel(log_prior, log_theta, density)


def _exact_totals(features: Int64) -> Float64:
    """Return the sum over the features of each class, correctly rounded, by halves of 32 bits."""
    high, low = (features >> 32).sum(axis=0), (features & 0xFFFFFFFF).sum(axis=0)
    pairs = zip(high.tolist(), low.tolist(), strict=True)
    return np.array([float((upper << 32) + lower) for upper, lower in pairs])


def likelihood_units(joint: Float64, codes: Int32, weights: Float32) -> int:
    """Return the weighted log likelihood of the rows of a block, in units of 2**-16.

    Parameters
    ----------
    joint
        float64 (n, C), of `MultinomialModel.joint_log`.
    codes
        int32 (n,): class of a labelled row, whose joint probability is taken; -1: the sum over the
        classes is taken.
    weights
        float32 (n,).
    """
    largest = joint.max(axis=1)
    value = largest + np.log(ordered_sums(np.exp(joint - largest[:, None])))
    labelled = codes >= 0
    value[labelled] = joint[labelled, codes[labelled]]
    return int(np.rint(value * weights * 2.0**LIKELIHOOD_BITS).astype(np.int64).sum())
