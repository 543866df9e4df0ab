from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import CommitUnknownError, JobSpecError, StorageError
from ssl_dask.storage.result import part_writer
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.runs import manifest, run_folder
from ssl_dask.storage.runs.manifest import CommittedRun, PartRecord, fingerprint
from ssl_dask.storage.runs.output_path import check_output_path
from ssl_dask.storage.runs.run_folder import OutputFolder
from tests.faults.made_rows import all_of_class, schema_of_class
from tests.faults.run_server import N_ROWS, RunServer
from tests.oracles.run_reader import Torn, read_latest, read_run
from tests.parquet_samples import flip_a_bit

NOBODY = 65534
ROWS = 50


@pytest.fixture(scope="module")
def server() -> Iterator[RunServer]:
    with RunServer() as running:
        yield running


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def take(out: Path, **how: Any) -> OutputFolder:
    return OutputFolder.open(out, **({"inputs": [], "keep_runs": 2} | how))


def parts_of(output: OutputFolder, tag: str, *, n_parts: int = 2, noise: int = 0) -> list[Any]:
    """Write parts whose labels are all `tag`, with `noise` bytes a row that do not compress."""
    schema = schema_of_class(tag, [pa.field("noise", pa.binary())] if noise else [])
    records = []
    for block in range(n_parts):
        columns: dict[str, Any] = {"id": np.arange(block * ROWS, (block + 1) * ROWS)}
        if noise:
            columns["noise"] = [random.randbytes(noise) for _ in range(ROWS)]
        records.append(
            write_part(
                output.stage, output.run_id, block, pa.table(columns), all_of_class(0, ROWS), schema
            )
        )
    return records


def commit(output: OutputFolder, records: list[Any], tag: str, **change: Any) -> CommittedRun:
    how: dict[str, Any] = {
        "report_files": {"report.html": f"<p>{tag}".encode(), "report.json": b"{}"},
        "expected_rows": len(records) * ROWS,
        "fingerprint": fingerprint({"config": tag, "input": [1, 2]}),
        "versions": {"python": "3"},
    }
    return output.commit(records, **(how | change))


def run_once(out: Path, tag: str, *, keep_runs: int = 2, **how: Any) -> CommittedRun:
    with take(out, keep_runs=keep_runs) as output:
        return commit(output, parts_of(output, tag, **how), tag)


def latest_tag(out: Path) -> str:
    return read_latest(out, 2 * ROWS)


def tree(folder: Path) -> dict[str, Any]:
    """Return path -> content of all that a reader can see."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.parts and path.name != ".lock"
    }


# A run that goes well


def test_a_run_becomes_the_latest(out: Path) -> None:
    run = run_once(out, "a")
    assert latest_tag(out) == "a"
    assert os.readlink(out / "latest") == f"runs/{run.run_id}"
    pointer = json.loads((out / "latest.json").read_text())
    assert pointer == {
        "run_id": run.run_id,
        "path": f"runs/{run.run_id}",
        "fingerprint": run.fingerprint.total,
    }
    assert list((out / ".work").iterdir()) == []
    assert sorted(path.name for path in run.path.iterdir()) == [
        "labels",
        "manifest.json",
        "report.html",
        "report.json",
    ]
    for given in (out, out / "latest", run.path, str(out)):
        assert CommittedRun.load(given) == run
    assert run.verify() == []
    with take(out) as output:
        assert output.latest() == run
        assert output.notes == []


def test_only_the_last_runs_are_kept(out: Path) -> None:
    ids = [run_once(out, tag, keep_runs=3).run_id for tag in "abcde"]
    assert ids == sorted(ids)
    assert sorted(path.name for path in (out / "runs").iterdir()) == ids[-3:]
    run_once(out, "f", keep_runs=1)
    assert len(list((out / "runs").iterdir())) == 1
    assert latest_tag(out) == "f"


def test_results_follow_the_umask_and_work_is_private(out: Path) -> None:
    before = os.umask(0o027)
    try:
        with take(out) as output:
            assert stat.S_IMODE((out / ".work").stat().st_mode) == 0o700
            run = commit(output, parts_of(output, "a"), "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o750
    for path in run.path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640)


def test_a_run_that_fails_leaves_the_earlier_one_and_no_staging(out: Path) -> None:
    run_once(out, "a")
    before = tree(out)

    def fail() -> None:
        with take(out) as output:
            parts_of(output, "b")
            raise RuntimeError("simulated")

    with pytest.raises(RuntimeError, match="simulated"):
        fail()
    assert tree(out) == before
    assert list((out / ".work").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: parts[:1], "50 rows, but the input has 100"),
        (lambda parts: [parts[0], parts[0]], "not blocks 0 to 1"),
        (lambda parts: [*parts, parts[1]], "not blocks 0 to 2"),
    ],
)
def test_parts_that_do_not_add_up_are_not_published(out: Path, change: Any, message: str) -> None:
    run_once(out, "a")
    with pytest.raises(StorageError, match=message), take(out) as output:
        commit(output, change(parts_of(output, "b")), "b", expected_rows=2 * ROWS)
    assert latest_tag(out) == "a"


def test_a_part_that_is_gone_or_cut_is_not_published(out: Path) -> None:
    run_once(out, "a")
    for damage, message in ((os.unlink, "share"), (lambda p: os.truncate(p, 9), "9 bytes")):
        with take(out) as output:
            records = parts_of(output, "b")
            damage(output.stage / "labels" / records[1].attempt)
            with pytest.raises(StorageError, match=message):
                commit(output, records, "b")
        assert latest_tag(out) == "a"
        assert len(list((out / "runs").iterdir())) == 1


def test_names_never_lead_out_of_the_run(out: Path) -> None:
    with take(out) as output:
        records = parts_of(output, "a")
        stranger = PartRecord(**(vars(records[0]) | {"name": "../../../escaped"}))
        for change in ({"report_files": {"../x": b""}}, {"report_files": {"manifest.json": b""}}):
            with pytest.raises(ValueError, match="name"):
                commit(output, [], "a", **change)
            shutil.rmtree(output.work / "publish")
        with pytest.raises(ValueError, match="plain"):
            commit(output, [stranger, records[1]], "a")
    assert not list(out.parent.rglob("escaped"))


def test_everything_reaches_the_disk_before_the_pointer_moves(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, replace = os.fsync, os.replace
    synced: set[int] = set()
    at_the_swap: set[int] = set()

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def swap(source: Any, target: Any) -> None:
        if Path(target).name == "latest":
            at_the_swap.update(synced)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", swap)
    run = run_once(out, "a")
    needed = [run.path, *run.path.rglob("*"), out / "runs"]
    assert len(needed) == 8
    assert [path for path in needed if path.stat().st_ino not in at_the_swap] == []
    assert out.stat().st_ino in synced


# Kills


def test_a_kill_before_any_change_of_the_disk_leaves_old_or_new(
    out: Path, server: RunServer
) -> None:
    last = "first"
    steps = server.ask(out, last)["steps"]
    assert steps > 25
    seen = {"old": 0, "new": 0}
    for number in range(1, 200):
        answer = server.ask(out, f"killed-{number}", kill_at=number)
        found = read_latest(out, N_ROWS)
        if answer["code"] == 0:
            break
        assert answer["code"] == -9, answer
        assert found in (last, f"killed-{number}")
        seen["new" if found != last else "old"] += 1
        last = f"after-{number}"
        assert server.ask(out, last)["code"] == 0
        assert read_latest(out, N_ROWS) == last
        assert list((out / ".work").iterdir()) == []
        for run in (out / "runs").iterdir():
            read_run(run, N_ROWS)
    assert number > steps
    assert min(seen.values()) > 5, seen


def test_a_kill_at_a_random_moment_leaves_old_or_new(out: Path, server: RunServer) -> None:
    """What readers see is always whole, and never goes back.

    A run that was whole but not yet the latest when it was killed is published by a later one, so
    "new" may be any run since the last that was seen.
    """
    rng = random.Random(7)
    last = 0
    server.ask(out, "0")
    whole = server.ask(out, "0")["seconds"]
    seen = {"old": 0, "new": 0}
    for number in range(1, 26):
        server.ask(out, str(number), delay=rng.uniform(0, 1.2 * whole))
        found = int(read_latest(out, N_ROWS))
        assert last <= found <= number
        seen["old" if found == last else "new"] += 1
        last = found
    assert seen["old"] > 0, seen
    assert server.ask(out, "26")["code"] == 0
    assert read_latest(out, N_ROWS) == "26"


def test_a_plain_writer_tears_under_the_same_kills(out: Path, server: RunServer) -> None:
    """Shows that the tests above can fail."""
    out.mkdir()
    steps = server.ask(out, "old", writer="naive")["steps"]
    assert read_run(out, N_ROWS) == "old"
    torn = 0
    for number in range(1, steps + 8):
        server.ask(out, "old", writer="naive")
        if server.ask(out, "new", writer="naive", kill_at=number)["code"] == 0:
            break
        try:
            read_run(out, N_ROWS)
        except Torn:
            torn += 1
    assert torn >= 5


@pytest.fixture
def cut(out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run whose commit was cut before the pointer moved, after a first run."""
    first = run_once(out, "a")
    fail_at(monkeypatch, "latest", error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run_once(out, "b")
    monkeypatch.undo()
    assert latest_tag(out) == "a"
    (folder,) = (path for path in (out / "runs").iterdir() if path.name != first.run_id)
    return folder


def test_a_commit_cut_between_run_and_pointer_is_finished_by_the_next_run(
    out: Path, cut: Path
) -> None:
    with take(out) as output:
        assert "finished" in " ".join(output.notes)
        found = output.latest()
        assert found is not None
        assert found.fingerprint == fingerprint({"config": "b", "input": [1, 2]})
    assert latest_tag(out) == "b"
    assert json.loads((out / "latest.json").read_text())["run_id"] == found.run_id == cut.name


def test_a_cut_commit_that_is_damaged_is_not_finished(out: Path, cut: Path) -> None:
    flip_a_bit(next(cut.glob("labels/*")))
    with take(out) as output:
        assert "damaged" in " ".join(output.notes)
    assert latest_tag(out) == "a"
    assert not cut.exists()


# The swap does not go well


def fail_at(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    after: bool = False,
    error: type[BaseException] = OSError,
) -> None:
    """Let the replacing of `name` fail, before or after it took place."""
    replace = os.replace

    def failing(source: Any, target: Any) -> None:
        if Path(target).name != name or after:
            replace(source, target)
        if Path(target).name == name:
            raise error(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", failing)


def test_a_swap_that_surely_failed_takes_the_run_back(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(out, "a")
    before = tree(out)
    fail_at(monkeypatch, "latest")
    with pytest.raises(StorageError) as error:
        run_once(out, "b")
    assert error.value.exit_code == 6
    monkeypatch.undo()
    assert tree(out) == before
    assert list((out / ".work").iterdir()) == []


@pytest.mark.parametrize(("name", "after"), [("latest", True), ("latest.json", False)])
def test_a_swap_of_unknown_end_deletes_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
) -> None:
    run_once(out, "a", keep_runs=1)
    before = tree(out / "runs")
    fail_at(monkeypatch, name, after=after)
    with pytest.raises(CommitUnknownError) as error:
        run_once(out, "b", keep_runs=1)
    assert error.value.exit_code == 7
    monkeypatch.undo()
    assert before.items() <= tree(out / "runs").items()
    assert latest_tag(out) == "b"
    assert list((out / ".work").iterdir()) != []
    run_once(out, "c", keep_runs=1)
    assert latest_tag(out) == "c"
    assert list((out / ".work").iterdir()) == []


def test_a_pointer_that_cannot_be_read_back_is_an_unknown_end(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(out, "a")

    def unreadable(path: Any) -> str:
        raise OSError(errno.EIO, "Input/output error")

    with take(out) as output:
        records = parts_of(output, "b")
        fail_at(monkeypatch, "latest")
        monkeypatch.setattr(run_folder.os, "readlink", unreadable)
        with pytest.raises(CommitUnknownError):
            commit(output, records, "b")
    monkeypatch.undo()
    assert latest_tag(out) == "a"
    assert len(list((out / "runs").iterdir())) == 2
    with take(out):
        assert latest_tag(out) == "b"


# Readers


def test_a_reader_half_way_gets_one_run_or_no_file(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_across_a_swap(out: Path) -> set[str]:
        run_once(out, "old", keep_runs=1)
        paths = sorted((out / "latest" / "labels").iterdir())
        assert len(paths) == 2
        first = pq.read_table(paths[0], partitioning=None)["label"].to_pylist()
        run_once(out, "new", keep_runs=1)
        return set(first + pq.read_table(paths[1], partitioning=None)["label"].to_pylist())

    with pytest.raises(FileNotFoundError):
        read_across_a_swap(out)
    # The run's name in the names of parts is what does it: without it, the reader gets a mix.
    monkeypatch.setattr(part_writer, "part_name", lambda block, run_id: f"part-{block}.parquet")
    assert read_across_a_swap(out.parent / "mixed") == {"old", "new"}


def test_readers_beside_many_swaps_never_get_a_mix(out: Path) -> None:
    run_once(out, "0", keep_runs=1)
    stop, seen = threading.Event(), {"one run": 0, "mix": 0, "no file": 0}

    def read_again_and_again() -> None:
        while not stop.is_set():
            try:
                labels: set[str] = set()
                for path in sorted((out / "latest" / "labels").iterdir()):
                    labels |= set(pq.read_table(path, partitioning=None)["label"].to_pylist())
                seen["one run" if len(labels) == 1 else "mix"] += 1
            except FileNotFoundError:
                seen["no file"] += 1

    reader = threading.Thread(target=read_again_and_again)
    reader.start()
    try:
        for number in range(1, 15):
            run_once(out, str(number), keep_runs=1)
    finally:
        stop.set()
        reader.join()
    assert seen["mix"] == 0, seen
    assert seen["one run"] > 3, seen


# Damage is noticed


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit, "SHA-256"),
        (lambda path: os.truncate(path, 5), "5 bytes"),
        (os.unlink, "missing"),
        (lambda path: shutil.copy(path, path.with_name("stray.parquet")), "does not belong"),
    ],
)
def test_verify_names_the_damaged_file(out: Path, damage: Any, message: str) -> None:
    run = run_once(out, "a")
    damage(run.part_paths()[1])
    (problem,) = CommittedRun.load(out).verify()
    assert message in problem.message
    named = "stray" if "belong" in message else run.part_paths()[1].name
    assert problem.file is not None
    assert named in problem.file


def test_a_damaged_manifest_is_no_run(out: Path) -> None:
    run = run_once(out, "a")
    path = run.path / "manifest.json"
    sound = path.read_text()
    cases = {
        sound.replace(' "rows": 100,', ' "rows": 101,', 1): "hash",
        sound[:99]: "JSON",
        "[]": "not a file of ssl_dask",
    }
    assert len(cases) == 3
    for text, message in cases.items():
        path.write_text(text)
        with pytest.raises(StorageError, match=message):
            CommittedRun.load(out)
        with take(out) as output:
            assert output.latest() is None
            assert "cannot be used" in " ".join(output.notes)
    assert run_once(out, "b").verify() == []
    with pytest.raises(StorageError, match="no finished run"):
        CommittedRun.load(out / "runs")


def test_a_manifest_of_another_version_is_not_guessed_at(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "MANIFEST_VERSION", 2)
    run_once(out, "a")
    monkeypatch.undo()
    with pytest.raises(StorageError, match="version 2"):
        CommittedRun.load(out)


def test_latest_json_is_put_right_and_a_lost_run_is_no_obstacle(out: Path) -> None:
    run = run_once(out, "a")
    (out / "latest.json").write_text("{}")
    with take(out):
        assert json.loads((out / "latest.json").read_text())["run_id"] == run.run_id
    shutil.rmtree(run.path)
    with take(out) as output:
        assert output.latest() is None
    run_once(out, "b")
    assert latest_tag(out) == "b"


def test_fingerprints_name_the_field_that_differs() -> None:
    one = fingerprint({"config": {"a": 1, "b": [1, 2]}, "input": "x"})
    assert one == fingerprint({"input": "x", "config": {"b": [1, 2], "a": 1}})
    assert one.total == fingerprint({"input": "x", "config": {"b": [1, 2], "a": 1}}).total
    other = fingerprint({"config": {"a": 1, "b": [2, 1]}, "input": "x", "code": "1"})
    assert one.differing_fields(other) == ["code", "config"]
    assert one.total != other.total
    assert manifest.Fingerprint.from_dict(json.loads(json.dumps(one.as_dict()))) == one
    for bad in (float("nan"), {1, 2}):
        with pytest.raises((TypeError, ValueError)):
            fingerprint({"config": bad})


# Where an output may not be


def refused(path: Path | str, inputs: list[Path]) -> str:
    with pytest.raises((JobSpecError, StorageError)) as error:
        take(Path(path) if isinstance(path, Path) else path, inputs=inputs)  # type: ignore[arg-type]
    return str(error.value)


def test_an_output_over_an_input_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "in").mkdir(parents=True)
    file = data / "in" / "a.parquet"
    file.write_bytes(b"PAR1")
    (tmp_path / "link").symlink_to(data / "in")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link-to-empty").symlink_to(tmp_path / "empty")
    before = sorted(tmp_path.rglob("*"))
    folder = data / "in"
    link, empty = tmp_path / "link", tmp_path / "empty"
    for word, output, given in (
        ("the same as", folder, folder),
        ("the same as", link, folder),
        ("the same as", tmp_path / "link-to-empty", empty),
        ("inside", folder / "out", folder),
        ("inside", folder / "deep" / "out", folder),
        ("inside", link / "out", folder),
        ("inside", folder / "out", link),
        ("inside", empty / ".." / "link" / "out", folder),
        ("above", data, folder),
        ("above", folder, file),
        ("above", link, file),
        ("above", data, link),
    ):
        assert f"is {word}" in refused(output, [given])
    assert sorted(tmp_path.rglob("*")) == before
    # Beside a single file, or beside the folder, an output is welcome.
    assert check_output_path(folder / "out", [file]) == folder / "out"
    assert check_output_path(data / "in-out", [folder]) == data / "in-out"


def test_an_output_is_not_read_by_the_run_that_writes_it(out: Path) -> None:
    run = run_once(out, "a")
    for read in (out / "latest" / "labels", run.path, run.part_paths()[0]):
        assert "is above" in refused(out, [read])


@pytest.mark.parametrize("url", ["s3://bucket/out", "file:///tmp/out", "memory://x"])
def test_a_url_is_no_output(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (url, Path(url)):
        with pytest.raises(JobSpecError, match="folders"):
            check_output_path(path, [])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(JobSpecError, match="NUL"):
        check_output_path("a\0b", [])


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("text")
    assert "did not make" in refused(out, [])
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    assert "not a folder" in refused(out / "thesis.txt", [])
    (tmp_path / "dangling").symlink_to(tmp_path / "away" / "out")
    assert "missing" in refused(tmp_path / "dangling", [])
    (out / "thesis.txt").unlink()
    run_once(out, "a")
    (out / "note.txt").write_text("a note beside our own things is no harm")
    run_once(out, "b")
    assert latest_tag(out) == "b"


@pytest.mark.parametrize("name", ["runs", ".work"])
def test_links_inside_an_output_are_not_followed(tmp_path: Path, name: str) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    run_once(out, "a")
    precious.mkdir()
    (precious / "20200101T000000000000Z-00000000").mkdir()
    shutil.rmtree(out / name)
    (out / name).symlink_to(precious)
    assert "folder of its own" in refused(out, [])
    assert len(list(precious.iterdir())) == 1


def test_a_latest_that_is_not_ours_is_refused_or_noted(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    run_once(out, "a")
    elsewhere.mkdir()
    (out / "latest").unlink()
    (out / "latest").symlink_to(elsewhere)
    with take(out) as output:
        assert output.latest() is None
        assert "no run of this output" in " ".join(output.notes)
    (out / "latest").unlink()
    (out / "latest").mkdir()
    assert "not a link" in refused(out, [])


def test_a_link_to_an_output_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "big-disk")
    run_once(tmp_path / "out", "a")
    assert latest_tag(tmp_path / "big-disk") == "a"


def test_a_damaged_or_newer_marker_is_refused(out: Path) -> None:
    run_once(out, "a")
    marker = out / ".ssl_dask_output"
    sound = marker.read_text()
    marker.write_text(sound.replace('"format_version": 1', '"format_version": 2'))
    assert "damaged" in refused(out, [])
    marker.write_text("")
    assert "damaged" in refused(out, [])


# The disk says no


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root and mount to make a small disk")
    options = ["-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def test_a_full_disk_is_named_and_the_earlier_run_stays() -> None:
    with small_disk("1m") as disk:
        out = disk / "out"
        run_once(out, "a")
        before = tree(out)
        with pytest.raises(StorageError) as error:
            run_once(out, "b", noise=20_000)
        assert error.value.exit_code == 6
        assert "disk full" in str(error.value)
        assert str(out) in str(error.value)
        assert "bytes were to be written" in str(error.value)
        assert tree(out) == before
        assert list((out / ".work").iterdir()) == []
        with take(out) as output:
            records = parts_of(output, "c")
            with pytest.raises(StorageError, match="disk full"):
                commit(output, records, "c", report_files={"report.html": b"x" * 2_000_000})
        assert tree(out) == before
        run_once(out, "d")
        assert latest_tag(out) == "d"


def test_no_space_for_the_pointers_is_found_before_the_swap() -> None:
    with small_disk("1m") as disk:
        out = disk / "out"
        run_once(out, "a")
        with take(out) as output:
            records = parts_of(output, "b")
            filler = disk / "filler"
            filler.write_bytes(bytes(shutil.disk_usage(disk).free))
            assert shutil.disk_usage(disk).free == 0
            with pytest.raises(StorageError, match="disk full"):
                commit(output, records, "b")
        assert latest_tag(out) == "a"
        filler.unlink()
        run_once(out, "c")
        assert latest_tag(out) == "c"


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder of an unprivileged user, who this process is in the body."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_folders_above_the_output_are_made(out: Path) -> None:
    assert read_run(run_once(out / "a" / "b", "x").path, 2 * ROWS) == "x"


def test_what_cannot_be_written_to_is_found_before_anything_is_made() -> None:
    with as_nobody() as folder:
        folder.chmod(0o555)
        assert "no permission" in refused(folder / "a" / "out", [])
        assert "no permission" in refused(folder / "out", [])
        assert list(folder.iterdir()) == []
        folder.chmod(0o755)
        (folder / "file").touch()
        assert "no folder" in refused(folder / "file" / "out", [])
        run_once(folder / "out", "a")
        before = tree(folder / "out")
        (folder / "out").chmod(0o555)
        try:
            assert "no permission" in refused(folder / "out", [])
            (folder / "out").chmod(0o755)
            (folder / "out" / "runs").chmod(0o555)
            with pytest.raises(StorageError, match="Permission"):
                run_once(folder / "out", "b")
            assert tree(folder / "out") == before
        finally:
            (folder / "out").chmod(0o755)
            (folder / "out" / "runs").chmod(0o755)


def test_an_old_run_that_cannot_be_removed_stops_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = run_once(out, "a", keep_runs=1)
    rename = os.rename

    def stuck(source: Any, target: Any) -> None:
        if Path(source).name == old.run_id:
            raise OSError(errno.EBUSY, "Device or resource busy")
        rename(source, target)

    monkeypatch.setattr(os, "rename", stuck)
    with take(out, keep_runs=1) as output:
        commit(output, parts_of(output, "b"), "b")
        assert "could not remove" in " ".join(output.notes)
    assert latest_tag(out) == "b"
    assert read_run(old.path, 2 * ROWS) == "a"
