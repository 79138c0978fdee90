"""What pins and boards say: each distinct text split into words once, streamed, never all held."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.ids import hash_strings
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Int64s, UInt32s
from pinjoin.features import _text_kernel as kernel
from pinjoin.features.words import Lexicon, Split, main_language, mark_stop_words, split_texts

_PIECE = 1 << 15  # rows split at a time
_MOST_BYTES = 1 << 28  # of text split at a time, if it is more than one row
_IN_MEMORY = 1 << 28  # bytes of word numbers; beyond, they lie in a file
_T = TypeVar("_T")
_R = TypeVar("_R")


class Documents:
    """The documents of a catalogue as word numbers: boards 0 … b − 1, then the pins' texts.

    said: the documents; pin_documents: (pins,) uint32, which document each pin is; main: the
    language (a place in `stop_words().languages`) that most stop words are of.
    Pins that say the same are one document: told by a 64-bit hash of their title and
    description, so that of 100 million texts one is expected to be taken for another once in
    some 3,700 catalogues.

    A context manager: long streams lie in a nameless temporary file in `folder`.
    """

    said: kernel.Documents
    pin_documents: UInt32s
    n_boards: int
    main: int

    def __init__(
        self,
        pins: pa.Table,
        boards: pa.Table,
        pool: ThreadPoolExecutor,
        threads: int,
        words: int,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self._pool, self._depth = pool, 2 * threads
        self._words = Lexicon()
        self._stack = ExitStack()
        try:
            with _Spool(self._stack, folder) as spool:
                counts = list(self._split(boards, spool))
                self.n_boards = sum(map(len, counts))
                self._seen = _Keys()
                self._pins: list[UInt32s] = []
                with progress("reading what pins say", pins.num_rows) as advance:
                    counts += self._split(self._distinct(pins, advance), spool)
            stream = spool.array
            bounds = np.concatenate([[0], *counts]).cumsum(dtype=np.int64)
            self.pin_documents = np.concatenate([np.empty(0, np.uint32), *self._pins])
            self.pin_documents += np.uint32(self.n_boards)
            del self._seen, self._pins
            self.main = main_language(stream, bounds)
            self._mark(stream, bounds, threads)
            self.said = kernel.Documents(stream, bounds, self._words.kinds, words)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Documents:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def longest(self) -> int:
        """Words of the longest document; at least 1."""
        return max(1, int(np.diff(self.said.bounds).max(initial=0)))

    def words(self) -> pa.ChunkedArray:
        """The distinct words by number."""
        return self._words.strings()

    def _split(self, texts: pa.Table | Iterator[pa.Array], spool: _Spool) -> Iterator[Int64s]:
        """Spool the words of all texts; yields how many each has."""
        if isinstance(texts, pa.Table):
            texts = (_texts(batch) for batch in _batches(texts))
        for split in ahead(self._pool, _split_all, texts, self._depth):
            for part in split:
                spool.add(self._words.stream(part))
                yield part.counts

    def _distinct(self, pins: pa.Table, advance: Callable[[int], None]) -> Iterator[pa.Array]:
        """The texts not met before, noting of each pin which document it is."""
        for texts, hashes in ahead(self._pool, _hashed, _batches(pins), self._depth):
            numbers, new = self._seen.number(hashes)
            self._pins.append(numbers)
            yield texts.filter(pa.array(new))
            advance(len(texts))

    def _mark(self, stream: UInt32s, bounds: Int64s, threads: int) -> None:
        cuts = np.linspace(0, len(bounds) - 1, 8 * threads + 1).astype(int)
        parts = [bounds[a : b + 1] for a, b in pairwise(cuts.tolist())]
        list(self._pool.map(lambda part: mark_stop_words(stream, part, self.main), parts))


class _Keys:
    """Numbers 64-bit keys by first appearance."""

    def __init__(self) -> None:
        self._n = 0
        self._slots, self._numbers = np.zeros(1 << 12, np.uint64), np.zeros(1 << 12, np.uint32)

    def number(self, keys: npt.NDArray[np.uint64]) -> tuple[UInt32s, npt.NDArray[np.bool_]]:
        """The number of each key, and whether it is new."""
        needed = 2 * (self._n + len(keys))
        if needed > len(self._slots):
            size = 1 << needed.bit_length()
            slots, numbers = np.zeros(size, np.uint64), np.zeros(size, np.uint32)
            kernel.rehash_keys(self._slots, self._numbers, slots, numbers)
            self._slots, self._numbers = slots, numbers
        out, new = np.empty(len(keys), np.uint32), np.empty(len(keys), np.bool_)
        self._n = kernel.number_keys(keys, self._slots, self._numbers, self._n, out, new)
        return out, new


class _Spool:
    """Collects arrays to one, in memory or, if it gets long, in a file that is then mapped."""

    array: UInt32s

    def __init__(self, stack: ExitStack, folder: Path | None) -> None:
        self._stack, self._folder = stack, folder
        self._parts: list[UInt32s] = []
        self._bytes = 0
        self._file: BinaryIO | None = None

    def add(self, part: UInt32s) -> None:
        self._parts.append(part)
        self._bytes += part.nbytes
        if self._bytes > _IN_MEMORY:
            if self._file is None:
                file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - the stack's
                self._file = self._stack.enter_context(file)
            self._flush(self._file)

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        if self._file is None:
            self.array = np.concatenate([np.empty(0, np.uint32), *self._parts])
            return
        self._flush(self._file)
        self._file.flush()
        mapped: Any = np.memmap(self._file, np.uint32, "r+")
        self.array = mapped.view(np.ndarray)

    def _flush(self, file: BinaryIO) -> None:
        for part in self._parts:
            file.write(part.data)
        self._parts.clear()


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[_T], _R], items: Iterable[_T], depth: int
) -> Iterator[_R]:
    """work(item) in the order of items, with up to `depth` of them under way."""
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for task in waiting:
            task.cancel()


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    return iter(table.select(["title", "description"]).to_batches(max_chunksize=_PIECE))


def _texts(batch: pa.RecordBatch) -> pa.Array:
    """Title and description as one text each, the description on a line of its own."""
    title, description = (batch.column(i).cast(pa.large_string()) for i in (0, 1))
    line = pa.scalar("\n", pa.large_string())
    # Not null_handling="skip", which leaves out rows in which all is null (seen in Arrow 26).
    return pc.binary_join_element_wise(title, description, line, null_handling="replace")


def _hashed(batch: pa.RecordBatch) -> tuple[pa.Array, npt.NDArray[np.uint64]]:
    texts = _texts(batch)
    return texts, hash_strings(texts)


def _split_all(texts: pa.Array) -> list[Split]:
    if texts.nbytes <= _MOST_BYTES or len(texts) < 2:
        return [split_texts(texts)]
    half = len(texts) // 2
    return _split_all(texts[:half]) + _split_all(texts[half:])
