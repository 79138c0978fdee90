"""Compiled loop over candidates: their packed rows to features, or straight to scores.

What is known of the query is spread out in small tables first, so that a candidate's part costs
one look-up for each of its terms, classes or categories. Rows are asked of memory some candidates
ahead, so that its latency is hidden behind arithmetic.

Features that are another one times a number of the request (a share, a relative count, a cross)
are not made here: the caller folds that number into a weight or a column.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pinjoin.core._simd_kernel import count_bits, prefetch_far
from pinjoin.features import pair_schema as made
from pinjoin.features import row_layout as at

_U = np.uint64
_F = np.float32
BLOCK = 32
"""Candidates whose rows are on their way from memory while others are described."""

TERM_SLOTS = 1024
"""Of the table of a query's at most 32 terms: a few multipliers tried, and no two collide."""

_ODD = _U(0x9E3779B97F4A7C15)
_LOW, _HALF, _TO_SLOT = _U(0xFFFFFFFF), _U(32), _U(22)
_TRIES = 1000
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
    (0, F): not wanted, but scores float32 (n,), which becomes Σ weights × what is made, of the
    candidate's own columns less shifts; weights, shifts: float32 (OWN + own columns,).
    """
    words, floats, ints, shorts, signed, octets = views
    counts, walk, adamic_adar, resources, navboost = signals
    terms, classes, categories = tables
    p = places
    boards, log_own = (
        query.floats[p.header + _U(at.BOARDS)],
        query.floats[p.header + _U(at.LOG_BOARDS)],
    )
    code = query.words[: p.words]
    topics = query.signed[p.topics : p.topics + p.n_topics]
    factors = query.signed[p.factors : p.factors + p.n_factors]
    multiplier = _spread_terms(
        query.ints[p.term_ids : p.term_ids + p.terms],
        query.bytes[p.term_weights : p.term_weights + p.terms],
        terms,
    )
    for j in range(p.classes):
        classes[query.shorts[p.class_ids + j]] |= query.signed[p.class_values + j]
    for j in range(p.categories):
        categories[query.shorts[p.category_ids + j]] |= query.bytes[p.shares + j]
    own_flags, row_bytes = query.bytes[p.flags], p.row_words * _U(8)
    flags = np.empty(_U(2 * BLOCK), np.uint8)
    x = np.zeros(_U(made.OWN) + p.n_quality, np.float32)
    n = _U(len(rows))
    for i in range(min(n, _U(BLOCK))):
        flags[i] = octets[_U(rows[i]) * row_bytes + p.flags]
    for i in range(n):
        if i & _U(BLOCK - 1) == _U(0):
            # Reading from a row tells the processor where its page is. Asking for a line does
            # not: where finding the page takes long, the processor gives up.
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
        for j in range(p.words):
            different += count_bits(code[j] ^ words[row + j])
        seen = _F(both & _U(1))
        x[made.FC6] = (_F(1.0) - _F(different) / _F(p.bits)) * seen
        x[made.SEEN_BOTH] = seen
        found = _look_up(
            classes, shorts, row2 + p.class_ids, signed, row1 + p.class_values, p.classes
        )
        x[made.FC8] = found * floats[header + _U(at.CLASS_SCALE)]

        total = np.int64(0)
        for j in range(p.terms):
            id = _U(ints[row4 + p.term_ids + j])
            slot = terms[((id * multiplier) & _LOW) >> _TO_SLOT]
            weight = slot & _U(255) if slot >> _HALF == id else _U(0)
            total += np.int64(weight) * np.int64(octets[row1 + p.term_weights + j])
        x[made.TERMS] = _F(total) * floats[header + _U(at.TERM_SCALE)]
        x[made.SAID_BOTH] = (both >> _U(1)) & _U(1)
        x[made.TOPICS] = _dot(topics, signed, row1 + p.topics) * floats[header + _U(at.TOPIC_SCALE)]
        x[made.FACTORS] = (
            _dot(factors, signed, row1 + p.factors) * floats[header + _U(at.FACTOR_SCALE)]
        )

        found = _look_up(
            categories, shorts, row2 + p.category_ids, octets, row1 + p.shares, p.categories
        )
        x[made.CATEGORIES] = found * floats[header + _U(at.CATEGORY_SCALE)]
        x[made.SORTED_BOTH] = (both >> _U(2)) & _U(1)

        own, per_root = floats[header + _U(at.BOARDS)], floats[header + _U(at.BOARD_SCALE)]
        count, visits, rare = _F(counts[i]), walk[i], adamic_adar[i]
        x[made.COUNT] = count
        x[made.LOG_COUNT] = math.log(_F(1.0) + count)
        x[made.COUNT_PER_ROOT] = count * per_root
        x[made.JACCARD] = count / max(boards + own - count, _F(1.0))
        lift = (
            math.log(max(count, _F(1.0)))
            + log_boards
            - log_own
            - floats[header + _U(at.LOG_BOARDS)]
        )
        x[made.LOG_LIFT] = lift if count > 0 else _F(0.0)
        x[made.VISITS] = visits
        x[made.LOG_VISITS] = math.log(_F(1.0) + visits * _F(made.VISITS_SCALE))
        direct = resources[i] / max(boards, _F(1.0))
        x[made.LOG_DIRECT] = math.log(_F(1.0) + direct * _F(made.VISITS_SCALE))
        indirect = max(visits - direct, _F(0.0))
        x[made.LOG_INDIRECT] = math.log(_F(1.0) + indirect * _F(made.VISITS_SCALE))
        x[made.VISITS_PER_ROOT] = visits * per_root
        x[made.ADAMIC_ADAR] = rare
        x[made.LOG_ADAMIC_ADAR] = math.log(_F(1.0) + rare)
        x[made.RESOURCES] = resources[i]
        x[made.NAVBOOST] = navboost[i] if len(navboost) > 0 else _F(0.0)
        for j in range(p.n_quality):
            x[_U(made.OWN) + j] = floats[row4 + p.quality + j]

        if len(matrix) > 0:
            for j in range(_U(len(source))):
                matrix[i, j] = x[source[j]] * factor[j]
        else:
            score = _F(0.0)
            for j in range(_U(len(x))):
                score += (x[j] - shifts[j]) * weights[j]
            scores[i] = score
    for j in range(p.classes):
        classes[query.shorts[p.class_ids + j]] = 0
    for j in range(p.categories):
        categories[query.shorts[p.category_ids + j]] = 0


@njit(cache=True, nogil=True)
def _spread_terms(ids: Any, weights: Any, slots: Any) -> Any:
    """Put the query's terms where no two collide; the multiplier that does it.

    ids differ where weights are not 0.
    """
    multiplier = _ODD
    for _ in range(_TRIES):
        slots[:] = _LOW << _HALF
        collides = False
        for i in range(len(ids)):
            slot = ((_U(ids[i]) * multiplier) & _LOW) >> _TO_SLOT
            if weights[i] > 0:
                collides |= slots[slot] & _LOW != 0
                slots[slot] = _U(ids[i]) << _HALF | _U(weights[i])
        if not collides:
            break
        multiplier *= _ODD
    return multiplier


@njit(cache=True, nogil=True, inline="always")
def _look_up(table: Any, ids: Any, first_id: Any, values: Any, first_value: Any, n: Any) -> Any:
    """Σ table[id] × value over n sparse entries."""
    total = np.int64(0)
    for j in range(n):
        known = np.int64(table[_U(ids[first_id + j])])
        total += known * np.int64(values[first_value + j])
    return _F(total)


@njit(cache=True, nogil=True, inline="always")
def _dot(vector: Any, values: Any, first: Any) -> Any:
    """Σ vector × values from `first` on."""
    total = np.int32(0)
    for j in range(_U(len(vector))):
        total = np.int32(total + np.int32(vector[j]) * np.int32(values[first + j]))
    return _F(total)
