"""Arrow strings looked at through their buffers: what can be told without a look at each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SPACE, _DEL = 0x20, 0x7F


@dataclass(frozen=True)
class View:
    """A string array's buffers: `offsets` int32 [n + 1] into `data` uint8."""

    offsets: np.ndarray
    data: np.ndarray

    @staticmethod
    def of(array: pa.StringArray) -> View:
        """The view of an array; `offsets` begin at 0, whatever slice it is."""
        _, offsets, data = array.buffers()
        n = len(array)
        if n == 0:
            return View(np.zeros(1, np.int32), np.empty(0, np.uint8))
        ends = np.frombuffer(offsets, np.int32, n + 1, 4 * array.offset)
        first, last = int(ends[0]), int(ends[-1])
        if data is None or first == last:
            return View(ends - first, np.empty(0, np.uint8))
        return View(ends - first if first else ends, np.frombuffer(data, np.uint8)[first:last])

    @property
    def lengths(self) -> np.ndarray:
        """Bytes of each string."""
        return np.diff(self.offsets)

    def range(self) -> tuple[int, int]:
        """The smallest and the largest byte; (0x21, 0x21) if there is none."""
        if not self.data.size:
            return _SPACE + 1, _SPACE + 1
        return int(self.data.min()), int(self.data.max())

    def has_blank_edge(self) -> bool:
        """Whether a string begins or ends with a space or a control character (ASCII)."""
        full = self.lengths > 0
        first, last = self.offsets[:-1][full], self.offsets[1:][full] - 1
        return bool((self.data[first] <= _SPACE).any() or (self.data[last] <= _SPACE).any())

    def ends_with(self, tail: bytes) -> np.ndarray:
        """Which strings end with these bytes and are longer than them: bool [n]."""
        ends = self.offsets[1:]
        found = self.lengths > len(tail)
        for back, byte in enumerate(reversed(tail), 1):
            found[found] = self.data[ends[found] - back] == byte
        return found


def as_strings(raw: pa.Array) -> pa.Array | None:
    """`raw` as a string array if it holds text or bytes; None if not. UTF-8 is not checked."""
    if pa.types.is_dictionary(raw.type):
        raw = raw.dictionary_decode()
    kind = raw.type
    if pa.types.is_string(kind):
        return raw
    if pa.types.is_binary(kind):
        return pa.Array.from_buffers(
            pa.string(), len(raw), raw.buffers(), raw.null_count, raw.offset
        )
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return as_strings(raw.cast(pa.binary()))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return raw.cast(pa.string())
    return None


def as_bytes(array: pa.Array) -> pa.Array:
    """Strings as bytes, so that invalid UTF-8 can be shown."""
    return array.cast(pa.binary()) if pa.types.is_string(array.type) else array


def not_utf8(array: pa.StringArray) -> np.ndarray:
    """The rows that are not valid UTF-8: halves are checked until single rows are left."""
    bad: list[int] = []
    spans = [(0, len(array))]
    while spans:
        start, stop = spans.pop()
        try:
            array.slice(start, stop - start).validate(full=True)
        except pa.ArrowInvalid:
            if stop - start == 1:
                bad.append(start)
            else:
                middle = (start + stop) // 2
                spans += [(start, middle), (middle, stop)]
    return np.array(sorted(bad), np.int64)


def with_nulls(array: pa.StringArray, is_null: np.ndarray) -> pa.StringArray:
    """`array` with more nulls; shares its text."""
    if not is_null.any():
        return array
    valid = ~is_null
    if array.null_count:
        valid &= array.is_valid().to_numpy(zero_copy_only=False)
    _, offsets, data = array.buffers()
    bits = pa.py_buffer(np.packbits(np.pad(valid, (array.offset, 0)), bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(array), [bits, offsets, data], -1, array.offset)


def without(array: pa.StringArray, rows: np.ndarray) -> pa.StringArray:
    """`array` with these rows emptied, so that kernels that need valid text can run."""
    keep = np.ones(len(array), bool)
    keep[rows] = False
    return pc.if_else(pa.array(keep), as_bytes(array), pa.scalar(b"", pa.binary())).cast(
        pa.string()
    )
