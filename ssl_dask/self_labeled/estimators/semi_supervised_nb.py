"""Naive Bayes by EM as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import dask.array as da
from sklearn.utils import Tags
from sklearn.utils.validation import check_non_negative

from ssl_dask.execution import AnyClient, Execution
from ssl_dask.labels import Labels
from ssl_dask.self_labeled.estimators.round_classifier import RoundClassifier
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.methods.semi_supervised_nb import METHOD


class SemiSupervisedNB(RoundClassifier):
    """EM with multinomial naive Bayes (Nigam et al. 2000) as a scikit-learn classifier.

    Attributes
    ----------
    log_likelihood_
        Of each round: that of rows and parameters, which EM raises.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> SemiSupervisedNB(n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = METHOD

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        unlabelled_weight: float = 1.0,
        learn_prior: bool = True,
        max_iter: int = 20,
        tol: float = 1e-4,
        patience: int | None = 3,
        n_folds: int = 5,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        rows = super()._checked_rows(X, reset=reset)
        if not isinstance(rows, da.Array):
            check_non_negative(rows, f"{type(self).__name__} (input X)")
        return rows

    def _learned_rows(self, X: Any, *, reset: bool) -> Any:
        return self._checked_rows(X, reset=reset)  # counts are counts from 0

    def _keep(self, found: SelfLabeled, labels: Labels, X: Any, execution: Execution) -> None:
        super()._keep(found, labels, X, execution)
        self.log_likelihood_ = [(one.notes or {})["log_likelihood"] for one in found.records]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        # Counts of words are not what scikit-learn's check draws.
        tags.classifier_tags.poor_score = True
        return tags
