"""Distances of two float32 rows in float64, in a fixed order of additions.

`LANES` partial sums are added in pairs at the end, so vector units of any width give the same bits,
and so do (x, y) and (y, x). LLVM IR by hand: a compiler may not reassociate a float sum, so plain
Numba adds one number at a time and takes 6.5 times as long for 784 columns, 1.2 times for 64
(`benchmarks/knn_kernel.py`).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

LANES = 16


@numba.njit(nogil=True, cache=True)
def squared_distance(x: Any, y: Any) -> float:
    """Return |x - y|^2 of two float32 rows in float64, in a fixed order of operations."""
    whole = len(x) - len(x) % LANES
    total = _sum_of_squares(x, y, whole)
    for c in range(whole, len(x)):
        step = np.float64(x[c]) - np.float64(y[c])
        total += step * step
    return total


@numba.njit(nogil=True, cache=True)
def inner_product(x: Any, y: Any) -> float:
    """Return x y of two float32 rows in float64, in a fixed order of operations."""
    whole = len(x) - len(x) % LANES
    total = _sum_of_products(x, y, whole)
    for c in range(whole, len(x)):
        total += np.float64(x[c]) * np.float64(y[c])
    return total


@numba.njit(nogil=True, cache=True)
def squared_lengths(X: Any) -> Any:
    """Return the float64 (n,) squared length of each row, in a fixed order of operations."""
    out = np.empty(X.shape[0], np.float64)
    for i in range(X.shape[0]):
        out[i] = inner_product(X[i], X[i])
    return out


@numba.njit(nogil=True, cache=True)
def cosine_distance(product: float, x_square: float, y_square: float) -> float:
    """Return 1 - cos, at least 0, and exactly 0 for equal rows: sqrt(a * a) is a in IEEE."""
    return max(1.0 - product / np.sqrt(x_square * y_square), 0.0)


@numba.njit(nogil=True, cache=True)
def exact_distance(x: Any, y: Any, cosine: bool) -> float:
    """Return |x - y|^2, or 1 - cos, of two float32 rows, in float64; inf for cosine of zeros."""
    if not cosine:
        return squared_distance(x, y)
    x_square, y_square = inner_product(x, x), inner_product(y, y)
    if x_square == 0 or y_square == 0:
        return np.inf
    return cosine_distance(inner_product(x, y), x_square, y_square)


@intrinsic
def _sum_of_squares(typingctx: Any, x: Any, y: Any, stop: Any) -> Any:
    """Return the sum of (x - y)^2 over the first `stop` columns, a multiple of `LANES`."""
    return _sum_signature(x, y), _sum_code(differences=True)


@intrinsic
def _sum_of_products(typingctx: Any, x: Any, y: Any, stop: Any) -> Any:
    """Return the sum of x y over the first `stop` columns, a multiple of `LANES`."""
    return _sum_signature(x, y), _sum_code(differences=False)


def _sum_signature(x: Any, y: Any) -> Any:
    for row in (x, y):
        if not isinstance(row, types.Array) or (row.ndim, row.dtype, row.layout) != (
            1,
            types.float32,
            "C",
        ):
            raise TypingError(f"rows must be contiguous arrays of float32, not {row}")
    return types.float64(x, y, types.int64)


def _sum_code(differences: bool) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, stop = arguments
        tables = [
            context.make_array(kind)(context, builder, row).data
            for kind, row in zip(signature.args, (x, y), strict=False)
        ]
        whole = ir.IntType(64)
        narrow = ir.VectorType(ir.FloatType(), LANES)
        wide = ir.VectorType(ir.DoubleType(), LANES)
        held = cgutils.alloca_once(builder, wide)
        builder.store(ir.Constant(wide, [0.0] * LANES), held)
        with cgutils.for_range_slice(builder, whole(0), stop, whole(LANES), intp=whole) as (
            column,
            _,
        ):
            left, right = (
                builder.fpext(_load(builder, table, column, narrow), wide) for table in tables
            )
            if differences:
                left = right = builder.fsub(left, right)
            product = builder.fmul(left, right)
            builder.store(builder.fadd(builder.load(held), product), held)
        return _sum_in_pairs(builder, builder.load(held))

    return emit


def _load(builder: Any, table: Any, column: Any, kind: Any) -> Any:
    place = builder.bitcast(builder.gep(table, [column]), kind.as_pointer())
    value = builder.load(place)
    value.align = 4
    return value


def _sum_in_pairs(builder: Any, vector: Any) -> Any:
    """Return the sum of a vector's numbers: its halves are added until one number is left."""
    width = vector.type.count
    lane = ir.IntType(32)
    while width > 1:
        width //= 2
        low, high = (
            builder.shuffle_vector(
                vector,
                ir.Constant(vector.type, ir.Undefined),
                ir.Constant(ir.VectorType(lane, width), list(range(first, first + width))),
            )
            for first in (0, width)
        )
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, lane(0))
