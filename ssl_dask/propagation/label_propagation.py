"""Label propagation: seeds keep their labels, all other rows are the mean of their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed
from distributed import Client
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.propagation.class_mass import normalise_class_mass
from ssl_dask.propagation.class_shares import ClassShares, expected_shares
from ssl_dask.propagation.engine import (
    CHECKPOINT_SECONDS,
    Checkpoint,
    OnRound,
    Propagated,
    Recurrence,
    Resume,
    propagate,
)
from ssl_dask.propagation.graph_classifier import GraphClassifier
from ssl_dask.propagation.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.solver import SEED_VALUE
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


class LabelPropagation(GraphClassifier):
    """Label propagation (Zhu and Ghahramani 2002) as a scikit-learn classifier.

    Parameters
    ----------
    kernel
        "knn": each row is joined with its `n_neighbors` nearest rows, over all rows. "rbf":
        every row with every other, for few rows. For another graph fit on a `BlockGraph`.
    n_neighbors, metric, weights, symmetrize
        With kernel "knn"; see `graph.knn_graph`. 15 is where accuracy is flat (10 to 25 differ
        by less than a point on eight data sets with 1 to 50 labels a class), and it leaves
        fewer rows apart than scikit-learn's 7.
    gamma
        With kernel "rbf": weight exp(-gamma d^2), 20 as in scikit-learn.
    class_mass
        "none", "seeds" or {class: share}: share of the rows that each class is scaled to.
    max_iter
        Most sweeps over the graph.
    tol
        Largest error of a probability when it stops, as estimated from the residual.
    on_collapse
        Where most classes, by their shares of the seeds, have got next to no row: "warn"; "switch"
        to the class mass normalised, or to Poisson learning if that collapses too, with a warning;
        "error".
    client
        A `distributed.Client`: runs on its cluster. None: in this process. The answer is the same.

    Attributes
    ----------
    classes_
        Array (C,) of the distinct class labels, sorted.
    transduction_
        Array (N,): class label of each row; -1 (None in an array of objects) where it abstained.
    abstained_
        bool (N,): no path of edges leads to a seed, or the best two classes are tied.
    label_distributions_
        float32 (N, C): rows sum to 1, or to 0 without evidence. A Dask array if X is one; so
        are the two above.
    n_iter_
        Sweeps done.
    method_
        Name and parameters of the method that labelled: another one after a switch.
    graph_
        The `BlockGraph`.
    n_features_in_, feature_names_in_
        As in scikit-learn; not when fitted on a graph.

    Notes
    -----
    A parameter that the kernel does not use must stay at its default: nothing is ignored in
    silence. Fitted on a graph there are no features, and `predict` raises ValueError.
    """

    method_parameters = ("class_mass", "max_iter", "tol")
    method_spec = LabelPropagationSpec
    method_run = staticmethod(label_propagation)

    def __init__(
        self,
        kernel: str = "knn",
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float = 20.0,
        class_mass: Any = "none",
        max_iter: int = 10_000,
        tol: float = 1e-3,
        on_collapse: str = "warn",
        client: Client | None = None,
    ) -> None:
        self.kernel = kernel
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.symmetrize = symmetrize
        self.gamma = gamma
        self.class_mass = class_mass
        self.max_iter = max_iter
        self.tol = tol
        self.on_collapse = on_collapse
        self.client = client
