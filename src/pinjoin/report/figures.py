"""The examples a report shows: queries, and their candidates by boards shared (Figure 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pinjoin.core.incidence import Graph, Incidence
from pinjoin.core.types import Int64s


@dataclass(frozen=True)
class Level:
    """Some of a query's candidates that share about equally many boards with it."""

    name: str  # "low", "medium" or "high"
    rows: Int64s
    counts: Int64s  # boards shared, one per row


def choose_queries(incidence: Incidence, n: int, rng: np.random.Generator) -> list[int]:
    """n random rows from the better known quarter of the catalogue, so that there is a spread.

    Int64s are in order of popularity, so that quarter is its beginning; fewer than n come back only
    where fewer images are on any board.
    """
    popularity = incidence.degrees
    on_boards = int(np.count_nonzero(popularity))
    pool = min(on_boards, max(n, on_boards // 4))
    return sorted(rng.choice(pool, size=min(n, pool), replace=False).tolist()) if pool else []


def shared_counts(incidence: Incidence, query: int) -> tuple[Int64s, Int64s]:
    """All rows that share a board with the query (ascending, never itself), and how many."""
    boards = [incidence.images_of(board) for board in incidence.boards_of(query)]
    if not boards:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows, counts = np.unique(np.concatenate(boards), return_counts=True)
    others = rows != query
    return rows[others].astype(np.int64), counts[others].astype(np.int64)


def levels(incidence: Incidence, query: int, n: int, rng: np.random.Generator) -> list[Level]:
    """Up to n examples each of low, medium and high co-occurrence, the paper's Figure 4.

    On the logarithmic way from the query's lowest count to its highest, high is the upper third
    (its highest counts, ties by row), low is the lowest count itself (a random choice), medium
    is what lies between (counts nearest to the middle). A level the query has no candidates for is
    left out; where all counts are equal, all are low.
    """
    rows, counts = shared_counts(incidence, query)
    order = np.lexsort((rows, -counts))
    rows, counts = rows[order], counts[order]
    if not len(rows):
        return []
    lowest, highest = int(counts[-1]), int(counts[0])
    way = np.log(counts / lowest) / max(np.log(highest / lowest), 1e-9)  # 0 lowest … 1 highest
    high = np.flatnonzero(way >= 2 / 3)[:n]
    between = np.flatnonzero((way > 0) & (way < 2 / 3))
    medium = between[np.lexsort((between, np.abs(way[between] - 0.5)))[:n]]
    once = np.flatnonzero(way == 0)
    low = rng.choice(once, size=min(n, len(once)), replace=False)
    made = (("low", low), ("medium", medium), ("high", high))
    return [
        Level(name, rows[np.sort(chosen)], counts[np.sort(chosen)])
        for name, chosen in made
        if len(chosen)
    ]


def largest_boards(incidence: Incidence, n: int) -> list[tuple[int, int]]:
    """(board row, images) of the n boards with most images, ties by row."""
    sizes = incidence.sizes
    order = np.argsort(-sizes, kind="stable")[:n]
    return [(int(board), int(sizes[board])) for board in order if sizes[board]]


def cover(graph: Graph, board: int, n: int) -> list[int]:
    """n images of a board spread over the order of popularity, not only what everyone saved."""
    images = graph.images_of(board)
    positions = np.linspace(0, len(images) - 1, min(n, len(images))).round().astype(np.int64)
    return [int(row) for row in images[positions]]
