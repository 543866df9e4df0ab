"""Features and seeds -> pseudo-labels in rounds -> F: one loop, one file for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ssl_dask.self_labeled.co_forest import CoForestClassifier, CoForestSpec, co_forest
from ssl_dask.self_labeled.co_training import CoTrainingSpec, co_training
from ssl_dask.self_labeled.co_training_classifier import CoTrainingClassifier
from ssl_dask.self_labeled.democratic_co_learning import (
    DemocraticCoLearningClassifier,
    DemocraticCoLearningSpec,
    democratic_co_learning,
)
from ssl_dask.self_labeled.multi_view import MultiViewSpec, multi_view
from ssl_dask.self_labeled.multi_view_classifier import MultiViewClassifier
from ssl_dask.self_labeled.rounds import SelfLabeled, run_rounds
from ssl_dask.self_labeled.self_training import (
    SelfTrainingClassifier,
    SelfTrainingSpec,
    self_training,
)
from ssl_dask.self_labeled.semi_supervised_nb import (
    SemiSupervisedNB,
    SemiSupervisedNBSpec,
    semi_supervised_nb,
)
from ssl_dask.self_labeled.tri_training import (
    TriTrainingClassifier,
    TriTrainingSpec,
    tri_training,
)
from ssl_dask.spec_model import SpecModel


@dataclass(frozen=True)
class Method:
    """A method of self-labelling as the job file knows it.

    Parameters
    ----------
    spec
        Its parameters. All fields but `name` are keyword arguments of `run`.
    run
        Called as `run(views, labels, **parameters, hidden=..., trusted=..., execution=...,
        on_round=..., checkpoint=..., resume=...)`.
    named_views
        It gets each group of features as a view of its own; else one view, "X", of all groups.
    knows_present
        With named views it gets `present`: which rows have each group that is optional.
    n_learners
        Of a spec: models that a round fits, for the plan.
    """

    spec: type[SpecModel]
    run: Callable[..., SelfLabeled]
    named_views: bool = False
    knows_present: bool = False
    n_learners: Callable[[Any], int] = lambda spec: 1


METHODS: Mapping[str, Method] = {
    "self_training": Method(SelfTrainingSpec, self_training),
    "multi_view": Method(
        MultiViewSpec,
        multi_view,
        named_views=True,
        knows_present=True,
        # Two views at least, and one is a model of its own.
        n_learners=lambda spec: max(len(spec.learners), 2),
    ),
    "semi_supervised_nb": Method(SemiSupervisedNBSpec, semi_supervised_nb),
    "co_training": Method(CoTrainingSpec, co_training, named_views=True, n_learners=lambda spec: 2),
    "tri_training": Method(TriTrainingSpec, tri_training, n_learners=lambda spec: 3),
    "democratic_co_learning": Method(
        DemocraticCoLearningSpec,
        democratic_co_learning,
        n_learners=lambda spec: len(spec.learners),
    ),
    "co_forest": Method(CoForestSpec, co_forest, n_learners=lambda spec: spec.n_estimators),
}

__all__ = [
    "METHODS",
    "CoForestClassifier",
    "CoForestSpec",
    "CoTrainingClassifier",
    "CoTrainingSpec",
    "DemocraticCoLearningClassifier",
    "DemocraticCoLearningSpec",
    "Method",
    "MultiViewClassifier",
    "MultiViewSpec",
    "SelfLabeled",
    "SelfTrainingClassifier",
    "SelfTrainingSpec",
    "SemiSupervisedNB",
    "SemiSupervisedNBSpec",
    "TriTrainingClassifier",
    "TriTrainingSpec",
    "co_forest",
    "co_training",
    "democratic_co_learning",
    "multi_view",
    "run_rounds",
    "self_training",
    "semi_supervised_nb",
    "tri_training",
]
