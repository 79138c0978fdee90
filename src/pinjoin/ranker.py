"""The model of a workspace at work: candidates in its order, and what each feature did for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pinjoin.candidates.retrieval import Retrieved
from pinjoin.contents import Contents
from pinjoin.core.errors import PinjoinError
from pinjoin.core.types import Float32s, Int64s
from pinjoin.features.pair_schema import CONTEXT, CROSS
from pinjoin.features.pairs import Context, PairConfig, PairFeatures, Signals
from pinjoin.ranking.model import LinearModel, Model, require_schema
from pinjoin.ranking.navboost import Navboost
from pinjoin.ranking.store import COUNT, current_model, load_model

_log = logging.getLogger(__name__)

FEATURES = "features"
"""In a model's config: the `PairConfig` of its features, as plain data."""

NAVBOOST = "navboost"
"""In a model's config: the name of what people did, kept with the workspace, that it counts."""


def features_of(model: Model, known: Contents) -> PairFeatures:
    """The features a model was trained on, of a catalogue.

    Categories come and go with the catalogue: of one that is gone, nobody has a share; a new one
    has no feature until the next training. Raises InputError, naming what differs, where the
    catalogue does not have the same otherwise.
    """
    config = PairConfig(**model.about.config.get(FEATURES, {}))
    crossed = [name.removeprefix(CROSS) for name in model.features if name.startswith(CROSS)]
    config = replace(config, crossed=crossed)
    features = known.pair_features(config)
    require_schema(model, features.schema)
    return features


def open_ranker(known: Contents, name: str | None = None) -> Ranker | None:
    """The named model of a workspace, or the one in use; None: shared boards rank.

    Raises InputError for a named one that cannot rank. Where that is so of the one in use, the
    catalogue must be shown all the same: the one learned from its own boards ranks, or else
    shared boards do, and a warning tells.
    """
    if name is not None:
        return _open(known, name)
    current = current_model(known.path)
    try:
        return None if current is None else _open(known, current)
    except PinjoinError as why:
        ranker = _instead(known)
        other = COUNT if ranker is None else ranker.model.about.name
        _log.warning("%s ranks instead of the model in use. %s", other, why)
        return ranker


def _open(known: Contents, name: str) -> Ranker | None:
    if name == COUNT:
        return None
    model = load_model(known.path, name)
    features, kept = features_of(model, known), model.about.config.get(NAVBOOST)
    return Ranker(model, features, None if kept is None else known.navboost(kept))


def _instead(known: Contents) -> Ranker | None:
    try:
        return _open(known, learned_from_boards(known.snapshot.name))
    except PinjoinError:
        return None


def learned_from_boards(snapshot: str) -> str:
    """The name of the model that a build learned."""
    return f"boards-{snapshot}"


@dataclass(frozen=True)
class Ranker:
    """Scores candidates by a model. Thread-safe."""

    model: Model
    features: PairFeatures
    navboost: Navboost | None = None  # what people did, for models that count it

    @property
    def knows_the_alone(self) -> bool:
        """Whether it may have seen queries that share no board with anything: a model that was
        learned from boards has not, and would order theirs by popularity more than by likeness."""
        return self.model.about.trained_on != "boards"

    @property
    def contextual(self) -> list[str]:
        """The features of a request's context that it learned."""
        return [name for name in CONTEXT if name in self.features.schema]

    def informed(self, query: int, found: Retrieved) -> Retrieved:
        """The candidates with what people did with each of them for this query."""
        if self.navboost is None or not self.navboost.knows(query):
            return found
        boosts = self.navboost.values(query, found.rows).astype(np.float32)
        return replace(found, signals=replace(found.signals, navboost=boosts))

    def scores(self, query: int, found: Retrieved, context: Context | None = None) -> Float32s:
        """(candidates,) float32; only comparable within one request."""
        model, given = self.model, (query, found.rows, found.signals)
        if isinstance(model, LinearModel):
            return self.features.scores(*given, model.weights, model.means, context)
        scores: Float32s = model.score(self.features.matrix(*given, context)).astype(np.float32)
        return scores

    def contributions(
        self,
        query: int,
        found: Retrieved,
        places: Int64s,
        context: Context | None = None,
    ) -> list[dict[str, float]]:
        """What each feature added to the scores of the candidates at some places: they sum to
        the score."""
        matrix = describe(self.features, query, found, places, context)
        parts = self.model.contributions(matrix)
        return [dict(zip(self.model.features, row.tolist(), strict=True)) for row in parts]


def describe(
    features: PairFeatures,
    query: int,
    found: Retrieved,
    places: Int64s,
    context: Context | None = None,
) -> Float32s:
    """(places, features) float32: some of the candidates, as they are among all of them."""
    # Some features are relative to the largest of the list: these are described as well.
    signals = found.signals
    columns = (signals.counts, signals.walk, signals.adamic_adar)
    largest = [int(np.argmax(column)) for column in columns if len(column)]
    some = found.where(np.concatenate([places, np.array(largest, np.int64)]))
    return features.matrix(query, some.rows, some.signals, context)[: len(places)]


def by_count(signals: Signals) -> Float32s:
    """(candidates,) scores without a model: shared boards, then visits of walks."""
    counts, walk = signals.counts, signals.walk
    return np.where(counts > 0, counts, walk / (1 + walk)).astype(np.float32)


def feature_config(config: PairConfig) -> Mapping[str, Any]:
    """What `features_of` reads, for a model's config."""
    plain = asdict(config) | {"groups": list(config.groups), "without": list(config.without)}
    return {FEATURES: plain}
