"""How much each member of an ensemble counts, by what it said of seeds that it had not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from ssl_dask.labels import Labels

FEWEST_SEEDS = 3.0
"""With fewer seeds a class, weights are not fitted: one or two tell classifier from graph at
random."""
FOLDS = 4
DECIMALS = 4
"""Weights are rounded, so that they do not depend on the last bits of a machine's matrix
product."""

Folds = Sequence[npt.NDArray[np.bool_]]


def stacking_folds(labels: Labels) -> list[npt.NDArray[np.bool_]]:
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
    evidence: npt.NDArray[np.float64],
    codes: npt.NDArray[np.int32],
    folds: Folds,
    start: npt.NDArray[np.float64],
    strength: float,
) -> npt.NDArray[np.float64]:
    """Return the members' weights for all rows, and for each fold those without its seeds.

    Parameters
    ----------
    evidence
        float64 (M, S, C): what each member said of each seed while it was hidden.
    codes
        int32 (S,).
    folds
        Bool (S,) each: the seeds hidden together.
    start, strength
        See `fitted_weights`.

    Returns
    -------
    float64 (1 + folds, M).
    """
    hidden = np.any(folds, axis=0)
    others = [hidden & ~fold for fold in folds]
    return np.stack(
        [fitted_weights(evidence[:, m], codes[m], start, strength) for m in (hidden, *others)]
    )


def fitted_weights(
    evidence: npt.NDArray[np.float64],
    codes: npt.NDArray[np.int32],
    start: npt.NDArray[np.float64],
    strength: float,
) -> npt.NDArray[np.float64]:
    """Return w >= 0 that makes softmax(sum_m w_m evidence_m) say the true classes.

    Minimises the sum over seeds of the cross-entropy, plus `strength` |w - start|^2.

    Parameters
    ----------
    evidence
        float64 (M, s, C).
    codes
        int32 (s,): true classes.
    start
        float64 (M,): what the weights are without evidence.

    Returns
    -------
    float64 (M,), rounded to 4 decimals.
    """
    at = np.arange(len(codes))

    def loss(w: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        mixed = np.tensordot(w, evidence, 1)
        mixed -= mixed.max(axis=1, keepdims=True)
        shares = np.exp(mixed)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        value = np.sum(np.log(total[:, 0]) - mixed[at, codes]) + strength * np.sum((w - start) ** 2)
        shares[at, codes] -= 1.0
        slope = np.tensordot(evidence, shares, ([1, 2], [0, 1])) + 2 * strength * (w - start)
        return float(value), slope

    with threadpool_limits(1):
        found = minimize(
            loss, start, jac=True, bounds=[(0.0, None)] * len(start), method="L-BFGS-B"
        )
    return np.round(found.x, DECIMALS)
