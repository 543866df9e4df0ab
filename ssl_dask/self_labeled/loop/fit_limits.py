"""Which labelled rows fits take, and how learners of the same features take them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_dask.array_types import Bool, Int64
from ssl_dask.kernels.arithmetic.row_keys import Purpose, keys_below, row_keys
from ssl_dask.labels import UNLABELLED
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, Piece, RoundCounts

FITS_TOGETHER = 2
"""Rows that a worker holds for learners that take them together, in multiples of a fit's most."""


@dataclass(frozen=True)
class FitLimit:
    """How many labelled rows there are for a fit, over all blocks, and how many it may take."""

    labelled: int
    most: int

    def chosen(self, rows: Int64, given: Bool, key: tuple[int, ...]) -> Bool:
        """Return which rows a fit takes, bool (m,): the seeds, and of the others so many.

        Parameters
        ----------
        rows, given
            (m,): numbers of labelled rows, and which are seeds.
        key
            (random_state, track, round, learner).
        """
        if self.labelled <= self.most:
            return np.ones(len(rows), dtype=np.bool_)
        random_state, track, _, learner = key
        # Not by the round: with other rows the models would change in every round, and labels with
        # them, for good.
        keys = row_keys(rows, Purpose.FIT_ROWS, random_state, track, learner)
        return given | (keys <= keys_below(self.most / self.labelled))


def shared_rows(
    method: RoundMethod,
    block: BlockRows,
    assignment: Assignment,
    learners: range,
    limits: Sequence[FitLimit],
    key: tuple[int, ...],
) -> Piece:
    """Return the rows of a block that some of G learners take, each row once.

    Each learner takes rows by its own limit; codes and weights are (m, G), and a code is -1 where a
    learner does not take the row.
    """
    codes = assignment.codes[:, learners.start : learners.stop].copy()
    for place, (learner, limit) in enumerate(zip(learners, limits, strict=True)):
        at = method.labelled_at(learner, block, assignment)
        keep = limit.chosen(block.tags[at], assignment.is_seed[at], (*key, learner))
        left_out = np.ones(block.n_rows, dtype=np.bool_)
        left_out[at[keep]] = False
        codes[left_out, place] = UNLABELLED
    at = np.flatnonzero((codes != UNLABELLED).any(axis=1))
    weights = assignment.weights[at, learners.start : learners.stop]
    return Piece(block.tags[at], block.only[at], codes[at], weights, assignment.is_seed[at])


def learners_together(counts: RoundCounts, n_learners: int, most: int) -> list[range]:
    """Return runs of learners whose rows a worker can hold at once.

    Parameters
    ----------
    counts
        Of the labels that they are fitted on.
    most
        Rows that one fit may take.

    Returns
    -------
    Runs of learner numbers, in order: a single one unless more rows than `FITS_TOGETHER` fits take
    have a label; then each run takes no more.
    """
    room = FITS_TOGETHER * most
    if counts.rows - counts.unlabelled <= room:
        return [range(n_learners)]
    runs, start, held = [], 0, 0
    for learner in range(n_learners):
        rows = min(counts.of_learner(learner), most)
        if held + rows > room:
            runs.append(range(start, learner))
            start, held = learner, 0
        held += rows
    return [*runs, range(start, n_learners)]
