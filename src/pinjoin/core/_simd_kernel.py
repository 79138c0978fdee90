"""The few machine instructions numba does not offer by name, as LLVM intrinsics.

All of them are portable LLVM: on a processor without the instruction they still work, slower.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
LANES = 64
"""How many neighbours `lanes_above`, `lanes_equal` and `append_lanes` look at together."""


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _declare(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _splat(builder: Any, value: Any, element: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(element, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, _I32(0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    )


def _compare_lanes(operator: str) -> Any:
    def compare(typing_context: Any, array: Any, first: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            width = signature.args[0].dtype.bitwidth
            element = ir.IntType(width)
            pointer = _element(context, builder, signature.args[0], arguments[0], arguments[1])
            vector = ir.VectorType(element, LANES)
            loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=width // 8)
            value = _splat(builder, arguments[2], element, LANES)
            return builder.bitcast(builder.icmp_unsigned(operator, loaded, value), _I64)

        return types.uint64(array, types.uint64, array.dtype), generate

    return compare


lanes_above = intrinsic(_compare_lanes(">"))
"""lanes_above(array, first, value) → uint64 whose bit i says array[first + i] > value."""

lanes_equal = intrinsic(_compare_lanes("=="))
"""lanes_equal(array, first, value) → uint64 whose bit i says array[first + i] == value."""


@intrinsic
def keep_above(typing_context: Any, array: Any, first: Any, value: Any) -> Any:
    """keep_above(array, first, value): of array[first : first + 64], zero what is ≤ value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        width = signature.args[0].dtype.bitwidth
        element = ir.IntType(width)
        vector = ir.VectorType(element, LANES)
        pointer = builder.bitcast(
            _element(context, builder, signature.args[0], arguments[0], arguments[1]),
            vector.as_pointer(),
        )
        loaded = builder.load(pointer, align=width // 8)
        above = builder.icmp_unsigned(">", loaded, _splat(builder, arguments[2], element, LANES))
        zeros = ir.Constant(vector, [0] * LANES)
        builder.store(builder.select(above, loaded, zeros), pointer, align=width // 8)
        return context.get_dummy_value()

    return types.void(array, types.uint64, array.dtype), generate


@intrinsic
def _pack_lanes(typing_context: Any, mask: Any, first: Any, out: Any, at: Any) -> Any:
    """Write first + i for the first 16 set bits i of mask to out[at : at + 16]; garbage follows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mask, first, out, at = arguments
        wide = ir.VectorType(_I8, LANES)
        bits, rows = ir.VectorType(ir.IntType(1), LANES), ir.VectorType(_I32, 16)
        undefined = ir.Constant(wide, ir.Undefined)
        compress = _declare(
            builder, "llvm.experimental.vector.compress.v64i8", wide, [wide, bits, wide]
        )
        lanes = ir.Constant(wide, list(range(LANES)))
        packed = builder.call(compress, [lanes, builder.bitcast(mask, bits), undefined])
        head = ir.Constant(ir.VectorType(_I32, 16), list(range(16)))
        offsets = builder.zext(builder.shuffle_vector(packed, undefined, head), rows)
        start = _splat(builder, builder.trunc(first, _I32), _I32, 16)
        pointer = _element(context, builder, signature.args[2], out, at)
        target = builder.bitcast(pointer, rows.as_pointer())
        builder.store(builder.add(start, offsets), target, align=4)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, out, types.uint64), generate


@intrinsic
def count_bits(typing_context: Any, mask: Any) -> Any:
    """How many bits of a uint64 are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(_declare(builder, "llvm.ctpop.i64", _I64, [_I64]), arguments)

    return types.uint64(types.uint64), generate


@intrinsic
def lowest_bit(typing_context: Any, mask: Any) -> Any:
    """The place of the lowest set bit of a uint64; 64 if none is set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call = _declare(builder, "llvm.cttz.i64", _I64, [_I64, ir.IntType(1)])
        return builder.call(call, [arguments[0], ir.Constant(ir.IntType(1), 0)])

    return types.uint64(types.uint64), generate


_COMPRESSES_BYTES = bool(llvmlite.binding.get_host_cpu_features().get("avx512vbmi2"))
"""Whether packing 64 bytes is one instruction here (Intel since 2019, AMD since 2022)."""


@njit(cache=True, nogil=True)
def append_lanes(mask: Any, first: Any, out: Any, at: Any) -> Any:
    """Write first + i for each set bit i of mask to out[at:], ascending; return the new end.

    out is uint32 and needs 16 places to spare.
    """
    end = at + count_bits(mask)
    if _COMPRESSES_BYTES:
        _pack_lanes(mask, first, out, at)
        while at + np.uint64(16) < end:  # rarely: more than 16 of 64 rows
            for _ in range(16):
                mask &= mask - np.uint64(1)
            at += np.uint64(16)
            _pack_lanes(mask, first, out, at)
    else:
        while at < end:
            out[at] = first + lowest_bit(mask)
            mask &= mask - np.uint64(1)
            at += np.uint64(1)
    return end


def _ask(locality: int) -> Any:
    def ask(typing_context: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = _element(context, builder, signature.args[0], arguments[0], arguments[1])
            call = _declare(
                builder, "llvm.prefetch.p0", ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32]
            )
            byte = builder.bitcast(pointer, _I8.as_pointer())
            builder.call(call, [byte, _I32(0), _I32(locality), _I32(1)])
            return context.get_dummy_value()

        return types.void(array, types.uint64), generate

    return ask


prefetch = intrinsic(_ask(3))
"""prefetch(array, index): ask for the cache line of array[index], for reading; never fails."""

prefetch_far = intrinsic(_ask(2))
"""As `prefetch`, into the second level of cache only, which waits for more lines at a time."""
