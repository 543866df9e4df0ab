"""Multinomial logistic regression with an L2 penalty, the supervised baseline.

Dense features are centred on the seeds and divided by one number, so that their mean variance is 1
and the penalty has the same meaning in any unit. Dividing each feature by its own deviation would
amplify uninformative ones: on 64 principal components of MNIST, 5 seeds a class, it costs 15 points
of accuracy. Sparse features, weighted and of unit length already, are taken as they are.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from ssl_dask.array_types import Float32, Float64, Int32, Int64
from ssl_dask.kernels.arithmetic.linear_scores import (
    binary_probabilities,
    linear_scores,
    softmax_rows,
)
from ssl_dask.kernels.arithmetic.sparse_rows import canonical_rows
from ssl_dask.kernels.learners.binary_logistic import (
    FEWEST_ROWS,
    MOST_FEATURES,
    ColumnMoments,
    column_moments,
    fit_binary,
)
from ssl_dask.kernels.learners.quiet_fits import quiet_fits
from ssl_dask.one_thread import one_thread

Rows: TypeAlias = "Float32 | sparse.csr_array"
"""Features of n rows: dense (n, d) or CSR."""


class SupervisedModel(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression; a row's probabilities have the same bits in any block.

    Parameters
    ----------
    n_classes
        Number of classes C; those without seeds get probability 0.
    C
        Inverse strength of the L2 penalty.
    max_iter
        Most iterations of the solver.

    Attributes
    ----------
    classes_
        int64 (C,): 0 to C - 1.
    n_features_in_
        Number of features d.
    features_
        int64 (m,), ascending: the features with coefficients; the others were constant among the
        seeds (absent from all, if sparse).
    seen_
        int64 (K,): codes of the classes with seeds.
    coef_, intercept_
        float64 (m, K) and (K,), for features before centring and scaling.
    converged_
        Whether the solver stopped before `max_iter`.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [4.0], [5.0]], dtype=np.float32)
    >>> model = SupervisedModel(n_classes=3).fit(rows, np.array([0, 0, 1, 1], dtype=np.int32))
    >>> model.predict(rows).tolist(), float(model.predict_proba(rows)[0, 2])
    ([0, 0, 1, 1], 0.0)
    """

    def __init__(self, n_classes: int, C: float = 1.0, max_iter: int = 1000) -> None:
        self.n_classes = n_classes
        self.C = C
        self.max_iter = max_iter

    def fit(self, X: Rows, y: Int32, sample_weight: Float64 | None = None) -> SupervisedModel:
        """Fit to features (S, d) and codes int32 (S,) of S >= 1 seeds.

        `sample_weight` (S,) weights the loss of each seed, not centre and scale; None: 1 each. Two
        classes on 20,000 dense rows or more are fitted by Newton's method: faster, and with hardly
        any memory. A single class is predicted for all rows. Runs in one BLAS thread, hence
        the same bits on any number of cores. 16 S m bytes.
        """
        self.classes_ = np.arange(self.n_classes)
        self.n_features_in_ = X.shape[1]
        self.seen_ = np.unique(y).astype(np.int64)
        if _is_long(X, self.seen_):
            moments = column_moments(X)
            if moments.vary.all():
                self.features_ = np.arange(X.shape[1])
                self._fit_long(X, y, sample_weight, moments)
                return self
        rows, self.features_ = varying_columns(X)
        if len(self.seen_) == 1 or len(self.features_) == 0:
            mass = np.bincount(y, sample_weight, minlength=self.n_classes)[self.seen_]
            shares = mass / mass.sum()
            self.features_ = self.features_[:0]
            self.coef_, self.intercept_ = np.empty((0, len(self.seen_))), np.log(shares)
            self.converged_ = True
            return self
        self._fit_rows(rows, y, sample_weight)
        return self

    def _fit_rows(
        self, rows: Float64 | sparse.csr_array, y: Int32, sample_weight: Float64 | None
    ) -> None:
        scaled, mean, scale = centred(rows)
        model = LogisticRegression(C=self.C, max_iter=self.max_iter)
        # `converged_` reports what the warning would.
        with one_thread(), quiet_fits():
            model.fit(scaled, y, sample_weight)
        coef, intercept = model.coef_ / scale, model.intercept_
        if len(self.seen_) == 2:
            # scikit-learn keeps one row for two classes: the second against the first.
            coef = np.vstack([np.zeros_like(coef), coef])
            intercept = np.concatenate([[0.0], intercept])
        self.coef_ = np.ascontiguousarray(coef.T)
        self.intercept_ = np.asarray(intercept - coef @ mean, dtype=np.float64)
        self.converged_ = bool(np.max(model.n_iter_) < self.max_iter)

    def _fit_long(
        self, X: Float32, y: Int32, sample_weight: Float64 | None, moments: ColumnMoments
    ) -> None:
        positive = y == self.seen_[1]
        with one_thread():
            found = fit_binary(X, positive, sample_weight, self.C, self.max_iter, moments)
        self.coef_ = np.column_stack([np.zeros_like(found.coef), found.coef])
        self.intercept_ = np.array([0.0, found.intercept])
        self.converged_ = found.converged

    @property
    def converged(self) -> bool:
        """Whether the solver settled before `max_iter`."""
        return self.converged_

    def predict_proba(self, X: Rows) -> Float32:
        """Return class probabilities of a block, float32 (n, C); n m K flops and 16 n C bytes."""
        if len(self.seen_) == 2 and len(self.features_) == X.shape[1] and not sparse.issparse(X):
            # The coefficients of the first of two classes are 0.
            rows = np.ascontiguousarray(X, dtype=np.float32)
            line = np.ascontiguousarray(self.coef_[:, 1] - self.coef_[:, 0])
            some = binary_probabilities(rows, line, self.intercept_[1] - self.intercept_[0])
            if self.n_classes == 2:
                return some
        else:
            some = softmax_rows(linear_scores(X, self.coef_, self.intercept_, self.features_))
        probabilities = np.zeros((X.shape[0], self.n_classes), dtype=np.float32)
        probabilities[:, self.seen_] = some
        return probabilities

    def predict(self, X: Rows) -> Int64:
        """Return the most likely code of each row, int64 (n,), the first of equals."""
        return self.predict_proba(X).argmax(axis=1)


def centred(
    rows: Float64 | sparse.csr_array,
) -> tuple[Float64 | sparse.csr_array, Float64, float]:
    """Return dense rows less their mean, over one scale, and both; sparse ones as they are."""
    if sparse.issparse(rows):
        return rows, np.zeros(rows.shape[1]), 1.0
    mean, scale = rows.mean(axis=0), float(np.sqrt(rows.var(axis=0).mean()))
    return (rows - mean) / scale, mean, scale


def _is_long(X: Rows, seen: Int64) -> bool:
    """Return whether there are many dense rows of few features, and two classes."""
    few = X.shape[1] <= MOST_FEATURES and len(seen) == 2
    return few and X.shape[0] >= FEWEST_ROWS and not sparse.issparse(X)


def varying_columns(X_seeds: Rows) -> tuple[Float64 | sparse.csr_array, Int64]:
    """Return the columns that are not constant, in float64, and their numbers, int64 (m,)."""
    if sparse.issparse(X_seeds):
        rows = canonical_rows(X_seeds).astype(np.float64)
        features = np.unique(rows.indices[rows.data != 0]).astype(np.int64)
        return rows[:, features], features
    X = np.asarray(X_seeds, dtype=np.float64)
    features = np.flatnonzero(X.max(axis=0) > X.min(axis=0)).astype(np.int64)
    return X[:, features], features
