"""Group rows by key, and weight the edges between rows and the nodes of their groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ssl_dask.array_types import Bool, Float64, Int64, UInt64

ENTITY_SCALES = ("inverse_sqrt", "inverse", "none")


class KeyedRows(NamedTuple):
    """Rows with a key: uint64 keys (n,) and int64 row numbers (n,)."""

    keys: UInt64
    rows: Int64


class Groups(NamedTuple):
    """Rows grouped by key, and what was dropped."""

    rows: Int64
    """int64: row numbers, ascending within each group; groups are in the order of their keys."""
    bounds: Int64
    """int64 (G + 1,): group g has rows[bounds[g]:bounds[g + 1]]."""
    n_alone: int
    """Dropped keys of a single row."""
    n_large: int
    n_large_rows: int
    largest: int
    """Dropped keys of too many rows, their rows, and the rows of the most frequent key."""


def keyed_rows_by_range(
    keys: UInt64, valid: Bool, rows: Int64, n_ranges: int
) -> tuple[KeyedRows, ...]:
    """Partition the rows with a key by `n_ranges` equal ranges of keys.

    Parameters
    ----------
    keys, valid, rows
        uint64, bool and int64 (n,): keys, whether a row has one, and numbers of the rows. Keys are
        evenly distributed hashes.
    """
    places = np.flatnonzero(valid)
    held = keys[places]
    part = (held >> np.uint64(32)) * np.uint64(n_ranges) >> np.uint64(32)
    order = np.argsort(part, kind="stable")
    bounds = np.searchsorted(part[order], np.arange(n_ranges + 1, dtype=np.uint64))
    return tuple(KeyedRows(held[order[a:b]], rows[places[order[a:b]]]) for a, b in pairwise(bounds))


def group_rows(parts: Sequence[KeyedRows], max_rows: int) -> Groups:
    """Return the groups of 2 to `max_rows` rows with the same key.

    Parameters
    ----------
    parts
        All rows with keys of one range.

    Examples
    --------
    >>> keyed = KeyedRows(np.array([7, 3, 7], dtype=np.uint64), np.array([0, 1, 2]))
    >>> groups = group_rows([keyed], max_rows=10)
    >>> groups.rows.tolist(), groups.bounds.tolist(), groups.n_alone
    ([0, 2], [0, 2], 1)
    """
    keys = np.concatenate([part.keys for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    order = np.lexsort((rows, keys))
    keys, rows = keys[order], rows[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, int)
    sizes = np.diff(np.r_[starts, len(keys)])
    kept = (sizes >= 2) & (sizes <= max_rows)
    large = sizes > max_rows
    return Groups(
        rows[np.repeat(kept, sizes)],
        np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64),
        int(np.count_nonzero(sizes == 1)),
        int(np.count_nonzero(large)),
        int(sizes[large].sum()),
        int(sizes.max(initial=0)),
    )


def group_edges(
    groups: Groups, first_node: int, scale: str, weight: float
) -> tuple[Int64, Int64, Float64]:
    """Return the edges (rows, nodes, weights) between rows and the nodes of their groups.

    Groups are the nodes `first_node`, `first_node + 1`, ... An edge of a group of s rows has the
    weight `weight` / sqrt(s) ("inverse_sqrt"), `weight` / s ("inverse") or `weight` ("none").
    """
    sizes = np.diff(groups.bounds)
    nodes = np.repeat(np.arange(len(sizes)) + first_node, sizes)
    power: Any = {"inverse_sqrt": -0.5, "inverse": -1.0, "none": 0.0}[scale]
    return groups.rows, nodes, np.repeat(weight * sizes.astype(np.float64) ** power, sizes)
