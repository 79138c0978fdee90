"""Training triplets: for a query, what did well, what did badly, and what is anything (§IV.B).

(q, argmax COEC, argmin COEC)        the best engaged document over the worst engaged one
(q, argmin COEC, random PinJoin)     even that one over a random document of the catalogue
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.core.types import UInt32s
from pinjoin.ranking.coec import CoecTable

ENGAGED, RANDOM = 0, 1
"""Kinds of triplets: best over worst; worst over random."""


@dataclass(frozen=True)
class TripletConfig:
    """Which queries and documents say enough to learn from."""

    min_query_impressions: int = 100  # of all candidates of the query together
    min_impressions: int = 10  # of a candidate, to be the best or the worst
    random_negatives: int = 1  # per query, each another triplet; 0 = none

    def __post_init__(self) -> None:
        for name in ("min_query_impressions", "min_impressions"):
            check(getattr(self, name) >= 1, name, "TripletConfig", "1 or more", getattr(self, name))
        given = self.random_negatives
        check(given >= 0, "random_negatives", "TripletConfig", "0 or more", given)


@dataclass(frozen=True)
class Triplets:
    """`better` should rank above `worse` for `query`; rows, uint32 [n]. kind uint8 [n]."""

    query: UInt32s
    better: UInt32s
    worse: UInt32s
    kind: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.query)

    def where(self, mask: npt.NDArray[Any]) -> Triplets:
        """Some of them: mask bool [n], or numbers."""
        return Triplets(self.query[mask], self.better[mask], self.worse[mask], self.kind[mask])


def make_triplets(
    table: CoecTable,
    n_items: int,
    rng: np.random.Generator,
    config: TripletConfig | None = None,
) -> Triplets:
    """The triplets of every query with enough impressions, by query; engaged before random.

    Of equal COEC, the lowest row is taken, as best and as worst alike. A query whose documents
    all have one COEC gives no engaged triplet; a query with fewer than two documents of enough
    impressions gives none, as its only document is the best as much as the worst. The random
    document is any of `n_items` rows but the query and the documents shown for it (among which
    it might be the best); a query that all were shown for gives no random triplet.

    Raises ConfigError if `table` names a row ≥ n_items; InputError if no query qualifies.
    """
    config = config or TripletConfig()
    highest = max(int(table.query.max(initial=0)), int(table.candidate.max(initial=0)))
    check(highest < n_items, "n_items", "make_triplets", f"more than row {highest}", n_items)
    query, best, worst, ends = _extremes(table, config)
    coec = table.coec
    engaged = coec[best] > coec[worst]
    random, of = _random(table, query, ends, n_items, rng, config.random_negatives)
    at = np.concatenate([np.flatnonzero(engaged), of])
    kind = np.repeat(np.array([ENGAGED, RANDOM], np.uint8), [int(engaged.sum()), len(of)])
    better = np.concatenate([table.candidate[best[engaged]], table.candidate[worst[of]]])
    worse = np.concatenate([table.candidate[worst[engaged]], random])
    order = np.lexsort((kind, at))
    if not len(order):
        raise InputError(
            f"No query has {config.min_query_impressions} impressions and two candidates of "
            f"{config.min_impressions} or more; the most one has is "
            f"{_most(table):,}. Collect more events, or ask for fewer."
        )
    return Triplets(query[at][order], better[order], worse[order], kind[order])


def _most(table: CoecTable) -> int:
    if not len(table):
        return 0
    return int(np.bincount(table.query, table.impressions).max())


def _extremes(table: CoecTable, config: TripletConfig) -> tuple[UInt32s, Any, Any, Any]:
    """(queries, entries of their best, of their worst, (queries, 2) range of their entries)."""
    starts = np.flatnonzero(np.diff(table.query, prepend=-1, append=-1))
    if not len(table):
        starts = np.zeros(1, np.int64)
    first, last = starts[:-1], starts[1:]
    total = np.add.reduceat(table.impressions, first) if len(first) else np.zeros(0)
    enough = np.flatnonzero(table.impressions >= config.min_impressions)
    group = np.searchsorted(first, enough, side="right") - 1
    keep = total[group] >= config.min_query_impressions
    enough, group = enough[keep], group[keep]
    coec = table.coec[enough]
    # Entries of a query are by row already: a stable sort leaves ties in row order.
    rising = enough[np.lexsort((enough, coec, group))]
    falling = enough[np.lexsort((enough, -coec, group))]
    groups, begin, counts = np.unique(group, return_index=True, return_counts=True)
    several = counts >= 2
    begin, groups = begin[several], groups[several]
    ends = np.stack([first[groups], last[groups]], axis=1)
    return table.query[first[groups]], falling[begin], rising[begin], ends


def _random(
    table: CoecTable, query: UInt32s, ends: Any, n_items: int, rng: np.random.Generator, each: int
) -> tuple[UInt32s, npt.NDArray[np.int64]]:
    """`each` random rows for every query that has any left, and which query each is for.

    Drawn with replacement, evenly over the rows that are neither the query nor shown for it.
    """
    sizes = ends[:, 1] - ends[:, 0]
    group = np.repeat(np.arange(len(query)), sizes)
    entry = np.arange(len(group)) + np.repeat(ends[:, 0] - (np.cumsum(sizes) - sizes), sizes)
    shown = group * n_items + table.candidate[entry]
    keys = np.concatenate([shown, np.arange(len(query)) * n_items + query])
    keys = np.unique(keys)
    group = keys // n_items
    counts = np.bincount(group, minlength=len(query))
    starts = np.cumsum(counts) - counts
    free = n_items - counts
    of = np.repeat(np.flatnonzero(free > 0), each)
    rank = rng.integers(0, np.maximum(free[of], 1))
    # The r-th free row is r + the taken rows that come before it: taken row number i (from 0)
    # has row − i free ones before it.
    before = keys % n_items - (np.arange(len(keys)) - starts[group]) + group * (n_items + 1)
    skipped = np.searchsorted(before, rank + of * (n_items + 1), side="right") - starts[of]
    return (rank + skipped).astype(np.uint32), of
