"""§IV.A, for pins with few co-occurrences: neighbours by picture, words and topics together.

What looks alike and what is said to be alike are found apart and ranked together, by the mean of
the cosines that can be had. Of 200 products of `ikea` that lost their boards, 73 % of the ten
neighbours are of the same type, where pictures alone find 52 % and words alone 68 %
(`benchmarks/cold.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.nearest import HammingIndex
from pinjoin.core.topk import top_k
from pinjoin.core.types import Float32s, UInt32s

_CONSIDERED = 1_000  # of each sort of neighbour, at least: so that a longer list begins the same


@dataclass(frozen=True)
class Content:
    """What is known of one image's content. A part is None or empty where it is missing.

    code: (bits / 8,) uint8 fc6 bits; ids, weights: (terms,) annotations; topics: (topics,).
    """

    code: npt.NDArray[np.uint8] | None
    ids: UInt32s
    weights: Float32s
    topics: Float32s


class TextIndex(Protocol):
    """Finds the images nearest in words: see `nearest.TextNeighbours`."""

    def search(
        self, ids: UInt32s, weights: Float32s, k: int, *, exclude: Sequence[int] = ()
    ) -> tuple[UInt32s, Float32s]: ...


class ContentNeighbours:
    """The images nearest in content. hamming and codes are None in catalogues without pictures.

    present: (images,) bool, which have a picture. ids, weights: (images, terms). topics:
    (images, topics) rows of length 1. exclude: rows that never come. Thread-safe.
    """

    def __init__(
        self,
        hamming: HammingIndex | None,
        codes: npt.NDArray[np.uint8] | None,
        present: npt.NDArray[np.bool_] | None,
        n_bits: int,
        text: TextIndex,
        ids: UInt32s,
        weights: Float32s,
        topics: npt.NDArray[np.floating[Any]],
        exclude: Sequence[int] = (),
    ) -> None:
        self._hamming, self._codes, self._present = hamming, codes, present
        self._n_bits = n_bits
        self._text, self._ids, self._weights, self._topics = text, ids, weights, topics
        self._exclude = exclude

    def with_text(
        self,
        text: TextIndex,
        ids: UInt32s,
        weights: Float32s,
        topics: npt.NDArray[np.floating[Any]],
    ) -> ContentNeighbours:
        """The same pictures with other words and topics."""
        pictures = self._hamming, self._codes, self._present, self._n_bits
        return ContentNeighbours(*pictures, text, ids, weights, topics, self._exclude)

    def search(self, query: Content, k: int) -> tuple[UInt32s, Float32s, npt.NDArray[np.bool_]]:
        """(rows, scores, looks): the k nearest, nearest first, ties by row; fewer only where
        nothing more is alike in any way. looks: (rows,) bool, True where the picture says more
        than the words."""
        most = max(_CONSIDERED, 4 * k)
        found = [np.empty(0, np.uint32)]
        if query.code is not None and self._hamming is not None:
            allowed, without = self._present, self._exclude
            found.append(
                self._hamming.search(query.code, most, exclude=without, allowed=allowed)[0]
            )
        if len(query.ids):
            said = self._text.search(query.ids, query.weights, most, exclude=self._exclude)
            found.append(said[0])
        rows = np.unique(np.concatenate(found)).astype(np.uint32)
        if not len(rows):
            return rows, np.empty(0, np.float32), np.empty(0, np.bool_)
        picture, words = self._picture_cosine(query, rows), self._word_cosine(query, rows)
        scores = self._mean(query, rows, picture, words)
        best = top_k(scores, k)
        return rows[best], scores[best], (picture >= words)[best]

    def similarity(self, query: Content, rows: UInt32s) -> Float32s:
        """(rows,) float32: the mean of the cosines that can be had; 0 where there are none."""
        picture, words = self._picture_cosine(query, rows), self._word_cosine(query, rows)
        return self._mean(query, rows, picture, words)

    def _mean(self, query: Content, rows: UInt32s, picture: Float32s, words: Float32s) -> Float32s:
        parts = [picture] if query.code is not None else []
        if len(query.ids):
            about = self._topics[rows].astype(np.float32) @ query.topics.astype(np.float32)
            parts += [words, about]
        if not parts:
            return np.zeros(len(rows), np.float32)
        mean: Float32s = np.stack(parts).mean(axis=0, dtype=np.float32)
        return mean

    def _picture_cosine(self, query: Content, rows: UInt32s) -> Float32s:
        """Of the vectors behind the bits: two random hyperplane bits differ with probability
        angle / π (Goemans & Williamson, 1995)."""
        if query.code is None or self._codes is None or self._present is None:
            return np.zeros(len(rows), np.float32)
        bits = np.bitwise_count(self._codes[rows] ^ query.code).sum(axis=1, dtype=np.int64)
        cosine = np.cos(np.pi * bits / self._n_bits)
        return np.where(self._present[rows], cosine, 0).astype(np.float32)

    def _word_cosine(self, query: Content, rows: UInt32s) -> Float32s:
        if not len(query.ids):
            return np.zeros(len(rows), np.float32)
        order = np.argsort(query.ids)
        known, weights = query.ids[order], query.weights[order]
        theirs = self._ids[rows]  # (rows, terms)
        at = np.minimum(np.searchsorted(known, theirs), len(known) - 1)
        shared = known[at] == theirs
        product = np.where(shared, weights[at], 0) * self._weights[rows]
        cosine: Float32s = product.sum(axis=1, dtype=np.float32)
        return cosine
