"""The clock of a run: which stage it is in, how long each took, and who is told."""

from __future__ import annotations

import datetime
import time
from typing import Any

from ssl_dask.console import RunListener


class RunClock:
    """Passes stages on to the listener and keeps how long each took."""

    def __init__(self, listener: RunListener) -> None:
        self.listener = listener
        self.name = "validate"
        self.run_id: str | None = None
        self.started = datetime.datetime.now(datetime.UTC)
        self._began = self._stage_began = time.perf_counter()
        self._seconds: dict[str, float] = {}
        listener.stage(self.name)

    def stage(self, name: str) -> None:
        """Begin a stage."""
        self._close()
        self.name = name
        self.listener.stage(name)

    def begin(self, run_id: str) -> None:
        """Take note of the name of the run."""
        self.run_id = run_id
        self.listener.begin(run_id)

    def progress(self, what: str, done: int, total: int) -> None:
        """Pass it on."""
        self.listener.progress(what, done, total)

    def round(self, record: Any) -> None:
        """Pass it on."""
        self.listener.round(record)

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        """Pass it on."""
        self.listener.event(name, level=level, **fields)

    def warn(self, message: str) -> None:
        """Pass a warning on."""
        self.event("warning", level="warning", message=message)

    def _close(self) -> None:
        now = time.perf_counter()
        self._seconds[self.name] = self._seconds.get(self.name, 0.0) + now - self._stage_began
        self._stage_began = now

    def seconds(self) -> dict[str, float]:
        """Return the wall time of each stage so far."""
        self._close()
        return dict(self._seconds)

    def total(self) -> float:
        """Return the wall time since the beginning."""
        return time.perf_counter() - self._began
