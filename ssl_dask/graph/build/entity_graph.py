"""The graph that joins rows through what they share: a card, a device, an address, a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
from dask.base import is_dask_collection
from dask.delayed import Delayed

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import block_tasks, exchange
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph, even_chunks
from ssl_dask.graph.block.entry_exchange import exchanged_strips
from ssl_dask.graph.block.node_order import NodeOrder, row_numbers
from ssl_dask.graph.block.symmetric_graph import check_choice
from ssl_dask.graph.knn.knn_plan import usual_strips
from ssl_dask.kernels.graph.coo_strips import Entries, both_ways
from ssl_dask.kernels.graph.shared_keys import (
    ENTITY_SCALES,
    Groups,
    KeyedRows,
    group_edges,
    group_rows,
    keyed_rows_by_range,
)
from ssl_dask.label_words import stands_for_nothing, wrapped_minus_one

MAX_ENTITY_ROWS = 1000
MAX_ENTITY_SHARE, FEW_ENTITY_ROWS = 0.5, 10
"""What more than half of all rows share, and more than ten, tells nothing of any one of them."""
KEY_BYTES = 100
"""Memory of a row while it is grouped."""
MAX_PIECES = 2048
SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Odd: multiplied by it, different small numbers stay different and are spread over all."""


@dataclass(frozen=True)
class KeyColumn:
    """The keys of one column of entities, on the workers."""

    name: str
    """The column."""
    blocks: tuple[Delayed, ...]
    """Each (uint64 (n_i,) keys, bool (n_i,) whether the row has one): equal keys are the same
    entity. Keys are hashes, spread evenly over all numbers."""
    weight: float = 1.0
    """Factor of the column's edges, > 0."""


def entity_graph(
    columns: Mapping[str, npt.ArrayLike],
    *,
    weights: Mapping[str, float] | None = None,
    max_entity_rows: int = MAX_ENTITY_ROWS,
    scale: str = "inverse_sqrt",
    client: AnyClient = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the graph of rows and of the entities that they share, from arrays of this process.

    Parameters
    ----------
    columns
        Name -> array (N,) of integers or of texts: equal values are the same entity; null (None,
        NaN, NA) and what stands for it (-1, empty text, words such as "NA") are none.
    weights
        Factor > 0 of the edges of a column; 1 where nothing is said.
    max_entity_rows, scale
        As in `shared_key_graph`.
    client, execution
        Where to run: a client, "local" (this process), or an `Execution`; default: the open client.

    Raises
    ------
    GraphError
        The arrays do not fit together, or a parameter is not usable.

    Examples
    --------
    >>> graph = entity_graph({"card": ["a", "b", "a", "b", "c"]}, scale="none")
    >>> graph.n_rows, graph.n_nodes, graph.n_edges // 2
    (5, 7, 4)
    """
    execution = Execution.of(client, execution)
    given = dict(weights or {})
    if unknown := sorted(set(given) - set(columns)):
        raise GraphError(f"weights names {unknown}, which are none of the columns")
    keyed, lengths = [], set()
    for name, values in columns.items():
        array = _entity_array(name, values)
        lengths.add(len(array))
        block = dask.delayed(_keys_of(name, array), pure=False, traverse=False)
        keyed.append(KeyColumn(name, (block,), given.get(name, 1.0)))
    if len(lengths) > 1 or 0 in lengths:
        raise GraphError(f"the columns have {sorted(lengths)} rows; give arrays of one length >= 1")
    how: Any = {"max_entity_rows": max_entity_rows, "scale": scale}
    return shared_key_graph(keyed, tuple(lengths), **how, execution=execution)


def _entity_array(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    if is_dask_collection(values):
        raise GraphError(
            f"column {name!r} is a Dask {type(values).__name__}; give an array of this process",
            hint="call .compute() on it, or run a job with graph.entities, which reads blocks",
        )
    array = np.asarray(values)
    if array.dtype.kind == "f" and "Int" in str(getattr(values, "dtype", "")):
        # Nullable integers of pandas become floats.
        array = np.asarray(values, dtype=object)
    if array.ndim != 1 or array.dtype.kind not in "iuOUS":
        raise GraphError(
            f"column {name!r} is an array of {array.dtype} with {array.ndim} dimensions;"
            " entities are integers or texts in one dimension"
        )
    return array


def shared_key_graph(
    columns: Sequence[KeyColumn],
    row_chunks: Sequence[int],
    *,
    max_entity_rows: int = MAX_ENTITY_ROWS,
    scale: str = "inverse_sqrt",
    ranks: NodeOrder | None = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the graph of rows and of the entities that they share: never a clique of rows.

    Every entity of 2 to `max_entity_rows` rows, and at most half of all rows where these are more
    than 20, is a node of its own, joined with each of its rows; labels reach from row to row in two
    steps. Rows are the nodes 0 to N - 1; entities come behind them, column by column, in the order
    of their keys. The same bits for any blocks.

    Parameters
    ----------
    columns
        Rows with equal keys in one column share an entity of that column.
    row_chunks
        Rows of each block of the columns.
    max_entity_rows
        Entities of more rows are left out; `settings` has their number for each column.
    scale
        Weight of an edge of an entity of s rows. "inverse_sqrt": 1 / sqrt(s), so a large entity
        counts less for each of its rows. "inverse": 1 / s, less still. "none": 1.
    ranks
        Number of the node of each row, from 0 to N - 1; None: its row number.
    execution
        Where to run; default: in this process.

    Raises
    ------
    GraphError
        No columns, one named twice, or a parameter that is not usable.

    Notes
    -----
    16 bytes move for each row and column, and 48 for each edge. A row that shares nothing is alone.
    """
    execution = execution or Execution()
    _check(columns, max_entity_rows, scale)
    n_rows = sum(row_chunks)
    numbers = tuple(row_numbers(row_chunks)) if ranks is None else ranks.blocks
    most = min(max_entity_rows, max(int(n_rows * MAX_ENTITY_SHARE), FEW_ENTITY_ROWS))
    found = [_groups(one, numbers, n_rows, most, execution) for one in columns]
    n_nodes, blocks = n_rows, []
    for column, groups in zip(columns, found, strict=True):
        for part, count in zip(groups.parts, groups.counts, strict=True):
            blocks.append(dask.delayed(_entries)(part, n_nodes, scale, float(column.weight)))
            n_nodes += count
    node_chunks = even_chunks(n_nodes, usual_strips(n_nodes, execution.n_slots))
    strips, n_entries = exchanged_strips(blocks, node_chunks, execution)
    order = NodeOrder(numbers, tuple(row_chunks), n_nodes)
    about = {column.name: groups.about for column, groups in zip(columns, found, strict=True)}
    settings = {"kind": "entities", "scale": scale, "max_entity_rows": max_entity_rows}
    settings |= {"entities": about, "notes": _notes(about, most)}
    return BlockGraph(strips, node_chunks, n_entries, settings, order)


@dataclass(frozen=True)
class _Found:
    """The groups of a column: handles, how many each has, and what the report says."""

    parts: list[Delayed]
    counts: list[int]
    about: Mapping[str, Any]


def _keys_of(name: str, values: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Return a key for each value, and whether it has one."""
    if values.dtype.kind in "OUS":
        cells = (values.astype(str) if values.dtype.kind == "S" else values).tolist()
        # Each distinct value is judged once.
        code_of = dict.fromkeys(cells, -1)
        try:
            entities = sorted(one for one in code_of if not stands_for_nothing(one))
        except TypeError:
            raise GraphError(f"column {name!r} mixes kinds of values; give one kind") from None
        code_of.update(zip(entities, range(len(entities)), strict=True))
        codes = np.fromiter(map(code_of.__getitem__, cells), np.int64, len(cells))
        valid = codes >= 0
    else:
        unsigned = values.dtype.kind == "u"
        valid = values != (wrapped_minus_one(8 * values.dtype.itemsize) if unsigned else -1)
        codes = np.zeros(len(values), dtype=np.int64)
        codes[valid] = np.unique(values[valid], return_inverse=True)[1]
    return np.where(valid, codes.astype(np.uint64) * SPREAD, np.uint64(0)), valid


def _check(columns: Sequence[KeyColumn], max_entity_rows: int, scale: str) -> None:
    check_choice("scale", scale, ENTITY_SCALES)
    names = [column.name for column in columns]
    if not names or len(set(names)) < len(names):
        raise GraphError(f"the columns of entities are {names}; name at least one, and each once")
    if max_entity_rows < 2:
        raise GraphError(f"max_entity_rows is {max_entity_rows}; it must be at least 2")
    for column in columns:
        if not 0 < column.weight < np.inf:
            raise GraphError(f"column {column.name!r} weighs {column.weight}; give a number > 0")


def _notes(about: Mapping[str, Mapping[str, Any]], max_entity_rows: int) -> list[str]:
    return [
        f"{of_column['dropped']:,} values of {name!r} are shared by more than {max_entity_rows:,}"
        f" rows, up to {of_column['largest']:,}, and were left out"
        for name, of_column in about.items()
        if of_column["dropped"]
    ]


def _groups(
    column: KeyColumn,
    numbers: Sequence[Delayed],
    n_rows: int,
    max_entity_rows: int,
    execution: Execution,
) -> _Found:
    """Bring the rows of equal keys together: one task for each range of keys."""
    room = max(execution.memory_per_task // 4, 1)
    by_memory = -(-n_rows * KEY_BYTES // room)
    n_ranges = min(max(by_memory, min(execution.n_slots, n_rows // 100_000), 1), MAX_PIECES)
    tasks = exchange(
        list(zip(column.blocks, numbers, strict=True)),
        partial(_by_range, n_ranges),
        n_ranges,
        partial(_grouped, max_entity_rows),
        max_pieces=MAX_PIECES,
    )
    parts = execution.persist(tasks, "entities")
    counted = np.array(execution.compute(block_tasks(_counted, [parts])))
    kept, alone, large, large_rows, edges = counted[:, :5].sum(axis=0).tolist()
    about = {
        "kept": kept,
        "edges": edges,
        "of_one_row": alone,
        "dropped": large,
        "dropped_rows": large_rows,
        "largest": int(counted[:, 5].max()),
        "weight": float(column.weight),
    }
    return _Found(parts, counted[:, 0].tolist(), about)


def _by_range(n_ranges: int, blocks: list[tuple[Any, Int64]]) -> tuple[KeyedRows, ...]:
    """Return for each range of keys the keys and rows of blocks ((keys, valid), row numbers)."""
    dealt = [keyed_rows_by_range(keys, valid, rows, n_ranges) for (keys, valid), rows in blocks]
    return tuple(
        KeyedRows(*(np.concatenate([one[r][i] for one in dealt]) for i in (0, 1)))
        for r in range(n_ranges)
    )


def _grouped(max_entity_rows: int, number: int, pieces: list[KeyedRows]) -> Groups:
    return group_rows(pieces, max_entity_rows)


def _counted(groups: Groups) -> tuple[int, ...]:
    kept = len(groups.bounds) - 1
    rest = (groups.n_alone, groups.n_large, groups.n_large_rows, len(groups.rows), groups.largest)
    return kept, *rest


def _entries(groups: Groups, first_node: int, scale: str, weight: float) -> Entries:
    rows, nodes, weights = group_edges(groups, first_node, scale, weight)
    return both_ways(rows, nodes, weights, directed=False)
