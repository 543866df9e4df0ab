"""The tracks of a run: all seeds, and one for each fold whose seeds are hidden."""

from __future__ import annotations

from collections.abc import Mapping

import dask.array as da
import numpy as np
import numpy.typing as npt

from ssl_dask.errors import QualityError
from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.self_labeled.loop.round_method import RoundMethod, TrackState
from ssl_dask.self_labeled.loop.track import Track
from ssl_dask.self_labeled.rows.row_blocks import RowBlock, blocks_of, gathered, held_block

WHAT = "tracks"
POOL_KEY = 2
"""Purpose of the pseudo-random numbers of rows that the tracks of folds see."""


def make_tracks(
    method: RoundMethod,
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
        The tracks of folds run over the seeds and at most about so many of the other rows, the same
        for all, gathered on one worker.
    max_fit_rows
        With more seeds than a worker is asked to hold nothing is gathered: tracks of folds run over
        all rows where they lie.

    Raises
    ------
    ValueError
        Views differ in their rows or blocks, or have not N rows.
    QualityError
        There is no seed, or a fold hides all.
    """
    labels, views, present = inputs.labels, inputs.views, inputs.present
    row_chunks = _row_chunks(views, present, labels)
    blocks = blocks_of(views, present, row_chunks)
    starts = np.concatenate([[0], np.cumsum(row_chunks)]).astype(np.int64)
    weights = inputs.sample_weight
    weights = np.ones(labels.n_seeds) if weights is None else np.asarray(weights)
    if labels.n_seeds == 0:
        raise QualityError("no row is labelled, so nothing can be learned")
    whole = tuple(blocks)
    tracks = [_track(0, whole, row_chunks, starts, labels, weights, None, None)]
    if not inputs.hidden:
        return tracks
    n_others = labels.n_rows - labels.n_seeds
    pool: npt.NDArray[np.int64] | None = None
    many = len(blocks) > 1 or n_others > pool_rows
    if many and labels.n_seeds <= max_fit_rows:
        # One block for all folds: they cost a task each in every step, not one for each block.
        share = min(pool_rows / n_others, 1.0) if n_others else 1.0
        task = gathered(blocks, starts, labels.rows, share=share, key=POOL_KEY + random_state)
        (kept,) = execution.persist([task], WHAT)
        block = held_block(kept, list(views), list(present))
        (pool,) = execution.compute([block.rows], WHAT)
        whole = (block,)
    for fold, mask in enumerate(inputs.hidden):
        seen = labels.subset(~mask)
        if seen.n_seeds == 0:
            raise QualityError(f"fold {fold} hides all seeds", hint="take more folds, or none")
        task = gathered(blocks, starts, labels.rows[mask], share=None, key=POOL_KEY)
        (kept,) = execution.persist([task], WHAT)
        judged = held_block(kept, list(views), list(present))
        chunks = row_chunks if pool is None else (len(pool),)
        tracks.append(_track(fold + 1, whole, chunks, starts, seen, weights[~mask], judged, pool))
    return tracks


def _track(
    number: int,
    blocks: tuple[RowBlock, ...],
    row_chunks: tuple[int, ...],
    starts: npt.NDArray[np.int64],
    labels: Labels,
    weights: npt.NDArray[np.float64],
    hidden: RowBlock | None,
    pool: npt.NDArray[np.int64] | None,
) -> Track:
    if pool is not None:
        cuts = np.array([0, labels.n_seeds])
        positions = [np.searchsorted(pool, labels.rows)]
    else:
        cuts = np.searchsorted(labels.rows, starts)
        positions = [labels.rows[cuts[b] : cuts[b + 1]] - starts[b] for b in range(len(row_chunks))]
    seed_rows = tuple(
        (
            positions[b],
            labels.codes[cuts[b] : cuts[b + 1]],
            weights[cuts[b] : cuts[b + 1]].astype(np.float32),
        )
        for b in range(len(row_chunks))
    )
    state = TrackState(number, sum(row_chunks), labels.n_rows, labels.class_counts())
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
