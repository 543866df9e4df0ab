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

FILES_APART = 32
"""Up to so many files each is a block at least; of more, small ones are joined."""

Place = tuple[int, int]
"""(position of a file in `Dataset.files`, row group)."""


@dataclass(frozen=True)
class FileRows:
    """A run of consecutive rows of one file."""

    file: int
    """Position of the file in `Dataset.files`."""
    row_groups: tuple[int, ...]
    """Row groups that hold the rows; one only when they are a part of a row group."""
    group_rows: tuple[int, ...]
    """Rows of each of these row groups as a whole."""
    offset: int
    """Rows of the first row group that come before."""
    n_rows: int
    """Number of the rows."""

    @property
    def is_whole(self) -> bool:
        """Whether the rows are those of whole row groups."""
        return self.n_rows == sum(self.group_rows)

    def segments(self) -> list[tuple[Place, int, int]]:
        """Return (place, first, stop) of each row group, positions counted in these rows."""
        if not self.is_whole:
            return [((self.file, self.row_groups[0]), 0, self.n_rows)]
        places = [(self.file, group) for group in self.row_groups]
        stops = np.cumsum(self.group_rows).tolist()
        return list(zip(places, [0, *stops[:-1]], stops, strict=True))


@dataclass(frozen=True)
class Block:
    """A run of consecutive rows, of one file or of several small ones."""

    index: int
    """Position of the block in the layout."""
    start: int
    """Row number of its first row in the whole data set."""
    pieces: tuple[FileRows, ...]
    """The rows of each file, all of one schema."""

    @cached_property
    def n_rows(self) -> int:
        """Rows of the block."""
        return sum(piece.n_rows for piece in self.pieces)

    @property
    def row_group(self) -> int | None:
        """The row group, where all rows are of one."""
        groups = self.pieces[0].row_groups
        return groups[0] if len(self.pieces) == len(groups) == 1 else None

    def segments(self) -> list[tuple[Place, int, int]]:
        """Return (place, first, stop) of each row group, positions counted in the block."""
        found, before = [], 0
        for piece in self.pieces:
            found += [(place, before + a, before + b) for place, a, b in piece.segments()]
            before += piece.n_rows
        return found


@dataclass(frozen=True)
class RowLayout:
    """The blocks of a data set, in row order; every row is in one of them."""

    blocks: tuple[Block, ...]
    """In row order, none of them empty."""

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
        segments = block.segments()
        i = bisect.bisect_right([first for _, first, _ in segments], position) - 1
        (file, group), first, _ = segments[i]
        offset = 0 if len(segments) > 1 else block.pieces[0].offset
        return file, group, offset + position - first


def plan_layout(
    dataset: Dataset,
    columns: Sequence[str],
    *,
    block_bytes: int,
    block_rows: int | None = None,
) -> RowLayout:
    """Divide the rows of `dataset` into blocks.

    Small neighbouring row groups of one file are joined, large ones are split evenly, and row
    groups without rows vanish. Where there are many files, small neighbours of one schema share a
    block.

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
    pieces: list[FileRows] = []
    limits: list[int] = []
    for number, file in enumerate(dataset.files):
        if block_rows is None:
            limit = max(1, int(block_bytes // _row_bytes(dataset, file, columns)))
        else:
            limit = block_rows
        for groups, offset, n_rows in _cut_file([rows for rows, _ in file.row_groups], limit):
            group_rows = tuple(file.row_groups[group][0] for group in groups)
            pieces.append(FileRows(number, groups, group_rows, offset, n_rows))
            limits.append(limit)
    runs: list[tuple[FileRows, ...]] = [(piece,) for piece in pieces]
    if len(dataset.files) > FILES_APART:
        runs = _joined_files(dataset, pieces, limits)
    starts = np.cumsum([0, *(sum(piece.n_rows for piece in run) for run in runs)]).tolist()
    return RowLayout(tuple(Block(i, starts[i], run) for i, run in enumerate(runs)))


def _joined_files(
    dataset: Dataset, pieces: Sequence[FileRows], limits: Sequence[int]
) -> list[tuple[FileRows, ...]]:
    """Join neighbouring pieces of one schema while their rows are within the limit of each."""
    runs: list[list[FileRows]] = []
    schema, rows, most = -1, 0, 0
    for piece, limit in zip(pieces, limits, strict=True):
        here = dataset.files[piece.file].schema
        # A part of a row group stays a block of its own.
        most = min(most, limit) if piece.is_whole else 0
        if here == schema and rows + piece.n_rows <= most:
            runs[-1].append(piece)
            rows += piece.n_rows
        else:
            runs.append([piece])
            schema, rows, most = here, piece.n_rows, limit if piece.is_whole else 0
    return [tuple(run) for run in runs]


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
