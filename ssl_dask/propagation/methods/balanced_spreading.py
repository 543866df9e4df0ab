"""Balanced spreading: every class starts with the same mass, and keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.propagate import (
    CHECKPOINT_SECONDS,
    Checkpoint,
    OnRound,
    Propagated,
    Recurrence,
    Resume,
    propagate,
)
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.propagation.methods.label_spreading import chebyshev_steps
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


def unit_source_kernel(name: str, alpha: float, tol: float) -> Recurrence:
    """Return the recurrence of H B = (1 - alpha) D^-1/2 (I - alpha S)^-1 D^-1/2 B.

    In terms of the walk P = D^-1 W this is (1 - alpha) (I - alpha P)^-1 D^-1 B: the source side is
    divided by the degree, and sum_i d_i (H B)_ic = sum_i B_ic for every column c.
    """
    return Recurrence(
        name=name,
        target=(alpha, 1.0 - alpha),
        steps=chebyshev_steps(alpha),
        settings={"alpha": alpha, "tol": tol},
        powers=(1.0, 0.0),
    )


def balanced_spreading(
    graph: BlockGraph,
    labels: Labels,
    *,
    alpha: float = 0.99,
    max_iter: int = 1000,
    tol: float = 1e-4,
    sample_weight: npt.ArrayLike | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
) -> Propagated:
    """Solve F = (1 - alpha) D^-1/2 (I - alpha S)^-1 D^-1/2 B, S = D^-1/2 W D^-1/2.

    B is 1 / (seeds of the class) at each seed. As in label spreading a seed may be overruled. But
    there a seed at a node with many edges weighs more: its class gets mass in proportion to the
    root of its degree. Here every class spreads the same mass, sum_i d_i F_ic = 1, which is class
    mass normalisation for equal classes, without a step of its own. For alpha to 1 it becomes
    Poisson learning with balanced classes.

    Parameters
    ----------
    graph
        Graph of N rows.
    labels
        The seeds.
    alpha
        In (0, 1).
    sample_weight
        (S,): weight > 0 of each seed within its class, in row order; None: 1 each.
    hidden
        For each fold a bool array (S,): the seeds that it hides; see `Propagated.fold_F`.
    execution
        Where it runs; default: this process.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        See `engine.propagate`, also for what it raises and costs.

    References
    ----------
    D. Zhou, O. Bousquet, T. N. Lal, J. Weston, B. Schoelkopf: Learning with Local and Global
    Consistency, NIPS 2004, eq. 4, with D^-1/2 on the side of the sources; X. Zhu, Z. Ghahramani,
    J. Lafferty: Semi-Supervised Learning Using Gaussian Fields and Harmonic Functions, ICML 2003,
    section 4 (class mass normalisation).
    """
    return propagate(
        graph,
        SeedSources.from_folds(labels, hidden, sample_weight).balanced(0.0),
        unit_source_kernel("balanced_spreading", alpha, tol),
        max_iter=max_iter,
        tol=tol,
        execution=execution or Execution(),
        on_round=on_round,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        resume=resume,
    )
