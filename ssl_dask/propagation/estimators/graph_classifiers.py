"""The methods on a graph as scikit-learn classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ssl_dask.execution import AnyClient, Execution
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.propagation.ensemble.ensemble_run import MEMBER_TOL
from ssl_dask.propagation.estimators.graph_classifier import (
    GraphClassifier,
    Kernel,
    scaled_affinities,
)
from ssl_dask.propagation.methods import (
    balanced_spreading,
    graph_ensemble,
    label_propagation,
    label_spreading,
    modified_adsorption,
    poisson,
    poisson_mbo,
)


class LabelSpreading(GraphClassifier):
    """Label spreading (Zhou et al. 2004) as a scikit-learn classifier.

    Parameters
    ----------
    kernel
        "knn": each row is joined with its `n_neighbors` nearest rows, over all rows. "rbf":
        every row with every other, for few rows. A function: it is called with rows (n, d) and
        (m, d) and returns their affinities (n, m) >= 0, dense or sparse, of which those of a pair
        are averaged; X is an array of this process then. None: "rbf" if `gamma` is given, else
        "knn". For another graph fit on a `BlockGraph`. What `metric`, `weights` and `symmetrize`
        say to another kernel than "knn" is refused.
    n_neighbors, metric, weights, symmetrize
        With kernel "knn"; see `graph.knn_graph`. 15 is where accuracy is flat (10 to 25 differ
        by less than a point on eight data sets with 1 to 50 labels a class), and it leaves
        fewer rows apart than scikit-learn's 7.
    gamma
        With kernel "rbf": weight exp(-gamma d^2); None: 20, as in scikit-learn.
    alpha
        In (0, 1): share of a row's scores that comes from its neighbours. Near 1 labels reach far,
        which is best with few of them (0.99 with 1 to 5 a class); 0.9 is robust with more.
    max_iter
        Most sweeps over the graph.
    tol
        Largest residual when it stops, relative to the largest source.
    on_collapse
        Where most classes, by their shares of the seeds, have got next to no row: "warn"; "switch"
        to balanced spreading, or to Poisson learning if that collapses too, with a warning;
        "error".
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
    reasons_
        str (N,): why, in the words of a job's `reason`: "none", "tie", "low_mass" without evidence
        ("dummy_label" of modified adsorption).
    label_distributions_
        float32 (N, C): rows sum to 1, or to 0 without evidence. A Dask array if X is one; so
        are the three above.
    n_iter_
        Sweeps done.
    method_
        Name and parameters of the method that labelled: another one after a switch.
    graph_
        The `BlockGraph`.
    n_features_in_, feature_names_in_
        As in scikit-learn; not when fitted on a graph, where `predict` raises ValueError.

    Examples
    --------
    >>> X = [[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]]
    >>> model = LabelSpreading(n_neighbors=2).fit(X, [0, -1, -1, 1, -1, -1])
    >>> model.transduction_
    array([0, 0, 0, 1, 1, 1])
    >>> model.predict([[0.3], [8.0]])
    array([0, 1])
    """

    method = label_spreading.METHOD

    def __init__(
        self,
        kernel: Kernel = None,
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float | None = None,
        alpha: float = 0.9,
        max_iter: int = 1000,
        tol: float = 1e-4,
        on_collapse: str = "warn",
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _build_graph(self) -> Any:
        """Return D^-1/2 W D^-1/2 of the fitted rows, under scikit-learn's name for subclasses."""
        graph, whole = self.graph_.to_scipy(self._execution()), self._kernel() == "rbf"
        return scaled_affinities(graph.toarray() if whole else graph, 0.5, 0.5)


class LabelPropagation(GraphClassifier):
    """Label propagation (Zhu and Ghahramani 2002) as a scikit-learn classifier.

    Parameters of the graph, `client` and attributes are those of `LabelSpreading`.

    Parameters
    ----------
    class_mass
        "none", "seeds" or {class: share}: share of the rows that each class is scaled to.
    max_iter, tol
        Most sweeps over the graph; largest error of a probability when it stops, as estimated from
        the residual.
    on_collapse
        As of `LabelSpreading`; "switch" goes to the class mass normalised, then to Poisson
        learning.
    """

    method = label_propagation.METHOD

    def __init__(
        self,
        kernel: Kernel = None,
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float | None = None,
        class_mass: Any = "none",
        max_iter: int = 10_000,
        tol: float = 1e-3,
        on_collapse: str = "warn",
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _build_graph(self) -> Any:
        """Return D^-1 W of the fitted rows (N, N), under scikit-learn's name for subclasses.

        Of a function it is W as that gives it; `fit` averages the two affinities of a pair.
        """
        kernel = self._kernel()
        if callable(kernel):
            return scaled_affinities(kernel(self.X_, self.X_), 1.0, 0.0)
        W = self.graph_.to_scipy(self._execution())
        return scaled_affinities(W.toarray() if kernel == "rbf" else W, 1.0, 0.0)


class BalancedSpreading(GraphClassifier):
    """Balanced spreading as a scikit-learn classifier: label spreading for few labels a class.

    Parameters of the graph, `client` and attributes are those of `LabelSpreading`.

    Parameters
    ----------
    alpha
        In (0, 1): share of a row's scores that comes from its neighbours. 0.99 reaches far, which
        is best with few labels; nearer to 0.9 is better from about 50 a class on.
    max_iter, tol
        Most sweeps over the graph; largest residual when it stops, relative to the largest source.
    """

    method = balanced_spreading.METHOD

    def __init__(
        self,
        kernel: Kernel = None,
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float | None = None,
        alpha: float = 0.99,
        max_iter: int = 1000,
        tol: float = 1e-4,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())


class PoissonLearning(GraphClassifier):
    """Poisson learning (Calder et al. 2020) as a scikit-learn classifier.

    Parameters of the graph, `client` and attributes are those of `LabelSpreading`.

    Parameters
    ----------
    class_shares
        "none", "seeds" or {class: share}: shares of the classes that the answer is moved to.
    max_iter, tol
        Most sweeps over the graph; largest error of a score when it stops, relative to the largest
        source.
    """

    method = poisson.METHOD

    def __init__(
        self,
        kernel: Kernel = None,
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float | None = None,
        class_shares: Any = "none",
        max_iter: int = 10_000,
        tol: float = 1e-3,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())


class PoissonMBO(GraphClassifier):
    """Poisson-MBO (Calder et al. 2020) as a scikit-learn classifier.

    Parameters of the graph, `client` and attributes are those of `LabelSpreading`.

    Parameters
    ----------
    class_shares
        "none", "seeds" or {class: share}: shares of the classes that the answer is held to.
    n_rounds
        Rounds of diffusion and decision.
    max_iter, tol
        Of the Poisson learning that it begins with.
    """

    method = poisson_mbo.METHOD

    def __init__(
        self,
        kernel: Kernel = None,
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float | None = None,
        class_shares: Any = "none",
        n_rounds: int = 20,
        max_iter: int = 10_000,
        tol: float = 1e-3,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())


class ModifiedAdsorption(GraphClassifier):
    """Modified adsorption (Talukdar and Crammer 2009) as a scikit-learn classifier.

    Parameters of the graph, `client` and attributes are those of `LabelSpreading`. A row on which
    the dummy label outweighs every class abstains.

    Parameters
    ----------
    mu1, mu2, mu3
        Weights of the seeds' labels, of the agreement of neighbours, and of the dummy label. The
        larger mu3, the nearer to a seed must a row be to get a label; None: all rows together have
        a twentieth of the seeds' weight, mu1 S / (20 N).
    beta
        How far labels go on through rows with many neighbours, above 1.
    max_iter, tol
        Most sweeps over the graph; largest error of a score when it stops, relative to the largest
        source.
    """

    method = modified_adsorption.METHOD

    def __init__(
        self,
        kernel: Kernel = None,
        *,
        n_neighbors: int = 15,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        gamma: float | None = None,
        mu1: float = 1.0,
        mu2: float = 1.0,
        mu3: float | None = None,
        beta: float = 2.0,
        max_iter: int = 10_000,
        tol: float = 1e-4,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())


class GraphEnsemble(GraphClassifier):
    """The graph ensemble as a scikit-learn classifier; see `methods.graph_ensemble`.

    Parameters
    ----------
    n_neighbors, metric, client
        As of `LabelSpreading`.
    classifier
        "logistic_regression": a member beside the graph's, from 3 seeds a class on. "none".

    Notes
    -----
    Attributes as `LabelSpreading`; `details_` has the weights of the members. Fitted on a
    `BlockGraph` there are no features, hence no classifier; a graph with
    `alternatives["steep_gaussian"]` is used with both weights.
    """

    method = graph_ensemble.METHOD
    graph_parameters: ClassVar[Mapping[str, tuple[str, ...]]] = {"knn": ("n_neighbors", "metric")}
    edge_weights = graph_ensemble.ENSEMBLE_WEIGHTS

    kernel = "knn"
    weights = "gaussian"
    symmetrize = "average"
    tol = MEMBER_TOL

    def __init__(
        self,
        n_neighbors: int = 15,
        *,
        metric: str = "euclidean",
        classifier: str = "logistic_regression",
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _keep_answers(self, found: Propagated, X: Any, execution: Execution) -> None:
        super()._keep_answers(found, X, execution)
        self.details_ = found.details
