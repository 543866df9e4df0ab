"""Scores of models whose arithmetic looks at many rows at a time, the same bits in any block.

A matrix product of BLAS may round a row differently with the number of rows and with the row's
place among them. Rows are therefore scored in batches of one size, each row at the place that its
number gives it, and what is missing is filled with rows of zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Floating

BATCH_ROWS = 1024


def score_batches(score: Callable[[Any], Floating], X: Any, place: int) -> Floating:
    """Return `score` of all rows of a block, (n, C), called with `BATCH_ROWS` rows at a time.

    Parameters
    ----------
    score
        Gets rows (BATCH_ROWS, d) and returns (BATCH_ROWS, C). What it says of a row may depend on
        the row's place, not on the values of the others.
    X
        (n, d), dense or CSR; n may be 0 only if `score` takes zeros.
    place
        Number of the first row: row i has the place (place + i) % BATCH_ROWS.

    Notes
    -----
    Scores up to 2 BATCH_ROWS rows more than there are.
    """
    n = X.shape[0]
    first = place % BATCH_ROWS
    parts = []
    for start in range(-first, max(n, 1 - first), BATCH_ROWS):
        low, high = max(start, 0), min(start + BATCH_ROWS, n)
        batch = _padded(X[low:high], low - start, BATCH_ROWS)
        parts.append(score(batch)[low - start : high - start])
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _padded(rows: Any, before: int, size: int) -> Any:
    """Return rows with zeros around them, `size` in all, `before` of them first."""
    n, d = rows.shape
    if n == size:
        return rows
    if sp.issparse(rows):
        indptr = np.zeros(size + 1, dtype=rows.indptr.dtype)
        indptr[before : before + n + 1] = rows.indptr
        indptr[before + n :] = rows.indptr[-1]
        return sp.csr_array((rows.data, rows.indices, indptr), shape=(size, d))
    padded = np.zeros((size, d), dtype=rows.dtype)
    padded[before : before + n] = rows
    return padded
