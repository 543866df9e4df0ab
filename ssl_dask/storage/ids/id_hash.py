"""64-bit hashes, by which equal ids and equal entities meet without travelling themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt
from dask.delayed import Delayed, delayed

from ssl_dask.kernels.arithmetic.row_keys import splitmix64
from ssl_dask.storage.input.arrow_to_numpy import said_none
from ssl_dask.storage.input.column_reader import ColumnReader

WORD = 8


def hash_ids(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """Hash ids of one Arrow type; equal ids have equal hashes on any machine.

    Parameters
    ----------
    ids
        Integers, text or bytes (n,) without nulls, as `arrow_to_numpy.id_array` returns them.

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


def tags_of(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Return the tags of rows with these ids, int64 (n,): the upper 63 bits of their hashes.

    Ties, samples and the order of seeds go by the tags of rows, so that an answer does not depend
    on the order of rows and files. Two rows share a tag with a chance of 2**-63.
    """
    return (hash_ids(ids) >> np.uint64(1)).astype(np.int64)


def row_tags(reader: ColumnReader, column: str) -> list[Delayed]:
    """Return a handle for each block to the tags of its rows, int64 (n_i,); nothing is read yet.

    Parameters
    ----------
    reader
        Of the whole data.
    column
        The ids, none of them null.
    """
    shared = delayed(reader, pure=False, traverse=False)
    tags = delayed(_tags_of_block, pure=False)
    return [tags(shared, block, column) for block in reader.blocks]


def range_of(hashes: npt.NDArray[np.uint64], n_ranges: int) -> npt.NDArray[np.uint64]:
    """Return which of `n_ranges` even ranges each hash lies in, uint64 (n,)."""
    return (hashes >> np.uint64(32)) * np.uint64(n_ranges) >> np.uint64(32)


def entity_keys(reader: ColumnReader, column: str) -> list[Delayed]:
    """Return a handle for each block to the keys of a column; nothing is read yet.

    Parameters
    ----------
    reader
        Of the whole data.
    column
        Integers, text, bytes or UUIDs.

    Returns
    -------
    For each block (uint64 (n_i,) keys, bool (n_i,) whether there is one): null and what is
    `said_none` are no entity. Keys are 64-bit hashes; two different texts share one with a chance
    of 2**-64.
    """
    shared = delayed(reader, pure=False, traverse=False)
    keys = delayed(_keys_of_block, pure=False)
    return [keys(shared, block, column) for block in reader.blocks]


def _tags_of_block(reader: ColumnReader, block: int, column: str) -> npt.NDArray[np.int64]:
    return tags_of(reader.id_array(block, column))


def _keys_of_block(
    reader: ColumnReader, block: int, column: str
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    values = reader.id_array(block, column)
    valid = values.is_valid().to_numpy(zero_copy_only=False) & ~said_none(values)
    keys = np.zeros(len(values), dtype=np.uint64)
    keys[valid] = hash_ids(values.filter(pa.array(valid)))
    return keys, valid


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
