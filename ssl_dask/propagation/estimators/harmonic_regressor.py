"""Harmonic regression in scikit-learn's form; see `harmonic_regression`."""

from __future__ import annotations

import warnings
from typing import Any, Self

import dask.array as da
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_dask.dask_arrays import as_dask_array
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.knn_search import knn_search
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.kernels.graph.edge_weights import edge_weights
from ssl_dask.propagation.engine.partitions import WHAT
from ssl_dask.propagation.engine.propagate import until_found
from ssl_dask.propagation.methods.harmonic_regression import HarmonicValues, harmonic_regression

Values = npt.NDArray[np.float64]


class LabelPropagationRegressor(RegressorMixin, BaseEstimator):
    """Label propagation of numbers (Zhu et al. 2003) as a scikit-learn regressor.

    Parameters
    ----------
    n_neighbors, metric, weights, symmetrize
        See `graph.knn_graph`.
    max_iter
        Most sweeps over the graph.
    tol
        Largest error when it stops, relative to the largest distance of a target from the mean.
    client
        Of the cluster that computes; "local": this process. None: the open client, if any, as Dask
        itself does. The answer is the same.

    Attributes
    ----------
    transduction_
        float64 (N,): value of each row; NaN where no path of edges leads to a labelled row.
    n_iter_
        Sweeps done.
    graph_
        The `BlockGraph`.
    n_features_in_, feature_names_in_
        As in scikit-learn; not when fitted on a graph.
    """

    def __init__(
        self,
        n_neighbors: int = 15,
        *,
        metric: str = "euclidean",
        weights: str = "gaussian",
        symmetrize: str = "average",
        max_iter: int = 10_000,
        tol: float = 1e-3,
        client: AnyClient = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.symmetrize = symmetrize
        self.max_iter = max_iter
        self.tol = tol
        self.client = client

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Give a value to all rows of `X` from those that have one in `y`.

        Parameters
        ----------
        X
            (N, d): NumPy array, data frame, SciPy sparse matrix, or Dask array chunked by rows; or
            a `BlockGraph` of N rows.
        y
            (N,): numbers; NaN for unlabelled rows.
        sample_weight
            (N,): weight >= 0 of each labelled row; 0: it is not labelled. See
            `harmonic_regression`.

        Raises
        ------
        ValueError
            A parameter, `X`, `y` or `sample_weight` is not usable; no row is labelled.

        Warns
        -----
        ConvergenceWarning
            `max_iter` sweeps were not enough.

        Notes
        -----
        Brings 8 N bytes to this process.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is"
                " None."
            )
        execution = Execution.of(self.client)
        self.__dict__.pop("X_", None)
        X = as_dask_array(X)
        if isinstance(X, BlockGraph):
            graph = X
        else:
            if not isinstance(X, da.Array):
                X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32])
            else:
                self.n_features_in_ = int(X.shape[1])
            self.X_: Any = X
        n_rows = graph.n_rows if isinstance(X, BlockGraph) else X.shape[0]
        targets, weights = _checked_targets(y, sample_weight, n_rows)
        if not isinstance(X, BlockGraph):
            graph = knn_graph(
                X,
                self.n_neighbors,
                metric=self.metric,
                weights=self.weights,
                symmetrize=self.symmetrize,
                execution=execution,
            )
        rows = np.flatnonzero(weights > 0.0)

        def find() -> tuple[HarmonicValues, Values]:
            found = harmonic_regression(
                graph,
                rows,
                targets[rows],
                max_iter=self.max_iter,
                tol=self.tol,
                sample_weight=weights[rows],
                execution=execution,
            )
            blocks = list(found.values.to_delayed(optimize_graph=False).ravel())
            return found, np.concatenate(execution.compute(blocks, WHAT))

        found, self.transduction_ = until_found(find)
        if not found.converged:
            warnings.warn(
                f"{type(self).__name__} did not converge: after {found.n_iter} iterations the error"
                f" is {found.residual:.2g}, tol is {self.tol:g}; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.graph_, self.n_iter_ = graph, found.n_iter
        return self

    def predict(self, X: Any) -> Values:
        """Return the mean value of the nearest training rows, weighed as edges are, float64 (m,).

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes, but no Dask array.

        Raises
        ------
        ValueError
            The model was fitted on a graph, so nothing is known about features.
        """
        check_is_fitted(self)
        if not hasattr(self, "X_"):
            raise ValueError("fitted on a graph, which says nothing about new rows")
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=[np.float64, np.float32])
        distances, indices = knn_search(
            X, self.X_, self.n_neighbors, metric=self.metric, execution=Execution.of(self.client)
        )
        squares = distances**2 if self.metric == "euclidean" else distances
        w = edge_weights(squares, indices, self.weights).astype(np.float64)
        values = self.transduction_[indices]
        w[(indices < 0) | np.isnan(values)] = 0.0
        total, mean = np.zeros(len(w)), np.zeros(len(w))
        for column in range(w.shape[1]):
            total += w[:, column]
            mean += w[:, column] * np.where(w[:, column] > 0.0, values[:, column], 0.0)
        return np.divide(mean, total, where=total > 0.0, out=np.full(len(w), np.nan))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _checked_targets(y: Any, sample_weight: Any, n_rows: int) -> tuple[Values, Values]:
    """Return targets and weights, float64 (N,) each; weight 0 where there is no target."""
    targets = column_or_1d(np.asarray(y, dtype=np.float64), warn=True)
    weights = np.ones(len(targets))
    if sample_weight is not None:
        weights = column_or_1d(np.asarray(sample_weight, dtype=np.float64)).copy()
    for name, values in (("y", targets), ("sample_weight", weights)):
        if len(values) != n_rows:
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: X has"
                f" {n_rows}, {name} has {len(values)}"
            )
    if np.isinf(targets).any():
        raise ValueError("Input y contains infinity; NaN is for unlabelled rows")
    weights[np.isnan(targets)] = 0.0
    if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
        raise ValueError("sample_weight of a labelled row must be a finite number of at least 0")
    if not weights.any():
        raise ValueError("no row is labelled: y is NaN, or sample_weight zero, for all")
    return targets, weights
