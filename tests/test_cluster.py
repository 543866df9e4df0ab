"""The local cluster: what a script must do, and what is left when its owner was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ssl_dask.cluster import SCRATCH_LOCK, SCRATCH_PREFIX, scratch_folder
from tests.made_job import made_job, made_rows, write_job, write_rows
from tests.processes import environment


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())
    job = write_job(tmp_path / "job.yaml", made_job(rows, tmp_path / "out"))
    script = tmp_path / "script.py"
    script.write_text(f"from ssl_dask import run_job\nrun_job({str(job)!r})\n")
    ended = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "ComputeError: the worker processes did not start" in last
    assert 'if __name__ == "__main__":' in last
    # The worker that ran the script once more did not get as far as the output's lock.
    assert "OutputLockedError" not in ended.stderr
    assert not (tmp_path / "out" / "latest").exists()


def test_scratch_of_a_killed_owner_is_removed_and_that_of_a_living_one_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / f"{SCRATCH_PREFIX}dead"
    foreign = tmp_path / f"{SCRATCH_PREFIX}no-lock"
    for folder in (dead, foreign):
        (folder / "worker-1").mkdir(parents=True)
        (folder / "worker-1" / "spilled").write_bytes(b"x" * 1000)
    (dead / SCRATCH_LOCK).touch()
    with scratch_folder() as first:
        assert not dead.exists()
        with scratch_folder() as second:
            assert Path(first).is_dir()
            assert Path(second).is_dir()
            assert first != second
        assert Path(first).is_dir()
        assert not Path(second).exists()
    assert [path.name for path in tmp_path.iterdir()] == [foreign.name]
