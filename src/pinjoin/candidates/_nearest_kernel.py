"""Nearest by Hamming distance and by sparse cosine: the inner loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from pinjoin.candidates._cooccurrence_kernel import flagged_groups
from pinjoin.core._simd_kernel import append_lanes, count_bits, lanes_above, prefetch
from pinjoin.core._topk_kernel import descending_keys, top_k_order

_U = np.uint64
_I64 = ir.IntType(64)
_GROUP = _U(6)
_LINE = _U(8)  # uint64 words of a cache line
_AHEAD = _U(6)  # rows met at random that are asked for before they are needed
_MARKS = 1 << 16
_STREAM = _U(256)  # words ahead, where rows come in order: 2 KB, mostly of the same page


@intrinsic
def _differing_bits(typing_context: Any, a: Any, first: Any, b: Any, words: Any) -> Any:
    """Bits in which a[first : first + words] and b[:words] differ; words is a multiple of 8."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_I64, 8)
        left, first, right, words = arguments
        left = context.make_array(signature.args[0])(context, builder, left).data
        right = context.make_array(signature.args[2])(context, builder, right).data

        def load(pointer: Any, place: Any) -> Any:
            pointer = builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())
            return builder.load(pointer, align=8)

        def call(name: str, result: Any, value: Any) -> Any:
            kind = ir.FunctionType(result, [vector])
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])

        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0] * 8))
        builder.store(ir.Constant(vector, [0] * 8), total)
        with cgutils.for_range_slice(builder, _I64(0), words, _I64(8), _I64) as (place, _):
            differ = builder.xor(load(left, builder.add(first, place)), load(right, place))
            counts = call("llvm.ctpop.v8i64", vector, differ)
            builder.store(builder.add(builder.load(total), counts), total)
        return call("llvm.vector.reduce.add.v8i64", _I64, builder.load(total))

    return types.uint64(a, types.uint64, b, types.uint64), generate


@njit(cache=True, nogil=True)
def _distance(codes: Any, first: Any, query: Any) -> Any:
    """Bits in which the words of a row, which start at codes[first], differ from the query's."""
    words = _U(len(query))
    whole = words & ~(_LINE - _U(1))
    total = _differing_bits(codes, first, query, whole)
    for word in range(whole, words):
        total += count_bits(codes[first + word] ^ query[word])
    return total


@njit(cache=True, nogil=True)
def distances_to(codes: Any, rows: Any, query: Any, out: Any) -> None:
    """out[i] = Hamming distance of codes[rows[i]], met at random, to the query.

    codes: (n · words,) uint64; rows: (m,) uint32; query: (words,) uint64; out: (m,) uint16.
    """
    words = _U(len(query))
    n = _U(len(rows))
    for i in range(n):
        if i + _AHEAD < n:
            start = _U(rows[i + _AHEAD]) * words
            for word in range(_U(0), words, _LINE):
                prefetch(codes, start + word)
        out[i] = np.uint16(_distance(codes, _U(rows[i]) * words, query))


@njit(cache=True, nogil=True)
def keep_nearest(rows: Any, distances: Any, n: Any, k: Any, tally: Any) -> Any:
    """Keep the k nearest of rows[:n], in place and in their order; of equal ones the first.

    Returns (how many are kept, the largest distance kept). tally: uint32, bits + 1 zeros.
    """
    if n <= k:
        return n, _U(len(tally))
    for i in range(n):
        tally[distances[i]] += np.uint32(1)
    limit = _U(0)
    below = _U(tally[0])
    while below < k:
        limit += _U(1)
        below += _U(tally[limit])
    ties = k - (below - _U(tally[limit]))
    tally[:] = np.uint32(0)
    kept = _U(0)
    for i in range(n):
        distance = _U(distances[i])
        tied = distance == limit
        rows[kept] = rows[i]
        distances[kept] = distances[i]
        kept += _U(distance < limit or (tied and ties > _U(0)))
        ties -= _U(tied and ties > _U(0))
    return k, limit


@njit(cache=True, nogil=True)
def scan(
    codes: Any,
    query: Any,
    first: Any,
    last: Any,
    listed: Any,
    k: Any,
    rows: Any,
    distances: Any,
    tally: Any,
) -> Any:
    """The k nearest of the rows [first, last), or of listed[first:last] if any are listed.

    Candidates under a falling limit collect in rows and distances (of one length, > k), ascending
    by row; when these are full, a histogram of the distances lowers the limit. Returns how many
    are left, still ascending by row.
    """
    room = _U(len(rows))
    limit = _U(len(tally))  # more than any distance
    k = _U(k)
    n = _U(0)
    some = len(listed) > 0
    words = _U(len(query))
    for i in range(_U(first), _U(last)):
        row = _U(i)
        ahead = i * words + _STREAM
        if some:
            row = _U(listed[i])
            ahead = _U(listed[min(i + _AHEAD, _U(last) - _U(1))]) * words
        for word in range(_U(0), words, _LINE):
            prefetch(codes, ahead + word)
        distance = _distance(codes, row * words, query)
        rows[n] = np.uint32(row)
        distances[n] = np.uint16(distance)
        n += _U(distance < limit)
        if n == room:
            n, limit = keep_nearest(rows, distances, n, k, tally)
    n, limit = keep_nearest(rows, distances, n, k, tally)
    return n


@njit(cache=True, nogil=True)
def order_nearest(
    rows: Any, distances: Any, n: Any, k: Any, tally: Any, out_rows: Any, out_distances: Any
) -> Any:
    """The k nearest of rows[:n] by distance, ties in their order; returns how many. Uses up
    tally: uint32, bits + 1 zeros."""
    n, _ = keep_nearest(rows, distances, _U(n), _U(k), tally)
    for i in range(n):
        tally[distances[i]] += np.uint32(1)
    total = np.uint32(0)
    for distance in range(len(tally)):
        here = tally[distance]
        tally[distance] = total
        total += here
    for i in range(n):
        at = tally[distances[i]]
        tally[distances[i]] += np.uint32(1)
        out_rows[at] = rows[i]
        out_distances[at] = distances[i]
    return n


@njit(cache=True, nogil=True)
def invert(ids: Any, weights: Any, n_terms: Any) -> Any:
    """(indptr int64, images uint32, weights float32): images of each term, ascending.

    ids, weights: (images, width); ids ≥ n_terms are padding, weights of 0 are left out.
    """
    n, width = ids.shape
    indptr = np.zeros(n_terms + 1, np.int64)
    for image in range(n):
        for place in range(width):
            if ids[image, place] < n_terms and weights[image, place] > 0:
                indptr[_U(ids[image, place]) + _U(1)] += 1
    for term in range(_U(n_terms)):
        indptr[term + _U(1)] += indptr[term]
    fill = indptr[:-1].copy()
    images = np.empty(indptr[-1], np.uint32)
    values = np.empty(indptr[-1], np.float32)
    for image in range(n):
        for place in range(width):
            if ids[image, place] < n_terms and weights[image, place] > 0:
                at = _U(fill[ids[image, place]])
                images[at] = image
                values[at] = weights[image, place]
                fill[ids[image, place]] += 1
    return indptr, images, values


@njit(cache=True, nogil=True)
def text_nearest(
    ids: Any,
    weights: Any,
    indptr: Any,
    images: Any,
    values: Any,
    k: Any,
    scratch: Any,
    out_rows: Any,
    out_scores: Any,
) -> Any:
    """The k images with the largest sum over the query's terms of weight · weight; how many.

    Sums are float32, term after term as the query lists them. scratch: sums (float32, all zero on
    entry and exit, a whole number of groups of 64 long), the same memory as uint32, a flag per
    group, and room for groups, rows and ranking.
    """
    sums, bits, flags, groups, rows, scores, keys, order, spare, histogram = scratch
    for place in range(_U(len(ids))):
        weight = weights[place]
        for p in range(_U(indptr[ids[place]]), _U(indptr[_U(ids[place]) + _U(1)])):
            row = _U(images[p])
            sums[row] += weight * values[p]
            flags[row >> _GROUP] = 1
    n_groups = flagged_groups(flags, groups)
    found = _U(0)
    for i in range(n_groups):
        row = _U(groups[i]) << _GROUP
        found = append_lanes(lanes_above(bits, row, np.uint32(0)), row, rows, found)
    for i in range(found):
        row = _U(rows[i])
        scores[i] = sums[row]
        sums[row] = np.float32(0)
    if found == _U(0):
        return found
    descending_keys(scores, found, keys)
    kept = top_k_order(_U(k), found, keys, order, spare, histogram)
    for i in range(kept):
        out_rows[i] = rows[order[i]]
        out_scores[i] = scores[order[i]]
    return kept


@njit(cache=True, nogil=True)
def text_cosines(ids: Any, weights: Any, their_ids: Any, their_weights: Any, out: Any) -> None:
    """out[i] = Σ weight · weight over the terms that row i of (rows, width) shares with the query.

    ids differ; those of weight 0 are padding.
    """
    known = np.zeros(_MARKS, np.uint8)  # whether a term of these last bits is the query's
    for place in range(len(ids)):
        known[_U(ids[place]) % _U(_MARKS)] |= np.uint8(weights[place] > 0)
    n, width = their_ids.shape
    for i in range(n):
        total = np.float32(0)
        for j in range(width):
            if known[_U(their_ids[i, j]) % _U(_MARKS)]:
                for place in range(len(ids)):
                    if ids[place] == their_ids[i, j]:
                        total += weights[place] * their_weights[i, j]
        out[i] = total
