"""What came after an index was built: little, so it is scanned beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinjoin.candidates.nearest import (
    Bools,
    ExactHamming,
    HammingIndex,
    TextNeighbours,
    UInt8s,
    UInt16s,
    check_allowed,
    without,
)
from pinjoin.core.errors import check
from pinjoin.core.topk import top_rows
from pinjoin.core.types import Float32s, UInt32s


class GrowingHamming:
    """A `HammingIndex` of any other and of (m, bits / 8) codes whose rows follow. Thread-safe."""

    def __init__(self, index: HammingIndex, codes: UInt8s) -> None:
        self._index, self._added = index, ExactHamming(codes)

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


class GrowingText:
    """As `TextNeighbours`, of one and of images whose rows follow: ids, weights (m, terms of each).

    Thread-safe.
    """

    def __init__(self, index: TextNeighbours, ids: UInt32s, weights: Float32s) -> None:
        self._index, self._ids, self._weights = index, ids, weights

    def search(
        self, ids: UInt32s, weights: Float32s, k: int, *, exclude: Sequence[int] = ()
    ) -> tuple[UInt32s, Float32s]:
        """As `TextNeighbours.search`."""
        from pinjoin.candidates._nearest_kernel import text_cosines

        check(k >= 1, "k", "GrowingText.search", "a number ≥ 1", k)
        wanted = k + len(exclude)
        rows, scores = self._index.search(ids, weights, wanted)
        cosines = np.zeros(len(self._ids), np.float32)
        text_cosines(ids, weights, self._ids, self._weights, cosines)
        alike = np.flatnonzero(cosines > 0).astype(np.uint32)
        rows = np.concatenate([rows, alike + np.uint32(self._index.n_images)])
        scores = np.concatenate([scores, cosines[alike]])
        best = top_rows(scores, rows, wanted)
        return without(rows[best], scores[best], exclude, k)
