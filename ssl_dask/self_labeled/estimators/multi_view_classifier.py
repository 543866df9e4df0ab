"""Multi-view training as a scikit-learn classifier: sets of columns are its views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from ssl_dask.array_types import Bool, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.labels import Labels
from ssl_dask.self_labeled.estimators.round_classifier import (
    RoundClassifier,
    column_numbers,
    held_rows,
    learner_for,
)
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.methods.multi_view import METHOD, MultiView

WHOLE = "X"
"""Name of the view of all columns."""


class MultiViewClassifier(RoundClassifier):
    """Multi-view training as a scikit-learn classifier: one classifier a view, joined by weights.

    Parameters
    ----------
    views
        By name: the columns of X of each view, as a list of numbers or a slice. A row whose columns
        of a view are all NaN lacks it; a row with some of them is refused. None: all columns are
        one view, which every row has.
    estimator
        A scikit-learn classifier with `predict_proba`, or a name of `learners.LEARNERS`, for every
        view; None: logistic regression. By name of a view for one of its own, in `estimators`.
    estimators
        Views that have a classifier of their own, by name.

    Attributes
    ----------
    view_weights_
        By name: weight of each view in the models that answer. The distributions of a row that
        lacks all views are 0.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> MultiViewClassifier({"height": [0], "width": [1]}, n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = METHOD
    views: Mapping[str, Any] | None
    estimator: Any
    estimators: Mapping[str, Any] | None

    def __init__(
        self,
        views: Mapping[str, Any] | None = None,
        estimator: Any = None,
        *,
        estimators: Mapping[str, Any] | None = None,
        fusion: str = "learned",
        share: float = 0.9,
        mass: float = 4.0,
        max_iter: int = 5,
        patience: int | None = 3,
        max_fit_rows: int | None = None,
        n_folds: int = 5,
        random_state: int = 0,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _spec(self) -> Any:
        if self.views is not None and not self.views:
            raise ValueError("views is empty: name the columns of one view at least")
        own = {name: learner_for(one) for name, one in (self.estimators or {}).items()}
        unknown = sorted(set(own) - set(self.views or (WHOLE,)))
        if unknown:
            raise ValueError(f"estimators names {unknown}, which are none of the views")
        usual = learner_for(self.estimator)
        return super()._spec().with_learners(learner=usual, learners=own)

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        if isinstance(X, da.Array) or self.views is None:
            return super()._checked_rows(X, reset=reset)
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )

    def _views(
        self, rows: Any, execution: Execution
    ) -> tuple[dict[str, da.Array], dict[str, da.Array]]:
        held = held_rows(rows, execution)
        if self.views is None:
            return {WHOLE: held}, {}
        blocks = row_handles(held)
        views, present = {}, {}
        for name, columns in self.views.items():
            at = column_numbers(f"views[{name!r}]", columns, held.shape[1])
            parts = execution.persist(block_tasks(_view_of, [blocks], name, at), "features")
            has = execution.persist(block_tasks(_has_view, [blocks], at), "features")
            sizes = held.chunks[0]
            empty = held._meta[:, : len(at)]
            views[name] = array_of_blocks(parts, sizes, (len(at),), held.dtype, empty)
            present[name] = array_of_blocks(has, sizes, (), np.bool_)
        return views, present

    def _keep(self, found: SelfLabeled, labels: Labels, X: Any, execution: Execution) -> None:
        super()._keep(found, labels, X, execution)
        assert isinstance(self.method_, MultiView)
        weights = self.method_.view_weights(self.models_)
        self.view_weights_ = dict(zip(self.method_.names, weights.tolist(), strict=True))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.views is not None
        return tags


def _has_view(block: Any, columns: Int64) -> Bool:
    if sp.issparse(block):
        absent = block[:, columns].copy()
        absent.data = np.isnan(absent.data).astype(np.float64)
        return np.asarray(absent.sum(axis=1)).ravel() < len(columns)
    return ~np.isnan(block[:, columns]).all(axis=1)


def _view_of(block: Any, name: str, columns: Int64) -> Any:
    """Return the columns of a view, zeros where a row lacks it."""
    part = block[:, columns]
    values = part.data if sp.issparse(part) else part
    lacking = ~_has_view(block, columns)
    if sp.issparse(part):
        wrong = np.isnan(values) & ~np.repeat(lacking, np.diff(part.indptr))
    else:
        wrong = np.isnan(values) & ~lacking[:, None]
    if wrong.any():
        raise ValueError(
            f"view {name!r}: {int(wrong.sum())} values are NaN in rows that have others; fill them,"
            " or make all of a row's NaN"
        )
    if sp.issparse(part):
        part = sp.csr_array(part)
        part.data = np.nan_to_num(values)
        part.eliminate_zeros()
        return part
    return np.nan_to_num(part)
