"""What anyone would try first: popularity, shared boards by any score, walks over the boards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pinjoin.candidates.cooccurrence import Cooccurrence, CooccurrenceConfig
from pinjoin.candidates.walk import RandomWalk, WalkConfig
from pinjoin.experiments.scorers import Factory, NotRun, OnRebuilt, Rows, Scorer, Split
from pinjoin.experiments.tuning import tuned

EXACT_SAVES = 2_000_000
"""Exact walks are only taken in catalogues of at most so many saves."""

_ALL = 1 << 62


def popularity(split: Split) -> Scorer:
    """The images on most boards, whatever the query."""
    rows = np.arange(split.incidence.n_images)
    return OnRebuilt(split, lambda query, k: rows)


def counted(score: str) -> Factory:
    """By a score of `pinjoin.cooccurrence`.

    Jaccard and lift are SAR's item similarities (Microsoft's Smart Adaptive Recommendations): for
    a history of one item, SAR ranks by that item's row of them.
    """

    def make(split: Split) -> Scorer:
        counter = Cooccurrence(split.rebuilt.incidence, CooccurrenceConfig(score))
        return OnRebuilt(split, lambda query, k: counter.top(query, k).indices)

    return make


def walk(split: Split) -> Scorer:
    """Random walks as they are served: exact where few saves are within reach, else sampled."""
    return _walk(split, WalkConfig(seed=split.seed))


def exact_walk(split: Split) -> Scorer:
    """The expectation of the walks."""
    saves = split.incidence.n_saves
    if saves > EXACT_SAVES:
        raise NotRun(f"exact walks take long on {saves:,} saves (at most {EXACT_SAVES:,})")
    return _walk(split, WalkConfig(exact_saves=_ALL))


def sampled_walk(split: Split) -> Scorer:
    """Walks of 10,000 steps in all, wherever they start."""
    return _walk(split, WalkConfig(exact_saves=0, seed=split.seed))


def rp3beta(beta: float) -> Factory:
    """One hop of the walk, divided by the candidate's degree to the power β (RP³β of Paudel et
    al., 2016, from items to items)."""

    def make(split: Split) -> Scorer:
        graph = split.rebuilt.incidence
        hop = RandomWalk(graph, WalkConfig(hops=1, exact_saves=_ALL))
        factors = np.maximum(graph.degrees, 1.0) ** -beta

        def best(query: int, k: int) -> Rows:
            found = hop.top(query, k)
            return found.rows[np.lexsort((found.rows, -found.scores * factors[found.rows]))]

        return OnRebuilt(split, best)

    return make


def _walk(split: Split, config: WalkConfig) -> Scorer:
    walks = RandomWalk(split.rebuilt.incidence, config)
    return OnRebuilt(split, lambda query, k: walks.top(query, k).rows)


BASELINES: Mapping[str, Factory] = {
    "popularity": popularity,
    "count": counted("count"),
    "cosine": counted("cosine"),
    "SAR jaccard": counted("jaccard"),
    "SAR lift": counted("lift"),
    "LLR": counted("llr"),
    "BM25": counted("bm25"),
    "Adamic–Adar": counted("adamic_adar"),
    "RP3β": tuned({f"β = {beta}": rp3beta(beta) for beta in (0.4, 0.0, 0.2, 0.6, 0.8)}),
    "walk": walk,
    "walk exact": exact_walk,
    "walk sampled": sampled_walk,
}
"""By their names in the table."""
