"""Compiled loop over candidates: their packed rows to features, or straight to scores.

What is known of the query is spread out in small tables first, so that a candidate's part costs
one look-up for each of its terms, classes or categories.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pinjoin.core._simd_kernel import count_bits, prefetch

_U = np.uint64
AHEAD = 8
"""Rows asked of memory before they are read."""

TERM_SLOTS = 1024
"""Of the table of a query's at most 32 terms: a few multipliers tried, and no two collide."""

_ODD = _U(0x9E3779B97F4A7C15)
_LOW = _U(0xFFFFFFFF)
_DENSE = 64
_LINE = _U(64)

(
    FC6, FC8, SEEN_BOTH, TERMS, TOPICS, SAID_BOTH, CATEGORIES, SORTED_BOTH, FACTORS,
    COUNT, LOG_COUNT, COSINE, JACCARD, SHARE, RELATIVE_COUNT, LOG_LIFT,
    VISITS, LOG_VISITS, RELATIVE_VISITS, VISITS_PER_ROOT,
    ADAMIC_ADAR, LOG_ADAMIC_ADAR, RELATIVE_ADAMIC_ADAR, RESOURCE_ALLOCATION, NAVBOOST,
) = range(25)  # fmt: skip
N_BASE = 25
"""Places of the features of a pair; the candidate's own columns follow."""

VISITS_SCALE = 1e6
"""walk.log = ln(1 + this × visits): what is seldom visited still differs from what never is."""


class Views(NamedTuple):
    """Packed rows as numbers of each size, (rows, numbers)."""

    words: Any  # uint64
    floats: Any  # float32
    ints: Any  # uint32
    shorts: Any  # uint16
    signed: Any  # int8
    bytes: Any  # uint8


class Places(NamedTuple):
    """Where the parts of a row begin, in numbers of their size, and how many numbers they have."""

    words: int
    header: int
    quality: int
    n_quality: int
    terms: int
    n_terms: int
    classes: int
    n_classes: int
    categories: int
    n_categories: int
    topics: int
    factors: int
    weights: int
    values: int
    shares: int
    flags: int
    bits: int


class Signals(NamedTuple):
    """What retrieval knows of each candidate."""

    counts: Any  # uint32
    adamic_adar: Any  # float32
    resource_allocation: Any  # float32
    walk: Any  # float32
    navboost: Any  # float32; empty: none


class Tables(NamedTuple):
    """Scratch, zero between calls except `terms`."""

    terms: Any  # uint64 (TERM_SLOTS,): number of the term << 32 | its weight
    classes: Any  # int8 (65536,)
    categories: Any  # uint8 (65536,)


@njit(cache=True, nogil=True)
def _spread_terms(ids: Any, weights: Any, slots: Any) -> Any:
    """Put the query's terms where no two collide; the multiplier that does it."""
    multiplier = _ODD
    while True:
        slots[:] = _U(0xFFFFFFFF) << _U(32)
        collides = False
        for i in range(len(ids)):
            slot = ((_U(ids[i]) * multiplier) & _LOW) >> _U(22)
            taken = (slots[slot] & _LOW) != _U(0) and slots[slot] >> _U(32) != _U(ids[i])
            if weights[i] > 0:
                collides |= taken
                slots[slot] = _U(ids[i]) << _U(32) | _U(weights[i])
        if not collides:
            return multiplier
        multiplier = multiplier * _ODD | _U(1)


@njit(cache=True, nogil=True)
def describe(
    rows: Any, views: Any, places: Any, query: Any, signals: Any, n_boards: Any, tables: Any,
    weights: Any, shifts: Any, source: Any, factor: Any, matrix: Any, scores: Any,
) -> None:  # fmt: skip
    """Features of candidates, or their weighted sum.

    rows: uint32 (n,). query: views of its row, (1, numbers). matrix: float32 (n, F) whose column
    j becomes feature source[j] × factor[j]; or (0, F): not wanted. scores: float32 (n,) becomes
    Σ weights × features, of the candidate's own columns less `shifts`; weights (N_BASE + Q,).
    """
    n = len(rows)
    p = places
    n_lines = _U(views.bytes.shape[1]) // _LINE
    # What is known of the query.
    first, last = p.terms, p.terms + p.n_terms
    term_ids, term_weights = (
        query.ints[0, first:last],
        query.bytes[0, p.weights : p.weights + p.n_terms],
    )
    multiplier = _spread_terms(term_ids, term_weights, tables.terms)
    for i in range(p.n_classes):
        tables.classes[query.shorts[0, p.classes + i]] += query.signed[0, p.values + i]
    for i in range(p.n_categories):
        tables.categories[query.shorts[0, p.categories + i]] += query.bytes[0, p.shares + i]
    header = query.floats[0, p.header : p.header + 8]
    flags = query.bytes[0, p.flags]
    boards, per_root, log_boards = header[5], header[6], header[7]
    per_boards = np.float32(1.0) / boards if boards > 0 else np.float32(0.0)
    most_count, most_visits, most_adamic = np.float32(0), np.float32(0), np.float32(0)
    for i in range(n):
        most_count = max(most_count, np.float32(signals.counts[i]))
        most_visits = max(most_visits, signals.walk[i])
        most_adamic = max(most_adamic, signals.adamic_adar[i])
    per_count = np.float32(1.0) / most_count if most_count > 0 else np.float32(0.0)
    per_visits = np.float32(1.0) / most_visits if most_visits > 0 else np.float32(0.0)
    per_adamic = np.float32(1.0) / most_adamic if most_adamic > 0 else np.float32(0.0)
    x = np.zeros(N_BASE + p.n_quality, np.float32)
    for i in range(n):
        if i + AHEAD < n:
            ahead = _U(rows[i + AHEAD]) * n_lines * _U(8)
            for line in range(n_lines):
                prefetch(views.words.reshape(-1), ahead + _U(line) * _U(8))
        row = _U(rows[i])
        both = flags & views.bytes[row, p.flags]
        x[SEEN_BOTH] = both & 1
        x[SAID_BOTH] = (both >> 1) & 1
        x[SORTED_BOTH] = (both >> 2) & 1
        x[FC6] = 0.0
        if both & 1:
            different = _U(0)
            for w in range(p.words):
                different += count_bits(query.words[0, w] ^ views.words[row, w])
            x[FC6] = np.float32(1.0) - np.float32(different) / np.float32(p.bits)
        found = np.int64(0)
        for j in range(p.n_classes):
            found += np.int64(tables.classes[views.shorts[row, p.classes + j]]) * np.int64(
                views.signed[row, p.values + j]
            )
        x[FC8] = np.float32(found) * header[0] * views.floats[row, p.header]
        found = np.int64(0)
        for j in range(p.n_terms):
            id = _U(views.ints[row, p.terms + j])
            slot = tables.terms[((id * multiplier) & _LOW) >> _U(22)]
            if slot >> _U(32) == id:
                found += np.int64(slot & _LOW) * np.int64(views.bytes[row, p.weights + j])
        x[TERMS] = np.float32(found) * header[1] * views.floats[row, p.header + 1]
        found = np.int64(0)
        if p.topics >= 0:
            for j in range(_DENSE):
                found += query.signed[0, p.topics + j] * views.signed[row, p.topics + j]
        x[TOPICS] = np.float32(found) * header[2] * views.floats[row, p.header + 2]
        found = np.int64(0)
        if p.factors >= 0:
            for j in range(_DENSE):
                found += np.int64(query.signed[0, p.factors + j]) * np.int64(
                    views.signed[row, p.factors + j]
                )
        x[FACTORS] = np.float32(found) * header[3] * views.floats[row, p.header + 3]
        found = np.int64(0)
        for j in range(p.n_categories):
            found += np.int64(tables.categories[views.shorts[row, p.categories + j]]) * np.int64(
                views.bytes[row, p.shares + j]
            )
        x[CATEGORIES] = np.float32(found) * header[4] * views.floats[row, p.header + 4]
        count = np.float32(signals.counts[i])
        own = views.floats[row, p.header + 5]
        x[COUNT] = count
        x[LOG_COUNT] = np.log1p(count)
        x[COSINE] = count * per_root * views.floats[row, p.header + 6]
        union = boards + own - count
        x[JACCARD] = count / union if union > 0 else np.float32(0.0)
        x[SHARE] = count * per_boards
        x[RELATIVE_COUNT] = count * per_count
        x[LOG_LIFT] = 0.0
        if count > 0 and boards > 0 and own > 0:
            x[LOG_LIFT] = (
                np.log(count)
                + np.log(np.float32(n_boards))
                - log_boards
                - views.floats[row, p.header + 7]
            )
        visits = signals.walk[i]
        x[VISITS] = visits
        x[LOG_VISITS] = np.log1p(visits * np.float32(VISITS_SCALE))
        x[RELATIVE_VISITS] = visits * per_visits
        x[VISITS_PER_ROOT] = visits * views.floats[row, p.header + 6]
        adamic = signals.adamic_adar[i]
        x[ADAMIC_ADAR] = adamic
        x[LOG_ADAMIC_ADAR] = np.log1p(adamic)
        x[RELATIVE_ADAMIC_ADAR] = adamic * per_adamic
        x[RESOURCE_ALLOCATION] = signals.resource_allocation[i]
        x[NAVBOOST] = signals.navboost[i] if len(signals.navboost) > 0 else np.float32(0.0)
        for j in range(p.n_quality):
            x[N_BASE + j] = views.floats[row, p.quality + j]
        if len(matrix) > 0:
            for j in range(len(source)):
                matrix[i, j] = x[source[j]] * factor[j]
        else:
            score = np.float32(0.0)
            for j in range(len(x)):
                score += (x[j] - shifts[j]) * weights[j]
            scores[i] = score
    for i in range(p.n_classes):
        tables.classes[query.shorts[0, p.classes + i]] = 0
    for i in range(p.n_categories):
        tables.categories[query.shorts[0, p.categories + i]] = 0
