"""The classifier of one view, its predictions for held-out seeds, and its weight by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ssl_dask.array_types import Float32, Float64, Int32, Int64
from ssl_dask.errors import QualityError
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys
from ssl_dask.kernels.distributions.class_evidence import fitted_weights, log_shares
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.rows.block_rows import Piece, joined_pieces

INNER_FOLDS = 5
START, STRENGTH = 1.0, 0.3
"""Weight of a view without any hidden seed, and how many seeds it takes to leave it."""


@dataclass(frozen=True)
class ViewModel:
    """The classifier of one view, and its predictions for held-out seeds."""

    fitted: FittedLearner | None
    """On all rows that have the view; None where none has."""
    seeds: Int64
    """int64 (s,): rows of the seeds that were hidden once."""
    codes: Int32
    """int32 (s,): their classes."""
    evidence: Float32
    """float32 (s, C) of `log_shares`: the prediction for each by a classifier of other seeds."""


@dataclass(frozen=True)
class ViewFit:
    """Fits the classifier of a view.

    Classes weigh what they weigh among all seeds, whatever part of them has the view. Otherwise
    which rows have a view would change the frequency of the classes.
    """

    name: str
    """Of the view."""
    learner: Learner
    """Its classifier."""
    shares: Float64
    """float64 (C,): of the classes among all seeds."""
    mass: float
    """Most that all pseudo-labels of a class weigh together, in multiples of its seeds."""

    def model(self, pieces: Sequence[Piece], key: tuple[int, ...]) -> ViewModel:
        """Return the classifier and its predictions for hidden seeds: five fits more on seeds.

        Raises
        ------
        QualityError
            The classifier cannot be fitted; the view is named.
        """
        empty = np.zeros((0, len(self.shares)), dtype=np.float32)
        nothing = np.zeros(0, dtype=np.int64)
        if not any(len(piece.tags) for piece in pieces):
            return ViewModel(None, nothing, nothing.astype(np.int32), empty)
        try:
            piece = joined_pieces(pieces)
            fitted = self._fitted(piece, key)
        except QualityError as error:
            hint = error.problems[0].hint
            raise QualityError(f"view {self.name!r}: {error}", hint=hint) from error
        seeds = piece.take(piece.given)
        fold = inner_folds(seeds, key[0])
        hidden = np.flatnonzero(fold >= 0)
        said = np.zeros((len(seeds.tags), len(self.shares)), dtype=np.float32)
        for number in range(fold.max(initial=-1) + 1):
            out = fold == number
            inner = self._fitted(seeds.take(~out), key)
            said[out] = inner.probabilities(seeds.X[np.flatnonzero(out)])
        evidence = log_shares(said[hidden], len(self.shares))
        return ViewModel(fitted, seeds.tags[hidden], seeds.codes[hidden], evidence)

    def _fitted(self, piece: Piece, key: tuple[int, ...]) -> FittedLearner:
        """Return a classifier of rows whose weights are brought to the classes' shares.

        The seeds of a class weigh together its share of all seeds; its pseudo-labels `mass` times
        that, and none more than 1.
        """
        weights = piece.weights.astype(np.float64)
        seeds = piece.given
        total = float(weights[seeds].sum()) or 1.0
        for code in np.unique(piece.codes):
            mine = piece.codes == code
            own, pseudo = mine & seeds, mine & ~seeds
            if own.any():
                weights[own] *= self.shares[code] * total / weights[own].sum()
            if pseudo.any():
                heavy = self.mass * self.shares[code] * total / pseudo.sum()
                weights[pseudo] = min(heavy, 1.0)
        even = replace(piece, weights=weights.astype(np.float32))
        return self.learner.fit([even], len(self.shares), key)


def weights_by_seeds(models: Sequence[ViewModel], n_classes: int) -> Float64:
    """Return the weight of each view, float64 (V,), by its predictions for hidden seeds.

    Float32 w >= 0 minimise the loss of softmax(sum_v w_v e_v) over the seeds, e_v being 0 where
    a seed lacks view v or was never hidden from it; they are 1 without such seeds.
    """
    start = np.full(len(models), START)
    rows = np.unique(np.concatenate([model.seeds for model in models]))
    if len(rows) == 0:
        return start
    evidence = np.zeros((len(models), len(rows), n_classes))
    codes = np.zeros(len(rows), dtype=np.int32)
    for number, model in enumerate(models):
        place = np.searchsorted(rows, model.seeds)
        evidence[number, place] = model.evidence
        codes[place] = model.codes
    return fitted_weights(evidence, codes, start, STRENGTH)


def inner_folds(seeds: Piece, random_state: int) -> Int64:
    """Deal the seeds of each class to folds, int64 (s,); -1 for the only seed of a class.

    By pseudo-random numbers of their rows: a seed's place depends on the seeds of its class alone.
    """
    keys = row_keys(seeds.tags, Purpose.VIEW_FOLDS, random_state)
    fold = np.full(len(seeds.tags), -1, dtype=np.int64)
    for code in np.unique(seeds.codes):
        mine = np.flatnonzero(seeds.codes == code)
        if len(mine) > 1:
            fold[mine[np.lexsort((seeds.tags[mine], keys[mine]))]] = (
                np.arange(len(mine)) % INNER_FOLDS
            )
    return fold
