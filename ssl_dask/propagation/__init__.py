"""BlockGraph and seeds -> F: one loop, one file for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssl_dask.propagation.engine.propagate import Propagated
from ssl_dask.propagation.ensemble.graph_ensemble import (
    STEEP_WEIGHTS,
    GraphEnsembleSpec,
    graph_ensemble,
)
from ssl_dask.propagation.estimators.balanced_spreading import BalancedSpreading
from ssl_dask.propagation.estimators.graph_ensemble import GraphEnsemble
from ssl_dask.propagation.estimators.label_propagation import LabelPropagation
from ssl_dask.propagation.estimators.label_spreading import LabelSpreading
from ssl_dask.propagation.estimators.modified_adsorption import ModifiedAdsorption
from ssl_dask.propagation.estimators.poisson_learning import PoissonLearning
from ssl_dask.propagation.estimators.poisson_mbo import PoissonMBO
from ssl_dask.propagation.methods.balanced_spreading import (
    BalancedSpreadingSpec,
    balanced_spreading,
)
from ssl_dask.propagation.methods.correct_and_smooth import correct_and_smooth
from ssl_dask.propagation.methods.harmonic_regression import (
    HarmonicRegressionSpec,
    HarmonicValues,
    harmonic_regression,
)
from ssl_dask.propagation.methods.label_propagation import LabelPropagationSpec, label_propagation
from ssl_dask.propagation.methods.label_spreading import LabelSpreadingSpec, label_spreading
from ssl_dask.propagation.methods.modified_adsorption import (
    ModifiedAdsorptionSpec,
    modified_adsorption,
)
from ssl_dask.propagation.methods.poisson import PoissonSpec, poisson
from ssl_dask.propagation.methods.poisson_mbo import PoissonMBOSpec, poisson_mbo
from ssl_dask.propagation.methods.propagated_features import propagated_features
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
    more_weights
        Weights that it wants beside the graph's own where a search for neighbours gives them.
    wants_classifier
        It takes `classifier`, see `graph_ensemble`, and its spec says with `classifier` whether it
        wants one, instead of passing the field on.
    """

    spec: type[SpecModel]
    run: Callable[..., Propagated]
    more_weights: tuple[str, ...] = ()
    wants_classifier: bool = False


METHODS: Mapping[str, Method] = {
    "graph_ensemble": Method(
        GraphEnsembleSpec,
        graph_ensemble,
        more_weights=(STEEP_WEIGHTS,),
        wants_classifier=True,
    ),
    "balanced_spreading": Method(BalancedSpreadingSpec, balanced_spreading),
    "label_spreading": Method(LabelSpreadingSpec, label_spreading),
    "label_propagation": Method(LabelPropagationSpec, label_propagation),
    "poisson": Method(PoissonSpec, poisson),
    "poisson_mbo": Method(PoissonMBOSpec, poisson_mbo),
    "modified_adsorption": Method(ModifiedAdsorptionSpec, modified_adsorption),
}


@dataclass(frozen=True)
class ValueMethod:
    """A propagation method whose labels are numbers, as the job file knows it.

    Parameters
    ----------
    spec
        Its parameters. All fields but `name` are keyword arguments of `run`.
    run
        Called as `run(graph, rows, targets, **parameters, hidden=..., execution=..., ...)`.
    """

    spec: type[SpecModel]
    run: Callable[..., HarmonicValues]


VALUE_METHODS: Mapping[str, ValueMethod] = {
    "harmonic_regression": ValueMethod(HarmonicRegressionSpec, harmonic_regression),
}

__all__ = [
    "METHODS",
    "VALUE_METHODS",
    "BalancedSpreading",
    "GraphEnsemble",
    "HarmonicRegressionSpec",
    "HarmonicValues",
    "LabelPropagation",
    "LabelPropagationSpec",
    "LabelSpreading",
    "LabelSpreadingSpec",
    "Method",
    "ModifiedAdsorption",
    "ModifiedAdsorptionSpec",
    "PoissonLearning",
    "PoissonMBO",
    "PoissonMBOSpec",
    "PoissonSpec",
    "Propagated",
    "ValueMethod",
    "balanced_spreading",
    "correct_and_smooth",
    "graph_ensemble",
    "harmonic_regression",
    "label_propagation",
    "label_spreading",
    "modified_adsorption",
    "poisson",
    "poisson_mbo",
    "propagated_features",
]
