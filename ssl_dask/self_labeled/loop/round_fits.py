"""How the models of a round are fitted: on how many rows, in how many pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.kernels.learners.row_samples import piece_count
from ssl_dask.self_labeled.loop.fit_limits import FitLimit
from ssl_dask.self_labeled.loop.fit_tasks import LabelledBlocks
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.loop.track import Track
from ssl_dask.self_labeled.rows.block_rows import FitRows, RoundCounts

FIT = "fit"
FIT_BYTES = 256 * 2**20
"""Features of the rows that one fit takes by default, in bytes: the same on any cluster, because
the answer depends on it."""
FEWEST_FIT_ROWS = 20_000
SPARSE_ENTRIES = 128


@dataclass(frozen=True)
class RoundFits:
    """Makes the tasks of models from the labels there are."""

    method: RoundMethod
    """Says what is fitted."""
    sent: Delayed
    """The same, as tasks get it."""
    execution: Execution
    """Counts rows that are learned from in pieces."""
    random_state: int
    """Part of the key of each fit."""
    max_fit_rows: int
    """Rows that a fit may take."""

    def models(
        self,
        tracks: Sequence[Track],
        assigned: Sequence[Sequence[Delayed]],
        counts: Sequence[RoundCounts | None],
        round_number: int,
    ) -> list[list[Delayed]]:
        """Return tasks of the models of some tracks on the labels there are."""
        method = self.method
        blocks = [
            LabelledBlocks(self.sent, track.blocks, own)
            for track, own in zip(tracks, assigned, strict=True)
        ]
        wanted = [
            (place, learner)
            for place, total in enumerate(counts)
            for learner in range(method.n_learners)
            if total is not None and self._in_pieces(learner, total)
        ]
        tasks = [blocks[place].fit_rows(learner) for place, learner in wanted]
        found = iter(self.execution.compute([one for group in tasks for one in group], FIT))
        rows = {at: [next(found) for _ in group] for at, group in zip(wanted, tasks, strict=True)}
        models = []
        for place, (track, own, total) in enumerate(zip(tracks, blocks, counts, strict=True)):
            assert total is not None
            key = (self.random_state, track.state.track, round_number)
            if method.shares_rows and not any(at == place for at, _ in wanted):
                models.append(own.fitted_together(method.n_learners, total, self.max_fit_rows, key))
                continue
            models.append(
                [
                    self._model(own, learner, total, rows.get((place, learner)), (*key, learner))
                    for learner in range(method.n_learners)
                ]
            )
        return models

    def _model(
        self,
        blocks: LabelledBlocks,
        learner: int,
        total: RoundCounts,
        rows: Sequence[FitRows] | None,
        key: tuple[int, ...],
    ) -> Delayed:
        if self.method.sums:
            return blocks.fitted_on_sums(learner, key)
        made = self.method.made_by(learner)
        if rows is not None and made is not None:
            n_passes = made.passes_over(sum(one.n_rows for one in rows))
            return blocks.fitted_in_pieces(learner, rows, self.max_fit_rows, n_passes, key)
        limit = FitLimit(total.of_learner(learner), self.max_fit_rows)
        return blocks.fitted(learner, limit, key)

    def _in_pieces(self, learner: int, counts: RoundCounts) -> bool:
        """Return whether a learner has more rows than a fit takes, and can learn piece by piece."""
        made = self.method.made_by(learner)
        if made is None or not made.partial_fit:
            return False
        return counts.of_learner(learner) > self.max_fit_rows

    def notes(self, counts: RoundCounts) -> dict[str, Any]:
        """Return how a round's fits differ from one on all rows with their weights."""
        notes: dict[str, Any] = {}
        method = self.method
        if method.sums:
            return notes
        learners = range(method.n_learners)
        many = [one for one in learners if counts.of_learner(one) > self.max_fit_rows]
        pieces = [
            piece_count(counts.of_learner(one), self.max_fit_rows)
            for one in many
            if self._in_pieces(one, counts)
        ]
        if pieces:
            notes["pieces_fitted"] = max(pieces)
        if len(many) > len(pieces):
            notes["most_rows_fitted"] = self.max_fit_rows
        if counts.uneven or method.weighs_anew:
            made = [method.made_by(one) for one in learners]
            drawn = {one.name for one in made if one is not None and not one.takes_weights}
            if drawn:
                notes["rows_drawn_by_weight_for"] = sorted(drawn)
        return notes


def default_fit_rows(views: Mapping[str, da.Array]) -> int:
    """Return how many rows fill `FIT_BYTES`; sparse rows are taken to hold 128 entries."""
    row_bytes = sum(
        8 * min(view.shape[1], SPARSE_ENTRIES)
        if sp.issparse(view._meta)
        else view.dtype.itemsize * view.shape[1]
        for view in views.values()
    )
    return max(FIT_BYTES // max(row_bytes, 1), FEWEST_FIT_ROWS)
