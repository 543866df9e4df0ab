"""The scikit-learn skin that all methods of self-labelling share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask import delayed
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_dask.array_types import Float32, Int32
from ssl_dask.class_labels import decode_labels, decoded_dtype, encode_targets, weighted_labels
from ssl_dask.dask_arrays import as_dask_array
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.distributions.label_distributions import summarise_rows
from ssl_dask.labels import Labels
from ssl_dask.method import Method, MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.track import score_rows
from ssl_dask.spec_model import SpecModel

BLOCK_ROWS = 65_536
"""Rows of the blocks that an array of this process is cut into."""


class RoundClassifier(ClassifierMixin, BaseEstimator):
    """Labels rows in rounds, by classifiers that learn from their own answers.

    A subclass names its parameters in `__init__`; those that its method has as well are the
    method's.
    """

    method: ClassVar[Method]

    client: AnyClient
    n_folds: int

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Label all rows of `X` from those that are labelled in `y`.

        Parameters
        ----------
        X
            (N, d): NumPy array, data frame, SciPy sparse matrix, or Dask array chunked by rows
            (dense or CSR chunks).
        y
            (N,), array or Dask array: class labels; -1 for unlabelled rows, or None in an array of
            objects (strings).
        sample_weight
            (N,): weight >= 0 of each row as a seed; None: 1 each. A row of weight 0 is no seed,
            but still a row that may be labelled.

        Raises
        ------
        ValueError
            A parameter, `X`, `y` or `sample_weight` is not usable; no row is labelled.
        QualityError
            The classifier cannot be fitted on the labels there are.

        Warns
        -----
        UserWarning
            What a person should know of the rounds, such as views that err together.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is"
                " None."
            )
        X = as_dask_array(X)
        spec = self._checked_spec()
        rows = self._checked_rows(X, reset=True)
        execution = Execution.of(self.client)
        labels = encode_targets(y, rows.shape[0], execution)
        weights = None
        if sample_weight is not None:
            labels, weights = weighted_labels(labels, sample_weight)
        views, present = self._views(rows, execution)
        folds = hide_seeds(labels, int(self.n_folds), int(getattr(self, "random_state", 0)))
        inputs = MethodInputs(
            labels,
            hidden=[folds.hidden(fold) for fold in range(folds.n_folds)],
            sample_weight=weights,
            views=views,
            present=present,
        )
        found = self.method.run(inputs, spec, RunControl(execution))
        self._keep(found, labels, X, execution)
        for note in found.findings:
            warnings.warn(note, UserWarning, stacklevel=2)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Return the class distribution of rows by the models of the kept round.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.

        Returns
        -------
        float32 (m, C), columns as `classes_`. A Dask array if `X` is one.
        """
        check_is_fitted(self)
        X = as_dask_array(X)
        rows = self._checked_rows(X, reset=False)
        execution = Execution.of(self.client)
        views, present = self._views(rows, execution)
        answering = delayed((self.method_, list(self.models_)), pure=False, traverse=False)
        F = score_rows(answering, views, present, len(self.classes_))
        if isinstance(X, da.Array):
            return F
        return np.concatenate(
            execution.compute(list(F.to_delayed(optimize_graph=False).ravel()), "scores")
        )

    def predict(self, X: Any) -> Any:
        """Return the most likely class of rows (m, d), the first of equals.

        A Dask array (m,) if `X` is one. -1 or None where nothing is known of a row.
        """
        F = self.predict_proba(X)
        if not isinstance(F, da.Array):
            return decode_labels(_likeliest(F), self.classes_)
        dtype = decoded_dtype(self.classes_, abstained=False)
        codes = F.map_blocks(_likeliest, drop_axis=1, dtype=np.int32)
        return codes.map_blocks(decode_labels, self.classes_, dtype, dtype=dtype)

    def _checked_spec(self) -> Any:
        """Return the method's parameters; a subclass adds learners that are no plain values."""
        folds = _plain(self.n_folds)
        if not isinstance(folds, int) or folds < 0 or folds == 1:
            raise ValueError(
                f"n_folds={self.n_folds!r}: 0 hides no seeds, else at least 2 folds are needed"
            )
        names = set(self.method.spec.model_fields).intersection(self._get_param_names())
        values = {name: _plain(getattr(self, name)) for name in sorted(names)}
        return _checked(self.method.spec, values)

    def _views(self, rows: Any, execution: Execution) -> tuple[dict[str, da.Array], dict]:
        """Return the views by name, in blocks that are held where tasks run; and what is lacking.

        A subclass with several views cuts the columns.
        """
        return {"X": held_rows(rows, execution)}, {}

    def _keep(self, found: SelfLabeled, labels: Labels, X: Any, execution: Execution) -> None:
        self.classes_ = labels.classes
        self.method_ = found.method
        self.models_ = execution.compute(found.models, "models")
        self.n_iter_ = found.n_iter
        self.rounds_ = found.records
        self.kept_round_ = found.kept_round
        self.termination_condition_ = found.reason
        codes, since = found.transduction()
        labelled_dtype = decoded_dtype(labels.classes, abstained=True)
        transduction = codes.map_blocks(
            decode_labels, labels.classes, labelled_dtype, dtype=labelled_dtype
        )
        if isinstance(X, da.Array):
            self.transduction_, self.labeled_iter_ = transduction, since
            self.label_distributions_ = found.F
            return
        blocks = [
            list(one.to_delayed(optimize_graph=False).ravel())
            for one in (transduction, since, found.F)
        ]
        flat = execution.compute([task for group in blocks for task in group], "labels")
        n = len(blocks[0])
        self.transduction_, self.labeled_iter_, self.label_distributions_ = (
            np.concatenate(flat[i * n : (i + 1) * n]) for i in range(3)
        )

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        if not isinstance(X, da.Array):
            sparse = "csr" if self.__sklearn_tags__().input_tags.sparse else False
            return validate_data(
                self, X, reset=reset, accept_sparse=sparse, dtype=[np.float64, np.float32]
            )
        if X.ndim != 2:
            raise ValueError(f"Expected 2D array, got an array of shape {X.shape} instead")
        if any(n != n for n in X.chunks[0]):
            raise ValueError(
                "the lengths of X's chunks are not known: call X.compute_chunk_sizes()"
            )
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self, name):
                    delattr(self, name)
            self.n_features_in_ = int(X.shape[1])
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting"
                f" {self.n_features_in_} features as input"
            )
        return X

    def __sklearn_clone__(self) -> Self:
        # A client is a connection: copies share it.
        params = self.get_params(deep=False)
        client = params.pop("client")
        copies = {name: clone(value, safe=False) for name, value in params.items()}
        return type(self)(**copies, client=client)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def learner_for(estimator: Any, *, in_pieces: bool = False) -> Learner:
    """Return what makes the models of an estimator's `estimator` parameter.

    Parameters
    ----------
    estimator
        A scikit-learn classifier with `predict_proba`; the name of one in `LEARNERS`; a mapping of
        `LearnerSpec`, such as {"name": "sgd", "partial_fit": True}; None: logistic regression.
    in_pieces
        Whether the method can fit it piece by piece.

    Raises
    ------
    ValueError
        It is none of these.
    JobSpecError
        It is a mapping that the method cannot use.
    """
    if estimator is None or isinstance(estimator, str):
        estimator = {"name": estimator or "logistic_regression"}
    if isinstance(estimator, Mapping):
        try:
            return learner_of(LearnerSpec.model_validate(estimator), in_pieces=in_pieces)
        except ValidationError as error:
            raise ValueError(f"estimator={estimator!r}: {error.errors()[0]['msg']}") from None
    learner = Learner.of_estimator(estimator)
    learner.check()
    return learner


def held_rows(X: Any, execution: Execution) -> da.Array:
    """Return rows as a Dask array whose blocks are held where tasks run.

    Parameters
    ----------
    X
        (N, d): NumPy array or CSR of this process, or a Dask array of such blocks; it is computed,
        and its columns are put into one block.
    """
    if isinstance(X, da.Array):
        whole = X.rechunk({1: -1})
        blocks = execution.persist(list(whole.to_delayed().ravel()), "features")
        chunks, meta = whole.chunks[0], X._meta
    else:
        starts = range(0, max(X.shape[0], 1), BLOCK_ROWS)
        parts = [X[start : start + BLOCK_ROWS] for start in starts]
        if sp.issparse(X):
            parts = [sp.csr_array(part) for part in parts]
        blocks, chunks, meta = execution.place(parts), [p.shape[0] for p in parts], parts[0][:0]
    return da.concatenate(
        [
            da.from_delayed(block, (n, X.shape[1]), dtype=X.dtype, meta=meta)
            for block, n in zip(blocks, chunks, strict=True)
        ]
    )


def _likeliest(F: Float32) -> Int32:
    """Return the code of the most likely class of each row, -1 for rows of zeros."""
    return summarise_rows(F).codes


def _plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _checked(model: type[SpecModel], values: dict[str, Any]) -> SpecModel:
    """Return the parameters as a spec; a ValueError names each that is wrong."""
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc']))}={item['input']!r}: {item['msg']}"
            for item in error.errors()
        ]
        raise ValueError("; ".join(wrong)) from None
