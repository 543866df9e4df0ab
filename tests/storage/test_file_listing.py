"""What a folder holds is not always the table."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ssl_dask.errors import InputDataError, cautions
from ssl_dask.input_files import InputFiles
from ssl_dask.storage.ids.edges import open_edge_file
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.labels.label_file import read_label_file
from tests.parquet_samples import write

ROWS: dict[str, Any] = {"id": [1, 2, 3]}
LOGS = {
    "Delta Lake": "_delta_log/00000000000000000000.json",
    "Apache Hudi": ".hoodie/hoodie.properties",
    "Apache Iceberg": "metadata/00000-1.metadata.json",
}


def names(dataset: Dataset) -> list[str]:
    return [file.name for file in dataset.files]


def write_tables(folder: Path, kind: str) -> None:
    write(folder / "data" / "day=1" / "a.parquet", ROWS)
    log = folder / LOGS[kind]
    log.parent.mkdir(parents=True)
    log.write_text("{}")


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize(
    "path", ["t", "t/data", "t/data/day=1", "t/data/day=*/*.parquet", "t/data/day=1/a.parquet", "."]
)
def test_files_of_a_table_format_are_refused(tmp_path: Path, kind: str, path: str) -> None:
    write_tables(tmp_path / "t", kind)
    if kind != "Apache Iceberg" and path != ".":
        # These keep no rows below a folder `data`.
        os.rename(tmp_path / "t" / "data" / "day=1", tmp_path / "t" / "day=1")
        (tmp_path / "t" / "data").rmdir()
        path = path.replace("/data", "")
    with pytest.raises(InputDataError, match=f"files of a table of {kind}") as caught:
        Dataset.open(path, base=tmp_path)
    assert caught.value.exit_code == 3
    assert "write the rows of the table to Parquet files" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize("kind", ["Delta Lake", "Apache Hudi"])
@pytest.mark.parametrize("path", ["t/2024/01", "t/2024/01/a.parquet", "t/2024/*/*.parquet"])
def test_a_table_is_known_from_deep_inside(tmp_path: Path, kind: str, path: str) -> None:
    write(tmp_path / "t" / "2024" / "01" / "a.parquet", ROWS)
    (tmp_path / "t" / LOGS[kind]).parent.mkdir()
    with pytest.raises(InputDataError, match=f"files of a table of {kind}"):
        Dataset.open(path, base=tmp_path)
    # A table beside the folder is none of its business.
    write(tmp_path / "2024" / "01" / "a.parquet", ROWS)
    assert Dataset.open(path.removeprefix("t/"), base=tmp_path).n_rows == 3


def test_labels_and_edges_of_a_table_format_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "t" / "a.parquet", ROWS)
    (tmp_path / "t" / "_delta_log").mkdir()
    for read in (
        lambda: read_label_file(
            "t", id_column="id", label_column="id", base=tmp_path, id_type=pa.int64()
        ),
        lambda: open_edge_file("t", source="a", target="b", base=tmp_path, id_type=pa.int64()),
    ):
        with pytest.raises(InputDataError, match="Delta Lake") as caught:
            read()
        hint = str(caught.value.problems[0].hint)
        assert hint.startswith("set format: delta beside the path of the table's folder; or write")


@pytest.mark.parametrize(
    "path", ["t", "t/day=1", "t/day=1/bucket-0", "t/*/*/*.parquet", "t/day=1/bucket-0/a.parquet"]
)
def test_files_of_paimon_are_refused(tmp_path: Path, path: str) -> None:
    write(tmp_path / "t" / "day=1" / "bucket-0" / "a.parquet", ROWS)
    (tmp_path / "t" / "schema").mkdir()
    (tmp_path / "t" / "schema" / "schema-0").write_text("{}")
    with pytest.raises(InputDataError, match="files of a table of Apache Paimon") as caught:
        Dataset.open(path, base=tmp_path)
    assert "write the rows of the table to Parquet files" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize(("format", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_a_table_whose_library_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.serializers", None)
    files = InputFiles.model_validate({"path": str(tmp_path), "format": format})
    with pytest.raises(InputDataError, match=f"format: {format} needs the package") as caught:
        Dataset.open(files, base=tmp_path)
    assert caught.value.problems[0].hint == f"install ssl-dask[{format}]"


def test_files_of_ducklake_are_known_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "main" / "t" / f"ducklake-{'0' * 8}-0000-7000-8000-{'0' * 12}.parquet", ROWS)
    with pytest.raises(InputDataError, match="DuckLake"):
        Dataset.open(".", base=tmp_path)


def test_folders_that_only_look_like_tables_are_read(tmp_path: Path) -> None:
    write(tmp_path / "metadata" / "a.parquet", ROWS)
    write(tmp_path / "data" / "a.parquet", ROWS)
    (tmp_path / "metadata" / "rows.json").write_text("{}")
    assert Dataset.open(".", base=tmp_path).n_rows == 6


@pytest.mark.parametrize("path", ["data", "data/*"])
def test_parquet_is_known_by_its_bytes(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "data"
    for name in ("a.parquet", "b.pq", "c.parquet.snappy", "d"):
        write(folder / name, ROWS)
    (folder / "e.tmp").write_bytes((folder / "b.pq").read_bytes()[:-1])
    (folder / "f.csv").write_text("id\n1\n")
    dataset = Dataset.open(path, base=tmp_path)
    assert names(dataset) == ["a.parquet", "b.pq", "c.parquet.snappy", "d"]
    assert dataset.ignored == ("e.tmp", "f.csv")
    read_too, left_out = cautions(dataset.notes)
    assert read_too.endswith("are read too: b.pq, c.parquet.snappy, d")
    assert left_out.endswith("files of other kinds are left out (2): e.tmp, f.csv")
    (folder / "e.tmp").rename(folder / "e")
    with pytest.raises(InputDataError, match="not a whole Parquet file") as caught:
        Dataset.open(path, base=tmp_path)
    assert [one.file for one in caught.value.problems] == [f"{path.removesuffix('/*')}/e"]


def test_what_may_hold_rows_and_is_left_out_is_warned_of(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.parquet", {**ROWS, "y": [1, 2, 1]})
    kinds = ("b.parquet.gz", "c.feather", "d.orc", "e.arrow", "f.json", "g.txt")
    for name in (*kinds, "_SUCCESS", ".a.parquet.crc", "README", "notes.md", "a.crc"):
        (tmp_path / "data" / name).write_text("x")
    (tmp_path / "data" / "empty").write_text("")
    told = "files of other kinds are left out (6): b.parquet.gz, c.feather, d.orc, e.arrow, f.json"
    (data,) = cautions(Dataset.open("data", base=tmp_path).notes)
    assert data == f"data: {told} and 1 more"
    (tmp_path / "data" / "f.json").unlink()
    for notes in (
        labels_in("data", tmp_path).notes,
        open_edge_file(
            "data", source="id", target="y", base=tmp_path, id_type=pa.int64()
        ).dataset.notes,
    ):
        assert "left out (5): b.parquet.gz, c.feather" in cautions(notes)[0]


@pytest.mark.parametrize("text", ["a.csv", "a.jsonl.gz"])
def test_labels_of_mixed_kinds_in_one_folder_are_refused_by_name(tmp_path: Path, text: str) -> None:
    write(tmp_path / "y" / "b.parquet", {"id": [1, 2], "y": ["a", "b"]})
    (tmp_path / "y" / text).write_text("id,y\n3,a\n")
    with pytest.raises(InputDataError, match=f"in one folder: b.parquet; {text}") as caught:
        labels_in("y", tmp_path)
    assert caught.value.exit_code == 3
    assert "FOLDER/*.csv" in str(caught.value.problems[0].hint)
    assert labels_in("y/*.parquet", tmp_path).n_labels == 2


def test_text_of_no_known_kind_beside_text_of_labels_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    for i, name in enumerate(("a.csv", "b.txt")):
        (tmp_path / "y" / name).write_text(f"id,y\n{i},a\n")
    (said,) = cautions(labels_in("y", tmp_path).notes)
    assert said == "y: files of other kinds are left out (1): b.txt"


def test_a_folder_without_the_usual_ending_needs_no_warning(tmp_path: Path) -> None:
    for name in ("part-0", "part-1"):
        write(tmp_path / name, ROWS)
    dataset = Dataset.open(str(tmp_path), base=tmp_path)
    assert dataset.n_rows == 6
    assert cautions(dataset.notes) == ()


def test_a_file_that_links_reach_twice_is_read_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for day in (1, 2):
        write(data / f"day-{day}" / "p.parquet", {"id": [day]})
    (data / "a-latest").symlink_to("day-2")
    (data / "day-3.parquet").symlink_to("day-1/p.parquet")
    os.link(data / "day-2" / "p.parquet", data / "day-4.parquet")
    dataset = Dataset.open("data", base=tmp_path)
    assert names(dataset) == ["day-1/p.parquet", "day-2/p.parquet"]
    assert cautions(dataset.notes) == tuple(
        f"data/{name} is data/{same} once more, by a link: it is read once"
        for name, same in (
            ("a-latest/p.parquet", "day-2/p.parquet"),
            ("day-3.parquet", "day-1/p.parquet"),
            ("day-4.parquet", "day-2/p.parquet"),
        )
    )
    # A link beside nothing else is a file like any other.
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "x.parquet").symlink_to(data / "day-1" / "p.parquet")
    assert names(Dataset.open("links", base=tmp_path)) == ["x.parquet"]


@pytest.mark.parametrize("name", ["y.xlsx", "y.txt", "y"])
def test_labels_of_another_kind_are_told_which_kinds_there_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"id": 1, "y": "a"}\n')
    with pytest.raises(
        InputDataError, match="labels are CSV, TSV, JSON lines or Parquet"
    ) as caught:
        labels_in(name, tmp_path)
    assert "a name that ends in .parquet or .csv, " in str(caught.value.problems[0].hint)


def labels_in(name: str, folder: Path) -> Any:
    return read_label_file(name, id_column="id", label_column="y", base=folder, id_type=pa.int64())


def test_a_folder_of_csv_parts_is_told_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "y.csv").mkdir()
    (tmp_path / "y.csv" / "part-0.csv").write_text("id,y\n1,a\n")
    assert labels_in("y.csv", tmp_path).n_labels == 1
    with pytest.raises(InputDataError, match="no Parquet files here") as caught:
        Dataset.open("y.csv", base=tmp_path)
    assert "CSV is read for labels alone" in str(caught.value.problems[0].hint)


def test_folders_that_link_to_each_other_are_walked_once(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        write(tmp_path / "data" / name / "p.parquet", {"v": pa.array([1 if name == "a" else 2])})
        for number in (1, 2, 3):
            (tmp_path / "data" / name / f"to-{number}").symlink_to(f"../{other}")
    assert names(Dataset.open("data", base=tmp_path)) == ["a/p.parquet", "b/p.parquet"]


def test_labels_that_links_reach_twice_are_warned_of(tmp_path: Path) -> None:
    write(tmp_path / "y" / "a.parquet", {"id": [1, 2], "y": ["a", "b"]})
    (tmp_path / "y" / "latest.parquet").symlink_to("a.parquet")
    found = labels_in("y", tmp_path)
    assert found.n_labels == 2
    assert cautions(found.notes) == (
        "y/latest.parquet is y/a.parquet once more, by a link: it is read once",
    )


def test_labels_in_parquet_may_have_any_name(tmp_path: Path) -> None:
    write(tmp_path / "y.csv", {"id": [1, 2], "y": ["a", "b"]})
    assert labels_in("y.csv", tmp_path).values == ("a", "b")
