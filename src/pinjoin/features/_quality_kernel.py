"""Compiled loops from the pins of images to what is counted of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

NO_TIME = -(2**63)


@njit(cache=True, nogil=True)
def count_saves(
    rows: Any, indptr: Any, pins: Any, boards: Any, times: Any, left_out: Any, n_boards: Any
) -> Any:
    """int64 (rows, 4): pins, distinct boards, dated pins and the first of their times.

    boards: uint32 (pins,), ≥ n_boards = none. times: int64 (pins,), NO_TIME = unknown; or empty:
    all are. left_out: bool (pins,), pins that do not count.
    """
    counts = np.zeros((len(rows), 4), np.int64)
    seen = np.full(n_boards, -1, np.int64)
    any_dated = len(times) > 0
    for r in range(len(rows)):
        n_pins = n_distinct = n_dated = first = 0
        for p in range(indptr[rows[r]], indptr[rows[r] + 1]):
            pin = pins[p]
            if left_out[pin]:
                continue
            n_pins += 1
            board = boards[pin]
            if board < n_boards and seen[board] != r:
                seen[board] = r
                n_distinct += 1
            if any_dated and times[pin] != NO_TIME:
                first = min(first, times[pin]) if n_dated else times[pin]
                n_dated += 1
        counts[r, 0], counts[r, 1], counts[r, 2], counts[r, 3] = n_pins, n_distinct, n_dated, first
    return counts


@njit(cache=True, nogil=True)
def means_of_pins(indptr: Any, pins: Any, values: Any, most: Any) -> Any:
    """float64 (images,): the mean of the finite values of each image's pins; NaN where none is.

    values: float64 (pins,). What is beyond ±most counts as ±most, so that no sum overflows.
    """
    means = np.full(len(indptr) - 1, np.nan)
    for image in range(len(means)):
        total, n = 0.0, 0
        for p in range(indptr[image], indptr[image + 1]):
            value = values[pins[p]]
            if np.isfinite(value):
                total += min(max(value, -most), most)
                n += 1
        if n:
            means[image] = min(max(total / n, -most), most)
    return means
