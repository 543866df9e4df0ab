"""The places of the likeliest rows of a class among all rows, over all blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import dask.array as da
import numpy as np

from ssl_dask.array_types import Float32, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import row_handles
from ssl_dask.decision.labelling import DecisionRule, decide_block
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import merge_on_workers
from ssl_dask.labels import Labels
from ssl_dask.storage.result.result_schema import MAX_RANKED


class RankedRows(NamedTuple):
    """Rows by the probability of a class, the likeliest first."""

    p: Float32
    """float32 (m,)."""
    tag: Int64
    """int64 (m,): of equal rows the smallest comes first."""
    row: Int64
    """int64 (m,): their numbers."""


class BlockRanks(NamedTuple):
    """Places of rows of one block."""

    positions: Int64
    """int64 (m,): from the first row of the block."""
    ranks: Int64
    """int64 (m,): from 1."""

    def column(self, n_rows: int) -> Int64:
        """Return the place of each row of the block, int64 (n,); -1 for none."""
        found = np.full(n_rows, -1, dtype=np.int64)
        found[self.positions] = self.ranks
        return found


def rank_rows(
    F: da.Array,
    has_seed: Sequence[Any] | None,
    tags: Sequence[Any] | None,
    labels: Labels,
    rule: DecisionRule,
    code: int,
    execution: Execution,
) -> list[BlockRanks]:
    """Return the places of the rows that are no seeds, for each block.

    Parameters
    ----------
    F, has_seed
        Of all rows, as of `ClassBlocks.write`; a handle for each block.
    tags
        A handle for each block to int64 (n_i,); None: row numbers.
    labels, rule
        The seeds, and how rows become labels: probabilities are those that are written.
    code
        The class. Rows that cannot be of it have no place.

    Notes
    -----
    One pass over F. Each task returns, or merges four times, `MAX_RANKED` rows of 20 bytes at most;
    so many come here.
    """
    chunks = F.chunks[0]
    starts = np.concatenate([[0], np.cumsum(chunks)])
    seeds = [labels.in_rows(*ends) for ends in pairwise(starts.tolist())]
    none = [None] * len(chunks)
    columns: list[Any] = [row_handles(F), has_seed or none, tags or none, starts[:-1], seeds]
    parts = block_tasks(_likeliest_of_block, columns, rule, code)
    found = execution.compute([merge_on_workers(parts, merge_ranked)], "rank")[0]
    order = np.argsort(found.row, kind="stable")
    ends = np.searchsorted(found.row[order], starts)
    return [
        BlockRanks(found.row[order[a:b]] - start, order[a:b] + 1)
        for (a, b), start in zip(pairwise(ends), starts[:-1], strict=True)
    ]


def merge_ranked(parts: Sequence[RankedRows]) -> RankedRows:
    """Return the first `MAX_RANKED` rows of several rankings."""
    p, tag, row = (np.concatenate(one) for one in zip(*parts, strict=True))
    first = np.lexsort((tag, -p))[:MAX_RANKED]
    return RankedRows(p[first], tag[first], row[first])


def _likeliest_of_block(
    F: Float32,
    has_seed: Any,
    tags: Int64 | None,
    start: int,
    seeds: tuple[Any, Any],
    rule: DecisionRule,
    code: int,
) -> RankedRows:
    decided = decide_block(F, *seeds, has_seed, rule, keep_probabilities=True)
    assert decided.probabilities is not None
    p = decided.probabilities[:, code]
    p[seeds[0]] = 0.0
    n = len(p)
    least = np.partition(p, n - MAX_RANKED)[n - MAX_RANKED] if n > MAX_RANKED else 0.0
    at = np.flatnonzero((p >= least) & (p > 0.0))
    rows = start + at
    return merge_ranked([RankedRows(p[at], rows if tags is None else tags[at], rows)])
