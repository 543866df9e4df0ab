"""Sparse rows of many columns -> dense rows of few, by which near rows are told from far ones.

A column is added, with a sign, to a few columns of the sketch that a hash of its number picks
(Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009; several places a
column as in Kane and Nelson, Sparser Johnson-Lindenstrauss transforms, J. ACM 2014). Inner products
are kept on average, with an error of about |x| |y| / sqrt(128): enough to say where to look for
neighbours, not who they are.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float32

HASHED_COLUMNS = 128
"""Columns of a sketch, a power of two."""
PLACES = 4
"""Columns of the sketch that a column is added to: one alone lets two heavy columns collide."""


def column_sketch(X: sp.csr_array) -> Float32:
    """Return the sketch of each row, float32 (n, `HASHED_COLUMNS`).

    It depends on the row alone, bit for bit, and on no sample: the hash is fixed.

    Parameters
    ----------
    X
        csr_array float32 (n, d) with sorted columns.

    Notes
    -----
    `PLACES` additions an entry.
    """
    Z = np.zeros((X.shape[0], HASHED_COLUMNS), dtype=np.float32)
    _add_columns(X.data, X.indices, X.indptr, Z)
    return Z


@numba.njit(nogil=True, cache=True)
def _mixed(word: Any) -> Any:
    """Return the 64 bits of `word` well mixed: the finaliser of MurmurHash3."""
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return word ^ (word >> np.uint64(33))


@numba.njit(nogil=True, cache=True)
def _add_columns(data: Any, indices: Any, indptr: Any, Z: Any) -> None:
    mask = np.uint64(Z.shape[1] - 1)
    scale = np.float32(1.0 / np.sqrt(PLACES))
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            bits = _mixed(np.uint64(indices[p]) + np.uint64(1))
            value = scale * data[p]
            for _ in range(PLACES):
                place = bits & mask
                if bits & np.uint64(0x8000):
                    Z[i, place] -= value
                else:
                    Z[i, place] += value
                bits >>= np.uint64(16)
