"""What all scikit-learn estimators of the package share: checks, client, clone, tags, answers."""

from __future__ import annotations

import warnings
from typing import Any, Self

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_dask.array_types import Floating, Int32
from ssl_dask.block_exchange import block_tasks
from ssl_dask.class_labels import decode_labels, decoded_dtype, encode_targets, weights_at
from ssl_dask.dask_arrays import as_dask_array, row_handles
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.kernels.arithmetic.offsets import (
    Offsets,
    extent_of,
    far_offsets,
    loses_digits,
    rounded,
    rounding_shows,
    rounding_told,
    without_offsets,
)
from ssl_dask.kernels.distributions.label_distributions import predicted_codes, summarise_rows
from ssl_dask.labels import OTHER_CLASS, UNLABELLED, Labels
from ssl_dask.spec_model import SpecModel

REASON_TYPE = "<U15"


class SklearnSkin(BaseEstimator):
    """An estimator over rows that may be a Dask array, with a `client` to run on."""

    client: AnyClient

    def _store(self, arguments: dict[str, Any]) -> None:
        """Store the arguments of `__init__`, its `locals()`, each under its name."""
        for name in self._get_param_names():
            setattr(self, name, arguments[name])

    def _execution(self) -> Execution:
        return Execution.of(self.client)

    def _require_y(self, y: Any) -> None:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is"
                " None."
            )

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        """Return rows (m, d) that can be used; `reset` takes the number of features from them.

        Raises
        ------
        ValueError
            They have another shape, or chunks of unknown length.
        """
        X = as_dask_array(X)
        if not isinstance(X, da.Array):
            sparse = "csr" if self.__sklearn_tags__().input_tags.sparse else False
            refuse_times(X)
            if isinstance(X, list | tuple):
                X = np.asarray(X)
            kept = [np.float64, np.float32, np.int64, np.uint64]
            rows = validate_data(self, X, reset=reset, accept_sparse=sparse, dtype=kept)
            if rows.dtype.kind == "f":
                warn_of_rounding(X)
                return rows
            exact = not sp.issparse(rows) and rounded(rows).any()
            return rows if exact else rows.astype(np.float64)
        if X.ndim != 2:
            raise ValueError(f"Expected 2D array, got an array of shape {X.shape} instead")
        refuse_times(X)
        if any(n != n for n in X.chunks[0]):
            raise ValueError(
                "the lengths of X's chunks are not known: call X.compute_chunk_sizes()"
            )
        if reset:
            self._forget_features()
            self.n_features_in_ = int(X.shape[1])
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting"
                f" {self.n_features_in_} features as input"
            )
        return X

    def _near_zero(self, X: Any, *, reset: bool) -> Any:
        """Return checked rows without the offset of columns that are far from zero.

        `reset` takes the offsets from them: one pass over a Dask array.
        """
        if reset:
            self._offsets = column_offsets(X, self._execution())
        if self._offsets is None:
            is_whole = not isinstance(X, da.Array) and X.dtype.kind in "iu"
            return X.astype(np.float64) if is_whole else X
        if isinstance(X, da.Array):
            whole = X.rechunk({1: -1})
            return whole.map_blocks(without_offsets, self._offsets, dtype=np.float32)
        dense = X.toarray() if sp.issparse(X) else X
        return without_offsets(dense, self._offsets)

    def _forget_features(self) -> None:
        for name in ("X_", "n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)

    def _checked_spec(self, model: type[SpecModel], **more: Any) -> SpecModel:
        """Return the parameters that the fields of `model` name, and `more`, as a spec."""
        params = self.get_params(deep=False)
        values = {name: plain(params[name]) for name in model.model_fields if name in params}
        return checked_spec(model, {**values, **more})

    def _warn_not_converged(self, error: float, tol: float, max_iter: int | None) -> None:
        """Warn whoever called the public method that calls this one.

        `max_iter`: the limit that ended it; None: rounding did.
        """
        if max_iter is not None:
            text = (
                f"max_iter={max_iter} was reached without convergence: the error of"
                f" {type(self).__name__} is {error:.2g}, tol is {tol:g}; raise max_iter or tol"
            )
        else:
            text = (
                f"{type(self).__name__} did not converge: float32 allows no smaller error than"
                f" {error:.2g}, tol is {tol:g}; raise tol"
            )
        warnings.warn(text, ConvergenceWarning, stacklevel=3)

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


class ClassifierSkin(ClassifierMixin, SklearnSkin):
    """A classifier that may abstain; a subclass has `predict_proba` and calls `_keep_classes`."""

    ties_abstain = True
    """Whether a row abstains whose best two classes are tied; else the first one labels it."""

    def _keep_classes(self, labels: Labels) -> None:
        self.classes_ = labels.classes
        self._largest_class = int(labels.class_counts().argmax())

    def predict(self, X: Any, *, abstain: bool = True) -> Any:
        """Return the most likely class of rows.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.
        abstain
            Whether a row may get no class: -1, or None in an array of objects. False: a tie is
            given to its first class, and rows without evidence get the class of most seeds.

        Returns
        -------
        Array (m,) of class labels; a Dask array if `X` is one.
        """
        return self._labels_of(self.predict_proba(X), abstain=abstain)[0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of labelled rows that `predict` gets right; abstaining is wrong.

        Parameters
        ----------
        X
            (m, d), of a kind that `fit` takes.
        y
            (m,): true class labels, array or Dask array. Rows that are unlabelled, as for `fit`,
            are left out.
        sample_weight
            (m,): weight of each row, array or Dask array; None for equal weights.

        Raises
        ------
        ValueError
            Lengths differ, no row is labelled, or the labels are of another kind than the classes.

        Notes
        -----
        Brings an int32 of each row to this process, and the weights of labelled rows.
        """
        check_is_fitted(self)
        F = self.predict_proba(X)
        execution = self._execution()
        truth = encode_targets(y, F.shape[0], execution)
        if (truth.classes.dtype.kind in "OU") != (self.classes_.dtype.kind in "OU"):
            raise ValueError(
                f"y holds labels of type {truth.classes.dtype}, but the classes are"
                f" {self.classes_.dtype}"
            )
        codes = self._codes_of(F, abstain=True)
        if isinstance(codes, da.Array):
            codes = np.concatenate(execution.compute(row_handles(codes), "scores"))
        place = np.minimum(np.searchsorted(self.classes_, truth.classes), len(self.classes_) - 1)
        # -2 is no code: a class that `fit` has not seen is never right.
        known = np.where(self.classes_[place] == truth.classes, place, OTHER_CLASS)
        right = codes[truth.rows] == known[truth.codes]
        if sample_weight is None:
            return float(right.mean())
        return float(np.average(right, weights=weights_at(sample_weight, truth, execution)))

    def _codes_of(self, F: Any, *, abstain: bool) -> Any:
        how = (self.ties_abstain and abstain, UNLABELLED if abstain else self._largest_class)
        if isinstance(F, da.Array):
            return F.map_blocks(decided_codes, *how, drop_axis=1, dtype=np.int32)
        return decided_codes(F, *how)

    def _labels_of(self, F: Any, *, abstain: bool = True) -> tuple[Any, Any]:
        """Return (labels, abstained) of distributions, as Dask arrays if `F` is one."""
        codes = self._codes_of(F, abstain=abstain)
        if not isinstance(F, da.Array):
            return decode_labels(codes, self.classes_), codes == UNLABELLED
        dtype = decoded_dtype(self.classes_, abstained=abstain)
        labels = codes.map_blocks(decode_labels, self.classes_, dtype, dtype=dtype)
        return labels, codes == UNLABELLED

    def _keep_labels(self, F: Any, no_evidence: str = "low_mass") -> None:
        """Keep the class, abstention and reason of each row of distributions (N, C)."""
        self.label_distributions_ = F
        self.transduction_, self.abstained_ = self._labels_of(F)
        if isinstance(F, da.Array):
            self.reasons_ = F.map_blocks(reasons_of, no_evidence, drop_axis=1, dtype=REASON_TYPE)
        else:
            self.reasons_ = reasons_of(F, no_evidence)


def reasons_of(F: Floating, no_evidence: str) -> npt.NDArray[np.str_]:
    """Return why each row of distributions (n, C) has no class, in the words of a job's `reason`.

    "none": it has one. "tie": the best two are equal. `no_evidence`: all are 0.
    """
    codes, _, tied = summarise_rows(F)
    words = np.where(tied, "tie", "none").astype(REASON_TYPE)
    words[codes == UNLABELLED] = no_evidence
    return words


def refuse_times(X: Any) -> None:
    """Refuse arrays of times, and data frames with columns of them, by name.

    Raises
    ------
    ValueError
        It names the columns, and the cure.
    """
    names, kinds = getattr(X, "columns", None), getattr(X, "dtypes", None)
    if names is None or kinds is None:
        names, kinds = ["X"], [getattr(X, "dtype", None)]
    times = [
        f"{name!r} ({kind})" if name != "X" else f"X ({kind})"
        for name, kind in zip(names, kinds, strict=False)
        if getattr(kind, "kind", None) in ("M", "m")
    ]
    if times:
        raise ValueError(
            f"{', '.join(times)} holds times, which have no unit that suits all features: turn them"
            " into numbers, such as (t - t.min()) / np.timedelta64(1, 'D') for days"
        )


def warn_of_rounding(X: Any) -> None:
    """Warn of each column of a data frame whose integers become floats beside other columns."""
    if not hasattr(X, "columns") or not hasattr(X, "dtypes"):
        return
    for place, (name, kind) in enumerate(zip(X.columns, X.dtypes, strict=True)):
        if getattr(kind, "kind", None) not in ("i", "u") or kind.itemsize < 8:
            continue
        values = X.iloc[:, place].dropna().to_numpy(dtype=f"{kind.kind}8")
        n_rounded = int(rounded(values).sum())
        if n_rounded and rounding_shows(float(values.min()), float(values.max())):
            warnings.warn(rounding_told(repr(name), n_rounded, len(X)), UserWarning, stacklevel=4)


def column_offsets(X: Any, execution: Execution) -> Offsets | None:
    """Return what float32 needs to have subtracted from the columns of rows (N, d); None: nothing.

    See `kernels.arithmetic.offsets`. Sparse rows have none: their zeros would be lost.
    """
    if not isinstance(X, da.Array):
        return far_offsets([extent_of(X)])
    if not loses_digits(X.dtype):
        return None
    blocks = row_handles(X.rechunk({1: -1}))
    return far_offsets(execution.compute(block_tasks(extent_of, [blocks]), "features"))


def decided_codes(F: Floating, ties_abstain: bool, without_evidence: int) -> Int32:
    """Return the code of each row's most likely class.

    Parameters
    ----------
    F
        (n, C): distributions, or zeros.
    ties_abstain
        -1 where the best two classes are tied; else the first of them.
    without_evidence
        Code of rows of zeros.
    """
    codes = predicted_codes(F) if ties_abstain else summarise_rows(F).codes
    if without_evidence == UNLABELLED:
        return codes
    return np.where(codes < 0, np.int32(without_evidence), codes)


def plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def checked_spec(model: type[SpecModel], values: dict[str, Any]) -> SpecModel:
    """Return values as a spec.

    Raises
    ------
    ValueError
        It names each value that is wrong.
    """
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc']))}={item['input']!r}: {item['msg']}"
            for item in error.errors()
        ]
        raise ValueError("; ".join(wrong)) from None
