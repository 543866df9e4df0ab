"""Times that are stored as INT96, whose range is beyond that of any timestamp of Arrow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

MAX_SECONDS = (2**63 - 1) // 10**6


def same_times(us: pa.ChunkedArray, ns: pa.ChunkedArray, s: pa.ChunkedArray) -> bool:
    """Return whether microseconds hold all times of a column that was read in three units.

    Of a time that a unit cannot hold, Arrow keeps the lowest 64 bits: what is finer than a
    microsecond is found in them all the same, and seconds hold every time there is.
    """
    found = (_times_in(column.combine_chunks()) for column in (us, ns, s))
    for micro, nano, second in zip(*found, strict=True):
        if (nano.view(np.uint64) != micro.view(np.uint64) * np.uint64(1000)).any():
            return False
        if (np.abs(second) > MAX_SECONDS).any():
            return False
    return True


def _times_in(array: pa.Array) -> list[npt.NDArray[np.int64]]:
    """Return the times at all depths of an array, null left out."""
    if pt.is_timestamp(array.type):
        return [array.drop_null().cast(pa.int64()).to_numpy(zero_copy_only=False)]
    inner = array.flatten() if pt.is_nested(array.type) else []
    parts = [inner] if isinstance(inner, pa.Array) else inner
    return [times for part in parts for times in _times_in(part)]
