"""The truth of a benchmark: true classes and numbers of a block, for scoring on the workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.labels import OTHER_CLASS, UNLABELLED
from ssl_dask.storage.input.arrow_to_numpy import ColumnValueError, numeric_values
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import label_type
from ssl_dask.storage.labels.label_rules import ANY_CLASSES, ClassRule, true_label
from ssl_dask.storage.labels.label_verdict import LabelValue
from ssl_dask.storage.labels.number_rule import NumberRule
from ssl_dask.storage.labels.seed_labels import labels_of_block


def truth_codes(
    reader: ColumnReader,
    block: int,
    column: str,
    classes: npt.NDArray[Any],
    unlabelled: Sequence[LabelValue] = (),
) -> npt.NDArray[np.int32]:
    """Return the true class of each row of a block, for scoring on the workers.

    Parameters
    ----------
    reader, block
        Where to read.
    column
        Column of true labels.
    classes
        array (C,) of classes, as in `Labels`.
    unlabelled
        Values that stand for no label: the truth is not known there.

    Returns
    -------
    int32 (n,): as `codes_of_truth`.

    Raises
    ------
    InputDataError
        The data cannot be read, or the column's values are of another kind than the classes.
    """
    values = reader.read_raw(block, [column]).column(column)
    kind = reader.dataset.schema.field(column).type
    with reader.naming_place(block, column):
        return codes_of_truth(values, kind, classes, unlabelled)


def true_numbers(
    reader: ColumnReader, block: int, column: str, rule: NumberRule
) -> npt.NDArray[np.float64]:
    """Return the true number of each row of a block, float64 (n,); NaN where it is not known.

    It is not known where `rule` takes a value for no label.

    Raises
    ------
    InputDataError
        The data cannot be read.
    """
    values = numeric_values(reader.read_raw(block, [column]).column(column)).copy()
    values[~rule.are_numbers(values)] = np.nan
    return values


def codes_of_truth(
    column: pa.ChunkedArray,
    kind: pa.DataType,
    classes: npt.NDArray[Any],
    unlabelled: Sequence[LabelValue],
) -> npt.NDArray[np.int32]:
    """Return the place of each value in `classes`, int32 (n,).

    -1 where the truth is not known: null, or a value that stands for none, such as empty text or
    -1, unless it is a class. -2 (`OTHER_CLASS`) where it is known and none of the classes.

    Raises
    ------
    ColumnValueError
        The values are of another kind than the classes.
    """
    codes = np.full(len(column), UNLABELLED, dtype=np.int32)
    if pt.is_null(kind):
        return codes
    known = pa.array(classes.tolist(), _arrow_type(classes))
    if not known.type.equals(label_type(kind)):
        raise ColumnValueError(f"is {kind}, but the classes are {known.type}")
    found = labels_of_block(column, kind, ANY_CLASSES)
    places = {value: code for code, value in enumerate(classes.tolist())}
    rule = ClassRule(tuple(places), unlabelled)
    read = [true_label(value, rule) for value in found.values]
    table = [UNLABELLED if one.says_none else places.get(one.label, OTHER_CLASS) for one in read]
    codes[found.positions] = np.array(table, dtype=np.int32)[found.codes]
    return codes


def _arrow_type(classes: npt.NDArray[Any]) -> pa.DataType:
    if classes.dtype == np.bool_:
        return pa.bool_()
    return pa.int64() if np.issubdtype(classes.dtype, np.integer) else pa.string()
