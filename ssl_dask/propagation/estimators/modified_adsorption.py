"""Modified adsorption as a scikit-learn classifier."""

from __future__ import annotations

from ssl_dask.execution import AnyClient
from ssl_dask.propagation.estimators.graph_classifier import GraphClassifier
from ssl_dask.propagation.methods.modified_adsorption import (
    ModifiedAdsorptionSpec,
    modified_adsorption,
)


class ModifiedAdsorption(GraphClassifier):
    """Modified adsorption (Talukdar and Crammer 2009) as a scikit-learn classifier.

    Parameters
    ----------
    kernel, n_neighbors, metric, weights, symmetrize, gamma, client
        As in `LabelSpreading`.
    mu1, mu2, mu3
        Weights of the seeds' labels, of the agreement of neighbours, and of the dummy label. The
        larger mu3, the nearer to a seed must a row be to get a label; None: all rows together have
        a twentieth of the seeds' weight, mu1 S / (20 N).
    beta
        How far labels go on through rows with many neighbours, above 1.
    max_iter
        Most sweeps over the graph.
    tol
        Largest error of a score when it stops, relative to the largest source.

    Notes
    -----
    Attributes, and what holds for parameters that the kernel does not use: as `LabelSpreading`. A
    row on which the dummy label outweighs every class is among `abstained_`.
    """

    method_parameters = ("mu1", "mu2", "mu3", "beta", "max_iter", "tol")
    method_spec = ModifiedAdsorptionSpec
    method_run = staticmethod(modified_adsorption)

    def __init__(
        self,
        kernel: str = "knn",
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float = 20.0,
        mu1: float = 1.0,
        mu2: float = 1.0,
        mu3: float | None = None,
        beta: float = 2.0,
        max_iter: int = 10_000,
        tol: float = 1e-4,
        client: AnyClient = None,
    ) -> None:
        self.kernel = kernel
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.symmetrize = symmetrize
        self.gamma = gamma
        self.mu1 = mu1
        self.mu2 = mu2
        self.mu3 = mu3
        self.beta = beta
        self.max_iter = max_iter
        self.tol = tol
        self.client = client
