"""What is seen of a run on stderr: a live line for people, or one JSON object a line."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import threading
import time
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ssl_dask.round_record import RoundRecord

PROGRESS_LOG_SECONDS = 5.0
ITERATION_LOG_SECONDS = 1.0


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

    def _ignore(self, *told: Any, **fields: Any) -> None: ...

    begin = stage = progress = round = event = _ignore


class RunClock:
    """A listener that hands all on to another one, and keeps how long each stage of a run took."""

    def __init__(self, listener: RunListener) -> None:
        self.listener = listener
        self.name = "validate"
        self.run_id: str | None = None
        self.started = datetime.datetime.now(datetime.UTC)
        self.progress, self.round, self.event = listener.progress, listener.round, listener.event
        self._began = self._stage_began = time.perf_counter()
        self._seconds: dict[str, float] = {}
        listener.stage(self.name)

    def stage(self, name: str) -> None:
        """Begin a stage."""
        self._end_stage()
        self.name = name
        self.listener.stage(name)

    def begin(self, run_id: str) -> None:
        """Keep the name of the run."""
        self.run_id = run_id
        self.listener.begin(run_id)

    def warn(self, message: str) -> None:
        """Hand a warning on."""
        self.event("warning", level="warning", message=message)

    def _end_stage(self) -> None:
        now = time.perf_counter()
        self._seconds[self.name] = self._seconds.get(self.name, 0.0) + now - self._stage_began
        self._stage_began = now

    def seconds(self) -> dict[str, float]:
        """Return the wall time of each stage so far, in seconds."""
        self._end_stage()
        return dict(self._seconds)

    def total(self) -> float:
        """Return the wall time since the beginning, in seconds."""
        return time.perf_counter() - self._began


class JsonLines:
    """Writes one JSON object a line: ts, level, event, run_id, stage, and the event's fields."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._run_id: str | None = None
        self._stage = "validate"
        self._lock = threading.Lock()
        self._last_progress = (0.0, "")
        self._last_round = -ITERATION_LOG_SECONDS
        self._held_round: RoundRecord | None = None
        self._handlers: list[tuple[logging.Logger, list[logging.Handler]]] = []

    def __enter__(self) -> Self:
        # Whatever libraries say, and Python's warnings, become lines like all others.
        logging.captureWarnings(True)
        known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
        for logger in [logging.root, logging.getLogger("py.warnings"), *known]:
            if logger.handlers or logger is logging.root:
                self._handlers.append((logger, logger.handlers))
                logger.handlers = [_AsEvents(self)]
        return self

    def __exit__(self, *_: object) -> None:
        self._write_held_round()
        for logger, handlers in self._handlers:
            logger.handlers = handlers
        self._handlers = []
        logging.captureWarnings(False)
        self._stream.flush()

    def begin(self, run_id: str) -> None:
        """Give all further lines the name of the run."""
        self._run_id = run_id
        self.event("run_begins")

    def stage(self, name: str) -> None:
        """Write a line, and give all further lines the stage."""
        self._write_held_round()
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
        """Write the numbers of the first and the last iteration, and of one a second between."""
        now = time.monotonic()
        if now - self._last_round < ITERATION_LOG_SECONDS:
            self._held_round = record
            return
        self._held_round, self._last_round = None, now
        self.event("iteration", **record.as_dict())

    def _write_held_round(self) -> None:
        if self._held_round is not None:
            self.event("iteration", **self._held_round.as_dict())
        self._held_round, self._last_round = None, -ITERATION_LOG_SECONDS

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


class _AsEvents(logging.Handler):
    """Turns the records of Python's logging into events."""

    def __init__(self, lines: JsonLines) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self._lines.event(
            "library_log",
            level=record.levelname.lower(),
            logger=record.name,
            message=self.format(record),
        )


class LiveConsole:
    """Draws the running stage on a terminal: what, how far, how long, how long still."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[stage]:<12}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
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

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._end_stage()
        self._bars.stop()

    def begin(self, run_id: str) -> None:
        """Print the name of the run."""
        self._console.print(f"run {run_id}", style="dim", highlight=False)

    def stage(self, name: str) -> None:
        """Print how long the last stage took, and begin a new line."""
        with self._lock:
            self._end_stage()
            self._stage, self._began = name, time.monotonic()
            self._task = self._bars.add_task("", total=None, stage=name, count="")

    def _end_stage(self) -> None:
        if self._task is None:
            return
        self._bars.remove_task(self._task)
        self._task = None
        seconds = time.monotonic() - self._began
        self._console.print(f"  {self._stage:<12} {seconds:6.1f} s", highlight=False)

    def progress(self, what: str, done: int, total: int) -> None:
        """Move the bar."""
        with self._lock:
            if self._task is not None:
                # A complete step is not the end of its stage: no full bar, no time left of 0.
                more = done < total
                self._bars.update(
                    self._task,
                    description=what,
                    completed=done if more else 0,
                    count=f"{done:,}/{total:,}" if more else "",
                )
                self._total(total if more else None)

    def round(self, record: RoundRecord) -> None:
        """Show the iteration, the labels that changed and the residual."""
        text = (
            f"iteration {record.iteration}, {record.labels_changed:,} labels changed,"
            f" residual {record.residual:.1e}"
        )
        with self._lock:
            if self._task is not None:
                self._bars.update(self._task, description=text, completed=0, count="")
                self._total(None)

    def _total(self, total: int | None) -> None:
        # `Progress.update` takes None for "leave it as it is".
        assert self._task is not None
        self._bars.tasks[self._bars.task_ids.index(self._task)].total = total

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        """Print warnings; leave the rest to the JSON log."""
        if level == "info":
            return
        if name == "quality_warning" and sys.stdout.isatty():
            # The table of the result, on the same terminal, says it too.
            return
        text = fields.pop("message", None) or ", ".join(f"{k}={v}" for k, v in fields.items())
        self._console.print(f"{level}: {text}", style="yellow", highlight=False, markup=False)


def make_listener(*, json_logs: bool) -> JsonLines | LiveConsole:
    """Return a live display where stderr is a terminal and no JSON was asked for."""
    return JsonLines() if json_logs or not sys.stderr.isatty() else LiveConsole()
