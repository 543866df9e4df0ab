"""Decisions of a block, made by hand for tests of writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_dask.storage.result.result_schema import ResultSchema, label_schema


def all_of_class(code: int, n_rows: int) -> dict[str, npt.NDArray[Any]]:
    ones = np.ones(n_rows, np.float32)
    zeros = np.zeros(n_rows, np.uint8)
    label = np.full(n_rows, code, np.int32)
    return {"label": label, "probability": ones, "source": zeros, "reason": zeros, "margin": ones}


def schema_of_class(name: str, kept: Sequence[pa.Field] = ()) -> ResultSchema:
    texts = {"source": ["propagated"], "reason": ["none"]}
    fields = pa.schema([pa.field("id", pa.int64()), *kept])
    names = [field.name for field in kept]
    return label_schema(fields, "id", names, np.array([name], dtype=object), None, texts)
