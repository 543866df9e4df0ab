from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ssl_dask.storage.column_profile import ColumnProfile, profile_columns
from ssl_dask.storage.dataset import Dataset
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
