"""What the rounds of self-labelling found."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks
from ssl_dask.method import MethodResult
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.loop.track import label_columns


@dataclass(frozen=True, kw_only=True)
class SelfLabeled(MethodResult):
    """What the rounds found.

    `F` holds the distributions by the models of the kept round, chunked as the views; rows are
    scored when they are asked for. `reason` is "all_labeled", "max_iter", "no_change",
    "hidden_loss" or a method's own.
    """

    baseline_accuracy: float | None
    baseline_loss: float | None
    """Of the hidden seeds before the first round; None without hidden seeds."""
    assignment: list[Delayed]
    """Per block the `Assigned` after the last round."""
    models: list[Delayed]
    """Tasks of the kept round's models, one a learner, on the workers."""
    method: RoundMethod
    """What can score other rows by them."""
    kept_round: int
    """Whose models answer; 0: those fitted on the seeds alone."""
    lasting: bool = True
    findings: tuple[str, ...] = ()
    """Those of `warnings` that are about the learners, not about the kept round."""

    @property
    def n_iter(self) -> int:
        """Number of rounds."""
        return len(self.records)

    def transduction(self, column: int = 0) -> tuple[da.Array, da.Array]:
        """Return the labels of the rows, and the round of each, as Dask arrays int32 (N,).

        Codes of classes, -1 for rows without a label; rounds 0 for seeds and -1 without a label.
        `column` is the learner's whose labels are asked for.
        """
        blocks = block_tasks(label_columns, [self.assignment], column)
        whole = array_of_blocks(blocks, self.F.chunks[0], (2,), np.int32)
        return whole[:, 0], whole[:, 1]


def verdict(kept_round: int, n_rounds: int, n_folds: int) -> tuple[str, ...]:
    """Return what hidden seeds did not confirm, a sentence; none where they did, or no round ran.

    Parameters
    ----------
    kept_round
        Whose models answer.
    n_rounds, n_folds
        Rounds that ran, and folds of hidden seeds.
    """
    if n_rounds and n_folds == 0:
        return (
            "No seed could be hidden, so nothing says whether the pseudo-labels helped: label two"
            " rows or more of each class.",
        )
    if n_rounds and kept_round == 0:
        return (
            "Hidden seeds were told no better by models that had learned from pseudo-labels: the"
            " labels are those of the seeds alone.",
        )
    return ()
