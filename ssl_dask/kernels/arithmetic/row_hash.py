"""128-bit hashes of rows, dense or CSR, to find duplicate rows without comparing all pairs."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Int64, UInt64

RowHashes = UInt64

_PRIMES = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)


def row_hashes(X: Any) -> UInt64:
    """Return a 128-bit hash of each row, uint64 (n, 2); equal rows, with -0 = 0, have equal hashes.

    The probability of any collision among N distinct rows is about N^2 / 2^129: 1e-21 for a billion
    rows. About 1 ns a number.

    Parameters
    ----------
    X
        float32 (n, d), C-contiguous, or csr_array with sorted, distinct columns; stored zeros are
        ignored.

    Examples
    --------
    >>> hashes = row_hashes(np.array([[1, 0], [2, 3], [1, -0.0]], dtype=np.float32))
    >>> copies_among(hashes, np.arange(3)).tolist()
    [0, 1, 0]
    """
    out = np.empty((X.shape[0], 2), dtype=np.uint64)
    if sp.issparse(X):
        _hash_sparse(X.data, X.indices, X.indptr, _PRIMES, out)
    else:
        _hash_dense(X, _PRIMES, out)
    return out


def copies_among(hashes: UInt64, numbers: Int64) -> Int64:
    """Return for each row the smallest row number with the same hash, int64 (n,).

    Parameters
    ----------
    hashes
        uint64 (n, 2), of `row_hashes`.
    numbers
        int64 (n,): distinct row numbers.
    """
    first = numbers.copy()
    if len(hashes) == 0:
        return first
    order = np.argsort(hashes[:, 0], kind="stable")
    high = hashes[order, 0]
    twin = np.zeros(len(order), dtype=bool)
    twin[1:] = high[1:] == high[:-1]
    if not twin.any():
        return first
    in_group = twin.copy()
    in_group[:-1] |= twin[1:]
    crowd = order[in_group]
    _, group = np.unique(hashes[crowd], axis=0, return_inverse=True)
    smallest = np.full(int(group.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, group.ravel(), numbers[crowd])
    first[crowd] = smallest[group.ravel()]
    return first


@numba.njit(nogil=True, cache=True)
def _mix(state: Any, word: Any, prime: Any) -> Any:
    state = (state ^ word) * prime
    return state ^ (state >> np.uint64(29))


@numba.njit(nogil=True, cache=True)
def _hash_dense(X: Any, primes: Any, out: Any) -> None:
    words = X.view(np.uint32)
    minus_zero = np.uint32(0x80000000)
    for i in range(X.shape[0]):
        a, b = primes[1], primes[0]
        for c in range(X.shape[1]):
            word = words[i, c]
            if word == minus_zero:
                word = np.uint32(0)
            a = _mix(a, np.uint64(word), primes[0])
            b = _mix(b, np.uint64(word) + np.uint64(c), primes[1])
        out[i, 0] = a
        out[i, 1] = b


@numba.njit(nogil=True, cache=True)
def _hash_sparse(data: Any, indices: Any, indptr: Any, primes: Any, out: Any) -> None:
    words = data.view(np.uint32)
    for i in range(len(indptr) - 1):
        a, b = primes[1], primes[0]
        for p in range(indptr[i], indptr[i + 1]):
            if data[p] == 0:
                continue
            place = np.uint64(indices[p]) << np.uint64(32)
            a = _mix(a, place | np.uint64(words[p]), primes[0])
            b = _mix(b, place | np.uint64(words[p]), primes[1])
        out[i, 0] = a
        out[i, 1] = b
