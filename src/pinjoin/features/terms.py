"""From documents to terms: find those that more than one image may say, count, name and weigh.

Most n-grams are said once and are no terms. A sketch of one byte a cell finds nearly all of
those first, so that only the rest ever has a place in a table.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.incidence import Incidence
from pinjoin.core.progress import Advance
from pinjoin.core.types import Float32s, Int64s, UInt32s
from pinjoin.features import _text_kernel as kernel
from pinjoin.features._words_kernel import GLUED, NUMBER
from pinjoin.features.documents import Documents

_SKETCH = (1 << 12, 1 << 30)  # bytes, at least and at most
_LEAST_ROOM = 1 << 10  # terms in a part of the table; a power of two


class Terms:
    """The terms that `least` images or more may say, numbered as they lie in the table."""

    def __init__(
        self,
        documents: Documents,
        image_pins_indptr: Int64s,
        image_pins: UInt32s,
        incidence: Incidence,
        least: int,
        pool: ThreadPoolExecutor,
        threads: int,
    ) -> None:
        self._documents, self._said = documents, documents.said
        self._pool, self._threads = pool, threads
        self._room = documents.longest * self._said.words  # terms of a document
        masses = np.zeros(len(self._said.bounds) - 1, np.uint32)
        masses[: documents.n_boards] = incidence.sizes
        pin_documents = documents.pin_documents
        kernel.images_of_documents(image_pins_indptr, image_pins, pin_documents, masses)
        self._table = self._collect(masses, least)
        self._slots = np.flatnonzero(self._table.keys)
        self._places = self._table.values[self._slots]
        self._table.values[self._slots] = np.arange(len(self))
        boards = np.zeros(documents.n_boards + 1, np.int64)
        board_terms = kernel.list_terms(
            self._said, documents.n_boards, self._table, *self._lists(), boards
        )
        self._graph = kernel.Graph(
            image_pins_indptr, image_pins, pin_documents,
            incidence.image_indptr, incidence.image_boards, boards, board_terms,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def n_images(self) -> int:
        return len(self._graph.pins_indptr) - 1

    def names(self, chosen: Int64s) -> pa.Array:
        """The chosen terms as strings: words with a space between, or none if unspaced."""
        places = self._places[chosen]
        first, words = places >> 2, places & 3
        strings = self._documents.words()
        columns = []
        for i in range(int(words.max(initial=1))):
            said = i < words
            numbers = self._said.stream[np.where(said, first + i, 0)] & NUMBER
            columns.append(strings.take(pa.array(numbers, mask=~said)).combine_chunks())
        glued = self._said.kinds[self._said.stream[first] & NUMBER] & GLUED
        between = pa.array(np.array([" ", ""], object)[(glued > 0).astype(int)], pa.string())
        return pc.binary_join_element_wise(*columns, between, null_handling="skip")

    def count_images(self, advance: Advance) -> Int64s:
        """(terms,) how many images have each term."""
        counts = [np.zeros(len(self), np.uint32) for _ in range(self._threads)]
        spare: SimpleQueue[Any] = SimpleQueue()
        for mine in counts:
            spare.put(mine)

        def count(first: int, last: int, scratch: kernel.Scratch) -> None:
            mine = spare.get()
            kernel.count_images(self._said, self._table, self._graph, first, last, scratch, mine)
            spare.put(mine)

        self._walk(count, len(self), advance)
        total: Int64s = np.sum(counts, axis=0, dtype=np.int64)
        return total

    def weigh(
        self, chosen: Int64s, idf: npt.NDArray[np.float64], keep: int, advance: Advance
    ) -> tuple[UInt32s, Float32s]:
        """The best terms of all images, numbered by their place in `chosen`; see `Annotations`."""
        numbers = np.full(len(self), -1, np.int64)
        numbers[chosen] = np.arange(len(chosen))
        self._table.values[self._slots] = numbers
        terms = numbers.astype(np.uint32)[self._graph.board_terms]
        graph = self._graph._replace(board_terms=terms)
        ids = np.full((self.n_images, keep), kernel.NO_TERM, np.uint32)
        weights = np.zeros((self.n_images, keep), np.float32)

        def weigh(first: int, last: int, scratch: kernel.Scratch) -> None:
            kernel.weigh_terms(
                self._said, self._table, graph, first, last, scratch, idf, ids, weights
            )

        self._walk(weigh, len(chosen), advance)
        return ids, weights

    def _collect(self, masses: npt.NDArray[np.uint32], least: int) -> kernel.Table:
        parts = min(1 << (self._threads.bit_length() - 1), kernel.MOST_PARTS)
        occurrences = len(self._said.stream) * self._said.words
        size = 1 << (2 * occurrences).bit_length()
        sketch = np.zeros(min(max(size, _SKETCH[0]), _SKETCH[1]), np.uint8)
        sketch_part = partial(self._sketch_part, sketch, masses, parts)
        list(self._pool.map(sketch_part, range(parts)))
        room = 1 << (2 * int(np.count_nonzero(sketch >= least)) // parts).bit_length()
        while True:
            room = max(room, _LEAST_ROOM)
            keys, values = np.zeros(parts * room, np.uint64), np.empty(parts * room, np.int64)
            table = kernel.Table(parts, keys, values)
            collect = partial(self._collect_part, table, sketch, least)
            held = list(self._pool.map(collect, range(parts)))
            if min(held) >= 0:
                return table
            room *= 2

    def _sketch_part(
        self, sketch: npt.NDArray[np.uint8], masses: npt.NDArray[Any], parts: int, part: int
    ) -> None:
        kernel.sketch_terms(self._said, masses, sketch, part, parts, *self._lists())

    def _collect_part(
        self, table: kernel.Table, sketch: npt.NDArray[np.uint8], least: int, part: int
    ) -> int:
        held: int = kernel.collect_terms(self._said, sketch, least, part, table, *self._lists())
        return held

    def _lists(self) -> tuple[npt.NDArray[np.uint64], Int64s]:
        return np.empty(self._room, np.uint64), np.empty(self._room, np.int64)

    def _walk(
        self, work: Callable[[int, int, kernel.Scratch], None], n_terms: int, advance: Advance
    ) -> None:
        """work(first, last, scratch) on ranges of images of about equal effort."""
        indptr = self._graph.pins_indptr
        effort = indptr + self._graph.boards_indptr + np.arange(self.n_images + 1)
        aims = np.linspace(0, effort[-1], 16 * self._threads + 1)
        cuts = np.unique(np.searchsorted(effort, aims))
        spare: SimpleQueue[kernel.Scratch] = SimpleQueue()
        for _ in range(self._threads):
            spare.put(
                kernel.Scratch(
                    *self._lists(),
                    np.empty(int(np.diff(indptr).max(initial=0)), np.uint32),
                    np.zeros(n_terms, np.uint64),
                    np.empty(n_terms + 1, np.uint32),
                )
            )

        def step(cut: tuple[int, int]) -> int:
            scratch = spare.get()
            try:
                work(*cut, scratch)
            finally:
                spare.put(scratch)
            return cut[1] - cut[0]

        for done in self._pool.map(step, pairwise(cuts.tolist())):
            advance(done)
