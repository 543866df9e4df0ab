"""The rows that one track of rounds runs over, and the tasks that a round makes of them.

Track 0 has all seeds; track f + 1 has those of fold f hidden, so that its models can be judged on
them. Nothing here waits: tasks are made, and the loop in `rounds` runs those of all tracks at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed
from distributed import Future

from ssl_dask.features.block_reader import add_all, merge_on_workers
from ssl_dask.kernels.one_thread import one_thread
from ssl_dask.kernels.row_keys import keys_below, row_keys
from ssl_dask.labels import Labels
from ssl_dask.self_labeled.round_method import (
    Assignment,
    BlockRows,
    Distributions,
    Ints,
    Piece,
    Query,
    RoundCounts,
    RoundMethod,
    Selection,
    TrackState,
)

Weights = npt.NDArray[np.float32]

FIT_KEY, POOL_KEY = 1, 2
"""Purposes of pseudo-random numbers of rows."""


@dataclass(frozen=True)
class Layout:
    """What the parts of a block are, which a task gets one by one.

    Dask forgets results that lie in a list or mapping of a task's arguments: they stand alone.

    Parameters
    ----------
    rows
        The first row and the one after the last; None: the first part holds their numbers.
    views, present
        Names of the parts that follow.
    place
        Of the first row, see `BlockRows`.
    """

    rows: tuple[int, int] | None
    views: tuple[str, ...]
    present: tuple[str, ...]
    place: int

    def block(self, parts: Sequence[Any]) -> BlockRows:
        """Return the block of the parts; runs in tasks."""
        rest = list(parts)
        rows = rest.pop(0) if self.rows is None else np.arange(*self.rows, dtype=np.int64)
        views = {name: rest.pop(0) for name in self.views}
        present = {name: rest.pop(0) for name in self.present}
        return BlockRows(rows, views, present, self.place)


@dataclass(frozen=True)
class RowBlock:
    """One block of rows as tasks get it; its features stay where they are.

    Parameters
    ----------
    layout
        Says what the parts are.
    parts
        Row numbers, features and what rows have, as `layout` says.
    """

    layout: Layout
    parts: tuple[Delayed, ...]

    @property
    def rows(self) -> Delayed:
        """Numbers of the rows, where they are a part."""
        assert self.layout.rows is None
        return self.parts[0]


@dataclass(frozen=True)
class Assigned:
    """A block after a round: its labels, and what the round did to them."""

    assignment: Assignment
    counts: RoundCounts


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

    def restored(self, parts: Sequence[Sequence[Delayed]]) -> list[Delayed]:
        """Return tasks of `Assigned` from the stored arrays of an assignment, a list a field."""
        task = delayed(_restored, pure=False)
        return [task(self.labels.n_classes, *arrays) for arrays in zip(*parts, strict=True)]

    def fit(
        self,
        method: Delayed,
        n_learners: int,
        assigned: Sequence[Delayed],
        key: tuple[int, ...],
        max_fit_rows: int,
        *,
        sums: bool = False,
    ) -> list[Delayed]:
        """Return a task of a model for each learner; pieces go from worker to worker.

        With `sums` they are added up on the way, and no limit of rows applies.
        """
        total = None if sums else counted(assigned)
        piece, fit = delayed(_labelled, pure=False), delayed(_fit, pure=False)
        models = []
        for learner in range(n_learners):
            of_learner = (*key, learner)
            pieces = [
                piece(
                    method,
                    learner,
                    one,
                    total,
                    max_fit_rows,
                    of_learner,
                    block.layout,
                    *block.parts,
                )
                for block, one in zip(self.blocks, assigned, strict=True)
            ]
            if sums:
                pieces = [merge_on_workers(pieces, add_all)]
            models.append(fit(method, learner, of_learner, *pieces))
        return models

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


def stored_fields(assigned: Sequence[Delayed]) -> list[list[Delayed]]:
    """Return the arrays of an assignment as lists of tasks, one list a field."""
    task = delayed(_field, pure=False)
    return [[task(one, part.name) for one in assigned] for part in fields(Assignment)]


def blocks_of(
    views: Mapping[str, da.Array], present: Mapping[str, da.Array], row_chunks: Sequence[int]
) -> list[RowBlock]:
    """Return the blocks of rows of views that are chunked alike."""
    starts = np.concatenate([[0], np.cumsum(row_chunks)]).astype(int).tolist()
    chunks = {name: held_chunks(view) for name, view in views.items()}
    has = {name: held_chunks(one) for name, one in present.items()}
    return [
        RowBlock(
            Layout((starts[b], starts[b + 1]), tuple(views), tuple(present), starts[b]),
            (*(parts[b] for parts in chunks.values()), *(parts[b] for parts in has.values())),
        )
        for b in range(len(row_chunks))
    ]


def held_chunks(array: da.Array) -> list[Delayed]:
    """Return the chunks of an array as tasks; those that workers hold by the names they have there.

    An array gives its chunks other names on the way, which Dask changes when it optimises a graph;
    a scheduler that has seen both cannot compute a chunk again when its worker is lost.
    """
    return [_held(chunk) for chunk in array.to_delayed(optimize_graph=False).ravel()]


def _held(chunk: Delayed) -> Delayed:
    graph, name = dict(chunk.__dask_graph__()), chunk.key
    for _ in range(len(graph)):
        value = graph.get(name)
        if isinstance(value, Future):
            return delayed(value)
        name = getattr(value, "target", value)
        if not isinstance(name, str | tuple) or name not in graph:
            break
    return chunk


def gathered(
    blocks: Sequence[RowBlock], starts: Ints, wanted: Ints, *, share: float | None, key: int
) -> Delayed:
    """Return the task of one `BlockRows` of some rows of all blocks, in row order.

    Parameters
    ----------
    starts
        First row of each block, and the number of all.
    wanted
        int64, ascending: rows that must be among them.
    share
        Of the other rows, those with the smallest keys of `key`; None: none of them.
    """
    take, join = delayed(_take, pure=False), delayed(_joined, pure=False)
    cuts = np.searchsorted(wanted, starts)
    parts = [
        take(wanted[cuts[b] : cuts[b + 1]], share, key, block.layout, *block.parts)
        for b, block in enumerate(blocks)
        if share is not None or cuts[b] < cuts[b + 1]
    ]
    return join(*parts)


def held_block(rows: BlockRows | Delayed, names: Sequence[str], lacking: Sequence[str]) -> RowBlock:
    """Return a gathered `BlockRows` as a block of a track."""
    part = delayed(_part, pure=False)
    return RowBlock(
        Layout(None, tuple(names), tuple(lacking), 0),
        (
            part(rows, "rows", None),
            *(part(rows, "views", name) for name in names),
            *(part(rows, "present", name) for name in lacking),
        ),
    )


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


def _restored(n_classes: int, *arrays: Any) -> Assigned:
    found = Assignment(*arrays)
    return Assigned(found, RoundCounts.of(found, found, n_classes))


def _labelled(
    method: RoundMethod,
    learner: int,
    assigned: Assigned,
    total: RoundCounts | None,
    max_fit_rows: int,
    key: tuple[int, ...],
    layout: Layout,
    *parts: Any,
) -> Piece:
    """Return the rows of a block to fit on: with too many in all, those of the smallest keys.

    Without `total` there is no limit: what is returned may be sums.
    """
    rows, assignment = layout.block(parts), assigned.assignment
    piece = method.labelled(learner, rows, assignment)
    if total is None:
        return piece
    labelled = int(total.total[min(learner, len(total.total) - 1)].sum())
    if labelled <= max_fit_rows:
        return piece
    keep = row_keys(piece.rows, FIT_KEY, *key) <= keys_below(max_fit_rows / labelled)
    seeds = rows.rows[assignment.is_seed]
    return piece.take(keep | np.isin(piece.rows, seeds))


def _fit(method: RoundMethod, learner: int, key: tuple[int, ...], *pieces: Piece) -> Any:
    with one_thread():
        return method.fit(learner, pieces, key)


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


def _field(assigned: Assigned, name: str) -> npt.NDArray[Any]:
    return getattr(assigned.assignment, name)


def _part(block: BlockRows, kind: str, name: str | None) -> Any:
    found = getattr(block, kind)
    return found if name is None else found[name]


def _take(wanted: Ints, share: float | None, key: int, layout: Layout, *parts: Any) -> BlockRows:
    rows = layout.block(parts)
    chosen = np.isin(rows.rows, wanted)
    if share is not None:
        chosen |= row_keys(rows.rows, key) <= keys_below(share)
    return replace(rows.take(np.flatnonzero(chosen)), place=0)


def _joined(*parts: BlockRows) -> BlockRows:
    first = parts[0]
    return BlockRows(
        np.concatenate([part.rows for part in parts]),
        {name: _stacked([part.views[name] for part in parts]) for name in first.views},
        {name: np.concatenate([part.present[name] for part in parts]) for name in first.present},
        0,
    )


def _stacked(blocks: list[Any]) -> Any:
    if sp.issparse(blocks[0]):
        return sp.csr_array(sp.vstack(blocks, format="csr"))
    return np.concatenate(blocks)
