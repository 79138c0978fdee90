"""Describing images anew, with the words, topics and categories that a catalogue has already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from pinjoin.core.types import Float32s, UInt32s
from pinjoin.features._category_kernel import category_shares
from pinjoin.features.category import NO_CATEGORY, Categories
from pinjoin.features.text import NO_TERM, Annotations
from pinjoin.features.topics import Topics
from pinjoin.features.words import said_terms

UInt16s = npt.NDArray[np.uint16]


def terms_said(known: Annotations, texts: Sequence[str]) -> list[list[int]]:
    """The numbers of the known terms that each text says."""
    return known.known_terms(said_terms(texts, known.main, known.config.words))


def fold_words(
    known: Annotations, images: Sequence[Iterable[list[int]]]
) -> tuple[UInt32s, Float32s]:
    """(images, keep) ids and weights of images, given the terms that each of their documents
    says: as `Annotations` has them."""
    ids = np.full((len(images), known.ids.shape[1]), NO_TERM, np.uint32)
    weights = np.zeros(ids.shape, np.float32)
    for i, documents in enumerate(images):
        said = np.array(list(chain(*documents)), np.int64)
        best = known.best(*np.unique(said, return_counts=True))
        ids[i, : len(best[0])], weights[i, : len(best[0])] = best
    return ids, weights


def fold_topics(known: Topics, ids: UInt32s, weights: Float32s) -> npt.NDArray[np.float16]:
    """(images, topics) vectors of images with these words."""
    vectors = np.zeros((len(ids), known.vectors.shape[1]), np.float16)
    for i in range(len(ids)):
        kept = ids[i] != NO_TERM
        vectors[i] = known.fold_in(ids[i][kept], weights[i][kept])
    return vectors


def fold_categories(
    known: Categories, images: Sequence[npt.NDArray[np.integer]]
) -> tuple[UInt16s, Float32s]:
    """(images, keep) ids and shares of images, given the category of each of their boards:
    numbers as `category.numbered` gives them."""
    ids = np.full((len(images), known.ids.shape[1]), NO_CATEGORY, np.uint16)
    shares = np.zeros(ids.shape, np.float32)
    indptr = np.concatenate([[0], np.cumsum([len(boards) for boards in images])]).astype(np.int64)
    numbers = np.concatenate([np.empty(0, np.uint16), *images]).astype(np.uint16)
    every = np.arange(len(numbers), dtype=np.uint32)
    category_shares(indptr, every, numbers, len(known.names), known.config.threshold, ids, shares)
    return ids, shares
