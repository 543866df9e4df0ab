"""How a method runs, whatever it computes: where, its listener, its checkpoints, its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import dask.array as da
from dask.delayed import Delayed

from ssl_dask.errors import ComputeError, WorkersChangedError
from ssl_dask.execution import Execution
from ssl_dask.round_record import RoundRecord

CHECKPOINT_SECONDS = 300.0

State = Sequence[Sequence[Delayed]]
"""Arrays of a checkpoint: for each array its blocks."""
OnRound = Callable[[RoundRecord], None]
Resume = tuple[int, State, Mapping[str, Any]]
"""(round, state, meta) of a stored checkpoint; meta holds JSON types."""
Checkpoint = Callable[[int, State, dict[str, Any]], Resume]
"""Called as `checkpoint(round, state, meta)`; returns them as they are stored."""
Found = TypeVar("Found")


@dataclass
class Losses:
    """How often a run may lose workers; one budget for all of its steps."""

    most: int = 50
    """Losses after which the run ends."""
    count: int = 0
    """Losses so far. One worker may count twice: once for its scores, once for what was made of
    them."""

    def add(self, error: WorkersChangedError) -> None:
        """Count a loss.

        Raises
        ------
        ComputeError
            There were more than `most`.
        """
        self.count += 1
        if self.count > self.most:
            raise ComputeError(
                f"workers were lost {self.count} times in this run",
                hint="see the workers' logs for why they ended; often memory: raise cluster.memory",
            ) from error


def retried(find: Callable[[], Found], losses: Losses) -> Found:
    """Return what `find` returns; it is called again after each loss of workers.

    Raises
    ------
    ComputeError
        Workers were lost more often than `losses` allows.
    """
    while True:
        try:
            return find()
        except WorkersChangedError as error:
            losses.add(error)


@dataclass(frozen=True)
class RunControl:
    """Where a method runs, the listener of its rounds, its checkpoints and its losses."""

    execution: Execution = field(default_factory=Execution)
    """Where tasks run; default: threads of this process."""
    on_round: OnRound | None = None
    """Called after each round or counted sweep; None: no listener."""
    checkpoint: Checkpoint | None = None
    """Stores the state of a run; None: no checkpoints."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """Least time between two checkpoints of a solver, in seconds; rounds are stored each."""
    resume: Resume | None = None
    """The checkpoint that the run restarts from; None: it begins anew."""
    keep: Callable[[da.Array], da.Array] | None = None
    """Writes an array (N, ...) of rows that lie on workers to files, and returns it as read from
    there; None: rows stay where they are."""
    losses: Losses = field(default_factory=Losses)
    """How often workers may be lost."""


class LastKept:
    """A control that restarts from the newest checkpoint each time it is used.

    Older checkpoints may be gone from disk by then.

    Parameters
    ----------
    control
        The control of the first use.

    Attributes
    ----------
    control
        The control of the next use.
    """

    def __init__(self, control: RunControl) -> None:
        self._store = control.checkpoint
        self.control = control
        if self._store is not None:
            self.control = replace(control, checkpoint=self._keep)

    def _keep(self, number: int, state: State, meta: dict[str, Any]) -> Resume:
        assert self._store is not None
        kept = self._store(number, state, meta)
        self.control = replace(self.control, resume=kept)
        return kept
