"""Drives the process of `killed_runs.py` from a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.processes import environment

SCRIPT = Path(__file__).with_name("killed_runs.py")
N_ROWS = 1500


class RunServer:
    """A process that writes runs on command; a context manager."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self.receive() == {"ready": self.process.pid}

    def __enter__(self) -> RunServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, out: Path, tag: str = "", writer: str = "ssl_dask", **how: Any) -> None:
        command = {"out": str(out), "tag": tag, "writer": writer, **how}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        return json.loads(self.process.stdout.readline())

    def ask(self, out: Path, tag: str = "", writer: str = "ssl_dask", **how: Any) -> dict[str, Any]:
        self.send(out, tag, writer, **how)
        return self.receive()
