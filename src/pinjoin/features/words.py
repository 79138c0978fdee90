"""From texts in any language to streams of word numbers, a block of texts at a time.

A word is a run of letters, marks and digits after NFKC and case-folding (`T-Shirt`, `h&m` and
`don't` are one; `women's` is `women`, `l'été` is `été`). Where a script writes no spaces, it is
an ideograph, a run of katakana or of three or more hiragana, a Thai letter with its marks. An
emoji is a word. Web addresses and long numbers are none. Nothing said runs across punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import InputError
from pinjoin.core.ids import StringTable
from pinjoin.core.types import Int64s, UInt32s
from pinjoin.features import _words_kernel as kernel
from pinjoin.features.characters import classes, folds

_UNSAID = ("\u2122", "\u2120")  # ™ and ℠ would become letters of the word before them
MOST_WORDS = (1 << 30) - 2


@dataclass(frozen=True)
class StopWords:
    """Words that say nothing by themselves. masks[i]: in which languages word i is one, by bit.

    The bit after the last language's: in all of them.
    """

    languages: tuple[str, ...]
    words: pa.Array
    masks: UInt32s


@cache
def stop_words() -> StopWords:
    """Those of the shipped list, `stop_words.txt`, which names its source."""
    text = resources.files("pinjoin.features").joinpath("stop_words.txt").read_text("utf-8")
    lines = [line.split(": ") for line in text.splitlines() if not line.startswith("#")]
    by_language = {name: words.split() for name, words in lines}
    everywhere = by_language.pop("any")
    languages = tuple(by_language)
    masks = dict.fromkeys(everywhere, 1 << len(languages))
    for bit, language in enumerate(languages):
        for word in by_language[language]:
            masks[word] = masks.get(word, 0) | 1 << bit
    return StopWords(
        languages, pa.array(list(masks), pa.string()), np.array(list(masks.values()), np.uint32)
    )


@dataclass(frozen=True)
class Split:
    """Texts split into words: their spellings, what each may do, how many each text has."""

    words: pa.Array  # (n,) string
    kinds: npt.NDArray[np.uint8]  # (n,)
    counts: Int64s  # (texts,)


def split_texts(texts: pa.Array) -> Split:
    """The words of each text; null has none. Safe in threads; at most 1 GiB of text."""
    texts = pc.fill_null(texts.cast(pa.large_string()), "")
    raw = (texts.buffers()[2] or pa.py_buffer(b"")).to_pybytes()
    for mark in _UNSAID:
        if mark.encode() in raw:
            texts = pc.replace_substring(texts, mark, " ")
    texts = pc.utf8_normalize(texts, "NFKC")
    starts = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"\0", np.uint8)
    size = int(starts[-1] - starts[0]) if len(starts) else 0
    if size >= 1 << 30:
        raise InputError(f"At most 1 GiB of text is split at a time. Got {size:,} bytes.")
    if not len(texts) or not size:
        return Split(pa.array([], pa.string()), np.empty(0, np.uint8), np.zeros(len(texts), int))
    out = np.empty(2 * size + 8, np.uint8)
    most = (size + len(texts)) // 2 + 1  # a byte each, and one between those of a text
    ends = np.zeros(most + 1, np.int32)
    kinds = np.empty(most, np.uint8)
    counts = np.empty(len(texts), np.int64)
    n = kernel.split_words(data, starts, classes(), folds(), out, ends, kinds, counts)
    buffers = [None, pa.py_buffer(ends[: n + 1]), pa.py_buffer(out)]
    return Split(pa.Array.from_buffers(pa.string(), n, buffers), kinds[:n].copy(), counts)


class Lexicon:
    """Numbers words as they come. The stop words have the first numbers."""

    def __init__(self) -> None:
        self._table = StringTable()
        self._table.encode(stop_words().words)
        self._kinds = np.zeros(1 << 16, np.uint8)

    def __len__(self) -> int:
        return len(self._table)

    def stream(self, split: Split) -> UInt32s:
        """The words as numbers with the flag BROKEN, uint32 (n,)."""
        stream = self._table.encode(split.words)
        if len(self._table) > MOST_WORDS:
            raise InputError(f"More than {MOST_WORDS:,} distinct words. Split the catalogue.")
        if len(self._table) > self._kinds.size:
            grown = np.zeros(2 * len(self._table), np.uint8)
            grown[: self._kinds.size] = self._kinds
            self._kinds = grown
        kernel.number_stream(stream, split.kinds, self._kinds)
        return stream

    @property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """(words,) uint8: what each word may do in a term."""
        return self._kinds[: len(self)]

    def strings(self) -> pa.ChunkedArray:
        """(words,) the words by number."""
        return self._table.strings()


def main_language(stream: UInt32s, bounds: Int64s) -> int:
    """The language that most documents show by their stop words; the first if none shows one."""
    known = stop_words()
    totals = np.zeros(len(known.languages), np.int64)
    kernel.count_languages(stream, bounds, known.masks, totals)
    return int(np.argmax(totals))


def mark_stop_words(stream: UInt32s, bounds: Int64s, main: int) -> None:
    """Flag, in place, what is a stop word in its document's language (by default `main`)."""
    known = stop_words()
    kernel.mark_stop_words(stream, bounds, known.masks, len(known.languages), main)


def said_terms(texts: Sequence[str], main: int, longest: int) -> list[set[str]]:
    """The terms that each of a few texts says. The slow and plain way; `text.build` agrees."""
    split = split_texts(pa.array(texts, pa.string()))
    lexicon = Lexicon()
    stream = lexicon.stream(split)
    bounds = np.concatenate([[0], np.cumsum(split.counts)]).astype(np.int64)
    mark_stop_words(stream, bounds, main)
    words = split.words.to_pylist()
    kinds = lexicon.kinds
    return [
        _terms(words[a:b], stream[a:b], kinds[stream[a:b] & kernel.NUMBER], longest)
        for a, b in pairwise(bounds.tolist())
    ]


def _terms(words: list[str], stream: UInt32s, kinds: npt.NDArray[Any], longest: int) -> set[str]:
    found = set()
    stops = stream & kernel.STOP != 0
    for first in range(len(words)):
        if stops[first] or not kinds[first] & kernel.BEGINS:
            continue
        if kinds[first] & kernel.ALONE:
            found.add(words[first])
        for last in range(first + 1, min(first + longest, len(words))):
            if stream[last] & kernel.BROKEN:
                break
            if not stops[last] and kinds[last] & kernel.ENDS:
                between = "" if kinds[first] & kernel.GLUED else " "
                found.add(between.join(words[first : last + 1]))
    return found
