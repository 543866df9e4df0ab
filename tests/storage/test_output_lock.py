from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssl_dask.errors import OutputLockedError, StorageError
from ssl_dask.storage.files.output_lock import OutputLock
from ssl_dask.storage.runs.run_folder import OutputFolder
from tests.faults.run_server import N_ROWS, RunServer
from tests.oracles.run_reader import read_latest


def test_the_second_of_two_gets_an_error_that_names_the_first(tmp_path: Path) -> None:
    first, second = OutputLock(tmp_path), OutputLock(tmp_path)
    first.acquire("run-a")
    with pytest.raises(OutputLockedError) as error:
        second.acquire("run-b")
    assert error.value.exit_code == 75
    assert "run-a" in str(error.value)
    assert str(os.getpid()) in str(error.value)
    first.release()
    second.acquire("run-b")
    second.release()


def test_a_holder_may_change_its_name(tmp_path: Path) -> None:
    first, second = OutputLock(tmp_path), OutputLock(tmp_path)
    first.acquire("a-long-name-of-a-run")
    first.name_holder("b")
    with pytest.raises(OutputLockedError, match="run b "):
        second.acquire("c")
    first.release()
    with pytest.raises(RuntimeError):
        first.name_holder("d")


@pytest.mark.parametrize("left_behind", [b"", b"no json", b'{"run_id": "dead"}'])
def test_a_holder_that_has_not_yet_said_its_name(tmp_path: Path, left_behind: bytes) -> None:
    first, second = OutputLock(tmp_path), OutputLock(tmp_path)
    first.acquire("run-a")
    first.path.write_bytes(left_behind)
    with pytest.raises(OutputLockedError, match="not yet written"):
        second.acquire("run-b")
    first.release()


def test_the_loser_waits_for_the_name_instead_of_naming_a_dead_run(tmp_path: Path) -> None:
    first, second = OutputLock(tmp_path), OutputLock(tmp_path)
    first.acquire("run-a")
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    stale = {"run_id": "dead", "host": os.uname().nodename, "pid": pid, "started": "-"}
    first.path.write_text(json.dumps(stale))
    with ThreadPoolExecutor(1) as pool:
        loser = pool.submit(second.acquire, "run-b")
        time.sleep(0.1)
        assert not loser.done()
        first.name_holder("run-a")
        with pytest.raises(OutputLockedError, match="run-a"):
            loser.result()
    first.release()


def test_a_lock_file_that_was_removed_is_no_second_lock(tmp_path: Path) -> None:
    first, second, third = (OutputLock(tmp_path) for _ in range(3))
    first.acquire("run-a")
    first.path.unlink()
    second.acquire("run-b")
    first.release()
    with pytest.raises(OutputLockedError, match="run-b"):
        third.acquire("run-c")
    second.release()


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("text")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lock").symlink_to(precious)
    with pytest.raises(StorageError):
        OutputLock(out).acquire("run-a")
    assert precious.read_text() == "text"


def test_a_killed_run_gives_the_output_free(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunServer() as other:
        held_by = other.ask(out, writer="hold")["run_id"]
        with pytest.raises(OutputLockedError, match=held_by):
            OutputFolder.open(out, inputs=[], keep_runs=1)
    with OutputFolder.open(out, inputs=[], keep_runs=1) as output:
        assert output.run_id != held_by
        assert [path.name for path in (out / ".work").iterdir()] == [output.run_id]


def test_two_processes_at_once_never_mix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    codes = []
    with RunServer() as one, RunServer() as other:
        for number in range(12):
            one.send(out, f"one-{number}")
            other.send(out, f"other-{number}")
            ended = [one.receive(), other.receive()]
            codes += [answer["code"] for answer in ended]
            assert 0 in [answer["code"] for answer in ended], ended
            assert read_latest(out, N_ROWS) in [f"{tag}-{number}" for tag in ("one", "other")]
    assert set(codes) == {0, 75}, "the two never met"
