"""Labels of unsigned types: -1 for "unlabelled" has become a number there."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ssl_dask.label_words import wrapped_minus_one
from ssl_dask.storage.input.arrow_to_numpy import ColumnValueError, decoded
from ssl_dask.storage.input.column_types import plain_type
from ssl_dask.storage.labels.label_cells import label_key
from ssl_dask.storage.labels.label_rules import ClassRule, LabelRule


def refuse_wrapped(column: pa.ChunkedArray, rule: LabelRule) -> None:
    """Refuse a column of seeds that holds what -1 becomes in its unsigned type.

    Raises
    ------
    ColumnValueError
        It counts the rows. Not where the job says what the value means, or labels are numbers.
    """
    kind = plain_type(column.type)
    if not isinstance(rule, ClassRule) or not pt.is_unsigned_integer(kind):
        return
    value = wrapped_minus_one(kind.bit_width)
    if value in (rule.classes or ()) or label_key(value) in rule.no_labels:
        return
    if n := pc.sum(pc.equal(decoded(column), pa.scalar(value, kind))).as_py():
        raise ColumnValueError(
            f"has {value} in {n:,} rows, which -1 for 'unlabelled' becomes in {kind}",
            f"write null in its place, or list {value} in input.unlabelled; in input.classes, with"
            " all other classes, if it is one",
        )
