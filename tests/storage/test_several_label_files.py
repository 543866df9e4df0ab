"""Labels in several files: a list, a glob, of one kind or of several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError, JobSpecError
from ssl_dask.job_file import resolve_job
from ssl_dask.storage.labels.label_file import SeedFile, read_label_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.csv").write_text("id,label\n1,ham\n2,spam\n")
    (tmp_path / "two.csv").write_text("id,label\n2,spam\n3,ham\n")
    lines = [{"id": 4, "label": "spam"}, {"id": 5, "label": None}]
    (tmp_path / "three.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    pq.write_table(pa.table({"id": [6, 7], "label": ["ham", "spam"]}), tmp_path / "four.parquet")
    return tmp_path


def read(folder: Path, names: Sequence[str], **more: str) -> SeedFile:
    given = {"id_column": "id", "label_column": "label", "id_type": pa.int64(), "base": folder}
    return read_label_file(names, **{**given, **more})


def labels_of(found: SeedFile) -> dict[int, str]:
    names = [found.values[code] for code in found.codes.tolist()]
    return dict(zip(found.ids.to_pylist(), names, strict=True))


ALL = ["one.csv", "three.jsonl", "four.parquet", "two.csv"]
WANTED = {1: "ham", 2: "spam", 3: "ham", 4: "spam", 6: "ham", 7: "spam"}


def test_files_of_several_kinds_are_read_as_one(folder: Path) -> None:
    found = read(folder, ALL)
    assert labels_of(found) == WANTED
    assert found.problems == ()
    assert {Path(one["path"]).name for one in found.identity} == {*ALL}
    assert {path.name for path in found.local_paths} == {*ALL}
    assert any("1 id comes more than once with the same label" in note for note in found.notes)


def test_the_order_of_files_changes_no_label(folder: Path) -> None:
    assert labels_of(read(folder, ALL[::-1])) == WANTED


def test_a_glob_reads_what_it_matches(folder: Path) -> None:
    assert labels_of(read(folder, ["*.csv"])) == {1: "ham", 2: "spam", 3: "ham"}


def test_labels_that_differ_name_both_files(folder: Path) -> None:
    pq.write_table(pa.table({"id": [3], "label": ["spam"]}), folder / "five.parquet")
    (problem,) = read(folder, ["two.csv", "five.parquet"]).problems
    assert "two.csv, line 3" in problem.message
    assert "five.parquet, row 1" in problem.message
    kept = read(folder, ["two.csv", "five.parquet"], conflicts="leave_out")
    assert labels_of(kept) == {2: "spam"}


def test_kinds_of_labels_that_differ_are_refused(folder: Path) -> None:
    pq.write_table(pa.table({"id": [9], "label": [1]}), folder / "five.parquet")
    with pytest.raises(InputDataError, match=r"kind string here and integer in .*five\.parquet"):
        read(folder, ["one.csv", "five.parquet"])


@pytest.mark.parametrize("names", [["*.csv", "two.csv"], ["four.parquet", "four.parquet"]])
def test_a_file_that_two_paths_read_is_refused(folder: Path, names: list[str]) -> None:
    # With conflicts: majority it would vote twice.
    with pytest.raises(InputDataError, match=r"(two.csv|four.parquet).*count twice"):
        read(folder, names)


def test_text_files_decide_their_kind_together(folder: Path) -> None:
    (folder / "digits.csv").write_text("id,label\n8,1\n")
    assert read(folder, ["digits.csv"]).kind == "integer"
    found = read(folder, ["digits.csv", "one.csv"])
    assert labels_of(found)[8] == "1"


def test_a_missing_column_lists_those_there(folder: Path) -> None:
    (folder / "other.csv").write_text("id,answer,who\n8,ham,me\n")
    with pytest.raises(InputDataError) as caught:
        read(folder, ["one.csv", "other.csv"])
    (problem,) = caught.value.problems
    assert str(problem.file).endswith("other.csv")
    assert all(name in str(problem.hint) for name in ("id", "answer", "who"))


def test_jobs_take_lists_and_resolve_each_path(folder: Path) -> None:
    def job(path: object, **more: object) -> dict[str, object]:
        labels = {"path": path, "id": "id", "label": "label", **more}
        return {
            "name": "several",
            "input": {"path": "rows.parquet", "id": "id", "labels": labels},
            "features": {"all": {"numeric": ["a"]}},
            "method": {"name": "supervised"},
            "output": {"path": "out"},
        }

    spec = resolve_job(job(["one.csv", "s3://there/two.csv"]), base=folder)
    assert spec.input.labels is not None
    assert spec.input.labels.paths == (str(folder / "one.csv"), "s3://there/two.csv")
    with pytest.raises(JobSpecError, match="format delta goes with one path"):
        resolve_job(job(["a", "b"], format="delta"), base=folder)
    with pytest.raises(JobSpecError, match=r"input\.labels\.path"):
        resolve_job(job([]), base=folder)
