"""The rows of the picture: which are drawn, and where they lie on the plane."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy import sparse

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.one_thread import one_thread

PICTURE_ROWS = 2_000

Points: TypeAlias = Float64


def picture_rows(
    n_rows: int, seed_rows: Int64, *, size: int = PICTURE_ROWS, random_state: int = 0
) -> Int64:
    """Return the rows to draw, int64 ascending: up to half of `size` seeds, the rest at random.

    Depends on the number of rows, the seeds and `random_state` alone. Memory is that of the answer.
    """
    random = np.random.default_rng(random_state)
    seeds = seed_rows
    if len(seeds) > size // 2:
        seeds = random.choice(seed_rows, size // 2, replace=False)
    if n_rows <= size:
        return np.arange(n_rows, dtype=np.int64)
    # Too many are drawn because some may be seeds, or drawn twice.
    few = n_rows <= 20 * size
    pool = np.arange(n_rows) if few else random.integers(0, n_rows, 2 * size)
    drawn = np.setdiff1d(pool, seed_rows)
    others = random.permutation(drawn)[: size - len(seeds)]
    return np.sort(np.concatenate([seeds, others])).astype(np.int64)


def project_2d(sample: Float32 | sparse.csr_array) -> Points:
    """Return the first two principal components of a few thousand rows, float64 (n, 2).

    Parameters
    ----------
    sample
        (n, d) dense or CSR. Where there is one component only, or none, the rest is 0.
    """
    from sklearn.decomposition import PCA

    n, d = sample.shape
    points = np.zeros((n, 2))
    rows = sample.astype(np.float64) if sparse.issparse(sample) else np.asarray(sample, np.float64)
    if n < 2 or not _varies(rows):
        return points
    if min(n, d) < 3:
        dense = sparse.csr_array(rows).toarray()
        pca = PCA(n_components=min(n, d, 2), svd_solver="full")
    else:
        # An iterative solver: a full decomposition of thousands of columns is not needed for two.
        dense, pca = rows, PCA(n_components=2, svd_solver="arpack", random_state=0)
    with one_thread():
        found = pca.fit_transform(dense)
    points[:, : found.shape[1]] = found
    return points


def _varies(rows: Float64 | sparse.csr_array) -> bool:
    spread = abs(rows - rows[[0] * rows.shape[0]]).max()
    return bool(spread > 0)
