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
) -> npt.NDArray[np.int64]:
    """Positions of the k highest scores, highest first, ties by row.

    scores: (n,) float32, none NaN; rows: (n,) uint32 in any order.

    >>> top_rows(np.array([2, 5, 2], np.float32), np.array([9, 4, 7], np.uint32), 2).tolist()
    [1, 2]
    """
    check(k >= 0, "k", "top_rows", "a number ≥ 0", k)
    n = len(scores)
    if 0 < k < n:
        lowest = np.partition(scores, n - k)[n - k]
        some = np.flatnonzero(scores >= lowest)
    else:
        some = np.arange(n if k else 0)
    best: npt.NDArray[np.int64] = some[np.lexsort((rows[some], -scores[some]))[:k]]
    return best
