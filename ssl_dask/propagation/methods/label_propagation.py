"""Label propagation: seeds keep their labels, all other rows are the mean of their neighbours."""

from __future__ import annotations

from typing import Annotated, Literal

from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.method import Method, MethodInputs
from ssl_dask.propagation.engine.class_shares import (
    ClassShares,
    expected_shares,
    normalise_class_mass,
)
from ssl_dask.propagation.engine.propagated import STOP_WORDS, Propagated, seeds_and_graph
from ssl_dask.propagation.engine.recurrence import held_recurrence
from ssl_dask.propagation.engine.seed_sources import NodeSources
from ssl_dask.propagation.engine.session import SEED_VALUE, propagate
from ssl_dask.propagation.engine.solve_cost import conjugate_cost
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel, given_shares


class LabelPropagationSpec(SpecModel):
    """Label propagation (Zhu and Ghahramani 2002): seeds are never overruled."""

    name: Literal["label_propagation"] = "label_propagation"
    class_mass: ClassShares = "none"
    """Scale each class to this share of the rows (Zhu et al. 2003): none; seeds: as among the
    seeds; or {class: share}. It keeps one class from taking all when there are few seeds."""
    max_iter: Annotated[int, Field(ge=1)] = 10_000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-3
    """Largest error of a probability when it stops, as estimated from the residual."""


def label_propagation(
    inputs: MethodInputs, spec: LabelPropagationSpec, control: RunControl
) -> Propagated:
    """Solve F = D^-1 W F with the seeds held at their class: the harmonic function.

    The limit of iterating F <- D^-1 W F and putting the seeds back, reached in far fewer sweeps
    by block conjugate gradients with the diagonal preconditioner. Where a component holds a seed,
    F is the chance that a random walk from the row meets a seed of the class first (Zhu,
    Ghahramani and Lafferty 2003). On large graphs with few seeds it is nearly constant; there
    `class_mass`, or `poisson` or `label_spreading`, is the better choice. A seed of weight 2 pulls
    twice as much on the rows around it.

    Raises
    ------
    ValueError
        `class_mass` names other classes than the seeds have. For others see `session.propagate`,
        also for costs.

    References
    ----------
    X. Zhu, Z. Ghahramani: Learning from Labeled and Unlabeled Data with Label Propagation,
    CMU-CALD-02-107, 2002, section 2.2.
    """
    graph, sources = seeds_and_graph(inputs)
    shares = expected_shares(spec.class_mass, inputs.labels, sources.hidden)

    def finish(at_nodes: NodeSources, blocks: list[Delayed]) -> list[Delayed]:
        assert shares is not None
        return normalise_class_mass(graph, at_nodes, blocks, shares, control.execution, SEED_VALUE)

    recurrence = held_recurrence("label_propagation", spec.tol)
    return propagate(
        graph, sources, recurrence, spec, control, finish=None if shares is None else finish
    )


METHOD = Method(
    LabelPropagationSpec,
    label_propagation,
    "graph",
    cost=lambda spec, shape: conjugate_cost(shape),
    fallbacks=lambda spec: (
        *(
            [("label_propagation", {**spec.model_dump(exclude={"name"}), "class_mass": "seeds"})]
            if spec.class_mass == "none"
            else []
        ),
        ("poisson", {}),
    ),
    class_shares=lambda spec: given_shares(spec.class_mass),
    moves_answer=True,
    stop_words=STOP_WORDS,
)
