"""The few machine instructions numba does not offer by name, as LLVM intrinsics.

All of them are portable LLVM: on a processor without the instruction they still work, slower.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
LANES = 64
"""Rows that `lanes_above`, `lanes_equal` and `append_lanes` look at together."""


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
def append_lanes(typing_context: Any, mask: Any, first: Any, out: Any, at: Any) -> Any:
    """append_lanes(mask, first, out, at): write first + i for each set bit i of mask to out[at:].

    Ascending, without a branch; returns the new end. out is uint32 and needs 16 spare places.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mask, first, out, at = arguments
        vector = ir.VectorType(_I32, 16)
        bits = ir.VectorType(ir.IntType(1), 16)
        undefined = ir.Constant(vector, ir.Undefined)
        compress = _declare(
            builder, "llvm.experimental.vector.compress.v16i32", vector, [vector, bits, vector]
        )
        count = _declare(builder, "llvm.ctpop.i64", _I64, [_I64])
        start = _splat(builder, builder.trunc(first, _I32), _I32, 16)
        for quarter in range(0, LANES, 16):
            chosen = builder.and_(builder.lshr(mask, _I64(quarter)), _I64(0xFFFF))
            rows = builder.add(start, ir.Constant(vector, list(range(quarter, quarter + 16))))
            lanes = builder.bitcast(builder.trunc(chosen, _I16), bits)
            packed = builder.call(compress, [rows, lanes, undefined])
            pointer = _element(context, builder, signature.args[2], out, at)
            builder.store(packed, builder.bitcast(pointer, vector.as_pointer()), align=4)
            at = builder.add(at, builder.call(count, [chosen]))
        return at

    return types.uint64(types.uint64, types.uint64, out, types.uint64), generate


@intrinsic
def clear_lanes(typing_context: Any, array: Any, first: Any) -> Any:
    """clear_lanes(array, first): array[first : first + 64] = 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = ir.IntType(signature.args[0].dtype.bitwidth)
        vector = ir.VectorType(element, LANES)
        pointer = _element(context, builder, signature.args[0], arguments[0], arguments[1])
        zeros = ir.Constant(vector, [0] * LANES)
        builder.store(zeros, builder.bitcast(pointer, vector.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """prefetch(array, index): ask for the cache line of array[index], for reading; never fails."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element(context, builder, signature.args[0], arguments[0], arguments[1])
        call = _declare(
            builder, "llvm.prefetch.p0", ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32]
        )
        builder.call(call, [builder.bitcast(pointer, _I8.as_pointer()), _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate
