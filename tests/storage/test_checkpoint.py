from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dask import delayed
from distributed import Client

from ssl_dask.errors import ResumeMismatchError, StorageError
from ssl_dask.execution import Execution
from ssl_dask.storage.runs import checkpoint
from ssl_dask.storage.runs.checkpoint import Checkpoints, load_block, save_block
from ssl_dask.storage.runs.manifest import fingerprint
from ssl_dask.storage.runs.run_folder import OutputFolder
from tests.faults.run_server import N_ROWS, RunServer
from tests.oracles.run_reader import read_latest
from tests.parquet_samples import flip_a_bit

flip_last = partial(flip_a_bit, at=-3)
JOB = fingerprint({"config": "a", "input": 1, "code": "1"})


class Store:
    """Checkpoints in a folder, and what they reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[str] = []
        self.checkpoints = Checkpoints(folder, JOB, report=self.reports.append)

    def put(self, value: int, name: str = "state") -> Path:
        folder = self.checkpoints.new(name)
        for index in range(3):
            save_block(folder, index, np.full((4, 2), value + index / 10))
        return self.checkpoints.commit(name, folder, {"value": value}).folder

    def get(self, name: str = "state") -> int | None:
        found = self.checkpoints.find(name)
        if found is None:
            return None
        blocks = [load_block(found.folder, index) for index in range(3)]
        for index, block in enumerate(blocks):
            assert (block == found.meta["value"] + index / 10).all()
        return found.meta["value"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def server() -> Iterator[RunServer]:
    with RunServer() as running:
        yield running


def test_the_newest_is_found_and_the_last_two_are_kept(store: Store) -> None:
    assert store.get() is None
    folders = [store.put(value) for value in (1, 2, 3, 4)]
    store.put(50, "graph")
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert (store.get(), store.get("graph"), store.get("other")) == (4, 50, None)
    # A later process with the same job finds the same.
    assert Store(store.folder).get() == 4
    assert store.put(5).name == "state-000005"
    assert store.reports == []
    left = sorted(path.name for path in store.folder.iterdir())
    assert left == ["fingerprint.json", "graph-000001", "state-000004", "state-000005"]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "?", "u1"])
def test_blocks_come_back_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    array = np.frombuffer(np.random.default_rng(0).bytes(160), dtype=dtype)
    if dtype == "?":
        array = np.arange(20) % 3 == 0
    save_block(tmp_path, 7, array, kind="residual")
    save_block(tmp_path, 7, array[:0], kind="other")
    found = load_block(tmp_path, 7, kind="residual")
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()
    assert load_block(tmp_path, 7, kind="other").shape == (0,)


def test_python_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        save_block(tmp_path, 0, np.array([{}], dtype=object))
    assert list(tmp_path.iterdir()) == []
    np.save(tmp_path / "block-00000.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        load_block(tmp_path, 0)
    with pytest.raises(StorageError):
        load_block(tmp_path, 1)
    with pytest.raises(StorageError):
        save_block(tmp_path / "away", 0, np.zeros(1))


def edit_meta(path: Path) -> None:
    path.write_text(path.read_text().replace('"value": 2', '"value": 1'))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("block-00001.npy", flip_last),
        ("block-00001.npy", os.unlink),
        ("block-00002.npy", lambda path: os.truncate(path, 100)),
        ("checkpoint.json", edit_meta),
        ("checkpoint.json", os.unlink),
        ("checkpoint.json", lambda path: os.truncate(path, 20)),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(
    store: Store, file: str, damage: Any
) -> None:
    store.put(1)
    newest = store.put(2)
    before = (newest / file).read_bytes()
    damage(newest / file)
    assert not (newest / file).exists() or (newest / file).read_bytes() != before
    assert store.get() == 1
    (report,) = store.reports
    assert newest.name in report
    assert store.get() == 1, "it is told once"
    assert len(store.reports) == 1
    store.put(3)
    assert store.get() == 3


def test_two_damaged_ones_mean_none(store: Store) -> None:
    for value in (1, 2):
        flip_last(store.put(value) / "block-00000.npy")
    assert store.get() is None
    assert len(store.reports) == 2


def test_checkpoints_of_another_job_are_never_used(store: Store) -> None:
    store.put(1)
    other = fingerprint({"config": "b", "input": 1, "code": "2"})
    with pytest.raises(ResumeMismatchError, match="code, config changed") as error:
        Checkpoints(store.folder, other, report=store.reports.append)
    assert error.value.exit_code == 4
    # Even when the note of whose they are is lost.
    (store.folder / "fingerprint.json").unlink()
    assert Checkpoints(store.folder, other, report=store.reports.append).find("state") is None
    assert "another job" in store.reports[0]


def test_what_is_not_committed_is_not_found(store: Store) -> None:
    store.put(1)
    folder = store.checkpoints.new("state")
    save_block(folder, 0, np.zeros(3))
    assert store.get() == 1
    assert store.checkpoints.new("state") != folder


def test_names_and_folders_from_elsewhere_are_refused(store: Store, tmp_path: Path) -> None:
    for name in ("../x", "A", "", "a/b", "state-000001"):
        with pytest.raises(ValueError, match="name"):
            store.checkpoints.new(name)
    with pytest.raises(ValueError, match="new"):
        store.checkpoints.commit("state", tmp_path, {})
    folder = store.checkpoints.new("state")
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="link"):
        store.checkpoints.commit("state", folder, {})


def test_a_late_attempt_changes_nothing_of_a_committed_checkpoint(store: Store) -> None:
    folder = store.checkpoints.new("state")
    for index in range(3):
        save_block(folder, index, np.full((4, 2), 1 + index / 10))
    (folder / "block-00000.npy.0123.tmp").write_bytes(b"left by a killed task")
    store.checkpoints.commit("state", folder, {"value": 1})
    with pytest.raises(StorageError):
        save_block(folder, 0, np.zeros((4, 2)))
    assert store.get() == 1


def test_files_in_inner_folders_are_kept(store: Store) -> None:
    folder = store.checkpoints.new("graph")
    (folder / "strips").mkdir()
    np.save(folder / "strips" / "0.npy", np.arange(3))
    kept = store.checkpoints.commit("graph", folder, {}).folder
    assert store.checkpoints.find("graph") is not None
    flip_a_bit(kept / "strips" / "0.npy")
    assert store.checkpoints.find("graph") is None
    assert "strips/0.npy" in store.reports[0]


def test_workers_write_hash_and_read_blocks(tmp_path: Path, cluster_client: Client) -> None:
    execution = Execution(cluster_client)
    reports: list[str] = []
    checkpoints = Checkpoints(tmp_path / "c", JOB, report=reports.append, execution=execution)
    folder = checkpoints.new("state")
    save, load = delayed(save_block, pure=False), delayed(load_block, pure=False)
    execution.compute([save(folder, i, np.full(5, i), kind="state") for i in range(4)])
    checkpoints.commit("state", folder, {})
    found = checkpoints.find("state")
    assert found is not None
    blocks = execution.compute([load(found.folder, i, kind="state") for i in range(4)])
    assert [block.tolist() for block in blocks] == [[i] * 5 for i in range(4)]
    flip_a_bit(found.folder / "state-00002.npy")
    assert checkpoints.find("state") is None
    assert "state-00002.npy" in reports[0]


# Dead runs


def die_with_checkpoint(out: Path, job: Any, value: int | None) -> str:
    """Leave the output as a run does that fails after a checkpoint of `value`, None: before."""
    with OutputFolder.open(out, inputs=[], keep_runs=1, resume=True) as output:
        checkpoints = Checkpoints(output.checkpoints, job, report=output.notes.append)
        folder = checkpoints.new("state")
        save_block(folder, 0, np.full(3, value or 0))
        if value is not None:
            checkpoints.commit("state", folder, {"value": value})
        (output.stage / "labels" / "left.attempt").write_bytes(b"x")
        return output.run_id


def test_a_dead_run_is_continued_under_its_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    dead = die_with_checkpoint(out, JOB, 7)
    with OutputFolder.open(out, inputs=[], keep_runs=1, resume=True) as output:
        assert output.resumable(JOB) == dead
        fresh = output.run_id
        output.adopt(dead)
        assert output.run_id == dead
        assert dead in (out / ".lock").read_text()
        assert [path.name for path in (out / ".work").iterdir()] == [dead]
        assert list(output.stage.rglob("*.attempt")) == []
        found = Checkpoints(output.checkpoints, JOB, report=output.notes.append).find("state")
        assert found is not None
        assert found.meta == {"value": 7}
        assert output.notes == []
        with pytest.raises(StorageError, match="no unfinished run"):
            output.adopt(fresh)
    # It ended again without a commit, and may be continued again.
    with OutputFolder.open(out, inputs=[], keep_runs=1) as output:
        assert output.resumable(JOB) == dead


def test_a_job_that_changed_is_not_resumed_and_the_field_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    die_with_checkpoint(out, JOB, 1)
    changed = fingerprint({"config": "b", "input": 1, "code": "1"})
    with OutputFolder.open(out, inputs=[], keep_runs=1, resume=True) as output:
        with pytest.raises(ResumeMismatchError, match=": config changed since"):
            output.resumable(changed)
        assert output.resumable(JOB) is not None


def test_the_newest_dead_run_of_the_same_job_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = fingerprint({"config": "other"})
    die_with_checkpoint(out, JOB, 1)
    wanted = die_with_checkpoint(out, JOB, 2)
    newest = die_with_checkpoint(out, other, 3)
    with OutputFolder.open(out, inputs=[], keep_runs=1, resume=True) as output:
        assert output.resumable(JOB) == wanted
        assert output.resumable(other) == newest
    # Without --resume only the newest stays.
    with OutputFolder.open(out, inputs=[], keep_runs=1) as output:
        names = {path.name for path in (out / ".work").iterdir()}
        assert names == {newest, output.run_id}
        assert output.resumable(other) == newest
        with pytest.raises(ResumeMismatchError):
            output.resumable(JOB)


def test_a_dead_run_without_a_whole_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    die_with_checkpoint(out, JOB, None)
    with OutputFolder.open(out, inputs=[], keep_runs=1, resume=True) as output:
        assert [path.name for path in (out / ".work").iterdir()] == [output.run_id]
        assert output.resumable(JOB) is None


def test_a_commit_makes_older_checkpoints_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    die_with_checkpoint(out, JOB, 1)
    with OutputFolder.open(out, inputs=[], keep_runs=1) as output:
        output.commit([], {}, expected_rows=0, fingerprint=JOB, versions={})
    assert list((out / ".work").iterdir()) == []


# Kills


def test_a_run_killed_before_any_change_of_the_disk_is_resumed(
    tmp_path: Path, server: RunServer
) -> None:
    """Each killed run is killed once more while it resumes, and then ends with the right answer."""
    steps = server.ask(tmp_path / "quiet", "x", writer="resuming")["steps"]
    assert steps > 60
    began_at = []
    for number in range(1, steps + 1, 6):
        out = tmp_path / f"out-{number}"
        assert server.ask(out, "x", writer="resuming", kill_at=number)["code"] == -9
        again = server.ask(out, "x", writer="resuming", kill_at=number // 2 + 1)
        assert again["code"] == -9, again
        last = server.ask(out, "x", writer="resuming")
        assert last["code"] == 0, last
        assert read_latest(out, N_ROWS) == "x-4-4"
        began_at.append(json.loads((out / "latest" / "report.json").read_text())["began_at"])
        assert list((out / ".work").iterdir()) == []
    assert set(began_at) == {0, 1, 2, 3, 4}, began_at


def test_the_kill_test_notices_checkpoints_that_are_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without hashes a torn block would be used: shows that they are what protects."""
    store = Store(tmp_path / "checkpoints")
    store.put(1)
    flip_last(store.put(2) / "block-00001.npy")
    monkeypatch.setattr(checkpoint, "damage_of", lambda folder, record: None)
    with pytest.raises(AssertionError):
        store.get()
