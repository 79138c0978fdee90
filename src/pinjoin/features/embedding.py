"""Embed many pictures: read and decode while others are computed, skip what is already known."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinjoin.core.cores import cores
from pinjoin.core.errors import check
from pinjoin.core.progress import Advance, Progress, silent
from pinjoin.data.images import ImageError, read_bytes
from pinjoin.features.embedding_cache import EmbeddingCache, key_hash
from pinjoin.features.visual import Encoder, Visual

Source = str | os.PathLike[str] | bytes
"""A picture: its file's path, or its file's content."""


@dataclass(frozen=True)
class Batch:
    """Features of some pictures. Which, and which of the others failed and why."""

    rows: NDArray[np.int64]  # (n,) numbers of the sources
    visual: Visual  # of those n
    failures: dict[int, str]  # number of the source → reason
    cached: int  # how many of n were already known


@dataclass(frozen=True)
class Embeddings:
    """Features of all pictures asked for, in their order; zeros where there are none."""

    bits: NDArray[np.uint8]  # (n, ⌈bits / 8⌉)
    ids: NDArray[np.uint16] | None  # (n, keep); None without fc8
    values: NDArray[np.float16] | None  # (n, keep)
    present: NDArray[np.bool_]  # (n,) False: could not be decoded
    failures: dict[int, str] = field(default_factory=dict)
    cached: int = 0
    fc6: NDArray[np.float16] | None = None  # (n, units); None if not kept


def embed(
    sources: Sequence[Source],
    encoder: Encoder,
    *,
    keys: Sequence[str] | None = None,
    batch: int = 8,
    threads: int | None = None,
    cache: Path | None = None,
    keep_fc6: bool = False,
    progress: Progress = silent,
) -> Embeddings:
    """Visual features of n pictures; parameters as of `embed_batches`.

    A picture that cannot be decoded has `present` False, zeros, and its reason in `failures`.
    """
    width, fc8, n = -(-encoder.bits // 8), encoder.card.fc8, len(sources)
    bits = np.zeros((n, width), dtype=np.uint8)
    ids = np.zeros((n, fc8.keep), dtype=np.uint16) if fc8 else None
    values = np.zeros((n, fc8.keep), dtype=np.float16) if fc8 else None
    fc6 = np.zeros((n, encoder.card.fc6.units), dtype=np.float16) if keep_fc6 else None
    present, failures, cached = np.zeros(n, dtype=np.bool_), dict[int, str](), 0
    for part in embed_batches(
        sources,
        encoder,
        keys=keys,
        batch=batch,
        threads=threads,
        cache=cache,
        keep_fc6=keep_fc6,
        progress=progress,
    ):
        bits[part.rows] = part.visual.bits
        if part.visual.ids is not None and ids is not None:
            ids[part.rows] = part.visual.ids
        if part.visual.values is not None and values is not None:
            values[part.rows] = part.visual.values
        if fc6 is not None:
            fc6[part.rows] = part.visual.fc6
        present[part.rows] = True
        failures.update(part.failures)
        cached += part.cached
    return Embeddings(bits, ids, values, present, dict(sorted(failures.items())), cached, fc6)


def embed_batches(
    sources: Sequence[Source],
    encoder: Encoder,
    *,
    keys: Sequence[str] | None = None,
    batch: int = 8,
    threads: int | None = None,
    cache: Path | None = None,
    keep_fc6: bool = False,
    progress: Progress = silent,
) -> Iterator[Batch]:
    """Yield features by the batch, in the order of `sources`.

    `threads` workers (default: the cores this process may use) each read, decode and compute
    whole batches, so that decoding overlaps with computing and no core waits for another.
    With `cache`, a folder, features are kept there by `keys` (signatures, say; by each file's
    content if None) and by encoder; known ones are not computed again, and after a crash at
    most 256 are. Keys that name changing content must change with it. With `keep_fc6` the
    real-valued fc6 is given (and cached) too. Raises InputError when another process is writing
    to the same cache.
    """
    check(batch >= 1, "batch", "embed", "1 or more", batch)
    check(threads is None or threads >= 1, "threads", "embed", "1 or more", threads)
    fits = keys is None or len(keys) == len(sources)
    check(fits, "keys", "embed", f"{len(sources)} keys, one a source", keys and len(keys))
    return _embed(sources, encoder, keys, batch, threads or cores(), cache, keep_fc6, progress)


def raw_fc6(sources: Sequence[Source], encoder: Encoder, *, batch: int = 8) -> NDArray[np.float32]:
    """fc6 activations of those pictures that can be decoded, float32 (≤ n, units)."""
    parts = [np.empty((0, encoder.card.fc6.units), dtype=np.float32)]
    for start in range(0, len(sources), batch):
        tensors = []
        for source in sources[start : start + batch]:
            with suppress(ImageError):
                tensors.append(encoder.tensor(source))
        if tensors:
            parts.append(encoder.run(np.stack(tensors))[0])
    return np.concatenate(parts)


def _embed(
    sources: Sequence[Source],
    encoder: Encoder,
    keys: Sequence[str] | None,
    batch: int,
    threads: int,
    cache: Path | None,
    keep_fc6: bool,
    progress: Progress,
) -> Iterator[Batch]:
    with ExitStack() as stack:
        known = stack.enter_context(EmbeddingCache(cache, encoder, keep_fc6)) if cache else None
        work = _Work(sources, encoder.single_threaded(), keys, known, keep_fc6)
        advance: Advance = stack.enter_context(progress("seeing pictures", len(sources)))
        pool = stack.enter_context(ThreadPoolExecutor(threads, "embed"))
        starts = range(0, len(sources), batch)
        parts = (range(start, min(start + batch, len(sources))) for start in starts)
        for rows, done in _ahead(pool, work, parts, 2 * threads):
            yield done.batch(encoder, known, keep_fc6)
            advance(len(rows))


@dataclass(frozen=True)
class _Work:
    """What every worker needs; calling it does one batch."""

    sources: Sequence[Source]
    encoder: Encoder
    keys: Sequence[str] | None
    known: EmbeddingCache | None
    keep_fc6: bool

    def __call__(self, rows: range) -> _Done:
        done = _Done()
        tensors = []
        for row in rows:
            try:
                key, source = self._key(row)
                if self.known is not None and key in self.known:
                    done.old.append((row, key))
                    continue
                tensors.append(self.encoder.tensor(source))
                done.new.append((row, key))
            except ImageError as problem:
                done.failures[row] = problem.reason
        if tensors:
            done.visual = self.encoder.visual(np.stack(tensors))
            if not self.keep_fc6:
                done.visual = replace(done.visual, fc6=None)
        return done

    def _key(self, row: int) -> tuple[bytes, Source]:
        source = self.sources[row]
        if self.known is None:
            return b"", source
        if self.keys is not None:
            return key_hash(self.keys[row]), source
        content = source if isinstance(source, bytes) else read_bytes(source)
        return key_hash(content), content


@dataclass
class _Done:
    """One batch as a worker leaves it: computed, known already, and failed."""

    new: list[tuple[int, bytes]] = field(default_factory=list)
    old: list[tuple[int, bytes]] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    visual: Visual | None = None

    def batch(self, encoder: Encoder, known: EmbeddingCache | None, keep_fc6: bool) -> Batch:
        parts = [] if self.visual is None else [self.visual]
        if known is not None and self.visual is not None:
            known.add([key for _, key in self.new], self.visual)
        if known is not None and self.old:
            parts.append(known.get([key for _, key in self.old]))
        numbers = np.array([row for row, _ in self.new + self.old], dtype=np.int64)
        return Batch(numbers, _join(parts, encoder, keep_fc6), self.failures, len(self.old))


def _join(parts: Sequence[Visual], encoder: Encoder, keep_fc6: bool) -> Visual:
    """Features one after another; with none, the right number of columns."""
    if len(parts) == 1:
        return parts[0]
    fc6, fc8 = encoder.card.fc6, encoder.card.fc8

    def joined(name: str, width: int, kind: type[np.generic]) -> NDArray[Any]:
        nothing = np.empty((0, width), dtype=kind)
        return np.concatenate([nothing, *(getattr(part, name) for part in parts)])

    return Visual(
        joined("bits", -(-encoder.bits // 8), np.uint8),
        joined("ids", fc8.keep, np.uint16) if fc8 else None,
        joined("values", fc8.keep, np.float16) if fc8 else None,
        joined("fc6", fc6.units, np.float16) if keep_fc6 else None,
    )


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[range], _Done], parts: Iterator[range], depth: int
) -> Iterator[tuple[range, _Done]]:
    """Results in order, with at most `depth` batches under way: memory stays bounded."""
    waiting: deque[tuple[range, Future[_Done]]] = deque()
    try:
        for part in parts:
            waiting.append((part, pool.submit(work, part)))
            if len(waiting) >= depth:
                first, task = waiting.popleft()
                yield first, task.result()
        while waiting:
            first, task = waiting.popleft()
            yield first, task.result()
    finally:
        for _, task in waiting:
            task.cancel()  # the caller stopped early, or a batch raised
