"""Records of one kind by key, in a file that only grows, so a crash or a rerun loses little.

After a header line come blocks: a fixed head (magic, number of records, checksum) and the
records, each with a 16-byte key. A block that was cut short by a crash ends the file; a block
whose checksum fails is left out, as if its records had never been written. In memory are only
the places of the records.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinjoin.core.errors import InputError

_MAGIC = b"PJVB"
_HEAD = struct.Struct("<4sIII")  # magic, records, checksum of the records, checksum of this head
_FLUSH_AT = 256  # records; what a crash may lose


class RecordFile:
    """`record` is the records' type; its field `key` (V16) names them. One writer at a time.

    `header` is what the file says of itself; `damaged` counts blocks left out when opening.
    Raises InputError when another process has it open, or the file says something else.
    """

    def __init__(self, path: Path, record: np.dtype[np.void], header: Mapping[str, Any]) -> None:
        self.path = path
        self.damaged = 0
        self.record = record
        self._header = json.dumps({**header, "record": record.itemsize}).encode() + b"\n"
        self._file = self._lock()
        self._waiting: list[NDArray[np.void]] = []
        self._place: dict[bytes, int] = {}  # key → where its record starts in the file
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    def get(self, keys: Sequence[bytes]) -> NDArray[np.void]:
        """Records, (keys,), that were there when the file was opened."""
        size, handle = self.record.itemsize, self._file.fileno()
        found = [os.pread(handle, size, self._place[key]) for key in keys]
        return np.frombuffer(b"".join(found), dtype=self.record)

    def add(self, records: NDArray[np.void]) -> None:
        """Append records; they reach the disk by the block, and when closing."""
        self._waiting.append(records)
        if sum(map(len, self._waiting)) >= _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write and sync what waits."""
        if not any(map(len, self._waiting)):
            return
        block = np.concatenate(self._waiting).tobytes()
        records = len(block) // self.record.itemsize
        start = _MAGIC, records, zlib.crc32(block)
        head = _HEAD.pack(*start, zlib.crc32(_HEAD.pack(*start, 0)))
        self._file.write(head + block)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._waiting.clear()

    def close(self) -> None:
        """Write what is left and give the file back."""
        try:
            self.flush()
        finally:
            self._file.close()  # gives the lock back too

    def _lock(self) -> Any:
        file = self.path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InputError(
                f"{self.path}: another process is computing visual features with this encoder. "
                "Wait for it to end."
            ) from None
        return file

    def _read(self) -> None:
        self._file.seek(0)
        header = self._file.readline(4096)
        size = self.path.stat().st_size
        if size <= len(header) and header != self._header:  # new, or cut short at its first write
            self._file.truncate(0)
            self._file.write(self._header)
            self._file.flush()
            return
        if header != self._header:
            raise InputError(
                f"{self.path}: is no cache of this encoder and version. "
                "Remove it; its features will be computed again."
            )
        end = self._read_blocks(len(header), size)
        if end < size:
            self._file.truncate(end)

    def _read_blocks(self, start: int, size: int) -> int:
        """Find the records of sound blocks from `start` on; where the last readable block ends."""
        step = self.record.itemsize
        while start + _HEAD.size <= size:
            self._file.seek(start)
            magic, records, body_sum, head_sum = _HEAD.unpack(self._file.read(_HEAD.size))
            expected = zlib.crc32(_HEAD.pack(magic, records, body_sum, 0))
            if magic != _MAGIC or head_sum != expected:
                self.damaged += 1  # without its length nothing behind it can be found
                break
            first = start + _HEAD.size
            if first + records * step > size:
                break
            body = self._file.read(records * step)
            if zlib.crc32(body) == body_sum:
                keys = np.frombuffer(body, dtype=self.record)["key"]
                self._place.update((key.tobytes(), first + i * step) for i, key in enumerate(keys))
            else:
                self.damaged += 1
            start = first + records * step
        return start
