"""Delta tables: the rows of one version, or a refusal by name."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ssl_dask.errors import InputDataError, JobSpecError, StorageError
from ssl_dask.input_files import InputFiles
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.inputs.job_inputs import Inputs
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.input.column_profile import profile_columns
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from tests.processes import free_ports

deltalake = pytest.importorskip("deltalake", reason="pip install ssl-dask[delta]")

INLINE_VECTOR = "^Bg9^0rr910000000000iXQKl0rr91000005c8Xg0rr91"
"""The second row is deleted: a Roaring bitmap in Z85, as the protocol of Delta has it."""


def write(folder: Path, columns: dict[str, Any], **options: Any) -> None:
    deltalake.write_deltalake(str(folder), pa.table(columns), **options)


def rows(dataset: Dataset, *columns: str) -> list[tuple[Any, ...]]:
    reader = ColumnReader(dataset, plan_layout(dataset, columns, block_bytes=2**20))
    tables = [reader.read_table(block, columns) for block in reader.blocks]
    return sorted(zip(*pa.concat_tables(tables).to_pydict().values(), strict=True), key=str)


def delta(path: str, version: int | None = None) -> InputFiles:
    return InputFiles(path=path, format="delta", version=version)


def refused(folder: Path, **options: Any) -> InputDataError:
    with pytest.raises(InputDataError) as caught:
        Dataset.open(delta(str(folder), **options), base=folder)
    assert caught.value.problems[0].hint
    assert caught.value.problems[0].file == str(folder)
    return caught.value


def test_the_rows_of_a_version_are_read(tmp_path: Path) -> None:
    keys = ["01", "a/b c", None]
    write(tmp_path / "t", {"id": [1, 2, 3], "k": keys}, partition_by=["k"])
    write(tmp_path / "t", {"id": [4, 5], "k": ["02", "z%"]}, partition_by=["k"], mode="overwrite")

    now = Dataset.open(delta("t"), base=tmp_path)
    assert rows(now, "id", "k") == [(4, "02"), (5, "z%")]
    assert now.columns == {"id": "int64", "k": "string"}
    assert now.table_version == "version 1"
    assert now.local_paths == (tmp_path / "t",)

    first = Dataset.open(delta("t", version=0), base=tmp_path)
    assert rows(first, "id", "k") == [(1, "01"), (2, "a/b c"), (3, None)]
    assert first.identity() != now.identity()
    by_url = Dataset.open(delta(f"file://{tmp_path}/t"), base=tmp_path)
    assert by_url.local_paths == (tmp_path / "t",)


def test_keys_are_of_the_type_of_the_table(tmp_path: Path) -> None:
    keys = {
        "k": pa.array([1, 2], pa.int16()),
        "on": [True, False],
        "day": [datetime.date(2026, 1, 2), None],
        "at": pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5, 6)] * 2, pa.timestamp("us", "UTC")),
    }
    write(tmp_path / "t", {"id": [1, 2], **keys}, partition_by=list(keys))
    dataset = Dataset.open(delta("t"), base=tmp_path)
    assert list(dataset.columns.values()) == [
        "int64",
        "int16",
        "bool",
        "date32[day]",
        "timestamp[us, tz=UTC]",
    ]
    given = pa.table({"id": [1, 2], **keys}).to_pydict().values()
    assert rows(dataset, "id", *keys) == list(zip(*given, strict=True))


def test_bytes_that_only_the_log_holds_are_no_column(tmp_path: Path) -> None:
    write(tmp_path / "t", {"id": [1, 2], "k": [b"a", b"\xff"]}, partition_by=["k"])
    dataset = Dataset.open(delta("t"), base=tmp_path)
    assert dataset.columns == {"id": "int64", "k": "bytes in the log of a table"}
    assert [one.name for one in profile_columns(dataset)] == ["id", "k"]
    assert rows(dataset, "id") == [(1,), (2,)]
    for use in ({"keep": ("k",)}, {"string": {"k": True}}, {"entities": ("k",)}):
        (problem,) = check_columns(dataset, ColumnNeeds(**use))
        assert problem.hint == "cast it to string where the table is written"


def test_a_column_that_came_later(tmp_path: Path) -> None:
    write(tmp_path / "t", {"id": [1]})
    write(tmp_path / "t", {"id": [2], "x": [0.5]}, mode="append", schema_mode="merge")
    dataset = Dataset.open(delta("t"), base=tmp_path)
    assert rows(dataset, "id", "x") == [(1, None), (2, 0.5)]


def log_of(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    path = folder / "_delta_log" / f"{0:020d}.json"
    return path, [json.loads(line) for line in path.read_text().splitlines()]


def write_log(path: Path, actions: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, actions)) + "\n")
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)


def test_deleted_rows_are_refused_until_they_are_purged(tmp_path: Path) -> None:
    with_vectors = {"delta.enableDeletionVectors": "true"}
    write(tmp_path, {"id": [1, 2, 3]}, configuration=with_vectors)
    assert Dataset.open(delta(str(tmp_path)), base=tmp_path).n_rows == 3
    path, actions = log_of(tmp_path)
    for action in actions:
        if "add" in action:
            action["add"]["deletionVector"] = {
                "storageType": "i",
                "pathOrInlineDv": INLINE_VECTOR,
                "sizeInBytes": 36,
                "cardinality": 1,
            }
    write_log(path, actions)
    error = refused(tmp_path)
    assert "has deletion vectors" in str(error)
    assert "APPLY (PURGE)" in str(error.problems[0].hint)


def test_mapped_columns_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"id": [1]}, configuration={"delta.columnMapping.mode": "name"})
    assert "maps its columns (delta.columnMapping.mode: name)" in str(refused(tmp_path))


def test_features_that_are_not_known_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"id": [1]}, configuration={"delta.enableDeletionVectors": "true"})
    path, actions = log_of(tmp_path)
    for action in actions:
        if "protocol" in action:
            action["protocol"]["readerFeatures"].append("typeWidening")
            action["protocol"]["writerFeatures"].append("typeWidening")
    write_log(path, actions)
    assert "not known here: typeWidening" in str(refused(tmp_path))


def test_what_is_no_table_or_no_version(tmp_path: Path) -> None:
    assert "the table cannot be opened" in str(refused(tmp_path))
    write(tmp_path / "t", {"id": [1]})
    assert "version 7 of the table cannot be opened: the latest is " in str(
        refused(tmp_path / "t", version=7)
    )
    name = Dataset.open(delta("t"), base=tmp_path).files[0].name
    os.remove(tmp_path / "t" / name)
    with pytest.raises(InputDataError, match="No such file") as caught:
        Dataset.open(delta("t"), base=tmp_path)
    assert "give a later version: a vacuum" in str(caught.value.problems[0].hint)


def test_a_store_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    options = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-mine",
        "AWS_REGION": "us-east-1",
        "max_retries": "1",
    }
    with pytest.raises(StorageError, match="the store cannot be reached") as caught:
        Dataset.open(delta("s3://b/t"), base=tmp_path, storage_options=options)
    assert caught.value.exit_code == 6
    assert "a-secret-of-mine" not in str(caught.value)


def test_a_job_pins_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t", {"id": [1], "x": [0.5], "y": ["a"]})
    write(tmp_path / "t", {"id": [2], "x": [0.5], "y": ["b"]}, mode="append")
    job = {
        "name": "t",
        "input": {"path": "t", "format": "delta", "version": 0, "id": "id", "label": "y"},
        "features": {"numbers": {"numeric": ["x"]}},
        "method": {"name": "supervised"},
        "output": {"path": "out"},
    }
    inputs = Inputs.open(resolve_job(job))
    assert inputs.dataset.n_rows == 1
    assert inputs.table_versions == {"input table": "version 0"}
    del job["input"]["format"]  # type: ignore[attr-defined]
    with pytest.raises(JobSpecError, match="give format: delta"):
        resolve_job(job)
    del job["input"]["version"]  # type: ignore[attr-defined]
    with pytest.raises(InputDataError, match="files of a table of Delta Lake") as caught:
        Inputs.open(resolve_job(job))
    assert "set format: delta" in str(caught.value.problems[0].hint)
