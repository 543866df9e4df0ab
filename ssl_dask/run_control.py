"""How a method runs, whatever it computes: where, who is told, and what it goes on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dask.delayed import Delayed

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


@dataclass(frozen=True)
class RunControl:
    """Where a method runs, who is told of its rounds, and its checkpoints.

    Parameters
    ----------
    execution
        Where tasks run; default: threads of this process.
    on_round
        Called after each round or counted sweep; None: nobody.
    checkpoint
        Stores the state of a run; None: no checkpoints.
    checkpoint_seconds
        Least time between two checkpoints of a solver, in seconds; rounds are stored each.
    resume
        The checkpoint that the run goes on from; None: it begins anew.
    """

    execution: Execution = field(default_factory=Execution)
    on_round: OnRound | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    resume: Resume | None = None
