"""Balanced spreading: every class starts with the same mass, and keeps it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ssl_dask.method import Method, MethodInputs
from ssl_dask.propagation.engine.propagated import STOP_WORDS, Propagated, seeds_and_graph
from ssl_dask.propagation.engine.recurrence import unit_source_kernel
from ssl_dask.propagation.engine.session import propagate
from ssl_dask.propagation.engine.solve_cost import spreading_cost
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel


class BalancedSpreadingSpec(SpecModel):
    """Label spreading whose classes keep equal masses: for few labels a class."""

    name: Literal["balanced_spreading"] = "balanced_spreading"
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.99
    """Share of a row's scores that comes from its neighbours, above 0 and below 1. Nearer to 1,
    labels reach farther."""
    max_iter: Annotated[int, Field(ge=1)] = 1000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-4
    """Largest residual when it stops, relative to the largest source."""


def balanced_spreading(
    inputs: MethodInputs, spec: BalancedSpreadingSpec, control: RunControl
) -> Propagated:
    """Solve F = (1 - alpha) D^-1/2 (I - alpha S)^-1 D^-1/2 B, S = D^-1/2 W D^-1/2.

    B is 1 / (seeds of the class) at each seed. As in label spreading a seed may be overruled. But
    there a seed at a node with many edges weighs more: its class gets mass in proportion to the
    root of its degree. Here every class spreads the same mass, sum_i d_i F_ic = 1, which is class
    mass normalisation for equal classes, without a step of its own. For alpha to 1 it becomes
    Poisson learning with balanced classes.

    References
    ----------
    D. Zhou, O. Bousquet, T. N. Lal, J. Weston, B. Schoelkopf: Learning with Local and Global
    Consistency, NIPS 2004, eq. 4, with D^-1/2 on the side of the sources; X. Zhu, Z. Ghahramani,
    J. Lafferty: Semi-Supervised Learning Using Gaussian Fields and Harmonic Functions, ICML 2003,
    section 4 (class mass normalisation).
    """
    graph, sources = seeds_and_graph(inputs)
    recurrence = unit_source_kernel("balanced_spreading", spec.alpha, spec.tol)
    return propagate(graph, sources.balanced(0.0), recurrence, spec, control)


METHOD = Method(
    BalancedSpreadingSpec,
    balanced_spreading,
    "graph",
    cost=lambda spec, shape: spreading_cost(spec.alpha, shape),
    fallbacks=lambda spec: (("label_propagation", {"class_mass": "seeds"}), ("poisson", {})),
    stop_words=STOP_WORDS,
)
