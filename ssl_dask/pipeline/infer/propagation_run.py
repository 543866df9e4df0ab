"""Step 4 of methods on a graph: where they run, how they go on after a loss, and when to switch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.console import RunListener
from ssl_dask.errors import WorkersChangedError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import Labels
from ssl_dask.method import Method, MethodInputs
from ssl_dask.pipeline.infer.saved_state import load_state, save_state
from ssl_dask.propagation.engine.propagate import Propagated
from ssl_dask.propagation.fallback.class_collapse import Collapse
from ssl_dask.propagation.fallback.run_with_fallback import (
    did_not_label,
    method_words,
    run_with_fallback,
)
from ssl_dask.run_control import RunControl, retried
from ssl_dask.spec_model import SpecModel
from ssl_dask.storage.runs.checkpoint import Checkpoints, load_block, save_block

STATE_CHECKPOINT = "propagation"
RESULT_CHECKPOINT = "distributions"
IN_PROCESS_BYTES = 160 * 2**20
"""A graph and its class distributions of no more than this are propagated in this process."""


@dataclass(frozen=True)
class Answer:
    """What the method found, or the one that it was switched to.

    Parameters
    ----------
    found
        Distributions of the rows.
    hidden_F
        float32 (S, C): each seed's row of F while it was hidden; zeros for seeds never hidden.
    answered_by
        The other method; None without a switch.
    warnings
        What a person should know, a sentence each.
    """

    found: Propagated
    hidden_F: npt.NDArray[np.float32]
    answered_by: SpecModel | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PropagationRun:
    """The graph, the seeds and where it all runs; any method on a graph can be run on them.

    Parameters
    ----------
    graph
        Graph of N rows.
    X, X_seeds
        Features (N, d), and (S, d) of the seeds, for a method that needs them.
    labels, folds
        The seeds, and which are hidden together.
    execution, checkpoints, listener
        Where it runs, its checkpoints, and its listener.
    """

    graph: BlockGraph
    X: da.Array | None
    X_seeds: Any
    labels: Labels
    folds: HiddenSeeds
    execution: Execution
    checkpoints: Checkpoints
    listener: RunListener

    def uncollapsed(self, spec: SpecModel, policy: Literal["switch", "warn", "error"]) -> Answer:
        """Run a method, and others in its place where its classes collapse.

        A collapse that most hidden seeds of the classes contradict is none: they are rare.

        Raises
        ------
        QualityError
            Classes collapsed: with "error", or in every method that "switch" may take.
        ComputeError
            Workers were lost again and again, or lack memory.
        """
        hidden = self.folds.masks
        n_columns = self.labels.n_classes * (1 + self.folds.n_folds)
        near, where = nearest_place(self.graph, n_columns, self.execution, self.listener)

        def run(method: Method, one: SpecModel, number: int) -> Propagated:
            return self.run(method, one, number, near, where)

        def judge(collapse: Collapse, found: Propagated) -> Collapse:
            return collapse.judged(self.labels, hidden, self.hidden_F(found))

        def tell(one: SpecModel, collapse: Collapse) -> None:
            name = method_words(one)
            self.listener.event(
                "classes_collapsed",
                level="warning",
                method=name,
                message=f"{name}: {collapse.sentence()}: they have collapsed into the others",
            )

        answer = run_with_fallback(
            spec,
            self.labels,
            run,
            policy=policy,
            judge=judge,
            on_collapse=tell,
            hint="label more rows of the classes that are gone, or take other features; or"
            " decision.on_collapse: "
            + ("switch" if policy == "error" else "warn writes the labels as they are"),
        )
        warnings = [did_not_label(one, collapse) for one, collapse in answer.collapsed]
        if answer.collapse is not None:
            sentence = answer.collapse.sentence()
            warnings.append(
                f"{sentence}: they are taken as rare."
                if answer.collapse.contradicted
                else f"{method_words(answer.spec)}: {sentence}: they have collapsed into the"
                " others; decision.on_collapse: switch lets another method label them."
            )
        if answer.switched:
            warnings.append(f"The labels are those of: {method_words(answer.spec)}.")
        return Answer(
            answer.found,
            self.hidden_F(answer.found),
            answer.spec if answer.switched else None,
            tuple(warnings),
        )

    def run(
        self, method: Method, spec: SpecModel, number: int, graph: BlockGraph, where: Execution
    ) -> Propagated:
        """Run one method; its answer is written to files where it was found on workers.

        Parameters
        ----------
        number
            0 for the method of the job: each that is tried has checkpoints of its own.
        graph, where
            The graph, and where the method runs on it.
        """
        inputs = MethodInputs(
            labels=self.labels,
            hidden=self.folds.masks,
            graph=graph,
            X=self.X if "features" in method.needs else None,
            X_seeds=self.X_seeds,
            X_execution=self.execution,
        )
        state = STATE_CHECKPOINT if number == 0 else f"{STATE_CHECKPOINT}_{method.name}"
        return run_until_kept(
            partial(method.run, inputs, spec),
            RunControl(where, on_round=self.listener.round),
            state,
            self.checkpoints,
            self.listener,
        )

    def hidden_F(self, found: Propagated) -> npt.NDArray[np.float32]:
        """Return each seed's row of F while it was hidden, float32 (S, C)."""
        empty = np.zeros((self.labels.n_seeds, self.labels.n_classes), dtype=np.float32)
        rows: npt.NDArray[np.float32] = self.folds.gathered(found.fold_F, empty)
        return rows


def run_until_kept(
    run: Callable[[RunControl], Propagated],
    control: RunControl,
    state: str,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Propagated:
    """Propagate, and write the answer to files where it was found on workers.

    Scores on a lost worker cannot be recomputed from the Dask graph. Until they are written to
    files, a loss restarts the propagation from its last checkpoint.

    Parameters
    ----------
    run
        Called with the control.
    control
        Where it runs, its listener and its losses.
    state
        Name of the checkpoints of the propagation.
    """
    execution = control.execution
    keep = partial(kept_rows, execution=execution, checkpoints=checkpoints, listener=listener)

    def find() -> Propagated:
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

    def watched() -> Propagated:
        try:
            return find()
        except WorkersChangedError:
            listener.event("worker_lost", level="warning", name=RESULT_CHECKPOINT)
            raise

    return retried(watched, control.losses)


def kept_rows(
    rows: da.Array, execution: Execution, checkpoints: Checkpoints, listener: RunListener
) -> da.Array:
    """Write an array (N, ...), one file a block, and return it as read from there."""
    folder = checkpoints.new(RESULT_CHECKPOINT)
    blocks = rows.to_delayed(optimize_graph=False).ravel()
    save = delayed(save_block, pure=False)
    tasks = [save(folder, index, block) for index, block in enumerate(blocks)]
    execution.compute(tasks, "checkpoint")
    kept = checkpoints.commit(RESULT_CHECKPOINT, folder, {})
    listener.event("checkpoint_written", name=RESULT_CHECKPOINT)
    load = delayed(load_block, pure=False)
    return da.concatenate(
        [
            da.from_delayed(load(kept.folder, index), (n, *rows.shape[1:]), dtype=rows.dtype)
            for index, n in enumerate(rows.chunks[0])
        ]
    )


def nearest_place(
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
