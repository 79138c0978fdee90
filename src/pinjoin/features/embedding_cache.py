"""Visual features on disk, appended as they are computed: only new pictures are looked at.

An encoder has one file of what is compared (bits, fc8), and one more of real-valued fc6 if that
is kept: turning it on or off loses nothing of what is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from pinjoin.core.closing import Closing
from pinjoin.features.record_file import RecordFile
from pinjoin.features.visual import Encoder, Visual

FORMAT = 1


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


class EmbeddingCache(Closing):
    """Features by key hash, for one encoder, in `folder`. A context manager; one writer at a time.

    With `keep_fc6` a picture is known only if its real-valued fc6 is. Leaving the context writes
    what is left. `damaged` counts blocks left out when opening. Raises InputError when another
    process has the cache open.
    """

    def __init__(self, folder: Path, encoder: Encoder, keep_fc6: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{encoder.card.name}-{encoder.digest[:16]}"
        about = {"format": FORMAT, "encoder": encoder.digest}
        self._fc6: RecordFile | None = None
        with ExitStack() as stack:
            self._seen = RecordFile(folder / f"{name}.visual", record_type(encoder), about)
            stack.callback(self._seen.close)
            if keep_fc6:
                record = np.dtype([("key", "V16"), ("fc6", "<f2", (encoder.card.fc6.units,))])
                self._fc6 = RecordFile(folder / f"{name}.fc6", record, about)
                stack.callback(self._fc6.close)
            self._files = stack.pop_all()

    def close(self) -> None:
        """Write what is left."""
        self._files.close()

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, key: bytes) -> bool:
        return key in self._seen and (self._fc6 is None or key in self._fc6)

    @property
    def damaged(self) -> int:
        return self._seen.damaged + (self._fc6.damaged if self._fc6 else 0)

    def get(self, keys: Sequence[bytes]) -> Visual:
        """Features of key hashes that were there when the cache was opened."""
        found = self._seen.get(keys)
        sparse = "ids" in (found.dtype.names or ())
        ids, values = (found["ids"], found["values"]) if sparse else (None, None)
        fc6 = None if self._fc6 is None else self._fc6.get(keys)["fc6"]
        return Visual(found["bits"], ids, values, fc6)

    def add(self, keys: Sequence[bytes], visual: Visual) -> None:
        """Append features; they reach the disk by the block, and at the end."""
        _append(self._seen, keys, bits=visual.bits, ids=visual.ids, values=visual.values)
        if self._fc6 is not None:
            _append(self._fc6, keys, fc6=visual.fc6)


def _append(file: RecordFile, keys: Sequence[bytes], **parts: Any) -> None:
    """Add records but for those that are known: fc6 may lack where the rest is there."""
    new = [row for row, key in enumerate(keys) if key not in file]
    records = np.zeros(len(new), dtype=file.record)
    records["key"] = np.frombuffer(b"".join(keys[row] for row in new), dtype="V16")
    for name, values in parts.items():
        if values is not None:
            records[name] = values[new]
    file.add(records)
