"""Label spreading: local and global consistency, solved by Chebyshev iteration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ssl_dask.method import Method, MethodInputs
from ssl_dask.propagation.engine.propagated import STOP_WORDS, Propagated, seeds_and_graph
from ssl_dask.propagation.engine.recurrence import Recurrence, chebyshev_steps
from ssl_dask.propagation.engine.session import propagate
from ssl_dask.propagation.engine.solve_cost import spreading_cost
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel


class LabelSpreadingSpec(SpecModel):
    """Label spreading (Zhou et al. 2004): seeds may be overruled by their neighbourhood."""

    name: Literal["label_spreading"] = "label_spreading"
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Share of a row's scores that comes from its neighbours, above 0 and below 1. Nearer to 1,
    labels reach farther: 0.99 is better with one to five seeds a class."""
    max_iter: Annotated[int, Field(ge=1)] = 1000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-4
    """Largest residual when it stops, relative to the largest source."""


def label_spreading(
    inputs: MethodInputs, spec: LabelSpreadingSpec, control: RunControl
) -> Propagated:
    """Solve (I - alpha S) F = (1 - alpha) Y, S = D^-1/2 W D^-1/2, Y one at each seed's class.

    A seed of weight w has w in the place of one. Errors and costs: see `session.propagate`.

    References
    ----------
    D. Zhou, O. Bousquet, T. N. Lal, J. Weston, B. Schoelkopf: Learning with Local and Global
    Consistency, NIPS 2004, eq. 4.
    """
    graph, sources = seeds_and_graph(inputs)
    recurrence = Recurrence(
        name="label_spreading",
        target=(spec.alpha, 1.0 - spec.alpha),
        steps=chebyshev_steps(spec.alpha),
        settings={"alpha": spec.alpha, "tol": spec.tol},
    )
    return propagate(graph, sources, recurrence, spec, control)


METHOD = Method(
    LabelSpreadingSpec,
    label_spreading,
    "graph",
    cost=lambda spec, shape: spreading_cost(spec.alpha, shape),
    fallbacks=lambda spec: (("balanced_spreading", {"alpha": spec.alpha}), ("poisson", {})),
    stop_words=STOP_WORDS,
)
