"""Rows in .npy files that all workers see: written whole, read a run of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.durable_files import whole_file
from ssl_dask.errors import GraphError

_CSR_PARTS = ("data", "indices", "indptr")


def write_array(path: str, values: npt.NDArray[Any]) -> None:
    """Write an array; two tasks that write the same array at a time leave one whole file.

    Raises
    ------
    OSError
        The folder cannot be written to, or is full.
    """
    with whole_file(path) as file:
        np.save(file, values)


@contextmanager
def readable(what: str, path: str | Path) -> Iterator[None]:
    """Turn what NumPy raises for a file that is missing, cut off or damaged into a `GraphError`."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
        raise GraphError(
            f"{what} cannot be read", file=str(path), hint="build the graph again"
        ) from error


def write_rows(stem: str, X: Any) -> None:
    """Write float32 rows (n, d): `stem`.npy of dense ones, three files of a csr_array.

    Raises
    ------
    OSError
        The folder cannot be written to, or is full.
    """
    if not sp.issparse(X):
        write_array(f"{stem}.npy", X)
        return
    for name in _CSR_PARTS:
        write_array(f"{stem}-{name}.npy", getattr(X, name))


def open_rows(stem: str, sparse_columns: int | None, rows: slice = slice(None)) -> Any:
    """Return a run of the rows that `write_rows` wrote; only what is read of it is loaded.

    Parameters
    ----------
    stem
        As written.
    sparse_columns
        Columns d of a csr_array; None for dense rows.
    rows
        Which of the rows, in steps of 1.

    Returns
    -------
    Read-only float32 array, or csr_array, over memory-mapped files.
    """
    if sparse_columns is None:
        return np.load(f"{stem}.npy", mmap_mode="r")[rows]
    data, indices, indptr = (np.load(f"{stem}-{n}.npy", mmap_mode="r") for n in _CSR_PARTS)
    first, stop, _ = rows.indices(len(indptr) - 1)
    ends = np.array(indptr[first : stop + 1])
    entries = slice(int(ends[0]), int(ends[-1]))
    shape = (stop - first, sparse_columns)
    return sp.csr_array((data[entries], indices[entries], ends - ends[0]), shape=shape)
