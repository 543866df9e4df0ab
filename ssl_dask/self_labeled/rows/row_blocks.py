"""Blocks of rows as tasks get them: where their features lie, and some of them in one block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Int64
from ssl_dask.dask_arrays import row_handles
from ssl_dask.kernels.arithmetic.row_keys import keys_below, row_keys
from ssl_dask.self_labeled.rows.block_rows import (
    Assignment,
    BlockRows,
    RoundCounts,
    stacked,
    tag_order,
)


@dataclass(frozen=True)
class Layout:
    """What the parts of a block are, which a task gets one by one.

    Dask forgets results that lie in a list or mapping of a task's arguments: they stand alone.
    """

    rows: tuple[int, int] | None
    """The first row and the one after the last, where tags are row numbers; None: the first part
    holds the tags."""
    views: tuple[str, ...]
    present: tuple[str, ...]
    """Names of the parts that follow."""
    place: int
    """Of the first row in the fixed batches of `kernels/arithmetic/linear_scores.py`."""

    def block(self, parts: Sequence[Any]) -> BlockRows:
        """Return the block of the parts; runs in tasks."""
        rest = list(parts)
        tags = rest.pop(0) if self.rows is None else np.arange(*self.rows, dtype=np.int64)
        views = {name: rest.pop(0) for name in self.views}
        present = {name: rest.pop(0) for name in self.present}
        return BlockRows(tags, views, present, self.place)


@dataclass(frozen=True)
class RowBlock:
    """One block of rows as tasks get it; its features stay where they are."""

    layout: Layout
    """Says what the parts are."""
    parts: tuple[Delayed, ...]
    """Tags, features and masks of optional views, in the order of `layout`."""

    @property
    def tags(self) -> Delayed:
        """Tags of the rows, where they are a part."""
        assert self.layout.rows is None
        return self.parts[0]


@dataclass(frozen=True)
class Assigned:
    """A block after a round: its labels, and what the round did to them."""

    assignment: Assignment
    counts: RoundCounts


def blocks_of(
    views: Mapping[str, da.Array],
    present: Mapping[str, da.Array],
    row_chunks: Sequence[int],
    tags: da.Array | None = None,
) -> list[RowBlock]:
    """Return the blocks of rows of views that are chunked alike; `tags` None: row numbers."""
    starts = np.concatenate([[0], np.cumsum(row_chunks)]).astype(int).tolist()
    chunks = {name: held_chunks(view) for name, view in views.items()}
    has = {name: held_chunks(one) for name, one in present.items()}
    columns = [*([] if tags is None else [held_chunks(tags)]), *chunks.values(), *has.values()]
    blocks = []
    for b, start in enumerate(starts[:-1]):
        rows = (start, starts[b + 1]) if tags is None else None
        layout = Layout(rows, tuple(views), tuple(present), start)
        blocks.append(RowBlock(layout, tuple(parts[b] for parts in columns)))
    return blocks


def held_chunks(array: da.Array) -> list[Delayed]:
    """Return the chunks of an array as tasks; those that workers hold by the names they have there.

    An array gives its chunks other names on the way, which Dask changes when it optimises a graph;
    a scheduler that has seen both cannot compute a chunk again when its worker is lost.
    """
    return [_held(chunk) for chunk in row_handles(array)]


def _held(chunk: Delayed) -> Delayed:
    from distributed import Future

    graph, name = dict(chunk.__dask_graph__()), chunk.key
    for _ in range(len(graph)):
        value = graph.get(name)
        if isinstance(value, Future):
            return delayed(value)
        name = getattr(value, "target", value)
        if not isinstance(name, str | tuple) or name not in graph:
            break
    return chunk


def gathered(
    blocks: Sequence[RowBlock], starts: Int64, wanted: Int64, *, share: float | None, key: int
) -> Delayed:
    """Return the task of one `BlockRows` of some rows of all blocks, by tag.

    Parameters
    ----------
    starts
        First row of each block, and the number of all.
    wanted
        int64: numbers of rows that must be among them.
    share
        Of the other rows, those with the smallest keys of `key`; None: none of them.
    """
    take, join = delayed(_take, pure=False), delayed(_joined, pure=False)
    wanted = np.sort(wanted)
    cuts = np.searchsorted(wanted, starts)
    parts = [
        take(wanted[cuts[b] : cuts[b + 1]] - starts[b], share, key, block.layout, *block.parts)
        for b, block in enumerate(blocks)
        if share is not None or cuts[b] < cuts[b + 1]
    ]
    return join(*parts)


def held_block(rows: BlockRows | Delayed, names: Sequence[str], lacking: Sequence[str]) -> RowBlock:
    """Return a gathered `BlockRows` as a block of a track."""
    part = delayed(_part, pure=False)
    return RowBlock(
        Layout(None, tuple(names), tuple(lacking), 0),
        (
            part(rows, "tags", None),
            *(part(rows, "views", name) for name in names),
            *(part(rows, "present", name) for name in lacking),
        ),
    )


# Tasks.


def _part(block: BlockRows, kind: str, name: str | None) -> Any:
    found = getattr(block, kind)
    return found if name is None else found[name]


def _take(
    positions: Int64, share: float | None, key: int, layout: Layout, *parts: Any
) -> BlockRows:
    rows = layout.block(parts)
    chosen = np.zeros(rows.n_rows, dtype=np.bool_)
    chosen[positions] = True
    if share is not None:
        chosen |= row_keys(rows.tags, key) <= keys_below(share)
    return replace(rows.take(np.flatnonzero(chosen)), place=0)


def _joined(*parts: BlockRows) -> BlockRows:
    first, tags = parts[0], [part.tags for part in parts]
    order = tag_order(tags)
    return BlockRows(
        stacked(tags, order),
        {name: stacked([part.views[name] for part in parts], order) for name in first.views},
        {name: stacked([part.present[name] for part in parts], order) for name in first.present},
        0,
    )
