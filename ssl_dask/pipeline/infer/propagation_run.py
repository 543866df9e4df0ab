"""Step 4 of methods on a graph: where they run, how they go on after a loss, and when to switch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.console import RunListener
from ssl_dask.errors import QualityError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.saved_state import load_state, save_state
from ssl_dask.propagation import METHODS, HarmonicValues, Propagated
from ssl_dask.propagation.engine.partitions import WorkersChangedError
from ssl_dask.propagation.ensemble.ensemble_run import SeedClassifier
from ssl_dask.propagation.ensemble.graph_ensemble import logistic_regression
from ssl_dask.propagation.fallback.class_collapse import find_collapse
from ssl_dask.propagation.fallback.fallback_methods import answers_to
from ssl_dask.propagation.methods.class_shares import expected_rows
from ssl_dask.spec_model import SpecModel
from ssl_dask.storage.runs.checkpoint import Checkpoints, load_block, save_block

STATE_CHECKPOINT = "propagation"
RESULT_CHECKPOINT = "distributions"
MAX_ATTEMPTS = 5
Found = TypeVar("Found", Propagated, HarmonicValues)
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
    """The graph, the seeds and where it all runs; any method can be run on them.

    Parameters
    ----------
    graph
        Graph of N rows.
    X, X_seeds
        Features (N, d), and (S, d) of the seeds, for a method that wants a classifier.
    labels, folds
        The seeds, and which are hidden together.
    execution, checkpoints, listener
        Where it runs, what it goes on from, and who is told.
    """

    graph: BlockGraph
    X: da.Array
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
        near, where = nearest_place(
            self.graph,
            self.labels.n_classes * (1 + self.folds.n_folds),
            self.execution,
            self.listener,
        )
        hidden = [self.folds.hidden(fold) for fold in range(self.folds.n_folds)]
        warnings: tuple[str, ...] = ()
        for number, one in enumerate((spec, *answers_to(spec))):
            answer = self._run(one, number, near, where, hidden)
            expected = expected_rows(one, self.labels)
            collapse = find_collapse(answer.found.class_rows, expected)
            if collapse is not None:
                collapse = collapse.judged(self.labels, hidden, answer.hidden_F)
            if collapse is None or collapse.contradicted:
                if collapse is not None:
                    warnings += (f"{collapse.sentence()}: they are taken as rare.",)
                if number:
                    warnings += (f"The labels are those of: {_words(one)}.",)
                return replace(answer, answered_by=one if number else None, warnings=warnings)
            name = _words(one)
            self.listener.event(
                "classes_collapsed",
                level="warning",
                method=name,
                message=f"{name}: {collapse.sentence()}: they have collapsed into the others",
            )
            if policy == "warn":
                hint = "decision.on_collapse: switch lets another method label them"
                told = (
                    f"{name}: {collapse.sentence()}: they have collapsed into the others; {hint}."
                )
                return replace(answer, warnings=(told,))
            warnings += (f"{name} did not label: {collapse.sentence()}.",)
            if policy == "error":
                break
        raise QualityError(
            "the classes have collapsed into few: " + " ".join(warnings),
            hint="label more rows of the classes that are gone, or take other features; or"
            " decision.on_collapse: "
            + ("switch" if policy == "error" else "warn writes the labels as they are"),
        )

    def _run(
        self,
        spec: SpecModel,
        number: int,
        graph: BlockGraph,
        where: Execution,
        hidden: Sequence[npt.NDArray[np.bool_]],
    ) -> Answer:
        name: str = spec.model_dump()["name"]
        method = METHODS[name]
        parameters = spec.model_dump(exclude={"name"})
        if method.wants_classifier:
            wanted = parameters.pop("classifier") != "none"
            classifier = logistic_regression(self.X, self.X_seeds, self.labels) if wanted else None
            if classifier is not None:
                classifier = _scored_nearby(classifier, self.execution, where)
            parameters["classifier"] = classifier
        # Each method that is tried goes on from checkpoints of its own.
        state = STATE_CHECKPOINT if number == 0 else f"{STATE_CHECKPOINT}_{name}"
        run = partial(
            method.run,
            graph,
            self.labels,
            **parameters,
            hidden=hidden,
            execution=where,
            on_round=self.listener.round,
            checkpoint=partial(save_state, state, self.checkpoints, where, self.listener),
        )
        found = run_until_kept(run, state, "F", where, self.checkpoints, self.listener)
        hidden_F = np.zeros((self.labels.n_seeds, self.labels.n_classes), dtype=np.float32)
        for mask, rows in zip(hidden, found.fold_F, strict=True):
            hidden_F[mask] = rows
        return Answer(found, hidden_F)


def _words(spec: SpecModel) -> str:
    """Return the name of a method for people."""
    name = str(spec.model_dump()["name"]).replace("_", " ").capitalize()
    mass = getattr(spec, "class_mass", "none")
    return name if mass == "none" else f"{name} with its class mass normalised"


def _scored_nearby(
    classifier: SeedClassifier, execution: Execution, where: Execution
) -> SeedClassifier:
    """Return a classifier whose answers lie where the propagation runs; X may lie on workers."""
    if where is execution:
        return classifier

    def score(seen: npt.NDArray[np.bool_]) -> da.Array:
        rows = classifier(seen)
        blocks = list(rows.to_delayed(optimize_graph=False).ravel())
        return da.concatenate(
            [da.from_array(values) for values in execution.compute(blocks, "classifier")]
        )

    return score


def run_until_kept(
    run: Callable[..., Found],
    state: str,
    answer: str,
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Found:
    """Propagate, and write the answer to files where it was found on workers.

    A worker that is lost takes its scores with it, and they cannot be computed again by what comes
    after: until the answer is written, the propagation is gone on with from its last checkpoint.

    Parameters
    ----------
    run
        Called with `resume`; returns a dataclass.
    state
        Name of the checkpoints of the propagation.
    answer
        The field of what `run` returns that is a Dask array of the rows.
    """
    return until_kept(
        lambda: run(resume=load_state(state, checkpoints, execution, listener)),
        lambda found, keep: replace(found, **{answer: keep(getattr(found, answer))}),
        execution,
        checkpoints,
        listener,
    )


def until_kept(
    find: Callable[[], Found],
    kept: Callable[[Found, Callable[[da.Array], da.Array]], Found],
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Found:
    """Return what `find` returns, its rows written to files where they were found on workers.

    Parameters
    ----------
    find
        Called again where a worker was lost before all was written, also while it was at work: it
        goes on from stored checkpoints, or begins anew.
    kept
        Called as `kept(found, keep)`; returns `found` with its rows as `keep` returns them.

    Raises
    ------
    WorkersChangedError
        Workers were lost again and again.
    """
    for attempt in itertools.count(1):
        try:
            found = find()
            if execution.client is None:
                return found
            return kept(found, lambda rows: _kept_rows(rows, execution, checkpoints, listener))
        except WorkersChangedError:
            listener.event("worker_lost", level="warning", name=RESULT_CHECKPOINT)
            if attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError("the loop above ends by itself")


def _kept_rows(
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
