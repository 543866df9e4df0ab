"""What stands for no label, what is one of several choices, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from ssl_dask.errors import cautions
from ssl_dask.job_file import load_job
from ssl_dask.label_words import stands_for_nothing
from ssl_dask.pipeline.commands.draft import draft_job
from ssl_dask.storage.checks.column_check import ColumnNeeds
from ssl_dask.storage.checks.input_check import scan_input
from ssl_dask.storage.ids.id_hash import entity_keys
from ssl_dask.storage.input.arrow_to_numpy import said_none
from ssl_dask.storage.labels.label_rules import ClassRule
from ssl_dask.storage.labels.number_rule import NumberRule
from ssl_dask.storage.labels.true_labels import truth_codes
from ssl_dask.storage.result.result_schema import label_schema
from tests.parquet_samples import (
    HERE,
    open_reader,
    read_seeds,
    seeds_of_column,
    seeds_of_csv,
    told,
    write,
)

WORDS = ["NA", "n/a", "NULL", "#N/A", "?", "-", "\\N", "NaT", "undefined", " Unknown ", "-1.0"]
WORDS += ["unlabeled", "NONE", "nan", "\u00a0", "\u2014", "N\u200bA"]
WORDS += ["TBD", "todo", "pending", "not set", "No answer", "#N/A N/A", "????", "----", "..."]
WORDS += ["\u2013\u2013", "unlabeled.", "N\\A", "-9", "-99", "-9999", " -999 ", "n.a."]
WORDS += ["no_label", "not-labeled", "\u22121", "-1e0", "''", "NULL;", "--null--", "_", "~", "#N/D"]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_nothing_is_refused_or_read_as_no_label(tmp_path: Path, word: str) -> None:
    values = ["a", word, None, "b", word]
    found = seeds_of_column(tmp_path, values)
    assert sum(problem.rows or 0 for problem in found.problems) == 2
    assert "input.unlabelled" in told(found)
    assert "input.classes" in told(found)
    known = seeds_of_column(tmp_path, values, rule=ClassRule(unlabelled=[word.strip().upper()]))
    assert known.problems == ()
    assert known.labels.rows.tolist() == [0, 3]
    assert "rows whose label says that there is none: 2" in known.notes[-1]
    listed = seeds_of_column(tmp_path, values, rule=ClassRule(["a", "b", word]))
    assert listed.problems == ()
    assert listed.labels.codes.tolist() == [0, 2, 1, 2]


def test_numbers_may_stand_for_no_label(tmp_path: Path) -> None:
    found = seeds_of_column(tmp_path, [0, 2, -1, 1, None], rule=ClassRule(unlabelled=[0, -1]))
    assert found.problems == ()
    assert found.labels.classes.tolist() == [1, 2]
    assert found.labels.rows.tolist() == [1, 3]
    values = seeds_of_column(tmp_path, [0.0, 2.5, None, -999.0], rule=NumberRule([-999, 0]))
    assert values.labels.classes.tolist() == [2.5]
    assert values.labels.rows.tolist() == [1]


def test_a_word_does_not_change_the_kind_of_the_labels(tmp_path: Path) -> None:
    write(tmp_path / "d.parquet", {"id": range(6)})
    reader = open_reader(tmp_path)
    content = "id,y\n0,1\n1,2\n2,NA\n3, n/a\n4,\n"
    refused = seeds_of_csv(tmp_path, reader, content)
    assert "words for 'no value' ('NA', 'n/a'): 2" in told(refused)
    rule = ClassRule(unlabelled=["na", "N/A"])
    seeds = seeds_of_csv(tmp_path, reader, content, rule=rule)
    assert seeds.problems == ()
    assert seeds.values == (1, 2)
    assert "rows without a label: 3" in seeds.notes[0]
    mixed = seeds_of_csv(tmp_path, reader, "id,y\n0,1\n1,2\n2,x\n")
    assert mixed.values == ("1", "2", "x")
    (warning,) = cautions(mixed.notes)
    assert "2 labels are whole numbers and 1 are not, so all are read as text" in warning
    assert warning in read_seeds(reader, seed_file=mixed, id="id").notes


def test_integers_with_gaps_are_no_floats(tmp_path: Path) -> None:
    floats = pa.array([1.0, None, 2.0, float("nan")], pa.float32(), from_pandas=False)
    found = seeds_of_column(tmp_path, floats, [3, None])
    assert found.problems == ()
    assert found.labels.classes.dtype == np.int64
    assert found.labels.classes.tolist() == [1, 2, 3]
    assert found.labels.rows.tolist() == [0, 2, 4]


CHOICES = ['{"choices": ["ham"]}', '["spam"]', "[]", '{"choices":[]}', "ham"]


@pytest.mark.parametrize(
    "values",
    [CHOICES, pa.array(CHOICES).dictionary_encode(), [["ham"], ["spam"], [], [None], ["ham"]]],
)
def test_one_choice_of_an_annotation_tool_is_a_label(tmp_path: Path, values: Any) -> None:
    found = seeds_of_column(tmp_path, values)
    assert found.problems == ()
    assert found.labels.classes.tolist() == ["ham", "spam"]
    assert found.labels.rows.tolist() == [0, 1, 4]
    assert found.labels.codes.tolist() == [0, 1, 0]


def test_choices_in_a_file_of_labels(tmp_path: Path) -> None:
    write(tmp_path / "d.parquet", {"id": range(6)})
    reader = open_reader(tmp_path)
    cells = ['"{""choices"":[""1""]}"', '"[""2""]"', "[]", "2"]
    content = "id,y\n" + "\n".join(f"{i},{cell}" for i, cell in enumerate(cells))
    seeds = seeds_of_csv(tmp_path, reader, content)
    assert seeds.problems == ()
    assert seeds.values == (1, 2)
    assert seeds.ids.to_pylist() == [0, 1, 3]
    several = seeds_of_csv(tmp_path, reader, content + '\n4,"[""1"", ""2""]"\n')
    (problem,) = several.problems
    assert "several choices in one JSON list: 1" in str(problem)
    assert problem.hint is not None
    assert "keep one choice" in problem.hint
    listed = ClassRule(['["2"]', '{"choices":["1"]}', "2", "[]"])
    assert len(seeds_of_csv(tmp_path, reader, content, rule=listed).ids) == 4


def test_rows_that_all_have_a_label_are_warned_of(tmp_path: Path) -> None:
    (warning,) = cautions(seeds_of_column(tmp_path, [0] * 19 + [1]).notes)
    assert "Every row has a label already" in warning
    assert "19 labels are '0'" in warning
    assert 'input.unlabelled: ["0"]; two other classes' in warning
    (warning,) = cautions(seeds_of_column(tmp_path, ["a", "b"] * 10 + [None]).notes)
    assert "Of 21 rows only 1 have no label" in warning
    assert cautions(seeds_of_column(tmp_path, ["a", "b", None]).notes) == ()


@pytest.mark.parametrize("word", ["no", "#1", "a: [b", 'say "x"', "*x", "x\\y"])
def test_the_list_that_a_warning_gives_is_yaml(tmp_path: Path, word: str) -> None:
    values = [word] * 97 + ["ham", "spam", "ham"]
    (warning,) = cautions(seeds_of_column(tmp_path, values).notes)
    said = warning.partition("input.")[2].rpartition("; two other")[0]
    listed = yaml.safe_load(said)["unlabelled"]
    assert listed == [word]
    found = seeds_of_column(tmp_path, values, rule=ClassRule(unlabelled=listed))
    assert found.labels.rows.tolist() == [97, 98, 99]


def test_a_truth_may_be_a_choice_or_a_word(tmp_path: Path) -> None:
    truth = ["a", '["b"]', "N/A", "[]", "c"]
    write(tmp_path / "0.parquet", {"y": ["a", "b", None, None, None], "t": truth})
    reader = open_reader(tmp_path)
    assert read_seeds(reader, label="y", truth="t").problems == ()
    codes = truth_codes(reader, 0, "t", np.array(["a", "b"], object))
    assert codes.tolist() == [0, 1, -1, -1, -2]


@pytest.mark.parametrize("block_rows", [40_000, 16_000, 7_000])
def test_a_truth_of_very_many_values_is_counted_in_full(tmp_path: Path, block_rows: int) -> None:
    truth = [f"v{row}" for row in range(30_000)] + ["b", "b", "a", "a", "b", "c"] * 20
    labels = ["a", "b"] + [None] * (len(truth) - 2)
    write(tmp_path / "0.parquet", {"y": labels, "t": truth})
    reader = open_reader(tmp_path, block_rows=block_rows)
    found = scan_input(reader, ColumnNeeds(label="y", truth="t"), HERE)
    assert found.n_truth == 100
    assert any("30,020 rows have a truth that is none" in note for note in found.notes)


def test_rare_classes_of_a_truth_of_very_many_values_are_counted(tmp_path: Path) -> None:
    truth = [f"v{row}" for row in range(36_000)]
    truth[10_500::12_000] = ["a", '["b"]', "N/A"]
    truth[11_700::12_000] = ["b", "unsure", "a"]
    labels = ["a", "b"] + [None] * (len(truth) - 2)
    write(tmp_path / "0.parquet", {"y": labels, "t": truth})
    for block_rows in (40_000, 12_000, 5_000):
        reader = open_reader(tmp_path, block_rows=block_rows)
        for classes in (None, ("a", "b")):
            needs = ColumnNeeds(label="y", truth="t", rule=ClassRule(classes, ("unsure",)))
            found = scan_input(reader, needs, HERE)
            assert found.n_truth == 4
            assert any("35,994 rows have a truth that is none" in note for note in found.notes)
            assert any("2 rows hold empty text, -1 or the" in note for note in found.notes)
            assert cautions(found.notes) == ()


def test_names_that_look_alike_are_told_apart(tmp_path: Path) -> None:
    names = ["caf\u00e9", "cafe\u0301", "ham", "ham\u200b", None]
    (alike,) = cautions(seeds_of_column(tmp_path, names).notes)
    assert "'cafe\\u0301' and 'caf\\xe9', 'ham' and 'ham\\u200b'" in alike


def test_the_result_has_whole_numbers_where_the_input_has_floats() -> None:
    for kind in (pa.float64(), "double"):
        schema = label_schema(pa.schema([]), None, [], np.array([1, 2]), kind, {})
        assert schema.added[0].type == pa.int64()
    names = np.array(["a", "b"], object)
    for choices in (pa.list_(pa.string()), str(pa.large_list(pa.string()))):
        schema = label_schema(pa.schema([]), None, [], names, choices, {})
        assert schema.added[0].type == pa.string()


def test_words_for_nothing_join_no_rows(tmp_path: Path) -> None:
    cards = ["c1", "NA", None, "c1", " Unknown", "", "na"]
    write(tmp_path / "0.parquet", {"card": cards, "device": [1, -1, 2, -1, 1, 3, None]})
    reader = open_reader(tmp_path)
    needs = ColumnNeeds(entities=("card", "device"))
    card, device = cautions(scan_input(reader, needs, HERE).notes)
    assert "Of 7 rows 4 hold a word for 'no value' in 'card'" in card
    assert "2 hold a word for 'no value' in 'device'" in device
    wrapped = {
        "u1": pa.array([255, 7], pa.uint8()),
        "u8": pa.array([2**64 - 1, 7], pa.uint64()),
        "text": ["4294967295", "-1.0"],
        "wide": [255, 4294967295],
    }
    write(tmp_path / "wrapped" / "0.parquet", wrapped)
    others = open_reader(tmp_path / "wrapped")
    found = [HERE.compute(entity_keys(others, name))[0][1].tolist() for name in wrapped]
    assert found == [[False, True], [False, True], [False, False], [True, True]]
    keys, valid = HERE.compute(entity_keys(reader, "card"))[0]
    assert valid.tolist() == [True, False, False, True, False, False, False]
    assert keys[0] == keys[3] != 0


def test_a_column_and_python_know_the_same_words() -> None:
    words = ["NA", " n/a", "unlabeled.", "????", "", " \t"]
    words += ["N/A\u200b", "not  known", "\uff2e\uff21", "NA\0"]
    values = ["c1", "no", "0", "NAN1", "not  now"]
    for kind in (pa.string(), pa.large_string()):
        cells = pa.chunked_array([pa.array(words, kind), pa.array([*values, None], kind)])
        assert said_none(cells).tolist() == [True] * len(words) + [False] * (len(values) + 1)
    assert all(map(stands_for_nothing, words))
    assert not any(map(stands_for_nothing, values))


def test_words_are_known_beside_bytes_that_are_no_text() -> None:
    cells = pa.array([b" NA ", b"\xff", None, b"c1", b"????", b"tbd."]).view(pa.string())
    assert said_none(cells).tolist() == [True, False, False, False, True, True]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (["1", "2", "unknown", "unknown"] * 25, "unlabelled: [unknown]"),
        (["a", "b", "?", "N/A"] * 25, 'unlabelled: ["?", N/A]'),
        ([0.0, 1.0, None, None] * 25, "null = unlabelled"),
        ([0, 1, -1, -1] * 25, 'unlabelled: ["-1"]'),
    ],
)
def test_a_draft_lists_the_words_that_it_sees(tmp_path: Path, values: Any, line: str) -> None:
    write(tmp_path / "d.parquet", {"id": range(100), "x": np.arange(100) / 7, "class": values})
    text = draft_job(str(tmp_path / "d.parquet"), relative_to=tmp_path)
    assert "  label: class" in text
    assert line in text
    job = load_job(_written(tmp_path / "job.yaml", text))
    rule = ClassRule(unlabelled=job.input.unlabelled)
    found = read_seeds(open_reader(tmp_path), rule=rule, label="class")
    assert found.problems == ()
    assert found.labels.n_seeds == 50


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
