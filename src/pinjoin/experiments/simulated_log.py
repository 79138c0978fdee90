"""Logs of people who are known to the last detail: what they like, and where they look.

To see whether training finds what was planted. People look at a place with a probability that
falls with it, faster on phones, and click on what they see as they like it; what they like is a
weighted sum of features of the pair. What is shown is ranked by shared boards and chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pinjoin.candidates.retrieval import Retrieved
from pinjoin.core.errors import InputError, check
from pinjoin.core.types import Int64s, UInt32s
from pinjoin.data.events import LOGGED
from pinjoin.features.context import RECENT
from pinjoin.features.pair_schema import CONTEXT, GROUPS
from pinjoin.features.pairs import Context, PairConfig
from pinjoin.filters import filter_columns
from pinjoin.ranker import by_count, describe, features_of
from pinjoin.ranking.model import LinearModel, Model
from pinjoin.recommender import Workspace

Floats = npt.NDArray[np.float64]

_START = 1_700_000_000  # unix seconds of the first request; one follows each second
_PHONE = 1.5  # as many times faster does attention fall on phones
_KEPT = 10_000  # phrases, so that each is looked at once


@dataclass(frozen=True)
class Crowd:
    """Who asks, and what they are like."""

    likes: Mapping[str, float]  # log-odds of a click for a deviation of each feature; of those of
    # a request's context, for 1
    requests: int = 20_000
    queries: int = 150
    candidates: int = 30  # of each query that may be shown
    shown: int = 10  # of them, each time
    bias: float = 1.2  # place p is looked at with probability 1 / p^bias
    dislike: float = 1.0  # log-odds against a click on what is average
    chance: float = 0.7  # in what is shown; 0: shared boards alone rank
    phones: float = 0.6  # of the requests
    users: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("requests", "queries", "shown", "users"):
            check(getattr(self, name) >= 1, name, "Crowd", "1 or more", getattr(self, name))
        enough = self.candidates > self.shown
        check(enough, "candidates", "Crowd", "more than are shown", self.candidates)


@dataclass(frozen=True)
class _Asked:
    """A query, all that is found for it, and the places of the candidates that may be shown."""

    query: int
    found: Retrieved
    places: Int64s

    @property
    def rows(self) -> UInt32s:
        return self.found.rows[self.places]


class Simulation:
    """A crowd in front of a catalogue. The same seed gives the same log.

    Raises InputError where too few images have candidates enough, ConfigError for a feature that
    the catalogue lacks.
    """

    def __init__(self, workspace: Workspace, crowd: Crowd) -> None:
        self.workspace, self.crowd = workspace, crowd
        self._all = workspace.pair_features(PairConfig(GROUPS))
        unknown = [name for name in crowd.likes if name not in self._all.schema]
        check(not unknown, "likes", "Crowd", "features of the catalogue", unknown)
        self.lasting = [name for name in crowd.likes if name not in CONTEXT]
        self._passing = {name: like for name, like in crowd.likes.items() if name in CONTEXT}
        self._said = lru_cache(_KEPT)(
            lambda phrase, locale: workspace.context((), phrase, locale) or Context()
        )
        rng = np.random.default_rng(crowd.seed)
        self._asked = self._draw(rng)
        described = np.stack([self._features(one, self.lasting) for one in self._asked])
        self.deviations: Floats = described.std(axis=(0, 1), dtype=np.float64)
        usual = described.mean(axis=(0, 1), dtype=np.float64)
        worth = np.array([crowd.likes[name] for name in self.lasting]) / self.deviations
        self.liked: Floats = (described - usual) @ worth  # (queries, candidates)

    def log(self) -> pa.Table:
        """Impressions and clicks, in the schema LOGGED, by time."""
        crowd, rng = self.crowd, np.random.default_rng([self.crowd.seed, 1])
        recent: dict[int, list[int]] = {}
        rows: list[dict[str, Any]] = []
        signatures = self.workspace.signatures().to_pylist()
        places = np.arange(1, crowd.shown + 1)
        locales = self._locales()
        for request in range(crowd.requests):
            user, one = int(rng.integers(crowd.users)), int(rng.integers(len(self._asked)))
            asked, phone = self._asked[one], rng.random() < crowd.phones
            phrase = self._phrase(asked, rng)
            locale = locales[user % len(locales)] if locales else None
            said = recent.setdefault(user, [])
            liked = self.liked[one] + self._of_person(asked, said, phrase, locale)
            counts = by_count(asked.found.signals)[asked.places]
            chance = crowd.chance * rng.gumbel(size=len(counts))
            order = np.argsort(-np.log1p(counts) - chance)[: crowd.shown]
            seen = rng.random(crowd.shown) < places ** -(crowd.bias * (_PHONE if phone else 1))
            clicked = seen & (rng.random(crowd.shown) < _logistic(liked[order] - crowd.dislike))
            event = {
                "time": _START + request, "request_id": f"r{request}", "user_id": f"u{user}",
                "query": signatures[asked.query], "device": "phone" if phone else "desktop",
                "phrase": phrase, "locale": locale,
            }  # fmt: skip
            for place, at in enumerate(order.tolist()):
                shown = event | {
                    "candidate": signatures[asked.rows[at]], "position": str(place + 1)
                }  # fmt: skip
                rows.append(shown | {"action": "impression"})
                if clicked[place]:
                    rows.append(shown | {"action": "click"})
            said[:0] = [*asked.rows[order[clicked]].tolist()[::-1], asked.query]
            del said[4 * RECENT :]
        return pa.Table.from_pylist(rows, schema=LOGGED)

    def cosine(self, model: LinearModel) -> float:
        """Of a model's weights, by deviation, with what was planted."""
        weights = dict(zip(model.features, model.weights.tolist(), strict=True))
        found = np.array([weights.get(name, 0.0) for name in self.lasting]) * self.deviations
        wanted = np.array([self.crowd.likes[name] for name in self.lasting])
        return float(found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted))

    def order_found(self, model: Model) -> float:
        """The share of pairs of a query's candidates that a model ranks as people like them."""
        features = features_of(model, self.workspace)
        shares = []
        for asked, liked in zip(self._asked, self.liked, strict=True):
            scores = model.score(describe(features, asked.query, asked.found, asked.places))
            a, b = np.triu_indices(len(liked), 1)
            shares.append(np.mean((liked[a] > liked[b]) == (scores[a] > scores[b])))
        return float(np.mean(shares))

    def _draw(self, rng: np.random.Generator) -> list[_Asked]:
        """Queries with candidates enough, of which half are those of most shared boards."""
        workspace, crowd, asked = self.workspace, self.crowd, list[_Asked]()
        for query in rng.permutation(workspace.n_images).tolist():
            found = workspace.retrieval.find(query, alike=partial(workspace.alike, query))
            if len(found) < crowd.candidates:
                continue
            order = np.argsort(-by_count(found.signals), kind="stable")
            half = crowd.candidates // 2
            others = rng.choice(order[half:], crowd.candidates - half, replace=False)
            asked.append(_Asked(query, found, np.concatenate([order[:half], others])))
            if len(asked) == crowd.queries:
                return asked
        raise InputError(
            f"Only {len(asked)} images have {crowd.candidates} candidates; {crowd.queries} queries "
            "are wanted. Ask for fewer, or of fewer candidates."
        )

    def _features(
        self, asked: _Asked, names: Any, context: Context | None = None
    ) -> npt.NDArray[np.float32]:
        """(candidates, names)."""
        features = self._all
        columns = [list(features.schema).index(name) for name in names]
        return describe(features, asked.query, asked.found, asked.places, context)[:, columns]

    def _of_person(
        self, asked: _Asked, recent: list[int], phrase: str | None, locale: str | None
    ) -> Floats:
        """(candidates,) how much more the person likes each."""
        if not self._passing:
            return np.zeros(len(asked.places))
        last = [row for row in dict.fromkeys(recent) if row != asked.query][:RECENT]
        context = replace(self._said(phrase, locale), recent=last)
        made = self._features(asked, self._passing, context)
        liked: Floats = made @ np.array(list(self._passing.values()))
        return liked

    def _phrase(self, asked: _Asked, rng: np.random.Generator) -> str | None:
        """A word said of something that may be shown; None where nobody cares."""
        if "context.phrase_similarity" not in self._passing:
            return None
        said = self.workspace.annotations.of(int(rng.choice(asked.rows)))
        return said[int(rng.integers(len(said)))][0] if said else None

    def _locales(self) -> list[str]:
        """Those of the catalogue; none where nobody cares."""
        if "context.locale" not in self._passing or "locale" not in filter_columns(self.workspace):
            return []
        given = self.workspace.snapshot.table("pins")["locale"].unique().drop_null()
        return sorted(given.to_pylist())


def _logistic(x: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-x))
    return chance
