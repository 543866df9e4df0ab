"""Ridge regression on the seeds, the supervised baseline for numbers.

Features are scaled as in `supervised_model`. Leave-one-out errors, which have a closed form, choose
the penalty among `PENALTIES`.

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
from ssl_dask.kernels.arithmetic.linear_scores import linear_scores
from ssl_dask.kernels.learners.supervised_model import Rows, centred, varying_columns
from ssl_dask.one_thread import one_thread

PENALTIES = tuple(10.0 ** (half / 2.0) for half in range(-6, 9))
"""Penalties for features of mean variance 1: from hardly any to one that leaves the mean."""
FEWEST_SEEDS = 3
"""With fewer seeds no penalty can be chosen, and the prediction is the mean."""
MOST_EXACT = 4_000
"""Most of min(seeds, features) for leave-one-out errors, whose memory is its square. With more,
a sample of the seeds chooses the penalty, and all seeds are fitted by an iterative solver."""


class RidgeModel(RegressorMixin, BaseEstimator):
    """Ridge regression; a row's prediction has the same bits in any block.

    Attributes
    ----------
    n_features_in_
        Number of features d.
    features_
        int64 (m,), ascending: the features with coefficients.
    coef_, intercept_
        float64 (m, 1) and (1,), for features before centring and scaling.
    penalty_
        The chosen penalty; infinity if the prediction is the mean.
    """

    def fit(self, X: Rows, y: Float64) -> RidgeModel:
        """Fit to features (S, d) and numbers float64 (S,) of S >= 1 seeds.

        Runs in one BLAS thread, hence the same bits on any number of cores. S m k flops and 8 k^2
        bytes, k = min(S, m, `MOST_EXACT`).
        """
        self.n_features_in_ = X.shape[1]
        rows, self.features_ = varying_columns(X)
        if len(y) < FEWEST_SEEDS or len(self.features_) == 0 or np.ptp(y) == 0.0:
            self.features_ = self.features_[:0]
            self.coef_, self.intercept_ = np.empty((0, 1)), np.array([y.mean()])
            self.penalty_ = np.inf
            return self
        rows, mean, scale = centred(rows)
        middle, spread = float(y.mean()), float(y.std())
        with one_thread():
            coef, intercept, self.penalty_ = _fit(rows, (y - middle) / spread)
        coef *= spread / scale
        self.coef_ = np.ascontiguousarray(coef[:, None])
        self.intercept_ = np.array([intercept * spread + middle - coef @ mean])
        return self

    def predict(self, X: Rows) -> Float64:
        """Return the predictions of a block, float64 (n,); n m flops and 8 n bytes."""
        return linear_scores(X, self.coef_, self.intercept_, self.features_)[:, 0]


def _fit(rows: Float64 | sparse.csr_array, y: Float64) -> tuple[Float64, float, float]:
    """Return coefficients (m,), intercept and penalty."""
    exact = min(rows.shape) <= MOST_EXACT
    # The best penalty is a ratio of variances, so a sample of the seeds can choose it.
    step = 1 if exact else -(-rows.shape[0] // MOST_EXACT)
    model = RidgeCV(alphas=PENALTIES).fit(rows[::step], y[::step])
    penalty = float(model.alpha_)
    if not exact:
        solver = "sparse_cg" if sparse.issparse(rows) else "lsqr"
        model = Ridge(alpha=penalty, solver=solver, tol=1e-6).fit(rows, y)
    return model.coef_.copy(), float(model.intercept_), penalty
