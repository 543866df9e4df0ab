from __future__ import annotations

import dataclasses
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import JobSpecError
from ssl_dask.storage.files.file_source import FileSource
from ssl_dask.storage.input.dataset import DataFile, Dataset
from ssl_dask.storage.input.row_layout import FILES_APART, RowLayout, plan_layout
from tests.parquet_samples import travelled, write


def pretend(*files: list[int]) -> Dataset:
    """A data set of one int64 column; each file is given by the rows of its row groups."""
    made = tuple(
        DataFile(
            f"{i}.parquet",
            1,
            sum(groups),
            tuple((rows, 8 * rows) for rows in groups),
            "",
            (),
            0,
            (8 * sum(groups),),
        )
        for i, groups in enumerate(files)
    )
    schema = pa.schema([("x", pa.int64())])
    return Dataset(FileSource("data", "/data"), made, (schema,), schema)


def by_rows(dataset: Dataset, rows: int) -> RowLayout:
    return plan_layout(dataset, ["x"], block_bytes=1, block_rows=rows)


def test_small_row_groups_are_joined_and_large_ones_split() -> None:
    layout = by_rows(pretend([10, 10, 10, 0, 25, 90, 5], [5]), 30)
    assert layout.row_chunks == (30, 25, 30, 30, 30, 5, 5)
    joined, alone, *split = (block.pieces[0] for block in layout.blocks[:5])
    assert joined.row_groups == (0, 1, 2)
    assert alone.row_groups == (4,)
    assert [(rows.row_groups, rows.offset) for rows in split] == [((5,), 0), ((5,), 30), ((5,), 60)]
    assert [block.pieces[0].file for block in layout.blocks] == [0, 0, 0, 0, 0, 0, 1]


def test_bytes_set_the_rows() -> None:
    layout = plan_layout(pretend([1000]), ["x"], block_bytes=8 * 100)
    assert layout.row_chunks == (100,) * 10
    assert plan_layout(pretend([1000]), ["x"], block_bytes=2**30).row_chunks == (1000,)
    # A row wider than the limit is a block of its own.
    assert plan_layout(pretend([3]), ["x"], block_bytes=1).row_chunks == (1, 1, 1)


def test_files_and_row_groups_without_rows_vanish() -> None:
    layout = by_rows(pretend([], [0, 0], [3, 0, 2], [0]), 10)
    assert layout.row_chunks == (5,)
    assert layout.blocks[0].pieces[0].file == 2
    assert layout.blocks[0].pieces[0].row_groups == (0, 2)
    assert layout.place(4) == (2, 2, 1)


@pytest.mark.parametrize(("size", "rows"), [(0, None), (10, 0)])
def test_sizes_below_one_are_refused(size: int, rows: int | None) -> None:
    with pytest.raises(JobSpecError, match="blocks of"):
        plan_layout(pretend([1]), ["x"], block_bytes=size, block_rows=rows)


@given(
    files=st.lists(st.lists(st.integers(0, 40), max_size=5), min_size=1, max_size=5).filter(
        lambda files: sum(map(sum, files)) > 0
    ),
    rows=st.integers(1, 60),
)
def test_every_row_has_one_place(files: list[list[int]], rows: int) -> None:
    layout = by_rows(pretend(*files), rows)
    expected = [
        (file, group, position)
        for file, groups in enumerate(files)
        for group, n in enumerate(groups)
        for position in range(n)
    ]
    assert layout.n_rows == len(expected)
    assert [layout.place(row) for row in range(layout.n_rows)] == expected
    assert sum(layout.row_chunks) == layout.n_rows
    assert min(layout.row_chunks) > 0
    assert max(layout.row_chunks) <= rows
    starts = [layout.start_of(block) for block in range(len(layout.blocks))]
    assert starts == [0, *itertools.accumulate(layout.row_chunks)][:-1]
    for block in layout.blocks:
        # Segments tell the same places once more.
        places = [
            (place, position)
            for place, first, stop in block.segments()
            for position in range(first, stop)
        ]
        assert [place for place, _ in places] == [
            (file, group) for file, group, _ in expected[block.start : block.start + block.n_rows]
        ]
        assert [position for _, position in places] == list(range(block.n_rows))


def test_many_small_files_share_blocks() -> None:
    few = by_rows(pretend(*[[3]] * FILES_APART), 10)
    assert len(few.blocks) == FILES_APART
    many = by_rows(pretend(*[[3]] * FILES_APART, [25, 2], [3, 3]), 10)
    # 32 files of 3 rows, three to a block; 25 rows of a row group in three; 2 rows with 3 and 3.
    assert many.row_chunks == (9,) * 10 + (6, 8, 8, 9, 8)
    assert [len(block.pieces) for block in many.blocks] == [3] * 10 + [2, 1, 1, 1, 2]
    places = [place for place, _, _ in many.blocks[-1].segments()]
    assert places == [(FILES_APART, 1), (FILES_APART + 1, 0), (FILES_APART + 1, 1)]
    assert many.place(many.n_rows - 1) == (FILES_APART + 1, 1, 2)
    assert many.blocks[0].row_group is None
    plain = pretend(*[[3]] * 40)
    files = tuple(dataclasses.replace(one, schema=i % 2) for i, one in enumerate(plain.files))
    differing = dataclasses.replace(plain, files=files, file_schemas=plain.file_schemas * 2)
    assert len(by_rows(differing, 10).blocks) == 40


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_outside_is_an_index_error(row: int) -> None:
    with pytest.raises(IndexError):
        by_rows(pretend([5]), 2).place(row)


def test_a_layout_travels() -> None:
    layout = by_rows(pretend([5], [7]), 2)
    assert layout.row_chunks
    assert travelled(layout) == layout


@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(1, 64),
    n=st.integers(1, 3000),
    group=st.integers(1, 1000),
    limit=st.integers(2_000, 40_000),
)
def test_blocks_keep_to_their_bytes(width: int, n: int, group: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        values = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * width, "f4")), width)
        path = write(Path(folder) / "a.parquet", {"v": values}, group_rows=group)
        dataset = Dataset.open(path, base=Path(folder))
        layout = plan_layout(dataset, ["v"], block_bytes=limit)
        assert layout.n_rows == n == pq.read_metadata(path).num_rows
        assert max(layout.row_chunks) * width * 4 <= limit


def test_columns_that_are_not_read_do_not_count(tmp_path: Path) -> None:
    n = 1000
    text = pa.array([f"{i:0100d}" for i in range(n)])
    path = write(tmp_path / "a.parquet", {"x": np.arange(n), "text": text}, group_rows=n)
    dataset = Dataset.open(path, base=tmp_path)
    assert plan_layout(dataset, ["x"], block_bytes=8 * n * 2).row_chunks == (n,)
    blocks = plan_layout(dataset, ["x", "text"], block_bytes=8 * n * 2).row_chunks
    assert max(blocks) * (8 + 100) <= 8 * n * 2
