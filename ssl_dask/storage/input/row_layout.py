"""Which rows lie where: files and row groups become blocks of a size that memory sets."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ssl_dask.errors import JobSpecError
from ssl_dask.storage.input.column_types import value_bytes
from ssl_dask.storage.input.dataset import DataFile, Dataset


@dataclass(frozen=True)
class Block:
    """A run of consecutive rows of one file.

    Parameters
    ----------
    index
        Position of the block in the layout.
    file
        Position of the file in `Dataset.files`.
    row_groups
        Row groups that hold the rows; one only when the block is a part of a row group.
    group_rows
        Rows of each of these row groups as a whole.
    offset
        Rows of the first row group that come before the block.
    n_rows
        Rows of the block.
    start
        Row number of its first row in the whole data set.
    """

    index: int
    file: int
    row_groups: tuple[int, ...]
    group_rows: tuple[int, ...]
    offset: int
    n_rows: int
    start: int

    @property
    def is_whole(self) -> bool:
        """Whether the block is made of whole row groups."""
        return self.n_rows == sum(self.group_rows)

    def segments(self) -> list[tuple[int, int, int]]:
        """Return (row group, first, stop) of each row group, positions counted in the block."""
        if not self.is_whole:
            return [(self.row_groups[0], 0, self.n_rows)]
        stops = np.cumsum(self.group_rows).tolist()
        return list(zip(self.row_groups, [0, *stops[:-1]], stops, strict=True))


@dataclass(frozen=True)
class RowLayout:
    """The blocks of a data set, in row order; every row is in one of them.

    Parameters
    ----------
    blocks
        In row order, none of them empty.
    """

    blocks: tuple[Block, ...]

    @cached_property
    def row_chunks(self) -> tuple[int, ...]:
        """Rows of each block."""
        return tuple(block.n_rows for block in self.blocks)

    @property
    def n_rows(self) -> int:
        """Number of rows N of all blocks."""
        last = self.blocks[-1]
        return last.start + last.n_rows

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Row number of the first row of each block, int64 (P,)."""
        return np.array([block.start for block in self.blocks], dtype=np.int64)

    def start_of(self, block: int) -> int:
        """Return the row number of the first row of `block`."""
        return self.blocks[block].start

    def place(self, row: int) -> tuple[int, int, int]:
        """Return (file number, row group, position in the row group) of a row number.

        Raises
        ------
        IndexError
            There is no such row.
        """
        if not 0 <= row < self.n_rows:
            raise IndexError(f"row {row} of {self.n_rows}")
        block = self.blocks[int(np.searchsorted(self.starts, row, side="right")) - 1]
        position = row - block.start
        if not block.is_whole:
            return block.file, block.row_groups[0], block.offset + position
        segments = block.segments()
        i = bisect.bisect_right([first for _, first, _ in segments], position) - 1
        return block.file, segments[i][0], position - segments[i][1]


def plan_layout(
    dataset: Dataset,
    columns: Sequence[str],
    *,
    block_bytes: int,
    block_rows: int | None = None,
) -> RowLayout:
    """Divide the rows of `dataset` into blocks.

    Small neighbouring row groups of one file are joined, large ones are split evenly; no block
    spans files, and row groups without rows vanish.

    Parameters
    ----------
    dataset
        From `Dataset.open`.
    columns
        Columns that will be read; the others do not count.
    block_bytes
        Bytes that the columns of a block may take when they are read. Reading holds up to three
        times as much for a moment: Arrow's copy, the result and a conversion.
    block_rows
        Rows of a block at most, in place of `block_bytes`.

    Raises
    ------
    JobSpecError
        A size below 1.

    Notes
    -----
    A split row group is decoded from its start for each of its blocks, since Parquet has no entry
    inside it: a row group of s blocks costs s / 2 decodings.
    """
    if block_bytes < 1 or (block_rows is not None and block_rows < 1):
        raise JobSpecError(
            f"blocks of {block_bytes} bytes and {block_rows} rows",
            hint="give at least 1 of both",
        )
    blocks: list[Block] = []
    start = 0
    for number, file in enumerate(dataset.files):
        if block_rows is None:
            limit = max(1, int(block_bytes // _row_bytes(dataset, file, columns)))
        else:
            limit = block_rows
        for groups, offset, n_rows in _cut_file([rows for rows, _ in file.row_groups], limit):
            group_rows = tuple(file.row_groups[group][0] for group in groups)
            blocks.append(Block(len(blocks), number, groups, group_rows, offset, n_rows, start))
            start += n_rows
    return RowLayout(tuple(blocks))


def _row_bytes(dataset: Dataset, file: DataFile, columns: Sequence[str]) -> float:
    """Estimate the bytes of one row of `columns` when it is read."""
    schema = dataset.file_schemas[file.schema]
    total = 0.0
    for name in dict.fromkeys(columns):
        position = schema.get_field_index(name)
        if position < 0 or name in dataset.partition_columns:
            total += 8
            continue
        stored = file.column_bytes[position] / max(file.n_rows, 1)
        total += max(stored, value_bytes(schema.field(position).type))
    return max(total, 1.0)


def _cut_file(group_rows: Sequence[int], limit: int) -> list[tuple[tuple[int, ...], int, int]]:
    """Return (row groups, offset, rows) of the blocks of one file, none above `limit` rows."""
    blocks: list[tuple[tuple[int, ...], int, int]] = []
    pending: list[int] = []
    pending_rows = 0
    for group, rows in enumerate(group_rows):
        if rows == 0:
            continue
        if pending and pending_rows + rows > limit:
            blocks.append((tuple(pending), 0, pending_rows))
            pending, pending_rows = [], 0
        if rows > limit:
            pieces = -(-rows // limit)
            cuts = [rows * piece // pieces for piece in range(pieces + 1)]
            blocks += [((group,), a, b - a) for a, b in pairwise(cuts)]
        else:
            pending.append(group)
            pending_rows += rows
    if pending:
        blocks.append((tuple(pending), 0, pending_rows))
    return blocks
