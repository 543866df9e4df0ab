"""The scikit-learn skin that all methods of self-labelling share."""

from __future__ import annotations

import inspect
import re
import textwrap
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed
from pydantic import ValidationError
from sklearn.utils.validation import check_is_fitted

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.class_labels import decode_labels, decoded_dtype, encode_seeds
from ssl_dask.dask_arrays import array_of_blocks, as_dask_array, row_handles
from ssl_dask.execution import Execution
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.arithmetic.offsets import beyond_told, number_beyond
from ssl_dask.labels import Labels
from ssl_dask.method import Method, MethodInputs
from ssl_dask.run_control import OnRound, RunControl
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.track import score_rows
from ssl_dask.sklearn_skin import REASON_TYPE, ClassifierSkin, plain

PARAMETERS = {
    "n_folds": "Seeds are hidden in so many turns, dealt by `random_state` if there is one, to"
    " judge the rounds by; 0: none are, and the last round answers.",
    "client": 'Of the cluster that computes; "local": this process. None: the open client, if any,'
    " as Dask itself does. The answer is the same.",
}
ATTRIBUTES = {
    "classes_": "Array (C,) of the distinct class labels, sorted.",
    "label_distributions_": "float32 (N, C): what the models of the kept round say of the rows.",
    "transduction_, labeled_iter_": "Array (N,): label of each row after the last round, -1 or None"
    " without one; and the round in which it got it, 0 for seeds and -1 without. Dask arrays if X"
    " is one. Where learners have labels of their own, those of the first.",
    "abstained_, reasons_": "bool (N,), whether no round labelled the row, and str (N,), why:"
    ' "below_threshold" (no round was sure enough, or took it), else "none". `predict` labels such'
    " rows too. A warning counts them where rounds that `max_iter` did not cut short leave more"
    " than half of 100 rows or more.",
    "termination_condition_": "Why the rounds ended, such as all_labeled, max_iter, no_change or"
    " hidden_loss.",
    "n_iter_, rounds_": "Number of rounds, and a `RoundRecord` of each.",
    "kept_round_": "The round whose models answer; 0: the seeds alone.",
    "models_": "These models.",
    "n_features_in_": "Number of features d.",
}
"""What all these estimators have, for their docstrings."""

TAB = " " * 4
MANY_ROWS = 100
"""Unlabelled rows, from which on it is told that rounds left most of them."""
BLOCK_ROWS = 65_536
"""Rows of the blocks that an array of this process is cut into."""


class RoundClassifier(ClassifierSkin):
    """Labels rows in rounds, by classifiers that learn from their own answers.

    A subclass names its parameters in `__init__`; those that its method has as well are the
    method's, and its docstring is given what the method's spec says of them.
    """

    method: ClassVar[Method]
    ties_abstain = False

    n_folds: int

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__doc__ = _whole_docstring(cls)

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
            (N,), array or Dask array: weight >= 0 of each row as a seed; None: 1 each. A row of
            weight 0 is no seed, but still a row that may be labelled.

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
        self._require_y(y)
        X = as_dask_array(X)
        spec = self._spec()
        rows = self._learned_rows(X, reset=True)
        execution = self._execution()
        labels, weights = encode_seeds(y, rows.shape[0], sample_weight, execution)
        views, present = self._views(rows, execution)
        self._told_before(labels)
        folds = hide_seeds(labels, self._most_folds(), int(getattr(self, "random_state", 0)))
        inputs = MethodInputs(
            labels,
            hidden=[folds.hidden(fold) for fold in range(folds.n_folds)],
            sample_weight=weights,
            views=views,
            present=present,
        )
        found = self.method.run(inputs, spec, RunControl(execution, on_round=self._on_round()))
        self._keep(found, labels, X, execution)
        self._warn_of_rows_left(labels, execution)
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
        rows = self._learned_rows(X, reset=False)
        execution = self._execution()
        views, present = self._views(rows, execution)
        answering = delayed((self.method_, list(self.models_)), pure=False, traverse=False)
        F = score_rows(answering, views, present, len(self.classes_))
        if isinstance(X, da.Array):
            return F
        return np.concatenate(execution.compute(row_handles(F), "scores"))

    def _learned_rows(self, X: Any, *, reset: bool) -> Any:
        """Return checked rows as the learners see them: trees, among others, take float32."""
        rows = self._checked_rows(X, reset=reset)
        if isinstance(rows, da.Array):
            # Whole rows, so that the column that is told is that of X.
            whole = rows.rechunk({1: -1})
            rows = whole.map_blocks(_within_float32, dtype=rows.dtype, meta=rows._meta)
        else:
            rows = _within_float32(rows)
        return self._near_zero(rows, reset=reset)

    def _told_before(self, labels: Labels) -> None:
        """Warn of labels with which the rounds do little."""

    def _most_folds(self) -> int:
        return int(self.n_folds)

    def _on_round(self) -> OnRound | None:
        """Return what is called after each round."""
        return None

    def _spec(self) -> Any:
        """Return the method's parameters; a subclass adds learners that are no plain values."""
        folds = plain(self.n_folds)
        if not isinstance(folds, int) or folds < 0 or folds == 1:
            raise ValueError(
                f"n_folds={self.n_folds!r}: 0 hides no seeds, else at least 2 folds are needed"
            )
        return self._checked_spec(self.method.spec)

    def _views(self, rows: Any, execution: Execution) -> tuple[dict[str, da.Array], dict]:
        """Return the views by name, in blocks that are held where tasks run; and what is lacking.

        A subclass with several views cuts the columns.
        """
        return {"X": held_rows(rows, execution)}, {}

    def _keep(self, found: SelfLabeled, labels: Labels, X: Any, execution: Execution) -> None:
        self._keep_classes(labels)
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
            self.abstained_ = since < 0
            self.reasons_ = since.map_blocks(_reasons_of_rounds, dtype=REASON_TYPE)
            return
        blocks = [row_handles(one) for one in (transduction, since, found.F)]
        flat = execution.compute([task for group in blocks for task in group], "labels")
        n = len(blocks[0])
        self.transduction_, self.labeled_iter_, self.label_distributions_ = (
            np.concatenate(flat[i * n : (i + 1) * n]) for i in range(3)
        )
        self.abstained_ = self.labeled_iter_ < 0
        self.reasons_ = _reasons_of_rounds(self.labeled_iter_)

    def _warn_of_rows_left(self, labels: Labels, execution: Execution) -> None:
        """Warn if the rounds left more than half of the unlabelled rows without a label."""
        if self.termination_condition_ == "max_iter":
            return  # More rounds were not wanted.
        left, n_free = self.abstained_, labels.n_rows - labels.n_seeds
        if isinstance(left, da.Array):
            n_left = sum(execution.compute(block_tasks(np.count_nonzero, [row_handles(left)])))
        else:
            n_left = np.count_nonzero(left)
        if n_free >= MANY_ROWS and 2 * n_left > n_free:
            warnings.warn(
                f"{n_left:,} of {n_free:,} unlabelled rows got no label in any round, see"
                " abstained_; predict(X) labels them by the models",
                UserWarning,
                stacklevel=3,
            )


def _reasons_of_rounds(since: Int64) -> npt.NDArray[np.str_]:
    return np.where(since < 0, "below_threshold", "none").astype(REASON_TYPE)


def _whole_docstring(kind: type[RoundClassifier]) -> str:
    """Return the docstring of a class with all parameters, and the attributes that all have."""
    own = inspect.cleandoc(kind.__doc__ or "")
    before, examples, example = own.partition("Examples\n--------")
    fields = kind.method.spec.model_fields
    texts = {}
    for name in inspect.signature(kind).parameters:
        told = PARAMETERS.get(name) or (name in fields and fields[name].description)
        if told and not re.search(rf"^{name}$", own, re.M):
            texts[name] = _in_python(told)
    head, title, rest = before.partition("Attributes\n----------\n")
    if "Parameters\n----------" not in head:
        head = f"{head.rstrip()}\n\nParameters\n----------\n"
    title = title or "Attributes\n----------\n"
    parts = [head.rstrip(), *map(_entry, texts.items()), "", f"{title}{rest.rstrip()}".rstrip()]
    return "\n".join([*parts, *map(_entry, ATTRIBUTES.items()), "", examples + example])


def _entry(entry: tuple[str, str]) -> str:
    return f"{entry[0]}\n{textwrap.fill(entry[1], 92, initial_indent=TAB, subsequent_indent=TAB)}"


def _in_python(text: str) -> str:
    """Return the description of a key of a job, its values spelled as Python spells them."""
    for yaml, python in (("null", "None"), ("true", "True"), ("false", "False")):
        text = re.sub(rf"\b{yaml}\b", python, text)
    return text


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


def column_numbers(what: str, columns: Any, n_features: int) -> Int64:
    """Return the numbers of the columns of a view, int64 (d_v,).

    Raises
    ------
    ValueError
        `what` is no slice or list of column numbers of X, or names a column twice.
    """
    if isinstance(columns, slice):
        columns = np.arange(n_features)[columns]
    found = np.asarray(columns)
    if found.ndim != 1 or len(found) == 0 or found.dtype.kind not in "iu":
        raise ValueError(f"{what} must be a slice or a list of column numbers")
    if found.min() < 0 or found.max() >= n_features:
        raise ValueError(
            f"{what}: column numbers must be 0 to {n_features - 1}, got {found.min()} to"
            f" {found.max()}, beyond the {n_features} of X"
        )
    if len(np.unique(found)) < len(found):
        raise ValueError(f"{what} names a column twice")
    return found.astype(np.int64)


def _within_float32(rows: Any) -> Any:
    """Return rows (n, d) as they are; raise ValueError if float32 does not hold their numbers."""
    if (beyond := number_beyond(rows)) is not None:
        text, hint = beyond_told("rows of X", beyond)
        raise ValueError(f"{text}: {hint}")
    return rows


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
        blocks = execution.persist(row_handles(whole), "features")
        chunks, meta = whole.chunks[0], X._meta
    else:
        starts = range(0, max(X.shape[0], 1), BLOCK_ROWS)
        parts = [X[start : start + BLOCK_ROWS] for start in starts]
        if sp.issparse(X):
            parts = [sp.csr_array(part) for part in parts]
        blocks, chunks, meta = execution.place(parts), [p.shape[0] for p in parts], parts[0][:0]
    return array_of_blocks(blocks, chunks, (X.shape[1],), X.dtype, meta)
