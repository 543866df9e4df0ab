"""Named views: features of every row as Dask arrays, made block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Bool
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import BlockReader, Columns
from ssl_dask.features.column_profiles import GroupCounts, GroupProfile, count_block
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.features.optional_groups import present_rows, read_columns
from ssl_dask.features.transform import Block, Transform


@dataclass(frozen=True)
class FeatureView:
    """Features of every row under one name."""

    name: str
    """Of the group; of joined groups "a+b"."""
    X: da.Array
    """Lazy Dask array (N, d) float32 in blocks of rows, dense or csr_array; computing a block reads
    it."""
    state: Transform
    """The fitted transform, also for new rows."""
    present: tuple[Delayed, ...] | None = None
    """For each block a task of bool (n_i,), the rows that have the group; None: all have it."""
    profile: GroupProfile | None = None
    """What the columns held in the rows of the fit; None for joined groups and for new rows."""
    counts: tuple[Delayed, ...] = ()
    """For each block of new rows a task of what its columns hold, to be compared with a profile."""

    @property
    def sparse(self) -> bool:
        """Whether the blocks are CSR."""
        return self.state.sparse

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the columns: counts and column names."""
        return self.state.notes

    @property
    def row_chunks(self) -> tuple[int, ...]:
        """Rows of each block."""
        return tuple(self.X.chunks[0])

    def blocks(self) -> list[Delayed]:
        """Return the tasks that make the blocks, in row order."""
        return row_handles(self.X)

    def transform(self, columns: Columns) -> Block:
        """Return the features of other rows, from columns in the forms of `BlockReader.read`."""
        return self.state.transform(columns)

    def persist(self, execution: Execution, what: str = "features") -> FeatureView:
        """Return the view with every block computed and held by the worker that made it."""
        lazy = self.blocks()
        kept = execution.persist([*lazy, *(self.present or ())], what)
        blocks, present = kept[: len(lazy)], kept[len(lazy) :]
        return replace(
            self,
            X=features_of_blocks(blocks, self.row_chunks, self.X.shape[1], self.sparse),
            present=None if self.present is None else tuple(present),
        )


def present_arrays(views: Mapping[str, FeatureView]) -> dict[str, da.Array]:
    """Return, for each view that rows may lack, which rows have it: Dask arrays bool (N,)."""
    return {
        name: array_of_blocks(view.present, view.row_chunks, (), np.bool_)
        for name, view in views.items()
        if view.present is not None
    }


def features_of_blocks(
    blocks: Sequence[Delayed], row_chunks: Sequence[int], width: int, sparse: bool
) -> da.Array:
    """Return the Dask array (N, width) float32 of `blocks`, dense or CSR."""
    empty = np.empty((0, width), dtype=np.float32)
    meta = sp.csr_array(empty) if sparse else empty
    return array_of_blocks(blocks, row_chunks, (width,), np.float32, meta)


def views_of(
    reader: BlockReader,
    groups: Mapping[str, FeatureGroup],
    transforms: Mapping[str, Transform],
    profiles: Mapping[str, GroupProfile] | None = None,
) -> dict[str, FeatureView]:
    """Return lazy views of every group by fitted transforms; nothing is read.

    Parameters
    ----------
    reader
        Reads the columns of the rows, of the fit or new ones.
    groups, transforms
        By name; a transform is the `state` of a view of `describe`.
    profiles
        By name, of the fit: the tasks that make the features count as well what the columns hold.
    """
    profiles = profiles or {}
    return {
        name: _view(reader, name, groups[name], transforms[name], profiles.get(name))
        for name in groups
    }


def _view(
    reader: BlockReader,
    name: str,
    group: FeatureGroup,
    transform: Transform,
    profile: GroupProfile | None,
) -> FeatureView:
    source = delayed(reader, traverse=False)
    state = delayed((group, transform), traverse=False)
    numbers = range(len(reader.row_counts))
    if profile is None:
        blocks, counts = block_tasks(_describe_block, [numbers], source, state), ()
    else:
        both = delayed(_describe_and_count, pure=False, nout=2)
        kept = delayed(profile, traverse=False)
        pairs = [both(block, source, state, kept) for block in numbers]
        blocks, counts = [pair[0] for pair in pairs], tuple(pair[1] for pair in pairs)
    X = features_of_blocks(blocks, reader.row_counts, transform.width, transform.sparse)
    present = None
    if group.optional:
        present = tuple(block_tasks(_present_block, [numbers], source, state))
    return FeatureView(name, X, transform, present, counts=counts)


def _describe_block(
    block: int, reader: BlockReader, state: tuple[FeatureGroup, Transform]
) -> Block:
    group, transform = state
    return transform.transform(read_columns(reader, block, {"": group})[""])


def _describe_and_count(
    block: int,
    reader: BlockReader,
    state: tuple[FeatureGroup, Transform],
    profile: GroupProfile,
) -> tuple[Block, GroupCounts]:
    group, transform = state
    columns = read_columns(reader, block, {"": group})[""]
    X = transform.transform(columns)
    return X, count_block(group, transform, profile, columns, X)


def _present_block(block: int, reader: BlockReader, state: tuple[FeatureGroup, Transform]) -> Bool:
    return present_rows(state[0], read_columns(reader, block, {"": state[0]})[""])


@dataclass(frozen=True)
class JoinedTransform:
    """Features of several groups side by side, each multiplied by its scale."""

    parts: tuple[Transform, ...]
    scales: tuple[float, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(part.width for part in self.parts)

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR: if any part is."""
        return any(part.sparse for part in self.parts)

    @property
    def spread(self) -> float:
        """Root mean squared length of the rows."""
        squares = ((p.spread * s) ** 2 for p, s in zip(self.parts, self.scales, strict=True))
        return float(np.sqrt(sum(squares)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all parts."""
        return tuple(note for part in self.parts for note in part.notes)

    def transform(self, columns: Columns) -> Block:
        """Return the features of a block."""
        return join_blocks([part.transform(columns) for part in self.parts], self.scales)


def join_blocks(blocks: Sequence[Block], scales: Sequence[float]) -> Block:
    """Put the features of a block of rows side by side, each multiplied by its scale.

    >>> join_blocks([np.ones((1, 2)), np.ones((1, 1))], [1.0, 0.5]).tolist()
    [[1.0, 1.0, 0.5]]
    """
    scaled = [block * np.float32(scale) for block, scale in zip(blocks, scales, strict=True)]
    if not any(sp.issparse(block) for block in scaled):
        return np.hstack(scaled)
    joined = sp.hstack([sp.csr_array(block) for block in scaled], format="csr")
    joined.sort_indices()
    return joined


def join(
    views: Mapping[str, FeatureView], weights: Mapping[str, float] | None = None
) -> FeatureView:
    """Put the features of several views side by side; CSR if any of them is, else dense.

    Each group is divided by its `spread`, the root mean squared length of its rows, and multiplied
    by its weight, so that its mean squared length is weight**2 however many features it has. The
    spread is the square root of the total variance for dense groups, of the number of columns for
    categories, and 1 for text. A single view is returned unchanged.

    Parameters
    ----------
    views
        Of `describe`, with equal blocks of rows.
    weights
        By name; a missing one is 1.

    Raises
    ------
    ValueError
        No views, weights of unknown views, or views with different blocks.
    """
    weights = weights or {}
    unknown = sorted(set(weights) - set(views))
    if not views or unknown:
        raise ValueError(f"no views to join, or weights of unknown ones: {unknown}")
    parts = list(views.values())
    if len(parts) == 1:
        return parts[0]
    if len({view.row_chunks for view in parts}) > 1:
        raise ValueError("the views differ in their blocks of rows")
    scales = tuple(
        float(weights.get(name, 1.0)) / (view.state.spread or 1.0) for name, view in views.items()
    )
    state = JoinedTransform(tuple(view.state for view in parts), scales)
    together = zip(*(view.blocks() for view in parts), strict=True)
    blocks = block_tasks(join_blocks, [together], scales)
    X = features_of_blocks(blocks, parts[0].row_chunks, state.width, state.sparse)
    return FeatureView("+".join(views), X, state)
