"""Decisions of a block, made by hand for tests of writing."""

from __future__ import annotations

import numpy as np

from ssl_dask.storage.result.label_parts import LabelColumns


def all_of_class(code: int, n_rows: int) -> LabelColumns:
    ones = np.ones(n_rows, np.float32)
    zeros = np.zeros(n_rows, np.uint8)
    return LabelColumns(np.full(n_rows, code, np.int32), ones, zeros, zeros, ones)
