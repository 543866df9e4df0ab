"""Encode `y` of scikit-learn users as `Labels`, and decode codes to class labels.

Unlabelled rows are -1 in numbers, and None, NaN or -1 in objects. A boolean or plain string array
has no value for "unlabelled": all its rows are labelled, and words for "no value" are refused.
"""

from __future__ import annotations

import warnings
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Float64, Int64, Integer
from ssl_dask.block_exchange import block_tasks, fetch_rows, row_starts
from ssl_dask.dask_arrays import as_dask_array, row_handles
from ssl_dask.execution import Execution
from ssl_dask.label_words import stands_for_nothing, wrapped_minus_one
from ssl_dask.labels import UNLABELLED, Labels

Part = tuple[Int64, npt.NDArray[Any]]


def encode_targets(y: Any, n_rows: int, execution: Execution) -> Labels:
    """Return the labelled rows of `y`, as codes of its sorted classes.

    Parameters
    ----------
    y
        Array-like (N,), or Dask array, whose labelled rows alone are sent to this process.
    n_rows
        Expected number of rows N.
    execution
        Where the blocks of a Dask array are read.

    Raises
    ------
    ValueError
        `y` has another length, no label, continuous numbers, NaN, labels of several types, a word
        for "no value", such as "nan", "NA" or "-1", or what -1 becomes in an unsigned type.

    Examples
    --------
    >>> labels = encode_targets(["no", None, "yes"], 3, Execution())
    >>> labels.rows.tolist(), labels.codes.tolist(), labels.classes.tolist()
    ([0, 2], [0, 1], ['no', 'yes'])
    """
    from sklearn.utils import column_or_1d
    from sklearn.utils.multiclass import check_classification_targets

    y = as_dask_array(y)
    if isinstance(y, da.Array):
        rows, values, length = _labelled_of_dask(y, execution)
    else:
        array = column_or_1d(_as_array(y), warn=True)
        rows, values = _labelled(array)
        length = len(array)
    if length != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows}, y has"
            f" {length}"
        )
    if len(rows) == 0:
        raise ValueError(
            "y holds no labelled rows: all are -1 or None; label a few rows of each class"
        )
    with warnings.catch_warnings():
        # Few rows a class are what the labels of a few rows are.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        check_classification_targets(values)
    classes, codes = np.unique(values, return_inverse=True)
    if classes.dtype.kind in "OU":
        _refuse_words(classes.tolist(), codes)
    return Labels(n_rows, rows, codes.astype(np.int32), classes)


def _refuse_words(classes: list[str], codes: Integer) -> None:
    words = [code for code, name in enumerate(classes) if stands_for_nothing(name)]
    if words:
        named = ", ".join(repr(classes[code]) for code in words)
        raise ValueError(
            f"y holds {named} in {int(np.isin(codes, words).sum()):,} rows, which would be a class"
            " of its own; write None for unlabelled rows, in an array of dtype object, or give the"
            " class another name"
        )


def numbers_of(values: Any, execution: Execution) -> Float64:
    """Return numbers (N,) as float64; those of a Dask array are computed on its workers."""
    values = as_dask_array(values)
    if isinstance(values, da.Array):
        values = np.concatenate(execution.compute(row_handles(values), "labels"))
    return np.asarray(values, dtype=np.float64)


def weights_at(sample_weight: Any, labels: Labels, execution: Execution) -> Float64:
    """Return the weights of the labelled rows, float64 (S,), of an array or Dask array (N,).

    Raises
    ------
    ValueError
        Wrong or unknown length, or more than one column.
    """
    from sklearn.utils import column_or_1d

    weights = as_dask_array(sample_weight)
    if not isinstance(weights, da.Array):
        weights = column_or_1d(np.asarray(weights, dtype=np.float64))
    elif any(n != n for n in weights.chunks[0]):
        raise ValueError(
            "the lengths of sample_weight's chunks are not known: call compute_chunk_sizes()"
        )
    if weights.shape[0] != labels.n_rows:
        raise ValueError(
            f"sample_weight has {weights.shape[0]} values and X {labels.n_rows} rows; give one a"
            " row"
        )
    if not isinstance(weights, da.Array):
        return weights[labels.rows]
    starts = row_starts(weights.chunks[0])
    found = fetch_rows(row_handles(weights), starts, labels.rows, execution, "labels")
    return column_or_1d(np.asarray(found, dtype=np.float64))


def weighted_labels(
    labels: Labels, sample_weight: Any, execution: Execution
) -> tuple[Labels, Float64]:
    """Return the seeds whose weight is above 0, and their weights, float64 (S,).

    Parameters
    ----------
    sample_weight
        (N,), array or Dask array, of which labelled rows alone are sent to this process: weight
        >= 0 of each row; weights of unlabelled rows are ignored.

    Raises
    ------
    ValueError
        Wrong length, a weight of a seed that is not a finite number >= 0, or only zeros.
    """
    weights = weights_at(sample_weight, labels, execution)
    if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
        raise ValueError("sample_weight of a labelled row must be a finite number of at least 0")
    if not weights.any():
        raise ValueError("sample_weight is zero for all labelled rows: there is no seed left")
    return labels.subset(weights > 0.0), weights[weights > 0.0]


def decoded_dtype(classes: npt.NDArray[Any], *, abstained: bool) -> np.dtype[Any]:
    """Return the dtype of `decode_labels` for these classes, with room for -1 or None."""
    if not abstained or classes.dtype.kind in "if":
        return classes.dtype
    return np.dtype(np.int64) if classes.dtype.kind == "u" else np.dtype(object)


def encode_seeds(
    y: Any, n_rows: int, sample_weight: Any, execution: Execution
) -> tuple[Labels, Float64 | None]:
    """Return `encode_targets`, of rows of a weight above 0, and their weights; None: 1 each."""
    labels = encode_targets(y, n_rows, execution)
    if sample_weight is None:
        return labels, None
    return weighted_labels(labels, sample_weight, execution)


def decode_labels(
    codes: Integer, classes: npt.NDArray[Any], dtype: np.dtype[Any] | None = None
) -> npt.NDArray[Any]:
    """Return the class label of each code; -1 or None for the code -1.

    Parameters
    ----------
    codes
        Integers (n,).
    classes
        Array (C,) of class labels.
    dtype
        Of `decoded_dtype`; None: the narrowest for these codes.

    Examples
    --------
    >>> decode_labels(np.array([1, -1]), np.array(["no", "yes"], dtype=object)).tolist()
    ['yes', None]
    """
    abstained = codes == UNLABELLED
    dtype = dtype or decoded_dtype(classes, abstained=bool(abstained.any()))
    labels = classes[np.where(abstained, 0, codes)].astype(dtype)
    if abstained.any():
        labels[abstained] = None if dtype.kind == "O" else UNLABELLED
    return labels


def _as_array(y: Any) -> npt.NDArray[Any]:
    if isinstance(getattr(y, "dtype", None), np.dtype | None):
        array = np.asarray(y)
        if array.dtype.kind in "biufOU":
            return array
    # For example strings, categories and nullable numbers of pandas.
    return np.asarray(y, dtype=object)


def _labelled(y: npt.NDArray[Any], first_row: int = 0) -> Part:
    """Return (row numbers, labels) of the labelled rows."""
    from sklearn.utils import assert_all_finite

    if y.dtype.kind == "O":
        labelled = ~np.fromiter((_is_missing(value) for value in y), dtype=np.bool_, count=len(y))
        values = _plain(y[labelled])
    else:
        if y.dtype.kind == "f":
            if np.isnan(y).any():
                raise ValueError(
                    "Input y contains NaN. Write -1 for unlabelled rows, as in"
                    " np.where(np.isnan(y), -1, y)"
                )
            assert_all_finite(y, input_name="y")
        if y.dtype.kind == "u":
            _refuse_wrapped(y)
        labelled = y != UNLABELLED if y.dtype.kind in "if" else np.ones(len(y), dtype=np.bool_)
        values = y[labelled]
    return np.flatnonzero(labelled).astype(np.int64) + first_row, values


def _refuse_wrapped(y: npt.NDArray[Any]) -> None:
    wrapped = wrapped_minus_one(8 * y.dtype.itemsize)
    if n := int((y == wrapped).sum()):
        raise ValueError(
            f"y is of {y.dtype} and holds {wrapped} in {n:,} rows, which -1 becomes in that type:"
            " give y.astype(np.int64), with -1 for unlabelled rows"
        )


def _is_missing(value: Any) -> bool:
    return not isinstance(value, (np.bool_, str)) and stands_for_nothing(value)


def _plain(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels of dtype object in the dtype of their type."""
    kinds = {np.asarray(value).dtype.kind for value in values}
    if len(kinds) > 1:
        names = sorted({type(value).__name__ for value in values})
        raise ValueError(f"Unknown label type: y mixes {', '.join(names)}; use one type")
    # Strings stay objects: a fixed-width dtype would truncate longer ones of other blocks.
    return values if kinds <= {"U"} else np.array(values.tolist())


def _labelled_of_dask(y: da.Array, execution: Execution) -> tuple[Int64, npt.NDArray[Any], int]:
    if y.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {y.shape} instead")
    if any(n != n for n in y.chunks[0]):
        raise ValueError("the lengths of y's chunks are not known: call y.compute_chunk_sizes()")
    tasks = block_tasks(_labelled, [row_handles(y), row_starts(y.chunks[0])])
    parts: list[Part] = execution.compute(tasks, "labels")
    filled = [part for part in parts if len(part[0])] or parts[:1]
    rows = np.concatenate([part[0] for part in filled])
    return rows, np.concatenate([part[1] for part in filled]), len(y)
