"""Label propagation: seeds keep their labels, all other rows are the mean of their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed
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
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.session import SEED_VALUE
from ssl_dask.propagation.methods.class_mass import normalise_class_mass
from ssl_dask.propagation.methods.class_shares import ClassShares, expected_shares
from ssl_dask.spec_model import SpecModel


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
    graph: BlockGraph,
    labels: Labels,
    *,
    class_mass: Any = "none",
    max_iter: int = 10_000,
    tol: float = 1e-3,
    sample_weight: npt.ArrayLike | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
) -> Propagated:
    """Solve F = D^-1 W F with the seeds held at their class: the harmonic function.

    The limit of iterating F <- D^-1 W F and putting the seeds back, reached in far fewer sweeps
    by block conjugate gradients with the diagonal preconditioner. Where a component holds a seed,
    F is the chance that a random walk from the row meets a seed of the class first (Zhu,
    Ghahramani and Lafferty 2003). On large graphs with few seeds it is nearly constant; there
    `class_mass`, or `poisson` or `label_spreading`, is the better choice.

    Parameters
    ----------
    graph
        Graph of N rows.
    labels
        The seeds.
    class_mass
        "none"; "seeds"; or {class: share}: see `class_mass.normalise_class_mass`.
    sample_weight
        (S,): weight > 0 of each seed, in row order; None: 1 each. A seed of weight 2 pulls twice
        as much on the rows around it.
    hidden
        For each fold a bool array (S,): the seeds that it hides; see `Propagated.fold_F`.
    execution
        Where it runs; default: this process.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        See `engine.propagate`, also for what it raises and costs.

    Raises
    ------
    ValueError
        `class_mass` names other classes than the seeds have.

    References
    ----------
    X. Zhu, Z. Ghahramani: Learning from Labeled and Unlabeled Data with Label Propagation,
    CMU-CALD-02-107, 2002, section 2.2.
    """
    execution = execution or Execution()
    sources = SeedSources.from_folds(labels, hidden, sample_weight)
    shares = expected_shares(class_mass, labels, sources.hidden)

    def leave(at_nodes: NodeSources, blocks: list[Delayed]) -> list[Delayed]:
        assert shares is not None
        return normalise_class_mass(graph, at_nodes, blocks, shares, execution, SEED_VALUE)

    recurrence = Recurrence(
        name="label_propagation",
        target=(1.0, 0.0),
        steps=None,
        powers=(0.0, 0.0),
        clamp_seeds=True,
        # The error may be the residual over a tiny eigenvalue, and so may rounding.
        dtype="float64",
        settings={"tol": tol},
    )
    return propagate(
        graph,
        sources,
        recurrence,
        max_iter=max_iter,
        tol=tol,
        execution=execution,
        on_round=on_round,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        resume=resume,
        leave=None if shares is None else leave,
    )
