"""The few rows of X that come to the client: the seeds, and a sample for the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed

from ssl_dask.execution import Execution
from ssl_dask.labels import Labels


@dataclass(frozen=True)
class RowPicks:
    """Rows of X on the client.

    Parameters
    ----------
    seeds
        (S, d) dense float32 or CSR: features of the seeds, in the order of `Labels.rows`.
    sampled
        int64, sorted: rows of the picture, seeds among them.
    sample
        Their features.
    X
        All rows as a Dask array whose chunks are kept on the workers; None where they are not.
    """

    seeds: Any
    sampled: npt.NDArray[np.int64]
    sample: Any
    X: da.Array | None = None

    def with_features(self, X: da.Array) -> RowPicks:
        """Return the same with the rows that are kept on the workers."""
        return replace(self, X=X)


def pick(
    X: da.Array, labels: Labels, sampled: npt.NDArray[np.int64], execution: Execution
) -> RowPicks:
    """Fetch the rows of the seeds and of a sample.

    Costs one task for each chunk that holds such a row, and (S + 2,000) d values on the
    client.
    """
    wanted = np.union1d(sampled, labels.rows)
    rows = fetch_rows(X, wanted, execution)
    return RowPicks(
        seeds=rows[np.searchsorted(wanted, labels.rows)],
        sampled=sampled,
        sample=rows[np.searchsorted(wanted, sampled)],
    )


def fetch_rows(X: da.Array, wanted: npt.NDArray[np.int64], execution: Execution) -> Any:
    """Return the rows `wanted` (sorted global numbers) of X, dense float32 or CSR."""
    starts = np.concatenate([[0], np.cumsum(X.chunks[0])])
    take = delayed(_take, pure=False)
    tasks = []
    for block, chunk in enumerate(X.to_delayed().ravel()):
        first, last = np.searchsorted(wanted, [starts[block], starts[block + 1]])
        if last > first:
            tasks.append(take(chunk, wanted[first:last] - starts[block]))
    pieces = execution.compute(tasks, "fetch rows")
    if sp.issparse(pieces[0]):
        return sp.vstack(pieces, format="csr")
    return np.concatenate(pieces)


def _take(chunk: Any, positions: npt.NDArray[np.int64]) -> Any:
    return chunk[positions]
