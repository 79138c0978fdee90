"""Codes that came after an index was built: few, so they are scanned beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinjoin.candidates.nearest import (
    Bools,
    ExactHamming,
    HammingIndex,
    UInt8s,
    UInt16s,
    as_codes,
    check_allowed,
    without,
)
from pinjoin.core.types import UInt32s


class GrowingHamming:
    """A `HammingIndex` of any other and of what is added to it. Searches are thread-safe."""

    def __init__(self, index: HammingIndex) -> None:
        self._index = index
        self._added = ExactHamming(np.empty((0, index.bits // 8), np.uint8))

    def add(self, codes: UInt8s) -> None:
        """(m, bits / 8) uint8 codes, at once found by `search`; their rows follow the last one."""
        self._added = ExactHamming(np.concatenate([self._added.codes, as_codes(codes)]))

    @property
    def bits(self) -> int:
        return self._index.bits

    def __len__(self) -> int:
        return len(self._index) + len(self._added)

    def search(
        self,
        code: UInt8s,
        k: int,
        *,
        exclude: Sequence[int] = (),
        allowed: Bools | None = None,
    ) -> tuple[UInt32s, UInt16s]:
        """As `HammingIndex.search`."""
        added, n = self._added, len(self._index)
        check_allowed(allowed, n + len(added))
        old, new = (None, None) if allowed is None else (allowed[:n], allowed[n:])
        wanted = k + len(exclude)
        rows, distances = self._index.search(code, wanted, allowed=old)
        new_rows, new_distances = added.search(code, wanted, allowed=new)
        rows = np.concatenate([rows, new_rows + np.uint32(n)])
        distances = np.concatenate([distances, new_distances])
        order = np.lexsort((rows, distances))
        return without(rows[order], distances[order], exclude, k)
