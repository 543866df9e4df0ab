"""BlockGraph and seeds -> F: one loop, one file for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssl_dask.propagation.correct_and_smooth import correct_and_smooth
from ssl_dask.propagation.engine import Propagated
from ssl_dask.propagation.label_propagation import (
    LabelPropagation,
    LabelPropagationSpec,
    label_propagation,
)
from ssl_dask.propagation.label_spreading import (
    LabelSpreading,
    LabelSpreadingSpec,
    label_spreading,
)
from ssl_dask.propagation.poisson import PoissonLearning, PoissonSpec, poisson
from ssl_dask.propagation.poisson_mbo import PoissonMBO, PoissonMBOSpec, poisson_mbo
from ssl_dask.propagation.propagated_features import propagated_features
from ssl_dask.spec_model import SpecModel


@dataclass(frozen=True)
class Method:
    """A propagation method as the job file knows it.

    Parameters
    ----------
    spec
        Its parameters. All fields but `name` are keyword arguments of `run`.
    run
        Called as `run(graph, labels, **parameters, hidden=..., execution=..., ...)`.
    """

    spec: type[SpecModel]
    run: Callable[..., Propagated]


METHODS: Mapping[str, Method] = {
    "label_spreading": Method(LabelSpreadingSpec, label_spreading),
    "label_propagation": Method(LabelPropagationSpec, label_propagation),
    "poisson": Method(PoissonSpec, poisson),
    "poisson_mbo": Method(PoissonMBOSpec, poisson_mbo),
}

__all__ = [
    "METHODS",
    "LabelPropagation",
    "LabelPropagationSpec",
    "LabelSpreading",
    "LabelSpreadingSpec",
    "Method",
    "PoissonLearning",
    "PoissonMBO",
    "PoissonMBOSpec",
    "PoissonSpec",
    "Propagated",
    "correct_and_smooth",
    "label_propagation",
    "label_spreading",
    "poisson",
    "poisson_mbo",
    "propagated_features",
]
