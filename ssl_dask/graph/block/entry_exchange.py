"""Entries of a symmetric matrix, block by block -> its strips, on the workers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import dask
import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.block_exchange import row_starts
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
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
        `kernels.entry_sums.Entries` each: for each entry (i, j) also (j, i), in the same order.
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
    node_chunks = tuple(node_chunks)
    n_nodes = sum(node_chunks)
    n_strips, starts = len(node_chunks), row_starts(node_chunks)
    bounds = np.array([*starts, n_nodes])
    n_groups = min(len(blocks), max(MAX_PIECES // n_strips, 1))
    cuts = [len(blocks) * i // n_groups for i in range(n_groups + 1)]
    pieces = [
        dask.delayed(_dealt, nout=n_strips)(list(blocks[a:b]), bounds) for a, b in pairwise(cuts)
    ]
    strips = execution.persist(
        [
            dask.delayed(_strip)([piece[p] for piece in pieces], start, n, n_nodes, combine)
            for p, (start, n) in enumerate(zip(starts, node_chunks, strict=True))
        ],
        "edges",
    )
    n_entries = sum(execution.compute([dask.delayed(_n_entries)(strip) for strip in strips]))
    return tuple(strips), n_entries


def _dealt(blocks: list[Entries], bounds: Any) -> tuple[Entries, ...]:
    return entries_by_strip(joined_entries(blocks), bounds)


def _strip(
    pieces: list[Entries], first_row: int, n_rows: int, n_nodes: int, combine: str
) -> sp.csr_array:
    try:
        return summed_strip(joined_entries(pieces), first_row, n_rows, n_nodes, combine)
    except OverflowError as error:
        raise GraphError(str(error), hint="scale the weights down, or combine by max") from error


def _n_entries(strip: sp.csr_array) -> int:
    return int(strip.nnz)
