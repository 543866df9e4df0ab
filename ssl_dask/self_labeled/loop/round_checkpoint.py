"""What of the rounds is stored, so that a killed run goes on from there.

In the middle of each round, when its labels are given and before models are fitted on them, the
labels of all rows are stored, and what the client knows. Models are not: the same labels give the
same models again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dask.delayed import Delayed

from ssl_dask.errors import ResumeMismatchError
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import Resume, State
from ssl_dask.self_labeled.loop.hidden_loss import HiddenLoss
from ssl_dask.self_labeled.loop.round_method import RoundMethod, Selection
from ssl_dask.self_labeled.loop.track import Track, stored_labels


@dataclass
class Run:
    """Where the rounds are: in between two, or after the first half of one."""

    assigned: list[list[Delayed]]
    models: list[list[Delayed]]
    """Of each track: tasks of the labels of its blocks, and of its models."""
    round: int = 0
    """Number of the round."""
    began: float = 0.0
    """When it began, by the performance counter."""
    selection: Selection | None = None
    """Of the round whose labels are given and whose models are not fitted yet."""
    records: list[RoundRecord] = field(default_factory=list)
    """Of the rounds that are done."""
    kept_assigned: list[Delayed] = field(default_factory=list)
    kept_models: list[Delayed] = field(default_factory=list)
    """Of the first track in the round that answers so far."""
    kept_fit: int = 0
    """Number of the round in which these models were fitted."""
    kept_elsewhere: bool = False
    """The labels of that round were stored again since its models were fitted: what these were
    fitted on may be gone."""
    notes: tuple[str, ...] = ()
    """What a person should know."""


def state_of(
    run: Run, method: RoundMethod, tracks: Sequence[Track], loss: HiddenLoss
) -> tuple[State, dict[str, Any]]:
    """Return what is stored in the middle of a round: arrays as lists of tasks, and JSON types.

    The kept labels are of a round before; those before the first need no storing.
    """
    assert run.selection is not None
    parts = [stored_labels(assigned) for assigned in run.assigned]
    if run.kept_fit:
        parts.append(stored_labels(run.kept_assigned))
    meta = {
        **_identity(method, tracks),
        "kept_round": run.kept_fit,
        "records": [record.as_dict() for record in run.records],
        "selection": {
            "thresholds": list(run.selection.thresholds),
            "notes": dict(run.selection.notes),
        },
        "states": [track.state.as_dict() for track in tracks],
        "loss": loss.as_dict(),
        "notes": list(run.notes),
    }
    return parts, meta


def restored_labels(stored: Resume, tracks: Sequence[Track]) -> list[list[Delayed]]:
    """Return tasks of the stored labels of each track, and last those of the kept round, if any."""
    _, parts, meta = stored
    owners = [*tracks, *([tracks[0]] if meta["kept_round"] else [])]
    return [track.restored(group) for track, group in zip(owners, parts, strict=True)]


def run_of(resume: Resume, method: RoundMethod, tracks: Sequence[Track], loss: HiddenLoss) -> Run:
    """Return where the rounds were, and bring tracks and loss there; labels are still missing.

    Raises
    ------
    ResumeMismatchError
        The state is of another method, or of other blocks of rows.
    """
    iteration, _, meta = resume
    for name, value in _identity(method, tracks).items():
        if meta.get(name) != value:
            raise ResumeMismatchError(
                f"the checkpoint of the rounds is of another {name.replace('_', ' ')}",
                hint="run without --resume; blocks of rows depend on the workers' memory",
            )
    run = Run([], [], round=iteration, began=time.perf_counter())
    run.records = [RoundRecord.from_dict(one) for one in meta["records"]]
    run.notes = tuple(meta["notes"])
    run.kept_fit = meta["kept_round"]
    chosen = meta["selection"]
    run.selection = Selection(iteration, tuple(chosen["thresholds"]), chosen["notes"])
    loss.restore(meta["loss"])
    for track, state in zip(tracks, meta["states"], strict=True):
        track.state.restore(state)
    return run


def _identity(method: RoundMethod, tracks: Sequence[Track]) -> dict[str, Any]:
    return {
        "method": type(method).__name__,
        "tracks": len(tracks),
        "row_chunks": list(tracks[0].row_chunks),
    }
