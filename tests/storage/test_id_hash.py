"""Tags of rows: the same for the same ids in any type, block and file."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest

from ssl_dask.kernels.arithmetic.row_keys import splitmix64
from ssl_dask.storage.ids.id_hash import tags_of

NUMBERS = [5, 0, 2**40, 7]
TEXTS = ["a", "", "eight by", "nine bytes", "é"]


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
def test_tags_of_integers_are_their_mixed_bits(kind: pa.DataType) -> None:
    tags = tags_of(pa.array(NUMBERS, kind))
    assert tags.dtype == np.int64
    assert tags.tolist() == (splitmix64(np.array(NUMBERS, np.uint64)) >> np.uint64(1)).tolist()
    assert (tags >= 0).all()


def test_tags_do_not_depend_on_what_stands_beside_the_id() -> None:
    whole = tags_of(pa.array(TEXTS))
    assert len(set(whole.tolist())) == len(TEXTS)
    large = pa.array(["x", *TEXTS[::-1]], pa.large_string())
    assert tags_of(large.slice(1)).tolist() == whole[::-1].tolist()
    keys = [uuid.UUID(int=n).bytes for n in range(3)]
    alone = [tags_of(pa.array([key], pa.binary(16)))[0] for key in keys]
    assert tags_of(pa.array(keys, pa.binary(16))).tolist() == alone
