"""The candidates that a ranker orders: who shares boards with the query, whom walks reach, and,
where these are few, who is alike; with what retrieval knows of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.walk import RandomWalk, Visits
from pinjoin.core.errors import check
from pinjoin.core.incidence import Graph
from pinjoin.core.scratch import Resting, with_headroom
from pinjoin.core.types import Float32s, UInt32s
from pinjoin.features.pairs import Signals

Bools = npt.NDArray[np.bool_]
Part = tuple[UInt32s, int | npt.NDArray[np.uint8]]
"""Rows, and the source that each, or all of them, are said to come from."""

COOCCURRENCE, WALK = 0, 1
"""In `Retrieved.sources`; what `alike` gives beyond them."""

_ALL = np.empty(0, np.bool_)


@dataclass(frozen=True)
class RetrievalConfig:
    """How many candidates are ranked."""

    most: int = 10_000  # of one query (§IV.A)
    enough: int = 200  # with fewer from boards and walks, those alike in content are ranked too

    def __post_init__(self) -> None:
        check(self.most >= 1, "most", "RetrievalConfig", "a number ≥ 1", self.most)
        check(self.enough >= 0, "enough", "RetrievalConfig", "a number ≥ 0", self.enough)


@dataclass(frozen=True)
class Retrieved:
    """Candidates of one query, each once, never the query.

    rows: (candidates,) uint32; sources: (candidates,) uint8, the first that found each.
    """

    rows: UInt32s
    sources: npt.NDArray[np.uint8]
    signals: Signals

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, places: npt.NDArray[np.integer[Any]]) -> Retrieved:
        """Some of them, by place or mask."""
        s = self.signals
        signals = Signals(
            s.counts[places],
            s.adamic_adar[places],
            s.resource_allocation[places],
            s.walk[places],
            None if s.navboost is None else s.navboost[places],
        )
        return Retrieved(self.rows[places], self.sources[places], signals)


class Retrieval:
    """Finds candidates by shared boards (most first), then by walks. Thread-safe."""

    def __init__(
        self, cooccurrence: Cooccurrence, walk: RandomWalk, config: RetrievalConfig | None = None
    ) -> None:
        self.config = config or RetrievalConfig()
        self._cooccurrence, self._walk = cooccurrence, walk
        self._graph = walk.incidence
        self._resting: Resting[_Sums] = Resting()

    def over(self, graph: Graph) -> Retrieval:
        """The same on a graph that has changed since, without new memory to work in."""
        other = Retrieval(self._cooccurrence.over(graph), self._walk.over(graph), self.config)
        other._resting = self._resting
        return other

    def find(
        self,
        query: int,
        *,
        eligible: Bools | None = None,
        alike: Callable[[int], Part] | None = None,
        wanted: Part | None = None,
        board_weights: Float32s | None = None,
    ) -> Retrieved:
        """Up to `most` candidates of a query row, only eligible ones.

        eligible: (images,) bool; applied before the cut. alike: asked for the `enough` rows most
        alike in content where boards and walks give fewer. wanted: rows that are candidates even
        if nothing finds them. board_weights: as `RandomWalk.top`.
        """
        n, most = self._graph.n_images, self.config.most
        k = most if eligible is None else n
        together = self._cooccurrence.top(query, k).indices
        visits = self._walk.top(query, k, board_weights=board_weights)
        parts: list[Part] = [(together, COOCCURRENCE), (visits.rows, WALK)]
        if wanted is not None:
            together = together[: most - len(wanted[0])] if eligible is None else together
            parts = [(together, COOCCURRENCE), wanted, (visits.rows, WALK)]
        found = self._first_of_each(query, parts, visits, eligible)
        if alike is not None and len(found) < self.config.enough:
            parts.append(alike(self.config.enough))
            found = self._first_of_each(query, parts, visits, eligible)
        return found

    def reached_together(self, queries: Sequence[int], k: int) -> UInt32s:
        """The k rows that walks from several query rows reach most, none of them a query."""
        return self._walk.top_of_many(queries, k).rows

    def describe(self, query: int, rows: UInt32s) -> Signals:
        """What boards and walks say of any rows (distinct, without the query)."""
        visits = self._walk.top(query, self._graph.n_images)
        return self._first_of_each(query, [(rows, COOCCURRENCE)], visits, None, len(rows)).signals

    def _first_of_each(
        self,
        query: int,
        parts: list[Part],
        visits: Visits,
        eligible: Bools | None,
        most: int | None = None,
    ) -> Retrieved:
        from pinjoin.candidates._retrieval_kernel import first_of_each

        graph = self._graph
        rows = np.concatenate([part for part, _ in parts])
        sources = np.concatenate([np.full(len(p), source, np.uint8) for p, source in parts])
        most = min(self.config.most if most is None else most, len(rows))
        out = (
            np.empty(most, np.uint32), np.empty(most, np.uint8), np.empty(most, np.uint32),
            *np.empty((3, most), np.float32),
        )  # fmt: skip
        sums = self._resting.take(graph.n_images) or _Sums(with_headroom(graph.n_images))
        n = first_of_each(
            query, rows, sources, _ALL if eligible is None else eligible, most,
            visits.rows, visits.scores,
            (graph.by_image.arrays, graph.by_board.arrays), sums.values, out,
        )  # fmt: skip
        self._resting.give_back(sums)
        found, kinds, *signals = (array[:n] for array in out)
        return Retrieved(found, kinds, Signals(*signals))


class _Sums:
    """(images, 4) float32, at rest all zero. room: images."""

    def __init__(self, n: int) -> None:
        self.room = (n,)
        self.values = np.zeros((n, 4), np.float32)
