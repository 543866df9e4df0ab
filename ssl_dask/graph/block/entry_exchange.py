"""Entries of a symmetric matrix, block by block -> its strips, on the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import exchange
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.node_order import strip_bounds
from ssl_dask.kernels.graph.coo_strips import (
    Entries,
    entries_by_strip,
    joined_entries,
    summed_strip,
)

MAX_PIECES = 1024
"""Pieces that entries are exchanged in; with more, several blocks share one."""


def exchanged_strips(
    blocks: Sequence[Delayed],
    node_chunks: Sequence[int],
    execution: Execution,
    *,
    combine: str = "sum",
) -> tuple[tuple[Delayed, ...], int]:
    """Return the strips of the matrix whose entries are in `blocks`, and how many entries it has.

    Parameters
    ----------
    blocks
        `coo_strips.Entries` each: for each entry (i, j) also (j, i), in the same order.
    node_chunks
        Nodes of each strip.
    combine
        What entries of one place become: their "sum" in the order of the blocks, or the "max".

    Raises
    ------
    GraphError
        Weights add up to more than a float32 can hold.

    Notes
    -----
    24 bytes move an entry, in 1,024 pieces or one a strip; a task holds the entries of its strip
    some four times over.
    """
    bounds = strip_bounds(node_chunks)
    split, join = partial(_by_strip, bounds), partial(_strip, bounds, combine)
    tasks = exchange(blocks, split, len(node_chunks), join, max_pieces=MAX_PIECES)
    strips = execution.persist(tasks, "edges")
    return tuple(strips), sum(execution.compute([strip.nnz for strip in strips]))


def exchanged_weightings(
    entries: Callable[[str | None], Sequence[Delayed]],
    alternatives: Iterable[str],
    node_chunks: Sequence[int],
    execution: Execution,
) -> tuple[tuple[Delayed, ...], int, dict[str, tuple[Delayed, ...]]]:
    """Return the strips of a graph, its number of entries, and the data of its alternatives.

    `entries` returns the `blocks` of `exchanged_strips` with the weights of a name; None: with the
    graph's own weights. Each weighting is an exchange of its own.
    """
    strips, n_entries = exchanged_strips(entries(None), node_chunks, execution)
    data = {}
    for name in alternatives:
        more, _ = exchanged_strips(entries(name), node_chunks, execution)
        data[name] = tuple(execution.persist([strip.data for strip in more], "edges"))
    return strips, n_entries, data


def strip_entries(
    strip: sp.csr_array, first_row: int, factor: float = 1.0, nodes: Int64 | None = None
) -> Entries:
    """Return the entries of a strip of a graph, for `exchanged_strips`.

    The weights are multiplied by `factor`. `nodes`, int64 (M,), has the new number of each node;
    None: they stay.
    """
    rows = np.repeat(np.arange(strip.shape[0], dtype=np.int64) + first_row, np.diff(strip.indptr))
    columns = strip.indices.astype(np.int64)
    if nodes is not None:
        rows, columns = nodes[rows], nodes[columns]
    return Entries(rows, columns, strip.data * np.float64(factor))


def _by_strip(bounds: Int64, blocks: list[Entries]) -> tuple[Entries, ...]:
    return entries_by_strip(joined_entries(blocks), bounds)


def _strip(bounds: Int64, combine: str, number: int, pieces: list[Entries]) -> sp.csr_array:
    first, stop, n_nodes = bounds[[number, number + 1, -1]].tolist()
    try:
        return summed_strip(joined_entries(pieces), first, stop - first, n_nodes, combine)
    except OverflowError as error:
        raise GraphError(str(error), hint="scale the weights down, or combine by max") from error
