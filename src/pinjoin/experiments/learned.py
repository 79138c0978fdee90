"""pinjoin's own rankers, each learned from what is left of the boards, as a build would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.retrieval import Part, Retrieval, Retrieved
from pinjoin.candidates.walk import RandomWalk
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.core.types import UInt32s
from pinjoin.experiments.scorers import Factory, NotRun, Scorer, Split
from pinjoin.features.pairs import PAPER_GROUPS, PairConfig
from pinjoin.ranker import FEATURES, Ranker, feature_config, open_ranker
from pinjoin.ranking.lambdamart import LambdaMartConfig, fit_lists
from pinjoin.ranking.model import About
from pinjoin.training.catalogue import Catalogue
from pinjoin.training.from_boards import learn
from pinjoin.training.hidden_mates import BoardTraining, Examples

SEEN = "it has seen the boards that were hidden"
"""The note of a model that was not learned from what is left."""


def learned(split: Split) -> Scorer:
    """What a build of the rest would rank with."""
    return _linear(split, split.examples)


def paper(split: Split) -> Scorer:
    """The same without collaborative features, by those of the paper."""
    pairs = split.examples.features.config
    groups = tuple(group for group in pairs.groups if group in PAPER_GROUPS)
    return _linear(split, split.examples.narrowed(replace(pairs, groups=groups)))


def trees(split: Split) -> Scorer:
    """LambdaMART on the same examples and features."""
    examples, config = split.examples, LambdaMartConfig()
    if not len(examples):
        raise NotRun("the boards that are left teach nothing")
    rows = [one.random for one in examples.each]  # the hidden one first
    relevance = np.concatenate([np.arange(len(some)) == 0 for some in rows]).astype(np.int64)
    about = About.now(
        "trees", "boards", examples.hash(), {}, feature_config(examples.features.config)
    )
    lists = np.concatenate(rows), relevance, np.array([len(some) for some in rows])
    try:
        model = fit_lists(*lists, examples.features.schema, about, config)
    except ConfigError as why:
        raise NotRun(str(why)) from why
    return Served(split, Ranker(model, examples.features))


def in_use(split: Split) -> Scorer:
    """The model the workspace ranks with, if it was trained on logs."""
    workspace = split.workspace
    ranker = open_ranker(workspace)
    if ranker is None or ranker.model.about.trained_on == "boards":
        raise NotRun("no model that was trained on logs is in use")
    whole = Catalogue.of(workspace, ranker.features.config)
    return Served(split, replace(ranker, features=whole.without(split.held).features), SEEN)


class Served:
    """Candidates of what is left, in the order of a model: a request without its fallbacks."""

    def __init__(self, split: Split, ranker: Ranker, note: str = "") -> None:
        self.note = note
        self._ranker, self._split = ranker, split
        graph, rebuilt = split.rebuilt.incidence, split.rebuilt
        walk = RandomWalk(graph, snapshot=split.workspace.snapshot.name)
        self._retrieval = Retrieval(Cooccurrence(graph), walk)
        self._eligible = split.held.eligible[rebuilt.old]

    def rank(self, query: int, k: int) -> UInt32s:
        found = self._ranker.informed(query, self._candidates(query))
        scores = self._ranker.scores(query, found)
        order = np.lexsort((self._split.rebuilt.new[found.rows], -scores))
        best: UInt32s = found.rows[order[:k]]
        return best

    def _candidates(self, query: int) -> Retrieved:
        """In rows of the workspace; found and cut in rebuilt ones (see `Rebuilt`)."""
        rebuilt = self._split.rebuilt

        def alike(k: int) -> Part:
            rows, sources = self._split.catalogue.alike(query, k)
            return rebuilt.new[rows], sources

        asked = int(rebuilt.new[query])
        found = self._retrieval.find(asked, eligible=self._eligible, alike=alike)
        return replace(found, rows=rebuilt.old[found.rows])


def _linear(split: Split, examples: Examples) -> Scorer:
    try:
        model = learn(examples, BoardTraining(), progress=split.progress)
    except InputError as why:
        raise NotRun(str(why)) from why
    pairs = PairConfig(**model.about.config[FEATURES])
    return Served(split, Ranker(model, examples.features.configured(pairs)))


LEARNED: Mapping[str, Factory] = {
    "pinjoin": learned,
    "pinjoin (paper)": paper,
    "pinjoin (LambdaMART)": trees,
    "model in use": in_use,
}
"""By their names in the table."""
