"""The tracks of a run, the rows that each runs over, and the tasks that a round makes of them.

Track 0 has all seeds; track f + 1 has those of fold f hidden, so that its models can be judged on
them. Tasks of a round are made here, and the loop in `rounds` runs those of all tracks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Float32, Float64, Int32, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks
from ssl_dask.errors import QualityError
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import add_all, merge_on_workers
from ssl_dask.kernels.arithmetic.row_keys import Purpose
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.one_thread import one_thread
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection, TrackState
from ssl_dask.self_labeled.rows.block_rows import Assignment, RoundCounts
from ssl_dask.self_labeled.rows.row_blocks import (
    Assigned,
    Layout,
    RowBlock,
    blocks_of,
    gathered,
    held_block,
)

TASK_LABEL = "tracks"
N_TAGS = 2**63
"""Of the tags of ids."""


@dataclass(frozen=True)
class Track:
    """The rows of a track, and the seeds that it sees."""

    state: TrackState
    """What the client knows."""
    blocks: tuple[RowBlock, ...]
    """In row order."""
    row_chunks: tuple[int, ...]
    """Rows of each block."""
    labels: Labels
    """The seeds that are seen."""
    seed_rows: tuple[tuple[Int64, Int32, Float32], ...]
    """For each block (positions, codes, weights) of its seeds."""
    hidden: RowBlock | None
    """The block of the seeds that are hidden; None if none are."""

    def begin(self, method: Delayed) -> list[Delayed]:
        """Return tasks of `Assigned`: the seeds alone."""
        task = delayed(_begin, pure=False)
        n_classes = self.labels.n_classes
        return [
            task(method, *seeds, n_classes, block.layout, *block.parts)
            for block, seeds in zip(self.blocks, self.seed_rows, strict=True)
        ]

    def restored(self, stored: Sequence[Delayed]) -> list[Delayed]:
        """Return tasks of `Assigned` from what `stored_labels` gave, block by block."""
        return block_tasks(_restored, [stored], self.labels.n_classes)

    def score(
        self, method: Delayed, models: Sequence[Delayed], assigned: Sequence[Delayed]
    ) -> list[Delayed]:
        """Return tasks of the scores of each block."""
        pairs = zip(self.blocks, assigned, strict=True)
        return [_by_models(_score, method, models, block, one) for block, one in pairs]

    def survey(
        self,
        method: Delayed,
        scores: Sequence[Delayed],
        assigned: Sequence[Delayed],
        query: Query | None,
    ) -> Delayed:
        """Return the task of the sum of all blocks' surveys."""
        asked = delayed(query, pure=False, traverse=False)
        return merge_on_workers(block_tasks(_survey, [scores, assigned], method, asked), add_all)

    def assign(
        self,
        method: Delayed,
        scores: Sequence[Delayed],
        assigned: Sequence[Delayed],
        selection: Selection,
    ) -> list[Delayed]:
        """Return tasks of `Assigned` after the round."""
        chosen = delayed(selection, pure=False, traverse=False)
        return block_tasks(_assign, [scores, assigned], method, chosen)

    def distributions(self, method: Delayed, models: Sequence[Delayed]) -> list[Delayed]:
        """Return tasks of the class distributions of each block, float32 (n_i, C)."""
        return [_by_models(_distributions, method, models, block) for block in self.blocks]

    def judge(self, method: Delayed, models: Sequence[Delayed]) -> Delayed:
        """Return the task of the class distributions of the hidden seeds."""
        assert self.hidden is not None
        return _by_models(_distributions, method, models, self.hidden)

    def opinions(self, method: Delayed, models: Sequence[Delayed]) -> Delayed:
        """Return the task of the class of each hidden seed by each learner, int32 (n, L)."""
        assert self.hidden is not None
        return _by_models(_opinions, method, models, self.hidden)


def make_tracks(
    inputs: MethodInputs,
    *,
    pool_rows: int,
    max_fit_rows: int,
    random_state: int,
    execution: Execution,
) -> list[Track]:
    """Return the track of all seeds, and one for each fold.

    Parameters
    ----------
    pool_rows
        The tracks of folds run over the seeds and about so many of the other rows, at most. These
        rows are the same for all folds, and one worker holds them.
    max_fit_rows
        With more seeds than this, nothing is gathered: the tracks of folds run over all rows where
        they lie.

    Raises
    ------
    ValueError
        Views differ in their rows or blocks, or have not N rows.
    QualityError
        There is no seed, or a fold hides all.
    """
    labels, views, present = inputs.labels, inputs.views, inputs.present
    row_chunks = _row_chunks(views, present, labels)
    blocks = blocks_of(views, present, row_chunks, inputs.tags)
    starts = np.concatenate([[0], np.cumsum(row_chunks)]).astype(np.int64)
    weights = inputs.sample_weight
    weights = np.ones(labels.n_seeds) if weights is None else np.asarray(weights)
    if labels.n_seeds == 0:
        nothing = "no row is labelled, so nothing can be learned"
        raise QualityError(nothing, hint="label rows of each class")
    whole = tuple(blocks)
    tracks = [_track(0, whole, row_chunks, starts, labels, weights, None, None)]
    if not inputs.hidden:
        return tracks
    n_others = labels.n_rows - labels.n_seeds
    pool: Int64 | None = None
    # Rows with tags stand by tag in the pool, whatever the blocks.
    many = len(blocks) > 1 or n_others > pool_rows or inputs.tags is not None
    if many and labels.n_seeds <= max_fit_rows:
        # One block for all folds: they cost a task each in every step, not one for each block.
        share = min(pool_rows / n_others, 1.0) if n_others else 1.0
        key = Purpose.FOLD_POOL + random_state
        task = gathered(blocks, starts, labels.rows, share=share, key=key)
        block = _held(task, inputs, execution)
        (pool,) = execution.compute([block.tags], TASK_LABEL)
        whole = (block,)
    for fold, mask in enumerate(inputs.hidden):
        seen = labels.subset(~mask)
        if seen.n_seeds == 0:
            raise QualityError(f"fold {fold} hides all seeds", hint="take more folds, or none")
        task = gathered(blocks, starts, labels.rows[mask], share=None, key=Purpose.FOLD_POOL)
        judged = _held(task, inputs, execution)
        chunks = row_chunks if pool is None else (len(pool),)
        tracks.append(_track(fold + 1, whole, chunks, starts, seen, weights[~mask], judged, pool))
    return tracks


def _held(task: Delayed, inputs: MethodInputs, execution: Execution) -> RowBlock:
    """Gather rows on a worker, and return them as a block."""
    (kept,) = execution.persist([task], TASK_LABEL)
    return held_block(kept, list(inputs.views), list(inputs.present))


def _track(
    number: int,
    blocks: tuple[RowBlock, ...],
    row_chunks: tuple[int, ...],
    starts: Int64,
    labels: Labels,
    weights: Float64,
    hidden: RowBlock | None,
    pool: Int64 | None,
) -> Track:
    if pool is not None:
        seeds = [(np.searchsorted(pool, labels.known_by), np.arange(labels.n_seeds))]
    else:
        seeds = [labels.between(start, stop) for start, stop in pairwise(starts.tolist())]
    seed_rows = tuple(
        (positions, labels.codes[here], weights[here].astype(np.float32))
        for positions, here in seeds
    )
    n_tags = labels.n_rows if labels.tags is None else N_TAGS
    counts = labels.class_counts()
    state = TrackState(number, sum(row_chunks), labels.n_rows, counts, n_tags)
    return Track(state, blocks, row_chunks, labels, seed_rows, hidden)


def _row_chunks(
    views: Mapping[str, da.Array], present: Mapping[str, da.Array], labels: Labels
) -> tuple[int, ...]:
    chunks = {tuple(one.chunks[0]) for one in (*views.values(), *present.values())}
    if len(chunks) != 1:
        raise ValueError("the views must have the same rows in the same blocks")
    (row_chunks,) = chunks
    if sum(row_chunks) != labels.n_rows:
        raise ValueError(f"X has {sum(row_chunks)} rows, labels are of {labels.n_rows}")
    for name, view in views.items():
        if view.numblocks[1] != 1:
            raise ValueError(f"view {name!r} is cut into blocks of columns; rechunk to rows only")
    return row_chunks


def score_rows(
    answering: Delayed,
    views: Mapping[str, da.Array],
    present: Mapping[str, da.Array],
    n_classes: int,
) -> da.Array:
    """Return predictions of fitted models, a lazy Dask array float32 (N, C) chunked as the views.

    Parameters
    ----------
    answering
        A method and the list of its models, in a pair.
    views, present
        Features by name, and which rows have those that some lack: rows of the fit, or others.
    n_classes
        C.
    """
    row_chunks = next(iter(views.values())).chunks[0]
    task = delayed(_answers, pure=False)
    blocks = blocks_of(views, present, row_chunks)
    answers = [task(answering, block.layout, *block.parts) for block in blocks]
    return array_of_blocks(answers, row_chunks, (n_classes,), np.float32)


def counted(assigned: Sequence[Delayed]) -> Delayed:
    """Return the task of the summed `RoundCounts` of all blocks."""
    return merge_on_workers(block_tasks(attrgetter("counts"), [assigned]), add_all)


def label_columns(assigned: Assigned, column: int) -> Int32:
    """Return (label, round of it) of each row by one learner, int32 (n, 2); runs as a task."""
    found = assigned.assignment
    return np.column_stack([found.codes[:, column], found.since[:, column]])


def stored_labels(assigned: Sequence[Delayed]) -> list[Delayed]:
    """Return tasks of what is stored of each block, an array of records."""
    return block_tasks(_records, [assigned])


def _by_models(
    function: Callable[..., Any],
    method: Delayed,
    models: Sequence[Delayed],
    block: RowBlock,
    *own: Delayed,
) -> Delayed:
    """Return the task of what models say of a block."""
    task = delayed(function, pure=False)
    return task(method, *own, len(models), block.layout, *models, *block.parts)


# Tasks.


def _begin(
    method: RoundMethod,
    positions: Int64,
    codes: Int32,
    weights: Float32,
    n_classes: int,
    layout: Layout,
    *parts: Any,
) -> Assigned:
    found = method.begin(layout.block(parts), positions, codes, weights)
    return Assigned(found, RoundCounts.of(found, found, n_classes))


def _restored(records: npt.NDArray[np.void], n_classes: int) -> Assigned:
    found = Assignment.of_records(records)
    return Assigned(found, RoundCounts.of(found, found, n_classes))


def _score(
    method: RoundMethod, assigned: Assigned, n_models: int, layout: Layout, *parts: Any
) -> Any:
    with one_thread():
        block = layout.block(parts[n_models:])
        return method.score(parts[:n_models], block, assigned.assignment)


def _survey(scores: Any, assigned: Assigned, method: RoundMethod, query: Query | None) -> Any:
    return method.survey(scores, assigned.assignment, query)


def _assign(scores: Any, assigned: Assigned, method: RoundMethod, selection: Selection) -> Assigned:
    return Assigned(*method.assign(scores, assigned.assignment, selection))


def _distributions(method: RoundMethod, n_models: int, layout: Layout, *parts: Any) -> Float32:
    with one_thread():
        return method.distributions(parts[:n_models], layout.block(parts[n_models:]))


def _answers(answering: tuple[RoundMethod, Sequence[Any]], layout: Layout, *parts: Any) -> Float32:
    method, models = answering
    with one_thread():
        return method.distributions(models, layout.block(parts))


def _opinions(method: RoundMethod, n_models: int, layout: Layout, *parts: Any) -> Int32:
    with one_thread():
        return method.opinions(parts[:n_models], layout.block(parts[n_models:]))


def _records(assigned: Assigned) -> npt.NDArray[np.void]:
    return assigned.assignment.records()
