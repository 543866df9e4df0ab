"""SpMM with the number of columns compiled in: the step of `sweep` as LLVM IR.

The loop waits for random reads of rows of Z. So the sums of a row stay in vector registers, which
plain Numba does not achieve even with a constant number of columns, and rows of Z are prefetched a
few entries ahead. `benchmarks/propagation.py` compares it with plain Numba. LLVM fits the vectors
to the machine.

Numba's cache is keyed by the time of this file, so all code that emits IR stands here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

VECTOR_BYTES = 64
VECTORS_AT_ONCE = 8
PREFETCH_ENTRIES = 16
MIN_PREFETCHED_BYTES = 24
LINE_BYTES = 64


@lru_cache(maxsize=64)
def compiled_sweep(n_columns: int) -> Any:
    """Return the step for a constant number of columns; it is compiled at its first call."""

    @numba.njit(nogil=True, cache=True)
    def sweep_rows(  # type: ignore[no-untyped-def]
        indptr, indices, weights, inverse, start, stop, first, Z, out, out_first, source, a, b, c,
        d, smallest, _,
    ):  # fmt: skip
        n_entries = indptr[len(indptr) - 1]
        for i in range(start, stop):
            _advance_row(
                n_columns, indptr[i], indptr[i + 1], n_entries, indices, weights, Z, out, source,
                first + i, out_first + i - start, a * Z.dtype.type(inverse[i]), b, c, d, smallest,
            )  # fmt: skip

    return sweep_rows


@intrinsic(prefer_literal=True)
def _advance_row(  # type: ignore[no-untyped-def]
    typingctx, n_columns, start, stop, n_entries, indices, weights, Z, out, source, own, row,
    factor, b, c, d, smallest,
):  # fmt: skip
    """Do the step of one row; `n_columns` must be a constant."""
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
    """Partition a row into vectors (first column, width) whose widths are powers of two."""
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
    builder: Any, tables: _Tables, pieces: list[tuple[int, int]], n_columns: int, scalar: Any,
    size: int, bounds: tuple[Any, Any, Any], ahead: bool,
) -> list[Any]:  # fmt: skip
    """Emit the loop over the entries of a row; return its sums, one vector a piece."""
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
    builder: Any, tables: _Tables, pieces: list[tuple[int, int]], sums: list[Any], n_columns: int,
    scalar: Any, size: int, places: tuple[Any, Any], numbers: tuple[Any, ...],
) -> None:  # fmt: skip
    """Emit the other terms of the recurrence, the cut-off and the store of a row."""
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
