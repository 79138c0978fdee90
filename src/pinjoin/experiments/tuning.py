"""A baseline deserves its best settings: those that do best on a second split of what is left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pinjoin.experiments.metrics import ndcg, places
from pinjoin.experiments.scorers import Factory, Scorer, Split, rank_all

MOST_SAVES = 2_000_000
"""Larger catalogues take the first of the settings."""

_QUERIES, _DEPTH = 1_000, 100


def tuned(settings: Mapping[str, Factory]) -> Factory:
    """Of several settings by name, the one of highest nDCG@100, the first of equals.

    The scorer's note is its name.
    """

    def make(split: Split) -> Scorer:
        name = _choose(settings, split)
        scorer = settings[name](split)
        scorer.note = name
        return scorer

    return make


def _choose(settings: Mapping[str, Factory], split: Split) -> str:
    names = list(settings)
    if len(names) == 1 or split.incidence.n_saves > MOST_SAVES:
        return names[0]
    inner = split.inner(_QUERIES)
    if not len(inner.held):
        return names[0]
    return names[int(np.argmax([_quality(name, settings[name], inner) for name in names]))]


def _quality(name: str, factory: Factory, split: Split) -> float:
    lists = rank_all(name, factory(split), split.held, _DEPTH)
    return float(ndcg(places(lists, split.held.hidden), _DEPTH).mean())
