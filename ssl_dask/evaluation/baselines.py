"""Supervised learning on the seeds alone: the answer that a graph has to beat.

Multinomial logistic regression with an L2 penalty. Dense features are standardised by the seeds'
own mean and deviation; sparse features (already weighted and of unit length) are taken as they are.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from ssl_dask.evaluation.evaluation_spec import SupervisedSpec
from ssl_dask.evaluation.hidden_seeds import HiddenSeeds
from ssl_dask.evaluation.metrics import predicted_codes
from ssl_dask.kernels.linear_scores import dense_scores, softmax_rows, sparse_scores
from ssl_dask.labels import UNLABELLED

Rows: TypeAlias = "npt.NDArray[np.float32] | sparse.csr_array"
"""Features of n rows: dense (n, d) or CSR."""


@dataclass(frozen=True)
class SupervisedModel:
    """A fitted linear classifier over the features as they come.

    Parameters
    ----------
    n_features
        Number of features d.
    features
        int64 (m,): the features that have coefficients, ascending; the others were constant among
        the seeds (absent from all, if sparse).
    coef
        float64 (m, K) for the K classes that had seeds, standardisation folded in.
    intercept
        float64 (K,).
    seen
        int64 (K,): codes of those classes.
    n_classes
        All classes C; those without seeds get probability 0.
    converged
        False: the solver stopped at max_iter.
    """

    n_features: int
    features: npt.NDArray[np.int64]
    coef: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]
    seen: npt.NDArray[np.int64]
    n_classes: int
    converged: bool

    def predict_proba(self, X: Rows) -> npt.NDArray[np.float32]:
        """Return class probabilities float32 (n, C) of a block; a row's bits depend on it alone.

        Costs 16 n C bytes besides the block, and n m K multiplications.
        """
        probabilities = np.zeros((X.shape[0], self.n_classes), dtype=np.float32)
        probabilities[:, self.seen] = softmax_rows(self._scores(X))
        return probabilities

    def _scores(self, X: Rows) -> npt.NDArray[np.float64]:
        if not sparse.issparse(X):
            dense = np.ascontiguousarray(X[:, self.features], dtype=np.float32)
            return dense_scores(dense, self.coef, self.intercept)
        # Products must be added in the order of features.
        rows = _canonical(X)
        position = np.full(self.n_features, -1, dtype=np.int32)
        position[self.features] = np.arange(len(self.features), dtype=np.int32)
        return sparse_scores(
            rows.data, rows.indices, rows.indptr, position, self.coef, self.intercept
        )


def fit_supervised(
    X_seeds: Rows, codes: npt.NDArray[np.int32], n_classes: int, spec: SupervisedSpec
) -> SupervisedModel:
    """Fit logistic regression on the seeds' features.

    Parameters
    ----------
    X_seeds
        Features of the seeds, (S, d), in the order of `codes`; at least one row.
    codes
        int32 (S,): their classes. With one class only, every row is given that class.
    n_classes
        All classes C, with or without seeds.
    spec
        Penalty and iterations.

    Notes
    -----
    Runs in one BLAS thread, hence the same bits on any number of cores. Memory 8 S m, where m is
    the number of features that vary among the seeds.
    """
    X, features = _varying(X_seeds)
    seen = np.unique(codes).astype(np.int64)
    if len(seen) == 1 or len(features) == 0:
        shares = np.bincount(codes, minlength=n_classes)[seen] / len(codes)
        return SupervisedModel(
            X_seeds.shape[1],
            np.empty(0, dtype=np.int64),
            np.empty((0, len(seen))),
            np.log(shares),
            seen,
            n_classes,
            converged=True,
        )
    is_sparse = sparse.issparse(X)
    mean = np.zeros(X.shape[1]) if is_sparse else X.mean(axis=0)
    scale = np.ones(X.shape[1]) if is_sparse else X.std(axis=0)
    model = LogisticRegression(C=spec.C, max_iter=spec.max_iter)
    with threadpool_limits(1), warnings.catch_warnings():
        # Told by `converged` instead.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X if is_sparse else (X - mean) / scale, codes)
    coef, intercept = model.coef_ / scale, model.intercept_
    if len(seen) == 2:
        # scikit-learn keeps one row for two classes: the second against the first.
        coef = np.vstack([np.zeros_like(coef), coef])
        intercept = np.concatenate([[0.0], intercept])
    intercept = intercept - coef @ mean
    return SupervisedModel(
        X_seeds.shape[1],
        features,
        np.ascontiguousarray(coef.T),
        np.asarray(intercept, dtype=np.float64),
        seen,
        n_classes,
        converged=bool(np.max(model.n_iter_) < spec.max_iter),
    )


@dataclass(frozen=True)
class SupervisedBaseline:
    """Logistic regression on the same seeds and the same folds.

    Parameters
    ----------
    model
        Fitted on all seeds, to label rows on the workers.
    hidden_codes
        int32 (S,): what each hidden seed was called by the model that had not seen it; -1 for
        seeds that were never hidden.
    """

    model: SupervisedModel
    hidden_codes: npt.NDArray[np.int32]

    @classmethod
    def fit(
        cls,
        X_seeds: Rows,
        codes: npt.NDArray[np.int32],
        folds: HiddenSeeds,
        n_classes: int,
        spec: SupervisedSpec | None = None,
    ) -> SupervisedBaseline:
        """Fit once on all seeds and once for each fold on the seeds outside it.

        Parameters
        ----------
        X_seeds, codes, n_classes
            As `fit_supervised`.
        folds
            Which seeds are hidden together.
        spec
            Default: scikit-learn's penalty, C = 1.
        """
        spec = spec or SupervisedSpec()
        hidden_codes = np.full(len(codes), UNLABELLED, dtype=np.int32)
        for fold in range(folds.n_folds):
            hidden = folds.hidden(fold)
            model = fit_supervised(X_seeds[~hidden], codes[~hidden], n_classes, spec)
            hidden_codes[hidden] = predicted_codes(model.predict_proba(X_seeds[hidden]))
        return cls(fit_supervised(X_seeds, codes, n_classes, spec), hidden_codes)


def _varying(X_seeds: Rows) -> tuple[npt.NDArray[np.float64] | sparse.csr_array, npt.NDArray]:
    """Return the columns that tell seeds apart, in float64, and their numbers int64 (m,)."""
    if sparse.issparse(X_seeds):
        rows = _canonical(X_seeds).astype(np.float64)
        features = np.unique(rows.indices[rows.data != 0]).astype(np.int64)
        return rows[:, features], features
    X = np.asarray(X_seeds, dtype=np.float64)
    features = np.flatnonzero(X.max(axis=0) > X.min(axis=0)).astype(np.int64)
    return X[:, features], features


def _canonical(X: sparse.csr_array) -> sparse.csr_array:
    """Return X with features ascending in each row and none twice; X itself if it is so."""
    if X.has_canonical_format:
        return X
    rows = X.copy()
    rows.sum_duplicates()
    return rows
