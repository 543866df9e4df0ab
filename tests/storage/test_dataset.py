from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError, cautions
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.files.file_listing import list_files
from ssl_dask.storage.files.file_names import hive_values, natural_key
from ssl_dask.storage.files.file_source import redact_url
from ssl_dask.storage.input.column_profile import profile_columns
from ssl_dask.storage.input.dataset import Dataset
from tests.parquet_samples import open_reader, travelled, write

ROWS: dict[str, Any] = {"id": list(range(10)), "f0": [float(i) for i in range(10)]}


def names(dataset: Dataset) -> list[str]:
    return [file.name for file in dataset.files]


def refused(path: str | Path, base: Path) -> str:
    with pytest.raises(InputDataError) as caught:
        Dataset.open(path, base=base)
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_file_folder_and_glob_give_the_same_rows(tmp_path: Path) -> None:
    for i in (10, 2, 1):
        write(tmp_path / "data" / f"part-{i}.parquet", ROWS)
    write(tmp_path / "data" / "deeper" / "part-3.parquet", ROWS)

    folder = Dataset.open("data", base=tmp_path)
    assert names(folder) == [
        "deeper/part-3.parquet",
        "part-1.parquet",
        "part-2.parquet",
        "part-10.parquet",
    ]
    assert folder.n_rows == 40
    assert folder.local_paths == (tmp_path / "data",)

    pattern = Dataset.open("data/part-*.parquet", base=tmp_path)
    assert names(pattern) == ["part-1.parquet", "part-2.parquet", "part-10.parquet"]
    assert len(pattern.local_paths) == 3
    assert names(Dataset.open("data/**", base=tmp_path)) == names(folder)

    single = Dataset.open("data/part-2.parquet", base=tmp_path)
    assert names(single) == ["part-2.parquet"]
    assert single.shown_path(0) == "data/part-2.parquet"
    assert folder.shown_path(1) == "data/part-1.parquet"
    assert Dataset.open(tmp_path / "data", base=Path("/elsewhere")).n_rows == 40
    assert Dataset.open(f"file://{tmp_path}/data", base=Path("/elsewhere")).n_rows == 40


def test_what_is_not_data_is_left_out_and_listed(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ROWS)
    write(tmp_path / "_temporary" / "x.parquet", ROWS)
    write(tmp_path / "_part.parquet", ROWS)
    for name in ("_SUCCESS", ".a.parquet.crc", "b.csv", "c.parquet.tmp"):
        (tmp_path / name).write_text("x")
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    assert names(dataset) == ["a.parquet"]
    assert set(dataset.ignored) == {
        "_temporary/",
        "_part.parquet",
        "_SUCCESS",
        ".a.parquet.crc",
        "b.csv",
        "c.parquet.tmp",
    }
    by_glob = Dataset.open(f"{tmp_path}/*", base=tmp_path)
    assert names(by_glob) == ["a.parquet"]
    assert "_temporary/" in by_glob.ignored


def test_a_file_named_by_the_user_may_have_any_name(tmp_path: Path) -> None:
    write(tmp_path / "_rows.pq", ROWS)
    assert Dataset.open("_rows.pq", base=tmp_path).n_rows == 10


@pytest.mark.parametrize("hidden", ["_x.parquet", ".x.parquet", "_day/x.parquet"])
def test_what_is_hidden_is_read_where_a_pattern_asks_for_it(tmp_path: Path, hidden: str) -> None:
    write(tmp_path / hidden, ROWS)
    write(tmp_path / "y.parquet", ROWS)
    # A dot in brackets means no dot in front, as in a shell.
    bracketed = hidden.replace("_", "[._]")
    for pattern in (f"{hidden[0]}*", bracketed, f"**/{hidden}"):
        found = Dataset.open(pattern, base=tmp_path)
        assert (names(found), found.ignored) == ([hidden], ())
    for pattern in ("*", "[!.]*", "**"):
        assert names(Dataset.open(pattern, base=tmp_path)) == ["y.parquet"]


def test_what_a_path_cannot_mean_is_told_with_a_cure(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.parquet", ROWS)
    with pytest.raises(InputDataError, match="not found: no such file or folder") as caught:
        Dataset.open("{a,b}.parquet", base=tmp_path)
    assert "*, ? and [ab] for other names" in str(caught.value.problems[0].hint)
    assert Dataset.open("[ab].parquet", base=tmp_path).n_rows == 20
    for name in ("c.pq", "d"):
        (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(InputDataError, match="is a link that leads nowhere") as caught:
        Dataset.open("c.pq", base=tmp_path)
    assert caught.value.problems[0].file == "c.pq"
    assert "mend the link" in str(caught.value.problems[0].hint)
    (said,) = cautions(Dataset.open(str(tmp_path), base=tmp_path).notes)
    assert said == f"{tmp_path}: links that lead nowhere: c.pq, d"


@pytest.mark.parametrize("path", ["rows/y.csv", "rows/*.csv", "rows/labels", "rows/labels/"])
def test_labels_that_lie_among_the_data_are_not_left_out(tmp_path: Path, path: str) -> None:
    write(tmp_path / "rows" / "a.parquet", ROWS)
    (tmp_path / "rows" / "labels").mkdir()
    (tmp_path / "rows" / ("y.csv" if "csv" in path else "labels/0.csv")).write_text("id,y\n1,a\n")
    (tmp_path / "rows" / "other.json").write_text("{}")
    dataset = Dataset.open("rows", base=tmp_path, elsewhere=(path,))
    assert dataset.ignored == ("other.json",)
    (said,) = cautions(dataset.notes)
    assert said == "rows: files of other kinds are left out (1): other.json"


def test_the_three_kinds_of_nothing_differ(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "only_csv").mkdir()
    (tmp_path / "only_csv" / "a.csv").write_text("id\n1\n")
    no_rows = {name: values[:0] for name, values in ROWS.items()}
    write(tmp_path / "no_rows" / "a.parquet", no_rows)
    assert "not found" in refused("nowhere", tmp_path)
    assert "not found" in refused("nowhere/*.parquet", tmp_path)
    assert "no Parquet files" in refused("empty", tmp_path)
    assert "a.csv" in refused("only_csv", tmp_path)
    assert "no rows" in refused("no_rows", tmp_path)


def test_every_torn_file_is_named_at_once(tmp_path: Path) -> None:
    for name in "abcdef":
        write(tmp_path / f"{name}.parquet", ROWS)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(content[: len(content) // 2])
    (tmp_path / "c.parquet").write_bytes(b"hello, this is no parquet" * 10)
    (tmp_path / "d.parquet").write_bytes(b"")
    broken = bytearray(content)
    length = int.from_bytes(content[-8:-4], "little")
    broken[-8 - length : -8] = b"\xff" * length
    (tmp_path / "e.parquet").write_bytes(broken)
    (tmp_path / "g.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputDataError) as caught:
        Dataset.open("*.parquet", base=tmp_path)
    assert [problem.file for problem in caught.value.problems] == [
        "b.parquet",
        "c.parquet",
        "d.parquet",
        "e.parquet",
        "g.parquet",
    ]
    assert caught.value.problems[2].message == "the file has 0 bytes"
    assert caught.value.problems[-1].message == "is a link that leads nowhere"


def test_a_footer_longer_than_the_first_read(tmp_path: Path) -> None:
    columns = {f"a rather long name of a column, number {i}": [1.0] for i in range(2_000)}
    path = write(tmp_path / "wide.parquet", columns)
    content = path.read_bytes()
    assert int.from_bytes(content[-8:-4], "little") > 1 << 16
    assert len(Dataset.open(path, base=tmp_path).columns) == 2_000


def test_the_object_travels_and_holds_no_open_file(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {**ROWS, "u": pa.array([b"x" * 16] * 10, pa.uuid())})
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    again = travelled(dataset)
    assert again == dataset
    assert again.columns == {"id": "int64", "f0": "double", "u": "extension<arrow.uuid>"}


def test_identity_follows_the_content_not_the_place(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.parquet", ROWS)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first = Dataset.open("one", base=tmp_path).identity()
    assert first == Dataset.open("two", base=tmp_path).identity()
    write(tmp_path / "two" / "a.parquet", {"id": ROWS["id"], "f0": [0.5] * 10})
    assert first != Dataset.open("two", base=tmp_path).identity()


def test_hive_folders_become_columns(tmp_path: Path) -> None:
    write(tmp_path / "day=2" / "site=a%2Fb" / "x.parquet", ROWS)
    write(tmp_path / "day=10" / "site=__HIVE_DEFAULT_PARTITION__" / "x.parquet", ROWS)
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    assert dataset.columns == {"id": "int64", "f0": "double", "day": "string", "site": "string"}
    assert [dict(file.partition) for file in dataset.files] == [
        {"day": "2", "site": "a/b"},
        {"day": "10", "site": None},
    ]


@pytest.mark.parametrize("values", [("1", "2"), ("02134", "2134"), ("1", "a", "..%2Fup", "%25")])
def test_hive_values_keep_their_text(tmp_path: Path, values: Sequence[str]) -> None:
    for value in values:
        write(tmp_path / f"p={value}" / "x.parquet", ROWS)
    reader = open_reader(tmp_path)
    assert reader.dataset.columns["p"] == "string"
    found = {reader.read(block, {"p": "string"})["p"][0] for block in reader.blocks}
    assert found == {unquote(value) for value in values}


@pytest.mark.parametrize(
    ("values", "numbers"),
    [(("01", "2.5", "__HIVE_DEFAULT_PARTITION__"), [1.0, 2.5, np.nan]), (("1", "a"), None)],
)
def test_hive_values_may_serve_as_numbers(
    tmp_path: Path, values: Sequence[str], numbers: Sequence[float] | None
) -> None:
    for value in values:
        write(tmp_path / f"p={value}" / "x.parquet", ROWS)
    reader = open_reader(tmp_path)
    problems = check_columns(reader.dataset, ColumnNeeds(numeric={"p": True}))
    if numbers is None:
        (problem,) = problems
        assert "numbers are wanted" in str(problem)
        return
    assert problems == []
    found = [reader.read(block, {"p": "numeric"})["p"][0] for block in reader.blocks]
    np.testing.assert_array_equal(found, numbers)


def test_a_hive_key_that_is_in_the_files_is_taken_from_there(tmp_path: Path) -> None:
    for key, kind, first in (("code", "string", "01"), ("n", "int8", "1")):
        for value in ("01", "02"):
            cells = pa.array([value] * 10).cast(kind)
            write(tmp_path / key / f"{key}={value}" / "x.parquet", {**ROWS, key: cells})
        reader = open_reader(tmp_path / key)
        assert reader.dataset.columns[key] == kind
        assert reader.dataset.partition_columns == ()
        assert reader.read(0, {key: "string"})[key][0] == first
        assert cautions(reader.dataset.notes) == ()


@pytest.mark.parametrize(
    ("folder", "cells", "differs"),
    [
        ("w", pa.array(["q"] * 10), True),
        ("w", pa.array(["w"] * 9 + [None]), True),
        ("w", pa.array(["w"] * 10).dictionary_encode(), False),
        ("w", pa.array([1] * 10), True),
        ("01", pa.array([1] * 10, pa.int8()), False),
        ("1", pa.array([1] * 9 + [2]), True),
        ("true", pa.array([True] * 10), False),
        ("2024-05-06", pa.array([dt.date(2024, 5, 6)] * 10), False),
        ("2024-05-06", pa.array([dt.date(2024, 5, 7)] * 10), True),
        ("2024-05-06", pa.array([10**7] * 10, pa.date32()), True),
        ("w", pa.array([b"\xff"] * 10).view(pa.string()), False),
        ("__HIVE_DEFAULT_PARTITION__", pa.nulls(10, pa.string()), False),
        ("__HIVE_DEFAULT_PARTITION__", pa.array(["w"] * 10), True),
    ],
)
def test_a_hive_key_that_says_another_value_than_the_files(
    tmp_path: Path, folder: str, cells: pa.Array, differs: bool
) -> None:
    write(tmp_path / "t" / f"z={folder}" / "a.parquet", {**ROWS, "z": cells})
    said = cautions(Dataset.open("t", base=tmp_path).notes)
    told = "column 'z' has other values than the folder's name in some rows of 1 file, first"
    path = f"t/z={folder}/a.parquet"
    assert said == ((f"{told} {path}: the values in the files are taken",) if differs else ())
    # Where another file lacks the column, the names of the folders give it.
    write(tmp_path / "t" / "z=x" / "b.parquet", ROWS)
    *said, some = cautions(Dataset.open("t", base=tmp_path).notes)
    assert said == ([f"{told} {path}: the names of the folders are taken"] if differs else [])
    assert some.startswith("column 'z' is in 1 of 2 files only: it is taken from the folder names")
    # The one file that a path names has no folders.
    assert cautions(Dataset.open(path, base=tmp_path).notes) == ()


@pytest.mark.parametrize("folder", ["code=%E4", "%E4=1", "code=\udce4"])
def test_folder_names_that_are_no_utf8_are_refused(tmp_path: Path, folder: str) -> None:
    write(tmp_path / "data" / "k=1" / "x.parquet", ROWS)
    (tmp_path / "data" / "k=1").rename(tmp_path / "data" / folder)
    with pytest.raises(InputDataError, match="not UTF-8") as caught:
        Dataset.open("data", base=tmp_path)
    (problem,) = caught.value.problems
    assert problem.file == ascii(folder)[1:-1]
    assert "label=%C3%A4" in str(problem.hint)


def test_hive_keys_must_agree_and_win_over_columns_of_some_files(tmp_path: Path) -> None:
    write(tmp_path / "day=1" / "x.parquet", {**ROWS, "day": [7] * 10})
    write(tmp_path / "day=2" / "x.parquet", ROWS)
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    assert dataset.columns == {"id": "int64", "f0": "double", "day": "string"}
    assert any("in 1 of 2 files only: it is taken from" in one for one in cautions(dataset.notes))
    write(tmp_path / "loose.parquet", ROWS)
    assert "loose.parquet" in refused(str(tmp_path), tmp_path)
    write(tmp_path / "t" / "k=1" / "k=2" / "x.parquet", ROWS)
    assert "['k', 'k'], one of them twice (keep one folder of each" in refused("t", tmp_path)


def test_a_nested_field_is_not_taken_for_a_column_of_its_path(tmp_path: Path) -> None:
    columns = {**ROWS, "a": [{"b": "q"}] * 10, "a.b": ["w"] * 10}
    write(tmp_path / "t" / "a.b=w" / "0.parquet", columns)
    assert cautions(Dataset.open("t", base=tmp_path).notes) == ()


def test_harmless_differences_are_notes(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.parquet", {"id": [i], "f0": [0.5], "n": pa.array([1], pa.int32())})
    write(
        tmp_path / "3.parquet",
        {
            "n": pa.array([1], pa.int8()),
            "extra": ["x"],
            "f0": pa.array([0.5], pa.float32()),
            "id": pa.array([3], pa.int64()),
        },
    )
    write(tmp_path / "4.parquet", {"id": pa.array([], pa.string())})
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    assert dataset.columns == {"id": "int64", "f0": "double", "n": "int32", "extra": "string"}
    notes = "\n".join(dataset.notes)
    for told in ("'f0' has several types", "'n' has several types", "'extra' is only in 1 of 4"):
        assert told in notes
    assert "1 file without rows" in notes
    assert "'id'" not in notes


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (pa.int32(), pa.int64(), "int64"),
        (pa.uint32(), pa.int8(), "int64"),
        (pa.float32(), pa.int8(), "float"),
        (pa.float32(), pa.int32(), "double"),
        (pa.null(), pa.string(), "string"),
        (pa.string(), pa.large_string(), "large_string"),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), "string"),
    ],
)
def test_files_are_read_in_the_type_that_holds_all_values(
    tmp_path: Path, first: pa.DataType, second: pa.DataType, common: str
) -> None:
    write(tmp_path / "a.parquet", {"c": pa.nulls(3, first)})
    write(tmp_path / "b.parquet", {"c": pa.nulls(3, second)})
    assert Dataset.open(str(tmp_path), base=tmp_path).columns == {"c": common}
    os.rename(tmp_path / "a.parquet", tmp_path / "z.parquet")
    assert Dataset.open(str(tmp_path), base=tmp_path).columns == {"c": common}


def test_a_column_that_is_there_twice_is_refused_where_it_is_used(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"id": [0], "f0": [2], "f1": ["x"]})
    twice = pa.table([[1], [2], [3], ["y"], ["z"]], names=["id", "f0", "f0", "f1", "f1"])
    write(tmp_path / "b.parquet", twice)
    reader = open_reader(tmp_path)
    assert check_columns(reader.dataset, ColumnNeeds(numeric={"id": False})) == []
    assert [reader.read(block, {"id": "numeric"})["id"].tolist() for block in (0, 1)] == [[0], [1]]
    assert profile_columns(reader.dataset)[1].null_share == 0.5

    needs = ColumnNeeds(numeric={"f0": False}, keep=("f1",))
    found = check_columns(reader.dataset, needs)
    assert [one.column for one in found] == ["f0", "f1"]
    for one in found:
        assert one.file == f"{tmp_path}/b.parquet"
        assert "more than once" in one.message
        assert one.hint == "give each column a name of its own"


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "a.parquet", ROWS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "self").symlink_to(tmp_path / "data")
    dataset = Dataset.open("data", base=tmp_path)
    assert names(dataset) == ["linked/a.parquet"]
    assert dataset.ignored == ("self/",)


def test_a_memory_url_reads_like_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ROWS)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/day=1/a.parquet", path.read_bytes())
    memory.pipe_file("/bucket/day=2/a.parquet", path.read_bytes())
    memory.pipe_file("/bucket/_SUCCESS", b"")
    try:
        dataset = Dataset.open("memory://bucket", base=tmp_path)
        assert names(dataset) == ["day=1/a.parquet", "day=2/a.parquet"]
        assert dataset.ignored == ("_SUCCESS",)
        assert dataset.local_paths == ()
        assert dataset.shown_path(0) == "memory://bucket/day=1/a.parquet"
        assert Dataset.open("memory://bucket/day=*/*.parquet", base=tmp_path).n_rows == 20
        assert Dataset.open("memory://bucket/day=1/a.parquet", base=tmp_path).n_rows == 10
        assert "not found" in refused("memory://nowhere", tmp_path)
    finally:
        memory.rm("/bucket", recursive=True)


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    secret = "wJalrXUtnFEMI"
    write(tmp_path / "a.parquet", ROWS)
    with pytest.raises(InputDataError) as caught:
        Dataset.open(f"nosuch://user:{secret}@host/a", base=tmp_path)
    assert secret not in str(caught.value)
    with pytest.raises(InputDataError) as caught:
        Dataset.open("memory://nowhere", base=tmp_path, storage_options={"key": secret})
    assert secret not in str(caught.value)
    memory = fsspec.filesystem("memory", key=secret)
    memory.pipe_file("/hidden/a.parquet", (tmp_path / "a.parquet").read_bytes())
    try:
        dataset = Dataset.open("memory://hidden", base=tmp_path, storage_options={"key": secret})
        assert secret not in repr(dataset)
        assert secret not in repr(dataset.source)
        assert dataset.source.redact(f"denied for {secret}") == "denied for ***"
    finally:
        memory.rm("/hidden", recursive=True)
    assert redact_url("https://u:p@h/x.parquet?sig=abc&t=1") == "https://***@h/x.parquet?***"
    assert redact_url("s3://bucket/part-?.parquet") == "s3://bucket/part-?.parquet"


def test_storage_options_without_a_url_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ROWS)
    with pytest.raises(InputDataError, match="URL"):
        Dataset.open(str(tmp_path), base=tmp_path, storage_options={"key": "x"})


def test_names_sort_as_people_count() -> None:
    given = ["p10.parquet", "p9.parquet", "a/p1.parquet", "p09.parquet", "2024-01-02", "2024-1-10"]
    assert sorted(given, key=natural_key) == [
        "2024-01-02",
        "2024-1-10",
        "a/p1.parquet",
        "p09.parquet",
        "p9.parquet",
        "p10.parquet",
    ]
    assert hive_values("a=1/b=x%20y/file=z.parquet") == (("a", "1"), ("b", "x y"))


def test_the_estimate_of_decoded_bytes_is_not_fooled_by_runs(tmp_path: Path) -> None:
    n = 100_000
    path = write(
        tmp_path / "a.parquet",
        {
            "same": np.zeros(n),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(8 * n, np.float32)), 8),
        },
        group_rows=n,
    )
    assert pq.read_metadata(path).row_group(0).total_byte_size < 2 * n
    (file,) = Dataset.open(path, base=tmp_path).files
    assert file.column_bytes[0] >= 8 * n
    assert file.column_bytes[1] >= 32 * n


def test_listing_one_file_keeps_its_folder_out_of_the_partitions(tmp_path: Path) -> None:
    path = write(tmp_path / "day=3" / "a.parquet", ROWS)
    assert list_files(path, base=tmp_path).files[0][0] == "a.parquet"
    assert list(Dataset.open(path, base=tmp_path).columns) == ["id", "f0"]
