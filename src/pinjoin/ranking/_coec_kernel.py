"""The inner loops of COEC: one 64-bit word per event, sorted, then added up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def pack(query: Any, candidate: Any, cell: Any, done: Any, first: Any, last: Any,
         candidate_bits: Any, cell_bits: Any, done_bits: Any, out: Any) -> Any:  # fmt: skip
    """Write query − first | candidate | cell | done of the events with first ≤ query < last.

    out is uint64; returns how many were written.
    """
    n = 0
    for i in range(len(query)):
        q = query[i]
        if q < first or q >= last:
            continue
        word = np.uint64(q - first)
        word = (word << np.uint64(candidate_bits)) | np.uint64(candidate[i])
        word = (word << np.uint64(cell_bits)) | np.uint64(cell[i])
        out[n] = (word << np.uint64(done_bits)) | np.uint64(done[i])
        n += 1
    return n


@njit(cache=True, nogil=True)
def count_pairs(words: Any, shift: Any) -> Any:
    """How many values words >> shift has; words are sorted."""
    n = 0
    for i in range(len(words)):
        n += i == 0 or (words[i] >> np.uint64(shift)) != (words[i - 1] >> np.uint64(shift))
    return n


@njit(cache=True, nogil=True)
def add_up(words: Any, cell_bits: Any, done_bits: Any, rates: Any, weights: Any,
           pairs: Any, impressions: Any, actions: Any, expected: Any) -> None:  # fmt: skip
    """Sum the events of each pair: bit 0 of done is an impression, weights [2^bits] its actions.

    Impressions of one cell are counted before they are multiplied by its rate, so that a sum
    does not depend on the order of the log.
    """
    shift = np.uint64(cell_bits + done_bits)
    cell_mask = (np.uint64(1) << np.uint64(cell_bits)) - np.uint64(1)
    done_mask = (np.uint64(1) << np.uint64(done_bits)) - np.uint64(1)
    at = np.int64(-1)
    i = 0
    n = len(words)
    while i < n:
        group = words[i] >> np.uint64(done_bits)
        pair = words[i] >> shift
        if at < 0 or pairs[at] != pair:
            at += 1
            pairs[at] = pair
            impressions[at] = 0
            actions[at] = 0.0
            expected[at] = 0.0
        shown = np.int64(0)
        while i < n and words[i] >> np.uint64(done_bits) == group:
            done = words[i] & done_mask
            shown += np.int64(done & np.uint64(1))
            actions[at] += weights[done]
            i += 1
        impressions[at] += shown
        expected[at] += shown * rates[group & cell_mask]


@njit(cache=True, nogil=True)
def count_cells(cell: Any, done: Any, counts: Any) -> None:
    """counts[cell, done] += 1 for each event; counts int64 [cells, 2^bits]."""
    for i in range(len(cell)):
        counts[cell[i], done[i]] += 1
