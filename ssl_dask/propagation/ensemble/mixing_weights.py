"""The weights of the members of an ensemble, fitted on seeds that were hidden from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_dask.array_types import Bool, Float64, Int32
from ssl_dask.kernels.distributions.class_evidence import fitted_weights
from ssl_dask.labels import Labels

FEWEST_SEEDS = 3.0
"""With fewer seeds a class, weights are not fitted: one or two choose between classifier and
graph at random."""
FOLDS = 4

Folds = Sequence[Bool]


def stacking_folds(labels: Labels) -> list[Bool]:
    """Return for each fold a bool array (S,) of the seeds that it hides; none with too few seeds.

    The seeds of each class are dealt in turn, in an order that depends on their row numbers
    alone. A class with a single seed is never hidden.
    """
    counts = labels.class_counts()
    if labels.n_seeds < FEWEST_SEEDS * np.count_nonzero(counts):
        return []
    shuffled = np.random.default_rng(labels.n_seeds).permutation(labels.n_seeds)
    by_class = shuffled[np.argsort(labels.codes[shuffled], kind="stable")]
    # Every class begins at the first fold: what is left of equal classes is equal in every fold,
    # and a classifier has no reason to expect the classes less that are hidden.
    place = np.arange(labels.n_seeds) - np.repeat(np.cumsum(counts) - counts, counts)
    fold = np.full(labels.n_seeds, -1)
    fold[by_class] = np.where(np.repeat(counts, counts) > 1, place % FOLDS, -1)
    masks = [fold == number for number in range(FOLDS)]
    masks = [mask for mask in masks if mask.any()]
    return masks if len(masks) > 1 else []


def weights_by_group(
    evidence: Float64, codes: Int32, folds: Folds, start: Float64, strength: float
) -> Float64:
    """Return the members' weights for all rows, and for each fold those without its seeds.

    `evidence`, float64 (M, S, C), is each member's at each seed while it was hidden; `folds` are
    bool (S,) each, the seeds hidden together; `start` and `strength` are those of `fitted_weights`.

    Returns
    -------
    float64 (1 + folds, M).
    """
    hidden = np.any(folds, axis=0)
    others = [hidden & ~fold for fold in folds]
    return np.stack(
        [fitted_weights(evidence[:, m], codes[m], start, strength) for m in (hidden, *others)]
    )
