"""64-bit hashes of ids, by which equal ids meet without travelling themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.kernels.arithmetic.row_keys import splitmix64

WORD = 8


def hash_ids(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """Hash ids of one Arrow type; equal ids have equal hashes on any machine.

    Parameters
    ----------
    ids
        Integers, text or bytes (n,) without nulls, as `column_values.id_array` returns them.

    Returns
    -------
    uint64 (n,). For integers it is a bijection: equal hashes mean equal ids. For text and bytes two
    different ids share a hash with a chance of about 2**-64, so that hits are to be verified.

    Notes
    -----
    splitmix64 (Steele, Lea and Flood 2014), applied to each word of 8 bytes in turn. Holds the ids
    and some 40 bytes an id.
    """
    if pt.is_integer(ids.type):
        wide = np.uint64 if pt.is_unsigned_integer(ids.type) else np.int64
        return splitmix64(ids.to_numpy(zero_copy_only=False).astype(wide).view(np.uint64))
    return _hash_bytes(*_bytes_of(ids))


def _bytes_of(
    ids: pa.Array,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (bytes, first byte of each id, length of each id)."""
    if pt.is_fixed_size_binary(ids.type):
        width = ids.type.byte_width
        data = np.frombuffer(ids.buffers()[1], dtype=np.uint8)
        first = (np.arange(len(ids), dtype=np.int64) + ids.offset) * width
        return data, first, np.full(len(ids), width, dtype=np.int64)
    wide = np.int64 if pt.is_large_string(ids.type) or pt.is_large_binary(ids.type) else np.int32
    _, offset_buffer, data_buffer = ids.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=wide)[ids.offset : ids.offset + len(ids) + 1]
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)
    return data, offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)


def _hash_bytes(
    data: npt.NDArray[np.uint8], first: npt.NDArray[np.int64], length: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    if len(first) == 0:
        return np.empty(0, dtype=np.uint64)
    begin, end = int(first.min()), int((first + length).max())
    padded = np.concatenate([data[begin:end], np.zeros(WORD, dtype=np.uint8)])
    # Every byte begins a word: an unaligned view without a copy.
    words: npt.NDArray[np.uint64] = np.ndarray(
        (end - begin + 1,), dtype="<u8", buffer=padded.data, strides=(1,)
    )
    hashes = splitmix64(length.view(np.uint64))
    rows = np.arange(len(first))
    at = 0
    while len(rows := rows[length[rows] > at]):
        word = words[first[rows] - begin + at]
        n_bytes = np.minimum(length[rows] - at, WORD).astype(np.uint64)
        word = word & (np.uint64(2**64 - 1) >> (np.uint64(64) - n_bytes * np.uint64(8)))
        hashes[rows] = splitmix64(hashes[rows] ^ word)
        at += WORD
    return hashes
