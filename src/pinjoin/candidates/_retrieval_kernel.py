"""Candidates once each, and what boards and walks say of them: the inner loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pinjoin.core._incidence_kernel import span

_U = np.uint64
_COUNT, _RARE, _SHARE, _WALK = _U(0), _U(1), _U(2), _U(3)


@njit(cache=True, nogil=True)
def first_of_each(
    query: Any,
    found: Any,
    sources: Any,
    eligible: Any,
    most: Any,
    visited: Any,
    visits: Any,
    graph: Any,
    sums: Any,
    out: Any,
) -> Any:
    """The found rows where each comes first, up to `most`, with what is known of them; how many.

    eligible: (images,) bool, or empty: all are. visited, visits: rows and scores of the walk.
    sums (images, 4) float32 is zero before and after; 16 bytes an image, so that one costs one
    cache line. Boards are added in row order: the same sums in every run.
    out: rows, sources, counts, Σ 1 / ln(size) and Σ 1 / size over the shared boards, walk score.
    """
    (image_bounds, image_step, image_boards), (bounds, step, board_images) = graph
    rows, kinds, counts, adamic_adar, resource_allocation, walk = out
    first, last = span(image_bounds, image_step, _U(query))
    boards = image_boards[first:last]
    for board in boards:
        first, last = span(bounds, step, _U(board))
        size = np.float64(last - first)
        rare, share = np.float32(1.0 / np.log(max(size, 2.0))), np.float32(1.0 / size)
        for p in range(first, last):
            row = _U(board_images[p])
            sums[row, _COUNT] += np.float32(1.0)
            sums[row, _RARE] += rare
            sums[row, _SHARE] += share
    for i in range(len(visited)):
        sums[_U(visited[i]), _WALK] = visits[i]
    n = 0
    sums[_U(query), _COUNT] = np.float32(-1.0)  # a count below 0: taken
    for i in range(len(found)):
        row = _U(found[i])
        if n == most:
            break
        if sums[row, _COUNT] < 0 or (len(eligible) > 0 and not eligible[row]):
            continue
        rows[n], kinds[n] = found[i], sources[i]
        counts[n] = np.uint32(sums[row, _COUNT])
        adamic_adar[n], resource_allocation[n] = sums[row, _RARE], sums[row, _SHARE]
        walk[n] = sums[row, _WALK]
        sums[row, _COUNT] = np.float32(-1.0)
        n += 1
    for board in boards:
        first, last = span(bounds, step, _U(board))
        for p in range(first, last):
            _clear(sums, _U(board_images[p]))
    for i in range(len(visited)):
        sums[_U(visited[i]), _WALK] = np.float32(0.0)
    for i in range(n):
        _clear(sums, _U(rows[i]))
    _clear(sums, _U(query))
    return n


@njit(cache=True, nogil=True, inline="always")
def _clear(sums: Any, row: Any) -> None:
    sums[row, _COUNT] = np.float32(0.0)
    sums[row, _RARE] = np.float32(0.0)
    sums[row, _SHARE] = np.float32(0.0)
