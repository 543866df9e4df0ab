"""Columns in memory are read as those of files were when the features were fitted."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError
from ssl_dask.storage.input.arrow_to_numpy import ColumnValueError, cast_exactly
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from ssl_dask.storage.input.table_reader import (
    TableReader,
    read_in_types,
    types_from_text,
    types_to_text,
)

STAMPS = pa.array([0, 1_500_000_000_000_000, None], pa.timestamp("us", tz="UTC"))
TABLE = pa.table(
    {
        "n": pa.array([1, 2, None], pa.int16()),
        "kind": pa.array([3, 30, None], pa.int64()),
        "when": STAMPS,
        "price": pa.array(["1.50", "2.25", None]).cast(pa.decimal128(6, 2)),
        "v": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
    }
)
KINDS = {"n": "numeric", "kind": "string", "when": "string", "price": "string", "v": "vector"}


def files(folder: Path, table: pa.Table) -> Dataset:
    folder.mkdir()
    pq.write_table(table, folder / "a.parquet")
    return Dataset.open(str(folder), base=folder)


def of_files(dataset: Dataset) -> dict[str, Any]:
    layout = plan_layout(dataset, list(KINDS), block_bytes=2**20)
    return ColumnReader(dataset, layout).read(0, KINDS)


def test_columns_in_memory_are_those_of_the_files(tmp_path: Path) -> None:
    dataset = files(tmp_path / "data", TABLE)
    types = types_from_text(types_to_text(dataset, list(KINDS)))
    wanted = of_files(dataset)
    assert wanted["kind"].tolist() == ["3", "30", None]
    assert wanted["price"].tolist() == ["1.50", "2.25", None]
    ways = {
        "Arrow": TABLE,
        "pandas": TABLE.to_pandas(),
        "Arrow in pandas": TABLE.to_pandas(types_mapper=pd.ArrowDtype),
        # Nulls make numbers of pandas floats: 3 is 3.0 then, and the same kind.
        "plain": {
            "n": np.array([1.0, 2.0, np.nan]),
            "kind": np.array([3.0, 30.0, np.nan]),
            "when": STAMPS.to_pylist(),
            "price": TABLE["price"].to_pylist(),
            "v": np.array([[1, 2], [3, 4], [5, 6]]),
        },
    }
    for way, columns in ways.items():
        found = TableReader.of(columns, list(KINDS), types).read(0, KINDS)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{way}: {name}")
    # Files whose types are others are read as those were, too.
    other = TABLE.set_column(2, "when", STAMPS.cast(pa.timestamp("ns", tz="UTC")))
    changed = files(tmp_path / "other", other)
    assert of_files(changed)["when"].tolist() != wanted["when"].tolist()
    typed = read_in_types(changed, types)
    assert of_files(typed)["when"].tolist() == wanted["when"].tolist()


def test_what_serves_for_no_feature_is_told_and_not_quoted(tmp_path: Path) -> None:
    types = TABLE.schema
    with pytest.raises(InputDataError, match=r"'kind'.*do not fit int64") as caught:
        TableReader.of({"kind": [3.25, 1.0]}, ["kind"], types).read(0, {"kind": "string"})
    assert "3.25" not in str(caught.value)
    with pytest.raises(InputDataError, match=r"'kind'.*no such column.*did you mean 'kinds'"):
        TableReader.of({"kinds": [1]}, ["kind"], types)
    with pytest.raises(InputDataError, match=r"'n'.*is string, where numbers are wanted"):
        TableReader.of({"n": ["x"]}, ["n"], types).read(0, {"n": "numeric"})
    with pytest.raises(InputDataError, match=r"'v'.*2 different lengths"):
        TableReader.of({"v": [[1.0], [1.0, 2.0]]}, ["v"], types).read(0, {"v": "vector"})
    for values in (7, [object()], [1, "secret"]):
        with pytest.raises(InputDataError, match=r"'n'.*is no column") as caught:
            TableReader.of({"n": values}, ["n"], types)
        assert "secret" not in str(caught.value)
    for values in (np.zeros((2, 1)), [1, 2], None):
        with pytest.raises(InputDataError, match=r"no columns with names.*pandas frame"):
            TableReader.of(values, ["n"], types)
    twice = pd.DataFrame([[1, 2]], columns=["n", "n"])
    for columns in (twice, pa.table([[1], [2]], names=["n", "n"])):
        with pytest.raises(InputDataError, match=r"'n'.*more than once"):
            TableReader.of(columns, ["n"], types)
    uneven = {"n": [1, 2], "v": [1], "kind": [1, 2], "when": [2]}
    with pytest.raises(InputDataError, match=r"in their rows: 'n' has 2, 'v' has 1 "):
        TableReader.of(uneven, list(uneven), types)
    nothing = TableReader.of({"v": [None, None]}, ["v"], types)
    assert nothing.read(0, {"v": "vector_or_null"})["v"].shape == (2, 0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0, 1, None], pa.bool_()), ([0.0, 1.0], pa.bool_()), ([datetime(2020, 1, 1)], pa.date32())],
)
def test_values_that_fit_another_type(values: list[Any], kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array(values)])
    assert cast_exactly(column, kind).cast(column.type).equals(column)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2, pa.bool_()),
        (0.5, pa.bool_()),
        (datetime(2020, 1, 1, 13), pa.date32()),
        (18262, pa.date32()),
        (3, pa.timestamp("us")),
        (1.5, pa.int64()),
    ],
)
def test_no_value_changes_with_its_type(value: Any, kind: pa.DataType) -> None:
    with pytest.raises(ColumnValueError, match="do not fit"):
        cast_exactly(pa.chunked_array([pa.array([value])]), kind)


FAR = 1_700_000_000_000_000_001


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.decimal128(38, 4), pa.decimal64(18)]
)
def test_numbers_lose_their_offset_exactly(kind: pa.DataType) -> None:
    offset = FAR if kind != pa.decimal64(18) else FAR // 100
    given = pa.array([None if one is None else Decimal(offset + one) for one in (0, 5, None, -9)])
    table = pa.table({"n": pa.chunked_array([given[:2], given[2:]]).cast(kind)})
    reader = TableReader(table, table.schema, {"n": offset})
    found = reader.read(0, {"n": "numeric"})["n"]
    assert found[[0, 1, 3]].tolist() == [0.0, 5.0, -9.0]
    assert np.isnan(found[2])
    assert reader.far_values() == []
    assert TableReader(table, table.schema).read(0, {"n": "numeric"})["n"][1] == float(offset + 5)


def test_other_kinds_of_numbers_lose_the_offset_too() -> None:
    ways = [[3, None], [True, None], [1.7e18, None]]
    for values, expected in zip(ways, (3.0 - FAR, 1.0 - FAR, -1.0), strict=True):
        table = pa.table({"n": values})
        found = TableReader(table, table.schema, {"n": FAR}).read(0, {"n": "numeric"})["n"]
        assert found[0] == expected
        assert np.isnan(found[1])
    wide = pa.table({"n": pa.array([Decimal(10**75)], pa.decimal256(76, 0))})
    with pytest.raises(InputDataError, match="do not fit"):
        TableReader(wide, wide.schema, {"n": FAR}).read(0, {"n": "numeric"})


def test_values_too_far_from_the_offset_are_told() -> None:
    for values, n_told in (([FAR + 2**54, FAR + 2**54 + 1], 1), ([FAR + 2**50], 0), ([None], 0)):
        table = pa.table({"n": pa.array(values, pa.int64())})
        told = TableReader(table, table.schema, {"n": FAR}).far_values()
        assert [one[:12] for one in told] == ["column 'n': "] * n_told
