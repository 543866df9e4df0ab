"""The state of a solver or of rounds in checkpoints: lists of blocks of arrays, and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from dask import delayed
from dask.delayed import Delayed

from ssl_dask.console import RunListener
from ssl_dask.execution import Execution
from ssl_dask.storage.runs.checkpoint import Checkpoint, Checkpoints, load_block, save_block

State: TypeAlias = tuple[int, list[list[Delayed]], Mapping[str, Any]]
"""Number of the sweep or round, lists of blocks, and what was stored with them."""


def save_state(
    name: str,
    checkpoints: Checkpoints,
    execution: Execution,
    listener: RunListener,
    iteration: int,
    state: list[list[Delayed]],
    meta: dict[str, Any],
) -> State:
    """Write the state of a solver or of rounds; return it as read from there.

    Parameters
    ----------
    name
        Of the checkpoint.
    iteration
        Number of the sweep or round.
    state
        Lists of blocks of arrays.
    meta
        JSON types.

    Raises
    ------
    StorageError
        Disk full or no permission.
    """
    folder = checkpoints.new(name)
    save = delayed(save_block, pure=False)
    tasks = [
        save(folder, index, block, kind=f"state{part}")
        for part, blocks in enumerate(state)
        for index, block in enumerate(blocks)
    ]
    execution.compute(tasks, "checkpoint")
    shape = {"iteration": iteration, "parts": [len(blocks) for blocks in state], "solver": meta}
    kept = checkpoints.commit(name, folder, shape)
    listener.event("checkpoint_written", name=name, iteration=iteration)
    return _state_of(kept)


def load_state(
    name: str, checkpoints: Checkpoints, execution: Execution, listener: RunListener
) -> State | None:
    """Return the newest state of this name, its blocks read; None without one."""
    found = checkpoints.find(name)
    if found is None:
        return None
    iteration, state, meta = _state_of(found)
    held = [execution.persist(blocks, "resume") for blocks in state]
    listener.event("checkpoint_used", name=name, iteration=iteration)
    return iteration, held, meta


def _state_of(kept: Checkpoint) -> State:
    """Return what is gone on from; blocks are read where they are used."""
    load = delayed(load_block, pure=False)
    state = [
        [load(kept.folder, index, kind=f"state{part}") for index in range(count)]
        for part, count in enumerate(kept.meta["parts"])
    ]
    return kept.meta["iteration"], state, kept.meta["solver"]
