"""The classifiers that a job may name without trusting a module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ssl_dask.self_labeled.learners.fitted_learner import Scoring


@dataclass(frozen=True)
class KnownLearner:
    """A classifier of the registry."""

    path: str
    """Module and class."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that differ from those of the class."""
    scoring: Scoring = "batches"
    """"rows": a row's bits depend on it alone; "linear": scored by `kernels/linear_scores`;
    "batches": scored in batches of a fixed size."""
    sparse: bool = True
    """Whether it takes CSR rows."""
    descends: bool = False
    """Whether `partial_fit` is a step on a way, and more passes over the rows lead further on it;
    else it adds up what it has seen."""
    hidden: tuple[str, ...] = ("n_jobs", "verbose", "random_state", "warm_start")
    """Parameters of the class that are not the user's."""


LEARNERS: Mapping[str, KnownLearner] = {
    "logistic_regression": KnownLearner(
        "ssl_dask.kernels.learners.supervised_model.SupervisedModel",
        scoring="rows",
        hidden=("n_classes",),
    ),
    "sgd": KnownLearner("sklearn.linear_model.SGDClassifier", {"loss": "log_loss"}, descends=True),
    "multinomial_nb": KnownLearner("sklearn.naive_bayes.MultinomialNB"),
    "gaussian_nb": KnownLearner("sklearn.naive_bayes.GaussianNB", sparse=False),
    "decision_tree": KnownLearner("sklearn.tree.DecisionTreeClassifier", scoring="rows"),
    "random_forest": KnownLearner("sklearn.ensemble.RandomForestClassifier", scoring="rows"),
    "hist_gradient_boosting": KnownLearner(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        {"early_stopping": False},
        scoring="rows",
        sparse=False,
    ),
    "svm": KnownLearner("sklearn.svm.SVC", hidden=("probability", "random_state", "verbose")),
    "mlp": KnownLearner("sklearn.neural_network.MLPClassifier", descends=True),
    "knn": KnownLearner("sklearn.neighbors.KNeighborsClassifier"),
}


@cache
def class_at(path: str) -> Any:
    """Return the class at a dotted path.

    Raises
    ------
    ImportError, AttributeError
        There is none.
    """
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
