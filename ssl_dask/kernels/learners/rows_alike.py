"""Whether all rows of features are alike: such features say nothing of any class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Floating, Int64

STRIDE = 4096
"""Rows that are compared in one go: most often the first of them differ already."""


@dataclass(frozen=True)
class RowsAlike:
    """Whether the rows of a block are all alike; add two for those of both.

    Parameters
    ----------
    first
        Places, int64 (k,), and values (k,) of what is not 0 in the first row; None without a row.
    alike
        Whether the others are like it.
    """

    first: tuple[Int64, Floating] | None
    alike: bool

    def __add__(self, other: RowsAlike) -> RowsAlike:
        if self.first is None or other.first is None:
            return other if self.first is None else self
        same = all(np.array_equal(*pair) for pair in zip(self.first, other.first, strict=True))
        return RowsAlike(self.first, self.alike and other.alike and same)

    @classmethod
    def of_rows(cls, X: Any) -> RowsAlike:
        """Look at the features (n, d) of a block, dense or CSR, until rows differ."""
        if X.shape[0] == 0:
            return cls(None, True)
        row = sp.csr_array(X[:1])
        row.sum_duplicates()
        row.eliminate_zeros()
        starts = range(0, X.shape[0], STRIDE)
        alike = all(_like(row, X[start : start + STRIDE]) for start in starts)
        return cls((row.indices.astype(np.int64), row.data), alike)


def _like(row: sp.csr_array, X: Any) -> bool:
    """Return whether all rows of a part are `row`, (1, d)."""
    if not sp.issparse(X):
        return bool((row.toarray() == X).all())
    part = sp.csr_array(X, copy=True)
    part.sum_duplicates()
    part.eliminate_zeros()
    if (np.diff(part.indptr) != row.nnz).any():
        return False
    shape = (-1, row.nnz)
    return row.nnz == 0 or bool(
        (part.indices.reshape(shape) == row.indices).all()
        and (part.data.reshape(shape) == row.data).all()
    )
