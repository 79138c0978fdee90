"""Random walks with restart on the graph of images and boards (Pixie, Eksombatchai et al., 2018).

From an image to a random board of it, to a random image of that board: one hop. A walk starts at
the query, goes on after each hop with probability `decay`, and ends after `hops` at the latest.
The score of an image is how often walks end a hop on it, per walk. With A the boards × images
incidence, its expectation is row q of

    s = Σ_{t = 1..hops} decay^(t−1) P^t,    P = D_img⁻¹ Aᵀ D_board⁻¹ A

so both sides are normalised by degree: an image shares its mass evenly among its boards, a board
among its images. (Dividing by a power of the candidate's own degree as well only ranked worse.)
Where few saves are within reach s is computed exactly, which is then cheaper; else it is sampled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from pinjoin.core.errors import check
from pinjoin.core.incidence import Graph, Incidence
from pinjoin.core.scratch import Resting, with_headroom
from pinjoin.core.topk import top_k
from pinjoin.core.types import Float32s, UInt32s

_NO_WEIGHTS = np.empty(0, np.float32)
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class WalkConfig:
    """How far walks go, how many are taken, and when the exact score is cheaper."""

    hops: int = 4  # at most, from images to images
    decay: float = 0.8  # probability to go on after a hop; else the walk restarts at the query
    steps: int = 10_000  # hops sampled per query, give or take a few
    exact_saves: int = 250_000  # exact if at most so many saves are read: some 1–2 ns each
    enough_images: int = 0  # stop sampling once so many images have `enough_visits`; 0 = never
    enough_visits: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        caller = "WalkConfig"
        check(1 <= self.hops <= 64, "hops", caller, "a number from 1 to 64", self.hops)
        check(0 < self.decay <= 1, "decay", caller, "above 0 and at most 1", self.decay)
        check(1 <= self.steps <= 1 << 24, "steps", caller, "from 1 to 2^24", self.steps)
        for name in ("exact_saves", "enough_images"):
            value = getattr(self, name)
            check(value >= 0, name, caller, "a number ≥ 0", value)
        check(self.enough_visits >= 1, "enough_visits", caller, "a number ≥ 1", self.enough_visits)

    @property
    def walks(self) -> int:
        """How many walks take `steps` hops, on average."""
        return max(1, round(self.steps / sum(self.decay**t for t in range(self.hops))))


@dataclass(frozen=True)
class Visits:
    """Images by score descending, then row ascending; never the query.

    rows: (results,) uint32. scores: (results,) float32, visits per walk, or their expectation if
    `exact`. steps: how many hops were sampled.
    """

    rows: UInt32s
    scores: Float32s
    exact: bool
    steps: int

    def __len__(self) -> int:
        return len(self.rows)


class RandomWalk:
    """Walks from one query at a time; nothing is precomputed. Thread-safe.

    `snapshot` names what is walked on: the same query on the same snapshot takes the same walks,
    so that answers do not flicker; another snapshot's are others.
    """

    def __init__(
        self, incidence: Graph, config: WalkConfig | None = None, snapshot: str = ""
    ) -> None:
        self.incidence = incidence
        self.config = config or WalkConfig()
        name = hashlib.sha256(f"{self.config.seed}/{snapshot}".encode()).digest()
        self._seed = np.uint64(int.from_bytes(name[:8], "little"))
        # An image met on a walk has more boards than most, a board more images: size-biased means.
        saves = max(incidence.n_saves, 1)
        self._next_boards = float(np.square(incidence.degrees, dtype=np.float64).sum()) / saves
        self._next_images = float(np.square(incidence.sizes, dtype=np.float64).sum()) / saves
        self._resting: Resting[_Scratch] = Resting()

    def over(self, graph: Graph) -> RandomWalk:
        """The same on a graph that has changed since, without new memory to walk in. Where exact
        scores are cheaper is judged by the first graph."""
        other = copy(self)
        other.incidence = graph
        return other

    def top(self, query: int, k: int = 10_000, *, board_weights: Float32s | None = None) -> Visits:
        """The k images of highest score from a query row; none if the query is on no board.

        board_weights: (boards,) in (0, 1]. Walks go from an image to each of its boards in
        proportion to its weight: higher for boards of the query's categories, say.
        """
        n = self.incidence.n_images
        check(0 <= query < n, "query", "RandomWalk.top", f"a row from 0 to {n - 1}", query)
        check(k >= 1, "k", "RandomWalk.top", "a number ≥ 1", k)
        weights = self._weights(board_weights)
        if not len(self.incidence.boards_of(query)):
            return Visits(np.empty(0, np.uint32), np.empty(0, np.float32), True, 0)
        scratch = self._scratch()
        found = self._exact(query, k, weights, scratch) if self._is_near(query) else None
        if found is None:
            found = self._sampled(query, k, weights, scratch)
        self._resting.give_back(scratch)
        return found

    def top_of_many(
        self, queries: Sequence[int], k: int = 10_000, *, board_weights: Float32s | None = None
    ) -> Visits:
        """The k images nearest to several queries at once, none of them a query.

        Pixie's boost: the score (Σ_q √s_q)² favours what walks from many of the queries reach
        over what walks from one of them reach often. One query alone scores s_q.
        """
        caller = "RandomWalk.top_of_many"
        check(len(queries) >= 1, "queries", caller, "at least one row", list(queries))
        check(k >= 1, "k", caller, "a number ≥ 1", k)
        n = self.incidence.n_images
        parts = [self.top(int(query), n, board_weights=board_weights) for query in queries]
        rows, place = np.unique(np.concatenate([part.rows for part in parts]), return_inverse=True)
        roots = np.sqrt(np.concatenate([part.scores for part in parts]), dtype=np.float64)
        scores = np.square(np.bincount(place, roots, len(rows))).astype(np.float32)
        other = ~np.isin(rows, np.asarray(queries))
        rows, scores = rows[other], scores[other]
        best = top_k(scores, k)
        exact = all(part.exact for part in parts)
        return Visits(rows[best], scores[best], exact, sum(part.steps for part in parts))

    def _scratch(self) -> _Scratch:
        n, n_boards = self.incidence.n_images, self.incidence.n_boards
        found = self._resting.take(n, n_boards)
        return found or _Scratch(with_headroom(n), with_headroom(n_boards), self.config)

    def _is_near(self, query: int) -> bool:
        """Whether all hops are expected to read at most `exact_saves` saves: by the query's
        degree and what a walk meets on average. A hop reads each save at most twice."""
        saves = self.incidence.n_saves
        boards, read = float(len(self.incidence.boards_of(query))), 0.0
        for _ in range(self.config.hops):
            images = boards * self._next_images
            read += min(boards, saves) + min(images, saves)
            boards = images * self._next_boards
        return read <= self.config.exact_saves

    def _exact(self, query: int, k: int, weights: Float32s, scratch: _Scratch) -> Visits | None:
        from pinjoin.candidates._walk_kernel import propagated_walk

        rows, scores = scratch.results
        n = propagated_walk(
            query, k, self.config.hops, self.config.decay, self.config.exact_saves,
            self._graph, weights, scratch.masses, scratch.ranking, rows, scores,
        )  # fmt: skip
        return None if n < 0 else Visits(rows[:n].copy(), scores[:n].copy(), True, 0)

    def _sampled(self, query: int, k: int, weights: Float32s, scratch: _Scratch) -> Visits:
        from pinjoin.candidates._walk_kernel import sampled_walk

        config, (rows, scores) = self.config, scratch.results
        n, steps = sampled_walk(
            query, k, config.hops, config.decay, config.walks, config.enough_images,
            config.enough_visits, self._seed, self._graph, weights, scratch.visits, rows, scores,
        )  # fmt: skip
        return Visits(rows[:n].copy(), scores[:n].copy(), False, steps)

    @property
    def _graph(self) -> tuple[object, ...]:
        return self.incidence.by_image.arrays, self.incidence.by_board.arrays

    def _weights(self, board_weights: Float32s | None) -> Float32s:
        if board_weights is None:
            return _NO_WEIGHTS
        caller = "RandomWalk.top"
        weights = np.ascontiguousarray(board_weights, np.float32)
        shape = (self.incidence.n_boards,)
        check(weights.shape == shape, "board_weights", caller, f"of shape {shape}", weights.shape)
        ends = (float(weights.min(initial=1)), float(weights.max(initial=1)))
        check(ends[0] > 0 and ends[1] <= 1, "board_weights", caller, "in (0, 1]", ends)
        return weights


class _Scratch:
    """What one thread computes in. Pages cost nothing until walks reach them.

    room: images, boards.
    """

    def __init__(self, n: int, n_boards: int, config: WalkConfig) -> None:
        from pinjoin.candidates._walk_kernel import WALKERS

        self.room = n, n_boards
        visits = config.walks * config.hops + WALKERS  # if all walks went all the way

        def rows(n: int) -> UInt32s:
            return np.empty(n, np.uint32)

        bins = np.empty(2048, np.uint64)
        self.masses = (  # board_mass, image_mass, total, boards, rows, masses, reached
            np.zeros(n_boards), np.zeros(n), np.zeros(n),
            rows(n_boards + 1), rows(n + 1), np.empty(n + 1), rows(n + 1),
        )  # fmt: skip
        self.ranking = (np.empty(n + 1, np.float32), rows(n), rows(n), rows(n + 1), bins)
        self.visits = (  # walkers, visits, spare, rows, ends, tally, histogram
            (rows(WALKERS), np.empty(WALKERS), *np.empty((4, WALKERS), np.uint64)),
            rows(visits + 1), rows(visits), rows(visits), rows(visits),
            np.zeros(visits + 1, np.uint32), bins,
        )  # fmt: skip
        self.results = (rows(n), np.empty(n, np.float32))


def exact_walk(
    incidence: Incidence, query: int, hops: int = 4, decay: float = 0.8, k: int | None = None
) -> tuple[UInt32s, Float32s]:
    """The k (all, if not told) highest of row `query` of s, exactly: (rows, scores) by score
    descending, then row ascending. Never the query; empty if it is on no board.

    Reads every save within reach twice a hop.

    >>> boards = Incidence.from_pairs(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]))
    >>> rows, scores = exact_walk(boards, 0, hops=2, decay=0.5)  # image 0 – board 0 – 1 – 1 – 2
    >>> rows.tolist(), scores.tolist()  # 1/2 + 0.5 · (1/2 · 1/2 + 1/2 · 1/2), 0.5 · 1/2 · 1/2 · 1/2
    ([1, 2], [0.75, 0.0625])
    """
    walk = RandomWalk(incidence, WalkConfig(hops, decay, exact_saves=_NO_LIMIT))
    found = walk.top(query, max(incidence.n_images, 1) if k is None else k)
    return found.rows, found.scores
