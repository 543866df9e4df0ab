"""Signed scores to class distributions: softmax in units of the median lead of the best class.

The scores of Poisson learning sum to zero over the classes, so only their differences carry
information, in an unknown unit.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ssl_dask.array_types import Bool, Float64
from ssl_dask.kernels.arithmetic.linear_scores import softmax_rows

MEDIAN_ODDS = 10.0
"""Odds of the best class against the second in a row with the median lead."""
KEPT_BITS = 46
"""Low bits of a lead that are dropped in the histogram of leads: bins of 1.6 %."""
LEAST_SHARE = 2.0**-20
"""Least unit, relative to the largest lead."""

LeadCounts = dict[int, int]


def count_leads(scores: Float64, present: Bool) -> LeadCounts:
    """Return a histogram of the leads of the best over the second class; histograms add exactly.

    Parameters
    ----------
    scores
        float64 (n, C).
    present
        bool (n, C): the classes that a row can have. Rows with fewer than two and ties are skipped.
    """
    lead = _leads(scores, present)
    bits = lead[lead > 0.0].view(np.int64) >> KEPT_BITS
    values, counts = np.unique(bits, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def median_lead(parts: Iterable[LeadCounts]) -> float:
    """Return the median lead within 1.6 %; 1 without leads.

    At least `LEAST_SHARE` of the largest lead, so that leads of rounding do not become odds.
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
    """Return softmax(ln(10) scores / unit) over the present classes, float64 (n, C).

    Rows sum to 1, or to 0 without present classes.

    >>> scores, present = np.array([[0.5, -0.5]]), np.ones((1, 2), dtype=np.bool_)
    >>> signed_distributions(scores, present, unit=1.0).round(4).tolist()
    [[0.9091, 0.0909]]
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
