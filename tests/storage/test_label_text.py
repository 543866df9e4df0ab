"""Labels in text files of several kinds, by several hands, and of groups of rows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ssl_dask.errors import InputDataError, cautions
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.labels.label_file import SeedFile, read_label_file
from tests.parquet_samples import open_reader, read_seeds, told, write


def labels_of(folder: Path, name: str, **more: Any) -> SeedFile:
    options: dict[str, Any] = {"id_column": "id", "label_column": "y", "id_type": pa.int64()}
    return read_label_file(name, base=folder, **options | more)


def pairs(seeds: SeedFile) -> list[tuple[Any, Any]]:
    assert seeds.problems == (), told(seeds)
    labels = [seeds.values[code] for code in seeds.codes]
    return list(zip(seeds.ids.to_pylist(), labels, strict=True))


JSON = (
    '{"id": 7, "y": "a,b", "who": "x"}\n{"y": ["c"], "id": 9}\n\n{"id": 8}\n{"id": 1, "y": null}\n'
)
ARRAY = '[{"id": 7, "y": "a,b"}, {"id": 9, "y": {"choices": ["c"]}}]'
TEXTS = {
    "y.csv": 'id,y\n7,"a,b"\n9,c\n8,\n',
    "y.tsv": "id\ty\n7\ta,b\n9\tc\n8\t\n",
    "y.jsonl": JSON,
    "y.ndjson": JSON,
    "y.json": ARRAY,
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("packed", [False, True])
def test_kinds_of_text(tmp_path: Path, name: str, packed: bool) -> None:
    data = TEXTS[name].encode()
    name += ".gz" if packed else ""
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    assert pairs(labels_of(tmp_path, name)) == [(7, "a,b"), (9, "c")]


def test_ends_of_lines_within_a_text_of_json_end_nothing(tmp_path: Path) -> None:
    text = '{"id": 7, "text": "one\u2028two\x85three", "y": "a"}\r\n{"id": 9, "y": "b"}\r\n'
    (tmp_path / "y.jsonl").write_bytes(text.encode())
    assert pairs(labels_of(tmp_path, "y.jsonl")) == [(7, "a"), (9, "b")]


def test_long_texts_beside_the_labels_are_told_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text(f"id,y,text\n7,a,{'x' * 140_000}\n")
    with pytest.raises(InputDataError, match="ids and labels alone"):
        labels_of(tmp_path, "y.csv")


@pytest.mark.parametrize(
    ("parts", "ending"),
    [
        (["id,y\n1,a\n", "id,y\n2,b\n", ""], ".csv"),
        (['{"id": 1, "y": "a"}\n', '{"id": 2, "y": "b"}\n', ""], ".json"),
    ],
)
def test_the_parts_of_a_folder(tmp_path: Path, parts: list[str], ending: str) -> None:
    folder = tmp_path / "labels.csv"
    folder.mkdir()
    (folder / "_SUCCESS").write_text("")
    (folder / f".part-0{ending}.crc").write_text("x")
    for i, part in enumerate(parts):
        (folder / f"part-{i}{ending}").write_text(part)
    seeds = labels_of(tmp_path, "labels.csv")
    assert pairs(seeds) == [(1, "a"), (2, "b")]
    assert [one["path"] for one in seeds.identity] == [f"part-{i}{ending}" for i in range(3)]


def test_numbers_in_json_are_exact(tmp_path: Path) -> None:
    big = 2**53 + 1
    (tmp_path / "y.jsonl").write_text(f'{{"id": {big}, "y": 1.0}}\n{{"id": 2, "y": 0}}\n')
    assert pairs(labels_of(tmp_path, "y.jsonl")) == [(big, 1), (2, 0)]


def test_whole_numbers_of_more_than_64_bits_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text(f"id,y\n1,7\n2,{2**63}\n")
    (problem,) = labels_of(tmp_path, "y.csv").problems
    assert "whole numbers of more than 64 bits: 1" in str(problem)
    assert "input.classes" not in str(problem)


@pytest.mark.parametrize(
    ("name", "content", "text", "cure"),
    [
        ("y.xlsx", b"PK", "labels are CSV, TSV, JSON lines or Parquet; this is .xlsx", ".jsonl"),
        ("y.jsonl", b'{"id": 1\n', "no JSON of one object a line", "write lines such as"),
        (
            "y.jsonl",
            b'{"id": 1, "y": "a"}\n\n{"id": 2, "y": "a", "y": "b"}',
            "column 'y': an object has this key more than once, in line 3",
            "keep one",
        ),
        ("y.json", b'[{"id": 1, "y": "a", "id": 2}]', "has this key more than once", "keep one"),
        ("y.jsonl", b"[1, 2]", "no JSON of one object a line", "write lines such as"),
        ("y.jsonl", b'{"id": 1, "label": "a"}', "column 'y': missing in the labels", "id, label"),
        (
            "y.csv.gz",
            gzip.compress(b"id,y\n1,a\n" * 99, mtime=0)[:20],
            "cannot be unpacked",
            "again",
        ),
        ("y.tsv", b"id,y\n1,a\n", "commas between them; a .tsv file has tabs", "ends in .csv"),
        ("y.csv", b"id\ty\n1\ta\n", "tabs between them; a .csv file has commas", "ends in .tsv"),
        ("y.csv", b"id|y\n1|a\n", "vertical bars between them", "save it with commas"),
        (
            "y.csv",
            b'id,y\n1,"a\nb"\n2\n3,a,b\n',
            "lines without the 2 cells of the header: 2, the first is line 4 with 1",
            "empty cells too",
        ),
        ("y.csv", b'id,y\n1,a\n2,"b\n3,c\n', "in what begins in line 3", "save it as CSV again"),
        ("y.json", b'[{"id": 1, "y": "a"}, 7]', "object 2 is none", "write lines such as"),
        ("y.jsonl", b'{"id": 1, "y": "a"}\n\n{"id"', "line 3 is none", "write lines such as"),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, name: str, content: bytes, text: str, cure: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputDataError) as caught:
        labels_of(tmp_path, name)
    (problem,) = caught.value.problems
    assert text in str(problem)
    assert cure in str(problem.hint)


def test_annotators_who_disagree(tmp_path: Path) -> None:
    lines = ["5,", "1,a", "1,b", "1,b", "2,a", "2,b", "3,c", "3,[]", "4,c", "4,c"]
    (tmp_path / "y.csv").write_text("id,y\n" + "\n".join(lines) + "\n")
    refused = labels_of(tmp_path, "y.csv")
    (problem,) = refused.problems
    assert "2 ids come with different labels, first at line 3, line 6" in str(problem)
    assert "labels.conflicts: majority" in str(problem.hint)
    by_most = labels_of(tmp_path, "y.csv", conflicts="majority")
    assert pairs(by_most) == [(1, "b"), (3, "c"), (4, "c")]
    (said,) = cautions(by_most.notes)
    assert "2 ids come with different labels; 1 of them are left without" in said
    assert pairs(labels_of(tmp_path, "y.csv", conflicts="leave_out")) == [(3, "c"), (4, "c")]


def test_what_is_wrong_in_the_parts_of_a_folder_is_named_by_part_and_line(tmp_path: Path) -> None:
    parts = ['id,y\n8,\n1,"a\nb"\nx,a\n2,a\n', "", "id,y\n1,c\n,a\n2,b\n"]
    (tmp_path / "y").mkdir()
    for i, part in enumerate(parts):
        (tmp_path / "y" / f"{i}.csv").write_text(part)
    problems = "\n".join(one.message for one in labels_of(tmp_path, "y").problems)
    assert "ids that are no int64: 1, at y/0.csv, line 5\n" in problems
    assert "rows with a label but no id: 1, at y/2.csv, line 3\n" in problems
    assert "different labels, first at y/0.csv, line 3; y/0.csv, line 6" in problems
    objects = '[{"id": 1}, {"id": 2, "y": "a"}, {"id": 2, "y": "b"}]'
    (tmp_path / "y.json").write_text(objects)
    assert "first at object 2" in told(labels_of(tmp_path, "y.json"))


def test_what_is_wrong_in_labels_in_parquet_is_named_by_file_and_row(tmp_path: Path) -> None:
    write(tmp_path / "y" / "0.parquet", {"id": [5, 1, None], "y": [None, "a", "b"]}, group_rows=2)
    write(tmp_path / "y" / "1.parquet", {"id": [3, 1, 2], "y": ["a", "b", "a"]}, group_rows=1)
    write(tmp_path / "y" / "2.parquet", {"id": [2], "y": ["b"]})
    without_id, differing = labels_of(tmp_path, "y").problems
    assert without_id.message == "rows with a label but no id: 1, at y/0.parquet, row 3"
    first, again = differing.message.split("; the first comes again at ")
    assert first.endswith("first at y/0.parquet, row 2; y/1.parquet, row 3")
    assert again == "y/1.parquet, row 2"


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_a_column_in_the_names_of_folders_of_text_is_told_so(tmp_path: Path, ending: str) -> None:
    (tmp_path / "y" / "y=a").mkdir(parents=True)
    (tmp_path / "y" / "y=a" / f"part-0{ending}").write_text(
        "id\n1\n" if ending == ".csv" else '{"id": 1}\n'
    )
    with pytest.raises(InputDataError, match="missing in the labels") as caught:
        labels_of(tmp_path, "y")
    (problem,) = caught.value.problems
    assert (problem.file, problem.column) == (f"y/y=a/part-0{ending}", "y")
    assert "names of folders, which are columns of Parquet alone" in str(problem.hint)


def test_parts_without_an_ending_are_told_which_they_need(tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "part-00000").write_text("id,y\n1,a\n")
    with pytest.raises(InputDataError, match=r"no Parquet files or text .*: part-00000") as caught:
        labels_of(tmp_path, "y")
    (problem,) = caught.value.problems
    assert problem.file == "y"
    assert "text needs a name that ends in .csv, .tsv" in str(problem.hint)


def test_labels_of_groups_of_rows(tmp_path: Path) -> None:
    block = ["b1", "b2", None, "b1", "b3", "b2"]
    write(tmp_path / "rows" / "0.parquet", {"id": range(6), "block": block})
    (tmp_path / "y.csv").write_text("id,y\nb1,bad\nb2,good\n")
    reader = open_reader(tmp_path / "rows", block_rows=2)
    seeds = labels_of(tmp_path, "y.csv", id_type=pa.string())
    found = read_seeds(reader, seed_file=seeds, id="id", label_by="block")
    assert found.problems == ()
    codes = dict(zip(found.labels.rows.tolist(), found.labels.codes.tolist(), strict=True))
    assert codes == {0: 0, 1: 1, 3: 0, 5: 1}
    (said,) = cautions(found.notes)
    assert "2 labels name groups of 4 rows" in said
    (missing,) = check_columns(reader.dataset, ColumnNeeds(label_by="blok"))
    assert "did you mean 'block'" in str(missing)
    (tmp_path / "y.csv").write_text("id,y\nb9,bad\n")
    seeds = labels_of(tmp_path, "y.csv", id_type=pa.string())
    (problem,) = read_seeds(reader, seed_file=seeds, id="id", label_by="block").problems
    assert "1 of 1 labelled values of 'block' are not in the data" in problem.message
    assert "input.labels.allow_unmatched: true" in str(problem.hint)


def test_columns_that_labels_cannot_name(tmp_path: Path) -> None:
    columns = {"times": pa.array([1.5]), "lists": pa.array([[1]])}
    write(tmp_path / "0.parquet", columns)
    dataset = open_reader(tmp_path).dataset
    for column, cure in (("times", "cast it to int64"), ("lists", "as input.labels.by")):
        (problem,) = check_columns(dataset, ColumnNeeds(label_by=column))
        assert problem.column == column
        assert "columns for input.labels.by are integers" in problem.message
        assert cure in str(problem.hint)


@pytest.mark.parametrize("name", ["y.csv", "y.jsonl", "y.parquet"])
def test_a_review_list_is_no_file_of_labels_but_its_answers_are(tmp_path: Path, name: str) -> None:
    columns = {
        "id": [1, 2],
        "predicted": ["a", "b"],
        "review_kind": ["far"] * 2,
        "answer": ["b"] * 2,
    }
    rows = pa.table(columns)
    if name == "y.parquet":
        write(tmp_path / name, columns)
    elif name == "y.csv":
        rows.to_pandas().to_csv(tmp_path / name, index=False)
    else:
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows.to_pylist())))
    for column in ("predicted", "review_kind"):
        with pytest.raises(InputDataError, match="the run's own answer") as caught:
            labels_of(tmp_path, name, label_column=column)
        (problem,) = caught.value.problems
        assert (problem.column, problem.file) == (column, name)
        assert "labels.label" in str(problem.hint)
    assert labels_of(tmp_path, name, label_column="answer").values == ("b",)
