"""Confidence interval of a proportion, as voters are weighed by."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return (low, high), 0 to 1; (0, 1) where n is 0.

    Parameters
    ----------
    right
        Successes, 0 to n.
    n
        Trials.
    confidence
        Above 0 and below 1.

    References
    ----------
    E. B. Wilson: Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share = right / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1.0 - share) / n + z * z / (4 * n * n))
    scale = 1.0 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
