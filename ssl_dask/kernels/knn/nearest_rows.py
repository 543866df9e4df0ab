"""The nearest of a few rows, for each row of a block."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float64, Int64
from ssl_dask.kernels.knn.exact_dense import update_nearest
from ssl_dask.kernels.knn.exact_sparse import update_nearest_sparse
from ssl_dask.kernels.knn.neighbour_lists import empty_lists


def nearest_rows(Q: Any, P: Any) -> tuple[Float64, Int64]:
    """Return squared distance and place of the row of P nearest to each row of Q, both (n,).

    Rows are float32, all dense or all CSR; of equal distances the first. P has one row at least.
    A pair has the same bits in any block; 2 n m d flops.

    >>> points = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    >>> distances, places = nearest_rows(np.array([[3.0, 5.0]], dtype=np.float32), points)
    >>> distances.tolist(), places.tolist()
    ([1.0], [1])
    """
    distances, places = empty_lists(Q.shape[0], 1)
    strangers, numbers = np.full(Q.shape[0], -1), np.arange(P.shape[0])
    update = update_nearest_sparse if sp.issparse(Q) else update_nearest
    update(Q, strangers, P, numbers, distances, places, "euclidean")
    return distances[:, 0], places[:, 0]
