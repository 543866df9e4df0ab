"""The tasks that fit one model of a track: on all labelled rows, on some of them, or in pieces.

dask-ml's `Incremental` also takes a model from block to block by `partial_fit`. It is not used: it
passes no weights of rows, and its pieces are the blocks of the input, so that the model would be
another one for other blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.features.block_reader import add_all, merge_on_workers
from ssl_dask.kernels.learners.row_samples import mixed_ranks, piece_count, piece_numbers
from ssl_dask.one_thread import one_thread
from ssl_dask.self_labeled.loop.fit_limits import FitLimit, SharedRows, learners_together
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.rows.block_rows import Assignment, FitRows, Piece, RoundCounts
from ssl_dask.self_labeled.rows.row_blocks import Assigned, Layout, RowBlock


def fitted(
    blocks: Sequence[RowBlock],
    method: Delayed,
    learner: int,
    assigned: Sequence[Delayed],
    limit: FitLimit,
    key: tuple[int, ...],
) -> Delayed:
    """Return the task of a model of the labelled rows, or of about so many of them.

    Parameters
    ----------
    limit
        How many labelled rows there are, and how many the fit may take.
    key
        (random_state, track, round, learner).
    """
    piece, fit = delayed(_chosen, pure=False), delayed(_fit, pure=False)
    pieces = [
        piece(method, learner, one, limit, key, block.layout, *block.parts)
        for block, one in zip(blocks, assigned, strict=True)
    ]
    return fit(method, learner, key, *pieces)


def fitted_together(
    blocks: Sequence[RowBlock],
    method: Delayed,
    n_learners: int,
    assigned: Sequence[Delayed],
    counts: RoundCounts,
    key: tuple[int, ...],
    max_fit_rows: int,
) -> list[Delayed]:
    """Return the tasks of the models of learners of the same features: rows are taken once.

    A task a block gives the rows of as many learners as a worker can hold the rows of.

    Parameters
    ----------
    counts
        Of all blocks.
    key
        (random_state, track, round).
    """
    take, fit = delayed(_taken_together, pure=False), delayed(_fit_shared, pure=False)
    models = []
    for learners in learners_together(counts, n_learners, max_fit_rows):
        limits = tuple(FitLimit(counts.of_learner(one), max_fit_rows) for one in learners)
        shared = [
            take(method, learners, one, limits, key, block.layout, *block.parts)
            for block, one in zip(blocks, assigned, strict=True)
        ]
        models += [
            fit(method, learner, place, (*key, learner), *shared)
            for place, learner in enumerate(learners)
        ]
    return models


def fitted_on_sums(
    blocks: Sequence[RowBlock],
    method: Delayed,
    learner: int,
    assigned: Sequence[Delayed],
    key: tuple[int, ...],
) -> Delayed:
    """Return the task of a model of what the blocks add up to; no limit of rows applies."""
    sums, fit = delayed(_labelled, pure=False), delayed(_fit, pure=False)
    parts = [
        sums(method, learner, one, block.layout, *block.parts)
        for block, one in zip(blocks, assigned, strict=True)
    ]
    return fit(method, learner, key, merge_on_workers(parts, add_all))


def fit_rows(
    blocks: Sequence[RowBlock], method: Delayed, learner: int, assigned: Sequence[Delayed]
) -> list[Delayed]:
    """Return the task of the `FitRows` of each block."""
    task = delayed(_fit_rows, pure=False)
    return [
        task(method, learner, one, block.layout, *block.parts)
        for block, one in zip(blocks, assigned, strict=True)
    ]


def fitted_in_pieces(
    blocks: Sequence[RowBlock],
    method: Delayed,
    learner: int,
    assigned: Sequence[Delayed],
    rows: Sequence[FitRows],
    key: tuple[int, ...],
    max_fit_rows: int,
    n_passes: int,
) -> Delayed:
    """Return the task of a model of all labelled rows, which learns from them piece by piece.

    A piece is cut out when the model of the piece before is there: workers hold the rows of one
    piece together, and the one that fits holds them twice. `row_samples.piece_numbers`
    chooses the rows of a piece; blocks without any are not read.

    Parameters
    ----------
    rows
        What `fit_rows` says of each block.
    key
        (random_state, track, round, learner).
    n_passes
        How often each piece is learned from, one after the other.
    """
    cut, more = delayed(_cut, pure=False), delayed(_fit_more, pure=False)
    done = delayed(_done, pure=False)
    total = add_all(rows)
    whole = delayed(total, pure=False, traverse=False)
    starts = np.concatenate([[0], np.cumsum([one.n_rows for one in rows])]).tolist()
    model: Delayed | None = None
    gate: Delayed | None = None
    for number in [*range(piece_count(total.n_rows, max_fit_rows))] * n_passes:
        low, high = mixed_ranks(number, total.n_rows, max_fit_rows)
        where = (total.n_rows, max_fit_rows, number, key[0])
        parts = [
            cut(method, learner, assigned[b], starts[b], where, gate, block.layout, *block.parts)
            for b, block in enumerate(blocks)
            if max(low, starts[b]) < min(high, starts[b + 1])
        ]
        model = more(method, learner, whole, key, model, *parts)
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
    at = at[limit.chosen(block.rows[at], assignment.is_seed[at], key)]
    return method.piece(learner, block, assignment, at)


def _taken_together(
    method: RoundMethod,
    learners: range,
    assigned: Assigned,
    limits: Sequence[FitLimit],
    key: tuple[int, ...],
    layout: Layout,
    *parts: Any,
) -> SharedRows:
    block = layout.block(parts)
    return SharedRows.of_block(method, block, assigned.assignment, learners, limits, key)


def _fit_rows(
    method: RoundMethod, learner: int, assigned: Assigned, layout: Layout, *parts: Any
) -> FitRows:
    assignment: Assignment = assigned.assignment
    at = method.labelled_at(learner, layout.block(parts), assignment)
    column = learner if method.n_columns > 1 else 0
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
    """Return the rows of a block that are in a piece; `gate` says that the one before is done."""
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
    method: RoundMethod, learner: int, place: int, key: tuple[int, ...], *shared: SharedRows
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
