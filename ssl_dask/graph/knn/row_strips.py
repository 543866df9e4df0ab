"""Rows to be searched, from whatever array they come in, cut into strips that fit a task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks, row_starts
from ssl_dask.dask_arrays import as_dask_array, row_handles
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import even_chunks
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.graph.knn.knn_plan import MAX_STRIPS, RowCost, usual_strips
from ssl_dask.graph.knn.row_kind import DENSE, SPARSE, RowKind
from ssl_dask.kernels.arithmetic.offsets import (
    Offsets,
    beyond_told,
    extent_of,
    far_offsets,
    loses_digits,
    number_beyond,
    without_offsets,
)
from ssl_dask.kernels.arithmetic.sparse_rows import canonical_rows, stacked_rows, stored_as
from ssl_dask.kernels.knn.exact_dense import MAX_COLUMNS


@dataclass(frozen=True)
class RowStrips:
    """Checked rows on the workers."""

    strips: tuple[Delayed, ...]
    """float32 arrays (n_i, d), C-contiguous, or csr_arrays with sorted columns; all finite."""
    row_chunks: tuple[int, ...]
    """Rows n_i of each, none 0."""
    n_columns: int
    """Columns d."""
    nonzeros_per_row: float | None
    """Mean number of stored entries of sparse rows; None for dense rows."""
    offsets: Offsets | None = None
    """(d,): what was subtracted from the columns; None: nothing."""
    ranks: NodeOrder | None = None
    """In which order the rows are put when they are cut anew; None: they stay as they stand."""

    @property
    def n_rows(self) -> int:
        """Number of rows N."""
        return sum(self.row_chunks)

    @property
    def kind(self) -> RowKind:
        """Whether rows are dense or sparse, and the kernels that search them."""
        return DENSE if self.nonzeros_per_row is None else SPARSE

    def cost(self, n_neighbors: int) -> RowCost:
        """Return bytes and work of a row in a search for `n_neighbors` neighbours."""
        return RowCost(self.n_columns, self.nonzeros_per_row, n_neighbors)


@dataclass(frozen=True)
class ChunkFacts:
    """What this process has to know of a chunk of rows."""

    sparse: bool
    n_columns: int
    n_entries: int
    bad_rows: int
    first_bad: tuple[int, int] | None


def checked_rows(
    X: Any, execution: Execution, *, centred: bool = False, offsets: Offsets | None = None
) -> RowStrips:
    """Return the rows of `X` in its own chunks, as float32, checked to be finite.

    Parameters
    ----------
    X
        (N, d): NumPy array, SciPy sparse array or matrix, or array chunked as those of Dask are,
        with dense or CSR chunks; chunks of columns are put together.
    centred
        Whether dense columns that are far from zero lose their offset before they become float32,
        see `kernels/arithmetic/offsets`: where distances do not change with it.
    offsets
        Those of other rows, to be subtracted from these.

    Raises
    ------
    GraphError
        X is not two-dimensional, has no rows or columns, is no array of numbers, or holds NaN,
        infinite or too large values.

    Notes
    -----
    Two tasks a chunk, and a third one if it is looked at for offsets. The workers hold X as float32
    from here on.
    """
    X = as_dask_array(X)
    n_rows, n_columns = checked_shape(X)
    if not isinstance(X, da.Array):
        X = sp.csr_array(X) if sp.issparse(X) else np.asarray(X)
        offsets = far_offsets([extent_of(X)]) if centred else offsets
    else:
        X = X.rechunk({1: -1})
    chunks, row_chunks = _chunks(X, n_rows, execution, offsets)
    if isinstance(X, da.Array):
        looks = centred and loses_digits(X.dtype)
        kept, offsets = _cleaned(chunks, offsets, execution, looks=looks)
    else:
        kept = execution.persist(block_tasks(_clean, [chunks]), "features")
    facts = execution.compute(block_tasks(_facts, [kept]), "features")
    _refuse_bad(facts, row_starts(row_chunks), n_columns)
    nonzeros = sum(fact.n_entries for fact in facts) / n_rows if facts[0].sparse else None
    return RowStrips(tuple(kept), row_chunks, n_columns, nonzeros, offsets)


def _cleaned(
    chunks: list[Delayed], offsets: Offsets | None, execution: Execution, *, looks: bool
) -> tuple[list[Delayed], Offsets | None]:
    """Return the chunks on the workers, and what was subtracted; `looks` for offsets of their own.

    Chunks are computed once, and once more if they have offsets.
    """
    extents = block_tasks(extent_of, [chunks]) if looks else []
    tasks = [*block_tasks(_clean, [chunks], offsets), *extents]
    held = execution.persist(tasks, "features")
    kept = held[: len(chunks)]
    if looks:
        own = far_offsets(execution.compute(held[len(chunks) :], "features"))
        if own is not None:
            return _cleaned(chunks, own, execution, looks=False)
    return kept, offsets


def cut_rows(rows: RowStrips, n_strips: int, execution: Execution) -> RowStrips:
    """Return `rows` in `n_strips` strips of nearly equal size, or as they are if that serves.

    One task a strip and one a piece of a chunk that is cut; the workers hold the rows twice until
    `rows` is let go.
    """
    even = even_chunks(rows.n_rows, n_strips)
    enough = len(even) <= len(rows.row_chunks) <= min(2 * len(even), MAX_STRIPS)
    if rows.ranks is None and enough and max(rows.row_chunks) <= max(even):
        return rows
    return in_chunks(rows, even, execution)


def in_chunks(rows: RowStrips, row_chunks: tuple[int, ...], execution: Execution) -> RowStrips:
    """Return `rows` in strips of `row_chunks` rows, by their ranks if they have some."""
    if rows.ranks is not None:
        strips = rows.ranks.first_rows_of_nodes(rows.strips, row_chunks, execution)
        return replace(rows, strips=tuple(strips), row_chunks=row_chunks, ranks=None)
    if rows.row_chunks == row_chunks:
        return rows
    strips = execution.persist(_regrouped(rows.strips, rows.row_chunks, row_chunks), "features")
    return replace(rows, strips=tuple(strips), row_chunks=row_chunks)


def of_kind(rows: RowStrips, kind: RowKind, execution: Execution) -> RowStrips:
    """Return `rows` dense or sparse, as `kind` is; one task a strip if they are not."""
    if rows.kind is kind:
        return rows
    store = partial(stored_as, sparse=kind is SPARSE)
    strips = tuple(execution.persist(block_tasks(store, [rows.strips]), "features"))
    # Of rows that were dense no more entries than columns.
    entries = float(rows.n_columns) if kind is SPARSE else None
    return replace(rows, strips=strips, nonzeros_per_row=entries)


def checked_shape(X: Any) -> tuple[int, int]:
    """Return (N, d) of `X`; raise GraphError if it has no rows, no columns, or unknown ones."""
    shape = np.shape(X)
    if len(shape) != 2:
        raise GraphError(
            f"X has shape {shape}; it must be (rows, columns)",
            hint="X.reshape(-1, 1) makes one column of a one-dimensional array",
        )
    if any(size != size for size in shape) or (
        isinstance(X, da.Array) and any(n != n for n in X.chunks[0])
    ):
        raise GraphError(
            "the numbers of rows of X's chunks are not known", hint="call X.compute_chunk_sizes()"
        )
    if 0 in shape:
        raise GraphError(f"X has shape {shape}; it must have at least one row and one column")
    return int(shape[0]), int(shape[1])


def _chunks(
    X: Any, n_rows: int, execution: Execution, offsets: Offsets | None
) -> tuple[list[Delayed], tuple[int, ...]]:
    """Return the chunks of `X` on their way to the workers, none of them empty."""
    if isinstance(X, da.Array):
        sizes = [int(n) for n in X.chunks[0]]
        chunks = row_handles(X)
        pairs = [(chunk, n) for chunk, n in zip(chunks, sizes, strict=True) if n > 0]
        return [chunk for chunk, _ in pairs], tuple(n for _, n in pairs)
    row_chunks = even_chunks(n_rows, usual_strips(n_rows, execution.n_slots))
    _refuse_non_numbers(X.dtype)
    parts = [
        _clean(X[start : start + n], offsets)
        for start, n in zip(row_starts(row_chunks), row_chunks, strict=True)
    ]
    return execution.place(parts), row_chunks


def _refuse_non_numbers(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "fiub":
        raise GraphError(
            f"X holds {dtype}; a neighbour graph needs numbers",
            hint="describe the columns as features first",
        )


def _clean(chunk: Any, offsets: Offsets | None = None) -> Any:
    """Return the chunk as float32, C-contiguous, or CSR with sorted and distinct columns."""
    _refuse_non_numbers(chunk.dtype)
    if (beyond := number_beyond(chunk)) is not None:
        text, hint = beyond_told("rows of X", beyond)
        raise GraphError(text, hint=hint)
    with np.errstate(over="ignore"):  # an infinite one is refused with its row
        if offsets is not None and not sp.issparse(chunk):
            return without_offsets(chunk, offsets)
        if not sp.issparse(chunk):
            return np.ascontiguousarray(chunk, dtype=np.float32)
        return canonical_rows(sp.csr_array(chunk)).astype(np.float32, copy=False)


def _facts(chunk: Any) -> ChunkFacts:
    values = chunk.data if sp.issparse(chunk) else chunk
    n_entries = int(chunk.nnz) if sp.issparse(chunk) else int(chunk.size)
    first_bad, bad_rows = None, 0
    if not np.isfinite(np.sum(values, dtype=np.float64)):
        rows, columns = _places_not_finite(chunk)
        bad_rows = len(np.unique(rows))
        if bad_rows:
            first_bad = (int(rows[0]), int(columns[0]))
    return ChunkFacts(sp.issparse(chunk), chunk.shape[1], n_entries, bad_rows, first_bad)


def _places_not_finite(chunk: Any) -> tuple[Any, Any]:
    if not sp.issparse(chunk):
        rows, columns = np.nonzero(~np.isfinite(chunk))
        return rows, columns
    places = chunk.tocoo()
    bad = ~np.isfinite(places.data)
    return places.row[bad], places.col[bad]


def _refuse_bad(facts: list[ChunkFacts], starts: tuple[int, ...], n_columns: int) -> None:
    if len({fact.sparse for fact in facts}) > 1:
        raise GraphError("some chunks of X are dense and some are sparse; they must be alike")
    if not facts[0].sparse and n_columns > MAX_COLUMNS:
        raise GraphError(
            f"X has {n_columns} dense columns; at most {MAX_COLUMNS} can be searched",
            hint="give sparse rows (CSR)",
        )
    for fact in facts:
        if fact.n_columns != n_columns:
            raise GraphError(f"a chunk of X has {fact.n_columns} columns, not {n_columns}")
    bad_rows = sum(fact.bad_rows for fact in facts)
    if bad_rows:
        row, column = next(
            (start + fact.first_bad[0], fact.first_bad[1])
            for start, fact in zip(starts, facts, strict=True)
            if fact.first_bad is not None
        )
        raise GraphError(
            f"{bad_rows} rows of X hold NaN or infinite values; the first is row {row}, column"
            f" {column}",
            rows=bad_rows,
            hint="declare how missing values are filled, or leave the rows out",
        )


def _regrouped(
    chunks: tuple[Delayed, ...], row_chunks: tuple[int, ...], wanted: tuple[int, ...]
) -> list[Delayed]:
    """Return the rows of `chunks` in runs of `wanted` rows."""
    starts = row_starts(row_chunks)
    strips = []
    for start, n in zip(row_starts(wanted), wanted, strict=True):
        pieces = []
        first = int(np.searchsorted(starts, start, side="right")) - 1
        for number in range(first, len(chunks)):
            begin = max(start - starts[number], 0)
            end = min(start + n - starts[number], row_chunks[number])
            if end <= 0:
                break
            whole = begin == 0 and end == row_chunks[number]
            piece = chunks[number] if whole else dask.delayed(_rows)(chunks[number], begin, end)
            pieces.append(piece)
        strips.append(pieces[0] if len(pieces) == 1 else dask.delayed(stacked_rows)(pieces))
    return strips


def _rows(chunk: Any, begin: int, end: int) -> Any:
    return chunk[begin:end]
