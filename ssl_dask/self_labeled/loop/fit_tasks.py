"""The tasks that fit the models of a track: on all labelled rows, on some of them, or in pieces.

dask-ml's `Incremental` also takes a model from block to block by `partial_fit`. It is not used: it
passes no weights of rows, and its pieces are the blocks of the input, so that the model would be
another one for other blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.features.block_reader import add_all, merge_on_workers
from ssl_dask.kernels.learners.row_samples import mixed_ranks, piece_count, piece_numbers
from ssl_dask.one_thread import one_thread
from ssl_dask.self_labeled.loop.fit_limits import FitLimit, learners_together, shared_rows
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.rows.block_rows import Assignment, FitRows, Piece, RoundCounts
from ssl_dask.self_labeled.rows.row_blocks import Assigned, Layout, RowBlock


@dataclass(frozen=True)
class LabelledBlocks:
    """The rows of a track and their labels, and the tasks that fit models on them.

    Keys of fits are (random_state, track, round, learner).
    """

    method: Delayed
    """Task of the `RoundMethod`."""
    blocks: Sequence[RowBlock]
    """In row order."""
    assigned: Sequence[Delayed]
    """Task of the labels of each block."""

    def _tasks(self, function: Callable[..., Any], learner: Any, *more: Any) -> list[Delayed]:
        """Return the task of `function` for each block."""
        task = delayed(function, pure=False)
        return [
            task(self.method, learner, one, *more, block.layout, *block.parts)
            for block, one in zip(self.blocks, self.assigned, strict=True)
        ]

    def fitted(self, learner: int, limit: FitLimit, key: tuple[int, ...]) -> Delayed:
        """Return the task of a model of the labelled rows, or of about so many of them."""
        pieces = self._tasks(_chosen, learner, limit, key)
        return delayed(_fit, pure=False)(self.method, learner, key, *pieces)

    def fitted_on_sums(self, learner: int, key: tuple[int, ...]) -> Delayed:
        """Return the task of a model of what the blocks add up to; no limit of rows applies."""
        total = merge_on_workers(self._tasks(_labelled, learner), add_all)
        return delayed(_fit, pure=False)(self.method, learner, key, total)

    def fitted_together(
        self, n_learners: int, counts: RoundCounts, most: int, key: tuple[int, ...]
    ) -> list[Delayed]:
        """Return the tasks of the models of learners of the same features: rows are taken once.

        A task a block gives the rows of as many learners as a worker can hold the rows of.

        Parameters
        ----------
        counts
            Of the labels of all blocks.
        most
            Rows that one fit may take.
        key
            (random_state, track, round).
        """
        fit, models = delayed(_fit_shared, pure=False), []
        for learners in learners_together(counts, n_learners, most):
            limits = tuple(FitLimit(counts.of_learner(one), most) for one in learners)
            shared = self._tasks(_taken_together, learners, limits, key)
            models += [
                fit(self.method, learner, place, (*key, learner), *shared)
                for place, learner in enumerate(learners)
            ]
        return models

    def fit_rows(self, learner: int) -> list[Delayed]:
        """Return the task of the `FitRows` of each block."""
        return self._tasks(_fit_rows, learner)

    def fitted_in_pieces(
        self, learner: int, rows: Sequence[FitRows], most: int, n_passes: int, key: tuple[int, ...]
    ) -> Delayed:
        """Return the task of a model of all labelled rows, which learns from them piece by piece.

        A piece is cut out when the model of the piece before is there: workers hold the rows of one
        piece together, and the one that fits holds them twice. Rows are mixed by
        `kernels/learners/row_samples`; blocks without rows of a piece are not read.

        Parameters
        ----------
        rows
            Those of `fit_rows`.
        most
            Rows of a piece.
        n_passes
            How often each piece is learned from, one after the other.
        """
        cut, more = delayed(_cut, pure=False), delayed(_fit_more, pure=False)
        done, total = delayed(_done, pure=False), add_all(rows)
        whole = delayed(total, pure=False, traverse=False)
        starts = np.concatenate([[0], np.cumsum([one.n_rows for one in rows])]).tolist()
        model: Delayed | None = None
        gate: Delayed | None = None
        for number in [*range(piece_count(total.n_rows, most))] * n_passes:
            low, high = mixed_ranks(number, total.n_rows, most)
            where = (total.n_rows, most, number, key[0])
            parts = [
                cut(
                    self.method,
                    learner,
                    self.assigned[b],
                    starts[b],
                    where,
                    gate,
                    block.layout,
                    *block.parts,
                )
                for b, block in enumerate(self.blocks)
                if max(low, starts[b]) < min(high, starts[b + 1])
            ]
            model = more(self.method, learner, whole, key, model, *parts)
            gate = done(model)
        assert model is not None
        return model


# Tasks.


def _labelled(
    method: RoundMethod, learner: int, assigned: Assigned, layout: Layout, *parts: Any
) -> Any:
    return method.labelled(learner, layout.block(parts), assigned.assignment)


def _chosen(
    method: RoundMethod,
    learner: int,
    assigned: Assigned,
    limit: FitLimit,
    key: tuple[int, ...],
    layout: Layout,
    *parts: Any,
) -> Piece:
    """Return the rows of a block to fit on: with too many in all, those of the smallest keys."""
    block, assignment = layout.block(parts), assigned.assignment
    at = method.labelled_at(learner, block, assignment)
    at = at[limit.chosen(block.tags[at], assignment.is_seed[at], key)]
    return method.piece(learner, block, assignment, at)


def _taken_together(
    method: RoundMethod,
    learners: range,
    assigned: Assigned,
    limits: Sequence[FitLimit],
    key: tuple[int, ...],
    layout: Layout,
    *parts: Any,
) -> Piece:
    return shared_rows(method, layout.block(parts), assigned.assignment, learners, limits, key)


def _fit_rows(
    method: RoundMethod, learner: int, assigned: Assigned, layout: Layout, *parts: Any
) -> FitRows:
    assignment: Assignment = assigned.assignment
    at = method.labelled_at(learner, layout.block(parts), assignment)
    column = method.column_of(learner)
    codes, weights = assignment.codes[at, column], assignment.weights[at, column]
    return FitRows.of(codes, weights, assignment.is_seed[at], method.n_classes)


def _cut(
    method: RoundMethod,
    learner: int,
    assigned: Assigned,
    start: int,
    where: tuple[int, int, int, int],
    gate: None,
    layout: Layout,
    *parts: Any,
) -> Piece:
    """Return the rows of a block that are in a piece; `gate` waits for the piece before."""
    n_rows, most, number, random_state = where
    block, assignment = layout.block(parts), assigned.assignment
    at = method.labelled_at(learner, block, assignment)
    ranks = np.arange(start, start + len(at), dtype=np.int64)
    mine = piece_numbers(ranks, n_rows, most, random_state) == number
    return method.piece(learner, block, assignment, at[mine])


def _done(model: Any) -> None:
    """Return nothing: small enough to go to every block."""


def _fit(method: RoundMethod, learner: int, key: tuple[int, ...], *pieces: Piece) -> Any:
    with one_thread():
        return method.fit(learner, pieces, key)


def _fit_shared(
    method: RoundMethod, learner: int, place: int, key: tuple[int, ...], *shared: Piece
) -> Any:
    with one_thread():
        return method.fit(learner, [rows.of_learner(place) for rows in shared], key)


def _fit_more(
    method: RoundMethod,
    learner: int,
    whole: FitRows,
    key: tuple[int, ...],
    before: Any,
    *pieces: Piece,
) -> Any:
    with one_thread():
        return method.fit_more(learner, before, pieces, whole, key)
