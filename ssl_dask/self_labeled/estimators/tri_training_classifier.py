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
    """

    method = METHOD

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
        self.estimator = estimator
        self.voting = voting
        self.max_iter = max_iter
        self.patience = patience
        self.max_fit_rows = max_fit_rows
        self.n_folds = n_folds
        self.random_state = random_state
        self.client = client

    def _checked_spec(self) -> Any:
        return super()._checked_spec().with_learners(learner=learner_for(self.estimator))
