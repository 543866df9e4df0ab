"""What is seen of a run on stderr: a live line for people, or one JSON object a line."""

from __future__ import annotations

import datetime
import json
import sys
import threading
import time
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ssl_dask.round_record import RoundRecord

PROGRESS_LOG_SECONDS = 5.0


class RunListener(Protocol):
    """Told what a run does, as it does it. Calls may come from several threads."""

    def begin(self, run_id: str) -> None:
        """Call once, when the run has its name."""

    def stage(self, name: str) -> None:
        """Call when a stage begins."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Call when tasks of a step have finished."""

    def round(self, record: RoundRecord) -> None:
        """Call after each iteration of a solver."""

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        """Call for anything else worth a line: a note, a warning, a checkpoint."""


class Silent:
    """Listens to nothing: for use from Python."""

    def begin(self, run_id: str) -> None:
        """Ignore the name of the run."""

    def stage(self, name: str) -> None:
        """Ignore the stage."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Ignore the progress."""

    def round(self, record: RoundRecord) -> None:
        """Ignore the iteration."""

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        """Ignore the event."""


class JsonLines:
    """Writes one JSON object a line: ts, level, event, run_id, stage, and the event's fields."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._run_id: str | None = None
        self._stage = "validate"
        self._lock = threading.Lock()
        self._last_progress = (0.0, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.flush()

    def begin(self, run_id: str) -> None:
        """Give all further lines the name of the run."""
        self._run_id = run_id
        self.event("run_begins")

    def stage(self, name: str) -> None:
        """Write a line, and give all further lines the stage."""
        self._stage = name
        self.event("stage_begins")

    def progress(self, what: str, done: int, total: int) -> None:
        """Write a line every few seconds at most, and one when a step is complete."""
        now = time.monotonic()
        last, step = self._last_progress
        if done < total and step == what and now - last < PROGRESS_LOG_SECONDS:
            return
        self._last_progress = (now, what)
        self.event("progress", what=what, done=done, total=total)

    def round(self, record: RoundRecord) -> None:
        """Write the iteration's numbers."""
        self.event("iteration", **record.as_dict())

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        """Write one line."""
        line = {
            "ts": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": name,
            "run_id": self._run_id,
            "stage": self._stage,
            **fields,
        }
        with self._lock:
            self._stream.write(json.dumps(line, default=str) + "\n")
            self._stream.flush()


class LiveConsole:
    """Draws the running stage on a terminal: what, how far, how long, how long still."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[stage]:<12}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._stage = "validate"
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, run_id: str) -> None:
        """Print the name of the run."""
        self._console.print(f"run {run_id}", style="dim", highlight=False)

    def stage(self, name: str) -> None:
        """Print how long the last stage took, and begin a new line."""
        with self._lock:
            now = time.monotonic()
            if self._task is not None:
                self._bars.remove_task(self._task)
                self._console.print(
                    f"  {self._stage:<12} {now - self._began:6.1f} s", highlight=False
                )
            self._stage, self._began = name, now
            self._task = self._bars.add_task("", total=None, stage=name)

    def progress(self, what: str, done: int, total: int) -> None:
        """Move the bar."""
        with self._lock:
            if self._task is not None:
                self._bars.update(self._task, description=what, completed=done, total=total)

    def round(self, record: RoundRecord) -> None:
        """Show the iteration, the labels that changed and the residual."""
        text = (
            f"iteration {record.iteration}, {record.labels_changed:,} labels changed,"
            f" residual {record.residual:.1e}"
        )
        with self._lock:
            if self._task is not None:
                self._bars.update(self._task, description=text)

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        """Print warnings; leave the rest to the JSON log."""
        if level == "info":
            return
        text = fields.pop("message", None) or ", ".join(f"{k}={v}" for k, v in fields.items())
        self._console.print(f"{level}: {text}", style="yellow", highlight=False, markup=False)


def make_listener(*, json_logs: bool) -> JsonLines | LiveConsole:
    """Return a live display where stderr is a terminal and no JSON was asked for."""
    return JsonLines() if json_logs or not sys.stderr.isatty() else LiveConsole()
