"""Labels that are numbers: columns and files of labels, what is refused, where, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ssl_dask.errors import InputDataError, QualityError, cautions
from ssl_dask.labels import NumberLabels
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.checks.input_check import InputScan, scan_input
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.labels.number_rule import NumberRule
from ssl_dask.storage.labels.seed_labels import SeedTable
from ssl_dask.storage.labels.true_labels import true_numbers
from tests.parquet_samples import (
    HERE,
    open_reader,
    read_seeds,
    seeds_of_column,
    seeds_of_csv,
    told,
    write,
)

NUMBERS = NumberRule()


def from_column(folder: Path, *parts: Any, block_rows: int | None = None) -> SeedTable:
    return seeds_of_column(folder, *parts, rule=NUMBERS, block_rows=block_rows)


def scanned(reader: ColumnReader, **needs: Any) -> InputScan:
    return scan_input(reader, ColumnNeeds(label="y", rule=NUMBERS, **needs), HERE)


@pytest.mark.parametrize(
    "kind", [pa.float64(), pa.float32(), pa.int8(), pa.uint64(), pa.decimal128(9, 2)]
)
@pytest.mark.parametrize("block_rows", [3, None])
def test_any_type_of_number_is_read_exactly(
    kind: pa.DataType, block_rows: int | None, tmp_path: Path
) -> None:
    numbers = [3, None, 1, 3, None, 120, 7, 0]
    wide = pa.decimal128(30, 2) if pa.types.is_decimal(kind) else kind
    column = pa.array(numbers).cast(wide).cast(kind)
    found = from_column(tmp_path, column, block_rows=block_rows)
    assert not found.problems
    labels = NumberLabels.of(found.labels)
    assert labels.rows.tolist() == [0, 2, 3, 5, 6, 7]
    assert labels.values.dtype == np.float64
    assert labels.values.tolist() == [3, 1, 3, 120, 7, 0]
    found.require_numbers()


def test_negative_numbers_and_fractions_are_labels(tmp_path: Path) -> None:
    found = from_column(tmp_path, [-1.0, 0.1, None, -0.0], [0.0, 1e-300, None])
    assert not found.problems
    values = NumberLabels.of(found.labels).values
    assert values.tolist() == [-1.0, 0.1, 0.0, 0.0, 1e-300]
    assert not np.signbit(values[2:]).any()


def test_numbers_that_are_none_are_told_by_row_group(tmp_path: Path) -> None:
    nan = pa.array([1.0, float("nan"), None, 2.0, float("inf"), float("nan")], from_pandas=False)
    found = from_column(tmp_path, nan, [5.0, float("-inf"), -1e101])
    text = told(found)
    assert "0.parquet, row group 0, column 'y': labels that are NaN: 1" in text
    assert "0.parquet, row group 1, column 'y': labels that are NaN: 1" in text
    assert "1.parquet, row group 0, column 'y': labels that are infinite: 1" in text
    assert "column 'y': labels beyond 1e100: 1" in text
    assert "write null where a row is unlabelled" in text
    assert "5.0" not in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["1.5", None], "is string; the labels of this method are numbers"),
        ([True, None], "take a method whose labels are classes"),
        (pa.array([b"x"]), "name another column as the label"),
    ],
)
def test_other_types_are_refused_with_a_cure(values: Any, words: str, tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", {"y": values})
    dataset = open_reader(tmp_path).dataset
    (problem,) = check_columns(dataset, ColumnNeeds(label="y", rule=NUMBERS))
    assert words in str(problem)
    (as_class,) = check_columns(dataset, ColumnNeeds(label="y", truth="y")) or [None]
    assert as_class is None or "number" not in str(as_class)


def test_decimal_numbers_as_classes_point_to_the_method(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", {"y": [1.5, None]})
    found = scan_input(open_reader(tmp_path), ColumnNeeds(label="y"), HERE)
    (problem,) = found.problems
    assert "numbers that are not whole" in str(problem)
    assert "harmonic_regression" in str(problem)


def test_integers_that_float64_does_not_hold_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", {"y": pa.array([2**53 + 1, None, 4])})
    found = scanned(open_reader(tmp_path))
    assert "do not fit double" in str(found.problems[0])
    assert str(2**53 + 1) not in str(found.problems[0])


@pytest.mark.parametrize(
    ("values", "words"),
    [([None, None, 3.0], "one and the same"), (pa.nulls(4, pa.float64()), "no")],
)
def test_numbers_that_tell_nothing_are_a_matter_of_quality(
    values: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(QualityError, match=words) as error:
        from_column(tmp_path, values).require_numbers()
    assert error.value.exit_code == 8


def test_entries_of_unlabelled_that_numbers_never_are_are_warned_of(tmp_path: Path) -> None:
    rule = NumberRule([-999, -1.0])
    write(tmp_path / "0.parquet", {"y": [1.0, None, -999.0], "t": [1.0, 2.0, -1.0]})
    found = scan_input(open_reader(tmp_path), ColumnNeeds(label="y", rule=rule), HERE)
    (said,) = [one for one in cautions(found.notes) if "input.unlabelled" in one]
    assert said.startswith("input.unlabelled lists -1.0, which is no row's label")
    assert found.seeds is not None
    with pytest.raises(QualityError, match=r"takes labels away \('-999': 1\); at least") as error:
        found.seeds.require_numbers()
    assert "take out of input.unlabelled" in str(error.value.problems[0].hint)
    # It may be what the truth needs.
    of_truth = ColumnNeeds(label="y", truth="t", rule=rule)
    assert "lists -1.0" not in str(scan_input(open_reader(tmp_path), of_truth, HERE).notes)


def test_a_csv_file_of_numbers_is_joined_by_id(tmp_path: Path) -> None:
    write(tmp_path / "data" / "0.parquet", {"id": [5, 3, 9, 7, 1]}, group_rows=2)
    reader = open_reader(tmp_path / "data", block_rows=2)
    seeds = seeds_of_csv(tmp_path, reader, "id,y\n9, 2.5\n3,-1e3\n7,\n1,.5\n9,2.5\n", rule=NUMBERS)
    assert not seeds.problems
    assert seeds.kind == "number"
    labels = NumberLabels.of(read_seeds(reader, rule=NUMBERS, id="id", seed_file=seeds).labels)
    assert dict(zip(labels.rows.tolist(), labels.values.tolist(), strict=True)) == {
        1: -1000.0,
        2: 2.5,
        4: 0.5,
    }


def test_what_is_wrong_in_a_csv_file_is_told_without_cells(tmp_path: Path) -> None:
    write(tmp_path / "data" / "0.parquet", {"id": [1, 2, 3, 4]})
    reader = open_reader(tmp_path / "data")
    seeds = seeds_of_csv(
        tmp_path, reader, 'id,y\n1,"3,75"\n2,nan\n3,1e999\n4,1\n4,2\n', rule=NUMBERS
    )
    text = told(seeds)
    assert "labels that are no numbers: 1" in text
    assert "words for 'no value' ('nan'): 1" in text
    assert "labels that are infinite: 1" in text
    assert "1 id comes with different labels" in text
    assert "3,75" not in text


def test_a_truth_of_numbers(tmp_path: Path) -> None:
    truth = pa.array([1, None, float("nan"), 4, float("inf"), 6], pa.float64(), from_pandas=False)
    write(tmp_path / "0.parquet", {"y": [1.0, None, None, 2.0, None, None], "t": truth})
    reader = open_reader(tmp_path)
    found = scanned(reader, truth="t")
    assert not found.problems
    assert found.n_truth == 3
    assert any("2 rows hold NaN, infinity" in note for note in found.notes)
    nan = np.nan
    np.testing.assert_array_equal(true_numbers(reader, 0, "t", NUMBERS), [1, nan, nan, 4, nan, 6])
    write(tmp_path / "text" / "0.parquet", {"y": [1.0, None], "t": ["a", "b"]})
    dataset = open_reader(tmp_path / "text").dataset
    needs = ColumnNeeds(label="y", truth="t", rule=NumberRule())
    with pytest.raises(InputDataError, match="numbers"):
        raise InputDataError(check_columns(dataset, needs))


def test_a_truth_is_counted_and_scored_by_one_rule(tmp_path: Path) -> None:
    rule, truth = NumberRule([-999, "0.5", "NA"]), [-999.0, 0.5, 2.0, 1e101, -1e100, 2.0]
    write(tmp_path / "0.parquet", {"y": [1.0, 3.0, None, None, None, None], "t": truth})
    reader = open_reader(tmp_path)
    found = scan_input(reader, ColumnNeeds(label="y", truth="t", rule=rule), HERE)
    assert found.n_truth == 3
    assert any("column 't': 3 rows hold" in note for note in found.notes)
    nan = np.nan
    np.testing.assert_array_equal(
        true_numbers(reader, 0, "t", rule), [nan, nan, 2.0, nan, -1e100, 2.0]
    )
    assert [rule.verdict(one).label is not None for one in truth] == [
        *(False, False, True),
        *(False, True, True),
    ]
