"""What retrieval and ranking hand on: candidates with scores, then results with their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.blend import Blended
from pinjoin.candidates.retrieval import Retrieved
from pinjoin.core.topk import top_rows
from pinjoin.core.types import Float32s, Int64s, UInt32s
from pinjoin.features.pairs import Context
from pinjoin.ranker import Ranker

SOURCES = (
    "co-occurrence", "random walk", "visual neighbours", "text neighbours",
    "popular in category", "popular", "boosted", "pinned",
)  # fmt: skip
"""Where results come from, in the order they are asked; the last two because the caller said so."""
VISUAL, TEXT, IN_CATEGORY, POPULAR, BOOSTED, PINNED = range(2, 8)


@dataclass(frozen=True)
class Source:
    """One way to come by results."""

    best: Callable[[int], tuple[UInt32s, Float32s]]  # k → rows, scores
    names: int | Callable[[UInt32s], Any]  # places in SOURCES: of all rows, or by row

    def find(self, k: int) -> tuple[UInt32s, Float32s]:
        return self.best(k)

    def names_of(self, rows: UInt32s) -> Any:
        return self.names(rows) if callable(self.names) else np.full(len(rows), self.names)


@dataclass(frozen=True)
class Ranked:
    """The candidates of a request and their scores, (candidates,) float32.

    first: rows that lead, whatever their score: the best ones in an order that is diverse.
    """

    found: Retrieved
    scores: Float32s
    ranker: Ranker | None
    context: Context | None
    boosts: Mapping[int, float]
    first: UInt32s = field(default_factory=lambda: np.empty(0, np.uint32))
    _place_of: dict[int, int] = field(default_factory=dict, repr=False)  # of the best so far

    def best(self, k: int) -> tuple[UInt32s, Float32s]:
        places = top_rows(self.scores, self.found.rows, max(k, len(self.first)))
        places[: len(self.first)] = self.places(self.first)
        rows = self.found.rows[places]
        self._place_of.update(zip(rows.tolist(), places.tolist(), strict=True))
        return rows[:k], self.scores[places[:k]]

    def places(self, rows: UInt32s) -> Int64s:
        """Where rows stand among the candidates; −1: nowhere."""
        known = [self._place_of.get(row, -1) for row in rows.tolist()]
        if -1 not in known:
            return np.array(known, np.int64)
        order = self._by_row
        if not len(order):
            return np.full(len(rows), -1, np.int64)
        at = np.searchsorted(self.found.rows, rows, sorter=order)
        places = order[np.minimum(at, len(order) - 1)]
        return np.where(self.found.rows[places] == rows, places, -1)

    def sources_of(self, rows: UInt32s) -> Any:
        return self.found.sources[self.places(rows)]

    @cached_property
    def _by_row(self) -> Int64s:
        return np.argsort(self.found.rows)


@dataclass(frozen=True)
class Ranking:
    """What belongs next to an image, best first: (results,) arrays. Made by `Workspace.rank`.

    query: its row, None for a picture from outside. scores: comparable within a source only.
    sources: places in SOURCES. shared_boards: how many boards hold it and the query.
    """

    query: int | None
    rows: UInt32s
    scores: Float32s
    sources: npt.NDArray[np.uint8]
    shared_boards: UInt32s
    model: str  # the name of what ranked
    ranked: Ranked | None = None  # the candidates, for reasons; None: there were none to rank

    def __len__(self) -> int:
        return len(self.rows)

    def after(self, skipped: int) -> Ranking:
        """Without its first results."""
        columns = ("rows", "scores", "sources", "shared_boards")
        return replace(self, **{name: getattr(self, name)[skipped:] for name in columns})


def names_of(found: Blended, sources: Sequence[Source]) -> npt.NDArray[np.uint8]:
    """(results,) places in SOURCES."""
    names = np.empty(len(found), np.uint8)
    for place, source in enumerate(sources):
        here = found.sources == place
        if here.any():
            names[here] = source.names_of(found.rows[here])
    return names
