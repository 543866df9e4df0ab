"""Label propagation: seeds keep their labels, all other rows are the mean of their neighbours."""

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


class LabelPropagationSpec(SpecModel):
    """Label propagation (Zhu and Ghahramani 2002): seeds are never overruled."""

    name: Literal["label_propagation"] = "label_propagation"
    max_iter: Annotated[int, Field(ge=1)] = 1000
    """Most sweeps over the graph."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-3
    """Largest error of a probability when it stops, as estimated from the rate of convergence."""


def label_propagation(
    graph: BlockGraph,
    labels: Labels,
    *,
    max_iter: int = 1000,
    tol: float = 1e-3,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
) -> Propagated:
    """Iterate F <- D^-1 W F, make each row sum to 1, put the seeds back; the limit is harmonic.

    Where a component holds a seed, F tends to the chance that a random walk from the row meets
    a seed of the class first (Zhu, Ghahramani and Lafferty 2003). On large graphs with few
    seeds this takes many sweeps and tends to a constant; `label_spreading` is the better choice
    there.

    Parameters
    ----------
    graph
        Graph of N rows.
    labels
        The seeds.
    hidden
        For each fold a bool array (S,): the seeds that it hides; see `Propagated.fold_F`.
    execution
        Where it runs; default: this process.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        See `engine.propagate`, also for what it raises and costs.

    References
    ----------
    X. Zhu, Z. Ghahramani: Learning from Labeled and Unlabeled Data with Label Propagation,
    CMU-CALD-02-107, 2002, section 2.2.
    """
    recurrence = Recurrence(
        name="label_propagation",
        symmetric=False,
        target=(1.0, 0.0),
        steps=_power_step,
        clamp_seeds=True,
        normalise=True,
        seed_value=1.0,
        error="extrapolated_step",
        settings={"tol": tol},
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


def _power_step(iteration: int) -> tuple[float, float, float, float]:
    return 1.0, 0.0, 0.0, 0.0
