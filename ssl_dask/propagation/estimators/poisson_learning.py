"""Poisson learning as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

from ssl_dask.execution import AnyClient
from ssl_dask.propagation.estimators.graph_classifier import GraphClassifier
from ssl_dask.propagation.methods.poisson import PoissonSpec, poisson


class PoissonLearning(GraphClassifier):
    """Poisson learning (Calder et al. 2020) as a scikit-learn classifier.

    Parameters
    ----------
    kernel, n_neighbors, metric, weights, symmetrize, gamma, client
        As in `LabelSpreading`.
    class_shares
        "none", "seeds" or {class: share}: shares of the classes that the answer is moved to.
    max_iter
        Most sweeps over the graph.
    tol
        Largest error of a score when it stops, relative to the largest source.

    Notes
    -----
    Attributes, and what holds for parameters that the kernel does not use: as `LabelSpreading`.
    """

    method_parameters = ("class_shares", "max_iter", "tol")
    method_spec = PoissonSpec
    method_run = staticmethod(poisson)

    def __init__(
        self,
        kernel: str = "knn",
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float = 20.0,
        class_shares: Any = "none",
        max_iter: int = 10_000,
        tol: float = 1e-3,
        client: AnyClient = None,
    ) -> None:
        self.kernel = kernel
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.symmetrize = symmetrize
        self.gamma = gamma
        self.class_shares = class_shares
        self.max_iter = max_iter
        self.tol = tol
        self.client = client
