"""Moves values between blocks: each to the block that owns it, or a few rows to the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from operator import getitem
from typing import Any

import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed, delayed

from ssl_dask.array_types import Int64
from ssl_dask.execution import Execution

MAX_PIECES = 20_000
"""Pieces that blocks are cut into for one exchange, in all."""


def row_starts(row_chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the number of the first row of each block."""
    return tuple(np.cumsum([0, *row_chunks])[:-1].tolist())


def block_tasks(
    function: Callable[..., Any], columns: Sequence[Iterable[Any]], *more: Any
) -> list[Delayed]:
    """Return one task a block: `function` of the block's value in each column, and of `more`."""
    task = delayed(function, pure=False)
    return [task(*values, *more) for values in zip(*columns, strict=True)]


def exchange(
    blocks: Sequence[Any],
    split: Callable[[list[Any]], Sequence[Any]],
    n_out: int,
    join: Callable[[int, list[Any]], Any],
    *,
    max_pieces: int = MAX_PIECES,
) -> list[Delayed]:
    """Return one task for each of `n_out` owners, which joins its values of all blocks.

    Parameters
    ----------
    blocks
        What `split` takes: handles, values, or tuples of both.
    split
        Called with a list of successive blocks; returns a piece for each owner. The pieces of a
        list are those of its blocks put together, in the order of the blocks.
    n_out
        Number of owners, at least 1.
    join
        Called with the number of the owner and its pieces, in the order of the blocks.
    max_pieces
        Most pieces in all: where there would be more, one task splits several blocks.

    Notes
    -----
    Nothing runs yet: the caller persists or computes the tasks. Each value moves once. A task
    holds the blocks that it splits, or the pieces of one owner.
    """
    n_groups = min(len(blocks), max(max_pieces // n_out, 1))
    cuts = [len(blocks) * i // n_groups for i in range(n_groups + 1)]
    cut = delayed(split, pure=False, nout=n_out)
    pieces = [cut(list(blocks[first:last])) for first, last in pairwise(cuts)]
    put = delayed(join, pure=False)
    return [put(owner, [piece[owner] for piece in pieces]) for owner in range(n_out)]


def fetch_rows(
    blocks: Sequence[Any],
    starts: Sequence[int] | Int64,
    wanted: Int64,
    execution: Execution,
    what: str = "rows",
    *,
    take: Callable[[Any, Int64], Any] = getitem,
    stack: Callable[[list[Any]], Any] | None = None,
) -> Any:
    """Return some rows of blocks to this process, in the order of `wanted`.

    Parameters
    ----------
    blocks
        Handles to dense arrays (n_i, ...) or CSR (n_i, d), in row order.
    starts
        Number of the first row of each block, ascending; the number of all rows may follow.
    wanted
        int64 (m,): numbers of rows, in any order.
    what
        What progress and errors call them.
    take, stack
        How rows at positions are taken of a block, and how several are put together; default:
        those of arrays.

    Returns
    -------
    Array (m, ...) or CSR (m, d).

    Raises
    ------
    ComputeError
        As `Execution.compute`.

    Notes
    -----
    One task for each block that holds such a row (the first block, if m is 0).
    """
    order = np.argsort(wanted, kind="stable")
    tasks = _row_tasks(blocks, np.asarray(starts), wanted[order], take)
    rows = (stack or _stacked)(execution.compute(tasks, what))
    if (order[1:] > order[:-1]).all():
        return rows
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return take(rows, back)


def gathered_rows(blocks: Sequence[Any], starts: Sequence[int] | Int64, wanted: Int64) -> Delayed:
    """Return the task of the rows that `fetch_rows` would fetch, for `wanted` that ascend."""
    tasks = _row_tasks(blocks, np.asarray(starts), wanted, getitem)
    return delayed(_stacked, pure=False)(tasks)


def _stacked(parts: Sequence[Any]) -> Any:
    """Return dense arrays, or CSR arrays, below each other."""
    if sp.issparse(parts[0]):
        return sp.vstack(parts, format="csr")
    return np.concatenate(parts)


def _row_tasks(
    blocks: Sequence[Any], starts: Int64, wanted: Int64, take: Callable[[Any, Int64], Any]
) -> list[Delayed]:
    """Return a task for each block that holds rows of `wanted`, which ascend."""
    block_of = np.searchsorted(starts, wanted, side="right") - 1
    taken = delayed(take, pure=False)
    return [
        taken(blocks[block], wanted[block_of == block] - starts[block])
        for block in (np.unique(block_of).tolist() or [0])
    ]
