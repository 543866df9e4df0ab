"""Self-training as a scikit-learn classifier."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

import dask.array as da
import numpy as np
import numpy.typing as npt
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ssl_dask.dask_arrays import as_dask_array
from ssl_dask.errors import JobSpecError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.labels import UNLABELLED, Labels
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import OnRound
from ssl_dask.self_labeled.estimators.round_classifier import RoundClassifier, learner_for
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.methods.self_training import METHOD
from ssl_dask.sklearn_skin import column_offsets

AS_SCIKIT_LEARN: Mapping[str, Any] = {
    "rescore": False,
    "weight": 1.0,
    "mass": None,
    "class_shares": "none",
    "calibrate": False,
    "patience": None,
}
"""Parameters with which the rounds are those of scikit-learn's SelfTrainingClassifier."""


def _decides(classifier: SelfTrainingClassifier) -> bool:
    """Return True if the estimator that was given has a decision function, or say that it lacks."""
    return callable(classifier.estimator.decision_function)


class SelfTrainingClassifier(RoundClassifier):
    """Self-training as a scikit-learn classifier, over rows that need not fit one machine.

    With `cautious=False` it labels the same rows in the same rounds as scikit-learn's class of the
    same name, and leaves the same model; of equal confidences the smaller row number comes first.

    Parameters
    ----------
    estimator
        A scikit-learn classifier with `predict_proba`, a name of `LEARNERS`, or a mapping of
        `LearnerSpec`, such as {"name": "sgd", "partial_fit": True}; None: logistic regression over
        features that are centred and scaled by one number.
    verbose
        Whether a line is printed after each round.
    cautious
        False: a label that was once given stays, all labels weigh 1, and the last round answers, as
        in scikit-learn; what says otherwise (`rescore`, `weight`, `mass`, `class_shares`,
        `calibrate`, `patience`, `n_folds`) is left at its default then.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, 0.7], [1.0, 0.0], [0.9, 0.2], [0.7, 0.1]])
    >>> y = np.array([0, 0, -1, 1, 1, -1])
    >>> SelfTrainingClassifier(n_folds=0).fit(X, y).predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    method = METHOD
    estimator: Any

    def __init__(
        self,
        estimator: Any = None,
        threshold: float = 0.75,
        criterion: str = "threshold",
        k_best: int = 10,
        max_iter: int | None = 10,
        verbose: bool = False,
        *,
        cautious: bool = True,
        rescore: bool = True,
        weight: float = 1.0,
        mass: float | None = 4.0,
        class_shares: Any = "baseline",
        calibrate: bool = False,
        patience: int | None = 3,
        max_fit_rows: int | None = None,
        n_folds: int = 5,
        random_state: int = 0,
        client: AnyClient = None,
    ) -> None:
        self._store(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: D102
        kind = getattr(y, "dtype", None)
        if isinstance(kind, np.dtype) and kind.kind in "US":
            raise ValueError(
                f"y has dtype {kind}, which has no value for unlabelled rows: give an array of"
                " dtype object, with None (or -1) for them"
            )
        return super().fit(X, y, sample_weight)

    fit.__doc__ = RoundClassifier.fit.__doc__

    def _spec(self) -> Any:
        learner = learner_for(self.estimator, in_pieces=True)
        spec = super()._spec().with_learners(learner=learner)
        if self.cautious:
            return spec
        defaults = type(self)().get_params(deep=False)
        for name in (*AS_SCIKIT_LEARN, "n_folds"):
            if getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not used with cautious=False: leave it at"
                    " its default, or leave cautious out"
                )
        return spec.model_copy(update=AS_SCIKIT_LEARN)

    def _learned_rows(self, X: Any, *, reset: bool) -> Any:
        if self.cautious:
            return super()._learned_rows(X, reset=reset)
        rows = self._checked_rows(X, reset=reset)
        if reset and (offsets := column_offsets(rows, self._execution())) is not None:
            far = ", ".join(map(str, np.flatnonzero(offsets)[:10]))
            text = (
                f"columns {far} of X are far from zero against how they vary, and cautious=False"
                " leaves them so, as scikit-learn does: most learners tell such rows badly apart."
                " Subtract the smallest value of each column"
            )
            warnings.warn(text, UserWarning, stacklevel=4)
        return rows

    def _most_folds(self) -> int:
        return super()._most_folds() if self.cautious else 0

    def _told_before(self, labels: Labels) -> None:
        n_free = labels.n_rows - labels.n_seeds
        if n_free == 0:
            warnings.warn("y contains no unlabeled samples", UserWarning, stacklevel=3)
        if self.criterion == "k_best" and self.k_best > n_free:
            text = (
                f"k_best is larger than the amount of unlabeled samples, {n_free:,}: the first"
                " round labels them all"
            )
            warnings.warn(text, UserWarning, stacklevel=3)

    def _on_round(self) -> OnRound | None:
        return print_round if self.verbose else None

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of `predict_proba`, float32 (m, C)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @available_if(_decides)
    def decision_function(self, X: Any) -> Any:
        """Return what the `decision_function` of the kept round's model says of rows.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.

        Returns
        -------
        (m,) for two classes, else (m, C). A Dask array if `X` is one.

        Raises
        ------
        ValueError
            All labels were of one class, of which no model was made.
        """
        check_is_fitted(self)
        rows = self._learned_rows(as_dask_array(X), reset=False)
        model = self.models_[0].model
        if model is None:
            raise ValueError("all labels are of one class: there is no decision between classes")
        if not isinstance(rows, da.Array):
            return model.decision_function(rows)
        whole, n_classes = rows.rechunk({1: -1}), len(model.classes_)
        if n_classes == 2:
            more: dict[str, Any] = {"drop_axis": 1, "meta": np.empty(0)}
        else:
            chunks = (rows.chunks[0], (n_classes,))
            more = {"chunks": chunks, "meta": np.empty((0, n_classes))}
        return whole.map_blocks(model.decision_function, **more)

    def _keep(self, found: SelfLabeled, labels: Labels, X: Any, execution: Execution) -> None:
        super()._keep(found, labels, X, execution)
        if self.cautious or self.transduction_.dtype != object:
            return
        if isinstance(self.transduction_, da.Array):
            self.transduction_ = self.transduction_.map_blocks(minus_one_for_none, dtype=object)
        else:
            self.transduction_ = minus_one_for_none(self.transduction_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        with suppress(AttributeError, ValueError, JobSpecError):
            tags.input_tags.sparse = learner_for(self.estimator, in_pieces=True).takes_sparse
        return tags


def minus_one_for_none(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return objects (n,) with -1 where they are None, as scikit-learn writes unlabelled rows."""
    missing = np.fromiter((label is None for label in labels), np.bool_, len(labels))
    return np.where(missing, UNLABELLED, labels)


def print_round(record: RoundRecord) -> None:
    """Print how many rows got a label in a round."""
    if record.labels_changed:
        added = sum(record.labeled or ())
        print(f"End of iteration {record.iteration}, added {added} new labels.")
