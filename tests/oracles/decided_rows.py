"""Decisions of a block, made by hand for tests of writing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass
class DecidedRows:
    label: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    source: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32] | None = None


@dataclass
class QueuedRows:
    row: npt.NDArray[np.int64]
    label: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    reason: npt.NDArray[np.uint8]


def all_of_class(code: int, n_rows: int) -> DecidedRows:
    ones = np.ones(n_rows, np.float32)
    zeros = np.zeros(n_rows, np.uint8)
    return DecidedRows(np.full(n_rows, code, np.int32), ones, ones, zeros, zeros)
