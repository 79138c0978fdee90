"""Nearest by Hamming distance in two looks: at a part of each code, then at all of the best.

1,024 of 4,096 bits tell the near from the far well enough that the nearest are among the nearest
few thousand by them, so a search reads a quarter of the bytes. Sketches are a plain array that is
copied out of the codes in no time, so that a build pays nothing for them: up to some millions of
codes they are also faster than walking a graph (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinjoin.candidates.nearest import (
    Bools,
    ExactHamming,
    UInt8s,
    UInt16s,
    as_code,
    as_codes,
    without,
)
from pinjoin.core.errors import SnapshotError, check
from pinjoin.core.types import UInt32s

SKETCH_BYTES = 128
"""Of a code's sketch; shorter codes need none."""

_LEAST, _PER_RESULT = 2_000, 6  # codes looked at whole, at least and for each one wanted


def sketches_of(codes: UInt8s) -> UInt8s:
    """(n, 128) uint8: 16 of the 64-bit words of each (n, bits / 8) code, spread evenly over it.

    Codes of at most 1,024 bits are their own sketches.
    """
    codes = as_codes(codes)
    words = codes.shape[1] // 8
    kept = min(words, SKETCH_BYTES // 8)
    chosen = codes.view(np.uint64)[:, np.arange(kept) * words // kept]
    sketches: UInt8s = np.ascontiguousarray(chosen).view(np.uint8)
    return sketches


class SketchedHamming:
    """A `HammingIndex` that looks whole only at those near by their sketches.

    Recall of the nearest 100 among 1 M is over .99, of the nearest 1,000 over .97. Distances are
    exact and the same question always has the same answer. Thread-safe; may be memory-mapped.
    """

    def __init__(self, codes: UInt8s, sketches: UInt8s, *, threads: int | None = None) -> None:
        self.exact = ExactHamming(codes, threads=threads)
        self.sketches = sketches
        self._near = ExactHamming(sketches, threads=threads)
        expected = (len(self.exact), min(self.bits // 8, SKETCH_BYTES))
        if sketches.shape != expected:
            raise SnapshotError(
                f"The sketches of {expected[0]} codes of {self.bits} bits must be of shape "
                f"{expected}. Got {sketches.shape} instead: build the snapshot again."
            )

    @property
    def bits(self) -> int:
        return self.exact.bits

    def __len__(self) -> int:
        return len(self.exact)

    def search(
        self,
        code: UInt8s,
        k: int,
        *,
        exclude: Sequence[int] = (),
        allowed: Bools | None = None,
    ) -> tuple[UInt32s, UInt16s]:
        """As `HammingIndex.search`, but for few of the nearest that may be missed."""
        check(k >= 1, "k", "SketchedHamming.search", "a number ≥ 1", k)
        as_code(code, self.bits)
        wanted = k + len(exclude)
        considered = max(_LEAST, _PER_RESULT * wanted)
        if 4 * considered >= len(self):
            return self.exact.search(code, k, exclude=exclude, allowed=allowed)
        sketch = sketches_of(code[None])[0]
        near, _ = self._near.search(sketch, considered, allowed=allowed)
        rows, distances = nearest_of(self.exact, code, near, wanted)
        return without(rows, distances, exclude, k)


def nearest_of(exact: ExactHamming, code: UInt8s, rows: UInt32s, k: int) -> tuple[UInt32s, UInt16s]:
    """The k of some rows that are nearest to a code, and their distances; ties by row."""
    distances = exact.distances(code, rows)
    order = np.lexsort((rows, distances))[:k]
    return rows[order], distances[order]
