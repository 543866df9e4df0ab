from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dask import delayed
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import InputDataError, JobSpecError, StorageError
from ssl_dask.execution import Execution
from ssl_dask.storage.result import part_writer
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.result.result_schema import (
    LABELS,
    NUMBERS,
    REVIEW,
    ResultSchema,
    label_schema,
    number_schema,
    refuse_names,
    review_schema,
)
from ssl_dask.storage.runs.manifest import fingerprint, new_run_id, part_name
from ssl_dask.storage.runs.run_folder import OutputFolder
from tests.faults.made_rows import all_of_class

SOURCES = ("none", "seed", "propagated")
TEXTS = {"source": SOURCES, "reason": ("none", "tie", "low_mass")}
RUN = "20260102T030405678901Z-0123abcd"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    for folder in ("labels", "review"):
        (tmp_path / folder).mkdir()
    return tmp_path


Arrays = dict[str, npt.NDArray[Any]]


def schema_of(
    classes: Any, label_type: Any = None, *fields: pa.Field, probabilities: bool = False
) -> ResultSchema:
    """The first of `fields` is the id, the others are kept."""
    schema = pa.schema(fields or [("id", pa.int64())])
    id_column, *kept = schema.names
    return label_schema(
        schema, id_column, kept, np.asarray(classes), label_type, TEXTS, probabilities=probabilities
    )


def some_rows() -> Arrays:
    return {
        "label": np.array([1, -1, 0, 1], np.int32),
        "probability": np.array([1, np.nan, 0.25, 0.5], np.float32),
        "margin": np.array([1, np.nan, 0, 0.125], np.float32),
        "source": np.array([1, 0, 2, 2], np.uint8),
        "reason": np.array([0, 2, 1, 0], np.uint8),
    }


def read(stage: Path, record: Any) -> pa.Table:
    return pq.ParquetFile(
        stage / record.folder / record.attempt, page_checksum_verification=True
    ).read()


def test_a_part_holds_what_was_decided(stage: Path) -> None:
    table = pa.table({"payload": ["a", None, "c", "d"], "id": pa.array([4, 3, 2**60 + 1, 1])})
    fields = pa.field("id", pa.int64()), pa.field("payload", pa.string())
    schema = pickle.loads(pickle.dumps(schema_of([0, 7], None, *fields, probabilities=True)))  # noqa: S301
    assert schema.probability_names == ["p_0", "p_7"]
    p = np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2)
    rows = some_rows() | {"p_0": p[:, 0], "p_7": p[:, 1]}
    record = write_part(stage, RUN, 3, table, rows, schema)
    assert (record.folder, record.block, record.rows) == ("labels", 3, 4)
    assert record.name == f"part-00003-{RUN}.parquet"
    assert read(stage, record).to_pydict() == {
        "id": [4, 3, 2**60 + 1, 1],
        "payload": ["a", None, "c", "d"],
        "label": [7, None, 0, 7],
        "probability": [1.0, None, 0.25, 0.5],
        "source": ["seed", None, "propagated", "propagated"],
        "reason": [None, "low_mass", "tie", None],
        "margin": [1.0, None, 0.0, 0.125],
        "p_0": pytest.approx([0, 2 / 7, 4 / 7, 6 / 7]),
        "p_7": pytest.approx([1 / 7, 3 / 7, 5 / 7, 1]),
    }
    assert read(stage, record).schema.types[2:] == [
        pa.int64(),
        pa.float32(),
        pa.string(),
        pa.string(),
        *[pa.float32()] * 3,
    ]


@pytest.mark.parametrize(
    ("classes", "label_type", "stored"),
    [
        (np.array([0, 7]), "int32", pa.int32()),
        (np.array([0, 2**64 - 1], np.uint64), "uint64", pa.uint64()),
        (np.array([False, True]), "bool", pa.bool_()),
        (np.array(["bad", "good"], object), "large_string", pa.large_string()),
        (np.array(["bad", "good"], object), None, pa.string()),
        (
            np.array(["bad", "good"], object),
            "dictionary<values=string, indices=int8, ordered=0>",
            pa.dictionary(pa.int32(), pa.string()),
        ),
        (np.array([3, 4]), pa.dictionary(pa.int8(), pa.int16()), pa.int16()),
    ],
)
def test_labels_keep_the_type_of_the_input(
    stage: Path, classes: Any, label_type: Any, stored: pa.DataType
) -> None:
    schema = schema_of(classes, label_type)
    ids = pa.table({"id": [1, 2, 3, 4]})
    label = read(stage, write_part(stage, RUN, 0, ids, some_rows(), schema))["label"]
    assert label.type == stored
    assert label.to_pylist() == [classes[1], None, classes[0], classes[1]]


def test_classes_that_do_not_fit_the_type_are_refused() -> None:
    with pytest.raises(ValueError, match="int8"):
        schema_of([1, 300], "int8")


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1, 2**64 - 1, 3, 4], pa.uint64()),
        pa.array(["a", "", "ä", "1"], pa.large_string()),
        pa.array([b"\xff", b"", b"a", b"b"], pa.binary()),
        pa.array([bytes([i]) * 16 for i in range(4)], pa.binary(16)),
        pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([bytes([i]) * 16 for i in range(4)], pa.binary(16))
        ),
        pa.array([1, 2, 3, 4], pa.int8()),
    ],
)
def test_ids_are_kept_exactly(stage: Path, ids: pa.Array) -> None:
    key = pa.field("key", ids.type, metadata={"PARQUET:field_id": "7"})
    schema = schema_of([0, 7], None, key)
    record = write_part(stage, RUN, 0, pa.table({"key": ids}), some_rows(), schema)
    stored = read(stage, record)["key"]
    assert stored.type == ids.type
    assert stored.to_pylist() == ids.to_pylist()


def test_a_file_says_what_its_columns_mean_and_of_which_run_it_is(stage: Path) -> None:
    table = pa.table({"id": [1, 2, 3, 4]}).replace_schema_metadata({"pandas": "{}"})
    record = write_part(stage, RUN, 0, table, some_rows(), schema_of([0, 7]))
    found = pq.read_schema(stage / "labels" / record.attempt)
    assert found.metadata[b"ssl_dask.run_id"].decode() == RUN
    assert b"pandas" not in found.metadata
    for name, meaning in json.loads(found.metadata[b"ssl_dask.columns"]).items():
        assert found.field(name).metadata[b"description"].decode() == meaning
    assert "abstained" in found.field("label").metadata[b"description"].decode()


def test_a_bit_that_flips_on_the_disk_is_noticed_by_readers_that_check(stage: Path) -> None:
    n_rows = 2000
    ids = np.random.default_rng(0).integers(0, 2**62, n_rows)
    rows = all_of_class(0, n_rows)
    record = write_part(stage, RUN, 0, pa.table({"id": ids}), rows, schema_of([0, 7]))
    path = stage / "labels" / record.attempt
    start = pq.read_metadata(path).row_group(0).column(0).dictionary_page_offset or 4
    content = bytearray(path.read_bytes())
    content[start + 5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        read(stage, record)


def test_a_review_part_carries_what_a_person_needs(stage: Path) -> None:
    queue = {
        "row": np.array([9, 5]),
        "predicted": np.array([-1, 1], np.int32),
        "probability": np.array([0, 0.5], np.float32),
        "margin": np.array([0, 0.25], np.float32),
        "reason": np.array([1, 0], np.uint8),
        "review_kind": np.array([0, 1], np.uint8),
        "nearest_seed": np.array([1, 0]),
        "nearest_seed_label": np.array([0, 1], np.int32),
        "nearest_seed_distance": np.array([2, 1], np.float32),
        "rank": np.array([1, 2]),
    }
    rows = pa.table({"id": ["x", "y"], "amount": [3, 4]})
    labels = schema_of([0, 7], None, pa.field("id", pa.string()), pa.field("amount", pa.int64()))
    schema = review_schema(labels, pa.array(["r", "s"]), ["random", "far"])
    record = write_part(stage, RUN, 1, rows, queue, schema)
    assert record.folder == "review"
    assert read(stage, record).to_pydict() == rows.to_pydict() | {
        "row": [9, 5],
        "predicted": [None, 7],
        "probability": [0.0, 0.5],
        "margin": [0.0, 0.25],
        "reason": ["tie", None],
        "review_kind": ["random", "far"],
        "nearest_seed": ["s", "r"],
        "nearest_seed_label": [0, 7],
        "nearest_seed_distance": [2.0, 1.0],
        "rank": [1, 2],
    }
    by_number = label_schema(pa.schema([]), None, [], np.array([0, 7]), None, TEXTS)
    numbered = review_schema(by_number, pa.array([3, 4]), ["random", "far"])
    table = pa.table({"row": [queue.pop("row")[0], 5]})
    names = read(stage, write_part(stage, RUN, 0, table, queue, numbered)).column_names
    assert names == ["row", *queue]


def test_a_part_of_numbers_holds_intervals(stage: Path) -> None:
    rows = {
        "value": np.array([1.5, np.nan]),
        "value_low": np.array([1.0, np.nan]),
        "value_high": np.array([2.0, np.nan]),
        "source": np.array([2, 0], np.uint8),
        "reason": np.array([0, 1], np.uint8),
    }
    schema = number_schema(pa.schema([("id", pa.int64())]), "id", [], TEXTS)
    found = read(stage, write_part(stage, RUN, 0, pa.table({"id": [5, 6]}), rows, schema))
    assert found.to_pydict() == {
        "id": [5, 6],
        "value": [1.5, None],
        "value_low": [1.0, None],
        "value_high": [2.0, None],
        "source": ["propagated", None],
        "reason": [None, "tie"],
    }
    assert found.schema.types[1:4] == [pa.float64()] * 3


@settings(max_examples=40, deadline=None)
@given(
    codes=st.lists(st.integers(-1, 2), max_size=40),
    n_chunks=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_any_block_reads_back(
    tmp_path_factory: pytest.TempPathFactory, codes: list[int], n_chunks: int, seed: int
) -> None:
    stage = tmp_path_factory.mktemp("stage")
    (stage / "labels").mkdir()
    rng, n = np.random.default_rng(seed), len(codes)
    classes = np.array(["a", "b", "c"], object)
    rows: Arrays = {
        "label": np.array(codes, np.int32),
        "probability": rng.random(n, np.float32),
        "source": rng.integers(0, 3, n, np.uint8),
        "reason": rng.integers(0, 3, n, np.uint8),
        "margin": rng.random(n, np.float32),
    }
    pieces = np.array_split(np.arange(n), n_chunks)
    table = pa.table({"id": pa.chunked_array([pa.array(piece, pa.int64()) for piece in pieces])})
    found = read(stage, write_part(stage, RUN, 0, table, rows, schema_of(classes)))
    assert found["id"].to_pylist() == list(range(n))
    assert found["label"].to_pylist() == [None if c < 0 else classes[c] for c in codes]
    assert found["probability"].to_pylist() == rows["probability"].tolist()
    texts = [None if s == 0 else SOURCES[s] for s in rows["source"]]
    assert found["source"].to_pylist() == texts


def test_names_that_the_result_needs_are_refused() -> None:
    fields = pa.schema([(name, pa.int64()) for name in ("row", "label", "x", "p_1")])
    kept = ["label", "x", "x", "row", "p_1"]
    with pytest.raises(JobSpecError) as error:
        label_schema(fields, "row", kept, np.array([1]), None, TEXTS, probabilities=True)
    assert [problem.column for problem in error.value.problems] == [
        "label",
        "p_1",
        "row",
        "x",
    ]
    refuse_names(None, ["x", "p_1"], LABELS, REVIEW)
    refuse_names("row", ["label", "margin"], NUMBERS)
    for id_column in ("margin", "row"):
        with pytest.raises(JobSpecError) as error:
            refuse_names(id_column, [], LABELS, REVIEW)
        assert [problem.column for problem in error.value.problems] == [id_column]


@pytest.mark.parametrize(
    "change",
    [
        {"label": np.array([2, 0, 0, 0], np.int32)},
        {"label": np.array([-2, 0, 0, 0], np.int32)},
        {"margin": np.zeros(3, np.float32)},
        {"source": np.full(4, 3, np.uint8)},
        {"p_0": np.zeros(4, np.float32)},
    ],
)
def test_columns_that_do_not_fit_are_refused(stage: Path, change: dict[str, Any]) -> None:
    rows = some_rows() | change
    schema = schema_of([0, 7])
    with pytest.raises(ValueError, match=next(iter(change))):
        write_part(stage, RUN, 0, pa.table({"id": [1, 2, 3, 4]}), rows, schema)
    assert list(stage.rglob("*.attempt")) == []


def test_a_table_of_other_types_is_refused_without_its_values(stage: Path) -> None:
    table = pa.table({"id": ["secret-id", "2", "3", "4"]})
    with pytest.raises(InputDataError) as error:
        write_part(stage, RUN, 0, table, some_rows(), schema_of([0, 7]))
    assert "secret" not in str(error.value)


def test_a_worker_that_does_not_see_the_stage_says_so(tmp_path: Path) -> None:
    ids = pa.table({"id": [1, 2, 3, 4]})
    with pytest.raises(StorageError, match="share"):
        write_part(tmp_path / "away", RUN, 0, ids, some_rows(), schema_of([0, 7]))


def test_a_file_that_reads_back_wrong_is_no_part(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = part_writer._write_file

    def torn(path: Path, table: pa.Table) -> tuple[int, str]:
        size, sha256 = write(path, table)
        os.truncate(path, size - 10)
        return size, sha256

    def short(path: Path, table: pa.Table) -> tuple[int, str]:
        return write(path, table.slice(1))

    ids = pa.table({"id": [1, 2, 3, 4]})
    for broken, message in ((torn, "bytes were written"), (short, "rows were written")):
        monkeypatch.setattr(part_writer, "_write_file", broken)
        with pytest.raises(StorageError, match=message):
            write_part(stage, RUN, 0, ids, some_rows(), schema_of([0, 7]))
    assert list(stage.rglob("*.attempt")) == []


def test_part_names_sort_in_the_order_of_rows_or_are_refused() -> None:
    run_id = new_run_id()
    names = [part_name(block, run_id) for block in (0, 9, 10, 99_999)]
    assert names == sorted(names)
    with pytest.raises(JobSpecError, match="block_rows"):
        part_name(100_000, run_id)


def test_parts_written_by_workers_twice_enter_a_run_once(
    tmp_path: Path, cluster_client: Client
) -> None:
    """Each block is written by two tasks, as when a lost worker's task runs again."""
    execution = Execution(cluster_client)
    schema = schema_of([0, 7])
    with OutputFolder.open(tmp_path / "out", inputs=[], keep_runs=1) as output:
        tasks = [
            delayed(write_part, pure=False)(
                output.stage,
                output.run_id,
                block,
                pa.table({"id": np.arange(block * 10, block * 10 + 10)}),
                all_of_class(block % 2, 10),
                schema,
            )
            for block in (0, 1, 2)
            for _ in range(2)
        ]
        records = execution.compute(tasks, "write")
        assert len({record.attempt for record in records}) == 6
        assert len({record.sha256 for record in records}) == 3
        run = output.commit(
            records[1::2], {}, expected_rows=30, fingerprint=fingerprint({}), versions={}
        )
        stage = output.stage
    assert run.verify(execution) == []
    files = sorted(path.name for path in (run.path / "labels").iterdir())
    assert files == [part_name(block, run.run_id) for block in range(3)]
    assert pa.concat_tables(map(pq.read_table, run.part_paths()))["label"].to_pylist() == [
        value for value in (0, 7, 0) for _ in range(10)
    ]
    # A task that comes late, after the commit, finds no place to write to.
    with pytest.raises(StorageError):
        write_part(stage, run.run_id, 0, pa.table({"id": [1]}), all_of_class(0, 1), schema)
    assert run.verify() == []
