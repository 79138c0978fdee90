"""Compiled loop over candidates: their packed rows to features, or straight to scores.

What is known of the query is spread out in small tables first, so that a candidate's part costs
one look-up for each of its terms, classes or categories. Rows are asked of memory some candidates
ahead, so that its latency is hidden behind arithmetic.

Features that are another one times a number of the request (a share, a relative count, a cross)
are not made here: the caller folds that number into a weight or a column.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pinjoin.core._simd_kernel import count_bits, prefetch_far
from pinjoin.features.pair_schema import (
    ADAMIC_ADAR,
    CATEGORIES,
    COUNT,
    COUNT_PER_ROOT,
    FACTORS,
    FC6,
    FC8,
    JACCARD,
    LOG_ADAMIC_ADAR,
    LOG_COUNT,
    LOG_LIFT,
    LOG_VISITS,
    NAVBOOST,
    OWN,
    RESOURCES,
    SAID_BOTH,
    SEEN_BOTH,
    SORTED_BOTH,
    TERMS,
    TOPICS,
    VISITS,
    VISITS_PER_ROOT,
    VISITS_SCALE,
)  # fmt: skip

_U = np.uint64
_F = np.float32
BLOCK = 32
"""Candidates whose rows are on their way from memory while others are described."""

TERM_SLOTS = 1024
"""Of the table of a query's at most 32 terms: a few multipliers tried, and no two collide."""

_ODD = _U(0x9E3779B97F4A7C15)
_LOW, _HALF, _TO_SLOT = _U(0xFFFFFFFF), _U(32), _U(22)
_DENSE = _U(64)
_LINE_WORDS = _U(8)


class Views(NamedTuple):
    """The same bytes of packed rows as numbers of each size, flat."""

    words: Any  # uint64
    floats: Any  # float32
    ints: Any  # uint32
    shorts: Any  # uint16
    signed: Any  # int8
    bytes: Any  # uint8


class Places(NamedTuple):
    """Where the parts of a row begin, in numbers of their size, and how many numbers they have."""

    row_words: Any  # uint64, as all of these
    bits: Any
    words: Any
    header: Any
    quality: Any
    n_quality: Any
    term_ids: Any
    term_weights: Any
    terms: Any
    class_ids: Any
    class_values: Any
    classes: Any
    category_ids: Any
    shares: Any
    categories: Any
    topics: Any
    n_topics: Any
    factors: Any
    n_factors: Any
    flags: Any


class Signals(NamedTuple):
    """What retrieval knows of each candidate, (n,)."""

    counts: Any  # uint32
    walk: Any  # float32, as those below
    adamic_adar: Any
    resource_allocation: Any
    navboost: Any  # empty: none


class Tables(NamedTuple):
    """Scratch. classes and categories are zero between calls."""

    terms: Any  # uint64 (TERM_SLOTS,): the number of a term << 32 | its weight
    classes: Any  # int8 (65536,)
    categories: Any  # uint8 (65536,)


def new_tables() -> Tables:
    """For one call of `describe` after another."""
    slots = np.empty(TERM_SLOTS, np.uint64)
    return Tables(slots, np.zeros(65_536, np.int8), np.zeros(65_536, np.uint8))


@njit(cache=True, nogil=True)
def describe(
    rows: Any, views: Any, places: Any, query: Any, signals: Any, log_boards: Any, tables: Any,
    weights: Any, shifts: Any, source: Any, factor: Any, matrix: Any, scores: Any,
) -> None:  # fmt: skip
    """What is made of candidates, or its weighted sum.

    rows: uint32 (n,). query: views of its row. log_boards: ln of the boards of the catalogue.
    matrix: float32 (n, F), whose column j becomes source[j] of what is made × factor[j]; or
    (0, F): not wanted. scores: float32 (n,) or empty, becomes Σ weights × what is made, of the
    candidate's own columns less shifts; weights, shifts: float32 (OWN + own columns,).
    """
    words, floats, ints, shorts, signed, octets = views
    counts, walk, adamic_adar, resources, navboost = signals
    p = places
    boards, log_own = query.floats[p.header + _U(5)], query.floats[p.header + _U(7)]
    code = query.words[: p.words]
    topics = query.signed[p.topics : p.topics + p.n_topics]
    factors = query.signed[p.factors : p.factors + p.n_factors]
    own_flags, row_bytes = query.bytes[p.flags], p.row_words * _U(8)
    slots, classes, categories = tables
    multiplier = _spread_terms(
        query.ints[p.term_ids : p.term_ids + p.terms],
        query.bytes[p.term_weights : p.term_weights + p.terms],
        slots,
    )
    for j in range(p.classes):
        classes[query.shorts[p.class_ids + j]] = query.signed[p.class_values + j]
    for j in range(p.categories):
        categories[query.shorts[p.category_ids + j]] |= query.bytes[p.shares + j]
    x = np.zeros(_U(OWN) + p.n_quality, np.float32)
    n = _U(len(rows))
    flags = np.empty(_U(2 * BLOCK), np.uint8)
    for i in range(min(n, _U(BLOCK))):
        flags[i] = octets[_U(rows[i]) * row_bytes + p.flags]
    for i in range(n):
        if i & _U(BLOCK - 1) == _U(0):
            # Reading from a row of each page tells the processor where the page is. To ask for a
            # line does not: where that takes long, it gives up.
            for j in range(i + _U(BLOCK), min(i + _U(2 * BLOCK), n)):
                flags[j & _U(2 * BLOCK - 1)] = octets[_U(rows[j]) * row_bytes + p.flags]
        if i + _U(BLOCK) < n:
            ahead = _U(rows[i + _U(BLOCK)]) * p.row_words
            for line in range(_U(0), p.row_words, _LINE_WORDS):
                prefetch_far(words, ahead + line)
        row = _U(rows[i]) * p.row_words
        row4, row2, row1 = row * _U(2), row * _U(4), row * _U(8)
        header = row4 + p.header
        both = own_flags & flags[i & _U(2 * BLOCK - 1)]

        different = _U(0)
        for w in range(p.words):
            different += count_bits(code[w] ^ words[row + w])
        seen = _F(both & _U(1))
        x[FC6] = (_F(1.0) - _F(different) / _F(p.bits)) * seen
        x[SEEN_BOTH] = seen

        total = np.int64(0)
        for j in range(p.classes):
            value = np.int64(classes[_U(shorts[row2 + p.class_ids + j])])
            total += value * np.int64(signed[row1 + p.class_values + j])
        x[FC8] = _F(total) * floats[header]

        total = np.int64(0)
        for j in range(p.terms):
            id = _U(ints[row4 + p.term_ids + j])
            slot = slots[((id * multiplier) & _LOW) >> _TO_SLOT]
            weight = slot & _U(255) if slot >> _HALF == id else _U(0)
            total += np.int64(weight) * np.int64(octets[row1 + p.term_weights + j])
        x[TERMS] = _F(total) * floats[header + _U(1)]
        x[SAID_BOTH] = (both >> _U(1)) & _U(1)

        x[TOPICS] = _dot(topics, signed, row1 + p.topics) * floats[header + _U(2)]
        x[FACTORS] = _dot(factors, signed, row1 + p.factors) * floats[header + _U(3)]

        total = np.int64(0)
        for j in range(p.categories):
            share = np.int64(categories[_U(shorts[row2 + p.category_ids + j])])
            total += share * np.int64(octets[row1 + p.shares + j])
        x[CATEGORIES] = _F(total) * floats[header + _U(4)]
        x[SORTED_BOTH] = (both >> _U(2)) & _U(1)

        own, per_root = floats[header + _U(5)], floats[header + _U(6)]
        count = _F(counts[i])
        log_count = _ln(count)
        x[COUNT] = count
        x[LOG_COUNT] = _ln(_F(1.0) + count)
        x[COUNT_PER_ROOT] = count * per_root
        x[JACCARD] = count / max(boards + own - count, _F(1.0))
        lift = log_count + log_boards - log_own - floats[header + _U(7)]
        x[LOG_LIFT] = lift if count > 0 else _F(0.0)
        x[VISITS] = walk[i]
        x[LOG_VISITS] = _ln(_F(1.0) + walk[i] * _F(VISITS_SCALE))
        x[VISITS_PER_ROOT] = walk[i] * per_root
        x[ADAMIC_ADAR] = adamic_adar[i]
        x[LOG_ADAMIC_ADAR] = _ln(_F(1.0) + adamic_adar[i])
        x[RESOURCES] = resources[i]
        x[NAVBOOST] = navboost[i] if len(navboost) > 0 else _F(0.0)
        for j in range(p.n_quality):
            x[_U(OWN) + j] = floats[row4 + p.quality + j]
        if len(matrix) > 0:
            for j in range(_U(len(source))):
                matrix[i, j] = x[source[j]] * factor[j]
        else:
            score = _F(0.0)
            for j in range(_U(OWN)):
                score += x[j] * weights[j]
            for j in range(p.n_quality):
                score += (x[_U(OWN) + j] - shifts[_U(OWN) + j]) * weights[_U(OWN) + j]
            scores[i] = score
    for j in range(p.classes):
        classes[query.shorts[p.class_ids + j]] = 0
    for j in range(p.categories):
        categories[query.shorts[p.category_ids + j]] = 0


@njit(cache=True, nogil=True)
def _spread_terms(ids: Any, weights: Any, slots: Any) -> Any:
    """Put the query's terms where no two collide; the multiplier that does it."""
    multiplier = _ODD
    while True:
        slots[:] = _LOW << _HALF
        collides = False
        for i in range(len(ids)):
            slot = ((_U(ids[i]) * multiplier) & _LOW) >> _TO_SLOT
            if weights[i] > 0:
                collides |= slots[slot] & _LOW != 0
                slots[slot] = _U(ids[i]) << _HALF | _U(weights[i])
        if not collides:
            return multiplier
        multiplier = multiplier * _ODD


@njit(cache=True, nogil=True, inline="always")
def _dot(vector: Any, signed: Any, first: Any) -> Any:
    """Inner product of a vector with the numbers from `first` on."""
    total = np.int32(0)
    for j in range(_U(len(vector))):
        total = np.int32(total + np.int32(vector[j]) * np.int32(signed[first + j]))
    return _F(total)


@njit(cache=True, nogil=True, inline="always")
def _ln(x: Any) -> Any:
    return _F(np.log(x))
