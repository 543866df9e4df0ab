"""Harmonic regression as a scikit-learn regressor."""

from __future__ import annotations

import warnings
from typing import Any, Self, cast

import dask.array as da
import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from ssl_dask.array_types import Float64, Int64
from ssl_dask.class_labels import numbers_of
from ssl_dask.dask_arrays import row_handles
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.knn_search import knn_search
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.kernels.arithmetic.linear_scores import ordered_sums
from ssl_dask.kernels.graph.edge_weights import edge_weights
from ssl_dask.labels import NumberLabels
from ssl_dask.method import MethodInputs
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.propagation.methods.harmonic_regression import (
    HarmonicRegressionSpec,
    harmonic_regression,
)
from ssl_dask.run_control import RunControl, retried
from ssl_dask.sklearn_skin import SklearnSkin


class HarmonicRegressor(RegressorMixin, SklearnSkin):
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
    abstained_, reasons_
        bool (N,), and str (N,): "no_path_to_seed" there, else "none".
    n_iter_
        Sweeps done.
    graph_
        The `BlockGraph`.
    n_features_in_, feature_names_in_
        As in scikit-learn; not when fitted on a graph.

    Examples
    --------
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, np.nan, np.nan, 3.0]
    >>> HarmonicRegressor(n_neighbors=2, weights="uniform").fit(X, y).transduction_.round(1)
    array([0. , 1.3, 1.7, 3. ])
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
        self._store(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Give a value to all rows of `X` from those that have one in `y`.

        Parameters
        ----------
        X
            (N, d): NumPy array, data frame, SciPy sparse matrix, or Dask array chunked by rows; or
            a `BlockGraph` of N rows.
        y
            (N,), array or Dask array: numbers; NaN for unlabelled rows.
        sample_weight
            (N,), array or Dask array: weight >= 0 of each labelled row; 0: it is not labelled. See
            `harmonic_regression`.

        Raises
        ------
        ValueError
            A parameter, `X`, `y` or `sample_weight` is not usable; no row is labelled.

        Warns
        -----
        ConvergenceWarning
            `max_iter` sweeps were not enough.
        UserWarning
            No row is left to label.

        Notes
        -----
        Brings 8 N bytes to this process.
        """
        self._require_y(y)
        spec = cast(HarmonicRegressionSpec, self._checked_spec(HarmonicRegressionSpec))
        control = RunControl(execution := self._execution())
        if isinstance(X, BlockGraph):
            self._forget_features()
            n_rows = X.n_rows
        else:
            self.X_ = X = self._checked_rows(X, reset=True)
            n_rows = X.shape[0]
        targets, weights = _checked_targets(y, sample_weight, n_rows, execution)
        graph = X if isinstance(X, BlockGraph) else self._build_graph(X, execution)
        rows = np.flatnonzero(weights > 0.0)
        if len(rows) == n_rows:
            warnings.warn(_nothing_left(targets), UserWarning, stacklevel=2)
        labels = NumberLabels(n_rows, rows, targets[rows]).as_labels()
        inputs = MethodInputs(labels, sample_weight=weights[rows], graph=graph)

        def find() -> tuple[Propagated, Float64]:
            found = harmonic_regression(inputs, spec, control)
            return found, np.concatenate(execution.compute(row_handles(found.F), TASK_LABEL))

        found, self.transduction_ = retried(find, control.losses)
        self.abstained_ = np.isnan(self.transduction_)
        self.reasons_ = np.where(self.abstained_, "no_path_to_seed", "none")
        if not found.converged:
            error = found.records[-1].residual if found.records else 0.0
            limit = found.n_iter if found.reason == "max_iter" else None
            self._warn_not_converged(error, self.tol, limit)
        self.graph_, self.n_iter_ = graph, found.n_iter
        return self

    def _build_graph(self, X: Any, execution: Execution) -> BlockGraph:
        return knn_graph(
            X,
            self.n_neighbors,
            metric=self.metric,
            weights=self.weights,
            symmetrize=self.symmetrize,
            execution=execution,
        )

    def predict(self, X: Any) -> Any:
        """Return the mean value of the nearest training rows, weighed as edges are.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.

        Returns
        -------
        float64 (m,), NaN where no training row nearby has a value; a Dask array if `X` is one.

        Raises
        ------
        ValueError
            The model was fitted on a graph, so nothing is known about features.
        """
        check_is_fitted(self)
        if not hasattr(self, "X_"):
            raise ValueError("fitted on a graph, which says nothing about new rows")
        X = self._checked_rows(X, reset=False)
        distances, indices = knn_search(
            X, self.X_, self.n_neighbors, metric=self.metric, execution=self._execution()
        )
        how = {"values": self.transduction_, "metric": self.metric, "weights": self.weights}
        if not isinstance(distances, da.Array):
            return _mean_values(distances, indices, **how)
        return da.map_blocks(
            _mean_values, distances, indices, **how, drop_axis=1, dtype=np.float64, meta=np.empty(0)
        )


def _mean_values(
    distances: Float64, indices: Int64, *, values: Float64, metric: str, weights: str
) -> Float64:
    squares = distances**2 if metric == "euclidean" else distances
    w = edge_weights(squares, indices, weights).astype(np.float64)
    nearby = values[indices]
    w[(indices < 0) | np.isnan(nearby)] = 0.0
    total, mean = ordered_sums(w), ordered_sums(w * np.where(w > 0.0, nearby, 0.0))
    return np.divide(mean, total, where=total > 0.0, out=np.full(len(w), np.nan))


def _nothing_left(targets: Float64) -> str:
    text = "every row has a number in y: nothing is left to label, for which NaN stands"
    return f"{text}; -1 is a number here" if (targets == -1.0).any() else text


def _checked_targets(
    y: Any, sample_weight: Any, n_rows: int, execution: Execution
) -> tuple[Float64, Float64]:
    """Return targets and weights, float64 (N,) each; weight 0 where there is no target."""
    targets = column_or_1d(numbers_of(y, execution), warn=True)
    weights = np.ones(len(targets))
    if sample_weight is not None:
        weights = column_or_1d(numbers_of(sample_weight, execution)).copy()
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


LabelPropagationRegressor = HarmonicRegressor
"""The name before version 0.2."""
