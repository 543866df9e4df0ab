"""What a row of class scores says: its distribution, its most likely class, how sure it is.

Each function looks at one row at a time, in a fixed order of operations, so that the answer for
a row does not depend on the block it lies in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int32

TIE_MARGIN = 2.0**-20
"""Two classes whose probabilities differ by less are tied: float32 sums do not tell them apart."""


class RowSummary(NamedTuple):
    """What the rows of a block of distributions say.

    Parameters
    ----------
    codes
        int32 (n,): the most likely class, the first of equals; -1 for a row of zeros.
    margin
        float32 (n,): probability of the most likely class minus that of the next, 0 to 1.
    tied
        bool (n,): the margin is below `TIE_MARGIN`, so `codes` is arbitrary. False for rows of
        zeros.
    """

    codes: Int32
    margin: Float32
    tied: Bool


def row_mass(scores: Floating) -> Float64:
    """Return the sum of the positive scores of each row, float64 (n,), added in class order.

    Parameters
    ----------
    scores
        Floating array (n, C). Small negative values are what an accelerated solver leaves of zero.
    """
    mass = np.zeros(len(scores))
    # Column by column: np.sum over an axis changes its order of addition with the shape.
    for column in scores.T:
        mass += np.maximum(column, 0.0)
    return mass


def normalise_rows(scores: Floating) -> Float32:
    """Return each row as a distribution: negatives become 0 and the rest is divided by its sum.

    Parameters
    ----------
    scores
        Floating array (n, C), finite.

    Returns
    -------
    F
        float32 (n, C): rows sum to 1 within rounding, or are all zero where no score was positive.
    """
    mass = row_mass(scores)
    safe = np.where(mass > 0.0, mass, 1.0)
    return (np.maximum(scores, 0.0) / safe[:, None]).astype(np.float32)


def summarise_rows(F: Floating) -> RowSummary:
    """Return the most likely class of each row, its margin and whether it is tied.

    Parameters
    ----------
    F
        Floating array (n, C), C >= 1, as `normalise_rows` returns it.
    """
    n_rows, n_classes = F.shape
    best = np.argmax(F, axis=1)
    top = F[np.arange(n_rows), best]
    if n_classes == 1:
        runner_up = np.zeros_like(top)
    else:
        runner_up = np.partition(F, n_classes - 2, axis=1)[:, n_classes - 2]
    reached = top > 0.0
    margin = (top - runner_up).astype(np.float32)
    codes = np.where(reached, best, -1).astype(np.int32)
    return RowSummary(codes, margin, reached & (margin < TIE_MARGIN))
