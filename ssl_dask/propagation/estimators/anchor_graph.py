"""The anchor graph as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any, Self, cast

from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from ssl_dask.class_labels import encode_seeds
from ssl_dask.execution import AnyClient
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.propagation.methods.anchor_graph import AnchorGraphSpec, fit_anchors, score_rows
from ssl_dask.sklearn_skin import ClassifierSkin


class AnchorGraph(ClassifierSkin):
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
        Array (N,): class label of each row; -1 or None where it abstained. A Dask array if X is
        one; so are the two below.
    abstained_, reasons_
        bool (N,), and str (N,): "none", "tie", or "low_mass" without evidence.
    n_features_in_
        Number of features d.

    Examples
    --------
    >>> X = [[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]]
    >>> model = AnchorGraph(2, n_nearest=1).fit(X, [0, -1, -1, 1, -1, -1])
    >>> model.transduction_
    array([0, 0, 0, 1, 1, 1])
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
        self._store(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from rows `X` (N, d) and the labels in `y`, -1 or None for unlabelled rows.

        Parameters
        ----------
        X
            NumPy array or Dask array chunked by rows, dense.
        y
            (N,), array or Dask array.
        sample_weight
            (N,), array or Dask array: weight >= 0 of each labelled row; None: 1 each.

        Raises
        ------
        ValueError
            A parameter, `X`, `y` or `sample_weight` is not usable.
        GraphError
            X is sparse.
        """
        self._require_y(y)
        execution = self._execution()
        spec = cast(AnchorGraphSpec, self._checked_spec(AnchorGraphSpec))
        X = self._near_zero(self._checked_rows(X, reset=True), reset=True)
        labels, weights = encode_seeds(y, X.shape[0], sample_weight, execution)
        sources = SeedSources.from_folds(labels, (), weights)
        self.model_, _ = fit_anchors(X, sources, spec, execution)
        self._keep_classes(labels)
        self._keep_labels(score_rows(self.model_, X))
        return self

    def predict_proba(self, X: Any) -> Any:
        """Return the class distribution of rows (m, d), float32 (m, C); 0 without evidence."""
        check_is_fitted(self)
        rows = self._near_zero(self._checked_rows(X, reset=False), reset=False)
        return score_rows(self.model_, rows)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags
