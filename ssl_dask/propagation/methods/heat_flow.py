"""Heat that flows along the edges for some time: exp(-t (I - P)) for the random walk P = D^-1 W."""

from __future__ import annotations

import numpy as np
from scipy.special import ive

from ssl_dask.propagation.engine.session import Recurrence

NEGLIGIBLE = 1e-6
"""Terms of the series whose coefficients add up to no more are left out."""


def heat_flow(name: str, time: float) -> tuple[Recurrence, int]:
    """Return the recurrence from a dense right-hand side V to exp(-time (I - P)) V, and its sweeps.

    exp(-t (I - x)) = sum_k c_k T_k(x) with Chebyshev polynomials T_k, c_0 = exp(-t) I_0(t),
    c_k = 2 exp(-t) I_k(t) and the modified Bessel functions I_k (Abramowitz and Stegun 1964,
    9.6.34), summed by Clenshaw's recurrence, which has three terms. At most 5 + 4.5 sqrt(time)
    sweeps, where steps of explicit Euler need more than `time`. All eigenvalues of P lie in
    [-1, 1], where the error of the polynomial is at most `NEGLIGIBLE`.

    Parameters
    ----------
    time
        >= 0; 1 is a time in which a walker leaves a row once on average.
    """
    terms = np.arange(int(20 + 10 * time**0.5))
    c = np.where(terms == 0, 1.0, 2.0) * ive(terms, time)
    beyond = np.cumsum(c[::-1])[::-1]
    last = max(int(np.flatnonzero(beyond > NEGLIGIBLE)[-1]), 1)

    def steps(t: int) -> tuple[float, float, float, float]:
        if t > last:
            raise ValueError(f"the series ends after {last} sweeps; sweep {t} was asked for")
        # Carried on is b_{last - t} of Clenshaw; the last step takes the walk once, not twice.
        return 2.0 if t < last else 1.0, 0.0, -1.0 if t > 1 else 0.0, float(c[last - t])

    recurrence = Recurrence(
        name=name,
        target=(1.0, 0.0),
        steps=steps,
        settings={"time": time},
        powers=(0.0, 0.0),
        first=float(c[last]),
    )
    return recurrence, last
