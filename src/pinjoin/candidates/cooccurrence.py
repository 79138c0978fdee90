"""§IV.A: for each image, the images that share most boards with it. Exact, on any thread count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.sampling import sample_boards, sample_query_boards
from pinjoin.core.cores import cores
from pinjoin.core.errors import check
from pinjoin.core.incidence import Graph, Incidence
from pinjoin.core.progress import Progress, silent
from pinjoin.core.scratch import Resting, with_headroom
from pinjoin.core.types import Float32s, Int64s, UInt32s

SCORES = ("count", "cosine", "jaccard", "lift", "llr", "bm25", "adamic_adar")
_BLOCK_PAIRS = 1 << 20  # some 5 ms of work: short enough to interrupt and to share out evenly
_BLOCK_RESULTS = 1 << 19  # 4 MB of results stay in cache until they are written
_SPARE = 16  # the kernels write whole vectors


@dataclass(frozen=True)
class CooccurrenceConfig:
    """What is counted, and what is left out for cost."""

    score: str = "count"  # one of SCORES
    min_count: int = 1  # candidates that share fewer boards are left out
    max_board_pins: int | None = None  # larger boards keep their best images
    max_pin_boards: int | None = None  # images on more boards ask a sample of them
    seed: int = 0  # of that sample

    def __post_init__(self) -> None:
        caller = "cooccurrence"
        check(self.score in SCORES, "score", caller, f"one of {', '.join(SCORES)}", self.score)
        check(self.min_count >= 1, "min_count", caller, "a number ≥ 1", self.min_count)
        for name in ("max_board_pins", "max_pin_boards"):
            value = getattr(self, name)
            check(value is None or value >= 1, name, caller, "None or a number ≥ 1", value)


@dataclass(frozen=True)
class Candidates:
    """Ranked candidates of consecutive queries, like a CSR matrix.

    indptr: (queries + 1,) int64. indices, counts: (results,) uint32: of each query the candidate
    rows by score descending, then row ascending, and the boards each shares with the query.
    scores: (results,) float32.
    """

    indptr: Int64s
    indices: UInt32s
    counts: UInt32s
    _scores: Float32s | None = None

    @property
    def scores(self) -> Float32s:
        return self.counts.astype(np.float32) if self._scores is None else self._scores

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def of(self, query: int) -> tuple[UInt32s, UInt32s]:
        """(rows, counts) of one query."""
        here = slice(self.indptr[query], self.indptr[query + 1])
        return self.indices[here], self.counts[here]


def cooccurrence(
    incidence: Any,
    k: int = 10_000,
    score: str = "count",
    *,
    min_count: int = 1,
    max_board_pins: int | None = None,
    max_pin_boards: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = silent,
) -> Candidates:
    """The k best candidates of every item by shared boards (paper §IV.A: k = 10,000).

    incidence: SciPy sparse boards × items matrix (a stored non-zero is a save), an `Incidence`, or
    a pair of equally long id columns (boards, items), whole numbers from 0. A save said twice
    counts once. An item is never its own candidate; one without company has no candidates.

    score, of items q and c on d_q and d_c of N boards, n of them shared:

    - count: n, the paper's
    - cosine: n / √(d_q d_c); jaccard: n / (d_q + d_c − n); lift: n N / (d_q d_c)
    - llr: Dunning's log-likelihood ratio (1993), negative where they meet less than by chance
    - bm25: product of BM25 weights (K1 = 100, B = 0.8) over the shared boards, as in `implicit`
    - adamic_adar: Σ 1 / ln(size) over the shared boards (Adamic & Adar, 2003)

    Scores are computed in double precision (sums of board weights in exact multiples of 2⁻³²),
    then rounded to float32; ties are ranked by row, so results do not depend on `threads`.
    Boards above `max_board_pins` keep their most popular items; items on more than `max_pin_boards`
    boards ask a seeded sample of them (their counts are then counts over the sample).

    >>> import scipy.sparse
    >>> boards = scipy.sparse.csr_array([[1, 1, 1], [1, 1, 0], [0, 1, 1]])
    >>> found = cooccurrence(boards, k=2)
    >>> found.of(1)  # item 1 shares two boards with item 0, two with item 2
    (array([0, 2], dtype=uint32), array([2, 2], dtype=uint32))
    """
    config = CooccurrenceConfig(score, min_count, max_board_pins, max_pin_boards, seed)
    return Cooccurrence(incidence, config).all(k, threads=threads, progress=progress)


class Cooccurrence:
    """Board co-occurrence counted when asked, for one query or for all; nothing is precomputed.

    Thread-safe; the compiled loops run without the interpreter's lock.
    """

    def __init__(self, incidence: Any, config: CooccurrenceConfig | None = None) -> None:
        self.config = config = config or CooccurrenceConfig()
        self.incidence = _as_graph(incidence)
        if config.max_board_pins is not None:
            self.incidence = sample_boards(self.incidence.as_incidence(), config.max_board_pins)
        self._n_images = self.incidence.n_images
        self._by_board = self.incidence.by_board.arrays
        asked = self.incidence.by_image  # the boards that each query asks
        if config.max_pin_boards is not None:
            asked = sample_query_boards(
                self.incidence.as_incidence(), config.max_pin_boards, config.seed
            )
        self._asked = asked.arrays
        self._scorer = None if config.score == "count" else _Scorer(self.incidence, config.score)
        self._resting: Resting[_Scratch] = Resting()

    def over(self, graph: Graph) -> Cooccurrence:
        """The same on a graph that has changed since, without new memory to count in."""
        other = Cooccurrence(graph, self.config)
        other._resting = self._resting
        return other

    def top(self, query: int, k: int = 10_000) -> Candidates:
        """The k best candidates of one query row, as a Candidates of length 1."""
        n = self._n_images
        check(k >= 1, "k", "top", "a number ≥ 1", k)
        check(0 <= query < n, "query", "top", f"a row from 0 to {n - 1}", query)
        out = _Block.empty(1, min(k, n), scored=self._scorer is not None)
        self._run(out, query, query + 1, k)
        return out.candidates()

    def all(
        self,
        k: int = 10_000,
        *,
        first: int = 0,
        last: int | None = None,
        threads: int | None = None,
        progress: Progress = silent,
    ) -> Candidates:
        """The k best candidates of the queries [first, last): all, if not told."""
        first, last = self._range(first, last)
        blocks = self.blocks(k, first=first, last=last, threads=threads, progress=progress)
        # Address space for the most there can be; only what is used is touched.
        room = int(np.minimum(self._pairs(first, last), k).sum())
        found = _Block.empty(last - first, room, scored=self._scorer is not None)
        end = 0
        for query, block in blocks:
            start, end = end, end + len(block.indices)
            at = query - first + 1
            found.indptr[at : at + len(block)] = start + block.indptr[1:]
            found.indices[start:end] = block.indices
            found.counts[start:end] = block.counts
            if found.scores is not None:
                found.scores[start:end] = block.scores
        return found.candidates()

    @property
    def pairs(self) -> Int64s:
        """(images,) int64: the (board, image) entries that each query walks."""
        return self._pairs(0, self.incidence.n_images)

    def blocks(
        self,
        k: int = 10_000,
        *,
        first: int = 0,
        last: int | None = None,
        threads: int | None = None,
        progress: Progress = silent,
    ) -> Iterator[tuple[int, Candidates]]:
        """(first query, Candidates) for the queries [first, last) in row order: all, if not told.

        Never n × k at once: memory is a few MB per thread.

        The arrays of a block are reused once the next one is asked for: copy what you keep.
        """
        check(k >= 1, "k", "cooccurrence", "a number ≥ 1", k)
        check(threads is None or threads >= 1, "threads", "cooccurrence", "≥ 1 or None", threads)
        threads = threads or cores()
        scored = self._scorer is not None

        def work(first: int, last: int, room: int, out: _Block) -> _Block:
            out.make_room(last - first, room, scored)
            self._run(out, first, last, k)
            return out

        first, last = self._range(first, last)
        edges, rooms = _cut(self._pairs(first, last), k)
        spans = [(first + a, first + b) for a, b in pairwise(edges)]
        tasks = (partial(work, *span, room) for span, room in zip(spans, rooms, strict=True))
        with progress("counting co-occurrences", last - first) as advance:
            for span, block in zip(spans, _in_order(tasks, threads), strict=True):
                yield span[0], block.candidates()
                advance(span[1] - span[0])

    def _range(self, first: int, last: int | None) -> tuple[int, int]:
        n = self.incidence.n_images
        last = n if last is None else last
        allowed = f"a range of rows within [0, {n})"
        check(0 <= first <= last <= n, "first and last", "cooccurrence", allowed, (first, last))
        return first, last

    def _pairs(self, first: int, last: int) -> Int64s:
        from pinjoin.candidates._cooccurrence_kernel import pairs_per_query

        found: Int64s = pairs_per_query(first, last, self._asked, self._by_board)
        return found

    def _run(self, out: _Block, first: int, last: int, k: int) -> None:
        graph = self._asked, self._by_board
        scratch = self._scratch()
        if self._scorer is None:
            from pinjoin.candidates._cooccurrence_kernel import count_block

            count_block(
                first, last, k, self.config.min_count, *graph,
                scratch.small, scratch.wide, scratch.others,
                out.indptr, out.indices, out.counts,
            )  # fmt: skip
        else:
            from pinjoin.candidates._scores_kernel import score_block

            scorer = self._scorer
            score_block(
                first, last, k, self.config.min_count, scorer.kind, *graph,
                scorer.n_boards, scorer.degrees, scorer.board_weights, scorer.image_factors,
                (scratch.wide, *scratch.others),
                out.indptr, out.indices, out.counts, out.scores,
            )  # fmt: skip
        self._resting.give_back(scratch)

    def _scratch(self) -> _Scratch:
        n, most = self._n_images, self._most_boards
        found = self._resting.take(n, most)
        return found or _Scratch(with_headroom(n), most, self._scorer is not None)

    @cached_property
    def _most_boards(self) -> int:
        return self.incidence.most_boards


def pair_histogram(
    incidence: Any, *, threads: int | None = None, progress: Progress = silent
) -> Int64s:
    """How many unordered pairs of images share exactly c boards, for c = 0 … the most (Fig. 5).

    Returns int64; entry 0 counts the pairs that share none.
    """
    from pinjoin.candidates._cooccurrence_kernel import histogram_block, pairs_per_query

    whole = _as_graph(incidence).as_incidence()
    n, most = whole.n_images, whole.most_boards
    graph = (whole.image_indptr, whole.image_boards, whole.board_indptr, whole.board_images)
    edges, _ = _cut(pairs_per_query(0, n, whole.by_image.arrays, whole.by_board.arrays), 1)

    def work(first: int, last: int, out: _Counts | None) -> _Counts:
        out = out or _Counts(n, most)
        histogram_block(first, last, *graph, out.counters, out.repeated, out.histogram)
        return out

    threads = threads or cores()
    tasks = (partial(work, *span) for span in pairwise(edges))
    parts: dict[int, _Counts] = {}
    with progress("counting pairs", n) as advance:
        parted = _in_order(tasks, threads, fresh=lambda: None)
        for (first, last), part in zip(pairwise(edges), parted, strict=True):
            parts[id(part)] = part
            advance(last - first)
    total = np.zeros(most + 1, np.int64)
    for part in parts.values():
        total += part.histogram
    total[0] = n * (n - 1) // 2 - total[1:].sum()
    return np.trim_zeros(total, "b") if n > 1 else total[:1]


class _Counts:
    """One thread's part of a pair histogram."""

    def __init__(self, n: int, most: int) -> None:
        self.counters = np.zeros(n, np.uint32)
        self.repeated = np.empty(n + 1, np.uint32)
        self.histogram = np.zeros(most + 1, np.int64)


class _Scratch:
    """One thread's counters and lists. Counters, flags, sums and histogram rest at zero.

    room: images, and boards that the image of most boards is on.
    """

    def __init__(self, n: int, most: int, scored: bool) -> None:
        self.room = n, most
        flags = (n // 64 + 64) // 64 * 64
        self.small = np.zeros(0 if scored else flags * 64, np.uint8)
        self.wide = np.zeros(flags * 64 if scored or most > 255 else 0, np.uint32)
        rows, others = np.empty((2, n + _SPARE), np.uint32)
        shared = (np.zeros(flags, np.uint8), np.empty(flags + _SPARE, np.uint32), rows, others)
        if scored:
            keys, order, spare = np.empty((3, n + _SPARE), np.uint32)
            sums, scores = np.zeros(n, np.uint64), np.empty(n, np.float32)
            bins = np.empty(2048, np.uint64)
            self.others: tuple[npt.NDArray[Any], ...] = (
                *shared, sums, scores, keys, order, spare, bins,
            )  # fmt: skip
        else:
            self.others = (*shared, np.zeros(most + 2, np.uint64))


@dataclass
class _Block:
    """Reusable room for the results of some queries."""

    indptr: Int64s
    indices: UInt32s
    counts: UInt32s
    scores: Float32s | None

    @classmethod
    def empty(cls, queries: int, room: int, scored: bool) -> _Block:
        return cls(
            np.zeros(queries + 1, np.int64),
            np.empty(room, np.uint32),
            np.empty(room, np.uint32),
            np.empty(room, np.float32) if scored else None,
        )

    def make_room(self, queries: int, room: int, scored: bool) -> None:
        if len(self.indices) < room or scored != (self.scores is not None):
            self.__dict__.update(self.empty(0, room, scored).__dict__)
        self.indptr = np.zeros(queries + 1, np.int64)

    def candidates(self) -> Candidates:
        end = int(self.indptr[-1])
        scores = None if self.scores is None else self.scores[:end]
        return Candidates(self.indptr, self.indices[:end], self.counts[:end], scores)


class _Scorer:
    """A score's constants: board weights in fixed point, a factor per image."""

    def __init__(self, incidence: Graph, score: str) -> None:
        from pinjoin.candidates import _scores_kernel as kernel

        kinds = {
            "cosine": kernel.COSINE,
            "jaccard": kernel.JACCARD,
            "lift": kernel.LIFT,
            "llr": kernel.LLR,
        }
        self.kind = kinds.get(score, kernel.WEIGHTED)
        self.degrees = incidence.degrees
        sizes, n_boards = incidence.sizes.astype(np.float64), incidence.boards_there
        weights = np.zeros(incidence.n_boards)
        self.image_factors = np.ones(incidence.n_images)
        if score == "adamic_adar":
            weights = 1 / np.log(np.maximum(sizes, 2))
        elif score == "bm25":
            k1, b = 100.0, 0.8
            length = (1 - b) + b * sizes / max(sizes.sum() / max(n_boards, 1), 1e-12)
            weights = ((k1 + 1) / (k1 * length + 1)) ** 2
            self.image_factors = np.log(max(n_boards, 1)) - np.log1p(self.degrees)
        self.n_boards = n_boards
        self.board_weights = np.rint(weights * kernel.UNIT).astype(np.uint64)


def _as_graph(incidence: Any) -> Graph:
    if isinstance(incidence, Graph):
        return incidence
    if isinstance(incidence, tuple | list) and len(incidence) == 2:
        return Incidence.from_pairs(np.asarray(incidence[0]), np.asarray(incidence[1]))
    return Incidence.from_matrix(incidence)


def _cut(pairs: Int64s, k: int) -> tuple[list[int], list[int]]:
    """Edges of blocks of queries, and the most results each block can have."""
    results = np.cumsum(np.minimum(pairs, k))
    work = np.cumsum(pairs)
    edges, rooms = [0], []
    n = len(pairs)
    while edges[-1] < n:
        first = edges[-1]
        done, found = (int(work[first - 1]), int(results[first - 1])) if first else (0, 0)
        last = min(
            int(np.searchsorted(work, done + _BLOCK_PAIRS, "right")),
            int(np.searchsorted(results, found + _BLOCK_RESULTS, "right")),
        )
        last = min(max(last, first + 1), n)
        rooms.append(int(results[last - 1]) - found)
        edges.append(last)
    return edges, rooms


def _in_order(
    tasks: Iterator[Callable[[Any], Any]],
    threads: int,
    fresh: Callable[[], Any] = lambda: _Block.empty(0, 0, scored=False),
) -> Iterator[Any]:
    """Results of tasks(out) in order. `out` is an earlier result that the consumer is done with."""
    pool = ThreadPoolExecutor(threads)
    spare = [fresh() for _ in range(threads + 2)]
    running: list[Future[Any]] = []
    try:
        for task in tasks:
            running.append(pool.submit(task, spare.pop()))
            if not spare:
                result = running.pop(0).result()
                yield result
                spare.append(result)
        for future in running:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
