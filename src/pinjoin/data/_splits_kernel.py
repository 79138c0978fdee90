"""Draws what to hide board by board, so that no image loses more boards than it may."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def draw_saves(
    order: Any,
    draws: Any,
    board_indptr: Any,
    board_images: Any,
    degrees: Any,
    keeps: Any,
    most: Any,
    boards: Any,
    queries: Any,
    places: Any,
) -> Any:
    """Of each board in `order`, at most `most`, one save to hide and another image to ask with.

    draws: (boards of order, 2) float64 in [0, 1). degrees: (images,) boards each image is on;
    counted down in place, never below `keeps`. Fills boards, queries (rows) and places (of the
    hidden saves in board_images), returns how many; boards that have none to give are passed over.
    """
    n = 0
    for i in range(len(order)):
        if n == most:
            break
        board = order[i]
        first, last = board_indptr[board], board_indptr[board + 1]
        able = 0
        for place in range(first, last):
            able += degrees[board_images[place]] > keeps
        if able == 0 or last - first < 2:
            continue
        nth = np.int64(draws[i, 0] * able)
        place = first
        while True:
            if degrees[board_images[place]] > keeps:
                if nth == 0:
                    break
                nth -= 1
            place += 1
        asked = first + np.int64(draws[i, 1] * (last - first - 1))
        asked += asked >= place
        degrees[board_images[place]] -= 1
        boards[n], queries[n], places[n] = board, board_images[asked], place
        n += 1
    return n


@njit(cache=True, nogil=True)
def earliest(
    board_indptr: Any, board_images: Any, boards: Any, images: Any, times: Any, undated: Any
) -> Any:
    """(saves,) int64: the least of the times of the (board, image) pairs of each save.

    `undated` where it has none. Pairs that are undated or no save do not count.
    """
    n_boards = len(board_indptr) - 1
    none = np.iinfo(np.int64).max
    found = np.full(len(board_images), none)
    for i in range(len(boards)):
        if boards[i] >= n_boards or times[i] == undated:
            continue
        place, last = board_indptr[boards[i]], board_indptr[boards[i] + 1]
        end = last
        while place < end:  # images of a board ascend
            middle = (place + end) >> 1
            if board_images[middle] < images[i]:
                place = middle + 1
            else:
                end = middle
        if place < last and board_images[place] == images[i]:
            found[place] = min(found[place], times[i])
    for place in range(len(found)):
        if found[place] == none:
            found[place] = undated
    return found
