"""Bootstrap samples of the seeds that depend on a key and row numbers alone."""

from __future__ import annotations

import numpy as np

from ssl_dask.array_types import Int32, Int64
from ssl_dask.kernels.arithmetic.row_keys import row_keys


def stratified_bootstrap(rows: Int64, codes: Int32, *key: int) -> Int64:
    """Draw as many rows of each class as it has, with replacement: no class is lost.

    Parameters
    ----------
    rows
        int64 (n,): row numbers, ascending.
    codes
        int32 (n,): their classes.
    key
        As for `row_keys`: another key, another sample.

    Returns
    -------
    int64 (n,): positions in `rows`, ascending, some more than once.
    """
    order = np.argsort(codes, kind="stable")
    by_class = codes[order]
    first = np.searchsorted(by_class, by_class, side="left")
    count = np.searchsorted(by_class, by_class, side="right") - first
    draws = row_keys(rows[order], *key) >> np.uint64(32)
    chosen = first + ((draws * count.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
    return np.sort(order[chosen])
