"""Checkpoints of a solver or of rounds, results that outlive workers, and where a method runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import dask.array as da
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.console import RunListener
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.errors import WorkersChangedError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.method import MethodResult
from ssl_dask.run_control import RunControl, retried
from ssl_dask.storage.runs.checkpoint import Checkpoint, Checkpoints, load_block, save_block

RESULT_CHECKPOINT = "distributions"
IN_PROCESS_BYTES = 160 * 2**20
"""A graph and its class distributions of no more than this are propagated in this process."""

State: TypeAlias = tuple[int, list[list[Delayed]], Mapping[str, Any]]
"""Number of the sweep or round, lists of blocks, and what was stored with them."""


def save_state(
    name: str,
    checkpoints: Checkpoints,
    execution: Execution,
    listener: RunListener,
    iteration: int,
    state: Sequence[Sequence[Delayed]],
    meta: dict[str, Any],
) -> State:
    """Write the state of a solver or of rounds; return it as read from there.

    Parameters
    ----------
    name
        Of the checkpoint.
    execution
        Where the blocks lie.
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
    """Return a stored state; its blocks are read where they are used."""
    load = delayed(load_block, pure=False)
    state = [
        [load(kept.folder, index, kind=f"state{part}") for index in range(count)]
        for part, count in enumerate(kept.meta["parts"])
    ]
    return kept.meta["iteration"], state, kept.meta["solver"]


def solve_and_store(
    run: Callable[[RunControl], MethodResult],
    control: RunControl,
    state: str,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> MethodResult:
    """Run a method, and write its result to files where it was found on workers.

    Scores on a lost worker cannot be recomputed from the Dask graph. Until they are written to
    files, a loss restarts the method from its last checkpoint.

    Parameters
    ----------
    run
        Called with the control.
    control
        Where it runs, its listener and its losses.
    state
        Name of the checkpoints of the method.
    listener
        Gets an event for each checkpoint and loss.
    """
    execution = control.execution
    keep = partial(stored_rows, execution=execution, checkpoints=checkpoints, listener=listener)

    def find() -> MethodResult:
        found = run(
            replace(
                control,
                checkpoint=partial(save_state, state, checkpoints, execution, listener),
                resume=load_state(state, checkpoints, execution, listener),
                keep=None if execution.client is None else keep,
            )
        )
        if execution.client is None or found.lasting:
            return found
        return replace(found, F=keep(found.F))

    def watched() -> MethodResult:
        try:
            return find()
        except WorkersChangedError:
            listener.event("worker_lost", level="warning", name=RESULT_CHECKPOINT)
            raise

    return retried(watched, control.losses)


def stored_rows(
    rows: da.Array, execution: Execution, checkpoints: Checkpoints, listener: RunListener
) -> da.Array:
    """Write an array (N, ...), one file a block, and return it as read from there."""
    folder = checkpoints.new(RESULT_CHECKPOINT)
    save = delayed(save_block, pure=False)
    tasks = [save(folder, index, block) for index, block in enumerate(row_handles(rows))]
    execution.compute(tasks, "checkpoint")
    kept = checkpoints.commit(RESULT_CHECKPOINT, folder, {})
    listener.event("checkpoint_written", name=RESULT_CHECKPOINT)
    load = delayed(load_block, pure=False)
    loaded = [load(kept.folder, index) for index in range(len(tasks))]
    return array_of_blocks(loaded, rows.chunks[0], rows.shape[1:], rows.dtype)


def choose_executor(
    graph: BlockGraph, n_columns: int, execution: Execution, listener: RunListener
) -> tuple[BlockGraph, Execution]:
    """Bring a small graph into this process: its sweeps take less time than a message to a worker.

    The answer has the same bits in both places.
    """
    # Two arrays of scores, of 8 bytes at most, and what is cut from them.
    size = 8 * graph.n_edges + 3 * 8 * graph.n_nodes * n_columns
    if graph.order is not None:
        size += 8 * graph.n_rows
    near = execution.client is None or size <= IN_PROCESS_BYTES
    listener.event("propagates", where="this process" if near else "the workers", bytes=size)
    if execution.client is None or not near:
        return graph, execution

    values = execution.compute(graph.handles, "fetch graph")
    here = (delayed(value, pure=False, traverse=False) for value in values)
    return graph.with_handles(here), Execution()
