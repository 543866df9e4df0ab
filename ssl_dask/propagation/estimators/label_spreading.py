"""Label spreading as a scikit-learn classifier."""

from __future__ import annotations

from ssl_dask.execution import AnyClient
from ssl_dask.propagation.estimators.graph_classifier import GraphClassifier
from ssl_dask.propagation.methods.label_spreading import LabelSpreadingSpec, label_spreading


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
        Of the cluster that computes; "local": this process. None: the open client, if any, as Dask
        itself does. The answer is the same.

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
        self.on_collapse = on_collapse
        self.client = client
