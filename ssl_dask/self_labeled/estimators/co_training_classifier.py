"""Co-training as a scikit-learn classifier: two sets of columns are its views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da

from ssl_dask.array_types import Int64
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.self_labeled.estimators.round_classifier import (
    RoundClassifier,
    column_numbers,
    learner_for,
)
from ssl_dask.self_labeled.methods.co_training import METHOD
from ssl_dask.self_labeled.rows.view_pair import N_VIEWS


class CoTrainingClassifier(RoundClassifier):
    """Co-training (Blum & Mitchell 1998) as a scikit-learn classifier.

    Parameters
    ----------
    estimator
        A scikit-learn classifier with `predict_proba` for the first view, a name of `LEARNERS`, or
        a mapping of `LearnerSpec`; None: logistic regression.
    second_estimator
        That of the second view; None: as the first.
    view_columns
        Numbers of the columns of each of the two views; None: the columns are split at random.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> CoTrainingClassifier(view_columns=[[0], [1]], n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = METHOD
    estimator: Any
    second_estimator: Any
    view_columns: Sequence[Sequence[int]] | None

    def __init__(
        self,
        estimator: Any = None,
        second_estimator: Any = None,
        *,
        view_columns: Sequence[Sequence[int]] | None = None,
        k_best: int | None = None,
        threshold: float = 0.5,
        rescore: bool = True,
        max_iter: int = 10,
        patience: int | None = 10,
        max_fit_rows: int | None = None,
        n_folds: int = 5,
        random_state: int = 0,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def _spec(self) -> Any:
        learner = learner_for(self.estimator, in_pieces=True)
        second = self.second_estimator
        if self.view_columns is not None and len(self.view_columns) != N_VIEWS:
            raise ValueError(f"view_columns has {len(self.view_columns)} views: it must have two")
        other = learner if second is None else learner_for(second, in_pieces=True)
        return super()._spec().with_learners(learner=learner, second_learner=other)

    def _views(self, rows: Any, execution: Execution) -> tuple[dict[str, da.Array], dict]:
        views, present = super()._views(rows, execution)
        if self.view_columns is None:
            if rows.shape[1] < N_VIEWS:
                raise ValueError(
                    f"n_features = {rows.shape[1]}: two views need 2 features at least"
                )
            return views, present
        (X,) = views.values()
        chosen = [
            column_numbers(f"view_columns[{number}]", one, X.shape[1])
            for number, one in enumerate(self.view_columns)
        ]
        cut = {
            name: X.map_blocks(
                _columns_of, columns, dtype=X.dtype, chunks=(X.chunks[0], len(columns))
            )
            for name, columns in zip(("first", "second"), chosen, strict=True)
        }
        return cut, present


def _columns_of(block: Any, columns: Int64) -> Any:
    return block[:, columns]
