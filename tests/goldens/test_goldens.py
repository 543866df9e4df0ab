"""The package answers as it did at the start, and the same for any blocks and workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.goldens.compare import differences, read_recording
from tests.goldens.kind_of_machine import kind_of_machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
START = Path(__file__).with_name("start.json.gz")
"""The quick cases, of 2026-12-01: copies are one node of exact graphs, and probabilities of jobs
whose seeds have other shares than the rows are corrected, see docs/decisions.md."""
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recording of now, made by a process of its own: here a warning is an error."""
    out = tmp_path_factory.mktemp("goldens") / "now.json"
    command = [sys.executable, "-m", "tests.goldens.record", str(out), "--quick"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return read_recording(out)


def test_each_job_is_answered_alike_for_any_blocks_and_workers(now: dict[str, Any]) -> None:
    same = {name: ways for name, ways in now["cases"].items() if name.startswith("same/")}
    assert len(same) > 15
    assert all(ways for ways in same.values())
    assert {name: ways for name, ways in same.items() if not all(ways.values())} == {}


def test_no_case_fails_and_each_mistake_is_refused(now: dict[str, Any]) -> None:
    cases = now["cases"]
    assert [name for name, items in cases.items() if "error" in items] == []
    mistakes = {n: items["code"] for n, items in cases.items() if n.startswith("mistake/")}
    assert len(mistakes) > 20
    assert set(mistakes.values()) <= {2, 3, 8}


def test_answers_are_those_of_the_start(now: dict[str, Any]) -> None:
    start = read_recording(START)
    absent = now["cases"].keys() - start["cases"].keys()
    assert absent == set(), "the reference has no such cases: record it anew at the start"
    lines = list(differences(start, now))
    if kind_of_machine() != start["kind"]:
        # Other processors and libraries give other last bits: what holds no float is compared.
        lines = [line for line in lines if line.startswith(("schema", "mistake"))]
    assert lines == []
