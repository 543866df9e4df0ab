from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ssl_dask.storage.input.column_profile import ColumnProfile, columns_that_tell, profile_columns
from ssl_dask.storage.input.dataset import Dataset
from tests.parquet_samples import write


def profiles(folder: Path, rows: int = 10_000) -> dict[str, ColumnProfile]:
    dataset = Dataset.open(str(folder), base=folder)
    return {profile.name: profile for profile in profile_columns(dataset, rows)}


def test_kinds_nulls_and_distinct_values(tmp_path: Path) -> None:
    n = 40
    write(
        tmp_path / "a.parquet",
        {
            "id": range(n),
            "uuid": pa.array([i.to_bytes(16, "big") for i in range(n)], pa.uuid()),
            "x": [0.5, np.nan, None, 0.25] * 10,
            "word": pa.array(["aé", "bbbb", None, "bbbb"] * 10).dictionary_encode(),
            "yes": [True, False, True, None] * 10,
            "v": pa.array([[1.0, 2.0]] * n, pa.list_(pa.float32())),
            "ragged": pa.array([[1.0], [1.0, 2.0]] * 20),
            "names": pa.array([["a"]] * n),
            "nested": pa.array([{"a": 1}] * n),
            "when": [datetime.datetime(2026, 1, 1)] * n,
            "none": pa.nulls(n),
        },
    )
    found = profiles(tmp_path)
    assert {name: p.kind for name, p in found.items()} == {
        "id": "numeric",
        "uuid": "other",
        "x": "numeric",
        "word": "string",
        "yes": "bool",
        "v": "vector",
        "ragged": "other",
        "names": "other",
        "nested": "other",
        "when": "other",
        "none": "other",
    }
    assert {name for name, p in found.items() if p.unique} == {"id", "uuid"}
    assert found["x"].null_share == 0.5
    assert found["x"].n_distinct == 2
    assert found["word"].null_share == 0.25
    assert found["word"].n_distinct == 2
    assert found["word"].mean_text_length == pytest.approx(10 / 3)
    assert found["x"].mean_text_length is None
    assert found["yes"].n_distinct == 2
    assert found["none"].null_share == 1.0
    assert found["id"].type == "int64"
    assert found["id"].n_sampled == n


def test_the_sample_is_spread_and_bounded(tmp_path: Path) -> None:
    for i in range(4):
        write(
            tmp_path / f"day={i}" / "a.parquet",
            {"x": np.full(1000, i), "id": np.arange(1000) + 1000 * i},
            group_rows=300,
        )
    found = profiles(tmp_path, rows=100)
    assert found["id"].n_sampled == 100
    assert found["id"].unique
    assert found["x"].n_distinct == found["day"].n_distinct == 4
    assert profiles(tmp_path, rows=3)["x"].n_sampled == 3
    assert profiles(tmp_path, rows=10**9)["x"].n_sampled > 2000


def test_a_column_that_one_file_lacks(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"id": [1, 2], "x": [1.0, 2.0]})
    write(tmp_path / "b.parquet", {"id": [3, 4]})
    found = profiles(tmp_path)
    assert found["x"].null_share == 0.5
    assert not found["x"].unique


def test_columns_that_tell_another(tmp_path: Path) -> None:
    n = 400
    target = ["bad" if i % 4 == 0 else "good" for i in range(n)]
    columns = {
        "target": pa.array([None if i % 10 == 9 else one for i, one in enumerate(target)]),
        # Where the target is null the value may be any.
        "same": [3 if i % 10 == 9 else int(one == "bad") for i, one in enumerate(target)],
        "finer": pa.array([f"{one}{i % 3}" for i, one in enumerate(target)]).dictionary_encode(),
        "nearly": [int(one == "bad" and i != 0) for i, one in enumerate(target)],
        "many": list(range(n)),
        "constant": [1] * n,
        "float": [np.nan if one == "bad" else 1.5 for one in target],
    }
    for part in range(2):
        half = slice(part * n // 2, (part + 1) * n // 2)
        content = {name: values[half] for name, values in columns.items()}
        if part:
            content["late"] = content["same"]
        write(tmp_path / f"{part}.parquet", content)
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    names = [name for name in dataset.schema.names if name != "target"]
    assert columns_that_tell(dataset, names, "target") == {"same", "finer", "float", "late"}
    # One value of the target, or too few rows: that could be chance.
    assert columns_that_tell(dataset, ["target", "same"], "constant") == set()
    assert columns_that_tell(dataset, names, "target", rows=30) == set()
