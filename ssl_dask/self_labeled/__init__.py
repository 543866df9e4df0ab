"""Features and seeds -> pseudo-labels in rounds -> F: one loop, one file for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssl_dask.self_labeled.multi_view import (
    MultiViewClassifier,
    MultiViewSpec,
    multi_view,
)
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
    """

    spec: type[SpecModel]
    run: Callable[..., SelfLabeled]
    named_views: bool = False
    knows_present: bool = False


METHODS: Mapping[str, Method] = {
    "self_training": Method(SelfTrainingSpec, self_training),
    "multi_view": Method(MultiViewSpec, multi_view, named_views=True, knows_present=True),
    "semi_supervised_nb": Method(SemiSupervisedNBSpec, semi_supervised_nb),
}

__all__ = [
    "METHODS",
    "Method",
    "MultiViewClassifier",
    "MultiViewSpec",
    "SelfLabeled",
    "SelfTrainingClassifier",
    "SelfTrainingSpec",
    "SemiSupervisedNB",
    "SemiSupervisedNBSpec",
    "multi_view",
    "run_rounds",
    "self_training",
    "semi_supervised_nb",
]
