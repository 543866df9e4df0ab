"""Arrays that are chunked as Dask's own are, from whatever package they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import is_dask_collection
from dask.delayed import Delayed

from ssl_dask.errors import UnknownChunksError


def row_handles(X: da.Array) -> list[Delayed]:
    """Return the blocks of an array that is chunked by rows only; none is optimised.

    Optimising puts names in the place of futures, and the results behind them are gone with `X`;
    and it makes a second graph for the names of `X`, of which a scheduler that knows the first one
    warns.
    """
    return list(X.to_delayed(optimize_graph=False).ravel())


def rows_in_blocks(
    X: Any, row_chunks: Sequence[int], place: Callable[[Sequence[Any]], list[Delayed]]
) -> list[Delayed]:
    """Return rows (N, d), NumPy array, CSR or Dask array, in blocks of `row_chunks` rows.

    `place` is `Execution.place` of where they are wanted: tasks do not carry them.
    """
    if isinstance(X, da.Array):
        return row_handles(X.rechunk({0: tuple(row_chunks), 1: -1}))
    cuts = pairwise(np.cumsum([0, *row_chunks]).tolist())
    return place([X[start:stop] for start, stop in cuts])


def array_of_blocks(
    blocks: Iterable[Any],
    row_chunks: Iterable[int],
    width: tuple[int, ...],
    dtype: npt.DTypeLike,
    meta: Any = None,
) -> da.Array:
    """Return blocks of `row_chunks` rows, each of the shape `width`, as one lazy array."""
    parts = [
        da.from_delayed(block, (n, *width), dtype=dtype, meta=meta)
        for block, n in zip(blocks, row_chunks, strict=True)
    ]
    return da.concatenate(parts) if len(parts) > 1 else parts[0]


def as_dask_array(X: Any) -> Any:
    """Return `X` as a `dask.array.Array` if it is chunked like one; anything else as it is.

    Parameters
    ----------
    X
        A Dask collection with `chunks`, `dtype` and `to_delayed()`, such as an array of the package
        dask-array, with dense or CSR chunks; or anything else.

    Raises
    ------
    UnknownChunksError
        Such a collection does not know the lengths of its chunks.
    ValueError
        A Dask data frame, series or delayed value: NumPy would compute it in this process.

    Examples
    --------
    >>> as_dask_array(da.ones((4, 2), chunks=(3, 2))).chunks
    ((3, 1), (2,))
    >>> as_dask_array([[1.0, 2.0]])
    [[1.0, 2.0]]
    """
    if isinstance(X, da.Array) or not is_dask_collection(X):
        return X
    if isinstance(X, Delayed):
        raise ValueError(
            "a Delayed has no known shape: give dask.array.from_delayed of it, or .compute()"
        )
    if not all(hasattr(X, name) for name in ("chunks", "dtype", "to_delayed")):
        if hasattr(X, "to_dask_array"):
            raise ValueError(
                f"a Dask {type(X).__name__} has no blocks of known lengths: give"
                " .to_dask_array(lengths=True) of it, or .compute() if it fits into memory"
            )
        return X
    if any(n != n for sizes in X.chunks for n in sizes):
        raise UnknownChunksError(
            "the lengths of the array's chunks are not known", hint="call compute_chunk_sizes()"
        )
    handles = X.to_delayed()
    blocks = np.empty(handles.shape, dtype=object)
    for place, handle in np.ndenumerate(handles):
        shape = tuple(sizes[i] for sizes, i in zip(X.chunks, place, strict=True))
        meta = getattr(X, "_meta", None)
        blocks[place] = da.from_delayed(handle, shape, dtype=X.dtype, meta=meta)
    return da.block(blocks.tolist())
