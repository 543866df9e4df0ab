"""How the process of a command ends: signals unwind the stack, errors become exit codes.

The exit codes are those of `ssl_dask.errors`, 128 + n for signal n, and 70 for a defect of
ssl_dask itself. The last line on stderr of a command that failed is one JSON object.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Any

import typer

from ssl_dask.errors import MAX_PROBLEMS_SHOWN, SslDaskError
from ssl_dask.version import __version__

EXIT_DEFECT = 70
# Typer brings a click of its own, or uses the one that is installed: whichever this class is from.
USAGE_ERRORS: tuple[type[Any], ...] = tuple(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
RAISE_AGAIN_SECONDS = 0.05
CLEANUP_SECONDS = 10.0
"""A signal that comes sooner after the first does not interrupt the cleanup."""


class SignalReceived(BaseException):
    """A signal asked this process to end; carries its number up through the cleanup."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack as SIGINT does: workers and scratch are removed."""
    first: list[float] = []

    def receive(number: int, frame: FrameType | None) -> None:
        # A second signal must not interrupt the cleanup of the first, unless that hangs.
        now = time.monotonic()
        if not first or now - first[0] > CLEANUP_SECONDS:
            first[:] = [now]
            raise SignalReceived(number)

    def again(lost: sys.UnraisableHookArgs) -> None:
        # Where the signal fell into a finaliser, Python drops its exception: raise it once more.
        if not isinstance(lost.exc_value, SignalReceived):
            told_before(lost)
            return
        number = lost.exc_value.number
        first.clear()
        signal.signal(signal.SIGALRM, lambda alarm, frame: receive(number, frame))
        signal.setitimer(signal.ITIMER_REAL, RAISE_AGAIN_SECONDS)

    told_before, sys.unraisablehook = sys.unraisablehook, again
    # A signal that is ignored from the start stays so: that is how nohup works.
    before = {
        number: signal.signal(number, receive)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = told_before
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(code: int, text: str, error: BaseException, /, **fields: Any) -> int:
    """Print the text for people, and the last line of stderr for programs."""
    run_id, stage = getattr(error, "run_place", (None, None))
    if text and not getattr(error, "json_only", False):
        print(text, file=sys.stderr)
    line = {
        "ts": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "level": "error",
        "event": "failed",
        "code": code,
        "run_id": run_id,
        "stage": stage,
        "file": None,
        "row_group": None,
        "column": None,
        "rows": None,
        "hint": None,
        **fields,
    }
    print(json.dumps(line), file=sys.stderr, flush=True)
    return code


def exit_code(command: Callable[..., Any], arguments: list[str] | None) -> int:
    """Run a command line and return the exit code of what happened.

    Parameters
    ----------
    command
        Called as `command(args=arguments, prog_name=..., standalone_mode=False)`.
    arguments
        Without the program's name; None: those of this process.
    """
    try:
        with signals_as_exceptions():
            code = command(args=arguments, prog_name="ssl-dask", standalone_mode=False)
        return int(code or 0)
    except SslDaskError as error:
        fields = error.as_dict()
        problems = [asdict(one) for one in error.problems[:MAX_PROBLEMS_SHOWN]]
        code = fields.pop("code")
        return _fail(code, f"ssl-dask: {error}", error, **fields, problems=problems)
    except SignalReceived as received:
        name = signal.Signals(received.number).name
        hint = "run again with --resume"
        text = f"ssl-dask: ended by {name}"
        return _fail(128 + received.number, text, received, message=f"ended by {name}", hint=hint)
    except USAGE_ERRORS as error:
        error.show(sys.stderr)
        context = getattr(error, "ctx", None)
        hint = f"see `{context.command_path if context else 'ssl-dask'} --help`"
        return _fail(error.exit_code, "", error, message=error.format_message(), hint=hint)
    except (typer.Abort, KeyboardInterrupt) as error:
        hint = "run again with --resume"
        return _fail(130, "ssl-dask: interrupted", error, message="interrupted", hint=hint)
    except BrokenPipeError:
        # The reader of stdout went away, as `ssl-dask schema | head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        lines = traceback.format_exc()
        line = shlex.join(["ssl-dask", *(sys.argv[1:] if arguments is None else arguments)])
        hint = f"a defect of ssl_dask {__version__}; please report it with the traceback"
        return _fail(
            EXIT_DEFECT,
            f"{lines}ssl-dask: {hint}",
            error,
            message=f"{type(error).__name__}: {line}",
            hint=hint,
            traceback=lines,
        )
