"""Drives the process of `killed_runs.py` from a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

SCRIPT = Path(__file__).with_name("killed_runs.py")
PROJECT = SCRIPT.parents[2]
N_ROWS = 1500


class RunServer:
    """A process that writes runs on command; a context manager."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        assert self.receive() == {"ready": self.process.pid}

    def __enter__(self) -> RunServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, out: Path, tag: str = "", writer: str = "ssl_dask", **how: Any) -> None:
        assert self.process.stdin is not None
        command = {"out": str(out), "tag": tag, "writer": writer, **how}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, out: Path, tag: str = "", writer: str = "ssl_dask", **how: Any) -> dict[str, Any]:
        self.send(out, tag, writer, **how)
        return self.receive()
