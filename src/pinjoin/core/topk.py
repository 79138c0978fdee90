"""Deterministic top-k."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check


def top_k(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.uint32]:
    """Positions of the k highest scores, highest first, ties by position, NaN last.

    scores: (n,) float32. Returns (min(k, n),) uint32; top_k(s, k) is a prefix of top_k(s, k + 1).

    >>> top_k(np.array([0.5, 2.0, 0.5, 1.0], np.float32), 3).tolist()
    [1, 3, 0]
    """
    from pinjoin.core._topk_kernel import descending_keys, top_k_order

    check(k >= 0, "k", "top_k", "a number ≥ 0", k)
    scores = np.ascontiguousarray(scores, np.float32)
    n = len(scores)
    if n == 0 or k == 0:
        return np.empty(0, np.uint32)
    keys, order, spare = np.empty((3, n), np.uint32)
    descending_keys(scores, n, keys)
    found = top_k_order(k, n, keys, order, spare, np.empty(2048, np.uint64))
    return order[:found]


def top_rows(
    scores: npt.NDArray[np.float32], rows: npt.NDArray[np.uint32], k: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    """The k rows of highest score and their scores, highest first, ties by row.

    scores: (n,) float32, none NaN; rows: (n,) uint32 in any order.

    >>> found, scores = top_rows(np.array([2, 5, 2], np.float32), np.array([9, 4, 7], np.uint32), 2)
    >>> found.tolist(), scores.tolist()
    ([4, 7], [5.0, 2.0])
    """
    check(k >= 0, "k", "top_rows", "a number ≥ 0", k)
    bits = (np.asarray(scores, np.float32) + np.float32(0)).view(np.uint32)  # −0 is 0
    sign = np.uint32(1 << 31)
    rising = np.where(bits & sign, ~bits, bits | sign)  # ordered as the scores are
    keys = (~rising).astype(np.uint64) << np.uint64(32) | rows
    if k < len(keys):
        keys = np.partition(keys, k)[:k]
    keys.sort()
    rising = ~(keys >> np.uint64(32)).astype(np.uint32)
    found = np.where(rising & sign, rising & ~sign, ~rising).astype(np.uint32)
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32), found.view(np.float32)
