"""Features and seeds -> pseudo-labels in rounds -> F: one loop, one file for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssl_dask.self_labeled.rounds import SelfLabeled, run_rounds
from ssl_dask.self_labeled.self_training import (
    SelfTrainingClassifier,
    SelfTrainingSpec,
    self_training,
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
    """

    spec: type[SpecModel]
    run: Callable[..., SelfLabeled]
    named_views: bool = False


METHODS: Mapping[str, Method] = {
    "self_training": Method(SelfTrainingSpec, self_training),
}

__all__ = [
    "METHODS",
    "Method",
    "SelfLabeled",
    "SelfTrainingClassifier",
    "SelfTrainingSpec",
    "run_rounds",
    "self_training",
]
