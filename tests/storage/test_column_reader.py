from __future__ import annotations

import datetime
import decimal
import tempfile
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dask.delayed import delayed
from distributed import Client
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.storage.checks.column_check import ColumnNeeds
from ssl_dask.storage.checks.input_check import scan_input
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from tests.parquet_samples import HERE, open_reader, travelled, write

BIG = 2**53 + 1


def one_column(folder: Path, values: Any, **options: Any) -> ColumnReader:
    write(folder / "a.parquet", {"c": values}, **options)
    return open_reader(folder)


def everything(reader: ColumnReader, column: str, kind: str) -> np.ndarray:
    parts = [reader.read(i, {column: kind})[column] for i in range(len(reader.row_counts))]
    return np.concatenate(parts)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_files_and_blocks_give_what_pyarrow_reads(data: st.DataObject) -> None:
    files = data.draw(
        st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=4).filter(
            lambda files: sum(n for n, _ in files) > 0
        )
    )
    block_rows = data.draw(st.integers(1, 70))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = 0
        for i, (n, group_rows) in enumerate(files):
            rows = range(start, start + n)
            words = pa.array([None if r % 7 == 3 else f"w{r % 5}" for r in rows], pa.string())
            write(
                folder / f"{i}.parquet",
                {
                    "id": pa.array([2**64 - 1 - r for r in rows], pa.uint64()),
                    "x": pa.array([None if r % 5 == 2 else r / 3 for r in rows], pa.float64()),
                    "word": words.dictionary_encode() if i % 2 else words,
                    "v": pa.array([[r, -r, 0.5] for r in rows], pa.list_(pa.float32())),
                    "nested": pa.array([{"a": r} for r in rows], pa.struct([("a", pa.int64())])),
                },
                group_rows=group_rows,
            )
            start += n
        reader = open_reader(folder, block_rows=block_rows)
        paths = [folder / file.name for file in reader.dataset.files]
        expected = pa.concat_tables(
            [
                pq.ParquetFile(path).read().cast(reader.dataset.schema)
                for path in paths
                if pq.read_metadata(path).num_rows
            ]
        )
        assert reader.row_counts == reader.layout.row_chunks
        assert sum(reader.row_counts) == expected.num_rows > 0
        columns = ["nested", "word", "id", "x", "v"]
        tables = [reader.read_table(i, columns) for i in range(len(reader.row_counts))]
        assert pa.concat_tables(tables).equals(expected.select(columns))

        assert everything(reader, "id", "id").dtype == np.uint64
        np.testing.assert_array_equal(everything(reader, "id", "id"), expected["id"].to_numpy())
        np.testing.assert_array_equal(everything(reader, "x", "numeric"), expected["x"].to_numpy())
        assert everything(reader, "word", "string").tolist() == expected["word"].to_pylist()
        np.testing.assert_array_equal(
            everything(reader, "v", "vector"), np.array(expected["v"].to_pylist(), np.float32)
        )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([True, None, False]), [1.0, np.nan, 0.0]),
        (pa.array([1, None, -3], pa.int8()), [1.0, np.nan, -3.0]),
        (pa.array([0.1, None, np.inf], pa.float32()), [np.float32(0.1), np.nan, np.inf]),
        (pa.array([1.5, None, 2.0], pa.float16()), [1.5, np.nan, 2.0]),
        (pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-7")]), [1.1, np.nan, -7.0]),
        (pa.nulls(3), [np.nan] * 3),
        (pa.array([BIG, None, 1]), [2.0**53, np.nan, 1.0]),
        (pa.array([4.0, None, 4.0]).dictionary_encode(), [4.0, np.nan, 4.0]),
    ],
)
def test_numeric(tmp_path: Path, values: pa.Array, expected: list[float]) -> None:
    found = one_column(tmp_path, values).read(0, {"c": "numeric"})["c"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.array(expected, np.float64))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["é", None, ""]), ["é", None, ""]),
        (pa.array(["a", None, "a"], pa.large_string()).dictionary_encode(), ["a", None, "a"]),
        (pa.array([1, None, -3], pa.int8()), ["1", None, "-3"]),
        (pa.array([True, None, False]), ["true", None, "false"]),
        (pa.array([0.5, None, 2.0]), ["0.5", None, "2"]),
        (pa.array([datetime.date(2026, 1, 2), None, None]), ["2026-01-02", None, None]),
        (pa.nulls(3), [None] * 3),
    ],
)
def test_string(tmp_path: Path, values: pa.Array, expected: list[str | None]) -> None:
    found = one_column(tmp_path, values).read(0, {"c": "string"})["c"]
    assert found.dtype == object
    assert found.tolist() == expected


@pytest.mark.parametrize("kind", [pa.list_(pa.float64(), 2), pa.list_(pa.float64())])
def test_vector(tmp_path: Path, kind: pa.DataType) -> None:
    values = pa.array([[1.0, 2.0], None, [3.0, None], [1e300, -0.0]], kind)
    found = one_column(tmp_path, values).read(0, {"c": "vector"})["c"]
    assert found.dtype == np.float64
    expected = [[1.0, 2.0], [np.nan, np.nan], [3.0, np.nan], [1e300, -0.0]]
    np.testing.assert_array_equal(found, np.array(expected))


def test_vectors_of_integers_and_a_block_of_nulls(tmp_path: Path) -> None:
    values = pa.array([[1, 2, 3], [4, 5, 6]], pa.list_(pa.uint8(), 3))
    found = one_column(tmp_path / "a", values).read(0, {"c": "vector"})["c"]
    np.testing.assert_array_equal(found, np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    nulls = one_column(tmp_path / "b", pa.nulls(2, pa.list_(pa.float32(), 3)))
    assert np.isnan(nulls.read(0, {"c": "vector"})["c"]).all()
    assert nulls.read(0, {"c": "vector"})["c"].shape == (2, 3)
    unknown = one_column(tmp_path / "c", pa.nulls(2, pa.list_(pa.float32())))
    with pytest.raises(InputDataError, match="no lists"):
        unknown.read(0, {"c": "vector"})


def test_vectors_of_two_lengths_are_refused_without_their_values(tmp_path: Path) -> None:
    reader = one_column(tmp_path, pa.array([[77.125, 1.0], [77.125]]))
    with pytest.raises(InputDataError) as caught:
        reader.read(0, {"c": "vector"})
    assert "2 different lengths" in str(caught.value)
    assert "a.parquet" in str(caught.value)
    assert "77.125" not in str(caught.value)


U = [uuid.UUID(int=i).bytes for i in (5, 2**127)]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (pa.array([BIG, -1], pa.int64()), np.int64, [BIG, -1]),
        (pa.array([2**64 - 1, 0], pa.uint64()), np.uint64, [2**64 - 1, 0]),
        (pa.array([1, 2], pa.int32()), np.int32, [1, 2]),
        (pa.array(["a", "B"]), object, ["a", "B"]),
        (pa.array(["a", "B"]).dictionary_encode(), object, ["a", "B"]),
        (pa.array([b"a\x00", b""]), object, [b"a\x00", b""]),
        (pa.array(U, pa.binary(16)), object, U),
        (pa.array(U, pa.uuid()), object, U),
    ],
)
def test_ids_keep_their_type_and_every_bit(
    tmp_path: Path, values: pa.Array, dtype: Any, expected: list[Any]
) -> None:
    reader = one_column(tmp_path, values)
    found = reader.read_ids(0, "c")
    assert found.dtype == dtype
    assert found.tolist() == expected
    stored = reader.read_table(0, ["c"]).column("c")
    assert stored.type == values.type
    assert stored.to_pylist() == values.to_pylist()


def test_null_ids_do_not_become_floats(tmp_path: Path) -> None:
    reader = one_column(tmp_path, pa.array([BIG, None]))
    with pytest.raises(InputDataError, match="without an id: 1"):
        reader.read(0, {"c": "id"})


def test_without_an_id_column_row_numbers_are_the_ids(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.parquet", {"x": np.arange(7.0)}, group_rows=3)
    reader = open_reader(tmp_path, block_rows=2)
    ids = [reader.read_ids(block, None) for block in range(len(reader.row_counts))]
    assert len(ids) > 5
    np.testing.assert_array_equal(np.concatenate(ids), np.arange(14))
    assert ids[0].dtype == np.int64
    table = reader.read_table(5, ["x"], row_numbers="row")
    assert table.column_names == ["row", "x"]
    assert table["row"].to_pylist() == ids[5].tolist()


def test_types_that_differ_between_files_are_joined(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"id": pa.array([1], pa.int32()), "s": ["x"]})
    coded = pa.array(["y"]).dictionary_encode()
    write(tmp_path / "b.parquet", {"s": coded, "id": pa.array([BIG], pa.int64())})
    reader = open_reader(tmp_path)
    tables = [reader.read_table(i, ["id", "s"]) for i in range(2)]
    assert pa.concat_tables(tables).to_pydict() == {"id": [1, BIG], "s": ["x", "y"]}
    assert everything(reader, "id", "id").dtype == np.int64


def test_a_lossy_cast_is_refused_without_the_value(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"c": pa.array([0.5])})
    write(tmp_path / "b.parquet", {"c": pa.array([BIG])})
    reader = open_reader(tmp_path)
    with pytest.raises(InputDataError) as caught:
        reader.read_table(1, ["c"])
    assert "b.parquet" in str(caught.value)
    assert str(BIG) not in str(caught.value)


def test_folder_columns_are_read_like_others(tmp_path: Path) -> None:
    write(tmp_path / "day=7" / "a.parquet", {"x": [1.0, 2.0]})
    write(tmp_path / "day=__HIVE_DEFAULT_PARTITION__" / "a.parquet", {"x": [3.0]})
    reader = open_reader(tmp_path)
    assert everything(reader, "day", "string").tolist() == ["7", "7", None]
    np.testing.assert_array_equal(everything(reader, "day", "numeric"), [7.0, 7.0, np.nan])
    assert reader.read_table(0, ["day", "x"]).schema == pa.schema(
        [("day", pa.string()), ("x", pa.float64())]
    )


def test_a_column_whose_name_has_a_dot_is_not_mixed_up(tmp_path: Path) -> None:
    nested = pa.array([{"x": 9.0}], pa.struct([("x", pa.float64())]))
    write(tmp_path / "a.parquet", {"f": nested, "f.x": [1.0], "g": [2.0], "g.x": [3.0]})
    reader = open_reader(tmp_path)
    kinds = {"f.x": "numeric", "g": "numeric"}
    assert {name: v.tolist() for name, v in reader.read(0, kinds).items()} == {
        "f.x": [1.0],
        "g": [2.0],
    }


def test_invalid_utf8_is_refused_without_the_bytes(tmp_path: Path) -> None:
    values = pa.array([b"\xff\xfesecret", b"ok"]).view(pa.string())
    reader = one_column(tmp_path, values)
    for kind in ("string", "id"):
        with pytest.raises(InputDataError) as caught:
            reader.read(0, {"c": kind})
        assert "UTF-8" in str(caught.value)
        assert "secret" not in str(caught.value)


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"x": [1.0, 2.0]})
    reader = open_reader(tmp_path)
    write(path, {"x": [1.0, 3.0]})
    with pytest.raises(InputDataError, match="changed since validation"):
        reader.read(0, {"x": "numeric"})
    write(path, {"x": [1.0, 2.0]})
    assert reader.read(0, {"x": "numeric"})["x"].tolist() == [1.0, 2.0]
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(InputDataError, match="changed since validation"):
        reader.read(0, {"x": "numeric"})
    path.write_bytes(b"")
    with pytest.raises(InputDataError, match="changed since validation"):
        reader.read(0, {"x": "numeric"})
    path.unlink()
    with pytest.raises(InputDataError, match="is gone"):
        reader.read(0, {"x": "numeric"})


def test_a_damaged_page_names_file_row_group_and_column(tmp_path: Path) -> None:
    n = 4000
    numbers = np.random.default_rng(0).standard_normal((2, n))
    path = write(tmp_path / "a.parquet", {"good": numbers[0], "bad": numbers[1]}, group_rows=n // 2)
    reader, whole = (open_reader(tmp_path, block_rows=rows) for rows in (n // 2, n))
    chunk = pq.read_metadata(path).row_group(1).column(1)
    content = bytearray(path.read_bytes())
    first = chunk.dictionary_page_offset or chunk.data_page_offset
    content[first + chunk.total_compressed_size // 2] ^= 0x40
    path.write_bytes(content)
    kinds = {"good": "numeric", "bad": "numeric"}
    with pytest.raises(InputDataError) as caught:
        whole.read(0, kinds)
    (problem,) = caught.value.problems
    assert (problem.row_group, problem.column) == (1, "bad")
    np.testing.assert_array_equal(reader.read(0, kinds)["bad"], numbers[1, : n // 2])
    with pytest.raises(InputDataError) as caught:
        reader.read(1, kinds)
    (problem,) = caught.value.problems
    assert problem.file is not None
    assert problem.file.endswith("a.parquet")
    assert (problem.row_group, problem.column) == (1, "bad")


def test_a_block_in_a_row_group_is_streamed(tmp_path: Path) -> None:
    n = 200_000
    write(tmp_path / "a.parquet", {"x": np.arange(n), "y": np.arange(n)}, group_rows=n)
    reader = open_reader(tmp_path, block_rows=1000)
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    table = reader.read_table(150, ["x"])
    assert table["x"].to_pylist() == list(range(150_000, 151_000))
    assert pool.bytes_allocated() - before < 8 * n // 10


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    reader = one_column(tmp_path, pa.array([1.0]))
    write(tmp_path / "a.parquet", {"c": [1.0], "other": [2.0]})
    reader = open_reader(tmp_path)
    assert list(reader.read(0, {"c": "numeric"})) == ["c"]
    assert reader.read_table(0, ["other"]).column_names == ["other"]


def test_row_groups_without_rows(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0, 2.0]})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for part in (table.slice(0, 0), table, table.slice(0, 0), table):
            writer.write_table(part)
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 4
    for block_rows in (1, 3, None):
        reader = open_reader(tmp_path, block_rows=block_rows)
        assert everything(reader, "x", "numeric").tolist() == [1.0, 2.0, 1.0, 2.0]


class Unreliable(MemoryFileSystem):
    """Fails as back ends of fsspec do, with an error of its own that holds a secret."""

    protocol = "unreliable"
    down = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("unreliable://", "memory://"))

    def cat_file(self, *args: Any, **kwargs: Any) -> bytes:
        if Unreliable.down:
            raise RuntimeError("403 for key wJalrXUtnFEMI")
        return super().cat_file(*args, **kwargs)


def test_errors_of_remote_stores_are_told_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("unreliable", Unreliable, clobber=True)
    options = {"secret": "wJalrXUtnFEMI"}
    path = write(tmp_path / "a.parquet", {"x": [1.0]})
    fsspec.filesystem("unreliable", **options).pipe_file("/there/a.parquet", path.read_bytes())
    dataset = Dataset.open("unreliable://there", base=tmp_path, storage_options=options)
    reader = ColumnReader(dataset, plan_layout(dataset, ["x"], block_bytes=100))
    assert reader.read(0, {"x": "numeric"})["x"].tolist() == [1.0]
    monkeypatch.setattr(Unreliable, "down", True)
    with pytest.raises(InputDataError, match="RuntimeError: 403") as caught:
        reader.read(0, {"x": "numeric"})
    assert "wJalr" not in str(caught.value)
    with pytest.raises(InputDataError, match="RuntimeError: 403") as caught:
        Dataset.open("unreliable://there", base=tmp_path, storage_options=options)
    assert "wJalr" not in str(caught.value)


def test_reading_a_url(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"x": np.arange(100)}, group_rows=40)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/reading/a.parquet", path.read_bytes())
    try:
        dataset = Dataset.open("memory://reading", base=tmp_path)
        layout = plan_layout(dataset, ["x"], block_bytes=1, block_rows=15)
        reader = ColumnReader(dataset, layout)
        assert len(reader.row_counts) > 5
        assert everything(reader, "x", "id").tolist() == list(range(100))
        memory.pipe_file("/reading/a.parquet", b"PAR1" * 50)
        with pytest.raises(InputDataError, match="changed since validation"):
            reader.read(0, {"x": "id"})
    finally:
        memory.rm("/reading", recursive=True)


def test_a_reader_travels_to_workers_and_so_do_its_errors(
    tmp_path: Path, cluster_client: Client
) -> None:
    path = write(tmp_path / "a.parquet", {"x": np.arange(100.0)}, group_rows=40)
    reader = open_reader(tmp_path, block_rows=30)
    assert travelled(reader).row_counts == reader.row_counts
    shared = delayed(reader, pure=False, traverse=False)
    tasks = [
        delayed(ColumnReader.read, pure=False)(shared, i, {"x": "numeric"})
        for i in range(len(reader.row_counts))
    ]
    found = Execution(cluster_client).compute(tasks)
    assert len(found) > 3
    np.testing.assert_array_equal(np.concatenate([part["x"] for part in found]), np.arange(100.0))
    path.unlink()
    again = [delayed(ColumnReader.read, pure=False)(shared, 0, {"x": "numeric"})]
    with pytest.raises(InputDataError, match=r"a\.parquet: is gone"):
        Execution(cluster_client).compute(again)


def test_many_small_files_are_read_as_one(tmp_path: Path) -> None:
    n_files, total = 40, 40 * 3
    for i in range(n_files):
        rows = np.arange(3 * i, 3 * i + 3)
        write(
            tmp_path / f"half={i % 2}" / f"{i:02}.parquet",
            {"id": rows, "name": [f"n{row}" for row in rows], "v": [[row, 0.5] for row in rows]},
        )
    reader = open_reader(tmp_path)
    assert len(reader.blocks) == 1
    found = reader.read(0, {"id": "id", "name": "string", "v": "vector", "half": "string"})
    order = [3 * i + j for half in (0, 1) for i in range(half, n_files, 2) for j in range(3)]
    assert found["id"].tolist() == order
    assert found["name"].tolist() == [f"n{row}" for row in order]
    assert found["v"].tolist() == [[row, 0.5] for row in order]
    assert found["half"].tolist() == ["0"] * (total // 2) + ["1"] * (total // 2)


def test_what_is_wrong_in_one_of_many_small_files_is_named(tmp_path: Path) -> None:
    for i in range(40):
        values = [None, 0.5] if i == 7 else [0.5, 1.5]
        label = "NA" if i == 8 else "a"
        write(
            tmp_path / f"{i:02}.parquet", {"x": values, "y": [label, "b"], "id": [2 * i, 2 * i + 1]}
        )
    reader = open_reader(tmp_path)
    needs = ColumnNeeds(id="id", label="y", numeric={"x": False})
    found = scan_input(reader, needs, HERE)
    places = [(Path(str(one.file)).name, one.column, one.rows) for one in found.problems]
    assert places == [("07.parquet", "x", 1), ("08.parquet", "y", 1)]

    path = tmp_path / "09.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(InputDataError, match="changed since validation") as caught:
        reader.read(0, {"x": "numeric"})
    assert caught.value.problems[0].file == str(path)
