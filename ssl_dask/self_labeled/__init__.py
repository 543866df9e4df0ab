"""Features and seeds -> pseudo-labels in rounds -> F: one loop, one file for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ssl_dask.self_labeled.estimators.co_forest_classifier import CoForestClassifier
from ssl_dask.self_labeled.estimators.co_training_classifier import CoTrainingClassifier
from ssl_dask.self_labeled.estimators.democratic_classifier import (
    DemocraticCoLearningClassifier,
)
from ssl_dask.self_labeled.estimators.multi_view_classifier import MultiViewClassifier
from ssl_dask.self_labeled.estimators.self_training_classifier import SelfTrainingClassifier
from ssl_dask.self_labeled.estimators.semi_supervised_nb import SemiSupervisedNB
from ssl_dask.self_labeled.estimators.tri_training_classifier import TriTrainingClassifier
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.loop.rounds import run_rounds
from ssl_dask.self_labeled.methods.co_forest import CoForest, CoForestSpec, co_forest
from ssl_dask.self_labeled.methods.co_training import CoTraining, CoTrainingSpec, co_training
from ssl_dask.self_labeled.methods.democratic_co_learning import (
    DemocraticCoLearning,
    DemocraticCoLearningSpec,
    democratic_co_learning,
)
from ssl_dask.self_labeled.methods.multi_view import MultiView, MultiViewSpec, multi_view
from ssl_dask.self_labeled.methods.self_training import (
    SelfTraining,
    SelfTrainingSpec,
    self_training,
)
from ssl_dask.self_labeled.methods.semi_supervised_nb import (
    NaiveBayesRounds,
    SemiSupervisedNBSpec,
    semi_supervised_nb,
)
from ssl_dask.self_labeled.methods.tri_training import TriTraining, TriTrainingSpec, tri_training
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
    rounds
        What runs in the rounds.
    named_views
        It gets each group of features as a view of its own; else one view, "X", of all groups.
    knows_present
        With named views it gets `present`: which rows have each group that is optional.
    n_learners
        Of a spec, with so many groups of features: models that a round fits, for the plan.
    own_labels
        Whether each learner has labels of its own.
    n_histograms
        Of a spec and C classes: histograms that a survey of the scores sums, for the plan.
    n_surveys
        Surveys that a round usually takes.
    """

    spec: type[SpecModel]
    run: Callable[..., SelfLabeled]
    rounds: type[RoundMethod]
    named_views: bool = False
    knows_present: bool = False
    n_learners: Callable[[Any, int], int] = lambda spec, n_groups: 1
    own_labels: bool = False
    n_histograms: Callable[[Any, int], int] = lambda spec, n_classes: 0
    n_surveys: int = 1


METHODS: Mapping[str, Method] = {
    "self_training": Method(
        SelfTrainingSpec,
        self_training,
        SelfTraining,
        n_histograms=lambda spec, n_classes: n_classes,
        n_surveys=4,
    ),
    "multi_view": Method(
        MultiViewSpec,
        multi_view,
        MultiView,
        named_views=True,
        knows_present=True,
        n_learners=lambda spec, n_groups: n_groups,
        n_histograms=lambda spec, n_classes: n_classes,
        n_surveys=4,
    ),
    "semi_supervised_nb": Method(SemiSupervisedNBSpec, semi_supervised_nb, NaiveBayesRounds),
    "co_training": Method(
        CoTrainingSpec,
        co_training,
        CoTraining,
        named_views=True,
        n_learners=lambda spec, n_groups: 2,
        own_labels=True,
        n_histograms=lambda spec, n_classes: 2 * n_classes,
        n_surveys=4,
    ),
    "tri_training": Method(
        TriTrainingSpec,
        tri_training,
        TriTraining,
        n_learners=lambda spec, n_groups: 3,
        own_labels=True,
        n_histograms=lambda spec, n_classes: 3,
        n_surveys=4,
    ),
    "democratic_co_learning": Method(
        DemocraticCoLearningSpec,
        democratic_co_learning,
        DemocraticCoLearning,
        n_learners=lambda spec, n_groups: len(spec.learners),
        own_labels=True,
    ),
    "co_forest": Method(
        CoForestSpec,
        co_forest,
        CoForest,
        n_learners=lambda spec, n_groups: spec.n_estimators,
        own_labels=True,
        # Rows, votes, and votes of the rows that are sure, for each tree.
        n_histograms=lambda spec, n_classes: 3 * spec.n_estimators,
        n_surveys=4,
    ),
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
