"""What a first user gets wrong: the exit code, every problem in one list, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client

from ssl_dask.cli import app
from ssl_dask.errors import InputDataError, QualityError
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.process_end import exit_code
from tests.made_job import N_ROWS, made_job, made_rows, with_column, write_job, write_rows

Job = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A mistake: how it is made, the exit code, and words that the message must hold."""

    code: int
    make: Callable[[Path, Job], None]
    words: tuple[str, ...]


def changed(folder: Path, name: str, values: Any) -> None:
    """Write the rows again with another column."""
    table = made_rows()
    write_rows(folder, with_column(table, name, values(table) if callable(values) else values))


def with_value(name: str, rows: tuple[int, ...], value: Any) -> Callable[[Path, Job], None]:
    def make(folder: Path, job: Job) -> None:
        def column(table: pa.Table) -> pa.Array:
            values = table[name].to_pylist()
            for row in rows:
                values[row] = value
            return pa.array(values, table.schema.field(name).type)

        changed(folder, name, column)

    return make


def constant_features(folder: Path, job: Job) -> None:
    changed(folder, "a", pa.array([1.5] * N_ROWS))
    job["features"] = {"numbers": {"numeric": ["a"]}}


def duplicate_ids(folder: Path, job: Job) -> None:
    # Rows 3 and 300 lie in different files.
    ids = made_rows()["id"].to_numpy().copy()
    ids[300] = ids[3]
    changed(folder, "id", pa.array(ids))


def torn_second_file(folder: Path, job: Job) -> None:
    path = folder / "part-01.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def garbled_pages(folder: Path, job: Job) -> None:
    path = folder / "part-02.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(bytes(content))


def no_files(folder: Path, job: Job) -> None:
    for path in list(folder.iterdir()):
        path.with_suffix(".csv").write_text("id,a\n1,0.5\n")
        path.unlink()


def vectors(lengths: list[int]) -> Callable[[Path, Job], None]:
    def make(folder: Path, job: Job) -> None:
        values = [[1.0] * lengths[i % len(lengths)] for i in range(N_ROWS)]
        changed(folder, "v", pa.array(values, pa.list_(pa.float32())))
        job["features"] = {"v": {"vector": "v"}}

    return make


def key(path: str, value: Any) -> Callable[[Path, Job], None]:
    def make(folder: Path, job: Job) -> None:
        place = job
        *groups, last = path.split(".")
        for group in groups:
            place = place[group]
        place[last] = value

    return make


def shares_of_two_classes(folder: Path, job: Job) -> None:
    del job["graph"]
    job["method"] = {"name": "self_training", "class_shares": {"ant": 0.5, "bee": 0.5}}


def label_file(text: str) -> Callable[[Path, Job], None]:
    def make(folder: Path, job: Job) -> None:
        (folder.parent / "labels.csv").write_text(text)
        del job["input"]["label"]
        path = str(folder.parent / "labels.csv")
        job["input"]["labels"] = {"path": path, "id": "id", "label": "label"}

    return make


def labels_by_lists(folder: Path, job: Job) -> None:
    vectors([2])(folder, job)
    label_file("id,label\n7,ant\n")(folder, job)
    job["input"]["labels"]["by"] = "v"


FIRST = 10**15
CASES: dict[str, Case] = {
    "missing path": Case(3, key("input.path", "/nowhere/rows"), ("/nowhere/rows", "no such file")),
    "no parquet files": Case(3, no_files, ("Parquet",)),
    "no rows": Case(
        3, lambda folder, _: write_rows(folder, made_rows().slice(0, 0), files=1), ("rows",)
    ),
    "torn file": Case(3, torn_second_file, ("part-01.parquet",)),
    "garbled pages": Case(3, garbled_pages, ("part-02.parquet",)),
    "missing column": Case(3, key("input.truth", "trut"), ("'trut'", "truth")),
    "missing feature": Case(
        3, key("features.numbers.numeric", ["a", "bb"]), ("'bb'", "no such column")
    ),
    "duplicate ids": Case(
        3, duplicate_ids, ("part-02.parquet", "'id'", "more than once", "part-00.parquet")
    ),
    "null id": Case(3, with_value("id", (5, 6), None), ("part-00.parquet", "'id'", ": 2")),
    "nan": Case(3, with_value("a", (7,), np.nan), ("part-00.parquet", "'a'", "NaN values: 1")),
    "null": Case(3, with_value("b", (200,), None), ("part-01.parquet", "'b'", "null values: 1")),
    "inf": Case(3, with_value("a", (319,), np.inf), ("part-02.parquet", "infinite values: 1")),
    "label outside the classes": Case(3, key("input.classes", ["ant", "bee"]), ("'seed'", "class")),
    "string numbers": Case(
        3,
        lambda folder, _: changed(folder, "a", lambda table: table["a"].cast(pa.string())),
        ("'a'", "string"),
    ),
    "vectors of two lengths": Case(3, vectors([4, 4, 4, 5]), ("'v'", "another length")),
    "too many categories": Case(
        3, key("features.kinds", {"categorical": "id"}), ("'id'", "max_categories")
    ),
    "constant features": Case(3, constant_features, ("'a'", "nothing tells rows apart")),
    "labels of unknown ids": Case(
        3, label_file(f"id,label\n{FIRST},ant\n{FIRST + 3},bee\n7,ant\n"), ("labels.csv", "1")
    ),
    "labels of lists": Case(3, labels_by_lists, ("'v'", "columns for input.labels.by are")),
    "labels given twice": Case(
        3, label_file(f"id,label\n{FIRST},ant\n{FIRST + 3},bee\n{FIRST},bee\n"), ("labels.csv",)
    ),
    "no seeds": Case(8, with_value("seed", tuple(range(N_ROWS)), None), ("no labelled row",)),
    "shares of other classes": Case(
        2,
        key("method", {"name": "poisson", "class_shares": {"ant": 0.3, "bea": 0.3, "cat": 0.4}}),
        ("method.class_shares", "'bea' is none of them"),
    ),
    "shares of other classes, self-labelled": Case(
        2, shares_of_two_classes, ("method.class_shares", "2 classes")
    ),
    "one class": Case(8, with_value("seed", tuple(range(N_ROWS)), "ant"), ("class",)),
}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    rows = write_rows(tmp_path / "rows", made_rows())
    return made_job(rows, tmp_path / "out", cluster={"kind": "local", "workers": 1})


@pytest.fixture
def answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return what runs a command on a job and gives its exit code and last words."""

    def answer(job: Job, command: str = "validate") -> tuple[int, dict[str, Any]]:
        code = exit_code(app, [command, str(write_job(tmp_path / "job.yaml", job))])
        return code, json.loads(capsys.readouterr().err.splitlines()[-1])

    return answer


@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_is_named(name: str, job: Job, tmp_path: Path, answered: Any) -> None:
    case = CASES[name]
    case.make(tmp_path / "rows", job)
    code, words = answered(job)
    assert code == words["code"] == case.code
    for word in case.words:
        assert word in words["message"], words["message"]
    assert len(words["problems"]) >= 1
    assert words["message"].count("Traceback") == 0
    assert words["hint"], words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["torn file", "duplicate ids", "nan", "garbled pages", "no seeds"])
def test_a_run_says_the_same_and_leaves_nothing(
    name: str, job: Job, tmp_path: Path, cluster_client: Client
) -> None:
    case = CASES[name]
    case.make(tmp_path / "rows", job)
    with pytest.raises((InputDataError, QualityError)) as error:
        run_job(job, client=cluster_client)
    assert error.value.exit_code == case.code
    for word in case.words:
        assert word in str(error.value)
    out = tmp_path / "out"
    assert not (out / "latest").exists()
    assert not list(out.glob("runs/*"))
    assert not list(out.glob(".work/*"))


def test_no_cell_is_quoted(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "4111-1111-1111-1111"
    strange = pa.array([secret] * N_ROWS)
    changed(tmp_path / "rows", "a", strange)
    path = write_job(tmp_path / "job.yaml", job)
    assert exit_code(app, ["validate", str(path)]) == 3
    assert secret not in capsys.readouterr().err


def test_many_mistakes_make_one_list(job: Job, tmp_path: Path, answered: Any) -> None:
    table = made_rows()
    for name, row, value in (
        ("a", 3, np.nan),
        ("b", 310, np.inf),
        ("id", 9, table["id"][2].as_py()),
    ):
        values = table[name].to_numpy().copy()
        values[row] = value
        table = with_column(table, name, values)
    write_rows(tmp_path / "rows", table)
    job["input"]["classes"] = ["ant", "bee"]
    code, words = answered(job)
    assert code == 3
    assert {one["column"] for one in words["problems"]} == {"a", "b", "id", "seed"}
    assert len(words["problems"]) >= 4

    # Columns that are missing or of a wrong type do not hide what is wrong with the rest.
    job["input"]["truth"] = "trut"
    job["features"]["numbers"]["numeric"] = ["a", "bb", "text"]
    (tmp_path / "file").touch()
    job["output"]["path"] = str(tmp_path / "file" / "out")
    code, words = answered(job)
    assert code == 3
    found = {one["column"]: one["file"] for one in words["problems"]}
    assert found.keys() == {"trut", "bb", "text", "a", "id", "seed", None}
    assert found[None] == str(tmp_path / "file")


def test_mistakes_of_the_job_and_of_its_columns_make_one_list(
    job: Job, tmp_path: Path, answered: Any
) -> None:
    job["method"]["alpha"] = 3
    job["graph"]["n_neighbours"] = 5
    job["features"]["kinds"] = {"categorical": ["text"], "encoding": "on_hot"}
    job["features"]["numbers"]["numeric"] = ["a", "bb"]
    (tmp_path / "file").touch()
    job["output"]["path"] = str(tmp_path / "file" / "out")
    code, words = answered(job)
    assert code == 2
    expected = ["alpha", "n_neighbours", "encoding", "no such column", "no folder"]
    assert len(words["problems"]) == len(expected)
    for word in expected:
        assert sum(word in one["message"] for one in words["problems"]) == 1, word
    # What is left of the job says nothing of rows: it may lack the policy that they need.
    assert not any(one["rows"] for one in words["problems"])

    # Without its input there is no job to look at: the mistakes of the file alone.
    del job["input"]
    code, words = answered(job)
    assert code == 2
    assert "'input' is missing" in words["message"]


@pytest.mark.parametrize(
    ("place", "code"), [("rows/out", 2), ("rows", 2), ("", 2), ("file", 6), ("full", 6)]
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_an_output_that_cannot_be_is_refused(
    command: str, place: str, code: int, job: Job, tmp_path: Path, answered: Any
) -> None:
    (tmp_path / "full").mkdir()
    for name in ("file", "full/mine.txt", "job.yaml"):
        (tmp_path / name).write_text("mine")
    job["output"]["path"] = str(tmp_path / place)
    before = sorted(str(one) for one in tmp_path.rglob("*"))
    found, words = answered(job, command)
    assert found == words["code"] == code
    assert words["file"]
    assert words["hint"]
    assert sorted(str(one) for one in tmp_path.rglob("*")) == before


def test_classes_may_be_more_than_the_seeds_show(
    job: Job, tmp_path: Path, cluster_client: Client
) -> None:
    job["input"]["classes"] = ["ant", "bee", "cat", "dog"]
    result = run_job(job, client=cluster_client)
    assert result.report.seeds.classes == ("ant", "bee", "cat", "dog")
    assert result.report.seeds.counts[-1] == 0
