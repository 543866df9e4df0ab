"""A fitted model, and how it scores rows: the same bits for a row in any block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.array_types import Floating, Int64
from ssl_dask.errors import QualityError
from ssl_dask.kernels.arithmetic.linear_scores import (
    dense_scores,
    score_batches,
    softmax_rows,
    sparse_scores,
)
from ssl_dask.kernels.distributions.label_distributions import normalise_rows
from ssl_dask.kernels.learners.quiet_fits import one_at_a_time
from ssl_dask.kernels.learners.supervised_model import SupervisedModel
from ssl_dask.one_thread import one_thread

Scoring = Literal["rows", "linear", "batches"]

WITHOUT_JOBS = (
    SupervisedModel,
    LogisticRegression,
    DecisionTreeClassifier,
    MultinomialNB,
    GaussianNB,
    MLPClassifier,
)
"""Classes that fit and score without jobs of scikit-learn's."""


@dataclass(frozen=True)
class FittedLearner:
    """A fitted model, whose prediction for a row is the same in any block."""

    model: Any
    """A fitted scikit-learn classifier; None: one class was seen, and every row is of it."""
    seen: Int64
    """int64 (K,): codes of the classes that it knows, in its order."""
    n_classes: int
    """C."""
    scoring: Scoring
    """How rows are scored so that a row gets the same bits in any block."""
    name: str
    """For messages."""

    def probabilities(self, X: Any, place: int = 0) -> Floating:
        """Return class probabilities (n, C) in the precision of the model; 0 for classes not seen.

        Parameters
        ----------
        X
            (n, d), dense or CSR.
        place
            Of the first row in the fixed batches of `score_batches`.

        Raises
        ------
        QualityError
            A probability is no finite number.
        """
        n = X.shape[0]
        if self.model is None:
            found = np.zeros((n, self.n_classes))
            found[:, self.seen] = 1.0
            return found
        if n == 0:
            return np.zeros((0, self.n_classes))
        if self.scoring == "linear":
            some = self._linear(X)
        else:
            with one_thread():
                rows = short_indices(X)
                if self.scoring == "rows":
                    some = _probabilities(self.model, rows)
                else:
                    with one_at_a_time(runs_jobs(self.model)):
                        some = score_batches(self.model.predict_proba, rows, place)
                    if some.dtype == np.float32:
                        # Naive Bayes in float32 is off by a percent where it is most certain.
                        some = normalise_rows(some)
        lost = len(some) - int(np.isfinite(some).all(axis=1).sum())
        if lost:
            raise QualityError(
                f"{self.name} gives probabilities that are no numbers to {lost:,} of {n:,} rows",
                hint="features of one scale help most learners; else change its parameters, or take"
                " another learner",
            )
        if some.shape[1] == self.n_classes:
            return some
        found = np.zeros((n, self.n_classes), dtype=some.dtype)
        found[:, self.seen] = some
        return found

    def _linear(self, X: Any) -> Floating:
        coef, intercept = self.model.coef_, self.model.intercept_
        if len(self.seen) == 2:
            # scikit-learn keeps one row for two classes: the second against the first.
            coef = np.vstack([np.zeros_like(coef), coef])
            intercept = np.concatenate([[0.0], intercept])
        coef = np.ascontiguousarray(coef.T, dtype=np.float64)
        intercept = np.asarray(intercept, dtype=np.float64)
        if sp.issparse(X):
            rows = X if X.has_canonical_format else X.copy()
            rows.sum_duplicates()
            every = np.arange(X.shape[1], dtype=np.int32)
            scores = sparse_scores(rows.data, rows.indices, rows.indptr, every, coef, intercept)
        else:
            scores = dense_scores(np.ascontiguousarray(X), coef, intercept)
        return softmax_rows(scores)


def runs_jobs(model: Any) -> bool:
    """Return whether a model may run jobs of scikit-learn's, which one thread may do at a time."""
    return not isinstance(model, WITHOUT_JOBS)


def _probabilities(model: Any, rows: Any) -> Floating:
    """Return probabilities whose bits depend on each row alone.

    Trees of a forest are added as scikit-learn adds them, but not in jobs.
    """
    if not isinstance(model, RandomForestClassifier):
        return model.predict_proba(rows)
    total = np.zeros((rows.shape[0], len(model.classes_)))
    for tree in model.estimators_:
        total += tree.predict_proba(rows)
    return total / len(model.estimators_)


def short_indices(X: Any) -> Any:
    """Return CSR rows with the 32-bit indices that trees insist on; other rows as they are."""
    if not sp.issparse(X) or X.indices.dtype == np.int32 or X.nnz > np.iinfo(np.int32).max:
        return X
    short = (X.indices.astype(np.int32), X.indptr.astype(np.int32))
    return sp.csr_array((X.data, *short), shape=X.shape)
