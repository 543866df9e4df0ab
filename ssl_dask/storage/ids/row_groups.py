"""Groups of rows by a column with few values, and which of them each seed is in."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from dask.delayed import delayed

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.label_words import stands_for_nothing
from ssl_dask.labels import Labels
from ssl_dask.storage.input.arrow_to_numpy import decoded
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import is_text, plain_type

MAX_GROUPS = 1_000
Group = bool | int | str | None
"""A value of the column; None: null, and the words for it."""


def count_groups(
    reader: ColumnReader, column: str, labels: Labels, execution: Execution
) -> tuple[dict[Group, int], Int64]:
    """Return the rows of each group, in the order of their names, and the group of each seed.

    Parameters
    ----------
    column
        Booleans, integers, text, bytes or UUIDs.

    Returns
    -------
    (rows, of_seed)
        Value -> its rows; and int64 (S,), places among them.

    Raises
    ------
    InputDataError
        The column has more than `MAX_GROUPS` values.
    """
    starts = np.concatenate([[0], np.cumsum(reader.row_counts)])
    seeds = [labels.between(*ends) for ends in pairwise(starts.tolist())]
    columns = [reader.blocks, [positions for positions, _ in seeds]]
    shared = delayed(reader, pure=False, traverse=False)
    found = execution.compute(block_tasks(_groups_of_block, columns, shared, column), "sampling")
    rows: Counter[Group] = Counter()
    for counts, _ in found:
        rows.update(counts)
    if len(rows) > MAX_GROUPS:
        raise InputDataError(
            f"has more than {MAX_GROUPS:,} values: groups of rows of which labels were drawn are"
            " few",
            file=reader.dataset.path,
            column=column,
            hint="name a column of few values as input.sampling",
        )
    names = sorted(rows, key=repr)
    place = {name: at for at, name in enumerate(names)}
    of_seed = np.zeros(labels.n_seeds, dtype=np.int64)
    for (_, held), (_, here) in zip(found, seeds, strict=True):
        of_seed[here] = [place[name] for name in held]
    return {name: rows[name] for name in names}, of_seed


def _groups_of_block(
    block: int, seeds: Int64, reader: ColumnReader, column: str
) -> tuple[dict[Group, int], list[Group]]:
    """Return the rows of each group of a block, and the group of each seed."""
    encoded = _values(reader, block, column).dictionary_encode()
    cells = encoded.dictionary.to_pylist()
    # Cells that are no UTF-8 are no text of Python.
    texts = [one.decode(errors="replace") if isinstance(one, bytes) else one for one in cells]
    names: list[Group] = [None if stands_for_nothing(one) else one for one in texts]
    codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    names.append(None)
    counts: Counter[Group] = Counter()
    # A few more than may be are enough to refuse them.
    for at, n_rows in enumerate(np.bincount(codes, minlength=len(names))[: MAX_GROUPS + 2]):
        counts[names[at]] += int(n_rows)
    counts[None] += int((codes > MAX_GROUPS + 1).sum())
    return {name: n for name, n in counts.items() if n}, [names[at] for at in codes[seeds]]


def _values(reader: ColumnReader, block: int, column: str) -> pa.Array:
    kind = plain_type(reader.dataset.schema.field(column).type)
    if not pt.is_boolean(kind):
        values = reader.id_array(block, column)
        return values.cast(pa.large_binary()) if is_text(values.type) else values
    return decoded(reader.read_raw(block, [column]).column(column)).combine_chunks()
