"""Distributions of rows that were not there when the graph was made.

A new row takes the weighted mean of the distributions of the training rows near to it; these do not
change. scikit-learn does the same (Delalleau, Bengio and Le Roux 2005, eq. 7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.knn_search import knn_search
from ssl_dask.kernels.arithmetic.offsets import (
    Offsets,
    beyond_told,
    extent_of,
    far_offsets,
    number_beyond,
    without_offsets,
)
from ssl_dask.kernels.arithmetic.sparse_rows import canonical_rows, stacked_rows, stored_as
from ssl_dask.kernels.distributions.label_distributions import normalise_rows
from ssl_dask.kernels.propagation.neighbour_means import nearest_means, radial_means


def nearest_distributions(
    X_new: Any,
    X: Any,
    F: Float32 | da.Array,
    *,
    n_neighbors: int,
    metric: str,
    weights: str,
    execution: Execution,
) -> Float32 | da.Array:
    """Return the mean distribution of the nearest training rows of each new row.

    Parameters
    ----------
    X_new, X
        New rows (m, d) and training rows (N, d): NumPy array, CSR or Dask array chunked by rows.
    F
        float32 (N, C): distributions of the training rows.
    n_neighbors, metric, weights
        As for the graph.

    Returns
    -------
    float32 (m, C): rows sum to 1, or to 0 where no neighbour has evidence. A Dask array chunked as
    `X_new` if that is one.

    Raises
    ------
    GraphError
        New rows and training rows do not fit together.

    Notes
    -----
    2 m N d flops; a task holds F, 4 N C bytes.
    """
    found = knn_search(X_new, X, n_neighbors, metric=metric, execution=execution)
    columns = [_placed(one, execution) for one in found]
    parts = block_tasks(_nearest_means, columns, _whole(F, execution), weights, metric)
    return _joined(parts, X_new, F.shape[1], execution)


def radial_distributions(
    X_new: Any, X: Any, F: Float32 | da.Array, *, gamma: float, execution: Execution
) -> Float32 | da.Array:
    """Return the mean of F over all training rows, weighed by exp(-gamma d^2); else as above.

    Notes
    -----
    m N d flops; a task holds all training rows and F.
    """
    if isinstance(X, da.Array):
        points = delayed(_stacked, pure=False)(*row_handles(X))
    else:
        (points,) = execution.place([X])
    (points,) = execution.persist(block_tasks(_near_zero, [[points]]), "training rows")
    columns = [_placed(X_new, execution)]
    parts = block_tasks(_radial_means, columns, points, _whole(F, execution), gamma)
    return _joined(parts, X_new, F.shape[1], execution)


def kernel_distributions(
    X_new: Any,
    X: Any,
    F: Float32,
    *,
    kernel: Callable[[Any, Any], Any],
    execution: Execution,
) -> Float32 | da.Array:
    """Return the mean of F over all training rows, weighed by a function; else as above.

    Parameters
    ----------
    kernel
        Called with X and new rows (m, d); returns their affinities (N, m), dense or sparse.
    """
    columns, points = [_placed(X_new, execution)], execution.place([X])[0]
    parts = block_tasks(_kernel_means, columns, points, _whole(F, execution), kernel)
    return _joined(parts, X_new, F.shape[1], execution)


def _whole(F: Float32 | da.Array, execution: Execution) -> Delayed:
    """Return F as one value; the scheduler keeps one of this process, to send it again."""
    if isinstance(F, da.Array):
        return delayed(_stacked, pure=False)(*row_handles(F))
    return execution.place([F], lasting=True)[0]


def _placed(X: Any, execution: Execution) -> list[Any]:
    return row_handles(X) if isinstance(X, da.Array) else execution.place([X])


def _joined(
    parts: list[Delayed], X_new: Any, n_classes: int, execution: Execution
) -> Float32 | da.Array:
    if not isinstance(X_new, da.Array):
        return np.concatenate(execution.compute(parts, "new rows"))
    return array_of_blocks(parts, X_new.chunks[0], (n_classes,), np.float32)


def _stacked(*blocks: Any) -> Any:
    # Not a list as one argument: Dask would put names in the place of the futures in it.
    return stacked_rows(blocks)


def _near_zero(X: Any) -> tuple[Any, Offsets | None]:
    """Return training rows as float32, and what was subtracted from their columns before."""
    offsets = far_offsets([extent_of(X)])
    return _as_float32(X, offsets), offsets


def _as_float32(X: Any, offsets: Offsets | None) -> Any:
    rows, values = X, X
    if (beyond := number_beyond(X)) is not None:
        text, hint = beyond_told("rows", beyond)
        raise GraphError(text, hint=hint)
    if sp.issparse(X):
        rows = canonical_rows(sp.csr_array(X).astype(np.float32))
        values = rows.data
    elif offsets is not None:
        rows = values = without_offsets(X, offsets)
    else:
        rows = values = np.ascontiguousarray(X, dtype=np.float32)
    if not np.isfinite(values).all():
        raise GraphError(
            "rows hold NaN or infinite values",
            hint="fill missing values in the same way as for the training rows",
        )
    return rows


def _nearest_means(
    distances: Float64, indices: Int64, F: Float32, weights: str, metric: str
) -> Float32:
    squares = distances**2 if metric == "euclidean" else distances
    return nearest_means(squares, indices, F, weights)


def _kernel_means(X_new: Any, X: Any, F: Float32, kernel: Callable[[Any, Any], Any]) -> Float32:
    affinities = kernel(X, stored_as(X_new, sparse=sp.issparse(X)))
    if affinities.shape != (X.shape[0], X_new.shape[0]):
        raise GraphError(
            f"the kernel gave affinities of shape {affinities.shape} for {X.shape[0]} training rows"
            f" and {X_new.shape[0]} new rows",
            hint="kernel(X, Y) returns one row for each row of X, one column for each of Y",
        )
    return normalise_rows(np.asarray(affinities.T @ F, dtype=np.float64))


def _radial_means(
    X_new: Any, training: tuple[Any, Offsets | None], F: Float32, gamma: float
) -> Float32:
    X, offsets = training
    rows = _as_float32(stored_as(X_new, sparse=sp.issparse(X)), offsets)
    return radial_means(rows, X, F, gamma)
