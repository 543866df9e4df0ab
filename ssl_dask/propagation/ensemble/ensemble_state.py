"""What an ensemble has found so far: vectors over the nodes, and numbers about them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.execution import Execution
from ssl_dask.propagation.engine.partitions import Vector
from ssl_dask.propagation.engine.session import check_identity
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import LastKept, Resume, RunControl, retried


@dataclass
class EnsembleState:
    """The state between two steps."""

    vectors: dict[str, Vector] = field(default_factory=dict)
    """Name -> blocks, one a strip, each with a row a node."""
    widths: dict[str, int] = field(default_factory=dict)
    """Name -> columns of the vector, 0 if it has one dimension."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """In JSON types."""
    n_iter: int = 0
    step: int = 0
    """Sweeps and steps done."""
    records: list[RoundRecord] = field(default_factory=list)
    """Of the counted sweeps and rounds so far."""

    def put(self, name: str, blocks: Vector, width: int) -> None:
        """Keep a vector."""
        self.vectors[name], self.widths[name] = blocks, width

    def drop(self, *names: str) -> None:
        """Forget vectors, if they are there."""
        for name in names:
            self.vectors.pop(name, None)
            self.widths.pop(name, None)

    def meta(self, identity: Mapping[str, Any], node_chunks: Sequence[int]) -> dict[str, Any]:
        """Return what must stand beside the vectors in a checkpoint, in JSON types.

        It shares nothing with the state: the steps that follow change that, and when they are done
        again after a loss, it must be what it was.
        """
        return {
            **identity,
            "names": list(self.vectors),
            "widths": [self.widths[name] for name in self.vectors],
            "numbers": copy.deepcopy(self.numbers),
            "step": self.step,
            "records": [record.as_dict() for record in self.records],
            "node_chunks": list(node_chunks),
        }

    @classmethod
    def from_resume(
        cls, resume: Resume, identity: Mapping[str, Any], node_chunks: Sequence[int]
    ) -> EnsembleState:
        """Return the state of a checkpoint; its blocks may be cut in another way.

        The checkpoint may be taken up again: it shares nothing with the state.

        Raises
        ------
        ResumeMismatchError
            It is of something else.
        """
        n_iter, blocks, meta = resume
        check_identity(meta, identity)
        numbers = copy.deepcopy(dict(meta["numbers"]))
        state = cls(numbers=numbers, n_iter=n_iter, step=int(meta["step"]))
        state.records = [RoundRecord.from_dict(one) for one in meta["records"]]
        chunks = tuple(meta["node_chunks"])
        for name, width, vector in zip(meta["names"], meta["widths"], blocks, strict=True):
            state.put(name, _cut(list(vector), chunks, tuple(node_chunks), width), width)
        return state

    def hold(self, stored: EnsembleState, execution: Execution) -> None:
        """Read the vectors from where they are stored, and hold them on the workers.

        Those that are lost are then read again from there, not from what they were made of: scores
        that have moved on, or a checkpoint before this one, which is removed in time.
        """
        # One by one: what is replaced goes before the next is read.
        for name, blocks in stored.vectors.items():
            self.vectors[name] = execution.persist(blocks, "checkpoint")


def run_steps(
    steps: Sequence[Callable[[EnsembleState], None]],
    identity: Mapping[str, Any],
    node_chunks: Sequence[int],
    control: RunControl,
) -> EnsembleState:
    """Do the steps one after the other, from a checkpoint if there is one.

    When workers are lost, it restarts from the last checkpoint. Checkpoints are
    stored between two steps.

    Raises
    ------
    ComputeError
        Workers were lost again and again.
    ResumeMismatchError
        See `EnsembleState.from_resume`.
    """
    last, execution = LastKept(control), control.execution

    def find() -> EnsembleState:
        state, saved = EnsembleState(), last.control.resume
        if saved is not None:
            state = EnsembleState.from_resume(saved, identity, node_chunks)
        saved_at = time.monotonic()
        state.hold(state, execution)
        for step in steps[state.step :]:
            step(state)
            state.step += 1
            checkpoint = last.control.checkpoint
            due = time.monotonic() - saved_at >= control.checkpoint_seconds
            if checkpoint is not None and due and state.step < len(steps):
                meta = state.meta(identity, node_chunks)
                kept = checkpoint(state.n_iter, list(state.vectors.values()), meta)
                state.hold(EnsembleState.from_resume(kept, identity, node_chunks), execution)
                saved_at = time.monotonic()
        return state

    return retried(find, control.losses)


def _cut(blocks: Vector, chunks: tuple[int, ...], wanted: tuple[int, ...], width: int) -> Vector:
    if chunks == wanted:
        return blocks
    whole = array_of_blocks(blocks, chunks, (width,) if width else (), np.float32)
    return row_handles(whole.rechunk({0: wanted}))
