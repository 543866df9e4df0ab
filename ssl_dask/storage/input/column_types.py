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


UNREADABLE = {
    "in the file more than once": "give each column a name of its own",
    "bytes in the log of a table": "cast it to string where the table is written",
    "in files without it a default value of the table": "rewrite the files of the table",
    "an integer of more than 64 bits": "cast it to int64, or to text, where the data is written",
}
"""Why a column of a file cannot be read at all -> the cure."""
NO_COLUMN = "ssl_dask"
DIGITS_OF_INT64 = 20
ID_TYPES = "ids are integers, strings, binary or UUIDs"
LABEL_TYPES = "labels are integers, booleans or strings, null where unlabelled"
OTHER_ID = "name another column as the id"
AS_STRING = "cast it to string where the data is written"
TAKEN_OUT = "take the field that is wanted out into a column of its own"


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which values of `kind` are judged and turned: all wrappings are off.

    A dictionary becomes its values, a view what it shows, an extension type what it is stored as
    (a truth value for `bool8`), a number of a width that Arrow's functions do not know a wider
    one. `arrow_to_numpy.decoded` does the same with values.
    """
    if pt.is_dictionary(kind) or pt.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if isinstance(kind, pa.Bool8Type):
        return pa.bool_()
    if isinstance(kind, pa.BaseExtensionType):
        return kind if why_unreadable(kind) else plain_type(kind.storage_type)
    if pt.is_float16(kind):
        return pa.float32()
    if pt.is_decimal32(kind) or pt.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    return without_view(kind)


def without_view(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column comes from its file: Parquet itself knows no views."""
    if pt.is_string_view(kind):
        return pa.string()
    if pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_list_view(kind):
        return pa.list_(without_view(kind.value_type))
    if pt.is_large_list_view(kind):
        return pa.large_list(without_view(kind.value_type))
    return kind


def unreadable(why: str) -> pa.DataType:
    """Return a type that stands for a column of a file which cannot be read.

    Parameters
    ----------
    why
        A key of `UNREADABLE`.
    """
    return pa.opaque(pa.null(), why, NO_COLUMN)


def why_unreadable(kind: pa.DataType) -> str | None:
    """Return why a column of the type cannot be read, a key of `UNREADABLE`, or None."""
    if isinstance(kind, pa.OpaqueType) and kind.vendor_name == NO_COLUMN:
        return str(kind.type_name)
    return None


def shown_type(kind: pa.DataType) -> str:
    """Return the name of a type for people."""
    if is_variant(kind):
        return "VARIANT"
    return why_unreadable(kind) or str(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text."""
    return pt.is_string(kind) or pt.is_large_string(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are bytes, which may be text that lacks its annotation."""
    return pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists, of equal or of varying length."""
    return pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)


def is_uuid(kind: pa.DataType) -> bool:
    """Whether values are UUIDs, kept as 16 bytes."""
    return isinstance(kind, pa.UuidType)


def is_variant(kind: pa.DataType) -> bool:
    """Whether values are VARIANT, which comes as a struct of its parts, shredded or not."""
    if not pt.is_struct(kind):
        return False
    parts = {field.name: field.type for field in map(kind.field, range(kind.num_fields))}
    return {"metadata", "value"} <= set(parts) <= {"metadata", "value", "typed_value"} and all(
        is_bytes(plain_type(parts[name])) for name in ("metadata", "value")
    )


def is_whole_decimal(kind: pa.DataType) -> bool:
    """Whether values are decimals without digits behind the point."""
    return pt.is_decimal(kind) and kind.scale == 0


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
    plain = plain_type(kind)
    if is_number(plain):
        return None
    found = f"is {shown_type(kind)}, where numbers are wanted"
    if is_text(plain):
        return found, "cast it to a number in the data, or use it as categorical or text"
    if is_list(plain):
        return found, "use it as vector"
    if pt.is_temporal(plain):
        return found, "turn it into a number first, such as the hour or the seconds since an event"
    return found, cure_of(kind, "leave it out of the features")


def string_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a categorical or text feature, or None."""
    plain = plain_type(kind)
    if is_text(plain) or is_number(plain) or is_bytes(plain):
        return None
    if pt.is_temporal(plain) and not (pt.is_duration(plain) or pt.is_interval(plain)):
        return None
    found = f"is {shown_type(kind)}, which has no text form"
    if is_list(plain) and is_number(plain.value_type):
        return found, "use it as vector"
    return found, cure_of(kind, "leave it out of the features")


def vector_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a vector feature, or None."""
    if isinstance(kind, pa.FixedShapeTensorType) and len(kind.shape) > 1:
        found = f"is a tensor of {len(kind.shape)} axes, where a list of numbers is wanted"
        return found, "flatten it to one axis where the data is written"
    plain = plain_type(kind)
    if pt.is_null(plain) or (is_list(plain) and is_number(plain.value_type)):
        return None
    cure = "use it as numeric" if is_number(plain) else "store it as a list of floats of one length"
    return f"is {shown_type(kind)}, where a list of numbers is wanted", cure_of(kind, cure)


def id_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as the id of a row, or None."""
    plain = plain_type(kind)
    if (
        pt.is_integer(plain)
        or is_whole_decimal(plain)
        or is_text(plain)
        or (is_bytes(plain) and not (pt.is_fixed_size_binary(plain) and plain.byte_width != 16))
    ):
        return None
    found = f"is {shown_type(kind)}; {ID_TYPES}"
    if pt.is_floating(plain) or pt.is_decimal(plain):
        return found, "cast it to int64 where the data is written"
    if is_bytes(plain) or pt.is_temporal(plain):
        return found, AS_STRING
    return found, cure_of(kind, OTHER_ID)


def label_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a label, or None."""
    plain = plain_type(kind)
    found = f"is {shown_type(kind)}; {LABEL_TYPES}"
    if isinstance(kind, (pa.UuidType, pa.JsonType)):
        return found, AS_STRING
    if pt.is_integer(plain) or pt.is_boolean(plain) or is_text(plain) or pt.is_null(plain):
        return None
    if is_whole_decimal(plain) or is_bytes(plain):
        return None
    # Integers with gaps often come as floats, choices of annotation tools as lists.
    if pt.is_floating(plain) or (is_list(plain) and is_text(plain_type(plain.value_type))):
        return None
    if pt.is_decimal(plain):
        cure = "cast it to a nullable integer where the data is written"
        return found, f"{cure}, or take method harmonic_regression, whose labels are numbers"
    if pt.is_temporal(plain):
        return found, AS_STRING
    return found, cure_of(kind, "name another column as the label")


def kept_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as a column that is carried to the output, or None."""
    if is_variant(kind):
        return "is VARIANT, which a copy would turn into a struct", TAKEN_OUT
    why = why_unreadable(kind)
    return None if why is None else (f"is {why}", UNREADABLE[why])


def cure_of(kind: pa.DataType, otherwise: str) -> str:
    """Return what makes a column of a type usable that serves nothing as it is."""
    if (why := why_unreadable(kind)) is not None:
        return UNREADABLE[why]
    return TAKEN_OUT if pt.is_struct(plain_type(kind)) else otherwise


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
    if pt.is_boolean(plain):
        return pa.bool_()
    return pa.int64() if is_number(plain) else pa.string()


def id_read_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that ids of `kind` are compared as: no id changes in it."""
    plain = plain_type(kind)
    if pt.is_decimal(plain):
        return pa.int64()
    if is_text(plain):
        return pa.large_string()
    return pa.large_binary() if pt.is_binary(plain) else plain


def id_family(kind: pa.DataType) -> str:
    """Return "integer", "text" or "bytes": ids of one family can be compared.

    Bytes of any length are text without its annotation.
    """
    read_as = id_read_type(kind)
    if pt.is_integer(read_as):
        return "integer"
    return "bytes" if pt.is_fixed_size_binary(read_as) else "text"


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
    if why_unreadable(a) or why_unreadable(b):
        return None
    if any(pt.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType) for kind in (a, b)):
        return _type_of_two(plain_type(a), plain_type(b))
    if is_text(a) and is_text(b):
        return pa.large_string()
    if pt.is_integer(a) and pt.is_integer(b):
        return _type_of_two_integers(a, b)
    if _is_decimal_or_integer(a) and _is_decimal_or_integer(b):
        return _type_of_two_decimals(a, b)
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


def _type_of_two_decimals(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    digits = [
        (kind.precision - kind.scale, kind.scale) if pt.is_decimal(kind) else (DIGITS_OF_INT64, 0)
        for kind in (a, b)
    ]
    scale = max(behind for _, behind in digits)
    precision = max(before for before, _ in digits) + scale
    if precision > 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _type_of_two_lists(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    value = _type_of_two(a.value_type, b.value_type)
    if value is None:
        return None
    if pt.is_fixed_size_list(a) and pt.is_fixed_size_list(b):
        return pa.list_(value, a.list_size) if a.list_size == b.list_size else None
    return pa.list_(value)


def _is_float_or_integer(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind)


def _is_decimal_or_integer(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_decimal(kind)


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
