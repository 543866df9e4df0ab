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
