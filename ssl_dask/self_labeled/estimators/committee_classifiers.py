"""Committees as scikit-learn classifiers: tri-training, co-forest, democratic co-learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_dask.execution import AnyClient
from ssl_dask.self_labeled.estimators.round_classifier import RoundClassifier, learner_for
from ssl_dask.self_labeled.methods import co_forest, democratic_co_learning, tri_training


class TriTrainingClassifier(RoundClassifier):
    """Tri-training (Zhou & Li 2005) as a scikit-learn classifier.

    Parameters
    ----------
    estimator
        A scikit-learn classifier with `predict_proba`, of which three are fitted, or a name of
        `learners.LEARNERS`; None: logistic regression.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> TriTrainingClassifier("gaussian_nb", n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = tri_training.METHOD
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


class CoForestClassifier(RoundClassifier):
    """Co-forest (Li & Zhou 2007) as a scikit-learn classifier.

    Parameters
    ----------
    estimator
        What is fitted as a tree: a scikit-learn classifier with `predict_proba`, or a name of
        `learners.LEARNERS`; None: a tree that looks at sqrt(d) random features at each split.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> CoForestClassifier(n_estimators=5, n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = co_forest.METHOD
    estimator: Any

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_estimators: int = 30,
        threshold: float = 0.75,
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
        if self.estimator is None:
            return spec
        return spec.with_learners(tree=learner_for(self.estimator))


class DemocraticCoLearningClassifier(RoundClassifier):
    """Democratic co-learning (Zhou & Goldman 2004) as a scikit-learn classifier.

    Parameters
    ----------
    estimators
        Three or more scikit-learn classifiers with `predict_proba`, or names of
        `learners.LEARNERS`; None: logistic regression, a random forest and 3 nearest neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> three = ["gaussian_nb", "decision_tree", "logistic_regression"]
    >>> DemocraticCoLearningClassifier(three, n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = democratic_co_learning.METHOD
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
        if len(self.estimators) < democratic_co_learning.FEWEST_LEARNERS:
            raise ValueError(
                f"estimators has {len(self.estimators)} classifiers: a majority needs"
                f" {democratic_co_learning.FEWEST_LEARNERS} at least"
            )
        return spec.with_learners(learners=tuple(learner_for(one) for one in self.estimators))
