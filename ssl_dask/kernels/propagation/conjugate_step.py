"""The vector updates of a sweep of block conjugate gradients, in one pass over memory."""

from __future__ import annotations

import numba
import numpy as np

from ssl_dask.array_types import Float64, Floating


def conjugate_step(
    x: Floating,
    r: Floating,
    direction: Floating,
    image: Floating,
    product: Floating,
    alpha: Float64,
    beta: Float64,
) -> None:
    """Update x, r, direction = r + beta direction and image = A direction, (n, K) each, in place.

    Parameters
    ----------
    product
        A r.
    alpha, beta
        float64 (K,): the scalars of each column.
    """
    _update(x, r, direction, image, product, alpha, beta)


@numba.njit(nogil=True, cache=True)
def _update(x, r, direction, image, product, alpha, beta):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            step = np.float64(r[i, k]) + beta[k] * np.float64(direction[i, k])
            moved = np.float64(product[i, k]) + beta[k] * np.float64(image[i, k])
            direction[i, k] = step
            image[i, k] = moved
            x[i, k] += alpha[k] * step
            r[i, k] -= alpha[k] * moved
