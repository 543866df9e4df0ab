"""Keys of what rows share: equal values of a column have equal keys on any machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from dask.delayed import Delayed, delayed

from ssl_dask.storage.ids.id_hash import hash_ids
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import is_text


def entity_keys(reader: ColumnReader, column: str) -> list[Delayed]:
    """Return a handle for each block to the keys of a column; nothing is read yet.

    Parameters
    ----------
    reader
        Of the whole data.
    column
        Integers, text, bytes or UUIDs.

    Returns
    -------
    For each block (uint64 (n_i,) keys, bool (n_i,) whether there is one): null and empty text are
    no entity. Keys are 64-bit hashes; two different texts share one with a chance of 2**-64.
    """
    shared = delayed(reader, pure=False, traverse=False)
    keys = delayed(_keys, pure=False)
    return [keys(shared, block, column) for block in range(len(reader.row_counts))]


def _keys(
    reader: ColumnReader, block: int, column: str
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    values = reader.id_array(block, column)
    there = values.is_valid()
    if is_text(values.type):
        there = pc.and_(there, pc.fill_null(pc.greater(pc.binary_length(values), 0), False))
    valid = there.to_numpy(zero_copy_only=False)
    keys = np.zeros(len(values), dtype=np.uint64)
    keys[valid] = hash_ids(values.filter(pa.array(valid)))
    return keys, valid
