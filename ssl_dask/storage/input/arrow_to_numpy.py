"""Arrow columns to NumPy arrays, exactly; whatever cannot be turned is counted, never quoted."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ssl_dask.kernels.arithmetic.offsets import less_offset, rounded
from ssl_dask.label_words import stands_for_nothing, wrapped_minus_one
from ssl_dask.storage.input.column_types import (
    AS_STRING,
    LABEL_TYPES,
    id_read_type,
    is_bytes,
    is_list,
    is_text,
    is_uuid,
    label_type,
    plain_type,
    without_view,
)

HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class ColumnValueError(Exception):
    """Values cannot be turned as asked; the message counts them and gives no content.

    Parameters
    ----------
    text
        What is wrong.
    hint
        The cure.
    """

    def __init__(self, text: str, hint: str = "correct the values where the data is written"):
        super().__init__(text)
        self.hint = hint


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column in `plain_type` of its type: the values themselves, no wrapping."""
    kind = column.type
    if pt.is_run_end_encoded(kind):
        chunks = [pc.run_end_decode(chunk) for chunk in column.chunks]
        return decoded(pa.chunked_array(chunks, kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        column = _storage(column)
        # The truth values of bool8 are bytes, true where not 0.
        return pc.not_equal(column, 0) if isinstance(kind, pa.Bool8Type) else decoded(column)
    if pt.is_dictionary(kind):
        return decoded(column.cast(kind.value_type))
    plain = plain_type(kind)
    return column if column.type.equals(plain) else column.cast(plain)


def without_views(table: pa.Table) -> pa.Table:
    """Return the table with its views as plain columns, see `without_view`."""
    for i, field in enumerate(table.schema):
        kind = without_view(field.type)
        if kind == field.type:
            continue
        column = table.column(i)
        if pt.is_string_view(field.type) or pt.is_binary_view(field.type):
            column = column.cast(kind)
        else:
            chunks = [_plain_lists(chunk, kind) for chunk in column.chunks]
            column = pa.chunked_array(chunks, kind)
        table = table.set_column(i, field.with_type(kind), column)
    return table


def _plain_lists(views: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return lists in place of views of lists; Arrow's own cast makes invalid arrays of them."""
    lengths = pc.fill_null(pc.list_value_length(views), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = without_views(pa.table({"": views.flatten()})).column(0)
    wide = pt.is_large_list(kind)
    return (pa.LargeListArray if wide else pa.ListArray).from_arrays(
        pa.array(offsets, pa.int64() if wide else pa.int32()),
        _one_array(values).cast(kind.value_type),
        mask=views.is_null(),
    )


def nulls_of(kind: pa.DataType, n_rows: int) -> pa.ChunkedArray:
    """Return a column of a type without any value."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.chunked_array([kind.wrap_array(pa.nulls(n_rows, kind.storage_type))])
    return pa.chunked_array([pa.nulls(n_rows, kind)])


def cast_exactly(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return the column in another type, in which no value changes.

    Raises
    ------
    ColumnValueError
        A value has no place in `kind`.
    """
    found = column.type
    if found.equals(kind):
        return column
    if pt.is_null(found):
        return nulls_of(kind, len(column))
    try:
        if isinstance(kind, pa.BaseExtensionType):
            stored = cast_exactly(decoded(column), kind.storage_type)
            return pa.chunked_array([kind.wrap_array(chunk) for chunk in stored.chunks], kind)
        if isinstance(found, pa.BaseExtensionType) or pt.is_fixed_size_binary(found):
            column = decoded(column)
        if pt.is_fixed_size_binary(column.type) and is_text(kind):
            column = column.cast(pa.binary())
        cast = column.cast(kind, safe=True)
        # Arrow takes any number for true, drops times of day, and counts days in integers.
        if _drops_values(column.type, kind) and not cast.cast(column.type).equals(column):
            raise pa.ArrowInvalid
        if pt.is_temporal(kind) and pt.is_integer(column.type):
            raise pa.ArrowInvalid
        return cast
    except pa.ArrowException:
        if is_bytes(plain_type(found)) and is_text(kind):
            text = "is binary without text annotation, and not all of it is UTF-8"
            raise ColumnValueError(text, AS_STRING) from None
        text = f"has {found} values that do not fit {kind}"
        if pt.is_decimal(found) and pt.is_integer(kind):
            raise ColumnValueError(text, AS_STRING) from None
        # Arrow's own message quotes the value.
        raise ColumnValueError(text) from None


def _drops_values(found: pa.DataType, kind: pa.DataType) -> bool:
    """Return whether Arrow's safe cast between the types may change a value without a word."""
    if pt.is_boolean(kind):
        return bool(pt.is_integer(found) or pt.is_floating(found))
    return bool(pt.is_date(kind) and pt.is_temporal(found))


def numeric_values(column: pa.ChunkedArray, offset: int = 0) -> npt.NDArray[np.float64]:
    """Return column - offset, float64 (n,); null becomes NaN, true 1.

    Of integers and decimals the difference is rounded, not the value, see `rounded_integers`.
    Text must be numbers, as the names of folders can be.

    Raises
    ------
    ColumnValueError
        Text that is no number, or a decimal of more than 75 digits with an offset.
    """
    column = decoded(column)
    if offset and pt.is_decimal(column.type):
        wide = pa.decimal256(75, column.type.scale)
        subtracted = cast_exactly(pa.chunked_array([[Decimal(offset)]]), wide)[0]
        column, offset = pc.subtract(cast_exactly(column, wide), subtracted), 0
    if offset and pt.is_integer(column.type):
        found = less_offset(pc.fill_null(column, 0).to_numpy(), offset)
        return np.where(column.is_null().to_numpy(), np.nan, found)
    if is_text(column.type):
        found = cast_exactly(column, pa.float64()).to_numpy()
    elif pt.is_null(column.type):
        found = np.full(len(column), np.nan)
    else:
        if pt.is_boolean(column.type):
            column = column.cast(pa.uint8())
        found = column.cast(pa.float64(), safe=False).to_numpy()
    return less_offset(found, offset) if offset else found


def rounded_integers(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return which values are whole numbers by their type that float64 does not hold, bool (n,)."""
    column = decoded(column)
    if pt.is_decimal(column.type) and column.type.scale == 0 and column.type.precision > 15:
        there = column.cast(pa.float64()).cast(column.type, safe=False)
        return pc.fill_null(pc.not_equal(column, there), False).to_numpy()
    if not pt.is_integer(column.type):
        return np.zeros(len(column), dtype=bool)
    return rounded(pc.fill_null(column, 0).to_numpy())


def text_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return the column as text; `kind` is the type that it has in the whole data set.

    Raises
    ------
    ColumnValueError
        Text that is no valid UTF-8, or a value that has no place in `kind`.

    Notes
    -----
    Bytes are read as the text that they are; a UUID as people write it.
    """
    column = decoded(column)
    if is_uuid(kind) and pt.is_fixed_size_binary(column.type):
        return pa.chunked_array([_uuid_texts(chunk) for chunk in column.chunks], pa.string())
    if is_bytes(column.type):
        return cast_exactly(column, pa.large_string())
    if is_text(column.type):
        # Arrow does not look at the bytes of text when it reads: this cast does.
        binary = pa.large_binary() if pt.is_large_string(column.type) else pa.binary()
        try:
            column.cast(binary).cast(column.type)
        except pa.ArrowException:
            raise ColumnValueError("has text that is not valid UTF-8") from None
        return column
    column = cast_exactly(column, plain_type(kind))
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        # Times of a zone that this machine does not know.
        raise ColumnValueError(f"has {column.type} values without a text form", AS_STRING) from None


def _uuid_texts(cells: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Return UUIDs, 16 bytes each, as people write them."""
    raw = np.frombuffer(cells.buffers()[1], dtype=np.uint8).reshape(-1, 16)
    raw = raw[cells.offset : cells.offset + len(cells)]
    digits = HEX[np.stack([raw >> 4, raw & 15], axis=2)].reshape(-1, 32)
    text = np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1).tobytes()
    texts = pa.Array.from_buffers(pa.binary(36), len(cells), [None, pa.py_buffer(text)])
    return pc.if_else(cells.is_null(), None, texts.cast(pa.binary())).cast(pa.string())


def text_values(column: pa.ChunkedArray, kind: pa.DataType) -> npt.NDArray[np.object_]:
    """Return an object array (n,) of str, None where null; see `text_column`."""
    return text_column(column, kind).to_numpy().astype(object, copy=False)


def vector_values(column: pa.ChunkedArray, *, only_null_allowed: bool = False) -> npt.NDArray[Any]:
    """Return float32 (n, width) of a list column; a null row and a null element become NaN.

    float64 of numbers that float32 does not hold: doubles, and integers of 32 bits and more.

    With `only_null_allowed` a column without any list is (n, 0) where its type gives no length.

    Raises
    ------
    ColumnValueError
        Lists of different lengths, or a list column without any list.
    """
    array = _one_array(decoded(column))
    lengths = vector_lengths(array)
    valid = lengths >= 0
    widths = np.unique(lengths[valid])
    if len(widths) == 0 and pt.is_fixed_size_list(array.type):
        widths = np.array([array.type.list_size])
    if len(widths) == 0 and only_null_allowed:
        return np.empty((len(array), 0), dtype=np.float32)
    if len(widths) != 1:
        found = (
            f"lists of {len(widths)} different lengths" if len(widths) else "no lists, only null"
        )
        raise ColumnValueError(f"has {found}; a vector needs one length")
    values = numeric_values(pa.chunked_array([array.flatten()])) if len(array) else np.empty(0)
    kind = array.type.value_type
    narrow = pt.is_float32(kind) or pt.is_float16(kind) or pt.is_null(kind)
    narrow = narrow or (pt.is_integer(kind) and kind.bit_width < 32) or pt.is_boolean(kind)
    flat = values.astype(np.float32 if narrow else np.float64)
    if valid.all():
        return flat.reshape(len(array), int(widths[0]))
    out = np.full((len(array), int(widths[0])), np.nan, dtype=flat.dtype)
    out[valid] = flat.reshape(-1, int(widths[0]))
    return out


def vector_lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """Return the length of each list, int64 (n,); -1 where null."""
    if pt.is_null(array.type):
        return np.full(len(array), -1, dtype=np.int64)
    lengths = pc.list_value_length(array).cast(pa.int64())
    return pc.fill_null(lengths, -1).to_numpy(zero_copy_only=False)


def one_vector_array(column: pa.ChunkedArray) -> pa.Array:
    """Return the list column as one Arrow array."""
    return _one_array(decoded(column))


def id_array(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """Return ids as one Arrow array in the type that they are compared in.

    Parameters
    ----------
    column
        As read from one file; nulls stay null.
    kind
        The id's type in the whole data set.

    Raises
    ------
    ColumnValueError
        An id that has no place in that type.
    """
    return _one_array(cast_exactly(decoded(column), id_read_type(kind)))


def id_values(array: pa.Array) -> npt.NDArray[Any]:
    """Return ids as NumPy: integers in their type, else an object array of str or bytes.

    Raises
    ------
    ColumnValueError
        Null ids, or text that is not valid UTF-8.
    """
    if array.null_count:
        raise ColumnValueError(f"has rows without an id: {array.null_count:,}")
    if pt.is_integer(array.type):
        return array.to_numpy()
    try:
        values = array.to_pylist()
    except UnicodeDecodeError:
        raise ColumnValueError("has text that is not valid UTF-8") from None
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def label_array(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """Return labels as one Arrow array of int64, bool or string; null where unlabelled.

    NaN is null where whole numbers are floats. A list of choices becomes its JSON text.

    Parameters
    ----------
    column
        As read from one file.
    kind
        The label's type in the whole data set.

    Raises
    ------
    ColumnValueError
        An unsigned integer above 2**63 - 1, a float that is no whole number, or a list of choices
        that are not valid UTF-8.
    """
    column = decoded(column)
    if is_list(column.type):
        return _json_texts(_one_array(column))
    if pt.is_floating(column.type):
        numbers = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(numbers), None, numbers)
        try:
            return _one_array(column.cast(pa.int64(), safe=True))
        except pa.ArrowException:
            raise ColumnValueError(
                f"has numbers that are not whole; {LABEL_TYPES}, or numbers of method"
                " harmonic_regression"
            ) from None
    return _one_array(cast_exactly(column, label_type(kind)))


def _json_texts(choices: pa.Array) -> pa.Array:
    """Return lists of texts as JSON, null where there is no list; each text is written once."""
    cells = decoded(pa.chunked_array([choices.flatten()])).combine_chunks().dictionary_encode()
    try:
        written = pa.array(list(map(json.dumps, cells.dictionary.to_pylist())), pa.string())
    except UnicodeDecodeError:
        raise ColumnValueError("has text that is not valid UTF-8") from None
    lengths = vector_lengths(choices)
    ends = pa.array(np.concatenate([[0], np.cumsum(np.maximum(lengths, 0))]), pa.int64())
    inner = pc.fill_null(written.take(cells.indices), "null")
    lists = pa.LargeListArray.from_arrays(ends, inner, mask=pa.array(lengths < 0))
    return pc.binary_join_element_wise("[", pc.binary_join(lists, ", "), "]", "")


def number_label_array(column: pa.ChunkedArray) -> pa.Array:
    """Return labels as one Arrow array of float64, null where unlabelled; 0.0 for -0.0.

    Raises
    ------
    ColumnValueError
        An integer beyond 2**53, which float64 does not hold.
    """
    return pc.add(_one_array(cast_exactly(decoded(column), pa.float64())), 0.0)


def said_none(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return which values stand for "no value", bool (n,): empty text, words such as NA, and -1.

    In an unsigned type -1 is the largest number.

    Text is judged by `stands_for_nothing`, once for each distinct text. Nulls are not among them.
    """
    if is_text(values.type):
        # As bytes: cells that are no UTF-8 are no words.
        cells = values.cast(pa.large_binary())
        distinct = cells.unique().drop_null().to_pylist()
        words = [one for one in distinct if stands_for_nothing(one.decode(errors="replace"))]
        found = pc.is_in(cells, value_set=pa.array(words, pa.large_binary()))
    elif pt.is_integer(values.type):
        bits = values.type.bit_width
        none = -1 if pt.is_signed_integer(values.type) else wrapped_minus_one(bits)
        found = pc.fill_null(pc.equal(values, pa.scalar(none, values.type)), False)
    else:
        return np.zeros(len(values), dtype=bool)
    mask: npt.NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
    return mask


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what an extension type is stored as."""
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], column.type)
    return pa.concat_arrays(column.chunks)
