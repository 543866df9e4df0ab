"""The inner loop of propagation: one step of a recurrence on a run of rows, fused and in place.

For each row i, with w its weights,

    before_i <- f_i a sum_j w_ij Z_j + b Z_i + c before_i + d source_i

where f_i is one over the sum of the row's weights. A row is summed over its entries as they are
stored, each product and each sum rounded once to the type of Z, so its bits depend neither on the
rows around it nor on the number of columns. Nothing may be reassociated or contracted.

Random reads of rows of Z are what the loop waits for. So the sums of a row stay in vector registers
(the number of columns is a constant of the compiled code) and rows of Z are fetched a few entries
ahead. LLVM cuts the vectors to what the machine has.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

Scores = npt.NDArray[np.floating]

SMALLEST = float(np.finfo(np.float32).smallest_normal)
"""Smaller scores become 0. Numbers below have few digits left, down to a last one that rounding
never lets go of: they would carry a label on and on without any evidence."""

MAX_CONSTANT_COLUMNS = 256
"""With more columns the loop over a row's entries is short beside that over columns."""
MIN_COMPILED_WORK = 2**21
"""Products in a sweep from which on a compilation of about a second pays for itself soon."""
VECTOR_BYTES = 64
VECTORS_AT_ONCE = 8
PREFETCH_ENTRIES = 16
MIN_PREFETCHED_BYTES = 24
LINE_BYTES = 64


class WalkRows(NamedTuple):
    """A run of rows of W, ready for steps of a random walk.

    Parameters
    ----------
    indptr
        int64 (n + 1,).
    indices
        int32 (nnz,): rows of Z, in the order in which they are summed.
    weights
        float32 (nnz,): each row of W times a power of two that brings its sum to between 1 and 2.
    inverse_sum
        float64 (n,): 1 / sum of `weights`; 0 for a row without edges.
    degree
        float64 (n,): sum of the row of W itself; 1 for a row without edges.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    inverse_sum: npt.NDArray[np.float64]
    degree: npt.NDArray[np.float64]

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.degree)


def walk_rows(
    indptr: npt.NDArray[np.integer],
    indices: npt.NDArray[np.integer],
    data: npt.NDArray[np.float32],
) -> WalkRows:
    """Return the rows of a CSR matrix with weights >= 0, ready for `sweep`.

    Costs 4 bytes an entry beside the matrix, whose indices are shared if they are int32.

    Raises
    ------
    ValueError
        A column number does not fit int32: the run is cut too large.
    """
    if len(indices) and int(indices.max()) >= 2**31:
        raise ValueError("more than 2**31 rows of scores in one part: cut the graph into more")
    pointers = np.ascontiguousarray(indptr, dtype=np.int64)
    weights = np.empty(len(data), dtype=np.float32)
    inverse, degree = np.empty(len(pointers) - 1), np.empty(len(pointers) - 1)
    _scale_rows(pointers, np.ascontiguousarray(data), weights, inverse, degree)
    return WalkRows(
        pointers, np.ascontiguousarray(indices, dtype=np.int32), weights, inverse, degree
    )


def row_degrees(
    indptr: npt.NDArray[np.integer], data: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return the degree of each row of a CSR matrix as `walk_rows` sees it, float64 (n,)."""
    degree = np.empty(len(indptr) - 1)
    _add_rows(np.ascontiguousarray(indptr, dtype=np.int64), np.ascontiguousarray(data), degree)
    return degree


def sweep(
    rows: WalkRows,
    start: int,
    stop: int,
    first: int,
    Z: Scores,
    out: Scores,
    out_first: int,
    coefficients: tuple[float, float, float, float],
    source: Scores | None = None,
    n_entries: int | None = None,
    smallest: float = SMALLEST,
) -> None:
    """Replace rows of `out`, F_{t-1} of the recurrence, by F_{t+1}.

    Parameters
    ----------
    rows
        n rows of the walk.
    start, stop
        Which of them.
    first
        Row of `Z` that `rows` begin with.
    Z
        float32 or float64 (., K), C order: scores of these rows and all their neighbours.
    out
        (., K), same type: row `out_first` belongs to `start`.
    coefficients
        (a, b, c, d).
    source
        (., K), same type, rows as in `Z`; None for none (d is not used).
    n_entries
        Entries of all runs of rows that are swept together; None: of `rows` alone.
    smallest
        Smaller results become 0.

    Notes
    -----
    Releases the GIL. 2 nnz K flops. From `MIN_COMPILED_WORK` products in all runs on, code is
    compiled for K columns, once a machine: about a second; the bits are the same.
    """
    n_columns, dtype = Z.shape[1], Z.dtype
    work = (int(rows.indptr[-1]) if n_entries is None else n_entries) * n_columns
    if work >= MIN_COMPILED_WORK and n_columns <= MAX_CONSTANT_COLUMNS:
        kernel = compiled_sweep(n_columns)
    else:
        kernel = _any_columns
    number = dtype.type
    a, b, c, d, least = (number(x) for x in (*coefficients, smallest))
    if source is None:
        source = out[:0]
    kernel(
        rows.indptr,
        rows.indices,
        rows.weights,
        rows.inverse_sum,
        start,
        stop,
        first,
        Z.reshape(-1),
        out.reshape(-1),
        out_first,
        source.reshape(-1),
        a,
        b,
        c,
        d,
        least,
        n_columns,
    )


@numba.njit(nogil=True, cache=True)
def _scale_rows(indptr, data, weights, inverse, degree):  # type: ignore[no-untyped-def]
    for i in range(len(degree)):
        total = 0.0
        for entry in range(indptr[i], indptr[i + 1]):
            total += np.float64(data[entry])
        if total <= 0.0:
            inverse[i], degree[i] = 0.0, 1.0
            for entry in range(indptr[i], indptr[i + 1]):
                weights[entry] = np.float32(0.0)
            continue
        degree[i] = total
        power = 1.0
        while total * power >= 2.0:
            power *= 0.5
        while total * power < 1.0:
            power *= 2.0
        inverse[i] = 1.0 / (total * power)
        for entry in range(indptr[i], indptr[i + 1]):
            weights[entry] = np.float32(np.float64(data[entry]) * power)


@numba.njit(nogil=True, cache=True)
def _add_rows(indptr, data, degree):  # type: ignore[no-untyped-def]
    """Add the entries of each row from left to right: np.add.reduceat's order is not promised."""
    for i in range(len(degree)):
        total = 0.0
        for entry in range(indptr[i], indptr[i + 1]):
            total += np.float64(data[entry])
        degree[i] = total if total > 0.0 else 1.0


@numba.njit(nogil=True, cache=True)
def _any_columns(  # type: ignore[no-untyped-def]
    indptr, indices, weights, inverse, start, stop, first, Z, out, out_first, source, a, b, c, d,
    smallest, n_columns,
):  # fmt: skip
    """Take the step with the number of columns known only when it runs."""
    sums = np.empty(n_columns, dtype=Z.dtype)
    zero = a - a
    for i in range(start, stop):
        sums[:] = zero
        for entry in range(indptr[i], indptr[i + 1]):
            weight = Z.dtype.type(weights[entry])
            neighbour = np.int64(indices[entry]) * n_columns
            for k in range(n_columns):
                sums[k] += weight * Z[neighbour + k]
        factor = a * Z.dtype.type(inverse[i])
        own = (first + i) * n_columns
        row = (out_first + i - start) * n_columns
        for k in range(n_columns):
            new = factor * sums[k] + b * Z[own + k] + c * out[row + k]
            if len(source) > 0:
                new += d * source[own + k]
            if abs(new) < smallest:
                new = zero
            out[row + k] = new


@lru_cache(maxsize=64)
def compiled_sweep(n_columns: int) -> Any:
    """Return the step for a constant number of columns; compiled when first called."""

    @numba.njit(nogil=True, cache=True)
    def sweep_rows(  # type: ignore[no-untyped-def]
        indptr, indices, weights, inverse, start, stop, first, Z, out, out_first, source, a, b, c,
        d, smallest, _,
    ):  # fmt: skip
        n_entries = indptr[len(indptr) - 1]
        for i in range(start, stop):
            _advance_row(
                n_columns,
                indptr[i],
                indptr[i + 1],
                n_entries,
                indices,
                weights,
                Z,
                out,
                source,
                first + i,
                out_first + i - start,
                a * Z.dtype.type(inverse[i]),
                b,
                c,
                d,
                smallest,
            )

    return sweep_rows


@intrinsic(prefer_literal=True)
def _advance_row(  # type: ignore[no-untyped-def]
    typingctx, n_columns, start, stop, n_entries, indices, weights, Z, out, source, own, row,
    factor, b, c, d, smallest,
):  # fmt: skip
    """Take the step of one row; `n_columns` must be a constant."""
    if not isinstance(n_columns, types.IntegerLiteral):
        return None
    whole = types.int64
    number = Z.dtype
    signature = types.void(
        n_columns, whole, whole, whole, indices, weights, Z, out, source, whole, whole, number,
        number, number, number, number,
    )  # fmt: skip
    return signature, _row_code


def _row_code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    _, start, stop, n_entries, indices, weights, Z, out, source, own, row, *numbers = arguments
    n_columns = signature.args[0].literal_value
    number = signature.args[6].dtype
    scalar = context.get_value_type(number)
    size = 4 if number == types.float32 else 8
    index_type, weight_type, Z_type, out_type, source_type = signature.args[4:9]

    def data(array_type: Any, value: Any) -> Any:
        return context.make_array(array_type)(context, builder, value)

    tables = _Tables(
        data(index_type, indices).data,
        data(weight_type, weights).data,
        data(Z_type, Z).data,
        data(out_type, out).data,
        data(source_type, source),
    )
    width = VECTOR_BYTES // size
    pieces = _pieces(n_columns, width)
    ahead = n_columns * size >= MIN_PREFETCHED_BYTES
    for group in range(0, len(pieces), VECTORS_AT_ONCE):
        chosen = pieces[group : group + VECTORS_AT_ONCE]
        sums = _row_sums(
            builder, tables, chosen, n_columns, scalar, size, (start, stop, n_entries), ahead
        )
        _finish_row(
            builder, tables, chosen, sums, n_columns, scalar, size, (own, row), tuple(numbers)
        )
    return context.get_dummy_value()


class _Tables(NamedTuple):
    indices: Any
    weights: Any
    Z: Any
    out: Any
    source: Any


def _pieces(n_columns: int, width: int) -> list[tuple[int, int]]:
    """Return (first column, columns) of the vectors that a row is cut into, powers of two."""
    pieces, first = [], 0
    while first < n_columns:
        while width > n_columns - first:
            width //= 2
        pieces.append((first, width))
        first += width
    return pieces


def _vector(scalar: Any, width: int) -> Any:
    return scalar if width == 1 else ir.VectorType(scalar, width)


def _splat(builder: Any, value: Any, width: int) -> Any:
    if width == 1:
        return value
    index = ir.IntType(32)
    whole = ir.VectorType(value.type, width)
    one = builder.insert_element(ir.Constant(whole, ir.Undefined), value, index(0))
    lanes = ir.Constant(ir.VectorType(index, width), [0] * width)
    return builder.shuffle_vector(one, ir.Constant(whole, ir.Undefined), lanes)


def _at(builder: Any, table: Any, position: Any, scalar: Any, width: int) -> Any:
    place = builder.gep(table, [position])
    return builder.bitcast(place, _vector(scalar, width).as_pointer())


def _load(builder: Any, table: Any, position: Any, scalar: Any, width: int, size: int) -> Any:
    value = builder.load(_at(builder, table, position, scalar, width))
    value.align = size
    return value


def _row_sums(
    builder: Any,
    tables: _Tables,
    pieces: list[tuple[int, int]],
    n_columns: int,
    scalar: Any,
    size: int,
    bounds: tuple[Any, Any, Any],
    ahead: bool,
) -> list[Any]:
    """Emit the loop over the entries of a row; return its sums, a vector a piece."""
    start, stop, n_entries = bounds
    whole = ir.IntType(64)
    held = []
    for _, width in pieces:
        slot = cgutils.alloca_once(builder, _vector(scalar, width))
        builder.store(_splat(builder, ir.Constant(scalar, 0.0), width), slot)
        held.append(slot)
    with cgutils.for_range_slice(builder, start, stop, whole(1), intp=whole) as (entry, _):
        if ahead:
            later = builder.add(entry, whole(PREFETCH_ENTRIES))
            last = builder.sub(n_entries, whole(1))
            later = builder.select(builder.icmp_signed("<", later, last), later, last)
            target = builder.zext(builder.load(builder.gep(tables.indices, [later])), whole)
            target = builder.mul(target, whole(n_columns))
            begin, end = pieces[0][0] * size, (pieces[-1][0] + pieces[-1][1]) * size
            for offset in range(begin, end, LINE_BYTES):
                _prefetch(builder, tables.Z, builder.add(target, whole(offset // size)))
        neighbour = builder.zext(builder.load(builder.gep(tables.indices, [entry])), whole)
        neighbour = builder.mul(neighbour, whole(n_columns))
        weight = builder.load(builder.gep(tables.weights, [entry]))
        if size == 8:
            weight = builder.fpext(weight, scalar)
        for (first, width), slot in zip(pieces, held, strict=True):
            place = builder.add(neighbour, whole(first))
            values = _load(builder, tables.Z, place, scalar, width, size)
            product = builder.fmul(_splat(builder, weight, width), values)
            builder.store(builder.fadd(builder.load(slot), product), slot)
    return [builder.load(slot) for slot in held]


def _finish_row(
    builder: Any,
    tables: _Tables,
    pieces: list[tuple[int, int]],
    sums: list[Any],
    n_columns: int,
    scalar: Any,
    size: int,
    places: tuple[Any, Any],
    numbers: tuple[Any, ...],
) -> None:
    """Emit what is done once a row: the other terms of the recurrence, and the store."""
    whole = ir.IntType(64)
    own, row = (builder.mul(place, whole(n_columns)) for place in places)
    factor, b, c, d, smallest = numbers
    has_source = builder.icmp_signed(">", tables.source.nitems, whole(0))
    for (first, width), total in zip(pieces, sums, strict=True):
        at_own, at_row = (builder.add(place, whole(first)) for place in (own, row))
        old = _load(builder, tables.Z, at_own, scalar, width, size)
        before = _load(builder, tables.out, at_row, scalar, width, size)
        new = builder.fmul(_splat(builder, factor, width), total)
        new = builder.fadd(new, builder.fmul(_splat(builder, b, width), old))
        new = builder.fadd(new, builder.fmul(_splat(builder, c, width), before))
        slot = cgutils.alloca_once(builder, new.type)
        builder.store(new, slot)
        with builder.if_then(has_source, likely=False):
            entry = _load(builder, tables.source.data, at_own, scalar, width, size)
            more = builder.fadd(new, builder.fmul(_splat(builder, d, width), entry))
            builder.store(more, slot)
        new = builder.load(slot)
        bound = _splat(builder, smallest, width)
        above = builder.fcmp_ordered("<", new, bound)
        negative = _splat(builder, builder.fneg(smallest), width)
        tiny = builder.and_(above, builder.fcmp_ordered(">", new, negative))
        nothing = _splat(builder, ir.Constant(scalar, 0.0), width)
        stored = builder.store(
            builder.select(tiny, nothing, new), _at(builder, tables.out, at_row, scalar, width)
        )
        stored.align = size


def _prefetch(builder: Any, table: Any, position: Any) -> None:
    """Emit llvm.prefetch: read, keep in all caches, data."""
    byte = ir.IntType(8).as_pointer()
    flag = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    place = builder.bitcast(builder.gep(table, [position]), byte)
    builder.call(function, [place, flag(0), flag(3), flag(1)])
