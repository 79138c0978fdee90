"""Near-duplicates by their codes: pictures that differ in a few bits only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.types import UInt32s


class HammingCopies:
    """Two images whose fc6 codes differ in at most `limit` bits are near-duplicates.

    codes: (images, bytes) uint8, bytes a multiple of 8; present: (images,) bool, which have one.
    """

    def __init__(
        self, codes: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_], limit: int
    ) -> None:
        whole = codes.ndim == 2 and codes.shape[1] % 8 == 0
        check(whole, "codes", "HammingCopies", "(images, a multiple of 8)", codes.shape)
        check(limit >= 0, "limit", "HammingCopies", "a number of bits ≥ 0", limit)
        self._words = codes.view(np.uint64)
        self._present = present
        self._limit = limit

    def distinct(self, rows: UInt32s, shown: UInt32s) -> npt.NDArray[np.bool_]:
        """(rows,) bool: False where a row is a near-duplicate of one shown or of an earlier row
        that is not itself one. Takes time with (rows × (shown + rows))."""
        from pinjoin.candidates._blend_kernel import distinct

        kept = np.empty(len(shown) + len(rows), np.uint32)
        kept[: len(shown)] = shown
        new = np.empty(len(rows), np.bool_)
        distinct(self._words, self._present, rows, kept, len(shown), self._limit, new)
        return new
