"""Are all ids different? Answered over the whole data without collecting them anywhere.

A scan leaves an `IdSummary` of each block. Blocks whose ids are distinct and whose ranges meet no
other block's are done with. The ids of the others are hashed on the workers, and the hashes
exchanged by range, so that equal ids meet in one task; rows whose hash occurs twice are then
compared by their real ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from dask.delayed import Delayed, delayed

from ssl_dask.block_exchange import MAX_PIECES, exchange
from ssl_dask.errors import Problem
from ssl_dask.execution import Execution
from ssl_dask.storage.ids.id_hash import hash_ids, range_of
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.column_types import is_text

MAX_SUSPECTS = 1_000
MAX_SHOWN = 5
BYTES_PER_HASH = 32
"""What a hash costs while it is sorted among those of its range."""


@dataclass(frozen=True)
class IdSummary:
    """What a block's ids look like; small."""

    low: int | bytes | None
    high: int | bytes | None
    """Smallest and largest id, integers or bytes; None where a block has no id."""
    n_ids: int
    """Ids that are not null."""
    n_distinct: int
    """Different ones among them."""


@dataclass(frozen=True)
class IdCheck:
    """Whether ids occur more than once."""

    n_duplicated: int
    """Different ids that occur more than once."""
    n_extra_rows: int
    """Rows too many: occurrences of these ids beyond the first of each."""
    n_compared: int
    """Rows that had to be compared across blocks."""
    problems: tuple[Problem, ...]
    """One, with the places of up to five such ids; none when all ids are different."""


def summarise_ids(ids: pa.Array) -> IdSummary:
    """Summarise the ids of one block, as `ColumnReader.id_array` returns them.

    Costs one hash table of the block's ids, and nothing for increasing integers.
    """
    ids = ids.drop_null()
    if is_text(ids.type):
        # By bytes: the scan of the column refuses text that is not valid UTF-8.
        ids = ids.cast(pa.large_binary())
    if len(ids) == 0:
        return IdSummary(None, None, 0, 0)
    if pt.is_integer(ids.type):
        values = ids.to_numpy()
        if (values[1:] > values[:-1]).all():
            return IdSummary(int(values[0]), int(values[-1]), len(ids), len(ids))
    ends = pc.min_max(ids)
    distinct = pc.count_distinct(ids).as_py()
    return IdSummary(ends["min"].as_py(), ends["max"].as_py(), len(ids), distinct)


def blocks_to_compare(summaries: Sequence[IdSummary]) -> list[int]:
    """Return the blocks that may hold an id twice, or share one with another block."""
    chosen = {i for i, summary in enumerate(summaries) if summary.n_distinct < summary.n_ids}
    filled = [i for i, summary in enumerate(summaries) if summary.n_ids]
    ranges: list[tuple[Any, Any, int]] = sorted(
        (summaries[i].low, summaries[i].high, i) for i in filled
    )
    reach: tuple[Any, int] | None = None
    for low, high, i in ranges:
        if reach is not None and low <= reach[0]:
            chosen |= {i, reach[1]}
        if reach is None or high > reach[0]:
            reach = high, i
    return sorted(chosen)


def find_duplicate_ids(
    reader: ColumnReader, column: str, summaries: Sequence[IdSummary], execution: Execution
) -> IdCheck:
    """Count the ids that occur more than once.

    Parameters
    ----------
    reader
        Of the whole data.
    column
        The ids.
    summaries
        One a block, from `summarise_ids`.

    Raises
    ------
    InputDataError
        A file changed or became unreadable meanwhile.

    Notes
    -----
    No task where all ranges are apart. Else the ids of n rows are read once more and 8 n bytes are
    exchanged, in pieces of at most 20,000; a worker task holds the ids of its blocks or the hashes
    of one range, cut to a quarter of `execution.memory_per_task`. What all workers hold at a time
    stays below a quarter of their memory: more goes through in several rounds, each reading the ids
    again. Up to 1,000 hashes that occur twice are verified against the ids; further ones are
    counted by their 64-bit hash.
    """
    blocks = blocks_to_compare(summaries)
    n_compared = sum(summaries[i].n_ids for i in blocks)
    if not blocks:
        return IdCheck(0, 0, 0, ())
    shared = delayed(reader, pure=False, traverse=False)
    n_hashes, n_extra, suspects = _exchange(shared, column, blocks, n_compared, execution)
    if n_hashes == 0:
        return IdCheck(0, 0, n_compared, ())
    tasks = [
        delayed(_rows_of_suspects, pure=False)(shared, column, block, suspects) for block in blocks
    ]
    duplicates = _merge_places(execution.compute(tasks, "comparing ids"))
    if n_hashes <= MAX_SUSPECTS:
        n_hashes, n_extra = len(duplicates), sum(n - 1 for n, _ in duplicates)
    if n_hashes == 0:
        return IdCheck(0, 0, n_compared, ())
    problem = _as_problem(reader, column, n_hashes, n_extra, [rows for _, rows in duplicates])
    return IdCheck(n_hashes, n_extra, n_compared, (problem,))


def _exchange(
    reader: Delayed, column: str, blocks: list[int], n_ids: int, execution: Execution
) -> tuple[int, int, npt.NDArray[np.uint64]]:
    """Return (hashes that occur twice, rows beyond the first of each, some of these hashes)."""
    per_task = max(execution.memory_per_task // 4, 1)
    in_all = per_task * execution.n_slots
    n_rounds = -(-n_ids * 16 // in_all)
    n_buckets = max(1, -(-n_ids * BYTES_PER_HASH // (per_task * n_rounds)))
    n_buckets = min(max(n_buckets, min(execution.n_slots, n_ids // 100_000)), MAX_PIECES)
    sources = [(reader, block) for block in blocks]
    n_hashes = n_extra = 0
    found = []
    for number in range(n_rounds):
        ranges = (number * n_buckets, (number + 1) * n_buckets, n_rounds * n_buckets)
        split = partial(_split_hashes, column=column, ranges=ranges)
        tasks = exchange(sources, split, n_buckets, _repeated_hashes)
        for repeated, extra, some in execution.compute(tasks, "exchanging ids"):
            n_hashes, n_extra = n_hashes + repeated, n_extra + extra
            found.append(some)
    return n_hashes, n_extra, np.sort(np.concatenate(found))[:MAX_SUSPECTS]


def _split_hashes(
    blocks: list[tuple[ColumnReader, int]], column: str, ranges: tuple[int, int, int]
) -> list[npt.NDArray[np.uint64]]:
    """Return the hashes of the blocks' ids, one array for each range `first` to `stop` of `n`."""
    first, stop, n_ranges = ranges
    kept = []
    for reader, block in blocks:
        hashes = hash_ids(reader.id_array(block, column).drop_null())
        bucket = range_of(hashes, n_ranges)
        kept.append(hashes[(bucket >= first) & (bucket < stop)])
    hashes = np.sort(np.concatenate(kept))
    bucket = range_of(hashes, n_ranges)
    cuts = np.searchsorted(bucket, np.arange(first, stop + 1, dtype=np.uint64))
    return [hashes[a:b].copy() for a, b in pairwise(cuts)]


def _repeated_hashes(
    owner: int,
    pieces: list[npt.NDArray[np.uint64]],
) -> tuple[int, int, npt.NDArray[np.uint64]]:
    hashes = np.sort(np.concatenate(pieces))
    again = hashes[1:][hashes[1:] == hashes[:-1]]
    distinct = np.unique(again)
    return len(distinct), len(again), distinct[:MAX_SUSPECTS]


def _rows_of_suspects(
    reader: ColumnReader, column: str, block: int, suspects: npt.NDArray[np.uint64]
) -> list[tuple[Any, int, list[int]]]:
    """Return (id, occurrences, first two row numbers) of the block's ids with such a hash."""
    ids = reader.id_array(block, column)
    if is_text(ids.type):
        ids = ids.cast(pa.large_binary())
    rows = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False))
    ids = ids.drop_null()
    hits = np.flatnonzero(np.isin(hash_ids(ids), suspects))
    start = reader.layout.start_of(block)
    places: dict[Any, tuple[int, list[int]]] = {}
    for hit, value in zip(hits, ids.take(pa.array(hits)).to_pylist(), strict=True):
        n, first = places.get(value, (0, []))
        places[value] = n + 1, [*first, start + int(rows[hit])][:2]
    return [(value, n, first) for value, (n, first) in places.items()]


def _merge_places(
    found: Iterable[list[tuple[Any, int, list[int]]]],
) -> list[tuple[int, list[int]]]:
    """Return (occurrences, first two row numbers) of the ids that occur twice, by first row."""
    merged: dict[Any, tuple[int, list[int]]] = {}
    for block in found:
        for value, n, rows in block:
            before, first = merged.get(value, (0, []))
            merged[value] = before + n, (first + rows)[:2]
    return sorted((places for places in merged.values() if places[0] > 1), key=lambda p: p[1])


def _as_problem(
    reader: ColumnReader, column: str, n: int, n_extra: int, places: list[list[int]]
) -> Problem:
    shown = []
    for rows in places[:MAX_SHOWN]:
        where = [reader.layout.place(row) for row in rows]
        names = [f"{reader.dataset.shown_path(file)} row group {group}" for file, group, _ in where]
        first, second = (position for _, _, position in where)
        if names[0] == names[1]:
            shown.append(f"rows {first} and {second} of {names[0]}")
        else:
            shown.append(f"row {first} of {names[0]} and row {second} of {names[1]}")
    more = ", ..." if n > MAX_SHOWN else ""
    what = "1 id occurs" if n == 1 else f"{n:,} ids occur"
    extra = "1 row" if n_extra == 1 else f"{n_extra:,} rows"
    return Problem(
        f"{what} more than once ({extra} too many): {', '.join(shown)}{more}",
        column=column,
        rows=n_extra,
        hint="make the ids unique, or name another column as the id",
    )
