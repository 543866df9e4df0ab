"""Self-training as a scikit-learn classifier."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sklearn.utils import Tags

from ssl_dask.errors import JobSpecError
from ssl_dask.execution import AnyClient
from ssl_dask.self_labeled.estimators.round_classifier import RoundClassifier, learner_for
from ssl_dask.self_labeled.methods.self_training import METHOD


class SelfTrainingClassifier(RoundClassifier):
    """Self-training as a scikit-learn classifier, over rows that need not fit one machine.

    With `rescore=False`, `mass=None`, `class_shares="none"` and `patience=None` it labels the same
    rows in the same rounds as scikit-learn's class of the same name.

    Parameters
    ----------
    estimator
        A scikit-learn classifier with `predict_proba`, a name of `LEARNERS`, or a mapping of
        `LearnerSpec`, such as {"name": "sgd", "partial_fit": True}; None: logistic regression over
        features that are centred and scaled by one number.
    criterion, threshold, k_best, rescore, weight, mass, class_shares, calibrate
        See `SelfTrainingSpec`.
    max_iter, patience, max_fit_rows, random_state
        See `SelfTrainingSpec`.
    n_folds
        Seeds are hidden in so many turns, dealt by `random_state`, to judge the rounds by; 0: none
        are, and the last round answers.
    client
        Of the cluster that computes; "local": this process. None: the open client, if any, as Dask
        itself does. The answer is the same.

    Attributes
    ----------
    classes_
        Array (C,) of the distinct class labels, sorted.
    label_distributions_
        float32 (N, C): what the models of the kept round say of the rows.
    transduction_, labeled_iter_
        Array (N,): label of each row after the last round, -1 or None without one; and the round in
        which it got it, 0 for seeds and -1 without. Dask arrays if X is one.
    termination_condition_
        "all_labeled", "max_iter", "no_change" or "hidden_loss".
    n_iter_, rounds_
        Number of rounds, and a `RoundRecord` of each.
    kept_round_
        The round whose models answer; 0: the seeds alone.
    models_
        These models.
    n_features_in_
        Number of features d.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> SelfTrainingClassifier(n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = METHOD
    estimator: Any

    def __init__(
        self,
        estimator: Any = None,
        *,
        criterion: str = "threshold",
        threshold: float = 0.75,
        k_best: int = 10,
        rescore: bool = True,
        weight: float = 1.0,
        mass: float | None = 4.0,
        class_shares: Any = "baseline",
        calibrate: bool = False,
        max_iter: int | None = 10,
        patience: int | None = 3,
        max_fit_rows: int | None = None,
        n_folds: int = 5,
        random_state: int = 0,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _spec(self) -> Any:
        learner = learner_for(self.estimator, in_pieces=True)
        return super()._spec().with_learners(learner=learner)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        with suppress(ValueError, JobSpecError):
            tags.input_tags.sparse = learner_for(self.estimator, in_pieces=True).takes_sparse
        return tags
