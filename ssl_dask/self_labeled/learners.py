"""The classifiers that rounds may fit: which, with which parameters, and how rows are scored.

A learner is named in the registry below, or by the dotted path of its class where the user has said
that its module is trusted: a path is code that runs.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pydantic import Field, model_validator
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from ssl_dask.errors import JobSpecError, QualityError
from ssl_dask.kernels.aligned_batches import score_batches
from ssl_dask.kernels.label_distributions import normalise_rows
from ssl_dask.kernels.linear_scores import dense_scores, softmax_rows, sparse_scores
from ssl_dask.kernels.one_thread import one_thread
from ssl_dask.kernels.row_keys import mixed_seed
from ssl_dask.kernels.supervised_model import SupervisedModel
from ssl_dask.self_labeled.round_method import Piece
from ssl_dask.spec_model import SpecModel

Floats = npt.NDArray[np.floating]
Scoring = Literal["rows", "linear", "batches"]

CALIBRATION_FOLDS = 5


@dataclass(frozen=True)
class KnownLearner:
    """A classifier of the registry.

    Parameters
    ----------
    path
        Module and class.
    defaults
        Parameters that differ from those of the class.
    scoring
        "rows": a row's bits depend on it alone; "linear": scored by `kernels/linear_scores`;
        "batches": scored in batches of a fixed size.
    sparse
        Whether it takes CSR rows.
    hidden
        Parameters of the class that are not the user's.
    """

    path: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    scoring: Scoring = "batches"
    sparse: bool = True
    hidden: tuple[str, ...] = ("n_jobs", "verbose", "random_state", "warm_start")


LEARNERS: Mapping[str, KnownLearner] = {
    "logistic_regression": KnownLearner(
        "ssl_dask.kernels.supervised_model.SupervisedModel", scoring="rows", hidden=("n_classes",)
    ),
    "sgd": KnownLearner("sklearn.linear_model.SGDClassifier", {"loss": "log_loss"}),
    "multinomial_nb": KnownLearner("sklearn.naive_bayes.MultinomialNB"),
    "gaussian_nb": KnownLearner("sklearn.naive_bayes.GaussianNB", sparse=False),
    "decision_tree": KnownLearner("sklearn.tree.DecisionTreeClassifier", scoring="rows"),
    "random_forest": KnownLearner("sklearn.ensemble.RandomForestClassifier", scoring="rows"),
    "hist_gradient_boosting": KnownLearner(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        {"early_stopping": False},
        scoring="rows",
        sparse=False,
    ),
    "svm": KnownLearner("sklearn.svm.SVC", hidden=("probability", "random_state", "verbose")),
    "mlp": KnownLearner("sklearn.neural_network.MLPClassifier"),
    "knn": KnownLearner("sklearn.neighbors.KNeighborsClassifier"),
}


class LearnerSpec(SpecModel):
    """A classifier that is fitted again in every round."""

    name: Annotated[
        str,
        Field(
            description="One of "
            + ", ".join(LEARNERS)
            + "; or the dotted path of a class whose module is trusted (--trust-module)."
        ),
    ] = "logistic_regression"
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of its class, as scikit-learn spells them."""

    @model_validator(mode="after")
    def _known(self) -> LearnerSpec:
        if "." in self.name:
            return self
        if self.name not in LEARNERS:
            near = difflib.get_close_matches(self.name, LEARNERS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"learners: {', '.join(LEARNERS)}"
            raise ValueError(f"{self.name!r} is not one of the learners ({hint})")
        known = LEARNERS[self.name]
        kind = _class_at(known.path)
        _check_parameters(self.name, kind, self.parameters, known.hidden)
        parameters = {**known.defaults, **self.parameters}
        _check_values(LogisticRegression if kind is SupervisedModel else kind, parameters)
        # A machine's probabilities come from its calibration.
        if self.name != "svm" and not hasattr(_made(kind, parameters), "predict_proba"):
            raise ValueError(f"{self.name} gives no probabilities with these parameters")
        return self


def learner_of(spec: LearnerSpec, trusted: Collection[str] = ()) -> Learner:
    """Return the learner that a spec describes.

    Parameters
    ----------
    trusted
        Modules whose classes may be named by their path; what lies in a package is trusted with it.

    Raises
    ------
    JobSpecError
        The module of a dotted path is not trusted or cannot be imported, the class is no
        classifier with probabilities, or a parameter is not one of its constructor's.
    """
    if "." not in spec.name:
        known = LEARNERS[spec.name]
        return Learner(known.path, {**known.defaults, **spec.parameters}, known.scoring, spec.name)
    if not any(spec.name.startswith(f"{module}.") for module in trusted):
        module = spec.name.partition(".")[0]
        raise JobSpecError(
            f"method.learner.name: the module of {spec.name!r} is not trusted",
            hint=f"--trust-module {module}, if you know what importing it runs",
        )
    try:
        found = _class_at(spec.name)
    except (ImportError, AttributeError) as error:
        raise JobSpecError(
            f"method.learner.name: {spec.name!r} cannot be imported ({type(error).__name__})",
            hint="give the path of a class that is installed here and on the workers",
        ) from None
    if not (inspect.isclass(found) and issubclass(found, ClassifierMixin)):
        raise JobSpecError(f"method.learner.name: {spec.name!r} is no scikit-learn classifier")
    try:
        _check_parameters(spec.name, found, spec.parameters, ())
        _check_values(found, spec.parameters)
    except ValueError as error:
        raise JobSpecError(f"method.learner.parameters: {error}") from None
    if not hasattr(found(**spec.parameters), "predict_proba"):
        raise JobSpecError(f"method.learner.name: {spec.name!r} has no predict_proba")
    return Learner(spec.name, dict(spec.parameters), "batches", spec.name)


def learners_of(method: SpecModel, trusted: Collection[str]) -> list[Learner]:
    """Return the learners that a method names.

    Raises
    ------
    JobSpecError
        One may not be used; see `learner_of`.
    """
    found = []
    for name in type(method).model_fields:
        value = getattr(method, name)
        inner = list(value.values()) if isinstance(value, Mapping) else value
        every = inner if isinstance(inner, list | tuple) else [inner]
        found += [learner_of(one, trusted) for one in every if isinstance(one, LearnerSpec)]
    return found


def check_learners(method: SpecModel, trusted: Collection[str]) -> None:
    """Raise JobSpecError for learners of a method that may not be used; see `learner_of`."""
    learners_of(method, trusted)


@dataclass(frozen=True)
class Learner:
    """Makes models: a class with its parameters, or an estimator that was given as an object.

    Parameters
    ----------
    path
        Module and class; empty where `estimator` is given.
    parameters
        Of its constructor.
    scoring
        See `KnownLearner`.
    name
        For messages.
    estimator
        An unfitted scikit-learn classifier, cloned for each fit.
    """

    path: str
    parameters: Mapping[str, Any]
    scoring: Scoring
    name: str
    estimator: Any = None

    @classmethod
    def of_estimator(cls, estimator: Any) -> Learner:
        """Return the learner that fits clones of an estimator which a Python program gave."""
        kind = type(estimator)
        path = f"{kind.__module__}.{kind.__name__}"
        by_class = {_class_at(one.path): one.scoring for one in LEARNERS.values()}
        scoring: Scoring = by_class.get(kind, "batches")
        if kind.__name__ == "LogisticRegression" and kind.__module__.startswith("sklearn."):
            scoring = "linear"
        return cls("", {}, scoring, path, estimator)

    def check(self) -> None:
        """Raise ValueError unless the estimator is a classifier with probabilities."""
        if self.estimator is None:
            return
        one = self.estimator
        sound = isinstance(one, BaseEstimator) and is_classifier(one)
        if not sound or not hasattr(one, "predict_proba"):
            raise ValueError(
                f"estimator is a {type(one).__name__}: it must be a classifier with predict_proba"
            )

    @property
    def takes_sparse(self) -> bool:
        """Whether it can be fitted on CSR rows, as far as it says."""
        if self.estimator is not None:
            return bool(get_tags(self.estimator).input_tags.sparse)
        return LEARNERS[self.name].sparse if self.name in LEARNERS else True

    def fit(self, pieces: Sequence[Piece], n_classes: int, key: tuple[int, ...]) -> FittedLearner:
        """Return a model fitted on pieces in row order, in one BLAS thread.

        Parameters
        ----------
        pieces
            Of single features; at least one row in all.
        n_classes
            C.
        key
            All randomness comes from it.

        Raises
        ------
        QualityError
            The learner takes no weights, no sparse rows, or there are too few rows for it.
        """
        piece = joined_pieces(pieces)
        X = _short_indices(piece.X)
        seen = np.unique(piece.codes).astype(np.int64)
        if len(seen) == 1:
            return FittedLearner(None, seen, n_classes, "rows", self.name)
        model = self._make(n_classes, key, np.bincount(piece.codes)[seen])
        weights = None
        if not (piece.weights == 1.0).all():
            weights = piece.weights.astype(np.float64)
            if not has_fit_parameter(model, "sample_weight"):
                raise QualityError(
                    f"{self.name} takes no weights, and the rows have some that are not 1",
                    hint="another learner; in self-training method.weight: 1 and method.mass: null",
                )
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                if weights is None:
                    model.fit(X, piece.codes)
                else:
                    model.fit(X, piece.codes, sample_weight=weights)
                # What cannot score a row is found out here, and not in each block.
                model.predict_proba(X[:1])
            except (AttributeError, TypeError, ValueError) as error:
                raise QualityError(
                    f"{self.name} could not be fitted on {len(piece.codes):,} rows of"
                    f" {len(seen)} classes, or cannot score rows after it: {error}",
                    hint="change its parameters, take another learner, or label more rows of each"
                    " class",
                ) from error
        return FittedLearner(model, seen, n_classes, self.scoring, self.name)

    def _make(self, n_classes: int, key: tuple[int, ...], counts: npt.NDArray[np.int64]) -> Any:
        if self.estimator is not None:
            model = clone(self.estimator)
        else:
            kind = _class_at(self.path)
            if kind is SupervisedModel:
                return SupervisedModel(n_classes, **self.parameters)
            model = kind(**self.parameters)
        if self.name == "svm":
            return _calibrated(model, counts)
        if "random_state" in model.get_params(deep=False) and model.random_state is None:
            model.set_params(random_state=mixed_seed(*key))
        return model


@dataclass(frozen=True)
class FittedLearner:
    """A fitted model, which says the same of a row in any block.

    Parameters
    ----------
    model
        A fitted scikit-learn classifier; None: one class was seen, and every row is of it.
    seen
        int64 (K,): codes of the classes that it knows, in its order.
    n_classes
        C.
    scoring
        See `KnownLearner`.
    name
        For messages.
    """

    model: Any
    seen: npt.NDArray[np.int64]
    n_classes: int
    scoring: Scoring
    name: str

    def probabilities(self, X: Any, place: int = 0) -> Floats:
        """Return class probabilities (n, C) in the precision of the model; 0 for classes not seen.

        Parameters
        ----------
        X
            (n, d), dense or CSR.
        place
            Of the first row, see `kernels/aligned_batches`.
        """
        n = X.shape[0]
        if self.model is None:
            found = np.zeros((n, self.n_classes))
            found[:, self.seen] = 1.0
            return found
        if n == 0:
            return np.zeros((0, self.n_classes))
        if self.scoring == "linear":
            some = self._linear(X)
        else:
            with one_thread():
                rows = _short_indices(X)
                if self.scoring == "rows":
                    some = self.model.predict_proba(rows)
                else:
                    some = score_batches(self.model.predict_proba, rows, place)
                    if some.dtype == np.float32:
                        # Naive Bayes in float32 is off by a percent where it is most certain.
                        some = normalise_rows(some)
        if some.shape[1] == self.n_classes:
            return some
        found = np.zeros((n, self.n_classes), dtype=some.dtype)
        found[:, self.seen] = some
        return found

    def _linear(self, X: Any) -> Floats:
        coef, intercept = self.model.coef_, self.model.intercept_
        if len(self.seen) == 2:
            # scikit-learn keeps one row for two classes: the second against the first.
            coef = np.vstack([np.zeros_like(coef), coef])
            intercept = np.concatenate([[0.0], intercept])
        coef = np.ascontiguousarray(coef.T, dtype=np.float64)
        intercept = np.asarray(intercept, dtype=np.float64)
        if sp.issparse(X):
            rows = X if X.has_canonical_format else X.copy()
            rows.sum_duplicates()
            every = np.arange(X.shape[1], dtype=np.int32)
            scores = sparse_scores(rows.data, rows.indices, rows.indptr, every, coef, intercept)
        else:
            scores = dense_scores(np.ascontiguousarray(X), coef, intercept)
        return softmax_rows(scores)


def _calibrated(machine: Any, counts: npt.NDArray[np.int64]) -> CalibratedClassifierCV:
    """Return a machine whose margins become probabilities on rows that it was not fitted on.

    Its folds are cut in the order of the rows, and hold each class.
    """
    fewest = int(counts.min())
    if fewest < 2:
        raise QualityError(
            "svm is calibrated on rows that it was not fitted on, and a class has a single one",
            hint="label two rows or more of each class, or take another learner",
        )
    folds = min(fewest, CALIBRATION_FOLDS)
    return CalibratedClassifierCV(machine, method="sigmoid", cv=folds, ensemble=False)


def joined_pieces(pieces: Sequence[Piece]) -> Piece:
    """Return the rows of all pieces as one, in their order.

    Raises
    ------
    QualityError
        There is no row.
    """
    filled = [piece for piece in pieces if len(piece.rows)]
    if not filled:
        raise QualityError("no row is labelled, so nothing can be fitted")
    if len(filled) == 1:
        return filled[0]
    parts = [piece.X for piece in filled]
    X = sp.vstack(parts, format="csr") if sp.issparse(parts[0]) else np.concatenate(parts)
    return Piece(
        np.concatenate([piece.rows for piece in filled]),
        X,
        np.concatenate([piece.codes for piece in filled]),
        np.concatenate([piece.weights for piece in filled]),
        np.concatenate([piece.given for piece in filled]),
    )


def _short_indices(X: Any) -> Any:
    """Return CSR rows with the 32-bit indices that trees insist on; other rows as they are."""
    if not sp.issparse(X) or X.indices.dtype == np.int32 or X.nnz > np.iinfo(np.int32).max:
        return X
    short = (X.indices.astype(np.int32), X.indptr.astype(np.int32))
    return sp.csr_array((X.data, *short), shape=X.shape)


@cache
def _class_at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _check_parameters(
    name: str, kind: Any, parameters: Mapping[str, Any], hidden: tuple[str, ...]
) -> None:
    """Raise ValueError naming the parameters that the constructor does not take."""
    allowed = [one for one in inspect.signature(kind).parameters if one not in hidden]
    for key in parameters:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(allowed)}"
            raise ValueError(f"{key!r} is no parameter of {name} ({hint})")


def _check_values(kind: Any, parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for values that the class would refuse when it is fitted, if it says so."""
    model = _made(kind, parameters)
    # scikit-learn calls this first in every fit; classes of others may not have it.
    if hasattr(model, "_parameter_constraints"):
        model._validate_params()


def _made(kind: Any, parameters: Mapping[str, Any]) -> Any:
    return kind(1, **parameters) if kind is SupervisedModel else kind(**parameters)
