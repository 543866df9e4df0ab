"""Ridge regression on the seeds alone, the same bits for a row in any block.

Features are taken as in `supervised_model`: dense ones centred on the seeds and divided by one
number, sparse ones as they are. The penalty is the best of `PENALTIES` by leave-one-out errors,
which ridge regression has in closed form.

References
----------
G. Golub, M. Heath, G. Wahba, "Generalized cross-validation as a method for choosing a good ridge
parameter", 1979 (the leave-one-out errors).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge, RidgeCV

from ssl_dask.array_types import Float64
from ssl_dask.kernels.arithmetic.linear_scores import dense_scores, sparse_scores
from ssl_dask.kernels.learners.supervised_model import Rows, canonical_rows, varying_columns
from ssl_dask.one_thread import one_thread

PENALTIES = tuple(10.0 ** (half / 2.0) for half in range(-6, 9))
"""Tried for features whose mean variance is 1: from hardly any to one that leaves the mean."""
FEWEST_SEEDS = 3
"""With fewer nothing can be left out to choose a penalty, and the answer is the mean."""


MOST_EXACT = 4_000
"""Of seeds or features, whichever are fewer: leave-one-out errors take the square of them in
memory. Of more, so many seeds choose the penalty, and all are fitted by iteration."""


class RidgeModel(RegressorMixin, BaseEstimator):
    """Ridge regression over features as they come, as a scikit-learn regressor.

    Attributes
    ----------
    n_features_in_
        Number of features d.
    features_
        int64 (m,): the features that have coefficients, ascending.
    coef_, intercept_
        float64 (m, 1) and (1,), with centring and scaling folded in.
    penalty_
        The penalty that was chosen; infinity where the answer is the mean.
    """

    def fit(self, X: Rows, y: Float64) -> RidgeModel:
        """Fit to the features (S, d) of seeds and their numbers float64 (S,), S at least 1.

        Runs in one BLAS thread, hence the same bits on any number of cores. Costs S m k
        multiplications and 8 k^2 bytes, k = min(S, m, `MOST_EXACT`).
        """
        self.n_features_in_ = X.shape[1]
        rows, self.features_ = varying_columns(X)
        if len(y) < FEWEST_SEEDS or len(self.features_) == 0 or np.ptp(y) == 0.0:
            self.features_ = self.features_[:0]
            self.coef_, self.intercept_ = np.empty((0, 1)), np.array([y.mean()])
            self.penalty_ = np.inf
            return self
        mean, scale = np.zeros(len(self.features_)), 1.0
        if not sparse.issparse(rows):
            mean, scale = rows.mean(axis=0), float(np.sqrt(rows.var(axis=0).mean()))
            rows = (rows - mean) / scale
        middle, spread = float(y.mean()), float(y.std())
        with one_thread():
            coef, intercept, self.penalty_ = _fit(rows, (y - middle) / spread)
        coef *= spread / scale
        self.coef_ = np.ascontiguousarray(coef[:, None])
        self.intercept_ = np.array([intercept * spread + middle - coef @ mean])
        return self

    def predict(self, X: Rows) -> Float64:
        """Return the numbers of a block, float64 (n,); a row's bits depend on it alone.

        Costs 8 n bytes besides the block, and n m multiplications.
        """
        if not sparse.issparse(X):
            dense = np.ascontiguousarray(X[:, self.features_], dtype=np.float32)
            return dense_scores(dense, self.coef_, self.intercept_)[:, 0]
        # Products must be added in the order of features.
        rows = canonical_rows(X)
        position = np.full(self.n_features_in_, -1, dtype=np.int32)
        position[self.features_] = np.arange(len(self.features_), dtype=np.int32)
        return sparse_scores(
            rows.data, rows.indices, rows.indptr, position, self.coef_, self.intercept_
        )[:, 0]


def _fit(rows: Float64 | sparse.csr_array, y: Float64) -> tuple[Float64, float, float]:
    """Return coefficients (m,), intercept and penalty."""
    exact = min(rows.shape) <= MOST_EXACT
    # The best penalty is a ratio of variances, which does not grow with the seeds.
    step = 1 if exact else -(-rows.shape[0] // MOST_EXACT)
    model = RidgeCV(alphas=PENALTIES).fit(rows[::step], y[::step])
    penalty = float(model.alpha_)
    if not exact:
        solver = "sparse_cg" if sparse.issparse(rows) else "lsqr"
        model = Ridge(alpha=penalty, solver=solver, tol=1e-6).fit(rows, y)
    return model.coef_.copy(), float(model.intercept_), penalty
