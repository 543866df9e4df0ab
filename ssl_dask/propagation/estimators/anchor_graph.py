"""The anchor graph as a scikit-learn classifier."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import dask.array as da
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_dask.class_labels import decode_labels, encode_targets, weighted_labels
from ssl_dask.dask_arrays import as_dask_array
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.kernels.distributions.label_distributions import summarise_rows
from ssl_dask.labels import UNLABELLED
from ssl_dask.propagation.methods.anchor_graph import anchor_graph, score_rows

Rows = npt.NDArray[np.float32]


class AnchorGraph(ClassifierMixin, BaseEstimator):
    """The anchor graph as a scikit-learn classifier; it labels new rows as it does its own.

    Parameters
    ----------
    n_anchors
        Anchors, centres of k-means.
    n_nearest
        Anchors that each row is joined with.
    gamma
        Weight of smoothness beside the seeds' labels.
    random_state
        Of the choice of the anchors.
    client
        Of the cluster that computes; "local": this process. None: the open client, if any, as Dask
        itself does. The answer is the same.

    Attributes
    ----------
    classes_
        Array (C,) of the distinct class labels, sorted.
    model_
        The `AnchorModel`.
    label_distributions_
        float32 (N, C), a Dask array if X is one.
    transduction_
        Array (N,): class label of each row; -1 or None where it abstained. Not if X is a Dask
        array: `predict` it.
    n_features_in_
        Number of features d.
    """

    def __init__(
        self,
        n_anchors: int = 1000,
        *,
        n_nearest: int = 3,
        gamma: float = 0.01,
        random_state: int = 0,
        client: AnyClient = None,
    ) -> None:
        self.n_anchors = n_anchors
        self.n_nearest = n_nearest
        self.gamma = gamma
        self.random_state = random_state
        self.client = client

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from rows `X` (N, d) and the labels in `y`, -1 or None for unlabelled rows.

        Parameters
        ----------
        X
            NumPy array or Dask array chunked by rows, dense.
        y
            (N,), array or Dask array.
        sample_weight
            (N,): weight >= 0 of each labelled row; None: 1 each.

        Raises
        ------
        ValueError
            A parameter, `X`, `y` or `sample_weight` is not usable.
        GraphError
            X is sparse.
        """
        execution = Execution.of(self.client)
        X = self._checked(X, reset=True)
        labels = encode_targets(y, X.shape[0], execution)
        weights = None
        if sample_weight is not None:
            labels, weights = weighted_labels(labels, sample_weight)
        run = partial(anchor_graph, sample_weight=weights, execution=execution)
        self.model_, _ = run(
            X,
            labels,
            n_anchors=self.n_anchors,
            n_nearest=self.n_nearest,
            gamma=self.gamma,
            random_state=self.random_state,
        )
        self.classes_ = labels.classes
        self.label_distributions_ = score_rows(self.model_, X)
        if not isinstance(X, da.Array):
            self.transduction_ = self._decide(self.label_distributions_)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Return the class distribution of rows (m, d), float32 (m, C); 0 without evidence."""
        check_is_fitted(self)
        return score_rows(self.model_, self._checked(X, reset=False))

    def predict(self, X: Any) -> Any:
        """Return the most likely class of rows (m, d); -1 or None where there is none or a tie."""
        F = self.predict_proba(X)
        return self._decide(F.compute() if isinstance(F, da.Array) else F)

    def _decide(self, F: Rows) -> Any:
        codes, _, tied = summarise_rows(F)
        return decode_labels(np.where(tied, UNLABELLED, codes), self.classes_)

    def _checked(self, X: Any, *, reset: bool) -> Any:
        X = as_dask_array(X)
        if isinstance(X, da.Array):
            if reset:
                self.n_features_in_ = int(X.shape[1])
            return X
        return validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
