"""Training triplets: for a query, what did well, what did badly, and what is anything (§IV.B).

(q, argmax COEC, argmin COEC)        the best engaged document over the worst engaged one
(q, argmin COEC, random PinJoin)     even that one over a random document of the catalogue

Small logs teach more with two things past the paper: several pairs of a query, and doubt. Of
documents that were seldom seen the luckiest has the highest COEC and many have 0; with doubt it is
the documents of most evidence that are best and worst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError, check
from pinjoin.core.types import UInt32s
from pinjoin.ranking.coec import CoecTable, ratio
from pinjoin.ranking.expected import Floats

ENGAGED, RANDOM = 0, 1
"""Kinds of triplets: best over worst; worst over random."""


@dataclass(frozen=True)
class TripletConfig:
    """Which queries and documents say enough to learn from."""

    min_query_impressions: int = 100  # of all candidates of the query together
    min_impressions: int = 10  # of a candidate, to be the best or the worst
    random_negatives: int = 1  # per query, each another triplet; 0 = none
    pairs: int = 1  # per query: best over worst, then the second best over the second worst …
    doubt: float = 0.0  # imagined actions of each candidate, as expected; 0: COEC as it is

    def __post_init__(self) -> None:
        for name in ("min_query_impressions", "min_impressions", "pairs"):
            check(getattr(self, name) >= 1, name, "TripletConfig", "1 or more", getattr(self, name))
        given = self.random_negatives
        check(given >= 0, "random_negatives", "TripletConfig", "0 or more", given)
        certain = 0 <= self.doubt < np.inf
        check(certain, "doubt", "TripletConfig", "a number ≥ 0", self.doubt)


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

    Documents are compared by (actions + doubt) / (expected + doubt). Of equal ones, the lowest row
    is taken, as best and as worst alike. A query whose documents are all equal gives no engaged
    triplet; a query with fewer than two documents of enough impressions gives none, as its only
    document is the best as much as the worst. The random document is any of `n_items` rows but
    the query and the documents shown for it (among which it might be the best); a query that all
    were shown for gives no random triplet.

    Raises ConfigError if `table` names a row ≥ n_items; InputError if no query qualifies.
    """
    config = config or TripletConfig()
    highest = max(int(table.query.max(initial=0)), int(table.candidate.max(initial=0)))
    check(highest < n_items, "n_items", "make_triplets", f"more than row {highest}", n_items)
    value = ratio(table.actions + config.doubt, table.expected + config.doubt)
    query, ends, of_pair, best, worst, lowest = _extremes(table, value, config)
    engaged = value[best] > value[worst]
    random, of = _random(table, query, ends, n_items, rng, config.random_negatives)
    at = np.concatenate([of_pair[engaged], of])
    kind = np.repeat(np.array([ENGAGED, RANDOM], np.uint8), [int(engaged.sum()), len(of)])
    better = np.concatenate([table.candidate[best[engaged]], table.candidate[lowest[of]]])
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


def _extremes(
    table: CoecTable, value: Floats, config: TripletConfig
) -> tuple[UInt32s, *tuple[Any, ...]]:
    """(queries, (queries, 2) range of their entries, of each pair the number of its query, the
    entry of its better one, of its worse one; of each query the entry of its worst one)."""
    starts = np.flatnonzero(np.diff(table.query, prepend=-1, append=-1))
    if not len(table):
        starts = np.zeros(1, np.int64)
    first, last = starts[:-1], starts[1:]
    total = np.add.reduceat(table.impressions, first) if len(first) else np.zeros(0)
    enough = np.flatnonzero(table.impressions >= config.min_impressions)
    group = np.searchsorted(first, enough, side="right") - 1
    keep = total[group] >= config.min_query_impressions
    enough, group = enough[keep], group[keep]
    # Entries of a query are by row already: a stable sort leaves ties in row order.
    rising = enough[np.lexsort((enough, value[enough], group))]
    falling = enough[np.lexsort((enough, -value[enough], group))]
    groups, begin, counts = np.unique(group, return_index=True, return_counts=True)
    several = counts >= 2
    begin, groups, counts = begin[several], groups[several], counts[several]
    pairs = np.minimum(counts // 2, config.pairs)
    of_pair = np.repeat(np.arange(len(groups)), pairs)
    place = begin[of_pair] + np.arange(len(of_pair)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    ends = np.stack([first[groups], last[groups]], axis=1)
    return table.query[first[groups]], ends, of_pair, falling[place], rising[place], rising[begin]


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
