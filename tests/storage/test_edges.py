"""Edges between ids, joined to row numbers."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.storage.ids.edges import EdgeFile, edges_between_rows, open_edge_file
from ssl_dask.storage.ids.id_hash import entity_keys
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout

N = 60


def ids_of(kind: str) -> pa.Array:
    rng = np.random.default_rng(0)
    numbers = rng.permutation(N) * 7 + 3
    if kind == "text":
        return pa.array([f"row-{i}" + "x" * (i % 11) for i in numbers])
    if kind == "uuid":
        return pa.array([uuid.UUID(int=int(i) << 64).bytes for i in numbers], pa.binary(16))
    return pa.array(numbers, pa.type_for_alias(kind))


def data_of(folder: Path, ids: pa.Array, rows: int = 13) -> ColumnReader:
    pq.write_table(pa.table({"id": ids, "a": np.arange(N)}), folder / "data.parquet")
    dataset = Dataset.open(folder / "data.parquet", base=folder)
    layout = plan_layout(dataset, ["id"], block_bytes=2**20, block_rows=rows)
    return ColumnReader(dataset, layout)


def file_of(folder: Path, table: pa.Table, id_type: pa.DataType, **columns: str) -> EdgeFile:
    pq.write_table(table, folder / "edges.parquet", row_group_size=50)
    chosen = {"source": "u", "target": "v", **columns}
    return open_edge_file(folder / "edges.parquet", base=folder, id_type=id_type, **chosen)


def joined(file, data, id_column, execution=None):
    execution = execution or Execution(threads=1)
    parts = execution.compute(edges_between_rows(file, data, id_column, execution))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


@pytest.mark.parametrize("kind", ["int64", "int32", "uint64", "text", "uuid"])
def test_ends_are_the_rows_of_their_ids(tmp_path, kind, cluster_client):
    ids = ids_of(kind)
    data = data_of(tmp_path, ids)
    rng = np.random.default_rng(1)
    u, v = rng.integers(0, N, size=(2, 200))
    table = pa.table({"u": ids.take(pa.array(u)), "v": ids.take(pa.array(v))})
    file = file_of(tmp_path, table, ids.type)
    places = [Execution(threads=1), Execution(threads=1, memory_per_task=2_000)]
    # Workers have the same code for every kind.
    for execution in [*places, *([Execution(cluster_client)] if kind == "text" else [])]:
        source, target, weight = joined(file, data, "id", execution)
        np.testing.assert_array_equal(source, u)
        np.testing.assert_array_equal(target, v)
        assert weight.tolist() == [1.0] * 200


def test_many_blocks_and_ranges_were_tried(tmp_path):
    file = file_of(tmp_path, pa.table({"u": np.arange(200), "v": np.arange(200)}), pa.int64())
    assert len(file.reader(2_000).row_counts) > 20
    assert len(file.reader(2**30).row_counts) == 1


def test_unknown_and_missing_ends_are_minus_one(tmp_path):
    ids = ids_of("int64")
    data = data_of(tmp_path, ids)
    first = ids[0].as_py()
    table = pa.table(
        {
            "u": pa.array([first, None, first, -5], pa.int64()),
            "v": pa.array([first, first, 10**15, first], pa.int64()),
        }
    )
    source, target, _ = joined(file_of(tmp_path, table, ids.type), data, "id")
    assert source.tolist() == [0, -1, 0, -1]
    assert target.tolist() == [0, 0, -1, 0]


def test_signs_of_ids_are_kept_apart(tmp_path):
    pq.write_table(pa.table({"id": pa.array([-1, 5])}), tmp_path / "data.parquet")
    dataset = Dataset.open(tmp_path / "data.parquet", base=tmp_path)
    data = ColumnReader(dataset, plan_layout(dataset, ["id"], block_bytes=2**20))
    table = pa.table(
        {"u": pa.array([2**64 - 1, 5], pa.uint64()), "v": pa.array([5, 5], pa.uint64())}
    )
    source, target, _ = joined(file_of(tmp_path, table, pa.int64()), data, "id")
    assert source.tolist() == [-1, 1]
    assert target.tolist() == [1, 1]


def test_without_ids_ends_are_row_numbers(tmp_path):
    data = data_of(tmp_path, ids_of("int64"))
    table = pa.table({"u": [0, N - 1, -1, None], "v": [N, 1, 2, 3], "w": [0.5, 2.0, 0.0, 1.0]})
    source, target, weight = joined(file_of(tmp_path, table, pa.int64(), weight="w"), data, None)
    assert source.tolist() == [0, N - 1, -1, -1]
    assert target.tolist() == [-1, 1, 2, 3]
    assert weight.tolist() == [0.5, 2.0, 0.0, 1.0]


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), None, 1e39])
def test_weights_are_checked_and_counted(tmp_path, bad):
    data = data_of(tmp_path, ids_of("int64"))
    weights = pa.array([1.0, bad, bad, 2.0], pa.float64())
    table = pa.table({"u": [0, 1, 2, 3], "v": [1, 2, 3, 4], "w": weights})
    file = file_of(tmp_path, table, pa.int64(), weight="w")
    with pytest.raises(InputDataError, match="not finite: 2") as caught:
        joined(file, data, None)
    assert caught.value.problems[0].column == "w"
    assert caught.value.problems[0].file.endswith("edges.parquet")


def test_columns_are_checked_from_the_footers(tmp_path):
    table = pa.table({"u": ["a"], "v": [1], "w": ["heavy"], "x": [0.5]})
    with pytest.raises(InputDataError) as caught:
        file_of(tmp_path, table, pa.int64(), weight="w")
    messages = {(one.column, one.message) for one in caught.value.problems}
    assert ("u", "is string, but what it names in the data is int64") in messages
    assert {column for column, _ in messages} == {"u", "w"}
    with pytest.raises(InputDataError, match="no such column"):
        file_of(tmp_path, table, pa.int64(), source="from")
    with pytest.raises(InputDataError, match="ids are integers"):
        file_of(tmp_path, table, pa.int64(), source="x")
    with pytest.raises(InputDataError, match="one column"):
        file_of(tmp_path, table, pa.int64(), source="v")


def test_equal_values_have_equal_keys_and_missing_ones_none(tmp_path):
    cards = ["a", None, "b", "", "a", "b"] * 10
    pq.write_table(pa.table({"card": cards}), tmp_path / "data.parquet", row_group_size=7)
    dataset = Dataset.open(tmp_path / "data.parquet", base=tmp_path)
    layout = plan_layout(dataset, ["card"], block_bytes=2**20, block_rows=7)
    blocks = Execution(threads=1).compute(entity_keys(ColumnReader(dataset, layout), "card"))
    keys = np.concatenate([keys for keys, _ in blocks])
    valid = np.concatenate([valid for _, valid in blocks])
    assert len(blocks) > 5
    assert valid.tolist() == [bool(card) for card in cards]
    found = {card: set(keys[[c == card for c in cards]].tolist()) for card in ("a", "b")}
    assert len(found["a"]) == len(found["b"]) == 1
    assert found["a"] != found["b"]
