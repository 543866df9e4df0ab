from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client

from ssl_dask.errors import InputDataError, JobSpecError, QualityError, cautions
from ssl_dask.execution import Execution
from ssl_dask.storage.checks.column_check import ColumnNeeds
from ssl_dask.storage.checks.input_check import scan_input
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.labels.label_file import SeedFile, read_label_file
from ssl_dask.storage.labels.label_rules import ClassRule
from ssl_dask.storage.labels.seed_labels import SeedTable
from ssl_dask.storage.labels.true_labels import truth_codes
from tests.parquet_samples import (
    HERE,
    open_reader,
    read_seeds,
    seeds_of_column,
    seeds_of_csv,
    told,
    travelled,
    write,
    write_parts,
)

# --- a label column


@pytest.mark.parametrize(
    ("values", "dtype", "classes"),
    [
        (pa.array([3, None, 1, 3, None], pa.int8()), np.int64, [1, 3]),
        (pa.array([3, None, 1, 3, None], pa.uint64()), np.int64, [1, 3]),
        (pa.array([True, None, False, True, None]), np.bool_, [False, True]),
        (pa.array(["b", None, "a", "b", None]), object, ["a", "b"]),
        (pa.array(["b", None, "a", "b", None]).dictionary_encode(), object, ["a", "b"]),
        (pa.array([30, None, 10, 30, None]).dictionary_encode(), np.int64, [10, 30]),
    ],
)
def test_null_is_unlabelled_and_classes_keep_their_type(
    tmp_path: Path, values: pa.Array, dtype: Any, classes: list[Any]
) -> None:
    found = seeds_of_column(tmp_path, values)
    assert found.problems == ()
    labels = found.labels
    assert labels.classes.dtype == dtype
    assert labels.classes.tolist() == classes
    assert labels.rows.tolist() == [0, 2, 3]
    assert labels.rows.dtype == np.int64
    assert labels.codes.tolist() == [1, 0, 1]
    assert labels.codes.dtype == np.int32
    assert labels.n_rows == 5
    found.require_classes(2)


def test_dictionaries_that_differ_between_files(tmp_path: Path) -> None:
    first = pa.array(["fraud", "x", None]).dictionary_encode()
    second = pa.array(["ok", None, "fraud"]).dictionary_encode()
    plain = pa.array(["x", None, "ok"])
    coded = seeds_of_column(tmp_path / "a", first, second, plain)
    texts = [part.cast(pa.string()) for part in (first, second, plain)]
    as_text = seeds_of_column(tmp_path / "b", *texts)
    assert coded.labels.classes.tolist() == ["fraud", "ok", "x"]
    assert coded.labels.codes.tolist() == [0, 2, 1, 0, 2, 1]
    assert coded.labels.rows.tolist() == as_text.labels.rows.tolist() == [0, 1, 3, 5, 6, 8]
    assert coded.labels.codes.tolist() == as_text.labels.codes.tolist()


def test_blocks_do_not_matter(tmp_path: Path, cluster_client: Client) -> None:
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 12, 60)
    values = pa.array([None if i > 2 else "cab"[i] for i in picks])
    expected = [(row, "abc".index("cab"[i])) for row, i in enumerate(picks) if i <= 2]
    assert len(expected) > 5
    for block_rows in (1, 7, None):
        labels = seeds_of_column(tmp_path, values, block_rows=block_rows).labels
        assert list(zip(labels.rows.tolist(), labels.codes.tolist(), strict=True)) == expected
    reader = open_reader(tmp_path, block_rows=7)
    labels = read_seeds(reader, Execution(cluster_client), label="y").labels
    assert list(zip(labels.rows.tolist(), labels.codes.tolist(), strict=True)) == expected


def test_classes_of_the_job_set_the_order(tmp_path: Path) -> None:
    found = seeds_of_column(tmp_path, ["b", "a", None], rule=ClassRule(["c", "b", "a"]))
    assert found.labels.classes.tolist() == ["c", "b", "a"]
    assert found.labels.codes.tolist() == [1, 2]
    assert found.problems == ()
    assert "no row is labelled with: c" in found.notes[0]


def test_what_bends_the_answer_is_a_caution(tmp_path: Path) -> None:
    values = pa.array(["red", "New  York", "red ", "new york"])
    first, alike = cautions(seeds_of_column(tmp_path, values).notes)
    assert first.startswith("Every row has a label already")
    assert "look alike: 'New  York' and 'new york', 'red' and 'red '." in alike
    rule = ClassRule(["a", "b"])
    (without,) = cautions(seeds_of_column(tmp_path, pa.array(["a", None]), rule=rule).notes)
    assert without.startswith("no row is labelled with: b")


@pytest.mark.parametrize(
    ("labels", "code"),
    [([0, 1, 99], 99), ([3, 255], 255), ([1, 9999], 9999), ([90, 99], None), ([0, 9], None)],
)
def test_codes_for_not_known_are_warned_of(
    tmp_path: Path, labels: list[int], code: int | None
) -> None:
    values = [*labels, *[None] * 50]
    said = cautions(seeds_of_column(tmp_path, values).notes)
    assert len(said) == (code is not None)
    for one in said:
        assert f"1 labels are {code}, far from all others" in one
        assert f"set input.unlabelled: [{code}]" in one
    assert cautions(seeds_of_column(tmp_path, values, rule=ClassRule(labels)).notes) == ()


def test_words_in_the_names_of_folders_are_told_how_folders_say_it(tmp_path: Path) -> None:
    for label in ("a", "b", "NA"):
        write(tmp_path / f"y={label}" / "0.parquet", {"id": [1, 2]})
    found = scan_input(open_reader(tmp_path), ColumnNeeds(label="y"), HERE)
    (problem,) = found.problems
    assert str(problem.file).endswith("y=NA/0.parquet")
    assert "rename the folder to y=__HIVE_DEFAULT_PARTITION__" in str(problem.hint)


def test_a_label_outside_the_classes_is_told_by_row_group(tmp_path: Path) -> None:
    parts = [0, 1, None, 99, 98, 99, 0, 1], [1, None, 0, 99]
    found = seeds_of_column(tmp_path, *parts, rule=ClassRule([0, 1]))
    places = [(Path(str(p.file)).name, p.row_group, p.column, p.rows) for p in found.problems]
    assert places == [("0.parquet", 0, "y", 1), ("0.parquet", 1, "y", 2), ("1.parquet", 0, "y", 1)]
    assert "99" not in told(found)
    assert found.labels.rows.tolist() == [0, 1, 6, 7, 8, 10]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["a", "", None, "  "], "empty text"),
        ([-1, -1, 0, 1], "scikit-learn"),
        (["-1", " NaN", "a", "b"], "words for 'no value' ('-1', 'NaN')"),
        (["#N/A", "Unlabelled", "a", "b"], "words for 'no value' ('#N/A', 'Unlabelled')"),
        (['["a", "b"]', '{"choices": ["b", "a"]}', "a", "b"], "several choices"),
        (['[{"start": 0}]', '{"label": "a"}', "a", "b"], "JSON, and no list of choices"),
        (pa.array([b"\xff", b"\xfe", b"a", b"b"]).view(pa.string()), "UTF-8"),
    ],
)
def test_values_that_only_look_like_labels(tmp_path: Path, values: Any, text: str) -> None:
    found = seeds_of_column(tmp_path, values)
    assert text in told(found)
    (problem,) = found.problems
    assert problem.rows == 2
    assert problem.hint


def test_negative_classes_may_be_listed(tmp_path: Path) -> None:
    found = seeds_of_column(tmp_path, [-1, 1, None], rule=ClassRule([-1, 1]))
    assert found.problems == ()
    assert found.labels.codes.tolist() == [0, 1]
    listed = seeds_of_column(tmp_path, ["nan", "b", None], rule=ClassRule(["nan", "b"]))
    assert listed.problems == ()


@pytest.mark.parametrize(
    ("values", "classes", "text"),
    [
        ([0, 1], ["0", "1"], "without quotes"),
        (["0", "1"], [0, 1], "in quotes"),
        ([True, False], [0, 1], "true and false"),
        ([0, 1], [False, True], "without quotes"),
        ([0, 1], [0, 0.5], "float"),
        ([0, 1], [0, 1, 1], "twice"),
        ([0, 1], [], "empty"),
    ],
)
def test_classes_of_another_kind_are_refused(
    tmp_path: Path, values: list[Any], classes: list[Any], text: str
) -> None:
    found = seeds_of_column(tmp_path, values, rule=ClassRule(classes))
    assert len(found.problems) == 1
    assert text in told(found)
    assert found.labels.n_seeds == 0


def test_too_few_classes_are_a_matter_of_quality(tmp_path: Path) -> None:
    none = seeds_of_column(tmp_path, pa.nulls(5, pa.string()))
    assert none.problems == ()
    with pytest.raises(QualityError, match="no labelled row among 5") as caught:
        none.require_classes()
    assert caught.value.exit_code == 8
    one = seeds_of_column(tmp_path, ["a", "a", None])
    with pytest.raises(QualityError, match="1 class only, on 2 of 3 rows"):
        one.require_classes()
    one.require_classes(1)
    untyped = seeds_of_column(tmp_path, pa.nulls(5), rule=ClassRule(["a", "b"]))
    assert untyped.labels.classes.tolist() == ["a", "b"]
    with pytest.raises(QualityError, match="no labelled row"):
        untyped.require_classes()


@pytest.mark.parametrize("kept", ["column", "file"])
def test_what_unlabelled_takes_away_is_named(tmp_path: Path, kept: str) -> None:
    rule = ClassRule(unlabelled=["Not Sure", "ham?"])
    labels = ["ham", "not sure", '["NOT SURE"]', "", "ham"]
    data = {"id": range(5)} | ({"y": [one or None for one in labels]} if kept == "column" else {})
    write(tmp_path / "rows" / "0.parquet", data)
    reader, seeds = open_reader(tmp_path / "rows"), None
    if kept == "file":
        lines = ["id,y", *(f"{i},{one!r}" for i, one in enumerate(labels))]
        text = "\n".join(lines).replace('["', '[""').replace('"]', '""]').replace("'", '"')
        seeds = seeds_of_csv(tmp_path, reader, text, rule=rule)
    needs = ColumnNeeds(id="id", label=None if seeds else "y", rule=rule)
    found = scan_input(reader, needs, HERE, seed_file=seeds)
    assert found.seeds is not None
    assert found.seeds.said_none == {"not sure": 2}
    (said,) = [one for one in cautions(found.notes) if "input.unlabelled" in one]
    assert said == "input.unlabelled lists 'ham?', which is no row's label: did you mean 'ham'?"
    with pytest.raises(QualityError, match=r"takes labels away \('not sure': 2\)") as caught:
        found.seeds.require_classes()
    assert "take out of input.unlabelled what is a label" in str(caught.value.problems[0].hint)


def test_what_only_the_truth_needs_of_unlabelled_is_no_matter(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", {"y": ["a", "b", None], "t": ["a", "b", "unsure"]})
    rule = ClassRule(unlabelled=["unsure"])
    for truth, n_said in ((None, 1), ("t", 0)):
        needs = ColumnNeeds(label="y", truth=truth, rule=rule)
        said = cautions(scan_input(open_reader(tmp_path), needs, HERE).notes)
        assert sum("input.unlabelled" in one for one in said) == n_said


def test_labels_too_large_for_int64_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", {"y": pa.array([2**63, 1], pa.uint64())})
    found = scan_input(open_reader(tmp_path), ColumnNeeds(label="y"), HERE)
    assert found.seeds is None
    (problem,) = found.problems
    assert "do not fit int64" in str(problem)
    assert str(2**63) not in str(problem)


# --- a file of labels


def data(folder: Path, ids: Any, *, block_rows: int | None = None) -> ColumnReader:
    half = len(ids) // 2
    write_parts(folder / "data", {"id": ids[:half]}, {"id": ids[half:]}, group_rows=3)
    return open_reader(folder / "data", block_rows=block_rows)


def from_file(folder: Path, name: str, reader: ColumnReader) -> SeedFile:
    id_type = reader.dataset.schema.field("id").type
    return read_label_file(name, id_column="id", label_column="y", base=folder, id_type=id_type)


def joined(reader: ColumnReader, seeds: SeedFile, **options: Any) -> SeedTable:
    return read_seeds(reader, seed_file=seeds, id="id", **options)


BIG = 2**53 + 1
UUIDS = [uuid.UUID(int=7 * 2**100 + i) for i in range(6)]


@pytest.mark.parametrize(
    ("ids", "cells"),
    [
        (pa.array([10, 11, BIG, 13, 14, 15]), ["10", str(BIG), "15"]),
        (pa.array([2**64 - 1 - i for i in range(6)], pa.uint64()), ["18446744073709551615"]),
        (pa.array(["a", "b,c", "007", 'q"', "é", "7"]), ["b,c", "007", 'q"', "é"]),
        (pa.array([u.bytes for u in UUIDS], pa.uuid()), [str(UUIDS[4]), UUIDS[0].hex]),
        (pa.array([u.bytes for u in UUIDS], pa.binary(16)), [str(UUIDS[5])]),
    ],
)
@pytest.mark.parametrize("block_rows", [1, None])
def test_a_csv_file_is_joined_by_exact_ids(
    tmp_path: Path, ids: pa.Array, cells: list[str], block_rows: int | None
) -> None:
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    rows = [f"note,{cell},{i % 2}" for i, cell in enumerate(quoted)]
    reader = data(tmp_path, ids, block_rows=block_rows)
    seeds = seeds_of_csv(tmp_path, reader, "﻿text,id,y\n" + "\n".join(rows) + "\n")
    found = joined(reader, seeds)
    assert found.problems == ()
    assert found.n_unmatched == 0
    known = ids.to_pylist()
    if isinstance(known[0], (bytes, uuid.UUID)):
        texts = [str(u) for u in UUIDS]
        rows_of = [texts.index(str(uuid.UUID(cell))) for cell in cells]
    else:
        rows_of = [list(map(str, known)).index(cell) for cell in cells]
    expected = sorted((row, i % 2) for i, row in enumerate(rows_of))
    labels = found.labels
    assert labels.classes.tolist() == sorted({code for _, code in expected})
    got = [(row, labels.classes[code]) for row, code in zip(labels.rows, labels.codes, strict=True)]
    assert sorted(got) == expected
    assert (np.diff(labels.tags) > 0).all()


@pytest.mark.parametrize(
    ("cells", "classes", "expected"),
    [
        (["0", "1", ""], None, [0, 1]),
        (["true", "False", ""], None, [False, True]),
        (["x", "1", ""], None, ["1", "x"]),
        (["007", "8", ""], None, ["007", "8"]),
        (["0", "1", ""], ["1", "0"], ["1", "0"]),
        ([" 0", " 1", ""], None, [0, 1]),
        (["0.0", "1", ""], None, [0, 1]),
        (["0.0", "1", ""], ["1", "0.0"], ["1", "0.0"]),
        (["NA", "0", ""], ["0", "NA"], ["0", "NA"]),
    ],
)
def test_labels_of_csv_take_their_kind_from_all_cells(
    tmp_path: Path, cells: list[str], classes: list[Any] | None, expected: list[Any]
) -> None:
    lines = [f"{i},{cell}" for i, cell in enumerate(cells)]
    reader = data(tmp_path, pa.array(range(4)))
    content = "id,y\n" + "\n".join(lines)
    seeds = seeds_of_csv(tmp_path, reader, content, rule=ClassRule(classes))
    assert seeds.problems == ()
    assert "rows without a label: 1" in seeds.notes[-1]
    assert joined(reader, seeds, rule=ClassRule(classes)).labels.classes.tolist() == expected


def test_a_parquet_file_of_labels(tmp_path: Path) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    labels = pa.array(["x", None, "y"]).dictionary_encode()
    first = {"id": pa.array([3, 4, 9], pa.int16()), "y": labels}
    write_parts(tmp_path / "y", first, {"y": ["x"], "id": pa.array([0], pa.uint32())})
    seeds = travelled(from_file(tmp_path, "y", reader))
    found = joined(reader, seeds)
    names = found.labels.classes[found.labels.codes].tolist()
    pairs = zip(found.labels.rows.tolist(), names, strict=True)
    assert dict(pairs) == {0: "x", 3: "x", 9: "y"}
    assert len(seeds.identity) == 2
    assert seeds.local_paths == (tmp_path / "y",)


def test_labels_of_a_parquet_file_that_are_no_text_are_counted(tmp_path: Path) -> None:
    texts = pa.array([b"\xff", b"\xfe", b"a", b"b"]).view(pa.string())
    write(tmp_path / "y.parquet", {"id": [1, 2, 3, 4], "y": texts})
    where: dict[str, Any] = {"id_column": "id", "label_column": "y", "id_type": pa.int64()}
    (problem,) = read_label_file("y.parquet", base=tmp_path, **where).problems
    assert "labels that are not valid UTF-8: 2" in str(problem)
    assert problem.rows == 2
    lists = pa.ListArray.from_arrays([0, 1], texts[:1])
    write(tmp_path / "y.parquet", {"id": [1], "y": lists})
    with pytest.raises(InputDataError, match="not valid UTF-8"):
        read_label_file("y.parquet", base=tmp_path, **where)


def test_row_numbers_are_the_ids_of_data_without_ids(tmp_path: Path) -> None:
    reader = data(tmp_path, pa.array(range(100, 110)), block_rows=2)
    seeds = seeds_of_csv(tmp_path, reader, "id,y\n0,a\n9,b\n", id_type=pa.int64())
    found = read_seeds(reader, seed_file=seeds)
    assert found.labels.rows.tolist() == [0, 9]


def test_ids_that_come_twice(tmp_path: Path) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    seeds = seeds_of_csv(tmp_path, reader, "id,y\n1,a\n1,a\n2,b\n")
    assert seeds.problems == ()
    assert "1 id comes more than once with the same label" in seeds.notes[0]
    labels = joined(reader, seeds).labels
    assert (labels.rows.tolist(), labels.codes.tolist()) == ([1, 2], [0, 1])
    seeds = seeds_of_csv(tmp_path, reader, "id,y\n1,a\n2,b\n1,b\n3,a\n3,a\n3,b\n")
    assert "2 ids come with different labels" in told(seeds)
    assert seeds.notes == ()


def test_unmatched_ids_are_an_error_or_a_note(tmp_path: Path) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    content = "id,y\n1,a\n77,b\n78,b\n2,b\n"
    found = joined(reader, seeds_of_csv(tmp_path, reader, content))
    assert found.n_unmatched == 2
    assert "2 of 4 labelled ids are not in the data" in told(found)
    assert "77" not in str(found.problems[0].message)
    lenient = joined(reader, seeds_of_csv(tmp_path, reader, content, allow_unmatched=True))
    assert lenient.problems == ()
    assert "2 of 4 labelled ids" in lenient.notes[0]
    assert lenient.labels.rows.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "options", "text"),
    [
        ("id,y\n1,a\nalice@x,b\n2,b\n", {}, "ids that are no int64: 1"),
        ("id,y\n1.5,a\n2,b\n", {}, "ids that are no int64: 1"),
        (f"id,y\n{2**53 + 2}.0,a\n2,b\n", {}, "ids that are no int64: 1"),
        ("id,y\n99999999999999999999,a\n2,b\n", {}, "ids that are no int64: 1"),
        ("id,y\n,a\n2,b\n", {}, "rows with a label but no id"),
        ("id,y\n1,-1\n2,1\n", {}, "scikit-learn"),
        ("id,y\n1,0.5\n2,1\n", {}, "decimal"),
        ("id,y\n1,0\n2, NA\n3,1\n", {}, "words for 'no value' ('NA'): 1"),
        (
            "id,y\n1,a\n2,c\n",
            {"rule": ClassRule(["a", "b"])},
            "labels that are none of the classes of the job: 1",
        ),
        (
            "id,y\n1,0\n2,x\n",
            {"rule": ClassRule([0, 1])},
            "labels that are not of kind integer, as input.classes is: 1",
        ),
    ],
)
def test_what_is_wrong_in_a_csv_file_is_told_without_cells(
    tmp_path: Path, content: str, options: dict[str, Any], text: str
) -> None:
    seeds = seeds_of_csv(tmp_path, data(tmp_path, pa.array(range(10))), content, **options)
    assert len(seeds.problems) == 1
    assert text in told(seeds)
    assert "y.csv" in told(seeds)
    assert "alice" not in told(seeds)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"ID,y\n1,a\n", "did you mean 'ID'"),
        (b"id,y\n1,a,b\n", "lines without the 2 cells of the header: 1"),
        (b"id,y\n1,\xff\n", "not UTF-8"),
        (b'id,y\n1,"a\n', "no valid CSV"),
        (b"", "missing in the labels"),
        (
            b"# from tool; 7\nid,y\n1,a\n",
            "must be the header, with the columns id and y",
        ),
        (b"1115,ham\n1,a\n", "first line must be the header"),
        (b"id,y,y\n1,a,b\n", "more than once"),
        (b"id;y\n1;a\n", "semicolons between them; .* commas"),
        (b'"id";"y"\r\n1;"0,5"\r\n', "semicolons"),
        (b"id\ty\n1\ta\n", "tabs"),
    ],
)
def test_a_csv_file_that_cannot_be_used(tmp_path: Path, content: bytes, text: str) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    with pytest.raises(InputDataError, match=text):
        seeds_of_csv(tmp_path, reader, content)


def test_ids_that_became_floats_and_lines_of_blanks(tmp_path: Path) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    seeds = seeds_of_csv(tmp_path, reader, "id,y\n1.0,a\n2.,b\n3,a\n\n  \n")
    assert seeds.problems == ()
    assert seeds.ids.to_pylist() == [1, 2, 3]


def test_a_missing_file_of_labels(tmp_path: Path) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    for name in ("nowhere.csv", "nowhere.parquet"):
        with pytest.raises(InputDataError, match="not found"):
            from_file(tmp_path, name, reader)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"id": ["1"], "y": ["a"]}, "what it names in the data is int64"),
        ({"id": [1.0], "y": ["a"]}, "ids are integers"),
        ({"id": [1], "y": [0.5]}, "labels are integers"),
        ({"id": pa.array([2**63], pa.uint64()), "y": ["a"]}, "do not fit int64"),
        ({"key": [1], "y": ["a"]}, "no such column"),
    ],
)
def test_parquet_labels_of_the_wrong_type(
    tmp_path: Path, columns: dict[str, Any], text: str
) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    write(tmp_path / "y.parquet", columns)
    with pytest.raises(InputDataError, match=text):
        from_file(tmp_path, "y.parquet", reader)


def test_one_source_of_labels(tmp_path: Path) -> None:
    reader = data(tmp_path, pa.array(range(10)))
    seeds = seeds_of_csv(tmp_path, reader, "id,y\n1,a\n2,b\n")
    with pytest.raises(JobSpecError, match="column and from a file"):
        read_seeds(reader, label="id", seed_file=seeds)


# --- truth


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [
        (pa.array([1, None, 7, 0], pa.int8()), np.array([1, 0]), [0, -1, -2, 1]),
        (pa.array(["a", None, "z", "b"]), np.array(["b", "a"], object), [1, -1, -2, 0]),
        (pa.array(["z", "z"]).dictionary_encode(), np.array(["b", "a"], object), [-2, -2]),
        (pa.array([-1, -5, 1]), np.array([0, 1]), [-1, -2, 1]),
        (pa.array([-1, 0, 1]), np.array([-1, 1]), [0, -2, 1]),
        (pa.array(["", " ", "nan", "a"]), np.array(["a", "b"], object), [-1, -1, -1, 0]),
        (pa.array(["nan", "-1", "b"]), np.array(["nan", "b"], object), [0, -1, 1]),
        (pa.array([b"\xff", b"a"]).view(pa.string()), np.array(["a", "b"], object), [-2, 0]),
        (pa.array([False, None]), np.array([True]), [-2, -1]),
        (pa.array([True, None, False, True]), np.array([False, True]), [1, -1, 0, 1]),
        (pa.nulls(4), np.array(["a"], object), [-1, -1, -1, -1]),
    ],
)
def test_truth_codes(
    tmp_path: Path, values: pa.Array, classes: np.ndarray, expected: list[int]
) -> None:
    write(tmp_path / "a.parquet", {"t": values})
    codes = truth_codes(open_reader(tmp_path), 0, "t", classes)
    assert codes.dtype == np.int32
    assert codes.tolist() == expected


def test_a_truth_that_stands_for_no_label_is_not_known(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"t": pa.array([0, 1, 2, 9])})
    codes = truth_codes(open_reader(tmp_path), 0, "t", np.array([1, 2]), [0])
    assert codes.tolist() == [-1, 0, 1, -2]
    known, (other, without) = ClassRule(unlabelled=[0]).judge_truth(
        "t", {0: 5, 1: 3, 9: 1}, np.array([1, 2])
    )
    assert (known, other.split()[2], without.split()[2]) == (3, "1", "5")


def test_truth_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"t": ["a"]})
    with pytest.raises(InputDataError, match="classes are int64"):
        truth_codes(open_reader(tmp_path), 0, "t", np.array([0, 1]))


@pytest.mark.parametrize("kind", [pa.uint8(), pa.uint16(), pa.uint32()])
def test_minus_one_that_an_unsigned_type_wrapped_is_refused(
    tmp_path: Path, kind: pa.DataType
) -> None:
    wrapped = 2**kind.bit_width - 1
    column = pa.array([0, 1, wrapped, wrapped], kind)
    write_parts(tmp_path / "data", {"id": [0, 1, 2, 3], "y": column})
    write(tmp_path / "y.parquet", {"id": [0, 1, 2, 3], "y": column})
    text = f"has {wrapped} in 2 rows, which -1 for 'unlabelled' becomes in {kind}"
    found = scan_input(open_reader(tmp_path / "data"), ColumnNeeds(label="y"), HERE).problems
    with pytest.raises(InputDataError) as caught:
        read_label_file(
            "y.parquet", id_column="id", label_column="y", base=tmp_path, id_type=pa.int64()
        )
    for (problem,) in (found, caught.value.problems):
        assert (problem.message, problem.column) == (text, "y")
        assert f"list {wrapped} in input.unlabelled" in (problem.hint or "")
    allowed = seeds_of_column(tmp_path / "none", column, rule=ClassRule(unlabelled=[wrapped]))
    assert allowed.labels.rows.tolist() == [0, 1]
    named = seeds_of_column(tmp_path / "class", column, rule=ClassRule([0, 1, wrapped]))
    assert named.labels.codes.tolist() == [0, 1, 2, 2]
    wide = seeds_of_column(tmp_path / "wide", column.cast(pa.int64()))
    assert wide.labels.classes.tolist() == [0, 1, wrapped]
