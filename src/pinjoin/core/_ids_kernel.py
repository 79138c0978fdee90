"""Compiled loops over the bytes of Arrow string columns: hash, factorise, look up, compare.

A string column reaches a kernel as addresses, so that hundreds of memory-mapped chunks are read
in place and one compiled signature serves both `string` and `large_string`. Whoever calls keeps
the Arrow arrays alive for the length of the call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Array = np.ndarray[Any, Any]


def _load(bits: int, result: Any) -> Any:
    """An intrinsic that reads `bits` bits at an address, which need not be aligned."""

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            loaded = builder.load(pointer)
            loaded.align = 1
            return loaded

        return result(types.uint64), codegen

    return load


load_u8 = _load(8, types.uint8)
load_u32 = _load(32, types.uint32)
load_u64 = _load(64, types.uint64)
load_i32 = _load(32, types.int32)
load_i64 = _load(64, types.int64)

# XXH64 by Yann Collet, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md: passes
# SMHasher, has published test values, and needs no 128-bit product, which numba lacks.
P1 = np.uint64(0x9E3779B185EBCA87)
P2 = np.uint64(0xC2B2AE3D27D4EB4F)
P3 = np.uint64(0x165667B19E3779F9)
P4 = np.uint64(0x85EBCA77C2B2AE63)
P5 = np.uint64(0x27D4EB2F165667C5)

ONE, FOUR, EIGHT, THIRTY_TWO = np.uint64(1), np.uint64(4), np.uint64(8), np.uint64(32)
NULL = np.uint32(0xFFFFFFFF)
GROUP = 128  # strings whose cache misses are taken together


@njit(inline="always")
def _rotl(x, r):  # type: ignore[no-untyped-def]
    return (x << np.uint64(r)) | (x >> np.uint64(64 - r))


@njit(inline="always")
def _round(acc, lane):  # type: ignore[no-untyped-def]
    return _rotl(acc + lane * P2, 31) * P1


@njit(inline="always")
def _merge(acc, lane):  # type: ignore[no-untyped-def]
    return (acc ^ _round(np.uint64(0), lane)) * P1 + P4


@njit(cache=True, nogil=True)
def xxh64(at, size):  # type: ignore[no-untyped-def]
    """XXH64 with seed 0 of `size` bytes at the address `at`, both uint64."""
    end = at + size
    if size >= THIRTY_TWO:
        a, b, c, d = P1 + P2, P2, np.uint64(0), np.uint64(0) - P1
        while at + THIRTY_TWO <= end:
            a = _round(a, load_u64(at))
            b = _round(b, load_u64(at + EIGHT))
            c = _round(c, load_u64(at + np.uint64(16)))
            d = _round(d, load_u64(at + np.uint64(24)))
            at += THIRTY_TWO
        h = _rotl(a, 1) + _rotl(b, 7) + _rotl(c, 12) + _rotl(d, 18)
        h = _merge(_merge(_merge(_merge(h, a), b), c), d)
    else:
        h = P5
    h += size
    while at + EIGHT <= end:
        h = _rotl(h ^ _round(np.uint64(0), load_u64(at)), 27) * P1 + P4
        at += EIGHT
    if at + FOUR <= end:
        h = _rotl(h ^ (np.uint64(load_u32(at)) * P1), 23) * P2 + P3
        at += FOUR
    while at < end:
        h = _rotl(h ^ (np.uint64(load_u8(at)) * P5), 11) * P1
        at += ONE
    h = (h ^ (h >> np.uint64(33))) * P2
    h = (h ^ (h >> np.uint64(29))) * P3
    return h ^ (h >> THIRTY_TWO)


@njit(inline="always")
def _offset(offsets, i, wide):  # type: ignore[no-untyped-def]
    """Where string i of a chunk starts in its data; offsets are 4 bytes, or 8 if `wide`."""
    if wide:
        return np.uint64(load_i64(offsets + np.uint64(i) * EIGHT))
    return np.uint64(load_i32(offsets + np.uint64(i) * FOUR))


@njit(cache=True, nogil=True)
def hash_chunk(offsets, data, wide, out):  # type: ignore[no-untyped-def]
    """XXH64 of every string of one chunk into `out`, uint64[n]."""
    start = _offset(offsets, 0, wide)
    for i in range(out.size):
        end = _offset(offsets, i + 1, wide)
        out[i] = xxh64(data + start, end - start)
        start = end


@njit(inline="always")
def _same(a, b, size):  # type: ignore[no-untyped-def]
    """Whether the `size` bytes at two addresses are equal."""
    # The last step overlaps the one before: fewer branches to guess wrong than a tail has.
    if size >= EIGHT:
        done = np.uint64(0)
        while done + EIGHT < size:
            if load_u64(a + done) != load_u64(b + done):
                return False
            done += EIGHT
        return load_u64(a + size - EIGHT) == load_u64(b + size - EIGHT)
    if size >= FOUR:
        last = size - FOUR
        return load_u32(a) == load_u32(b) and load_u32(a + last) == load_u32(b + last)
    for i in range(size):  # noqa: SIM110 (numba compiles no generators)
        if load_u8(a + i) != load_u8(b + i):
            return False
    return True


@njit(cache=True, nogil=True)
def rehash(old, new, shift):  # type: ignore[no-untyped-def]
    """Move the used slots of `old` to the larger, zeroed `new` (see `encode_chunk`).

    Slots lie in the order of their hash, so both tables are walked from front to back.
    """
    mask = np.uint64(new.size - 1)
    for slot in old:
        if slot:
            at = (slot >> THIRTY_TWO) >> shift
            while new[at]:
                at = (at + ONE) & mask
            new[at] = slot


@njit(cache=True, nogil=True)
def encode_chunk(  # type: ignore[no-untyped-def]
    offsets, data, wide, valid, hashes, slots, shift, starts, kept, n, out
):
    """Number the strings of one chunk by first appearance; returns how many are known after.

    `slots` uint64[2^b] is an open-addressing table at most 2/3 full: high half = high half of
    the hash, whose top b bits are the slot to try first (`shift` = 32 - b); low half = number
    + 1; 0 = free. String number i is `kept[starts[i]:starts[i+1]]`. Slots, starts and bytes of
    the usual candidate are read for a group of strings at a time, because separate cache
    misses overlap and a chain of three does not.
    """
    mask = np.uint64(slots.size - 1)
    kept_at = np.uint64(kept.ctypes.data)
    found = np.empty(GROUP, np.uint64)
    begins = np.empty(GROUP, np.uint64)
    ends = np.empty(GROUP, np.uint64)
    touched = np.uint64(0)
    for first in range(0, out.size, GROUP):
        size = min(GROUP, out.size - first)
        for j in range(size):
            touched ^= slots[(hashes[first + j] >> THIRTY_TWO) >> shift]
        for j in range(size):
            tag = hashes[first + j] >> THIRTY_TWO
            at = tag >> shift
            while slots[at] and slots[at] >> THIRTY_TWO != tag:
                at = (at + ONE) & mask
            found[j] = slots[at]
            used = np.uint64(slots[at] != 0)  # of a free slot, read nothing: start to start
            number = (slots[at] & np.uint64(0xFFFFFFFF)) - used
            begins[j] = starts[number]
            ends[j] = starts[number + used]
        for j in range(size):
            touched ^= np.uint64(kept[begins[j]] ^ kept[ends[j]])
        for j in range(size):
            i = first + j
            if valid.size and not valid[i]:
                out[i] = NULL
                continue
            start = _offset(offsets, i, wide)
            length = _offset(offsets, i + 1, wide) - start
            at_data = data + start
            tag = hashes[i] >> THIRTY_TWO
            if (
                found[j]  # its tag is this one's
                and ends[j] - begins[j] == length
                and _same(kept_at + begins[j], at_data, length)
            ):
                out[i] = np.uint32((found[j] & np.uint64(0xFFFFFFFF)) - ONE)
                continue
            at = tag >> shift
            while True:
                slot = slots[at]
                if not slot:
                    slots[at] = (tag << THIRTY_TWO) | np.uint64(n + 1)
                    begin = starts[n]
                    for b in range(length):
                        kept[begin + b] = load_u8(at_data + b)
                    starts[n + 1] = begin + length
                    out[i] = np.uint32(n)
                    n += 1
                    break
                if slot >> THIRTY_TWO == tag:
                    number = (slot & np.uint64(0xFFFFFFFF)) - ONE
                    begin = np.uint64(starts[number])
                    if np.uint64(starts[number + ONE]) - begin == length and _same(
                        kept_at + begin, at_data, length
                    ):
                        out[i] = np.uint32(number)
                        break
                at = (at + ONE) & mask
    # Returning `touched` keeps the reads above from being thought useless and removed.
    return n, touched


@njit(cache=True, nogil=True)
def _locate(first_rows, offsets, data, wide, row):  # type: ignore[no-untyped-def]
    """Address and length of the string in `row` of a chunked column; first_rows int64[c+1]."""
    low, high = 0, first_rows.size - 2
    while low < high:
        middle = (low + high + 1) >> 1
        if first_rows[middle] <= row:
            low = middle
        else:
            high = middle - 1
    i = row - first_rows[low]
    start = _offset(offsets[low], i, wide)
    return data[low] + start, _offset(offsets[low], i + 1, wide) - start


@njit(cache=True, nogil=True)
def bucket_rows(hashes, valid, bounds, rows, shift):  # type: ignore[no-untyped-def]
    """Counting sort of the valid rows by the top bits of their hash, rows ascending in each."""
    for i in range(hashes.size):
        if not valid.size or valid[i]:
            bounds[(hashes[i] >> shift) + ONE] += np.uint32(1)
    for b in range(1, bounds.size):
        bounds[b] += bounds[b - 1]
    # `bounds[b]` serves as the cursor of bucket b, so it ends one bucket further on.
    for i in range(hashes.size):
        if not valid.size or valid[i]:
            b = hashes[i] >> shift
            rows[bounds[b]] = np.uint32(i)
            bounds[b] += np.uint32(1)
    for b in range(bounds.size - 1, 0, -1):
        bounds[b] = bounds[b - 1]
    bounds[0] = np.uint32(0)


@njit(cache=True, nogil=True)
def drop_repeats(  # type: ignore[no-untyped-def]
    hashes, bounds, rows, first_rows, offsets, data, wide
):
    """Keep the first row of each string in every bucket, closing the gaps; returns how many."""
    kept = 0
    begin = np.int64(bounds[0])
    for b in range(bounds.size - 1):
        end = np.int64(bounds[b + 1])
        first = kept
        for i in range(begin, end):
            repeat = False
            for j in range(first, kept):
                if hashes[rows[j]] == hashes[rows[i]]:
                    at, size = _locate(first_rows, offsets, data, wide, np.int64(rows[i]))
                    other, length = _locate(first_rows, offsets, data, wide, np.int64(rows[j]))
                    if size == length and _same(at, other, size):
                        repeat = True
                        break
            if not repeat:
                rows[kept] = rows[i]
                kept += 1
        begin = end
        bounds[b + 1] = np.uint32(kept)
    return kept


@njit(cache=True, nogil=True)
def find_chunk(  # type: ignore[no-untyped-def]
    asked_offsets, asked_data, asked_wide, valid, hashes, bounds, rows, shift,
    first_rows, offsets, data, wide, out,
):  # fmt: skip
    """The row of each asked string, or -1, into `out` int64[n]."""
    for i in range(out.size):
        out[i] = -1
        if valid.size and not valid[i]:
            continue
        start = _offset(asked_offsets, i, asked_wide)
        size = _offset(asked_offsets, i + 1, asked_wide) - start
        bucket = hashes[i] >> shift
        for j in range(np.int64(bounds[bucket]), np.int64(bounds[bucket + ONE])):
            at, length = _locate(first_rows, offsets, data, wide, np.int64(rows[j]))
            if size == length and _same(at, asked_data + start, size):
                out[i] = np.int64(rows[j])
                break


@njit(inline="always")
def _lower(byte):  # type: ignore[no-untyped-def]
    return byte | np.uint8(32) if np.uint8(65) <= byte <= np.uint8(90) else byte


@njit(cache=True, nogil=True)
def bounded_distance(asked, at, size, limit, costs):  # type: ignore[no-untyped-def]
    """Edits between `asked` uint8[n] and `size` bytes at `at`, or limit + 1 if they are more.

    ASCII case does not count. Ukkonen's band: only cells within `limit` of the diagonal can
    matter, and as soon as a whole row of them exceeds it there is nothing more to learn.
    `costs` is scratch, int64[2 * limit + 3] or longer.
    """
    begin, n, m = 0, asked.size, np.int64(size)
    if abs(n - m) > limit:
        return limit + 1
    while begin < n and begin < m and asked[begin] == _lower(load_u8(at + np.uint64(begin))):
        begin += 1
    while n > begin and m > begin and asked[n - 1] == _lower(load_u8(at + np.uint64(m - 1))):
        n -= 1
        m -= 1
    width = 2 * limit + 1
    for k in range(width + 2):  # costs[k + 1] is cell (i, i + k - limit); the rim is too much
        j = k - 1 - limit
        costs[k] = j if 0 <= j <= limit else limit + 1
    for i in range(1, n - begin + 1):
        best = limit + 1
        for k in range(1, width + 1):
            j = i + k - 1 - limit
            if j < 0 or j > m - begin:
                costs[k] = limit + 1
                continue
            if j == 0:
                cost = i
            else:
                byte = _lower(load_u8(at + np.uint64(begin + j - 1)))
                cost = costs[k] + (asked[begin + i - 1] != byte)
                cost = min(cost, costs[k - 1] + 1)
                cost = min(cost, costs[k + 1] + 1)
            costs[k] = min(cost, limit + 1)
            best = min(best, costs[k])
        if best > limit:
            return limit + 1
    return costs[(m - n) + limit + 1]


@njit(inline="always")
def _begins_or_ends(asked, at, size):  # type: ignore[no-untyped-def]
    """Whether the string at `at` begins or ends with `asked`, ASCII case apart."""
    n = asked.size
    if n < 3 or size < n:
        return False
    begins = ends = True
    for i in range(n):
        begins = begins and asked[i] == _lower(load_u8(at + np.uint64(i)))
        ends = ends and asked[i] == _lower(load_u8(at + size - np.uint64(n - i)))
        if not (begins or ends):
            return False
    return True


@njit(cache=True, nogil=True)
def closest(asked, limit, offsets, data, wide, n, first_row, costs, best_costs, best_rows):  # type: ignore[no-untyped-def]
    """Merge one chunk of strings into the best matches so far, by (edits, row).

    `asked` is in lower case. `best_costs` int64[k] ascending, filled up with limit + 1;
    `best_rows` int64[k]. A string that begins or ends with `asked` costs at most `limit`.
    A later row loses a tie, so each match makes the search narrower.
    """
    last = best_costs.size - 1
    start = _offset(offsets, 0, wide)
    for i in range(n):
        end = _offset(offsets, i + 1, wide)
        at, size = data + start, end - start
        start = end
        room = best_costs[last] - 1
        if room < 0:
            return
        cost = bounded_distance(asked, at, size, min(room, limit), costs)
        if cost > room and room >= limit and _begins_or_ends(asked, at, size):
            cost = limit
        if cost <= room:
            place = last
            while place > 0 and best_costs[place - 1] > cost:
                best_costs[place] = best_costs[place - 1]
                best_rows[place] = best_rows[place - 1]
                place -= 1
            best_costs[place] = cost
            best_rows[place] = first_row + i
