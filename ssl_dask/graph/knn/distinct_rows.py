"""Rows that are copies of each other, found across all strips by their hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from ssl_dask.array_types import Bool, Int64
from ssl_dask.block_exchange import block_tasks, row_starts
from ssl_dask.execution import Execution
from ssl_dask.graph.knn.row_strips import RowStrips
from ssl_dask.kernels.arithmetic.row_hash import RowHashes, copies_among, row_hashes

BUCKET_ROWS = 2**22
"""Rows whose hashes are compared in one task: 100 MiB."""
Copies = tuple[Int64, Int64]


@dataclass(frozen=True)
class DistinctRows:
    """Which rows are copies."""

    copies: tuple[Delayed, ...] | None
    """For each strip a handle to (positions in the strip, row numbers of the first row that each is
    a copy of), by position; None if there is no copy at all."""
    per_strip: tuple[int, ...]
    """Number of copies in each strip."""

    @property
    def n_copies(self) -> int:
        """Number of rows that are a copy of an earlier one."""
        return sum(self.per_strip)

    def of_strips(self) -> tuple[Delayed | None, ...]:
        """Return `copies`, or None for each strip."""
        return self.copies or (None,) * len(self.per_strip)

    def drawn(self, row_chunks: tuple[int, ...], n_drawn: int, seed: int) -> list[Int64]:
        """Draw `n_drawn` of the rows that are no copies, or all of them; the same for any strips.

        Returns
        -------
        For each strip int64 arrays, ascending: places among its rows that are no copies, for
        `distinct_positions`.
        """
        kept = tuple(n - n_copies for n, n_copies in zip(row_chunks, self.per_strip, strict=True))
        n_kept, starts = sum(kept), row_starts(kept)
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(n_kept, min(n_drawn, n_kept), replace=False))
        bounds = np.searchsorted(chosen, [*starts, n_kept])
        cuts = zip(starts, pairwise(bounds), strict=True)
        return [chosen[a:b] - start for start, (a, b) in cuts]

    def spread(
        self, values: Sequence[Delayed], row_chunks: tuple[int, ...], execution: Execution
    ) -> list[Delayed]:
        """Return `values`, int64 (n_i,) a strip, where each copy has what its first row has.

        A task a strip, and one for each pair of strips that hold copies of each other's rows.
        """
        if self.copies is None:
            return list(values)
        starts = np.array(row_starts(row_chunks))
        asked = execution.compute(block_tasks(_strips_asked, [self.copies], starts), "copies")
        filled = []
        for number, part in enumerate(self.copies):
            answers = {
                other: dask.delayed(_first_values)(values[other], part, starts, other)
                for other in asked[number]
            }
            filled.append(dask.delayed(_filled)(values[number], part, starts, answers))
        return execution.persist(filled, "copies")

    def without_copies(self, rows: RowStrips, execution: Execution) -> RowStrips:
        """Return `rows`, the strips that were looked at, without copies; empty strips are left out.

        A task a strip; the workers hold the rows twice until `rows` is let go.
        """
        kept = [n - n_copies for n, n_copies in zip(rows.row_chunks, self.per_strip, strict=True)]
        columns = [rows.strips, self.of_strips(), rows.row_chunks]
        strips = execution.persist(block_tasks(_without, columns), "copies")
        held = tuple(strip for strip, n in zip(strips, kept, strict=True) if n)
        return replace(rows, strips=held, row_chunks=tuple(n for n in kept if n))

    def numbered(self, row_chunks: tuple[int, ...], execution: Execution) -> list[Delayed]:
        """Return for each strip int64 (n_i,): each row's place among the rows that are no copies.

        A copy has that of its first row.
        """
        kept = [n - n_copies for n, n_copies in zip(row_chunks, self.per_strip, strict=True)]
        tasks = block_tasks(_places, [self.of_strips(), row_chunks, row_starts(kept)])
        return self.spread(tasks, row_chunks, execution)

    def some_pairs(self, row_chunks: tuple[int, ...], most: int, execution: Execution) -> Int64:
        """Return (copy, first row), int64 (m, 2), of at most about `most` copies of all strips."""
        if self.copies is None:
            return np.empty((0, 2), dtype=np.int64)
        each = -(-most // len(self.copies))
        tasks = block_tasks(_first_pairs, [self.copies, row_starts(row_chunks)], each)
        return np.concatenate(execution.compute(tasks, "copies"))


def distinct_rows(rows: RowStrips, execution: Execution) -> DistinctRows:
    """Return which rows are copies of an earlier row, whatever strips the two lie in.

    Notes
    -----
    24 bytes a row that has no copy before it in its strip move once, so that a row that is
    everywhere is once a strip in the task that gathers it. A task for each strip, and for each
    strip and bucket of 4 million rows.
    """
    n_strips = len(rows.strips)
    n_buckets = max(ceil(rows.n_rows / BUCKET_ROWS), 1)
    starts = row_starts(rows.row_chunks)
    hash_strip = dask.delayed(_hashed, nout=n_buckets + 1, pure=False)
    hashed = [
        hash_strip(strip, start, n_buckets)
        for strip, start in zip(rows.strips, starts, strict=True)
    ]
    of_buckets = [[part[b] for part in hashed] for b in range(n_buckets)]
    buckets = block_tasks(_bucket_copies, [of_buckets], (*starts, rows.n_rows))
    kept = execution.persist([*buckets, *(part[n_buckets] for part in hashed)], "copies")
    found, inside = kept[:n_buckets], kept[n_buckets:]
    counted = execution.compute(block_tasks(_counts, [[[part] for part in inside]]))
    across = execution.compute(block_tasks(_counts, [found]))
    counts = np.concatenate(counted) + np.sum(across, axis=0)
    if not counts.any():
        return DistinctRows(None, (0,) * n_strips)
    of_strips = [[part[number] for part in found] for number in range(n_strips)]
    copies = execution.persist(block_tasks(_joined, [of_strips, inside, starts]), "copies")
    return DistinctRows(tuple(copies), tuple(counts.tolist()))


def copy_mask(copies: Copies | None, n_rows: int) -> Bool | None:
    """Return bool (n,) whether each row of a strip is a copy; None if there are none at all."""
    if copies is None:
        return None
    mask = np.zeros(n_rows, dtype=bool)
    mask[copies[0]] = True
    return mask


def distinct_positions(drawn: Int64, copies: Copies | None, n_rows: int) -> Int64:
    """Return the positions in a strip of `n_rows` rows of what `DistinctRows.drawn` has drawn."""
    mask = copy_mask(copies, n_rows)
    return drawn if mask is None else np.flatnonzero(~mask)[drawn]


def _without(strip: Any, copies: Copies | None, n_rows: int) -> Any:
    mask = copy_mask(copies, n_rows)
    return strip if mask is None else strip[np.flatnonzero(~mask)]


def _places(copies: Copies | None, n_rows: int, first: int) -> Int64:
    mask = copy_mask(copies, n_rows)
    kept = np.ones(n_rows, dtype=np.int64) if mask is None else (~mask).astype(np.int64)
    return np.cumsum(kept) - 1 + first


def _first_pairs(copies: Copies, first_row: int, most: int) -> Int64:
    positions, first = copies
    return np.column_stack([positions[:most] + first_row, first[:most]])


def _hashed(strip: Any, first_row: int, n_buckets: int) -> tuple[Any, ...]:
    """Return (hashes, row numbers) of each bucket, and the copies of rows of this very strip."""
    hashes = row_hashes(strip)
    numbers = np.arange(first_row, first_row + len(hashes), dtype=np.int64)
    first = copies_among(hashes, numbers)
    positions = np.flatnonzero(first != numbers)
    inside = (positions, first[positions])
    kept = first == numbers
    hashes, numbers = hashes[kept], numbers[kept]
    bucket = hashes[:, 1] % np.uint64(n_buckets)
    masks = [bucket == b for b in range(n_buckets)]
    return (*((hashes[mask], numbers[mask]) for mask in masks), inside)


def _bucket_copies(
    parts: Sequence[tuple[RowHashes, Int64]], bounds: tuple[int, ...]
) -> list[Copies]:
    """Return for each strip (positions, numbers of the first rows) of the copies of a bucket."""
    numbers = np.concatenate([part[1] for part in parts])
    first = copies_among(np.concatenate([part[0] for part in parts]), numbers)
    is_copy = first != numbers
    numbers, first = numbers[is_copy], first[is_copy]
    cuts = np.searchsorted(numbers, bounds)
    runs = zip(bounds[:-1], pairwise(cuts), strict=True)
    return [(numbers[a:b] - start, first[a:b]) for start, (a, b) in runs]


def _counts(parts: Sequence[Copies]) -> list[int]:
    return [len(positions) for positions, _ in parts]


def _joined(parts: Sequence[Copies], inside: Copies, first_row: int) -> Copies:
    """Return all copies of a strip: of rows of other strips, and copies of those within it."""
    positions = np.concatenate([part[0] for part in parts])
    first = np.concatenate([part[1] for part in parts])
    order = np.argsort(positions)
    positions, first = positions[order], first[order]
    own, own_first = inside
    if len(positions):
        place = np.searchsorted(positions, own_first - first_row)
        place = np.minimum(place, len(positions) - 1)
        known = positions[place] == own_first - first_row
        own_first = np.where(known, first[place], own_first)
    positions, first = np.concatenate([positions, own]), np.concatenate([first, own_first])
    order = np.argsort(positions)
    return positions[order], first[order]


def _strips_asked(copies: Copies, starts: Int64) -> list[int]:
    return np.unique(np.searchsorted(starts, copies[1], side="right") - 1).tolist()


def _first_values(values: Int64, copies: Copies, starts: Int64, strip: int) -> Int64:
    first = copies[1]
    wanted = first[np.searchsorted(starts, first, side="right") - 1 == strip]
    return values[wanted - starts[strip]]


def _filled(values: Int64, copies: Copies, starts: Int64, answers: dict[int, Int64]) -> Int64:
    positions, first = copies
    strip = np.searchsorted(starts, first, side="right") - 1
    found = values.copy()
    for other, there in answers.items():
        found[positions[strip == other]] = there
    return found
