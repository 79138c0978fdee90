"""Visual features on disk: appended as they are computed, so a crash or a rerun loses little.

One file per encoder. After a header line come blocks: a fixed head (magic, number of records,
checksum) and the records, each a 16-byte hash of the picture's key and its features. A block
that was cut short by a crash ends the file; a block whose checksum fails is left out, and what
it held is computed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinjoin.core.errors import InputError
from pinjoin.features.visual import Encoder, Visual

FORMAT = 1
_MAGIC = b"PJVB"
_HEAD = struct.Struct("<4sIII")  # magic, records, checksum of the records, checksum of this head
_FLUSH_AT = 256  # records; what a crash may lose


def record_type(encoder: Encoder) -> np.dtype[np.void]:
    """One picture's record: key hash, packed bits and, with fc8, ids and values."""
    parts: list[Any] = [("key", "V16"), ("bits", "u1", (-(-encoder.bits // 8),))]
    if encoder.card.fc8:
        keep = encoder.card.fc8.keep
        parts += [("ids", "<u2", (keep,)), ("values", "<f2", (keep,))]
    return np.dtype(parts)


def key_hash(key: str | bytes) -> bytes:
    """16 bytes that stand for a picture's key (its signature, or its file's content)."""
    return hashlib.blake2b(key.encode() if isinstance(key, str) else key, digest_size=16).digest()


class EmbeddingCache:
    """Features by key hash, for one encoder, in `folder`. A context manager; one writer at a time.

    Leaving the context writes what is left. `damaged` counts blocks left out when opening.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{encoder.card.name}-{encoder.digest[:16]}.visual"
        self.damaged = 0
        self._type = record_type(encoder)
        about = {"format": FORMAT, "encoder": encoder.digest, "record": self._type.itemsize}
        self._header = json.dumps(about).encode() + b"\n"
        self._file = self._lock()
        self._waiting: list[NDArray[np.void]] = []
        try:
            self._records = self._read()
        except BaseException:
            self._file.close()
            raise
        self._row = {key.tobytes(): row for row, key in enumerate(self._records["key"])}

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.flush()
        finally:
            self._file.close()  # gives the lock back too

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, key: bytes) -> bool:
        return key in self._row

    def get(self, keys: Sequence[bytes]) -> Visual:
        """Features of key hashes that were there when the cache was opened."""
        found = self._records[[self._row[key] for key in keys]]
        sparse = "ids" in (self._type.names or ())
        ids, values = (found["ids"], found["values"]) if sparse else (None, None)
        return Visual(found["bits"], ids, values)

    def add(self, keys: Sequence[bytes], visual: Visual) -> None:
        """Append features; they reach the disk by the block, and at the end."""
        block = np.zeros(len(keys), dtype=self._type)
        block["key"] = np.frombuffer(b"".join(keys), dtype="V16")
        block["bits"] = visual.bits
        if visual.ids is not None:
            block["ids"], block["values"] = visual.ids, visual.values
        self._waiting.append(block)
        if sum(map(len, self._waiting)) >= _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write and sync what waits."""
        if not self._waiting:
            return
        block = np.concatenate(self._waiting).tobytes()
        records = len(block) // self._type.itemsize
        start = _MAGIC, records, zlib.crc32(block)
        head = _HEAD.pack(*start, zlib.crc32(_HEAD.pack(*start, 0)))
        self._file.write(head + block)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._waiting.clear()

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

    def _read(self) -> NDArray[np.void]:
        self._file.seek(0)
        header = self._file.readline(4096)
        size = self.path.stat().st_size
        if size <= len(header) and header != self._header:  # new, or cut short at its first write
            self._file.truncate(0)
            self._file.write(self._header)
            self._file.flush()
            return np.empty(0, dtype=self._type)
        if header != self._header:
            raise InputError(
                f"{self.path}: is no cache of this encoder in format {FORMAT}. "
                "Remove it; its features will be computed again."
            )
        blocks, end = self._blocks(len(header), size)
        if end < size:
            self._file.truncate(end)
        return np.concatenate(blocks) if blocks else np.empty(0, dtype=self._type)

    def _blocks(self, start: int, size: int) -> tuple[list[NDArray[np.void]], int]:
        """Sound blocks from `start` on, and where the last readable block ends."""
        blocks = []
        while start + _HEAD.size <= size:
            self._file.seek(start)
            head = self._file.read(_HEAD.size)
            magic, records, body_sum, head_sum = _HEAD.unpack(head)
            expected = zlib.crc32(_HEAD.pack(magic, records, body_sum, 0))
            length = records * self._type.itemsize
            if magic != _MAGIC or head_sum != expected:
                self.damaged += 1  # without its length nothing behind it can be found
                break
            if start + _HEAD.size + length > size:
                break
            body = self._file.read(length)
            if zlib.crc32(body) == body_sum:
                blocks.append(np.frombuffer(body, dtype=self._type))
            else:
                self.damaged += 1
            start += _HEAD.size + length
        return blocks, start
