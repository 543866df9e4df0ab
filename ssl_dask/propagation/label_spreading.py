"""Label spreading: local and global consistency, solved by Chebyshev iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine import (
    CHECKPOINT_SECONDS,
    Checkpoint,
    OnRound,
    Propagated,
    Recurrence,
    Resume,
    propagate,
)
from ssl_dask.propagation.seed_sources import SeedSources
from ssl_dask.spec_model import SpecModel

SEED_VALUE = 2.0**48


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


class ChebyshevSteps:
    """Coefficients (a, b, c, d) of Chebyshev semi-iteration on the spectrum [1 - alpha, 1 + alpha].

    The eigenvalues of a symmetrically scaled S lie in [-1, 1], so those of I - alpha S lie
    there: no eigenvalue needs to be estimated (Golub and Varga 1961; Saad 2003, section 12.3).
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self._omegas = [1.0, 2.0 / (2.0 - alpha**2)]

    def __call__(self, iteration: int) -> tuple[float, float, float, float]:
        """Return the coefficients of sweep `iteration`, counted from 1."""
        while len(self._omegas) < iteration:
            self._omegas.append(1.0 / (1.0 - self.alpha**2 * self._omegas[-1] / 4.0))
        omega = self._omegas[iteration - 1]
        return omega * self.alpha, 0.0, 1.0 - omega, omega * (1.0 - self.alpha)


def label_spreading(
    graph: BlockGraph,
    labels: Labels,
    *,
    alpha: float = 0.9,
    max_iter: int = 1000,
    tol: float = 1e-4,
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
        symmetric=True,
        target=(alpha, 1.0 - alpha),
        steps=ChebyshevSteps(alpha),
        clamp_seeds=False,
        normalise=False,
        seed_value=SEED_VALUE,
        error="residual",
        settings={"alpha": alpha, "tol": tol},
    )
    return propagate(
        graph,
        SeedSources.from_folds(labels, hidden),
        recurrence,
        max_iter=max_iter,
        tol=tol,
        execution=execution or Execution(),
        on_round=on_round,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        resume=resume,
    )
