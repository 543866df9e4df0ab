"""Label spreading: local and global consistency, solved by Chebyshev iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from ssl_dask.propagation.methods.chebyshev import ChebyshevSteps
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


def chebyshev_steps(alpha: float) -> Callable[[int], tuple[float, float, float, float]]:
    """Return the coefficients (a, b, c, d) of each sweep for F = alpha S F + (1 - alpha) B.

    The eigenvalues of a symmetrically scaled S lie in [-1, 1], so alpha bounds those of alpha S:
    none needs to be estimated.
    """
    chebyshev = ChebyshevSteps(alpha)

    def steps(iteration: int) -> tuple[float, float, float, float]:
        omega = chebyshev.omega(iteration)
        return omega * alpha, 0.0, 1.0 - omega, omega * (1.0 - alpha)

    return steps


def label_spreading(
    graph: BlockGraph,
    labels: Labels,
    *,
    alpha: float = 0.9,
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
    """Solve (I - alpha S) F = (1 - alpha) Y, S = D^-1/2 W D^-1/2, Y one at each seed's class.

    Parameters
    ----------
    graph
        Graph of N rows.
    labels
        The seeds.
    alpha
        In (0, 1).
    sample_weight
        (S,): weight > 0 of each seed, in row order; None: 1 each.
    hidden
        For each fold a bool array (S,): the seeds that it hides; see `Propagated.fold_F`.
    execution
        Where it runs; default: this process.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        See `engine.propagate`, also for what it raises and costs.

    References
    ----------
    D. Zhou, O. Bousquet, T. N. Lal, J. Weston, B. Schoelkopf: Learning with Local and Global
    Consistency, NIPS 2004, eq. 4.
    """
    recurrence = Recurrence(
        name="label_spreading",
        target=(alpha, 1.0 - alpha),
        steps=chebyshev_steps(alpha),
        settings={"alpha": alpha, "tol": tol},
    )
    return propagate(
        graph,
        SeedSources.from_folds(labels, hidden, sample_weight),
        recurrence,
        max_iter=max_iter,
        tol=tol,
        execution=execution or Execution(),
        on_round=on_round,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        resume=resume,
    )
