"""Compiled loops from streams of words to the weighted terms of images. See `features/text.py`.

What is called once for each image or term is inlined, and arrays are taken out of their tuples
before a loop: else references are counted there, in memory that all threads write to.

A term is known by a 64-bit key mixed from the numbers of its words. Two terms of one key would
count as one: with ten million terms, one build in 400,000 has such a pair.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pinjoin.core._simd_kernel import prefetch
from pinjoin.features._words_kernel import ALONE, BEGINS, BROKEN, ENDS, NUMBER, STOP

_U = np.uint64
_ONE = _U(1)
_ODD = _U(0x9E3779B97F4A7C15)
_LOW = _U(0xFFFFFFFF)
_HALF = _U(32)
NO_TERM = np.uint32(0xFFFFFFFF)
MOST_PARTS = 64


class Documents(NamedTuple):
    """What is said: document d is stream[bounds[d]:bounds[d + 1]], in words by number."""

    stream: Any  # uint32
    bounds: Any  # int64 (documents + 1,)
    kinds: Any  # uint8 (words,)
    words: int  # of a term, at most


class Table(NamedTuple):
    """Keys of terms in 2^b equal parts, each an open-addressing table; a key's top bits say which.

    A thread fills a part of its own, so threads share nothing.
    """

    parts: int
    keys: Any  # uint64, 0 = free
    values: Any  # int64: first where it is said (see `_terms`), then its number or −1


class Graph(NamedTuple):
    """Which documents are an image's: those of its pins and those of its boards."""

    pins_indptr: Any  # int64 (images + 1,)
    pins: Any  # uint32
    pin_documents: Any  # uint32 (pins,)
    boards_indptr: Any  # int64 (images + 1,)
    boards: Any  # uint32
    board_terms_indptr: Any  # int64 (boards + 1,)
    board_terms: Any  # uint32


class Scratch(NamedTuple):
    """What one thread writes to; `state` is zero between images."""

    keys: Any  # uint64 (≥ terms of a document,)
    places: Any  # int64, alike
    documents: Any  # uint32 (≥ pins of an image,)
    state: Any  # uint64 (terms,): low half how many documents say it, high half the last one
    touched: Any  # uint32 (terms,): the terms whose state is not zero


@njit(cache=True, nogil=True)
def _mixed(x: Any) -> Any:
    """splitmix64's finaliser (Steele, Lea & Flood, 2014); never 0."""
    x = (x ^ (x >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U(27))) * _U(0x94D049BB133111EB)
    return max(x ^ (x >> _U(31)), _ONE)


@njit(cache=True, nogil=True)
def number_keys(keys: Any, slots: Any, numbers: Any, n: Any, out: Any, first: Any) -> Any:
    """Number uint64 keys by first appearance into out; first[i]: it is new. Returns how many.

    slots uint64[2^b] holds the keys met (0 = free), numbers uint32[2^b] their numbers.
    """
    mask = _U(len(slots) - 1)
    for i in range(len(keys)):
        key = _mixed(keys[i])
        at = key & mask
        while slots[at] != _U(0) and slots[at] != key:
            at = (at + _ONE) & mask
        first[i] = slots[at] == _U(0)
        if first[i]:
            slots[at] = key
            numbers[at] = n
            n += 1
        out[i] = numbers[at]
    return n


@njit(cache=True, nogil=True)
def rehash_keys(slots: Any, numbers: Any, new_slots: Any, new_numbers: Any) -> None:
    """Move what `number_keys` holds to larger tables."""
    mask = _U(len(new_slots) - 1)
    for i in range(len(slots)):
        key = slots[i]
        if key:
            at = key & mask
            while new_slots[at]:
                at = (at + _ONE) & mask
            new_slots[at] = key
            new_numbers[at] = numbers[i]


@njit(cache=True, nogil=True)
def images_of_documents(indptr: Any, image_pins: Any, pin_documents: Any, masses: Any) -> None:
    """Add to masses[document] on how many images it is; pins of each image are together."""
    last = np.full(len(masses), -1, np.int64)
    for image in range(len(indptr) - 1):
        for p in range(indptr[image], indptr[image + 1]):
            document = pin_documents[image_pins[p]]
            if last[document] != image:
                last[document] = image
                masses[document] += 1


@njit(inline="always")
def _terms(said: Any, d: Any, keys: Any, places: Any) -> Any:
    """Keys of the terms of document d (repeats too); place = 4 · place of the first word + words.

    Returns how many: at most said.words for each word of the document.
    """
    stream, bounds, kinds, longest = said
    n = 0
    last = bounds[d + 1]
    for i in range(bounds[d], last):
        word = stream[i] & NUMBER
        if stream[i] & STOP or not kinds[word] & BEGINS:
            continue
        key = _mixed((_U(word) + _ONE) * _ODD)
        if kinds[word] & ALONE:
            keys[n] = key
            places[n] = 4 * i + 1
            n += 1
        for j in range(i + 1, min(i + longest, last)):
            if stream[j] & BROKEN:
                break
            word = stream[j] & NUMBER
            key = _mixed(key + (_U(word) + _ONE) * _ODD)
            if not stream[j] & STOP and kinds[word] & ENDS:
                keys[n] = key
                places[n] = 4 * i + (j - i + 1)
                n += 1
    return n


@njit(inline="always")
def _part(key: Any, parts: Any) -> Any:
    return key >> _U(58) & _U(parts - 1)


@njit(cache=True, nogil=True)
def sketch_terms(
    said: Any, masses: Any, sketch: Any, part: Any, parts: Any, keys: Any, places: Any
) -> None:
    """Add each document's mass to the cells of its terms, for one of `parts` parts of the terms.

    sketch: uint8[2^b], which saturates; parts: a power of two ≤ 64.
    """
    size = _U(len(sketch) // parts)
    base = size * _U(part)
    for d in range(len(masses)):
        n = _terms(said, d, keys, places)
        mine = 0
        for i in range(n):
            if _part(keys[i], parts) == _U(part):
                keys[mine] = base + (keys[i] & (size - _ONE))
                prefetch(sketch, keys[mine])
                mine += 1
        for i in range(mine):
            sketch[keys[i]] = min(255, np.int64(sketch[keys[i]]) + np.int64(masses[d]))


@njit(cache=True, nogil=True)
def collect_terms(
    said: Any, sketch: Any, least: Any, part: Any, table: Any, keys: Any, places: Any
) -> Any:
    """Put the terms whose cell holds `least` or more into one part of the table.

    Returns how many terms the part has, or −1 if it is too small for them.
    """
    parts, slots, values = table
    size, room = _U(len(sketch) // parts), _U(len(slots) // parts)
    low, base = size * _U(part), room * _U(part)
    most = np.int64(room) * 5 // 8
    held = 0
    for d in range(len(said.bounds) - 1):
        n = _terms(said, d, keys, places)
        mine = 0
        for i in range(n):
            if _part(keys[i], parts) == _U(part):
                keys[mine] = keys[i]
                places[mine] = places[i]
                prefetch(sketch, low + (keys[i] & (size - _ONE)))
                mine += 1
        kept = 0
        for i in range(mine):
            if sketch[low + (keys[i] & (size - _ONE))] >= least:
                keys[kept] = keys[i]
                places[kept] = places[i]
                prefetch(slots, base + (keys[i] >> _U(20) & (room - _ONE)))
                kept += 1
        for i in range(kept):
            slot = keys[i] >> _U(20) & (room - _ONE)
            while slots[base + slot] != _U(0) and slots[base + slot] != keys[i]:
                slot = (slot + _ONE) & (room - _ONE)
            if slots[base + slot] == _U(0):
                slots[base + slot] = keys[i]
                values[base + slot] = places[i]
                held += 1
                if held > most:
                    return -1
    return held


@njit(inline="always")
def _known_terms(said: Any, d: Any, table: Any, keys: Any, places: Any) -> Any:
    """The numbers of document d's terms that the table knows, in places; returns how many."""
    parts, slots, values = table
    n = _terms(said, d, keys, places)
    room = _U(len(slots) // parts)
    for i in range(n):
        base = room * _part(keys[i], parts)
        prefetch(slots, base + (keys[i] >> _U(20) & (room - _ONE)))
    known = 0
    for i in range(n):
        base = room * _part(keys[i], parts)
        slot = keys[i] >> _U(20) & (room - _ONE)
        while slots[base + slot] != _U(0) and slots[base + slot] != keys[i]:
            slot = (slot + _ONE) & (room - _ONE)
        if slots[base + slot] != _U(0):
            places[known] = values[base + slot]
            known += values[base + slot] >= 0
    return known


@njit(cache=True, nogil=True)
def list_terms(said: Any, n: Any, table: Any, keys: Any, places: Any, indptr: Any) -> Any:
    """The terms of documents 0 … n − 1 one after the other, uint32; fills indptr int64[n + 1]."""
    terms = np.empty(said.words * (said.bounds[n] - said.bounds[0]), np.uint32)
    end = 0
    for d in range(n):
        for i in range(_known_terms(said, d, table, keys, places)):
            terms[end] = places[i]
            end += 1
        indptr[d + 1] = end
    return terms[:end].copy()


@njit(inline="always")
def _gather(said: Any, table: Any, graph: Any, image: Any, scratch: Any) -> Any:
    """Count in scratch.state how many of the image's documents say each term.

    Returns how many terms are touched.
    """
    pins_indptr, pins, pin_documents, boards_indptr, boards, terms_indptr, board_terms = graph
    keys, places, documents, state, touched = scratch
    n = 0
    pin = pins_indptr[image]
    n_pins = pins_indptr[image + 1] - pin
    for p in range(n_pins):
        documents[p] = pin_documents[pins[pin + p]]
    if n_pins > 1:
        documents[:n_pins].sort()
    document = times = _U(0)
    for p in range(n_pins):
        times += _ONE
        if p + 1 < n_pins and documents[p + 1] == documents[p]:
            continue  # pins that say the same are read once
        document += _ONE
        known = _known_terms(said, documents[p], table, keys, places)
        for i in range(known):
            term = _U(places[i])
            seen = state[term]
            if seen >> _HALF != document:  # a document counts once, however often it says it
                touched[_U(n)] = term
                n += seen == _U(0)
                state[term] = document << _HALF | ((seen & _LOW) + times)
        times = _U(0)
    for p in range(boards_indptr[image], boards_indptr[image + 1]):
        document += _ONE
        board = boards[p]
        for i in range(terms_indptr[board], terms_indptr[board + 1]):
            term = _U(board_terms[i])
            if term == _U(NO_TERM):
                continue
            seen = state[term]
            if seen >> _HALF != document:
                touched[_U(n)] = term
                n += seen == _U(0)
                state[term] = document << _HALF | ((seen & _LOW) + _ONE)
    return n


@njit(cache=True, nogil=True)
def count_images(
    said: Any, table: Any, graph: Any, first: Any, last: Any, scratch: Any, counts: Any
) -> None:
    """Add to counts[term] how many of the images first … last − 1 have it."""
    state, touched = scratch.state, scratch.touched
    for image in range(first, last):
        for i in range(_gather(said, table, graph, image, scratch)):
            counts[touched[i]] += 1
            state[touched[i]] = _U(0)


@njit(cache=True, nogil=True)
def weigh_terms(
    said: Any, table: Any, graph: Any, first: Any, last: Any, scratch: Any, idf: Any, ids: Any,
    weights: Any,
) -> None:  # fmt: skip
    """The best terms of the images first … last − 1, by weight, ties by term, into their rows.

    ids uint32 (images, k), weights float32 (images, k) of Euclidean length 1.
    """
    k = ids.shape[1]
    best = np.empty(k, np.float64)
    state, touched = scratch.state, scratch.touched
    for image in range(first, last):
        held = 0
        for i in range(_gather(said, table, graph, image, scratch)):
            term = touched[i]
            weight = np.float64(state[term] & _LOW) * idf[term]
            state[term] = _U(0)
            if held == k and (
                weight < best[k - 1] or (weight == best[k - 1] and term > ids[image, k - 1])
            ):
                continue
            at = held if held < k else k - 1
            held = at + 1
            while at > 0 and (
                weight > best[at - 1] or (weight == best[at - 1] and term < ids[image, at - 1])
            ):
                best[at] = best[at - 1]
                ids[image, at] = ids[image, at - 1]
                at -= 1
            best[at] = weight
            ids[image, at] = term
        length = 0.0
        for i in range(held):
            length += best[i] * best[i]
        for i in range(held):
            weights[image, i] = best[i] / np.sqrt(length)
