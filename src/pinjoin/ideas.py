"""More ideas for several images at once, as of a board: what belongs next to most of them.

Some of the images rank what belongs next to each, and the lists vote by reciprocal ranks (Cormack
et al. 2009), as scores of different queries do not compare. What walks from all of them reach
together (Pixie's boost) has as many votes again: either alone finds less of what was hidden from
boards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pinjoin.core.errors import check
from pinjoin.core.topk import top_rows
from pinjoin.core.types import UInt32s
from pinjoin.recommender import Wishes, Workspace
from pinjoin.results import Ranking

DEPTH = 300
"""So many of each list have a vote, however many ideas are asked for: so that pages agree."""

_VOTERS, _WALKERS = 8, 64  # images that rank, and that walks start from, at most
_LATE = 60  # how little it matters whether something is first or second in a list


@dataclass(frozen=True)
class Ideas:
    """What belongs next to several images, best first.

    ranking: as of one image; scores are sums of votes, sources and shared boards those of
    `because`: (results,) uint32, row of the image in whose list each result is highest.
    lists: what belongs next to each image that was asked, by its row.
    """

    ranking: Ranking
    because: UInt32s
    lists: Mapping[int, Ranking]

    def after(self, skipped: int) -> Ideas:
        """Without its first results."""
        return replace(self, ranking=self.ranking.after(skipped), because=self.because[skipped:])

    def reasons(self, known: Workspace) -> list[dict[str, Any]]:
        """Why each result is there: as a result of the image that wants it most."""
        found: list[dict[str, Any]] = [{} for _ in self.because]
        for query in np.unique(self.because).tolist():
            here = np.flatnonzero(self.because == query)
            given = replace(self.lists[query], rows=self.ranking.rows[here])
            for place, reason in zip(here.tolist(), known.reasons(given), strict=True):
                found[place] = reason
        return found


def ideas(known: Workspace, queries: Sequence[int], n: int, wish: Wishes | None = None) -> Ideas:
    """The n best, none of them a query or nearly a copy of one.

    A longer list begins with the shorter one. There are no more than one image has among its
    DEPTH best.
    """
    check(len(queries) > 0, "queries", "ideas", "at least one row", queries)
    given = np.array(list(dict.fromkeys(queries)), np.uint32)
    lists = {voter: known.rank(voter, DEPTH, wish or Wishes()) for voter in _some(given, _VOTERS)}
    rows, votes, voters = _votes(lists)
    distinct, at = np.unique(rows, return_inverse=True)
    sums = np.bincount(at, votes, len(distinct)).astype(np.float32)
    together = known.retrieval.reached_together(_some(given, _WALKERS), DEPTH)
    _, here, places = np.intersect1d(distinct, together, return_indices=True)
    sums[here] += len(lists) * _vote(places)
    order = top_rows(sums, distinct, len(distinct))
    order = order[~np.isin(distinct[order], given)]
    if known.copies is not None:
        order = order[known.copies.distinct(distinct[order], given)]
    best, scores = distinct[order[:n]], sums[order[:n]]
    highest = _first_of_each(rows, votes, best)
    sources, shared = (
        np.concatenate([getattr(one, name) for one in lists.values()])[highest]
        for name in ("sources", "shared_boards")
    )
    model = next(iter(lists.values())).model
    return Ideas(Ranking(None, best, scores, sources, shared, model), voters[highest], lists)


def _some(rows: UInt32s, most: int) -> list[int]:
    """At most so many of some rows, spread evenly."""
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return rows[places].tolist()  # type: ignore[no-any-return, unused-ignore]


def _vote(places: Any) -> Any:
    """What a place in a list, from 0, is worth."""
    return (1 / (_LATE + 1 + places)).astype(np.float32)


def _votes(lists: Mapping[int, Ranking]) -> tuple[UInt32s, Any, UInt32s]:
    """(votes,) each: for which row, how much it weighs, and whose it is."""
    rows = np.concatenate([one.rows for one in lists.values()])
    votes = np.concatenate([_vote(np.arange(len(one))) for one in lists.values()])
    voters = np.repeat(np.array(list(lists), np.uint32), [len(one) for one in lists.values()])
    return rows, votes, voters


def _first_of_each(rows: UInt32s, votes: Any, wanted: UInt32s) -> Any:
    """Where each of the wanted rows has its largest vote, the first of equal ones."""
    order = np.argsort(-votes, kind="stable")
    distinct, first = np.unique(rows[order], return_index=True)
    return order[first[np.searchsorted(distinct, wanted)]]
