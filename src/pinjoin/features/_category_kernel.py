"""Compiled loop from the categories of boards to those of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

NO_CATEGORY = np.uint16(0xFFFF)


@njit(cache=True, nogil=True)
def category_shares(
    indptr: Any, boards: Any, categories: Any, n_categories: Any, threshold: Any, ids: Any,
    shares: Any,
) -> None:  # fmt: skip
    """Fill ids uint16 and shares float32 (images, k): the largest first, ties by category.

    categories: uint16 (boards,), NO_CATEGORY = none.
    """
    k = ids.shape[1]
    counts = np.zeros(n_categories, np.int64)
    touched = np.empty(n_categories, np.int64)
    for image in range(len(indptr) - 1):
        n = total = 0
        for p in range(indptr[image], indptr[image + 1]):
            category = np.int64(categories[boards[p]])
            if category != NO_CATEGORY:
                if counts[category] == 0:
                    touched[n] = category
                    n += 1
                counts[category] += 1
                total += 1
        held = 0
        for i in range(n):
            category = touched[i]
            count = counts[category]
            if count / total < threshold:
                continue
            at = min(held, k)
            while at > 0:
                other = np.int64(ids[image, at - 1])
                if count < counts[other] or (count == counts[other] and category > other):
                    break
                if at < k:
                    ids[image, at] = other
                at -= 1
            if at < k:
                ids[image, at] = category
                held = min(held + 1, k)
        for i in range(held):
            shares[image, i] = counts[ids[image, i]] / total
        for i in range(n):
            counts[touched[i]] = 0
