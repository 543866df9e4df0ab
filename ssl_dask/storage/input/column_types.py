"""Which column types serve which purpose, and which type several files have in common."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.types as pt

TypeCheck = Callable[[pa.DataType], tuple[str, str] | None]
"""type -> (what is wrong with it, cure), or None where it serves."""

STRING_OVERHEAD = 57
"""Bytes that a Python string takes beyond its text, and its place in an array."""


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary, or the type itself."""
    return kind.value_type if pt.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text."""
    return pt.is_string(kind) or pt.is_large_string(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists, of equal or of varying length."""
    return pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)


def is_uuid(kind: pa.DataType) -> bool:
    """Whether values are UUIDs, kept as 16 bytes."""
    return isinstance(kind, pa.UuidType)


def is_number(kind: pa.DataType) -> bool:
    """Whether values are numbers or truth values, or the column is empty in this file."""
    kind = plain_type(kind)
    return (
        pt.is_integer(kind)
        or pt.is_floating(kind)
        or pt.is_decimal(kind)
        or pt.is_boolean(kind)
        or pt.is_null(kind)
    )


def numeric_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a numeric feature, or None."""
    if is_number(kind):
        return None
    found = f"is {kind}, where numbers are wanted"
    if is_text(plain_type(kind)):
        return found, "cast it to a number in the data, or use it as categorical or text"
    if is_list(kind):
        return found, "use it as vector"
    if pt.is_temporal(kind):
        return found, "turn it into a number first, such as the hour or the seconds since an event"
    return found, "leave it out of the features"


def string_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a categorical or text feature, or None."""
    plain = plain_type(kind)
    if is_text(plain) or is_number(plain) or (pt.is_temporal(plain) and not pt.is_duration(plain)):
        return None
    found = f"is {kind}, which has no text form"
    return found, "use it as vector" if is_list(kind) else "leave it out of the features"


def vector_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a vector feature, or None."""
    if pt.is_null(kind) or (is_list(kind) and is_number(kind.value_type)):
        return None
    cure = "use it as numeric" if is_number(kind) else "store it as a list of floats of one length"
    return f"is {kind}, where a list of numbers is wanted", cure


def id_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as the id of a row, or None."""
    kind = plain_type(kind)
    if (
        pt.is_integer(kind)
        or is_text(kind)
        or pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or is_uuid(kind)
        or (pt.is_fixed_size_binary(kind) and kind.byte_width == 16)
    ):
        return None
    allowed = "ids are integers, strings, binary or UUIDs"
    if pt.is_floating(kind):
        return f"is {kind}; {allowed}", "cast it to int64 where the data is written"
    return f"is {kind}; {allowed}", "name another column as the id"


def label_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a label, or None."""
    plain = plain_type(kind)
    if pt.is_integer(plain) or pt.is_boolean(plain) or is_text(plain) or pt.is_null(plain):
        return None
    # Integers with gaps often come as floats, choices of annotation tools as lists.
    if pt.is_floating(plain) or (is_list(plain) and is_text(plain_type(plain.value_type))):
        return None
    found = f"is {kind}; labels are integers, booleans or strings, null where unlabelled"
    if pt.is_decimal(plain):
        cure = "cast it to a nullable integer where the data is written"
        return found, f"{cure}, or take method harmonic_regression, whose labels are numbers"
    return found, "name another column as the label"


def number_label_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a label that is a number, or None."""
    plain = plain_type(kind)
    if is_number(plain) and not pt.is_boolean(plain):
        return None
    found = f"is {kind}; the labels of this method are numbers, null where unlabelled"
    if pt.is_boolean(plain) or is_text(plain):
        return found, "cast it to a number in the data, or take a method whose labels are classes"
    return found, "name another column as the label"


def label_type(kind: pa.DataType) -> pa.DataType:
    """Return the one type that labels of `kind` are read as: int64, bool or string."""
    plain = plain_type(kind)
    if pt.is_integer(plain) or pt.is_floating(plain) or pt.is_null(plain):
        return pa.int64()
    return pa.bool_() if pt.is_boolean(plain) else pa.string()


def id_read_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that ids of `kind` are compared as: no id changes in it."""
    plain = plain_type(kind)
    if is_uuid(plain):
        return pa.binary(16)
    if is_text(plain):
        return pa.large_string()
    return pa.large_binary() if pt.is_binary(plain) else plain


def id_family(kind: pa.DataType) -> str:
    """Return "integer", "text" or "bytes": ids of one family can be compared."""
    plain = plain_type(kind)
    if pt.is_integer(plain):
        return "integer"
    return "text" if is_text(plain) else "bytes"


def common_type(kinds: Iterable[pa.DataType]) -> pa.DataType | None:
    """Return the type that all `kinds` can be cast to without loss, or None.

    int64 and floats meet in float64: the cast is checked value by value where ids or kept columns
    are concerned, and numeric features are float64 in any case.
    """
    distinct = list(dict.fromkeys(kinds))
    common = distinct[0]
    for kind in distinct[1:]:
        joined = _type_of_two(common, kind)
        if joined is None:
            return None
        common = joined
    return common


def _type_of_two(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if a.equals(b) or pt.is_null(b):
        return a
    if pt.is_null(a):
        return b
    if pt.is_dictionary(a) or pt.is_dictionary(b):
        return _type_of_two(plain_type(a), plain_type(b))
    if is_text(a) and is_text(b):
        return pa.large_string()
    if pt.is_integer(a) and pt.is_integer(b):
        return _type_of_two_integers(a, b)
    if _is_float_or_integer(a) and _is_float_or_integer(b):
        small = all(kind.bit_width <= (32 if pt.is_floating(kind) else 16) for kind in (a, b))
        return pa.float32() if small else pa.float64()
    if (pt.is_binary(a) or pt.is_large_binary(a)) and (pt.is_binary(b) or pt.is_large_binary(b)):
        return pa.large_binary()
    if pt.is_timestamp(a) and pt.is_timestamp(b) and a.tz == b.tz:
        units = ["s", "ms", "us", "ns"]
        return a if units.index(a.unit) >= units.index(b.unit) else b
    if is_list(a) and is_list(b):
        return _type_of_two_lists(a, b)
    return None


def _type_of_two_integers(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if pt.is_signed_integer(a) == pt.is_signed_integer(b):
        return a if a.bit_width >= b.bit_width else b
    signed, unsigned = (a, b) if pt.is_signed_integer(a) else (b, a)
    if signed.bit_width > unsigned.bit_width:
        return signed
    return {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}.get(unsigned.bit_width)


def _type_of_two_lists(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    value = _type_of_two(a.value_type, b.value_type)
    if value is None:
        return None
    if pt.is_fixed_size_list(a) and pt.is_fixed_size_list(b):
        return pa.list_(value, a.list_size) if a.list_size == b.list_size else None
    return pa.list_(value)


def _is_float_or_integer(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind)


def value_bytes(kind: pa.DataType) -> int:
    """Return the bytes that a value takes when it is read, apart from the text of a string."""
    kind = plain_type(kind)
    if pt.is_fixed_size_list(kind):
        return int(kind.list_size) * 4
    if is_list(kind):
        return 8
    if is_number(kind) or pt.is_temporal(kind):
        return 8
    return STRING_OVERHEAD + 16


def nearest_names(name: str, names: Sequence[str]) -> str | None:
    """Return a hint with the names closest to `name`, or None."""
    folded = [other for other in names if other.casefold() == name.casefold()]
    near = folded or difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if not near:
        return None
    return f"did you mean {' or '.join(repr(other) for other in near)}?"
