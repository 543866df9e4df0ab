"""The labels of one block: which of its rows carry one, and which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ssl_dask.labels import OTHER_CLASS, UNLABELLED
from ssl_dask.storage.input.arrow_to_numpy import ColumnValueError, numeric_values
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import is_text, label_type
from ssl_dask.storage.labels.label_file import SeedFile
from ssl_dask.storage.labels.label_rules import ANY_CLASSES, LabelRule
from ssl_dask.storage.labels.label_values import LabelValue, is_stand_in


@dataclass(frozen=True)
class BlockLabels:
    """The labelled rows of one block.

    Parameters
    ----------
    positions
        int64 (s,): rows, counted in the block.
    codes
        int32 (s,): position of each label in `values`.
    values
        Distinct labels; None for text that is not valid UTF-8. Empty when the labels are those of a
        `SeedFile`, whose ids `codes` then points to.
    """

    positions: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int32]
    values: tuple[LabelValue | None, ...]


def labels_of_block(column: pa.ChunkedArray, kind: pa.DataType, rule: LabelRule) -> BlockLabels:
    """Find the labelled rows in one block of a label column.

    Parameters
    ----------
    column
        As read from one file.
    kind
        The column's type in the whole data set.
    rule
        What labels may be.

    Raises
    ------
    ColumnValueError
        An integer that is beyond what labels are read as.
    """
    array = rule.array(column, kind)
    positions = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
    array = array.drop_null()
    if is_text(array.type):
        array = array.cast(pa.binary())
    encoded = array.dictionary_encode()
    values = tuple(_decoded(value) for value in encoded.dictionary.to_pylist())
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return BlockLabels(positions, codes, values)


def _decoded(value: int | bool | float | bytes) -> LabelValue | None:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def matches_of_block(ids: pa.Array, seeds: SeedFile) -> BlockLabels:
    """Find the rows of one block whose ids are in a label file; `codes` are places in `seeds.ids`.

    Costs a hash table of the seeds' ids, O(S), in each task.
    """
    found = pc.index_in(ids, value_set=seeds.ids, skip_nulls=True)
    positions = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
    codes = found.drop_null().to_numpy(zero_copy_only=False).astype(np.int32)
    return BlockLabels(positions, codes, ())


def block_ids(reader: ColumnReader, block: int, id_column: str | None) -> pa.Array:
    """Return the ids of one block, which are row numbers where there is no id column.

    Raises
    ------
    InputDataError
        As `ColumnReader.read`.
    """
    if id_column is None:
        return pa.array(reader.read_ids(block, None))
    return reader.id_array(block, id_column)


def truth_codes(
    reader: ColumnReader, block: int, column: str, classes: npt.NDArray[Any]
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
    with reader.telling(block, column):
        return codes_of_truth(values, kind, classes)


def true_numbers(reader: ColumnReader, block: int, column: str) -> npt.NDArray[np.float64]:
    """Return the true number of each row of a block, float64 (n,); NaN where it is not known.

    Infinity in place of a truth is taken as not known.

    Raises
    ------
    InputDataError
        The data cannot be read.
    """
    values = numeric_values(reader.read_raw(block, [column]).column(column)).copy()
    values[np.isinf(values)] = np.nan
    return values


def codes_of_truth(
    column: pa.ChunkedArray, kind: pa.DataType, classes: npt.NDArray[Any]
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
    table = [
        places.get(value, UNLABELLED if is_stand_in(value) else OTHER_CLASS)
        for value in found.values
    ]
    codes[found.positions] = np.array(table, dtype=np.int32)[found.codes]
    return codes


def _arrow_type(classes: npt.NDArray[Any]) -> pa.DataType:
    if classes.dtype == np.bool_:
        return pa.bool_()
    return pa.int64() if np.issubdtype(classes.dtype, np.integer) else pa.string()
