"""Scores past the plain count: every image seen is scored, then a radix sort keeps the best."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from pinjoin.candidates._cooccurrence_kernel import count_pairs, flagged_groups
from pinjoin.core._incidence_kernel import span
from pinjoin.core._simd_kernel import append_lanes, lanes_above
from pinjoin.core._topk_kernel import descending_keys, top_k_order

_U = np.uint64
_GROUP = _U(6)
COSINE, JACCARD, LIFT, LLR, WEIGHTED = range(5)
UNIT = 2.0**32
"""Board weights are whole multiples of 1 / UNIT: sums are exact, whatever their order."""


@njit(cache=True, nogil=True)
def _add_weights(boards: Any, weights: Any, by_board: Any, sums: Any) -> None:
    bounds, step, images = by_board
    for i in range(_U(len(boards))):
        board = _U(boards[i])
        first, last = span(bounds, step, board)
        for p in range(first, last):
            sums[_U(images[p])] += weights[board]


@njit(cache=True, nogil=True)
def _seen(counters: Any, groups: Any, n_groups: Any, rows: Any) -> Any:
    """All rows seen, ascending."""
    n_rows = _U(0)
    for i in range(n_groups):
        row = _U(groups[i]) << _GROUP
        n_rows = append_lanes(lanes_above(counters, row, np.uint32(0)), row, rows, n_rows)
    return n_rows


@njit(cache=True, nogil=True)
def _x_log_x(x: Any) -> Any:
    return x * math.log(x) if x > 0 else 0.0


@njit(cache=True, nogil=True)
def _log_likelihood_ratio(both: Any, q: Any, c: Any, n: Any) -> Any:
    """Dunning (1993), negative where the two meet less often than by chance."""
    only_q, only_c = q - both, c - both
    neither = n - q - c + both
    rows = _x_log_x(q) + _x_log_x(n - q)
    columns = _x_log_x(c) + _x_log_x(n - c)
    cells = _x_log_x(both) + _x_log_x(only_q) + _x_log_x(only_c) + _x_log_x(neither)
    ratio = max(0.0, 2.0 * (cells - rows - columns + _x_log_x(n)))
    return ratio if both * n >= q * c else -ratio


@njit(cache=True, nogil=True)
def score_block(
    first: Any,
    last: Any,
    k: Any,
    min_count: Any,
    kind: Any,
    by_image: Any,
    by_board: Any,
    n_boards: Any,
    degrees: Any,
    board_weights: Any,
    image_factors: Any,
    scratch: Any,
    out_indptr: Any,
    out_rows: Any,
    out_counts: Any,
    out_scores: Any,
) -> None:
    """Top k of the queries [first, last) by a score. Counters, flags and sums of `scratch` are all
    zero on entry and exit."""
    counters, flags, groups, rows, counts, sums, scores, keys, order, spare, bins = scratch
    bounds, step, image_boards = by_image
    n_boards = float(n_boards)
    at = _U(out_indptr[0])
    for query in range(_U(first), _U(last)):
        begin, end = span(bounds, step, query)
        count_pairs(begin, end, image_boards, by_board, counters, flags)
        if kind == WEIGHTED:
            _add_weights(image_boards[begin:end], board_weights, by_board, sums)
            sums[query] = _U(0)
        counters[query] = 0
        found = _seen(counters, groups, flagged_groups(flags, groups), rows)
        n = _U(0)
        q = float(degrees[query])
        for i in range(found):
            row = _U(rows[i])
            count = counters[row]
            counters[row] = 0
            both, c = float(count), float(degrees[row])
            score = 0.0
            if kind == COSINE:
                score = both / math.sqrt(q * c)
            elif kind == JACCARD:
                score = both / (q + c - both)
            elif kind == LIFT:
                score = both * n_boards / (q * c)
            elif kind == LLR:
                score = _log_likelihood_ratio(both, q, c, n_boards)
            else:
                score = float(sums[row]) / UNIT * image_factors[query] * image_factors[row]
                sums[row] = _U(0)
            if count >= np.uint32(min_count):
                rows[n] = np.uint32(row)
                counts[n] = count
                scores[n] = np.float32(score)
                n += _U(1)
        descending_keys(scores, n, keys)
        kept = _U(0)
        if n > _U(0):
            kept = top_k_order(k, n, keys, order, spare, bins)
        for i in range(kept):
            out_rows[at] = rows[order[i]]
            out_counts[at] = counts[order[i]]
            out_scores[at] = scores[order[i]]
            at += _U(1)
        out_indptr[query - _U(first) + _U(1)] = at
