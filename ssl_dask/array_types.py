"""Array types of signatures, named by their dtype; docstrings give the shapes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Floating = npt.NDArray[np.floating]
"""float32 or float64."""
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Integer = npt.NDArray[np.integer]
"""Integers of any width."""
UInt64 = npt.NDArray[np.uint64]
UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
