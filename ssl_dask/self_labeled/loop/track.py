"""The rows that one track of rounds runs over, and the tasks that a round makes of them.

Track 0 has all seeds; track f + 1 has those of fold f hidden, so that its models can be judged on
them. Nothing here waits: tasks are made, and the loop in `rounds` runs those of all tracks at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.features.block_reader import add_all, merge_on_workers
from ssl_dask.labels import Labels
from ssl_dask.one_thread import one_thread
from ssl_dask.self_labeled.loop.round_method import (
    Distributions,
    Query,
    RoundMethod,
    Selection,
    TrackState,
)
from ssl_dask.self_labeled.rows.block_rows import Assignment, Ints, RoundCounts
from ssl_dask.self_labeled.rows.row_blocks import Assigned, Layout, RowBlock, blocks_of

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Track:
    """The rows of a track, and the seeds that it sees.

    Parameters
    ----------
    state
        What the client knows.
    blocks
        In row order.
    row_chunks
        Rows of each block.
    labels
        The seeds that are seen.
    seed_rows
        For each block (positions, codes, weights) of its seeds.
    hidden
        The block of the seeds that are hidden; None if none are.
    """

    state: TrackState
    blocks: tuple[RowBlock, ...]
    row_chunks: tuple[int, ...]
    labels: Labels
    seed_rows: tuple[tuple[Ints, npt.NDArray[np.int32], Weights], ...]
    hidden: RowBlock | None

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
        task = delayed(_restored, pure=False)
        return [task(self.labels.n_classes, records) for records in stored]

    def score(
        self, method: Delayed, models: Sequence[Delayed], assigned: Sequence[Delayed]
    ) -> list[Delayed]:
        """Return tasks of the scores of each block."""
        task = delayed(_score, pure=False)
        return [
            task(method, one, len(models), block.layout, *models, *block.parts)
            for block, one in zip(self.blocks, assigned, strict=True)
        ]

    def survey(
        self,
        method: Delayed,
        scores: Sequence[Delayed],
        assigned: Sequence[Delayed],
        query: Query | None,
    ) -> Delayed:
        """Return the task of the sum of all blocks' surveys."""
        task = delayed(_survey, pure=False)
        asked = delayed(query, pure=False, traverse=False)
        parts = [
            task(method, one, before, asked) for one, before in zip(scores, assigned, strict=True)
        ]
        return merge_on_workers(parts, add_all)

    def assign(
        self,
        method: Delayed,
        scores: Sequence[Delayed],
        assigned: Sequence[Delayed],
        selection: Selection,
    ) -> list[Delayed]:
        """Return tasks of `Assigned` after the round."""
        task = delayed(_assign, pure=False)
        chosen = delayed(selection, pure=False, traverse=False)
        return [
            task(method, one, before, chosen) for one, before in zip(scores, assigned, strict=True)
        ]

    def distributions(self, method: Delayed, models: Sequence[Delayed]) -> list[Delayed]:
        """Return tasks of the class distributions of each block, float32 (n_i, C)."""
        task = delayed(_distributions, pure=False)
        return [
            task(method, len(models), block.layout, *models, *block.parts) for block in self.blocks
        ]

    def judge(self, method: Delayed, models: Sequence[Delayed]) -> Delayed:
        """Return the task of the class distributions of the hidden seeds."""
        assert self.hidden is not None
        task, block = delayed(_distributions, pure=False), self.hidden
        return task(method, len(models), block.layout, *models, *block.parts)

    def opinions(self, method: Delayed, models: Sequence[Delayed]) -> Delayed:
        """Return the task of what each learner says of the hidden seeds, int32 (n, L)."""
        assert self.hidden is not None
        task, block = delayed(_opinions, pure=False), self.hidden
        return task(method, len(models), block.layout, *models, *block.parts)


def score_rows(
    answering: Delayed,
    views: Mapping[str, da.Array],
    present: Mapping[str, da.Array],
    n_classes: int,
) -> da.Array:
    """Return what fitted models say of rows, a lazy Dask array float32 (N, C) chunked as the views.

    Parameters
    ----------
    answering
        A method and the list of its models, in a pair.
    views, present
        See `run_rounds`; of the rows that the models were fitted on, or of others.
    n_classes
        C.
    """
    row_chunks = next(iter(views.values())).chunks[0]
    task = delayed(_answers, pure=False)
    parts = [
        da.from_delayed(
            task(answering, block.layout, *block.parts), (n, n_classes), dtype=np.float32
        )
        for block, n in zip(blocks_of(views, present, row_chunks), row_chunks, strict=True)
    ]
    return da.concatenate(parts)


def counted(assigned: Sequence[Delayed]) -> Delayed:
    """Return the task of the summed `RoundCounts` of all blocks."""
    task = delayed(_counts, pure=False)
    return merge_on_workers([task(one) for one in assigned], add_all)


def label_columns(assigned: Assigned, column: int) -> npt.NDArray[np.int32]:
    """Return (label, round of it) of each row by one learner, int32 (n, 2); runs as a task."""
    found = assigned.assignment
    return np.column_stack([found.codes[:, column], found.since[:, column]])


def stored_labels(assigned: Sequence[Delayed]) -> list[Delayed]:
    """Return tasks of what is stored of each block, an array of records."""
    task = delayed(_records, pure=False)
    return [task(one) for one in assigned]


# Tasks.


def _begin(
    method: RoundMethod,
    positions: Ints,
    codes: npt.NDArray[np.int32],
    weights: Weights,
    n_classes: int,
    layout: Layout,
    *parts: Any,
) -> Assigned:
    found = method.begin(layout.block(parts), positions, codes, weights)
    return Assigned(found, RoundCounts.of(found, found, n_classes))


def _restored(n_classes: int, records: npt.NDArray[np.void]) -> Assigned:
    found = Assignment.of_records(records)
    return Assigned(found, RoundCounts.of(found, found, n_classes))


def _score(
    method: RoundMethod, assigned: Assigned, n_models: int, layout: Layout, *parts: Any
) -> Any:
    with one_thread():
        block = layout.block(parts[n_models:])
        return method.score(parts[:n_models], block, assigned.assignment)


def _survey(method: RoundMethod, scores: Any, assigned: Assigned, query: Query | None) -> Any:
    return method.survey(scores, assigned.assignment, query)


def _assign(method: RoundMethod, scores: Any, assigned: Assigned, selection: Selection) -> Assigned:
    return Assigned(*method.assign(scores, assigned.assignment, selection))


def _distributions(
    method: RoundMethod, n_models: int, layout: Layout, *parts: Any
) -> Distributions:
    with one_thread():
        return method.distributions(parts[:n_models], layout.block(parts[n_models:]))


def _answers(
    answering: tuple[RoundMethod, Sequence[Any]], layout: Layout, *parts: Any
) -> Distributions:
    method, models = answering
    with one_thread():
        return method.distributions(models, layout.block(parts))


def _opinions(
    method: RoundMethod, n_models: int, layout: Layout, *parts: Any
) -> npt.NDArray[np.int32]:
    with one_thread():
        return method.opinions(parts[:n_models], layout.block(parts[n_models:]))


def _counts(assigned: Assigned) -> RoundCounts:
    return assigned.counts


def _records(assigned: Assigned) -> npt.NDArray[np.void]:
    return assigned.assignment.records()
