"""Poisson-MBO as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

from ssl_dask.execution import AnyClient
from ssl_dask.propagation.estimators.graph_classifier import GraphClassifier
from ssl_dask.propagation.methods.poisson_mbo import PoissonMBOSpec, poisson_mbo


class PoissonMBO(GraphClassifier):
    """Poisson-MBO (Calder et al. 2020) as a scikit-learn classifier.

    Parameters
    ----------
    kernel, n_neighbors, metric, weights, symmetrize, gamma, client
        As in `LabelSpreading`.
    class_shares
        "none", "seeds" or {class: share}: shares of the classes that the answer is held to.
    n_rounds
        Rounds of diffusion and decision.
    max_iter, tol
        Of the Poisson learning that it begins with.

    Notes
    -----
    Attributes, and what holds for parameters that the kernel does not use: as `LabelSpreading`.
    """

    method_parameters = ("class_shares", "n_rounds", "max_iter", "tol")
    method_spec = PoissonMBOSpec
    method_run = staticmethod(poisson_mbo)

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
        n_rounds: int = 20,
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
        self.n_rounds = n_rounds
        self.max_iter = max_iter
        self.tol = tol
        self.client = client
