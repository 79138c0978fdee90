"""External ids at the border: hash strings, number them densely, find the row of an id.

Nothing here turns a string into a Python object on the way: the kernels read Arrow buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pinjoin.core import _ids_kernel as kernel
from pinjoin.core.errors import InputError

Strings: TypeAlias = pa.Array | pa.ChunkedArray
"""A column of `string`, `large_string`, or anything Arrow casts to `string` losslessly."""

NULL_CODE = 0xFFFFFFFF
"""What `StringTable.encode` gives for null: no string has this number."""

_PIECE = 1 << 16  # strings per kernel call: bounds what one call may add to a table
_MAX_CHUNK_BYTES = 1 << 30  # of a `string` chunk, whose 32-bit offsets end at 2 GiB
_SUGGESTION_IDS = 2_000_000  # what `close_matches` reads at most: ≤ 0.3 s


def hash_strings(strings: Strings) -> npt.NDArray[np.uint64]:
    """The XXH64 (seed 0) of each string's UTF-8 bytes, uint64[n]; null gives 0.

    Stable for ever: snapshots and sampling depend on it.

    >>> [hex(h) for h in hash_strings(pa.array(["", "abc", None]))]
    ['0xef46db3751d8e999', '0x44bc2cf5ad770999', '0x0']
    """
    column = _chunks(strings)
    hashes = np.empty(sum(map(len, column)), np.uint64)
    done = 0
    for chunk in column:
        hashes[done : done + len(chunk)] = _hash_chunk(chunk)
        done += len(chunk)
    return hashes


class StringTable:
    """Numbers strings densely, in the order of their first appearance, batch after batch.

    Exact: strings of equal hash are told apart by their bytes. Holds each distinct string once,
    plus 8 bytes for where it starts and 12 to 24 bytes of hash table.

    >>> table = StringTable()
    >>> table.encode(pa.array(["b", "a", "b"])).tolist(), table.encode(pa.array(["a"])).tolist()
    ([0, 1, 0], [1])
    >>> table.strings().to_pylist()
    ['b', 'a']
    """

    def __init__(self) -> None:
        self._n = 0
        self._slots = np.zeros(1 << 10, np.uint64)
        self._starts = np.zeros(1 << 10, np.uint64)
        self._kept = np.zeros(1 << 13, np.uint8)

    def __len__(self) -> int:
        """How many distinct strings were seen."""
        return self._n

    def encode(self, strings: Strings) -> npt.NDArray[np.uint32]:
        """The number of each string, uint32[n]; null gives `NULL_CODE` and is not numbered.

        Raises InputError if the values are not strings, or beyond 2³² − 2 distinct ones.
        """
        column = _chunks(strings)
        numbers = np.empty(sum(map(len, column)), np.uint32)
        done = 0
        for chunk in column:
            for first in range(0, len(chunk), _PIECE):
                piece = chunk.slice(first, _PIECE)
                self._encode(piece, numbers[done : done + len(piece)])
                done += len(piece)
        return numbers

    def strings(self) -> pa.ChunkedArray:
        """The distinct strings by number, without copying their bytes; chunks below 1 GiB."""
        starts = self._starts[: self._n + 1].view(np.int64)
        data = pa.py_buffer(self._kept)
        chunks, first = [], 0
        while first < self._n:
            fits = np.searchsorted(starts, starts[first] + _MAX_CHUNK_BYTES, side="right") - 1
            last = max(int(fits), first + 1)
            begin, end = int(starts[first]), int(starts[last])
            offsets = (starts[first : last + 1] - begin).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), data.slice(begin, end - begin)]
            chunks.append(pa.Array.from_buffers(pa.string(), last - first, buffers))
            first = last
        return pa.chunked_array(chunks, pa.string())

    def _encode(self, piece: pa.Array, out: npt.NDArray[np.uint32]) -> None:
        view = _ChunkView.of(piece)
        self._reserve(len(piece), view.bytes)
        shift = np.uint64(32 - (self._slots.size.bit_length() - 1))
        self._n, _ = kernel.encode_chunk(
            view.offsets, view.data, view.wide, _valid(piece), _hash_chunk(piece),
            self._slots, shift, self._starts, self._kept, self._n, out,
        )  # fmt: skip

    def _reserve(self, strings: int, size: int) -> None:
        """Make room for so many more strings of so many more bytes together."""
        n = self._n + strings
        if n >= NULL_CODE:
            raise InputError(
                f"More than {NULL_CODE - 1:,} distinct ids: rows are 32-bit numbers. "
                "Split the catalogue."
            )
        if 3 * n > 2 * self._slots.size:
            bits = (3 * n // 2).bit_length()
            slots = np.empty(1 << bits, np.uint64)  # not `zeros`, which gets no huge pages
            slots.fill(0)
            kernel.rehash(self._slots, slots, np.uint64(32 - bits))
            self._slots = slots
        if n + 1 > self._starts.size:
            self._starts = _grown(self._starts, n + 1, self._n + 1)
        used = int(self._starts[self._n])
        if used + size >= self._kept.size:  # one byte more, so that an empty string can be read
            self._kept = _grown(self._kept, used + size + 1, used)


class IdIndex:
    """Finds the row of an id over memory-mapped arrays, exactly: the strings are compared.

    `offsets` uint32[2^b + 1] bounds the slice of `rows` uint32[≤ n] whose ids share the top b
    bits of their hash. Of equal ids only the lowest row is kept; null has no row.

    >>> ids = pa.array(["kettle", "lamp", "kettle"])
    >>> index = IdIndex(*IdIndex.build(ids), ids)
    >>> index.find("kettle"), index.find("Lamp"), index.close_matches("Lamp")
    (0, None, ['lamp'])
    """

    @staticmethod
    def build(strings: Strings) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """The arrays to store: `offsets` and `rows`. Needs 8 n bytes beside them."""
        column = _Column(strings)
        n = column.n
        if n >= NULL_CODE:
            raise InputError(f"An index holds at most {NULL_CODE - 1:,} ids. Got {n:,}.")
        hashes = hash_strings(pa.chunked_array(column.chunks, column.type))
        valid = np.concatenate([_valid(c, always=True) for c in column.chunks]) if n else _NO_MASK
        bits = max(1, (n - 1).bit_length()) if n else 1
        offsets = np.zeros((1 << bits) + 1, np.uint32)
        rows = np.empty(n, np.uint32)
        kernel.bucket_rows(hashes, valid, offsets, rows, np.uint64(64 - bits))
        kept = kernel.drop_repeats(hashes, offsets, rows, *column.addresses)
        return offsets, rows[:kept].copy()

    def __init__(
        self,
        offsets: npt.NDArray[np.uint32],
        rows: npt.NDArray[np.uint32],
        strings: Strings,
    ) -> None:
        self._column = _Column(strings)
        self._offsets = _read_only(offsets)
        self._rows = _read_only(rows)
        self._shift = np.uint64(64 - ((offsets.size - 1).bit_length() - 1))

    def __len__(self) -> int:
        """How many distinct ids there are."""
        return int(self._rows.size)

    def find(self, id: str) -> int | None:
        """The row of `id`, the lowest if several rows have it; None if unknown."""
        row = int(self.find_all([id])[0])
        return None if row < 0 else row

    def find_all(self, ids: Strings | Sequence[str | None]) -> npt.NDArray[np.int64]:
        """The row of each id, int64[n], the lowest if several have it; −1 = unknown or null."""
        asked = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else as_ids(ids)
        chunks = _chunks(asked)
        found = np.empty(sum(map(len, chunks)), np.int64)
        done = 0
        for chunk in chunks:
            view = _ChunkView.of(chunk)
            kernel.find_chunk(
                view.offsets, view.data, view.wide, _valid(chunk), _hash_chunk(chunk),
                self._offsets, self._rows, self._shift, *self._column.addresses,
                found[done : done + len(chunk)],
            )  # fmt: skip
            done += len(chunk)
        return found

    def close_matches(self, id: str, n: int = 3) -> list[str]:
        """Up to `n` known ids that `id` may be a slip of, best first, ties by row.

        Those within 3 edits of bytes (1 or 2 if `id` is short; ASCII case is free), then those
        that begin or end with it. Looks at the first 2,000,000 rows, so that it answers in 0.3 s:
        low rows are the popular ones.
        """
        asked = np.frombuffer(id.encode(errors="replace").lower(), np.uint8)
        limit = min(3, (asked.size + 1) // 2)
        if n < 1 or asked.size == 0:
            return []
        scratch = np.empty(2 * limit + 3, np.int64)
        costs = np.full(4 * n, limit + 1, np.int64)  # spare places, as rows may share an id
        rows = np.full(4 * n, -1, np.int64)
        first_row = 0
        for chunk in self._column.chunks:
            view = _ChunkView.of(chunk)
            kernel.closest(
                asked, limit, view.offsets, view.data, view.wide,
                min(len(chunk), _SUGGESTION_IDS - first_row), first_row, scratch, costs, rows,
            )  # fmt: skip
            first_row += len(chunk)
            if first_row >= _SUGGESTION_IDS:
                break
        strings = [self._column.get(int(row)) for row in rows[rows >= 0]]
        return list(dict.fromkeys(s for s in strings if s is not None))[:n]


@dataclass(frozen=True, slots=True)
class _ChunkView:
    """Where the bytes of one Arrow chunk lie; valid as long as the chunk is alive."""

    offsets: np.uint64  # address of the first string's offset
    data: np.uint64
    wide: bool  # 64-bit offsets
    bytes: int

    @staticmethod
    def of(chunk: pa.Array) -> _ChunkView:
        wide = pa.types.is_large_string(chunk.type)
        _, offsets, data = chunk.buffers()
        if len(chunk) == 0 or offsets is None or offsets.size == 0:
            return _ChunkView(np.uint64(_ZERO_OFFSET.ctypes.data), np.uint64(0), True, 0)
        at = offsets.address + chunk.offset * (8 if wide else 4)
        bounds = np.frombuffer(offsets, np.int64 if wide else np.int32)
        size = int(bounds[chunk.offset + len(chunk)]) - int(bounds[chunk.offset])
        return _ChunkView(np.uint64(at), np.uint64(data.address if data else 0), wide, size)


class _Column:
    """A chunked string column as the kernels want it, and its values by row."""

    def __init__(self, strings: Strings) -> None:
        self.chunks = [chunk for chunk in _chunks(strings) if len(chunk)]
        self.type = self.chunks[0].type if self.chunks else pa.string()
        views = [_ChunkView.of(chunk) for chunk in self.chunks]
        self._first_rows = np.cumsum([0, *map(len, self.chunks)], dtype=np.int64)
        self.n = int(self._first_rows[-1])
        self.addresses = (
            self._first_rows,
            np.array([v.offsets for v in views], np.uint64),
            np.array([v.data for v in views], np.uint64),
            pa.types.is_large_string(self.type),
        )

    def get(self, row: int) -> str | None:
        chunk = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        value: str | None = self.chunks[chunk][row - int(self._first_rows[chunk])].as_py()
        return value


_ZERO_OFFSET = np.zeros(1, np.int64)
_NO_MASK = np.empty(0, np.bool_)


def _chunks(strings: Strings) -> list[pa.Array]:
    """The chunks of a column, as string or large_string."""
    kind = strings.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string,
                                           pa.types.is_string_view, pa.types.is_null)):  # fmt: skip
            raise InputError(f"Ids must be strings. Got a column of {kind}: cast it first.")
        wide = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        strings = strings.cast(pa.large_string() if wide else pa.string())
    return list(strings.chunks) if isinstance(strings, pa.ChunkedArray) else [strings]


def _hash_chunk(chunk: pa.Array) -> npt.NDArray[np.uint64]:
    hashes = np.empty(len(chunk), np.uint64)
    view = _ChunkView.of(chunk)
    kernel.hash_chunk(view.offsets, view.data, view.wide, hashes)
    if chunk.null_count:
        hashes[~_valid(chunk)] = 0
    return hashes


def _valid(chunk: pa.Array, always: bool = False) -> npt.NDArray[np.bool_]:
    """Which values are not null; empty where none is, unless `always`."""
    if not chunk.null_count:
        return np.ones(len(chunk), np.bool_) if always else _NO_MASK
    mask: npt.NDArray[np.bool_] = chunk.is_valid().to_numpy(zero_copy_only=False)
    return mask.copy()  # writeable like _NO_MASK: the kernels then compile once


def as_ids(ids: Sequence[str | None]) -> pa.Array:
    """As an Arrow column; what is not valid Unicode (a lone surrogate) is no one's id: null."""
    try:
        return pa.array(ids, pa.string())
    except UnicodeEncodeError:
        return pa.array([_valid_or_none(id) for id in ids], pa.string())


def _valid_or_none(id: str | None) -> str | None:
    try:
        return id if id is None or id.encode() is not None else None
    except UnicodeEncodeError:
        return None


def _grown(array: npt.NDArray[Any], needed: int, used: int) -> npt.NDArray[Any]:
    """A copy of the first `used` elements with room for `needed`, at least doubled."""
    grown = np.empty(max(needed, 2 * array.size), array.dtype)
    grown[:used] = array[:used]
    return grown


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A plain read-only view: mapped and fresh arrays then share one compiled kernel."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
