"""Fetches a few rows by their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from dask import delayed

from ssl_dask.execution import Execution
from ssl_dask.storage.input.column_reader import ColumnReader


def fetch_rows(
    reader: ColumnReader,
    rows: npt.NDArray[np.int64],
    columns: Sequence[str],
    execution: Execution,
    *,
    row_numbers: str | None = None,
) -> pa.Table:
    """Return `columns` of the rows with the global numbers `rows`, in that order.

    Parameters
    ----------
    reader
        Of the data set.
    rows
        int64 (m,), distinct.
    columns, row_numbers
        As `ColumnReader.read_table`.
    execution
        Where the blocks are read.

    Raises
    ------
    InputDataError
        As `ColumnReader.read_table`.

    Notes
    -----
    One task for each block that holds such a row; the m rows come to this process.
    """
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    starts = reader.layout.starts
    block_of = np.searchsorted(starts, ascending, side="right") - 1
    shared = delayed(reader, traverse=False, pure=False)
    take = delayed(_take, pure=False)
    tasks = [
        take(shared, int(block), ascending[block_of == block] - starts[block], columns, row_numbers)
        for block in np.unique(block_of)
    ]
    table = pa.concat_tables(execution.compute(tasks, "fetch rows"))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return table.take(pa.array(back))


def _take(
    reader: ColumnReader,
    block: int,
    positions: npt.NDArray[np.int64],
    columns: Sequence[str],
    row_numbers: str | None,
) -> pa.Table:
    return reader.read_table(block, columns, row_numbers=row_numbers).take(pa.array(positions))
