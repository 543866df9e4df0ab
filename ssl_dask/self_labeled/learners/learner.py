"""What makes the models of rounds: a class with its parameters, or an estimator."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.utils import get_tags

from ssl_dask.array_types import Int64
from ssl_dask.errors import QualityError
from ssl_dask.kernels.arithmetic.row_keys import mixed_seed
from ssl_dask.kernels.learners.quiet_fits import one_at_a_time, quiet_fits
from ssl_dask.kernels.learners.row_samples import copies_by_weight
from ssl_dask.kernels.learners.supervised_model import SupervisedModel
from ssl_dask.one_thread import one_thread
from ssl_dask.self_labeled.learners.fitted_learner import (
    FittedLearner,
    Scoring,
    runs_jobs,
    short_indices,
)
from ssl_dask.self_labeled.learners.known_learners import LEARNERS, class_at
from ssl_dask.self_labeled.rows.block_rows import FitRows, Piece, joined_pieces

CALIBRATION_FOLDS = 5
ROWS_SHOWN = 1_000_000
"""Rows after which gradient descent is about where it ends."""
MOST_PASSES = 20


@dataclass(frozen=True)
class Learner:
    """Makes models: a class with its parameters, or an estimator that was given as an object."""

    path: str
    """Module and class; empty where `estimator` is given."""
    parameters: Mapping[str, Any]
    """Of its constructor."""
    scoring: Scoring
    """How rows are scored so that a row gets the same bits in any block."""
    name: str
    """For messages."""
    estimator: Any = None
    """An unfitted scikit-learn classifier, cloned for each fit."""
    partial_fit: bool = False
    """Whether it learns piece by piece from more rows than a fit may take."""
    passes: int | None = None
    """How often it goes over all pieces; None: by its kind."""

    @classmethod
    def of_estimator(cls, estimator: Any) -> Learner:
        """Return the learner that fits clones of an estimator which a Python program gave."""
        kind = type(estimator)
        path = f"{kind.__module__}.{kind.__name__}"
        by_class = {class_at(one.path): one.scoring for one in LEARNERS.values()}
        scoring: Scoring = by_class.get(kind, "batches")
        if kind.__name__ == "LogisticRegression" and kind.__module__.startswith("sklearn."):
            scoring = "linear"
        return cls("", {}, scoring, path, estimator)

    def check(self) -> None:
        """Raise ValueError unless the estimator is a classifier, AttributeError without a chance.

        scikit-learn's meta-estimators raise the same.
        """
        if self.estimator is None:
            return
        one = self.estimator
        if not (isinstance(one, BaseEstimator) and is_classifier(one)):
            raise ValueError(f"estimator is a {type(one).__name__}: it must be a classifier")
        if not hasattr(one, "predict_proba"):
            raise AttributeError(
                f"estimator is a {type(one).__name__}, which has no attribute 'predict_proba':"
                " give a classifier that has; CalibratedClassifierCV makes one of others"
            )

    @property
    def takes_sparse(self) -> bool:
        """Whether it can be fitted on CSR rows, as far as its tags tell."""
        if self.estimator is not None:
            return bool(get_tags(self.estimator).input_tags.sparse)
        return LEARNERS[self.name].sparse if self.name in LEARNERS else True

    def passes_over(self, n_rows: int) -> int:
        """Return how often it goes over so many rows in pieces."""
        return passes_over(self.name, self.passes, n_rows)

    @property
    def takes_weights(self) -> bool:
        """Whether rows may have weights in its fits; else they are drawn by them."""
        model = self._blank(1)
        return _takes_weights(model.fit) and (
            not self.partial_fit or _takes_weights(model.partial_fit)
        )

    def fit(self, pieces: Sequence[Piece], n_classes: int, key: tuple[int, ...]) -> FittedLearner:
        """Return a model fitted on pieces, in one BLAS thread.

        A learner that takes no weights is fitted on copies of each row by its weight: seeds once
        at least.

        Parameters
        ----------
        pieces
            Of single features; at least one row in all.
        n_classes
            C.
        key
            All randomness comes from it: (random_state, track, ...).

        Raises
        ------
        QualityError
            The learner takes no sparse rows, or there are too few rows for it.
        """
        piece = joined_pieces(pieces)
        whole = FitRows.of(piece.codes, piece.weights, piece.given, n_classes)
        model = self._blank(n_classes)
        weighs = _takes_weights(model.fit)
        if not (whole.even or weighs):
            piece = _copied(piece, whole, key)
        # A class without seeds may be gone: of its light rows none may have been drawn.
        seen = np.unique(piece.codes).astype(np.int64)
        if len(seen) == 1:
            return FittedLearner(None, seen, n_classes, "rows", self.name)
        model = self._keyed(model, key, np.bincount(piece.codes)[seen])
        self._learn(model, model.fit, piece, weighs=weighs and not whole.even)
        return FittedLearner(model, seen, n_classes, self.scoring, self.name)

    def fit_more(
        self,
        before: FittedLearner | None,
        pieces: Sequence[Piece],
        whole: FitRows,
        key: tuple[int, ...],
    ) -> FittedLearner:
        """Return a model that has learned from one more piece by `partial_fit`.

        Parameters
        ----------
        before
            What has learned from the pieces before it, and is left as it is; None: nothing has.
        pieces
            The parts of the piece.
        whole
            What all pieces hold.
        key
            All randomness comes from it; the same for all pieces.

        Raises
        ------
        QualityError
            The learner takes no sparse rows, or its parameters do not suit the rows.
        """
        seen, n_classes = whole.seen, len(whole.class_counts)
        if len(seen) == 1:
            return FittedLearner(None, seen, n_classes, "rows", self.name)
        if before is None:
            model = self._keyed(self._blank(n_classes), key, whole.class_counts[seen])
        else:
            # The task of the piece before may be asked for its model again.
            model = copy.deepcopy(before.model)
        piece = joined_pieces(pieces)
        weighs = _takes_weights(model.partial_fit)
        if not (whole.even or weighs):
            piece = _copied(piece, whole, key)
        if len(piece.tags):
            weighs = weighs and not whole.even
            self._learn(model, model.partial_fit, piece, weighs=weighs, classes=seen)
        return FittedLearner(model, seen, n_classes, self.scoring, self.name)

    def _learn(
        self, model: Any, learn: Callable[..., Any], piece: Piece, *, weighs: bool, **more: Any
    ) -> None:
        X = short_indices(piece.X)
        if weighs:
            more["sample_weight"] = piece.weights.astype(np.float64)
        with one_thread(), one_at_a_time(runs_jobs(model)), quiet_fits():
            try:
                learn(X, piece.codes, **more)
                # What cannot score a row is found out here, and not in each block.
                model.predict_proba(X[:1])
            except (AttributeError, TypeError, ValueError) as error:
                raise QualityError(
                    f"{self.name} could not be fitted on {len(piece.codes):,} rows of"
                    f" {len(np.unique(piece.codes))} classes, or cannot score rows after it:"
                    f" {error}",
                    hint="change its parameters, take another learner, or label more rows of each"
                    " class",
                ) from error

    def _blank(self, n_classes: int) -> Any:
        """Return a model that has not been fitted."""
        if self.estimator is not None:
            return clone(self.estimator)
        kind = class_at(self.path)
        if kind is SupervisedModel:
            return SupervisedModel(n_classes, **self.parameters)
        return kind(**self.parameters)

    def _keyed(self, model: Any, key: tuple[int, ...], counts: Int64) -> Any:
        """Return a blank model whose randomness comes from `key`; `counts` are of its classes."""
        if self.name == "svm":
            return _calibrated(model, counts)
        if "random_state" in model.get_params(deep=False) and model.random_state is None:
            model.set_params(random_state=mixed_seed(*key))
        return model


def passes_over(name: str, passes: int | None, n_rows: int) -> int:
    """Return how often a learner goes over so many rows in pieces; `passes` as in a job."""
    if passes is not None:
        return passes
    descends = name in LEARNERS and LEARNERS[name].descends
    return min(-(-ROWS_SHOWN // n_rows), MOST_PASSES) if descends else 1


def _takes_weights(learn: Callable[..., Any]) -> bool:
    return "sample_weight" in inspect.signature(learn).parameters


def _copied(piece: Piece, whole: FitRows, key: tuple[int, ...]) -> Piece:
    """Return the rows of a piece as often as their weights say, each with weight 1."""
    # Not by the round: the rows would be others in each, and the model with them.
    copies = copies_by_weight(piece.tags, piece.weights, piece.given, whole.unit, *key[:2])
    taken = piece.at(np.repeat(np.arange(len(copies)), copies))
    return replace(taken, weights=np.ones(len(taken.tags), dtype=np.float32))


def _calibrated(machine: Any, counts: Int64) -> CalibratedClassifierCV:
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


LEARNER_TYPES = (Learner, FittedLearner, SupervisedModel)
"""Types of this package that stored models of learners are made of."""
