"""Compiled loops from UTF-8 text to words. What the rules are: `features/words.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

# What a character is to us; `features/characters.py` says which is which.
BREAK, SPACE, LETTER, DIGIT, MARK, IGNORED = 0, 1, 2, 3, 4, 5
IDEOGRAPH, HIRAGANA, KATAKANA, CLUSTER = 6, 7, 8, 9
EMOJI, REGIONAL, APOSTROPHE, LINK, JOINER = 10, 11, 12, 13, 14
TABLE = 0x20000  # characters with an entry in the tables

# What a word may do in a term; a property of its spelling.
ALONE, BEGINS, ENDS, GLUED = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)
_FREE = ALONE | BEGINS | ENDS
_BROKEN = np.uint8(128)  # of an occurrence: no term runs across from the word before

# In a stream of word numbers:
BROKEN = np.uint32(1 << 30)
STOP = np.uint32(1 << 31)
NUMBER = np.uint32((1 << 30) - 1)

_MOST_LETTERS, _MOST_MIXED, _MOST_DIGITS, _MOST_SWITCHES = 40, 16, 4, 3
_U = np.uint64
_ASCII_LETTERS = np.zeros(256, np.uint8)
_ASCII_LETTERS[ord("a") : ord("z") + 1] = np.arange(ord("a"), ord("z") + 1)
_ASCII_LETTERS[ord("A") : ord("Z") + 1] = np.arange(ord("a"), ord("z") + 1)


@njit(inline="always")
def _class(classes: Any, c: Any) -> Any:
    if c < TABLE:
        return np.int64(classes[c])
    if c < 0x40000:
        return IDEOGRAPH
    return IGNORED if c >= 0xE0000 else BREAK


@njit(inline="always")
def _decode(data: Any, i: Any) -> Any:
    """The code point at byte i of valid UTF-8, and where the next one starts."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, i + 1
    if b < 0xE0:
        return (b & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F), i + 2
    if b < 0xF0:
        middle = (np.int64(data[i + 1]) & 0x3F) << 6
        return (b & 0x0F) << 12 | middle | (np.int64(data[i + 2]) & 0x3F), i + 3
    high = (b & 0x07) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12
    return high | (np.int64(data[i + 2]) & 0x3F) << 6 | (np.int64(data[i + 3]) & 0x3F), i + 4


@njit(inline="always")
def _encode(out: Any, o: Any, c: Any) -> Any:
    """Write a code point as UTF-8; returns the new end."""
    if c < 0x80:
        out[o] = c
        return o + 1
    if c < 0x800:
        out[o] = 0xC0 | c >> 6
        out[o + 1] = 0x80 | (c & 0x3F)
        return o + 2
    if c < 0x10000:
        out[o] = 0xE0 | c >> 12
        out[o + 1] = 0x80 | (c >> 6 & 0x3F)
        out[o + 2] = 0x80 | (c & 0x3F)
        return o + 3
    out[o] = 0xF0 | c >> 18
    out[o + 1] = 0x80 | (c >> 12 & 0x3F)
    out[o + 2] = 0x80 | (c >> 6 & 0x3F)
    out[o + 3] = 0x80 | (c & 0x3F)
    return o + 4


@njit(cache=True, nogil=True)
def _fold(folds: Any, out: Any, o: Any, c: Any) -> Any:
    """Write a code point case-folded (one or two characters); returns the new end."""
    if c >= TABLE:
        return _encode(out, o, c)
    folded = folds[c]
    o = _encode(out, o, np.int64(folded & _U(0xFFFFFFFF)))
    if folded >> _U(32):
        o = _encode(out, o, np.int64(folded >> _U(32)))
    return o


@njit(cache=True, nogil=True)
def _is_address(data: Any, i: Any, end: Any) -> Any:
    """Whether `http://`, `https://` or `www.` stands at byte i."""
    if data[i] | 0x20 == 0x77:  # w
        return (
            i + 4 < end
            and data[i + 1] | 0x20 == 0x77
            and data[i + 2] | 0x20 == 0x77
            and data[i + 3] == 0x2E
        )
    if data[i] | 0x20 != 0x68 or i + 7 >= end:
        return False
    j = i + 4
    if data[j] | 0x20 == 0x73:
        j += 1
    return (
        data[i + 1] | 0x20 == 0x74
        and data[i + 2] | 0x20 == 0x74
        and data[i + 3] | 0x20 == 0x70
        and data[j] == 0x3A
        and data[j + 1] == 0x2F
        and data[j + 2] == 0x2F
    )


@njit(cache=True, nogil=True)
def _year(out: Any, start: Any) -> Any:
    """Whether four digits are a year from 1900 to 2099."""
    a, b = out[start], out[start + 1]
    return (a == 0x31 and b == 0x39) or (a == 0x32 and b == 0x30)


@njit(cache=True, nogil=True)
def _elided(out: Any, start: Any, apostrophe: Any) -> Any:
    """Whether what stands before an apostrophe is an article or the like: l', d', qu', dell'."""
    n = apostrophe - start
    last = out[apostrophe - 1]
    if n == 1:
        return bool(last != 0x6F)  # o'clock, o'neill
    before = out[apostrophe - 2]
    if n == 2:
        return (before == 0x71 or before == 0x75) and (last == 0x75 or last == 0x6E)
    return n <= 5 and before == 0x6C and last == 0x6C


@njit(cache=True, nogil=True)
def split_words(
    data: Any, starts: Any, classes: Any, folds: Any, out: Any, ends: Any, kinds: Any, counts: Any
) -> int:
    """Words of the texts data[starts[i]:starts[i + 1]], in normal form NFKC; returns how many.

    Writes their bytes one after the other to out (2 bytes for each of data are enough), where
    each ends to ends[1:], what it may do and whether it is broken off to kinds (half as many
    places as there are bytes and texts together are enough), how many each text has to counts.
    """
    ascii_letters = _ASCII_LETTERS
    n, o = 0, 0
    for text in range(len(starts) - 1):
        i, end = starts[text], starts[text + 1]
        first = n
        state = BREAK  # the class of the word under way
        broken, gap, before = True, False, np.uint8(0)
        start = o
        letters = digits = switches = 0
        apostrophe = letters_before = 0
        hangul = digit_last = joining = False
        while True:
            if state == LETTER and i < end and ascii_letters[data[_U(i)]]:
                # Most of most texts: letters that need neither decoding nor a second thought.
                switches += digit_last
                digit_last = False
                run = i
                while i < end and ascii_letters[data[_U(i)]]:
                    out[_U(o)] = ascii_letters[data[_U(i)]]
                    o += 1
                    i += 1
                letters += i - run
            c, after = 0, i
            kind = BREAK
            if i < end:
                c, after = _decode(data, i)
                kind = _class(classes, c)
            # Does it go on with the word under way?
            goes_on = False
            if state != BREAK and i < end:
                if kind == MARK:
                    goes_on = state != EMOJI and state != REGIONAL
                elif kind in (IGNORED, JOINER):
                    goes_on = True
                elif state == LETTER:
                    goes_on = kind in (LETTER, DIGIT)
                    inside = kind == APOSTROPHE or (kind == LINK and letters == 1 and not digits)
                    if inside and after < end:
                        follower, _ = _decode(data, after)
                        goes_on = _class(classes, follower) == LETTER
                elif state == HIRAGANA:
                    goes_on = kind == HIRAGANA or c == 0x30FC
                elif state == KATAKANA:
                    goes_on = kind == KATAKANA
                elif state == EMOJI:
                    goes_on = kind == EMOJI and joining
                elif state == REGIONAL:
                    goes_on = kind == REGIONAL and letters == 1
            if state != BREAK and not goes_on:
                # The word ends: what is it?
                what = _FREE
                if state == LETTER:
                    if apostrophe:
                        if o - apostrophe == 2 and out[o - 1] == 0x73:  # 's
                            o = apostrophe
                            letters = letters_before
                        elif _elided(out, start, apostrophe):
                            o_from = apostrophe + 1
                            for b in range(o - o_from):
                                out[start + b] = out[o_from + b]
                            o = start + o - o_from
                            letters -= letters_before
                    if digits and not letters:
                        what = ENDS
                        if digits == 4 and o - start == 4 and _year(out, start):
                            what = _FREE
                        elif digits > _MOST_DIGITS:
                            what = np.uint8(0)
                    elif (
                        digits and (switches > _MOST_SWITCHES or letters + digits > _MOST_MIXED)
                    ) or letters > _MOST_LETTERS:
                        what = np.uint8(0)
                    elif letters == 1 and not digits and not hangul:
                        what = ENDS
                elif state == HIRAGANA:
                    what = GLUED if letters < 3 else _FREE | GLUED
                elif state in (KATAKANA, IDEOGRAPH):
                    what = _FREE | GLUED
                elif state == CLUSTER:
                    what = BEGINS | ENDS | GLUED
                if what:
                    glued = what & GLUED
                    if glued != before & GLUED or (glued and gap) or state >= EMOJI:
                        broken = True
                    kinds[n] = what | _BROKEN if broken else what
                    n += 1
                    ends[n] = o
                    before = what
                    broken, gap = state >= EMOJI, False
                else:  # a number plate, a hash: no word, and nothing runs across it
                    o = start
                    broken = True
                state = BREAK
            if i >= end:
                break
            if state == BREAK:
                if c | 0x20 in (0x68, 0x77) and _is_address(data, i, end):
                    while i < end and data[i] > 0x20:
                        i += 1
                    broken = True
                    continue
                start = o
                letters = digits = switches = 0
                apostrophe = letters_before = 0
                hangul = digit_last = joining = False
                if kind == BREAK:
                    broken = True
                elif kind in (SPACE, LINK, APOSTROPHE):
                    gap = True
                    if kind == APOSTROPHE:
                        broken = True
                elif kind != MARK and kind != IGNORED and kind != JOINER:
                    state = LETTER if kind == DIGIT else kind
                    goes_on = True
            if goes_on:
                if kind == IGNORED:
                    pass
                elif kind == JOINER:
                    if state == EMOJI and not joining and after < end:
                        follower, _ = _decode(data, after)
                        if _class(classes, follower) == EMOJI:
                            joining = True
                            o = _encode(out, o, c)
                elif kind == APOSTROPHE:
                    apostrophe = o
                    letters_before = letters
                    out[o] = 0x27
                    o += 1
                elif kind == LINK:
                    out[o] = 0x26 if c == 0x26 else 0x2D
                    o += 1
                    letters += 1
                else:
                    joining = False
                    if kind == DIGIT:
                        switches += letters > 0 and not digit_last
                        digits += 1
                        digit_last = True
                    elif kind != MARK:
                        switches += digit_last
                        letters += 1
                        digit_last = False
                        hangul = 0xAC00 <= c <= 0xD7A3
                    o = _fold(folds, out, o, c)
            i = after
        counts[text] = n - first
    return n


@njit(cache=True, nogil=True)
def number_stream(words: Any, kinds: Any, known: Any) -> None:
    """Turn the numbers of words into a stream, in place; known[number] = what the word may do."""
    for i in range(len(words)):
        known[words[i]] = kinds[i] & ~_BROKEN
        if kinds[i] & _BROKEN:
            words[i] |= BROKEN


@njit(inline="always")
def _languages(stream: Any, first: Any, last: Any, masks: Any, counts: Any) -> Any:
    """How many stop words of each language a document has, into counts; whether any at all."""
    counts[:] = 0
    found = False
    for i in range(first, last):
        word = stream[i] & NUMBER
        if word < len(masks):
            found = True
            for language in range(len(counts)):
                counts[language] += masks[word] >> np.uint32(language) & np.uint32(1)
    return found


@njit(cache=True, nogil=True)
def count_languages(stream: Any, bounds: Any, masks: Any, totals: Any) -> None:
    """Add to totals[language] how many documents show it: two of its stop words, and no language
    has more. One would not do: `sea` is Spanish for "be".
    """
    counts = np.zeros(len(totals), np.int64)
    for d in range(len(bounds) - 1):
        if _languages(stream, bounds[d], bounds[d + 1], masks, counts):
            most = counts.max()
            if most >= 2:
                for language in range(len(totals)):
                    totals[language] += counts[language] == most


@njit(cache=True, nogil=True)
def mark_stop_words(stream: Any, bounds: Any, masks: Any, n_languages: Any, main: Any) -> None:
    """Set STOP on the words of each document that are stop words of its language, in place.

    Document d is stream[bounds[d]:bounds[d + 1]]. Its language: the one with most stop words
    in it, if these are two or more and more than those of `main`; else `main`. Bit n_languages
    of a mask says that the word is a stop word anywhere.
    """
    counts = np.zeros(n_languages, np.int64)
    for d in range(len(bounds) - 1):
        if not _languages(stream, bounds[d], bounds[d + 1], masks, counts):
            continue
        best = main
        for language in range(n_languages):
            if counts[language] > counts[best] and counts[language] >= 2:
                best = language
        mask = np.uint32(1) << np.uint32(best) | np.uint32(1) << np.uint32(n_languages)
        for i in range(bounds[d], bounds[d + 1]):
            word = stream[i] & NUMBER
            if word < len(masks) and masks[word] & mask:
                stream[i] |= STOP
