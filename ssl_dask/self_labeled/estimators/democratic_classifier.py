"""Democratic co-learning as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_dask.execution import AnyClient
from ssl_dask.self_labeled.estimators.round_classifier import RoundClassifier, learner_for
from ssl_dask.self_labeled.methods.democratic_co_learning import FEWEST_LEARNERS, METHOD


class DemocraticCoLearningClassifier(RoundClassifier):
    """Democratic co-learning (Zhou & Goldman 2004) as a scikit-learn classifier.

    Parameters
    ----------
    estimators
        Three or more scikit-learn classifiers with `predict_proba`, or names of
        `learners.LEARNERS`; None: logistic regression, a random forest and 3 nearest neighbours.
    confidence, voting, max_iter, patience, max_fit_rows, random_state
        See `DemocraticCoLearningSpec`.
    n_folds
        Seeds are hidden in so many turns, dealt by `random_state`, to judge the rounds by; 0: none
        are, and the last round answers.
    client
        Of the cluster that computes; "local": this process. None: the open client, if any, as Dask
        itself does. The answer is the same.

    Notes
    -----
    Attributes are those of `SelfTrainingClassifier`; `transduction_` and `labeled_iter_` are the
    labels of the first learner.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> three = ["gaussian_nb", "decision_tree", "logistic_regression"]
    >>> DemocraticCoLearningClassifier(three, n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = METHOD
    estimators: Sequence[Any] | None

    def __init__(
        self,
        estimators: Sequence[Any] | None = None,
        *,
        confidence: float = 0.95,
        voting: str = "soft",
        max_iter: int = 30,
        patience: int | None = 10,
        max_fit_rows: int | None = None,
        n_folds: int = 5,
        random_state: int = 0,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _spec(self) -> Any:
        spec = super()._spec()
        if self.estimators is None:
            return spec
        if len(self.estimators) < FEWEST_LEARNERS:
            raise ValueError(
                f"estimators has {len(self.estimators)} classifiers: a majority needs"
                f" {FEWEST_LEARNERS} at least"
            )
        return spec.with_learners(learners=tuple(learner_for(one) for one in self.estimators))
