"""Distributions from scores that are positive and negative, and tell classes apart by difference.

The scores of Poisson learning sum to zero over the classes: only how far one is above another says
something, and in which unit is not known beforehand. The unit is the median lead of the best class.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ssl_dask.array_types import Bool, Float64
from ssl_dask.kernels.arithmetic.linear_scores import softmax_rows

MEDIAN_ODDS = 10.0
"""Odds of the best class against the next that a row with the median lead gets."""
KEPT_BITS = 46
"""So many low bits of a lead are dropped when leads are counted: steps of 1.6 %."""
LEAST_SHARE = 2.0**-20

LeadCounts = dict[int, int]


def count_leads(scores: Float64, present: Bool) -> LeadCounts:
    """Count the rows by how far their best class leads, counts that join exactly.

    Parameters
    ----------
    scores
        float64 (n, C).
    present
        bool (n, C): the classes that a row can have. Rows with fewer than two are left out, as are
        ties.
    """
    lead = _leads(scores, present)
    bits = lead[lead > 0.0].view(np.int64) >> KEPT_BITS
    values, counts = np.unique(bits, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def median_lead(parts: Iterable[LeadCounts]) -> float:
    """Return the median of the leads that were counted, to 1.6 %; 1 if there are none.

    At least `LEAST_SHARE` of the largest: where most leads are rounding they must not become odds.
    """
    joined: LeadCounts = {}
    for part in parts:
        for bits, n in part.items():
            joined[bits] = joined.get(bits, 0) + n
    half = sum(joined.values()) / 2
    below = 0
    for bits in sorted(joined):
        below += joined[bits]
        if below >= half:
            return max(_lead_of(bits), LEAST_SHARE * _lead_of(max(joined)))
    return 1.0


def signed_distributions(scores: Float64, present: Bool, unit: float) -> Float64:
    """Return softmax(ln(`MEDIAN_ODDS`) scores / unit) over the present classes, float64 (n, C).

    Rows sum to 1; to 0 if no class is present. The order of the classes is that of the scores.
    """
    known = present.any(axis=1)
    steep = np.where(present, scores * (np.log(MEDIAN_ODDS) / unit), -np.inf)
    steep[~known] = 0.0
    F = softmax_rows(steep)
    F[~known] = 0.0
    return F


def _lead_of(bits: int) -> float:
    return float(np.array([bits << KEPT_BITS]).view(np.float64)[0])


def _leads(scores: Float64, present: Bool) -> Float64:
    several = present.sum(axis=1) > 1
    masked = np.where(present[several], scores[several], -np.inf)
    if masked.shape[1] < 2:
        return np.zeros(0)
    two = np.partition(masked, masked.shape[1] - 2, axis=1)[:, -2:]
    return np.ascontiguousarray(two[:, 1] - two[:, 0])
