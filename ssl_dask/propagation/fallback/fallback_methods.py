"""What labels instead where the classes of a method have collapsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.propagate import Propagated
from ssl_dask.propagation.methods.balanced_spreading import (
    BalancedSpreadingSpec,
    balanced_spreading,
)
from ssl_dask.propagation.methods.label_propagation import LabelPropagationSpec, label_propagation
from ssl_dask.propagation.methods.label_spreading import LabelSpreadingSpec
from ssl_dask.propagation.methods.poisson import PoissonSpec, poisson
from ssl_dask.spec_model import SpecModel

ANSWERS: Mapping[type[SpecModel], Callable[..., Propagated]] = {
    LabelPropagationSpec: label_propagation,
    BalancedSpreadingSpec: balanced_spreading,
    PoissonSpec: poisson,
}


def answers_to(spec: SpecModel) -> tuple[SpecModel, ...]:
    """Return the methods to try where those of `spec` collapse, the nearest to it first.

    Label propagation: its class mass normalised (Zhu et al. 2003), then Poisson learning. Label
    spreading: balanced spreading with its alpha, then Poisson learning. Others: label propagation
    with its class mass normalised, then Poisson learning, if it is another.
    """
    if isinstance(spec, LabelPropagationSpec):
        nearest = spec.model_copy(update={"class_mass": "seeds"})
        return (nearest, PoissonSpec()) if spec.class_mass == "none" else (PoissonSpec(),)
    if isinstance(spec, LabelSpreadingSpec):
        return BalancedSpreadingSpec(alpha=spec.alpha), PoissonSpec()
    normalised = LabelPropagationSpec(class_mass="seeds")
    return (normalised,) if isinstance(spec, PoissonSpec) else (normalised, PoissonSpec())


def run_answer(
    spec: SpecModel,
    graph: BlockGraph,
    labels: Labels,
    execution: Execution,
    sample_weight: npt.NDArray[np.float64] | None,
) -> Propagated:
    """Run one of the methods of `answers_to`."""
    run = ANSWERS[type(spec)]
    parameters = spec.model_dump(exclude={"name"})
    return run(graph, labels, **parameters, sample_weight=sample_weight, execution=execution)
