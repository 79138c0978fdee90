"""What is known of images once some of their pins are left out: what a pin's board says of an
image must not tell the ranker that the image is on that board."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.incidence import Incidence
from pinjoin.core.types import NO_ROW, UInt32s
from pinjoin.features.category import Categories, numbered
from pinjoin.features.folding import fold_categories, fold_topics, fold_words, terms_said
from pinjoin.features.text import Annotations
from pinjoin.features.topics import Topics
from pinjoin.lookup import Lookup
from pinjoin.snapshot.tables import Rows

Bools = npt.NDArray[np.bool_]

_MANY = 256
"""An image of more documents keeps its annotations: one less changes a term by under 1 / 256."""


@dataclass(frozen=True)
class Described:
    """Content of some images, a row each, in the form of the classes of `features`.

    Vocabulary, idf, topics and categories stay those of the whole catalogue.
    """

    annotations: Annotations
    topics: Topics
    categories: Categories


def pins_of_saves(lookup: Lookup, boards: UInt32s, images: UInt32s) -> Bools:
    """(pins of the table,) bool: the pins of these (board, image) saves."""
    array = lookup.snapshot.array
    pin_board, pin_image = array("pin_board"), array("pin_image")
    saves = _keys(boards, images)
    pins = np.flatnonzero(np.isin(pin_image, images) & (pin_board != NO_ROW))
    found = np.zeros(len(pin_board), np.bool_)
    found[pins[np.isin(_keys(pin_board[pins], pin_image[pins]), saves)]] = True
    return found


def describe_without(
    lookup: Lookup,
    whole: Described,
    rows: UInt32s,
    left_out: Bools,
    incidence: Incidence,
) -> Described:
    """The content of image rows without the pins left out, of which `incidence` has no saves.

    left_out: (pins of the table,) bool. An image of more than 256 documents keeps its words.
    """
    annotations = _annotate(lookup, whole.annotations, rows, left_out, incidence)
    vectors = fold_topics(whole.topics, annotations.ids, annotations.weights)
    return Described(
        annotations,
        Topics(vectors, whole.topics.loadings, whole.topics.terms, whole.topics.config),
        _categorise(lookup, whole.categories, rows, incidence),
    )


def _annotate(
    lookup: Lookup, whole: Annotations, rows: UInt32s, left_out: Bools, incidence: Incidence
) -> Annotations:
    ids, weights = whole.ids[rows], whole.weights[rows]
    array = lookup.snapshot.array
    indptr, image_pins = array("image_pins.indptr"), array("image_pins")
    pins = [image_pins[indptr[row] : indptr[row + 1]] for row in rows.tolist()]
    pins = [some[~left_out[some]] for some in pins]
    boards = [incidence.boards_of(row) for row in rows.tolist()]
    few = [i for i in range(len(rows)) if len(pins[i]) + len(boards[i]) <= _MANY]
    pin_terms = _Said(lookup.snapshot.table("pins"), [pins[i] for i in few], whole)
    board_terms = _Said(lookup.snapshot.table("boards"), [boards[i] for i in few], whole)
    said = [pin_terms.of(pins[i]) + board_terms.of(boards[i]) for i in few]
    ids[few], weights[few] = fold_words(whole, said)
    return Annotations(whole.terms, whole.idf, ids, weights, whole.main, whole.config)


class _Said:
    """The known terms that each of some rows of a table says, each text read once."""

    def __init__(self, table: pa.Table, rows: list[UInt32s], known: Annotations) -> None:
        needed = np.unique(np.concatenate([np.empty(0, np.uint32), *rows]))
        texts = Rows(table).take(needed, ["title", "description"])
        joined = pc.binary_join_element_wise(
            texts["title"], texts["description"], "\n", null_handling="replace"
        )
        distinct = pc.dictionary_encode(joined.combine_chunks())
        self._terms = terms_said(known, distinct.dictionary.to_pylist())
        self._text = dict(zip(needed.tolist(), distinct.indices.to_pylist(), strict=True))

    def of(self, rows: UInt32s) -> list[list[int]]:
        return [self._terms[self._text[row]] for row in rows.tolist()]


def _categorise(
    lookup: Lookup, whole: Categories, rows: UInt32s, incidence: Incidence
) -> Categories:
    boards = [incidence.boards_of(row) for row in rows.tolist()]
    flat = np.concatenate([np.empty(0, np.uint32), *boards])
    names = Rows(lookup.snapshot.table("boards")).take(flat, ["category"])["category"]
    ends = np.cumsum([len(some) for some in boards])[:-1]
    numbers = np.split(numbered(names, whole.names), ends)[: len(rows)]
    ids, shares = fold_categories(whole, numbers)
    nothing = np.empty(0, np.uint32)
    return Categories(whole.names, ids, shares, np.zeros(1, np.int64), nothing, whole.config)


def _keys(boards: npt.NDArray[np.uint32], images: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    keys: npt.NDArray[np.uint64] = boards.astype(np.uint64) << np.uint64(32) | images
    return keys
