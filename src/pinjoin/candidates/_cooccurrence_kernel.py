"""Counting board co-occurrences: the inner loops.

One query at a time: every board of the query is walked and the counter of every image on it goes
up by one. Three ideas make that cheap, none changes a result:

* While counting, the group of 64 rows of every image is flagged. Afterwards only flagged groups
  are read, in row order, so that ties come out in row order without sorting, and each is zeroed
  while it is in the first cache.
* Images seen once (four of five, paper Fig. 5) are told from the rest by one vector comparison
  and never enter the histogram: a counting threshold over the few others replaces a heap.
* Counters are bytes for queries on at most 255 boards, nearly all: 2 M of them fit the second
  cache, and 64 are one vector.

Indices are uint64 throughout: numba guards signed ones against negative values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pinjoin.core._incidence_kernel import span
from pinjoin.core._simd_kernel import (
    append_lanes,
    keep_above,
    lanes_above,
    lanes_equal,
    prefetch,
)

_U = np.uint64
_AHEAD = _U(4)  # boards
_MOST_ASKED = _U(256)  # images of a board: from there on the hardware has seen the stream
_GROUP = _U(6)  # 64 rows a flag: 31 KiB of flags for 2 M images stay in the first cache


@njit(cache=True, nogil=True)
def count_pairs(
    begin: Any,
    end: Any,
    image_boards: Any,
    by_board: Any,
    counters: Any,
    flags: Any,
) -> None:
    """Raise the counter of every image on image_boards[begin:end] and flag its group of rows."""
    bounds, step, board_images = by_board
    known = _U(len(image_boards))
    for i in range(begin, end):
        if i + _AHEAD < known:  # a board is met at random: ask early, across queries too
            line, stop = span(bounds, step, _U(image_boards[i + _AHEAD]))
            stop = min(stop, line + _MOST_ASKED)
            while line < stop:
                prefetch(board_images, line)
                line += _U(16)
        first, last = span(bounds, step, _U(image_boards[i]))
        for p in range(first, last):
            row = _U(board_images[p])
            counters[row] += counters.dtype.type(1)
            flags[row >> _GROUP] = 1


@njit(cache=True, nogil=True)
def flagged_groups(flags: Any, groups: Any) -> Any:
    """Numbers of the flagged groups, ascending, to `groups`; returns how many; clears the flags."""
    n_groups = _U(0)
    zero = np.uint8(0)
    for chunk in range(_U(len(flags)) >> _GROUP):
        at = chunk << _GROUP
        mask = lanes_above(flags, at, zero)  # often 0, but a branch on that would cost more
        keep_above(flags, at, np.uint8(255))
        n_groups = append_lanes(mask, at, groups, n_groups)
    return n_groups


@njit(cache=True, nogil=True)
def _split(
    counters: Any, groups: Any, n_groups: Any, most: Any, singles: Any, repeated: Any
) -> Any:
    """Rows seen once (at least the first `most` of them), and rows seen more often, ascending.

    Counters of rows seen once are zeroed.
    """
    n_singles = n_repeated = i = _U(0)
    one = counters.dtype.type(1)
    while i < n_groups and n_singles < most:
        row = _U(groups[i]) << _GROUP
        once = lanes_equal(counters, row, one)
        more = lanes_above(counters, row, one)
        keep_above(counters, row, one)
        n_singles = append_lanes(once, row, singles, n_singles)
        n_repeated = append_lanes(more, row, repeated, n_repeated)
        i += _U(1)
    while i < n_groups:  # no more singles can get in
        row = _U(groups[i]) << _GROUP
        more = lanes_above(counters, row, one)
        keep_above(counters, row, one)
        n_repeated = append_lanes(more, row, repeated, n_repeated)
        i += _U(1)
    return n_singles, n_repeated


@njit(cache=True, nogil=True)
def _place(
    k: Any,
    counters: Any,
    singles: Any,
    n_singles: Any,
    repeated: Any,
    n_repeated: Any,
    histogram: Any,
    out_rows: Any,
    out_counts: Any,
    at: Any,
) -> Any:
    """Write the k highest counts, ties by row, to out[at:]; return the new end.

    `histogram` is all zero on entry and exit; counters of `repeated` are zeroed.
    """
    highest = np.uint32(1)
    for i in range(n_repeated):
        count = np.uint32(counters[repeated[i]])
        histogram[count] += _U(1)
        highest = max(highest, count)
    # From the top: histogram[c] becomes the place of the first row counted c.
    taken = _U(0)
    threshold = highest
    while threshold >= np.uint32(2) and taken + histogram[threshold] <= k:
        here = histogram[threshold]
        histogram[threshold] = taken
        taken += here
        threshold -= np.uint32(1)
    ties = _U(0)
    if threshold >= np.uint32(2):
        ties = k - taken
        histogram[threshold] = taken
    for i in range(n_repeated):
        row = repeated[i]
        count = np.uint32(counters[row])
        counters[row] = 0
        if count <= threshold:
            if count < threshold or ties == _U(0):
                continue
            ties -= _U(1)
        place = at + histogram[count]
        histogram[count] += _U(1)
        out_rows[place] = row
        out_counts[place] = count
    if threshold >= np.uint32(2):
        end = at + k
    else:
        n = min(k - taken, n_singles)
        start = at + taken
        for i in range(n):
            out_rows[start + i] = singles[i]
            out_counts[start + i] = 1
        end = start + n
    histogram[: _U(highest) + _U(1)] = _U(0)
    return end


@njit(cache=True, nogil=True)
def _top(
    query: Any,
    k: Any,
    min_count: Any,
    begin: Any,
    end: Any,
    image_boards: Any,
    by_board: Any,
    counters: Any,
    others: Any,
    out_rows: Any,
    out_counts: Any,
    at: Any,
) -> Any:
    flags, groups, singles, repeated, histogram = others
    count_pairs(begin, end, image_boards, by_board, counters, flags)
    counters[query] = 0  # a query is no candidate of its own
    n_groups = flagged_groups(flags, groups)
    most = k if min_count <= 1 else _U(0)
    n_singles, n_repeated = _split(counters, groups, n_groups, most, singles, repeated)
    if min_count > 1:
        n_singles = _U(0)
    return _place(
        k, counters, singles, n_singles, repeated, n_repeated, histogram, out_rows, out_counts, at
    )


@njit(cache=True, nogil=True)
def count_block(
    first: Any,
    last: Any,
    k: Any,
    min_count: Any,
    by_image: Any,
    by_board: Any,
    small: Any,
    wide: Any,
    others: Any,
    out_indptr: Any,
    out_rows: Any,
    out_counts: Any,
) -> None:
    """Top k of the queries [first, last) by count.

    out_indptr[0] says where to begin; out_rows and out_counts need room for all results. `small`
    (uint8) and `wide` (uint32; may be empty where no image is on more than 255 boards) are all
    zero on entry and exit, as are flags and histogram of `others`.
    """
    bounds, step, image_boards = by_image
    at = _U(out_indptr[0])
    for query in range(_U(first), _U(last)):
        begin, end = span(bounds, step, query)
        start = at
        if end - begin <= _U(255):
            at = _top(
                query, _U(k), min_count, begin, end, image_boards, by_board, small, others,
                out_rows, out_counts, at,
            )  # fmt: skip
        else:
            at = _top(
                query, _U(k), min_count, begin, end, image_boards, by_board, wide, others,
                out_rows, out_counts, at,
            )  # fmt: skip
        while at > start and np.uint32(out_counts[at - _U(1)]) < np.uint32(min_count):
            at -= _U(1)
        out_indptr[query - _U(first) + _U(1)] = at


@njit(cache=True, nogil=True)
def pairs_per_query(first: Any, last: Any, by_image: Any, by_board: Any) -> Any:
    """(queries,) int64: how many counter increments each of the queries [first, last) takes."""
    bounds, step, image_boards = by_image
    board_bounds, board_step, _ = by_board
    pairs = np.zeros(last - first, np.int64)
    for query in range(_U(first), _U(last)):
        begin, end = span(bounds, step, query)
        total = _U(0)
        for p in range(begin, end):
            start, stop = span(board_bounds, board_step, _U(image_boards[p]))
            total += stop - start
        pairs[query - _U(first)] = total
    return pairs


@njit(cache=True, nogil=True)
def histogram_block(
    first: Any,
    last: Any,
    image_indptr: Any,
    image_boards: Any,
    board_indptr: Any,
    board_images: Any,
    counters: Any,
    repeated: Any,
    histogram: Any,
) -> None:
    """Add to histogram[c] the pairs (image, query) that share c boards, image < query.

    `counters` are all zero on entry and exit. Rows of a board ascend, so a board is left at the
    query: half the pairs are never walked.
    """
    for query in range(_U(first), _U(last)):
        n_repeated = _U(0)
        pairs = _U(0)
        more = _U(0)
        begin, end = _U(image_indptr[query]), _U(image_indptr[query + _U(1)])
        for i in range(begin, end):
            board = _U(image_boards[i])
            for p in range(_U(board_indptr[board]), _U(board_indptr[board + _U(1)])):
                row = _U(board_images[p])
                if row >= query:
                    break
                count = counters[row] + np.uint32(1)
                counters[row] = count
                repeated[n_repeated] = row
                n_repeated += _U(count == 2)
                pairs += _U(1)
        for i in range(n_repeated):
            count = counters[repeated[i]]
            histogram[count] += 1
            more += _U(count)
        histogram[1] += pairs - more
        for i in range(begin, end):
            board = _U(image_boards[i])
            for p in range(_U(board_indptr[board]), _U(board_indptr[board + _U(1)])):
                row = _U(board_images[p])
                if row >= query:
                    break
                counters[row] = 0
