"""The last resorts, which never run dry: what is on most boards, in a category or anywhere."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pinjoin.core.types import UInt32s

_BLOCK = 1 << 16  # rows looked at before asking whether they are enough


def popular_in_categories(
    wanted: Iterable[int], categories: npt.NDArray[np.uint16], k: int
) -> UInt32s:
    """The k most popular images of the first wanted category, then of the next; each once.

    categories: (images, keep) uint16, the categories of each image. Rows are in order of
    popularity, so the first rows that have a category are its most popular.
    """
    found = np.empty(0, np.uint32)
    for category in wanted:
        parts = [found]
        missing = k - len(found)
        for first in range(0, len(categories), _BLOCK):
            if missing <= 0:
                break
            here = (categories[first : first + _BLOCK] == category).any(axis=1)
            rows = (first + np.flatnonzero(here)).astype(np.uint32)
            rows = rows[~np.isin(rows, found)]
            parts.append(rows)
            missing -= len(rows)
        found = np.concatenate(parts)[:k]
    return found


def most_popular(n_images: int, k: int) -> UInt32s:
    """The k most popular images of all."""
    return np.arange(min(k, n_images), dtype=np.uint32)
