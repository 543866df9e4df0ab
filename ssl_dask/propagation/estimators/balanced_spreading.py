"""Balanced spreading as a scikit-learn classifier."""

from __future__ import annotations

from ssl_dask.execution import AnyClient
from ssl_dask.propagation.estimators.graph_classifier import GraphClassifier
from ssl_dask.propagation.methods.balanced_spreading import (
    BalancedSpreadingSpec,
    balanced_spreading,
)


class BalancedSpreading(GraphClassifier):
    """Balanced spreading as a scikit-learn classifier: label spreading for few labels a class.

    Parameters
    ----------
    kernel, n_neighbors, metric, weights, symmetrize, gamma, client
        As in `LabelSpreading`.
    alpha
        In (0, 1): share of a row's scores that comes from its neighbours. 0.99 reaches far, which
        is best with few labels; nearer to 0.9 is better from about 50 a class on.
    max_iter
        Most sweeps over the graph.
    tol
        Largest residual when it stops, relative to the largest source.

    Notes
    -----
    Attributes, and what holds for parameters that the kernel does not use: as `LabelSpreading`.
    """

    method_parameters = ("alpha", "max_iter", "tol")
    method_spec = BalancedSpreadingSpec
    method_run = staticmethod(balanced_spreading)

    def __init__(
        self,
        kernel: str = "knn",
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float = 20.0,
        alpha: float = 0.99,
        max_iter: int = 1000,
        tol: float = 1e-4,
        client: AnyClient = None,
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
        self.client = client
