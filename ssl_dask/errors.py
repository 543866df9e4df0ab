"""Every error that ssl_dask raises on purpose, each with the exit code of the command line.

A message names the value, the limit and the cure; it never quotes the content of a data cell.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

MAX_PROBLEMS_SHOWN = 100


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a job file or its input, and where."""

    message: str
    """One sentence: what was expected and what was found."""
    file: str | None = None
    row_group: int | None = None
    column: str | None = None
    """Where, as far as it is known. `row_group` counts from 0, as Parquet does."""
    rows: int | None = None
    """How many rows are concerned."""
    hint: str | None = None
    """What to do about it."""

    def __str__(self) -> str:
        where = [self.file] if self.file else []
        if self.row_group is not None:
            where.append(f"row group {self.row_group}")
        if self.column is not None:
            where.append(f"column {self.column!r}")
        text = f"{', '.join(where)}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a question for the nearest known word, if one is near; else `otherwise`."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else otherwise


class Caution(str):
    """A note on the input that changes the answer: commands show it as a warning."""

    __slots__ = ()


def cautions(notes: Iterable[str]) -> tuple[str, ...]:
    """Return the notes that change the answer, each once."""
    return tuple(dict.fromkeys(note for note in notes if isinstance(note, Caution)))


class SslDaskError(Exception):
    """Base of all errors raised on purpose.

    Attributes
    ----------
    exit_code
        What the command line exits with.
    usual_hint
        What to do where no problem has a hint of its own.
    problems
        Every `Problem` found; the message lists them, up to `MAX_PROBLEMS_SHOWN`.
    """

    exit_code: ClassVar[int] = 70
    usual_hint: ClassVar[str] = "`ssl-dask validate JOB` shows all that is wrong with a job"

    def __init__(self, problems: str | Problem | Sequence[Problem], **where: Any) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, **where)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: list[Problem] = list(problems)
        super().__init__(self._text())

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process boundaries when a worker raises them.
        return type(self), (self.problems,)

    def _text(self) -> str:
        shown = [str(problem) for problem in self.problems[:MAX_PROBLEMS_SHOWN]]
        hidden = len(self.problems) - len(shown)
        if hidden > 0:
            shown.append(f"... and {hidden} more")
        return shown[0] if len(shown) == 1 else "\n".join(f"- {line}" for line in shown)

    def as_dict(self) -> dict[str, Any]:
        """Return the first problem's place and hint, for the last line of a failed run."""
        first = asdict(self.problems[0]) if self.problems else {}
        first["hint"] = next((one.hint for one in self.problems if one.hint), self.usual_hint)
        return {
            "code": self.exit_code,
            "error": type(self).__name__,
            "message": str(self),
            **{key: first.get(key) for key in ("file", "row_group", "column", "rows", "hint")},
        }


class JobSpecError(SslDaskError):
    """The job file or the command's arguments are wrong."""

    exit_code = 2
    usual_hint = "`ssl-dask schema` describes every key of a job"


class InputDataError(SslDaskError):
    """The data to be labelled, or the labels, are not usable as they stand."""

    exit_code = 3


class ConstantViewError(InputDataError, ValueError):
    """In a view of the rows all are alike. A ValueError too: estimators raise it when they fit."""


class UnknownChunksError(InputDataError, ValueError):
    """A Dask array does not know the lengths of its chunks. A ValueError too, as for estimators."""


class ResumeMismatchError(SslDaskError):
    """A checkpoint belongs to another job, input or version."""

    exit_code = 4
    usual_hint = "run without --resume"


class ComputeError(SslDaskError):
    """Workers were lost, ran out of memory, or nothing moved any more."""

    exit_code = 5
    usual_hint = "see the logs of the workers; `--resume` goes on from the last checkpoint"


class WorkersChangedError(ComputeError):
    """Workers were lost, and with them the blocks that they held."""


class BlocksLostError(WorkersChangedError):
    """The input blocks of a solve were lost with a worker; only their maker can make them again."""


class StorageError(SslDaskError):
    """The output could not be written: disk full, no permission, not a folder of ours."""

    exit_code = 6
    usual_hint = "check that the path exists, is writable and has space left; then run again"


class CommitUnknownError(SslDaskError):
    """It is not known whether the new run became visible; nothing was deleted."""

    exit_code = 7
    usual_hint = "look at the output before the next run: it shows whether the run is there"


class QualityError(SslDaskError):
    """The labels there are do not allow the answer that was asked for."""

    exit_code = 8
    usual_hint = "label more rows of each class"


class OutputLockedError(SslDaskError):
    """Another run holds the output."""

    exit_code = 75
    usual_hint = "wait until the other run has ended"


class GraphError(InputDataError):
    """A neighbour graph cannot be built from these rows or edges."""


@contextmanager
def collect_errors(errors: list[SslDaskError]) -> Iterator[None]:
    """Append an error of this package to `errors`, so that what comes after is checked as well."""
    try:
        yield
    except SslDaskError as error:
        errors.append(error)


def raise_all(errors: Sequence[SslDaskError]) -> None:
    """Raise one error with the problems of all, of the kind with the lowest exit code, if any.

    Raises
    ------
    SslDaskError
        `errors` is not empty.
    """
    if errors:
        kind = type(min(errors, key=lambda error: error.exit_code))
        raise kind(list(dict.fromkeys(one for error in errors for one in error.problems)))
