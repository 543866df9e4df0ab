"""The few rows of X that come to the client: the seeds, and a sample for the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import fetch_rows, row_starts
from ssl_dask.dask_arrays import row_handles
from ssl_dask.execution import Execution


@dataclass(frozen=True)
class RowSample:
    """Rows of X on the client."""

    X: da.Array
    """Dask array (N, d): all rows."""
    seeds: Any
    """(S, d) dense float32 or CSR: features of the seeds, in the order of the labels."""
    sampled: Int64
    """int64, sorted: rows of the picture, seeds among them."""
    sample: Any
    """Their features."""


def fetch_seeds_and_sample(
    X: da.Array, seeds: Int64, sampled: Int64, execution: Execution
) -> RowSample:
    """Fetch the rows of the seeds, int64 in any order, and of a sample, int64 and sorted.

    Costs one task for each chunk that holds such a row, and (S + 2,000) d values on the
    client.
    """
    wanted = np.union1d(sampled, seeds)
    rows = fetch_array_rows(X, wanted, execution)
    return RowSample(
        X, rows[np.searchsorted(wanted, seeds)], sampled, rows[np.searchsorted(wanted, sampled)]
    )


def fetch_array_rows(X: da.Array, wanted: Int64, execution: Execution) -> Any:
    """Return the rows `wanted` of X, dense or CSR."""
    chunks = row_handles(X)
    return fetch_rows(chunks, row_starts(X.chunks[0]), wanted, execution, "fetch rows")
