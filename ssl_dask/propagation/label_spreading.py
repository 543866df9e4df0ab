"""Label spreading: local and global consistency, solved by Chebyshev iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from distributed import Client
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.propagation.chebyshev import ChebyshevSteps
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
from ssl_dask.propagation.seed_sources import SeedSources
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


class LabelSpreading(GraphClassifier):
    """Label spreading (Zhou et al. 2004) as a scikit-learn classifier.

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
    alpha
        In (0, 1): share of a row's scores that comes from its neighbours. Near 1 labels reach far,
        which is best with few of them (0.99 with 1 to 5 a class); 0.9 is robust with more.
    max_iter
        Most sweeps over the graph.
    tol
        Largest residual when it stops, relative to the largest source.
    on_collapse
        Where most classes, by their shares of the seeds, have got next to no row: "warn"; "switch"
        to balanced spreading, or to Poisson learning if that collapses
        too, with a warning; "error".
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

    method_parameters = ("alpha", "max_iter", "tol")
    method_spec = LabelSpreadingSpec
    method_run = staticmethod(label_spreading)

    def __init__(
        self,
        kernel: str = "knn",
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float = 20.0,
        alpha: float = 0.9,
        max_iter: int = 1000,
        tol: float = 1e-4,
        on_collapse: str = "warn",
        client: Client | None = None,
    ) -> None:
        self.kernel = kernel
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.symmetrize = symmetrize
        self.gamma = gamma
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.on_collapse = on_collapse
        self.client = client
