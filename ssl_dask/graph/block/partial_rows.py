"""A graph over some of the rows -> the same over all rows, the others without edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.array_types import Bool, Int64
from ssl_dask.block_exchange import block_tasks, row_starts
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph, even_chunks
from ssl_dask.graph.block.node_order import (
    NodeOrder,
    ranked,
    ranked_rows,
    row_blocks,
    strip_bounds,
)
from ssl_dask.kernels.arithmetic.sparse_rows import with_index_dtype


@dataclass(frozen=True)
class PartialRows:
    """The rows that have some features, of all N."""

    X: da.Array
    """Dask array (n, d) of those rows, in row order."""
    present: tuple[Delayed, ...]
    """Bool (n_i,) for each block of rows: which they are."""
    row_chunks: tuple[int, ...]
    """Rows n_i of each block, adding up to N."""
    ranks: NodeOrder | None = None
    """Of the rows of X among each other; None: none are given."""

    def places_of(self, rows: Int64, execution: Execution) -> tuple[Bool, Int64]:
        """Return which of a few rows are present, bool (S,), and the places in X of those that are.

        One task a block.
        """
        starts, order = strip_bounds(self.row_chunks), np.argsort(rows, kind="stable")
        cuts = np.searchsorted(rows[order], starts)
        asked = [
            rows[order[a:b]] - start for (a, b), start in zip(pairwise(cuts), starts, strict=False)
        ]
        found = execution.compute(block_tasks(_among_present, [self.present, asked]), "rows")
        before = row_starts([n for n, _, _ in found])
        there = np.concatenate([there for _, there, _ in found])
        places = [at + first for (_, _, at), first in zip(found, before, strict=True)]
        has, place = np.empty_like(there), np.zeros(len(rows), dtype=np.int64)
        has[order] = there
        place[order[there]] = np.concatenate(places)
        return has, place[has]


def rows_present(
    X: da.Array, present: Sequence[Delayed], execution: Execution, ranks: NodeOrder | None = None
) -> PartialRows:
    """Return the rows of X, (N, d), that are present: bool (n_i,) for each block.

    One pass counts them; blocks without any are left out. `ranks` are those of all rows.

    Raises
    ------
    GraphError
        No row is present.
    """
    counts = execution.compute(block_tasks(np.count_nonzero, [present]), "rows")
    if not any(counts):
        raise GraphError("no row has these features: there is nothing to join")
    taken = block_tasks(_rows_where, [row_handles(X), present])
    blocks = [block for block, n in zip(taken, counts, strict=True) if n]
    chunks = [int(n) for n in counts if n]
    some = array_of_blocks(blocks, chunks, (X.shape[1],), X.dtype, X._meta)
    own = None
    if ranks is not None:
        ranks_there = block_tasks(_rows_where, [ranks.blocks, present])
        filled = [block for block, n in zip(ranks_there, counts, strict=True) if n]
        own = ranked_rows(filled, chunks, execution)
    return PartialRows(some, tuple(present), tuple(X.chunks[0]), own)


def over_all_rows(
    graph: BlockGraph, rows: PartialRows, execution: Execution, ranks: NodeOrder | None = None
) -> BlockGraph:
    """Return `graph`, which is over the present rows, as one over all; the others have no edges.

    Nodes keep their numbers; rows without edges are the last ones, by `ranks` of all rows or in row
    order. A worker holds 16 bytes a row for a moment.
    """
    n_nodes = graph.n_nodes
    own = None if graph.order is None else list(graph.order.blocks)
    ranked_by = None if ranks is None else list(ranks.blocks)
    whole = dask.delayed(_spread, pure=False)(own, list(rows.present), n_nodes, ranked_by)
    parts = row_blocks(whole, rows.row_chunks)
    n_alone = sum(rows.row_chunks) - graph.n_rows
    total = n_nodes + n_alone
    order = NodeOrder(tuple(execution.persist(parts, "edges")), rows.row_chunks, total)
    longest = max(graph.node_chunks)
    empty = even_chunks(n_alone, -(-n_alone // longest)) if n_alone else ()
    strips = block_tasks(_widened, [graph.strips], total)
    strips += block_tasks(_empty_strip, [empty], total)
    nothing = block_tasks(np.empty, [[0] * len(empty)], np.float32)
    alternatives = {name: (*weights, *nothing) for name, weights in graph.alternatives.items()}
    settings = {**graph.settings, "n_rows_without_features": n_alone}
    return BlockGraph(
        tuple(execution.persist(strips, "edges")),
        (*graph.node_chunks, *empty),
        graph.n_edges,
        settings,
        order,
        alternatives,
    )


def _among_present(present: Bool, rows: Int64) -> tuple[int, Bool, Int64]:
    """Return how many rows of a block are present, which of `rows` are, and their ranks."""
    there = present[rows]
    return int(present.sum()), there, (np.cumsum(present) - 1)[rows[there]]


def _rows_where(block: Any, present: Bool) -> Any:
    return block[np.flatnonzero(present)]


def _spread(
    nodes: list[Int64] | None, present: list[Bool], n_nodes: int, ranks: list[Int64] | None
) -> Int64:
    there = np.concatenate(present)
    out = np.empty(len(there), dtype=np.int64)
    out[there] = np.arange(there.sum()) if nodes is None else np.concatenate(nodes)
    alone = np.flatnonzero(~there)
    by = alone if ranks is None else np.concatenate(ranks)[alone]
    out[alone] = n_nodes + ranked([by])
    return out


def _widened(strip: sp.csr_array, n_columns: int) -> sp.csr_array:
    wide = sp.csr_array(
        (strip.data, strip.indices, strip.indptr), shape=(strip.shape[0], n_columns)
    )
    return with_index_dtype(wide)


def _empty_strip(n_rows: int, n_columns: int) -> sp.csr_array:
    return with_index_dtype(sp.csr_array((n_rows, n_columns), dtype=np.float32))
