"""Tri-training as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

from ssl_dask.execution import AnyClient
from ssl_dask.self_labeled.estimators.round_classifier import RoundClassifier, learner_for
from ssl_dask.self_labeled.methods.tri_training import METHOD


class TriTrainingClassifier(RoundClassifier):
    """Tri-training (Zhou & Li 2005) as a scikit-learn classifier.

    Parameters
    ----------
    estimator
        A scikit-learn classifier with `predict_proba`, of which three are fitted, or a name of
        `learners.LEARNERS`; None: logistic regression.
    voting, max_iter, patience, max_fit_rows, random_state
        See `TriTrainingSpec`.
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
    >>> TriTrainingClassifier("gaussian_nb", n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = METHOD
    estimator: Any

    def __init__(
        self,
        estimator: Any = None,
        *,
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
        return super()._spec().with_learners(learner=learner_for(self.estimator))
