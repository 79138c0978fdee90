"""Which features of pairs there are: their groups, names and definitions, and which are wanted.

Names and definitions go into a model, which is held to them; so a definition says all that makes
two features of one name differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pinjoin.core.errors import check
from pinjoin.features.row_layout import RowLayout

PAPER_GROUPS = ("visual", "text", "category", "cross", "cooccurrence", "quality")
"""What the paper ranks by."""

DEFAULT_GROUPS = (*PAPER_GROUPS, "collaborative", "navboost")
GROUPS = (*DEFAULT_GROUPS, "context")
"""All there are, in the order of their features."""

CONTEXT = {
    "context.recent_topic_similarity": "cosine with the mean topic vector of recent images",
    "context.recent_factor_similarity": "cosine with the mean co-save factors of recent images",
    "context.recent_fc6_similarity": "1 − Hamming distance / bits to what recent ones mostly have",
    "context.phrase_similarity": "cosine of its annotations with the phrase searched for",
    "context.locale": "how well it fits the user's locale",
}

(
    FC6, FC8, SEEN_BOTH, TERMS, SAID_BOTH, TOPICS, CATEGORIES, SORTED_BOTH,
    COUNT, LOG_COUNT, COUNT_PER_ROOT, JACCARD, LOG_LIFT,
    VISITS, LOG_VISITS, LOG_DIRECT, LOG_INDIRECT, VISITS_PER_ROOT,
    ADAMIC_ADAR, LOG_ADAMIC_ADAR, RESOURCES, FACTORS, NAVBOOST,
) = range(23)  # fmt: skip
OWN = 23
"""Places of what the kernel makes of a pair; the candidate's own columns follow."""

(
    ONE, PER_CLASSES, PER_TERMS, PER_TOPICS, PER_FACTORS, PER_CATEGORIES,
    PER_ROOT, PER_BOARDS, PER_COUNT, PER_VISITS, PER_ADAMIC_ADAR,
) = range(11)  # fmt: skip
SHARES = 11
"""Places of the numbers of a request that features are multiplied by: 1; 1 / length of each part of
the query, 1 / √(its boards), 1 / its boards; 1 / the largest of the list; its shares of categories
follow."""

CROSS = "cross."
"""What the names of cross features begin with; the category's follows."""

VISITS_SCALE = 1_000_000
"""walk.log = ln(1 + this × visits): what is seldom visited still differs from what never is."""


@dataclass(frozen=True)
class PairConfig:
    """Which features are made."""

    groups: Sequence[str] = DEFAULT_GROUPS  # of `GROUPS`
    without: Sequence[str] = ()  # features left out, by name
    max_cross: int = 32  # categories that have a cross feature: those of most boards
    crossed: Sequence[str] | None = None  # or these, whether the catalogue has them or not
    custom: Mapping[str, str] = field(default_factory=dict)  # your own: name → "module:function"

    def __post_init__(self) -> None:
        caller = "PairConfig"
        for group in self.groups:
            check(group in GROUPS, "groups", caller, f"some of {', '.join(GROUPS)}", group)
        for name in self.without:
            check(_may_be(name), "without", caller, "names of features (docs/features.md)", name)
        check(self.max_cross >= 0, "max_cross", caller, "a number ≥ 0", self.max_cross)


@dataclass(frozen=True)
class Feature:
    """One number of a pair: what the kernel makes in one place, times a number of the request."""

    group: str
    name: str
    definition: str
    base: int
    scale: int = ONE


def features(layout: RowLayout, categories: Sequence[str], config: PairConfig) -> list[Feature]:
    """The wanted ones that a catalogue with such rows has, but `context` and custom ones.

    categories: the names of all, those of most boards first.
    """
    of_parts = (_visual, _text, _category, _cooccurrence, _own, _walk)
    made = [feature for of in of_parts for feature in of(layout)]
    if layout.n_bits and layout.categories:
        wanted = categories[: config.max_cross] if config.crossed is None else config.crossed
        made += _cross(wanted, categories)
    made.append(
        Feature("navboost", "navboost.log_ratio", "smoothed log-ratio of actions to expected ones",
                NAVBOOST)
    )  # fmt: skip
    order = {group: place for place, group in enumerate(GROUPS)}
    chosen = [f for f in made if f.group in config.groups and f.name not in config.without]
    return sorted(chosen, key=lambda feature: order[feature.group])


def _may_be(name: str) -> bool:
    """Whether some catalogue has a feature of this name."""
    everything = RowLayout(n_bits=1, classes=1, terms=1, topics=1, categories=1, factors=1)
    known = {feature.name for feature in features(everything, (), PairConfig())}
    return name in known | set(CONTEXT) or name.startswith((CROSS, "quality.", "feature."))


def context_features(config: PairConfig) -> dict[str, str]:
    """Those of group `context` that are wanted."""
    wanted = "context" in config.groups
    return {name: of for name, of in CONTEXT.items() if wanted and name not in config.without}


def _visual(layout: RowLayout) -> Iterator[Feature]:
    if layout.n_bits:
        by = f"{layout.n_bits} bits of {layout.encoder}"
        yield Feature("visual", "visual.fc6_similarity", f"1 − Hamming distance / {by}", FC6)
    if layout.classes:
        by = f"the {layout.classes} largest classes of {layout.encoder}"
        yield Feature("visual", "visual.fc8_similarity", f"cosine of {by}", FC8, PER_CLASSES)
    if layout.n_bits:
        yield Feature("visual", "visual.present", "1 if both have a picture, else 0", SEEN_BOTH)


def _text(layout: RowLayout) -> Iterator[Feature]:
    if layout.terms:
        of = "cosine of annotations"
        yield Feature("text", "text.annotation_similarity", of, TERMS, PER_TERMS)
    if layout.topics:
        of = "cosine of topic vectors"
        yield Feature("text", "text.topic_similarity", of, TOPICS, PER_TOPICS)
    if layout.terms:
        yield Feature("text", "text.present", "1 if both have annotations, else 0", SAID_BOTH)


def _category(layout: RowLayout) -> Iterator[Feature]:
    if layout.categories:
        of = "cosine of category vectors"
        yield Feature("category", "category.similarity", of, CATEGORIES, PER_CATEGORIES)
        of = "1 if both have a category, else 0"
        yield Feature("category", "category.present", of, SORTED_BOTH)


def _cross(wanted: Sequence[str], names: Sequence[str]) -> Iterator[Feature]:
    numbers = {name: number for number, name in enumerate(names)}
    for name in wanted:
        of = f"the query's share of category {name!r} × visual.fc6_similarity"
        number = numbers.get(name, len(names))  # of one that the catalogue lacks: nothing's share
        yield Feature("cross", f"{CROSS}{name}", of, FC6, SHARES + number)


def _cooccurrence(layout: RowLayout) -> Iterator[Feature]:
    group = "cooccurrence"
    yield Feature(group, "cooccurrence.count", "n: boards that hold both", COUNT)
    yield Feature(group, "cooccurrence.log_count", "ln(1 + n)", LOG_COUNT)
    of = "n / √(boards of the query × boards of the candidate)"
    yield Feature(group, "cooccurrence.cosine", of, COUNT_PER_ROOT, PER_ROOT)
    yield Feature(group, "cooccurrence.jaccard", "n / boards that hold either", JACCARD)
    yield Feature(group, "cooccurrence.share", "n / boards of the query", COUNT, PER_BOARDS)
    of = "n / the largest n of the candidates"
    yield Feature(group, "cooccurrence.relative", of, COUNT, PER_COUNT)
    of = "ln(n × boards / (boards of the query × boards of the candidate)); 0 if n = 0"
    yield Feature(group, "cooccurrence.log_lift", of, LOG_LIFT)


def _own(layout: RowLayout) -> Iterator[Feature]:
    for place, (name, definition) in enumerate(layout.quality):
        yield Feature("quality", name, definition, OWN + place)


def _walk(layout: RowLayout) -> Iterator[Feature]:
    group = "collaborative"
    yield Feature(group, "walk.visits", "s: visits per random walk from the query", VISITS)
    yield Feature(group, "walk.log", f"ln(1 + {VISITS_SCALE:,} s)", LOG_VISITS)
    of = "s / the largest s of the candidates"
    yield Feature(group, "walk.relative", of, VISITS, PER_VISITS)
    scaled = f"ln(1 + {VISITS_SCALE:,} d), d = Σ 1 / size over boards that hold both / boards of"
    of = f"{scaled} the query: visits of the first hop"
    yield Feature(group, "walk.direct_log", of, LOG_DIRECT)
    of = f"ln(1 + {VISITS_SCALE:,} (s − d)), at least 0: visits of later hops"
    yield Feature(group, "walk.indirect_log", of, LOG_INDIRECT)
    yield Feature(group, "walk.per_root", "s / √(boards of the candidate)", VISITS_PER_ROOT)
    of = "a: Σ 1 / ln(size) over boards that hold both"
    yield Feature(group, "adamic_adar.sum", of, ADAMIC_ADAR)
    yield Feature(group, "adamic_adar.log", "ln(1 + a)", LOG_ADAMIC_ADAR)
    of = "a / the largest a of the candidates"
    yield Feature(group, "adamic_adar.relative", of, ADAMIC_ADAR, PER_ADAMIC_ADAR)
    of = "Σ 1 / size over boards that hold both"
    yield Feature(group, "resource_allocation.sum", of, RESOURCES)
    if layout.factors:
        of = "cosine of co-save factors"
        yield Feature(group, "factors.similarity", of, FACTORS, PER_FACTORS)
