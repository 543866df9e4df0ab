from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.execution import Execution
from ssl_dask.storage.ids import id_check
from ssl_dask.storage.ids.id_check import (
    IdCheck,
    IdSummary,
    blocks_to_compare,
    find_duplicate_ids,
    summarise_ids,
)
from ssl_dask.storage.ids.id_hash import hash_ids
from ssl_dask.storage.input.column_reader import ColumnReader
from tests.parquet_samples import open_reader, write


def check(reader: ColumnReader, execution: Execution | None = None) -> IdCheck:
    summaries = [summarise_ids(reader.id_array(i, "id")) for i in range(len(reader.row_counts))]
    return find_duplicate_ids(reader, "id", summaries, execution or Execution(threads=2))


def files(folder: Path, *parts: Any, group_rows: int = 50) -> ColumnReader:
    for i, part in enumerate(parts):
        write(folder / f"{i}.parquet", {"id": part}, group_rows=group_rows)
    return open_reader(folder)


def brute_force(ids: list[Any]) -> tuple[int, int]:
    counts = [n for value, n in Counter(ids).items() if value is not None and n > 1]
    return len(counts), sum(counts) - len(counts)


ID_TYPES: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "int64": (pa.int64(), lambda i: i - 2**62),
    "uint64": (pa.uint64(), lambda i: 2**64 - 1 - i),
    "int8": (pa.int8(), lambda i: i % 128),
    "string": (pa.string(), lambda i: f"{'long' * (i % 9)}/{i}"),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), str),
    "binary": (pa.binary(), lambda i: b"\x00" * i),
    "sixteen": (pa.binary(16), lambda i: i.to_bytes(16, "little")),
    "uuid": (pa.uuid(), lambda i: i.to_bytes(16, "big")),
}


@settings(max_examples=40, deadline=None)
@given(
    data=st.lists(
        st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=20), min_size=1, max_size=4
    ).filter(lambda parts: any(parts)),
    block_rows=st.integers(1, 20),
    kind=st.sampled_from(sorted(ID_TYPES)),
    small=st.booleans(),
)
def test_counts_are_those_of_brute_force(
    data: list[list[int | None]], block_rows: int, kind: str, small: bool
) -> None:
    arrow, make = ID_TYPES[kind]
    parts = [[None if i is None else make(i) for i in part] for part in data]
    with tempfile.TemporaryDirectory() as folder:
        for i, part in enumerate(parts):
            write(Path(folder) / f"{i}.parquet", {"id": pa.array(part, arrow)}, group_rows=7)
        reader = open_reader(Path(folder), block_rows=block_rows)
        # With a few hundred bytes a task the exchange takes several ranges and rounds.
        execution = Execution(threads=1, memory_per_task=400 if small else None)
        found = check(reader, execution)
    expected = brute_force([value for part in parts for value in part])
    assert (found.n_duplicated, found.n_extra_rows) == expected
    assert bool(found.problems) == (expected[0] > 0)


def test_ordered_ids_need_no_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    # Files in any order and rows shuffled inside a block: the ranges are apart all the same.
    reader = files(tmp_path, np.arange(100, 200), rng.permutation(100), np.arange(200, 300))

    def never(*args: object) -> None:
        raise AssertionError("hashes were exchanged")

    monkeypatch.setattr(id_check, "_exchange", never)
    assert check(reader) == IdCheck(0, 0, 0, ())


def test_only_blocks_that_meet_are_compared(tmp_path: Path) -> None:
    reader = files(tmp_path, np.arange(100), np.arange(50, 150) * 2, np.arange(1000, 1100))
    found = check(reader)
    assert found.n_duplicated == 0
    assert found.n_compared == 0  # 0..99 and 100..298 are apart
    overlapping = files(tmp_path, np.arange(0, 200, 2), np.arange(1, 201, 2), np.arange(500, 600))
    found = check(overlapping)
    assert (found.n_duplicated, found.n_compared) == (0, 200)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 8)).map(
            lambda pair: IdSummary(pair[0], pair[0] + pair[1], pair[1] + 1, pair[1] + 1)
        ),
        max_size=12,
    )
)
def test_blocks_whose_ranges_meet_are_all_found(summaries: list[IdSummary]) -> None:
    expected = {
        i
        for i, a in enumerate(summaries)
        for j, b in enumerate(summaries)
        if i != j and a.low <= b.high and b.low <= a.high  # type: ignore[operator]
    }
    assert set(blocks_to_compare(summaries)) == expected


def test_a_copied_file_is_told_with_both_places(tmp_path: Path) -> None:
    reader = files(tmp_path, np.arange(100), np.arange(100, 200), np.arange(100), group_rows=50)
    found = check(reader)
    assert (found.n_duplicated, found.n_extra_rows) == (100, 100)
    (problem,) = found.problems
    assert "100 ids occur more than once" in str(problem)
    assert "row 1 of 0.parquet row group 0 and row 1 of 2.parquet row group 0, " in str(
        problem
    ).replace(f"{tmp_path}/", "")
    assert problem.column == "id"
    assert problem.rows == 100
    assert str(problem).count(" and ") == 5


def test_values_of_ids_are_not_shown(tmp_path: Path) -> None:
    reader = files(tmp_path, ["alice@example.org", "b"], ["c", "alice@example.org"])
    (problem,) = check(reader).problems
    assert "1 id occurs more than once (1 row too many)" in str(problem)
    assert "alice" not in str(problem)


def test_a_shared_hash_alone_is_no_duplicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = files(tmp_path, ["a", "z", "b"], ["m", "y", "m"])
    monkeypatch.setattr(id_check, "hash_ids", lambda ids: np.full(len(ids), 7, dtype=np.uint64))
    found = check(reader)
    assert (found.n_duplicated, found.n_extra_rows, found.n_compared) == (1, 1, 6)
    harmless = files(tmp_path, ["a", "z", "b"], ["m", "y", "n"])
    assert check(harmless).problems == ()


def test_more_duplicates_than_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_check, "MAX_SUSPECTS", 10)
    reader = files(tmp_path, np.arange(300), np.arange(100, 400))
    found = check(reader)
    assert (found.n_duplicated, found.n_extra_rows) == (200, 200)
    assert "..." in str(found.problems[0])


def test_places_count_rows_without_an_id(tmp_path: Path) -> None:
    ids = pa.array([*range(3), *[None] * 97, 0])
    (problem,) = check(files(tmp_path, ids, group_rows=50)).problems
    assert "row 0 of 0.parquet row group 0 and row 0 of 0.parquet row group 2" in str(
        problem
    ).replace(f"{tmp_path}/", "")
    (problem,) = check(files(tmp_path, [7, 8, 7, 8])).problems
    assert "rows 0 and 2 of 0.parquet row group 0, rows 1 and 3 of" in str(problem).replace(
        f"{tmp_path}/", ""
    )


def test_hashes_held_at_a_time_keep_to_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    repeated: list[int] = []
    split, count = id_check._split_hashes, id_check._repeated_hashes

    def splitting(*args: Any, **named: Any) -> Any:
        pieces = split(*args, **named)
        held.append(sum(piece.nbytes for piece in pieces))
        return pieces

    def counting(owner: int, pieces: Any) -> Any:
        repeated.append(sum(piece.nbytes for piece in pieces))
        return count(owner, pieces)

    monkeypatch.setattr(id_check, "_split_hashes", splitting)
    monkeypatch.setattr(id_check, "_repeated_hashes", counting)
    n = 20_000
    reader = files(tmp_path, np.arange(0, n, 2), np.arange(n - 1, 0, -2), group_rows=n)
    memory = 160_000
    assert check(reader, Execution(threads=1, memory_per_task=memory)).n_duplicated == 0
    n_rounds = len(held) / 2
    assert n_rounds == 8  # 16 bytes a hash in a quarter of the memory
    assert sum(held) == 8 * n
    # A range takes four times its hashes while it is sorted; hashes fill ranges unevenly.
    assert max(repeated) * 4 < 1.3 * memory / 4
    assert sum(held) / n_rounds < memory / 4


def test_the_cluster_counts_the_same(tmp_path: Path, cluster_client: Client) -> None:
    rng = np.random.default_rng(1)
    parts = [[f"user-{i}" for i in rng.integers(0, 2000, 400)] for _ in range(3)]
    reader = files(tmp_path, *parts)
    found = check(reader, Execution(cluster_client))
    assert found == check(reader, Execution(threads=1, memory_per_task=2_000))
    expected = brute_force([value for part in parts for value in part])
    assert (found.n_duplicated, found.n_extra_rows) == expected
    assert expected[0] > 100


def test_hashes_of_integers_are_the_bijection_splitmix64() -> None:
    # First output of the reference splitmix64 generator with seed 1234567.
    assert int(hash_ids(pa.array([1234567], pa.int64()))[0]) == 6457827717110365317
    ids = pa.array(np.arange(-5000, 5000), pa.int64())
    assert len(np.unique(hash_ids(ids))) == 10_000
    np.testing.assert_array_equal(
        hash_ids(pa.array([1, 2], pa.int32())), hash_ids(pa.array([1, 2], pa.int64()))
    )


@given(st.lists(st.binary(max_size=40), max_size=40), st.integers(0, 5))
def test_hashes_of_bytes_depend_on_the_bytes_alone(values: list[bytes], skip: int) -> None:
    whole = pa.array(values, pa.large_binary())
    hashes = hash_ids(whole)
    np.testing.assert_array_equal(hash_ids(whole[skip:]), hashes[skip:])
    np.testing.assert_array_equal(hash_ids(pa.array(values, pa.binary())), hashes)
    for value, found in zip(values, hashes, strict=True):
        assert hash_ids(pa.array([value], pa.large_binary()))[0] == found
    assert len(set(hashes.tolist())) == len(set(values))


def test_hashes_spread_evenly_and_differ() -> None:
    texts = pa.array([f"{i:07d}" for i in range(20_000)], pa.large_string())
    hashes = hash_ids(texts)
    assert len(np.unique(hashes)) == 20_000
    counts = np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16)
    assert counts.min() > 1_000
    zeros = pa.array([b"\x00" * i for i in range(50)], pa.large_binary())
    assert len(np.unique(hash_ids(zeros))) == 50
