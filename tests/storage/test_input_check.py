from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client

from ssl_dask.errors import JobSpecError, Problem, cautions
from ssl_dask.execution import Execution
from ssl_dask.storage.checks.block_scan import MAX_CELL_BYTES
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.checks.input_check import InputScan, scan_input
from ssl_dask.storage.ids.id_hash import tags_of
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.labels.label_file import read_label_file
from ssl_dask.storage.labels.label_rules import ClassRule
from tests.parquet_samples import HERE, open_reader, write, write_parts

NUMERIC = ColumnNeeds(id="id", numeric={"f0": False, "f1": False})


def good(n: int = 100, start: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(start)
    return {
        "id": np.arange(start, start + n),
        "f0": rng.standard_normal(n),
        "f1": rng.standard_normal(n),
    }


def schema_problems(folder: Path, needs: ColumnNeeds, *parts: Any) -> list[Problem]:
    write_parts(folder, *parts)
    return check_columns(Dataset.open(str(folder), base=folder), needs)


def scan(folder: Path, needs: ColumnNeeds, *parts: Any, block_rows: int | None = None) -> InputScan:
    write_parts(folder, *parts)
    reader = open_reader(folder, block_rows=block_rows)
    assert check_columns(reader.dataset, needs) == []
    return scan_input(reader, needs, HERE)


def places(found: InputScan) -> list[tuple[str, int | None, str | None, int | None]]:
    return [(Path(str(p.file)).name, p.row_group, p.column, p.rows) for p in found.problems]


# --- from the footers


def test_good_files_have_no_problem(tmp_path: Path) -> None:
    other = good(50, 100)
    narrow = {
        "extra": ["x"] * 50,
        "f1": pa.array(other["f1"], pa.float32()),
        "f0": pa.array(range(50), pa.int32()),
        "id": pa.array(other["id"], pa.int16()),
    }
    assert schema_problems(tmp_path, NUMERIC, good(), narrow) == []


@pytest.mark.parametrize("name", ["F1", "f_1"])
def test_a_missing_column_names_the_file_and_the_nearest_name(tmp_path: Path, name: str) -> None:
    other = good(50, 100)
    other[name] = other.pop("f1")
    (problem,) = schema_problems(tmp_path, NUMERIC, good(), other)
    assert str(problem.file).endswith("1.parquet")
    assert problem.column == "f1"
    assert f"did you mean '{name}'" in str(problem.hint)


def test_all_missing_columns_are_told(tmp_path: Path) -> None:
    needs = ColumnNeeds(id="ID", label="y", numeric={"f0": False, "nothing": False})
    problems = schema_problems(tmp_path, needs, good())
    assert [problem.column for problem in problems] == ["ID", "y", "nothing"]
    assert problems[0].hint == "did you mean 'id'? the columns are id, f0, f1"
    assert "id, f0, f1" in str(problems[2].hint)


def test_a_column_that_few_files_have_is_missing_in_the_others(tmp_path: Path) -> None:
    needs = ColumnNeeds(numeric={"rare": False})
    problems = schema_problems(tmp_path, needs, good(), good(), {**good(), "rare": [1.0] * 100})
    (problem,) = problems
    assert str(problem.file).endswith("0.parquet")
    assert "and 1 other" in problem.message


def test_text_where_other_files_have_numbers(tmp_path: Path) -> None:
    other = good(50, 100)
    other["f1"] = [str(value) for value in other["f1"]]
    (problem,) = schema_problems(tmp_path, NUMERIC, good(), other)
    assert str(problem.file).endswith("1.parquet")
    assert "is string, where numbers are wanted; elsewhere double" in problem.message


LIST = pa.list_(pa.float32())


def needs_of(use: str) -> ColumnNeeds:
    named: dict[str, Any] = {use: "c" if use in ("id", "label", "truth") else {"c": False}}
    return ColumnNeeds(**named)


@pytest.mark.parametrize(
    ("kind", "use", "cure"),
    [
        (pa.string(), "numeric", "categorical or text"),
        (pa.dictionary(pa.int8(), pa.string()), "numeric", "categorical"),
        (LIST, "numeric", "use it as vector"),
        (pa.struct([("a", pa.int64())]), "numeric", "column of its own"),
        (pa.timestamp("us"), "numeric", "into a number"),
        (LIST, "string", "use it as vector"),
        (pa.list_(pa.string()), "string", "leave it out"),
        (pa.duration("s"), "string", "leave it out"),
        (pa.float64(), "vector", "use it as numeric"),
        (pa.list_(pa.string()), "vector", "list of floats"),
        (pa.float64(), "id", "int64"),
        (pa.bool_(), "id", "another column"),
        (pa.timestamp("us"), "id", "cast it to string"),
        (pa.binary(8), "id", "cast it to string"),
        (pa.decimal128(5, 2), "id", "cast it to int64"),
        (pa.decimal128(9, 2), "label", "nullable integer"),
        (pa.timestamp("us"), "label", "cast it to string"),
        (pa.uuid(), "label", "cast it to string"),
        (pa.json_(), "label", "cast it to string"),
        (LIST, "truth", "another column"),
    ],
)
def test_wrong_types_come_with_a_cure(
    tmp_path: Path, kind: pa.DataType, use: str, cure: str
) -> None:
    needs = needs_of(use)
    (problem,) = schema_problems(tmp_path, needs, {"c": pa.nulls(2, kind)})
    assert problem.column == "c"
    assert cure in str(problem.hint)


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        (pa.bool_(), "numeric"),
        (pa.decimal128(5, 2), "numeric"),
        (pa.float16(), "numeric"),
        (pa.decimal256(60, 2), "numeric"),
        (pa.bool8(), "numeric"),
        (pa.null(), "numeric"),
        (pa.int64(), "string"),
        (pa.binary(), "string"),
        (pa.json_(), "string"),
        (pa.uuid(), "string"),
        (pa.date32(), "string"),
        (pa.timestamp("us", "Europe/Paris"), "string"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.list_(pa.float64(), 3), "vector"),
        (pa.large_list(pa.int16()), "vector"),
        (pa.uint64(), "id"),
        (pa.large_string(), "id"),
        (pa.binary(), "id"),
        (pa.binary(16), "id"),
        (pa.decimal128(38, 0), "id"),
        (pa.uuid(), "id"),
        (pa.dictionary(pa.int8(), pa.string()), "id"),
        (pa.uint8(), "label"),
        (pa.decimal128(38, 0), "label"),
        (pa.large_binary(), "label"),
        (pa.bool_(), "label"),
        (pa.dictionary(pa.int8(), pa.string()), "label"),
        (pa.null(), "truth"),
    ],
)
def test_types_that_serve(tmp_path: Path, kind: pa.DataType, use: str) -> None:
    needs = needs_of(use)
    assert schema_problems(tmp_path, needs, {"c": pa.nulls(2, kind)}) == []


def test_ids_and_kept_columns_need_one_type(tmp_path: Path) -> None:
    needs = ColumnNeeds(id="id", keep=("note",), vector={"v": False})
    parts = [
        {"id": [1], "note": ["a"], "v": pa.array([[1.0]], pa.list_(pa.float32(), 1))},
        {"id": ["1"], "note": [1], "v": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))},
    ]
    problems = schema_problems(tmp_path, needs, *parts)
    assert [problem.column for problem in problems] == ["id", "note", "v"]
    assert "int64" in problems[0].message
    assert "string" in problems[0].message
    assert "vectors of 2 numbers" in problems[2].message


def test_classes_labels_and_truth_are_of_one_kind(tmp_path: Path) -> None:
    table = {"y": ["a", None], "t": [1, 2], "b": [True, False]}
    needs = ColumnNeeds(label="y", truth="t")
    assert "of kind integer" in str(schema_problems(tmp_path, needs, table)[0])
    needs = ColumnNeeds(label="y", rule=ClassRule((0, 1)))
    assert "in quotes" in str(schema_problems(tmp_path, needs, table)[0])
    needs = ColumnNeeds(label="b", truth="b", rule=ClassRule((False, True)))
    assert schema_problems(tmp_path, needs, table) == []


# --- from the rows


def test_a_clean_input(tmp_path: Path) -> None:
    needs = ColumnNeeds(
        id="id",
        label="y",
        truth="t",
        numeric={"f0": False, "flat": True},
        string={"word": True, "one": False},
        vector={"v": False},
        keep=("when",),
    )
    first = {
        **good(100),
        "flat": [2.5] * 99 + [None],
        "word": pa.array(["a", None, "b", "c"] * 25).dictionary_encode(),
        "one": ["same"] * 100,
        "v": pa.array([[1.0, 2.0]] * 100, LIST),
        "when": [datetime.datetime(2026, 1, 1)] * 100,
        "y": [0, 1, None, None] * 25,
        "t": [0, 1, 0, 7] * 24 + [0, -1, None, 7],
    }
    found = scan(tmp_path, needs, first, block_rows=30)
    assert found.problems == ()
    assert found.n_problems == 0
    assert found.constant_columns == ("flat", "one")
    assert found.vector_lengths == {"v": 2}
    assert found.ids is not None
    assert found.ids.n_duplicated == 0
    assert found.seeds is not None
    assert found.seeds.labels.class_counts().tolist() == [25, 25]
    assert found.n_truth == 73
    assert any("25 rows have a truth that is none of the classes" in n for n in found.notes)
    assert any("'t': 1 rows hold empty text, -1" in note for note in found.notes)
    assert any("flat, one" in note for note in found.notes)


def test_nan_and_inf_are_counted_by_file_and_row_group(tmp_path: Path) -> None:
    bad = good(100, 100)
    bad["f0"][[3, 4, 60]] = np.nan
    bad["f1"][[70, 71]] = [np.inf, -np.inf]
    found = scan(tmp_path, NUMERIC, good(), bad, block_rows=7)
    assert places(found) == [("1.parquet", None, "f0", 3), ("1.parquet", 1, "f1", 2)]
    assert "NaN values: 3 in 2 row groups" in found.problems[0].message
    assert "infinite values: 2" in found.problems[1].message
    lenient = ColumnNeeds(id="id", numeric={"f0": True, "f1": True})
    assert places(scan(tmp_path, lenient)) == [("1.parquet", 1, "f1", 2)]


@pytest.mark.parametrize("block_rows", [13, None])
def test_nulls_and_empty_row_groups(tmp_path: Path, block_rows: int | None) -> None:
    values = pa.array([1] * 50 + [None] * 50 + [2, None], pa.int32())
    rows = {"id": range(102), "f0": values, "s": values.cast(pa.string())}
    strict = ColumnNeeds(numeric={"f0": False}, string={"s": False})
    found = scan(tmp_path, strict, rows, block_rows=block_rows)
    assert [(p.column, p.rows) for p in found.problems] == [("f0", 51), ("s", 51)]
    assert "null values: 51 in 2 row groups, among them all of row group 1" in str(
        found.problems[0]
    )
    lenient = ColumnNeeds(numeric={"f0": True}, string={"s": True})
    found = scan(tmp_path, lenient, block_rows=block_rows)
    assert found.problems == ()
    assert sum("row group 1: column 'f0' has no value" in note for note in found.notes) == 1
    assert sum("row group 1: column 's' has no value" in note for note in found.notes) == 1
    assert not any("row group 2" in note for note in found.notes)


def test_a_column_that_serves_twice_is_counted_once_and_strictly(tmp_path: Path) -> None:
    needs = ColumnNeeds(numeric={"c": False}, string={"c": True})
    found = scan(tmp_path, needs, {"c": [1, None, 2]})
    assert [(p.column, p.rows) for p in found.problems] == [("c", 1)]


def test_a_column_that_is_null_in_one_file(tmp_path: Path) -> None:
    empty = {**good(10, 100), "f1": pa.nulls(10)}
    found = scan(tmp_path, NUMERIC, good(), empty)
    assert places(found) == [("1.parquet", 0, "f1", 10)]


def test_a_column_without_any_value(tmp_path: Path) -> None:
    needs = ColumnNeeds(numeric={"n": True}, string={"s": True}, vector={"v": True})
    nothing = {"n": [np.nan] * 5, "s": pa.nulls(5, pa.string()), "v": pa.nulls(5, LIST)}
    found = scan(tmp_path, needs, nothing)
    assert [(p.column, p.message) for p in found.problems] == [
        ("n", "no value in any row"),
        ("s", "no value in any row"),
        ("v", "no vector in any row"),
    ]


def test_vectors(tmp_path: Path) -> None:
    vectors: list[list[float] | None] = [[1.0, 2.0]] * 60
    vectors[5] = [1.0]
    vectors[6] = []
    vectors[7] = None
    vectors[51] = [np.nan, 1.0]
    vectors[52] = [1e39, np.inf]
    vectors[53] = [1.0, 2.0, 3.0]
    needs = ColumnNeeds(vector={"v": False})
    found = scan(tmp_path, needs, {"v": pa.array(vectors, pa.list_(pa.float64()))}, block_rows=9)
    assert found.vector_lengths == {"v": 2}
    told = {str(p.message): (p.row_group, p.rows) for p in found.problems}
    assert told == {
        "infinite values: 1": (1, 1),
        "vectors with numbers beyond 3.4e38, the largest of float32: 1": (1, 1),
        "vectors of another length: 3 in 2 row groups": (None, 3),
        "NaN values: 1": (1, 1),
        "null values: 1": (0, 1),
    }
    allowed = scan(tmp_path, ColumnNeeds(vector={"v": True}))
    assert len(allowed.problems) == 3
    assert any("divide the vectors" in str(one.hint) for one in allowed.problems)


def test_text_that_is_none_or_too_long(tmp_path: Path) -> None:
    cells = [b"ok"] * 60
    cells[3] = cells[55] = b"\xff\xfesecret"
    cells[56] = b"x" * (MAX_CELL_BYTES + 1)
    values = pa.array(cells).view(pa.string())
    found = scan(tmp_path, ColumnNeeds(string={"s": False}), {"s": values})
    assert [(p.message, p.rows) for p in found.problems] == [
        ("values that are not valid UTF-8: 2 in 2 row groups", 2),
        ("values of more than 1 MiB: 1", 1),
    ]
    assert "secret" not in str(found.problems)


def test_ids(tmp_path: Path) -> None:
    needs = ColumnNeeds(id="id")
    ids = pa.array([1, 2, None, 3, None, 2])
    found = scan(tmp_path, needs, {"id": ids}, {"id": [3, 50]})
    assert places(found)[0] == ("0.parquet", 0, "id", 2)
    assert "rows without an id: 2" in found.problems[0].message
    assert "2 ids occur more than once" in found.problems[1].message
    assert found.ids is not None
    assert found.ids.n_duplicated == 2


def test_a_cell_that_does_not_fit_the_common_type_is_found(tmp_path: Path) -> None:
    needs = ColumnNeeds(keep=("c",))
    found = scan(tmp_path, needs, {"c": [0.5]}, {"c": [2**53 + 1]})
    assert [p.column for p in found.problems] == ["c"]
    assert "1.parquet" in str(found.problems[0])
    assert str(2**53 + 1) not in str(found.problems[0])


def test_damaged_pages_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(3):
        path = write(tmp_path / f"{i}.parquet", {"x": rng.standard_normal(2000)}, group_rows=2000)
        if i:
            chunk = pq.read_metadata(path).row_group(0).column(0)
            content = bytearray(path.read_bytes())
            content[4 + chunk.total_compressed_size // 2] ^= 1
            path.write_bytes(content)
    found = scan(tmp_path, ColumnNeeds(numeric={"x": False}), block_rows=700)
    assert [place[:3] for place in places(found)] == [("1.parquet", 0, "x"), ("2.parquet", 0, "x")]
    assert found.ids is None
    assert found.seeds is None


def test_everything_wrong_is_in_one_list(tmp_path: Path) -> None:
    needs = ColumnNeeds(id="id", label="y", rule=ClassRule((0, 1)), numeric={"f0": False})
    rows = {"id": [1, 1, 2, None], "f0": [np.nan, 1.0, np.inf, 2.0], "y": [0, 1, 9, None]}
    found = scan(tmp_path, needs, rows)
    text = "\n".join(map(str, found.problems))
    for told in ("NaN", "infinite", "without an id", "more than once", "none of the classes"):
        assert told in text
    assert found.n_problems == 5


def test_no_more_than_a_hundred_problems_are_listed(tmp_path: Path) -> None:
    columns = {f"f{i}": [np.nan, 1.0, 2.0] for i in range(120)}
    found = scan(tmp_path, ColumnNeeds(numeric=dict.fromkeys(columns, False)), columns)
    assert len(found.problems) == 100
    assert found.n_problems == 120


def test_labels_of_a_file_are_joined_in_the_same_pass(
    tmp_path: Path, cluster_client: Client
) -> None:
    (tmp_path / "y.csv").write_text("id,y\n107,b\n3,a\n4,a\n")
    folder = tmp_path / "data"
    write_parts(folder, good(100, 0), good(100, 100))
    reader = open_reader(folder, block_rows=30)
    seeds = read_label_file(
        "y.csv", id_column="id", label_column="y", base=tmp_path, id_type=pa.int64()
    )
    execution = Execution(cluster_client)
    found = scan_input(reader, NUMERIC, execution, seed_file=seeds)
    assert found.problems == ()
    assert found.seeds is not None
    labels = found.seeds.labels
    assert labels.rows.tolist() == [3, 107, 4]
    assert labels.codes.tolist() == [0, 1, 0]
    # They stand in the order of the tags of their ids.
    assert labels.tags is not None
    assert labels.tags.tolist() == sorted(tags_of(pa.array([3, 4, 107])).tolist())
    local = scan_input(reader, NUMERIC, HERE, seed_file=seeds)
    assert local.seeds is not None
    assert local.seeds.labels.rows.tolist() == [3, 107, 4]
    with pytest.raises(JobSpecError):
        scan_input(reader, ColumnNeeds(label="id"), HERE, seed_file=seeds)
    without_ids = scan_input(reader, ColumnNeeds(numeric={"f0": False}), HERE, seed_file=seeds)
    assert without_ids.seeds is not None
    assert without_ids.seeds.labels.rows.tolist() == [3, 4, 107]
    assert without_ids.ids is None


def test_the_scan_does_not_depend_on_blocks(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    needs = ColumnNeeds(id="id", label="y", numeric={"f0": False}, string={"s": False})
    for i in range(3):
        f0 = rng.choice([1.0, np.nan, np.inf], 80, p=[0.8, 0.1, 0.1])
        write(
            tmp_path / f"{i}.parquet",
            {
                "id": rng.integers(0, 150, 80),
                "f0": f0,
                "s": rng.choice(np.array(["a", "b", None], object), 80),
                "y": pa.array([None if v > 2 else int(v) for v in rng.integers(0, 9, 80)]),
            },
            group_rows=30,
        )
    found = [scan(tmp_path, needs, block_rows=rows) for rows in (3, 11, None)]
    assert len(found[0].problems) > 5
    for other in found[1:]:
        assert other.problems == found[0].problems
        assert other.notes == found[0].notes
        assert other.seeds is not None
        assert found[0].seeds is not None
        np.testing.assert_array_equal(other.seeds.labels.rows, found[0].seeds.labels.rows)
        np.testing.assert_array_equal(other.seeds.labels.codes, found[0].seeds.labels.codes)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0)])
def test_integers_that_lose_their_digits_get_an_offset(tmp_path: Path, kind: pa.DataType) -> None:
    values = [1_700_000_000_000_000_001 + row for row in range(100)]
    n_rounded = sum(int(float(one)) != one for one in values)
    data = {**good(), "f0": pa.array(values[::-1]).cast(kind)}
    small = scan(tmp_path / "small", NUMERIC, {**data, "f0": np.arange(100)})
    assert (small.notes, small.offsets) == ((), {})
    # Text of a column that serves twice is no number.
    twice = replace(NUMERIC, string={"f0": False})
    for rows in (100, 13):
        for needs in (NUMERIC, twice):
            write_parts(tmp_path / str(rows), data)
            found = scan_input(open_reader(tmp_path / str(rows), block_rows=rows), needs, HERE)
            assert (cautions(found.notes), found.offsets) == ((), {"f0": values[0]})
            assert found.constant_columns == ()
    fixed = replace(NUMERIC, unmoved=("f0",))
    found = scan(tmp_path / "fixed", fixed, data)
    (note,) = cautions(found.notes)
    assert note.startswith(f"column 'f0': {n_rounded} of 100 rows hold integers that float64")
    assert "subtract the column's smallest value" in note
    assert found.offsets == {}
    # Their range has more digits than float32 keeps of it.
    wide = [one * 10**6 + 1 for one in range(10**12, 10**12 + 10**8, 10**6)]
    assert any(int(float(one)) != one for one in wide)
    data["f0"] = pa.array(wide).cast(kind)
    assert scan(tmp_path / "wide", fixed, data).notes == ()


def test_decimals_beyond_64_bits_get_no_offset(tmp_path: Path) -> None:
    data = {**good(), "f0": pa.array([Decimal(10**30 + row) for row in range(100)])}
    found = scan(tmp_path, NUMERIC, data)
    assert found.offsets == {}
    assert "that float64 rounds" in cautions(found.notes)[0]


def test_new_rows_too_far_from_a_fitted_offset_are_told(tmp_path: Path) -> None:
    offsets = {"f0": 1_700_000_000_000_000_001}
    for at, n_told in ((0, 0), (2**50, 0), (-(2**54), 1), (-offsets["f0"], 1)):
        values = [offsets["f0"] + at + row for row in range(100)]
        write_parts(tmp_path / str(at), {**good(), "f0": pa.array(values)})
        reader = open_reader(tmp_path / str(at), block_rows=17)
        found = scan_input(reader, NUMERIC, HERE, offsets=offsets)
        assert found.offsets == offsets
        told = cautions(found.notes)
        assert len(told) == n_told, at
        assert all(one.startswith("column 'f0': its integers are more than 2**53") for one in told)
    # The column was not moved in the fit: it is not moved now.
    found = scan_input(reader, replace(NUMERIC, numeric={"id": False}), HERE, offsets={})
    assert found.offsets == {}


def test_vectors_of_integers_that_lose_their_digits_are_told(tmp_path: Path) -> None:
    vectors = [[row, 2**53 + row] for row in range(10)]
    data = {"id": np.arange(10), "v": pa.array(vectors)}
    found = scan(tmp_path, ColumnNeeds(id="id", vector={"v": False}), data)
    (note,) = cautions(found.notes)
    assert note.startswith("column 'v': 5 of 10 rows")
    assert found.problems == ()
