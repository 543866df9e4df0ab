"""What the rounds of self-labelling found."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.round_record import RoundRecord
from ssl_dask.self_labeled.loop.round_method import Distributions, RoundMethod
from ssl_dask.self_labeled.loop.track import label_columns


@dataclass(frozen=True)
class SelfLabeled:
    """What the rounds found.

    Parameters
    ----------
    F
        Dask array float32 (N, C), chunked as the views: what the models of the kept round say;
        rows are scored when they are asked for.
    fold_F
        For each fold float32 (n_hidden, C): what models that had not seen its seeds say of them.
    baseline_fold_F
        The same of the models before the first round, which know seeds alone.
    assignment
        Per block the `Assigned` after the last round.
    models
        Tasks of the kept round's models, one a learner, on the workers.
    method
        What can score other rows by them.
    records
        One for each round.
    reason
        "all_labeled", "max_iter", "no_change", "hidden_loss" or a method's own.
    kept_round
        Whose models answer; 0: those fitted on the seeds alone.
    baseline_accuracy, baseline_loss
        Of the hidden seeds before the first round; None without hidden seeds.
    notes
        What a person should know, a sentence each.
    """

    F: da.Array
    fold_F: list[Distributions]
    baseline_fold_F: list[Distributions]
    assignment: list[Delayed]
    models: list[Delayed]
    method: RoundMethod
    records: list[RoundRecord]
    reason: str
    kept_round: int
    baseline_accuracy: float | None
    baseline_loss: float | None
    notes: tuple[str, ...] = ()

    @property
    def n_iter(self) -> int:
        """Number of rounds."""
        return len(self.records)

    def transduction(self, column: int = 0) -> tuple[da.Array, da.Array]:
        """Return the labels of the rows, and the round of each, as Dask arrays int32 (N,).

        Codes of classes, -1 for rows without a label; rounds 0 for seeds and -1 without a label.
        `column` is the learner's whose labels are asked for.
        """
        task = delayed(label_columns, pure=False)
        blocks = [task(one, column) for one in self.assignment]
        whole = da.concatenate(
            [
                da.from_delayed(block, (n, 2), dtype=np.int32)
                for block, n in zip(blocks, self.F.chunks[0], strict=True)
            ]
        )
        return whole[:, 0], whole[:, 1]
