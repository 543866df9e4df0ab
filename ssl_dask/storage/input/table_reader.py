"""Columns in memory, read as the blocks of files are: a block reader over one table."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_dask.errors import Caution, InputDataError, Problem
from ssl_dask.kernels.arithmetic.offsets import distance_told, far_from_offset
from ssl_dask.storage.input.arrow_to_numpy import ColumnValueError, without_views
from ssl_dask.storage.input.column_reader import as_features
from ssl_dask.storage.input.column_types import (
    nearest_names,
    numeric_trouble,
    string_trouble,
    vector_trouble,
)
from ssl_dask.storage.input.dataset import Dataset

TROUBLES = {
    "numeric": numeric_trouble,
    "string": string_trouble,
    "vector": vector_trouble,
    "vector_or_null": vector_trouble,
}


class TableReader:
    """One block of rows in memory.

    Parameters
    ----------
    table
        The columns.
    types
        Types that columns had in the data set where features were fitted: text is made of a value
        of another type as it was made there.
    offsets
        What is subtracted from columns that are read as "numeric".

    Notes
    -----
    Build it with `TableReader.of`.
    """

    def __init__(
        self, table: pa.Table, types: pa.Schema, offsets: Mapping[str, int] | None = None
    ) -> None:
        self.table, self.types, self.offsets = table, types, offsets or {}

    @classmethod
    def of(
        cls,
        columns: Any,
        names: Collection[str],
        types: pa.Schema,
        offsets: Mapping[str, int] | None = None,
    ) -> TableReader:
        """Take columns from memory.

        Parameters
        ----------
        columns
            Arrow table, pandas frame, or mapping of column names to arrays (n,), for vectors also
            (n, d). A null is None or NaN. Columns beside `names` are not looked at.
        names
            The columns that are needed.
        types
            Types that columns had in the data set where features were fitted.
        offsets
            What was subtracted from columns there.

        Raises
        ------
        InputDataError
            These are no columns with names; one is missing, there twice, or cannot be read as a
            column; lengths differ.
        """
        there = _names(columns)
        missing = [name for name in names if name not in there]
        if missing:
            raise InputDataError(
                [
                    Problem("there is no such column", column=name, hint=nearest_names(name, there))
                    for name in missing
                ]
            )
        twice = [name for name in names if there.count(name) > 1]
        if twice:
            raise InputDataError(
                [Problem("is there more than once", column=name, hint="keep one") for name in twice]
            )
        arrays = {name: _as_column(name, columns[name]) for name in names}
        by_length = {len(array): name for name, array in reversed(arrays.items())}
        if len(by_length) > 1:
            told = ", ".join(f"{name!r} has {n:,}" for n, name in reversed(by_length.items()))
            raise InputDataError(
                f"the columns differ in their rows: {told}", hint="give columns of one length"
            )
        return cls(without_views(pa.table(arrays)), types, offsets)

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Rows of the one block."""
        return (self.table.num_rows,)

    def read(self, block: int, kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
        """Return columns in the forms of `ColumnReader.read`.

        Raises
        ------
        InputDataError
            A column is of a type that does not serve, or a value cannot be turned.
        """
        return {column: self._column(column, kind) for column, kind in kinds.items()}

    def far_values(self) -> list[Caution]:
        """Return a caution for each column whose values lose digits although it has an offset."""
        cautions = []
        for column in self.offsets:
            values = self._column(column, "numeric")
            ends = np.fmin.reduce(values, initial=np.inf), np.fmax.reduce(values, initial=-np.inf)
            if far_from_offset(*ends):
                cautions.append(Caution(distance_told(repr(column))))
        return cautions

    def _column(self, column: str, kind: str) -> npt.NDArray[Any]:
        values = self.table.column(column)
        trouble = TROUBLES[kind](values.type)
        if trouble is not None:
            raise InputDataError(trouble[0], column=column, hint=trouble[1])
        try:
            field_type, offset = self.types.field(column).type, self.offsets.get(column, 0)
            return as_features(values, field_type, kind, offset)
        except ColumnValueError as error:
            raise InputDataError(str(error), column=column, hint=error.hint) from None


def _names(columns: Any) -> list[Any]:
    if isinstance(columns, pa.Table):
        return list(columns.column_names)
    # A frame has keys() as a mapping has; an array without names could be in any order.
    if not hasattr(columns, "keys"):
        raise InputDataError(
            f"a {type(columns).__name__} has no columns with names",
            hint="give an Arrow table, a pandas frame, or a mapping of column names to arrays",
        )
    return list(columns.keys())


def _as_column(name: str, values: Any) -> pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray) and values.ndim == 2:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.chunked_array([pa.FixedSizeListArray.from_arrays(flat, values.shape[1])])
    try:
        found = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        # Arrow's own message quotes the value.
        raise InputDataError(
            f"is no column: {type(values).__name__} with values of several kinds, or of none that"
            " a file may hold",
            column=name,
            hint="give one kind of values",
        ) from None
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def types_to_text(dataset: Dataset, names: Collection[str]) -> str:
    """Return the types of columns as text, for `types_from_text`."""
    schema = pa.schema([pa.field(name, dataset.schema.field(name).type) for name in names])
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def types_from_text(text: str) -> pa.Schema:
    """Return the types that `types_to_text` wrote.

    Raises
    ------
    ValueError
        It is no such text.
    """
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))


def read_in_types(dataset: Dataset, types: pa.Schema) -> Dataset:
    """Return a data set whose columns are read in these types where they have one.

    Columns from folder names stay text, as they stand there.
    """
    known = set(types.names) - set(dataset.partition_columns)
    fields = [types.field(one.name) if one.name in known else one for one in dataset.schema]
    return replace(dataset, schema=pa.schema(fields))
