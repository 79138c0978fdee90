"""What made a score, as pages show it: what features, and families of them, added, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pinjoin.results import SOURCES, Ranking

FAMILIES = {
    "cooccurrence": "Boards shared",
    "walk": "Boards nearby",
    "adamic_adar": "Small boards shared",
    "resource_allocation": "Small boards shared",
    "factors": "Saved by the same people",
    "visual": "Looks",
    "cross": "Looks, by category",
    "text": "Words and topics",
    "category": "Category",
    "quality": "Popularity",
    "navboost": "Clicks so far",
    "context": "What you looked at",
    "feature": "Your own features",
    "boost": "Raised by hand",
}
"""What features are called on a page, by the part of their name before the dot."""

_ALONE = {  # what makes a score where no model ranks: see `ranker.by_count`
    "co-occurrence": "cooccurrence.count",
    "random walk": "walk.visits",
}
_UNSEEN = 0.005  # features that add less are told of together


@dataclass(frozen=True)
class Part:
    """What one feature, or a family of them, added: a bar from `x`, `width` long, in −100 … 100."""

    name: str
    value: float
    x: float
    width: float


def contributions(ranking: Ranking, reasons: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """What each feature added to the scores; empty for a result that no ranker has seen.

    Without a model, the score is made of shared boards, or else of walks, alone.
    """
    columns = zip(reasons, ranking.sources.tolist(), ranking.scores.tolist(), strict=True)
    return [
        dict(why["contributions"])
        if "contributions" in why
        else {_ALONE[SOURCES[source]]: score}
        if SOURCES[source] in _ALONE
        else {}
        for why, source, score in columns
    ]


def by_family(added: Mapping[str, float]) -> dict[str, float]:
    """Contributions summed over the features of a family, by its name on the page."""
    families: dict[str, float] = {}
    for feature, value in added.items():
        family = feature.partition(".")[0]
        name = FAMILIES.get(family, family)
        families[name] = families.get(name, 0.0) + value
    return families


def by_feature(added: Mapping[str, float]) -> list[tuple[str, float]]:
    """Contributions by feature, the largest first; the smallest as one sum."""
    order = sorted(added, key=lambda name: -abs(added[name]))
    seen = [(name, added[name]) for name in order if abs(added[name]) >= _UNSEEN]
    rest = [added[name] for name in order[len(seen) :]]
    return [*seen, (f"{len(rest)} others", sum(rest))] if rest else seen


def parts(added: Mapping[str, float], most: int | None = None) -> list[Part]:
    """Bars for numbers by name, the longest first; `most` of them."""
    order = sorted(added, key=lambda name: -abs(added[name]))[:most]
    longest = max((abs(added[name]) for name in order), default=0.0) or 1.0
    return [_part(name, added[name], 100 / longest) for name in order]


def signed(value: float) -> str:
    """
    >>> signed(-0.256), signed(1.5), signed(0.001)
    ('−0.26', '+1.50', '0.00')
    """
    text = f"{value:+.2f}".replace("-", "−")
    return "0.00" if text[1:] == "0.00" else text


def _part(name: str, value: float, scale: float) -> Part:
    width = round(abs(value) * scale, 1)
    return Part(name, value, 0.0 if value >= 0 else -width, width)
