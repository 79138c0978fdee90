"""Telling near-duplicates apart, greedily."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pinjoin.core._simd_kernel import count_bits

_U = np.uint64


@njit(cache=True, nogil=True)
def distinct(
    words: Any, present: Any, rows: Any, kept: Any, n_kept: Any, limit: Any, out: Any
) -> Any:
    """Which rows are no near-duplicate of an earlier kept one; out[i] tells, kept grows.

    words: (images, words) uint64 codes; two images that are `present` and differ in at most
    `limit` bits are near-duplicates. kept: (≥ n_kept + len(rows),) uint32. Returns the new n_kept.
    """
    n_words = _U(words.shape[1])
    for i in range(_U(len(rows))):
        row = _U(rows[i])
        copy = False
        if present[row]:
            for j in range(_U(n_kept)):
                other = _U(kept[j])
                if present[other]:
                    distance = _U(0)
                    for w in range(n_words):
                        distance += count_bits(words[row, w] ^ words[other, w])
                    if distance <= _U(limit):
                        copy = True
                        break
        out[i] = not copy
        if not copy:
            kept[_U(n_kept)] = row
            n_kept += 1
    return n_kept
