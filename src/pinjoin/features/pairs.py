"""Features of a query and its candidates, made at request time (§IV.B, §V.B).

Each belongs to a group, so that a control and a treatment differ by configuration alone. A part
that the query or the candidate lacks gives 0, and an indicator says so; features of a part that
the whole catalogue lacks do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import ConfigError, check
from pinjoin.core.topk import top_k
from pinjoin.core.types import Float32s, UInt32s
from pinjoin.features import packed as rows_of
from pinjoin.features.packed import Fields, PackedRows, RowLayout
from pinjoin.features.text import NO_TERM

PAPER_GROUPS = ("visual", "text", "category", "cross", "cooccurrence", "quality")
"""What the paper ranks by."""

GROUPS = (*PAPER_GROUPS, "collaborative", "navboost", "context")
"""All there are, in the order of their features."""

CustomFeature = Callable[[int | None, UInt32s], npt.NDArray[Any]]
"""A feature of your own: f(query, rows) → (rows,) numbers. query: the row of the image that is
looked at, None for a picture from outside; rows: (rows,) uint32, the candidates."""


@dataclass(frozen=True)
class PairConfig:
    """Which features are made."""

    groups: Sequence[str] = (*PAPER_GROUPS, "collaborative", "navboost")  # of `GROUPS`
    without: Sequence[str] = ()  # features left out, by name
    max_cross: int = 32  # categories with a cross feature, those of most boards
    custom: Mapping[str, str] = field(default_factory=dict)  # own ones: name → "module:function"

    def __post_init__(self) -> None:
        caller = "PairConfig"
        known = set(self.groups) <= set(GROUPS)
        check(known, "groups", caller, f"some of {', '.join(GROUPS)}", tuple(self.groups))
        check(self.max_cross >= 0, "max_cross", caller, "a number ≥ 0", self.max_cross)


@dataclass(frozen=True)
class Signals:
    """What boards and walks say of candidates. counts: (n,) uint32, boards shared with the query;
    adamic_adar: Σ 1 / ln(size) and resource_allocation: Σ 1 / size over these, walk: visits per
    walk, navboost: smoothed log-ratio of actions (None: no log), each (n,) float32."""

    counts: UInt32s
    adamic_adar: Float32s
    resource_allocation: Float32s
    walk: Float32s
    navboost: Float32s | None = None


@dataclass(frozen=True)
class Context:
    """What is known of a request besides its query (group `context`); what is not given is 0.

    recent: up to 8 rows of images the user looked at or saved last. phrase: ids and weights of
    what the user searched for, from `Annotations.annotate`. locale: (n,) bool or numbers, how well
    each candidate fits the user's.
    """

    recent: Sequence[int] = ()
    phrase: tuple[UInt32s, Float32s] | None = None
    locale: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class _Feature:
    name: str
    definition: str
    group: str
    base: int  # place among what the kernel makes
    category: int = -1  # of a cross


def _features(layout: RowLayout, categories: Sequence[str], most: int) -> list[_Feature]:
    """All that the kernel makes of a catalogue with such rows."""
    from pinjoin.features import _pairs_kernel as k

    seen = layout.n_bits > 0
    by = f", by {layout.encoder}" if layout.encoder else ""
    has = layout.categories > 0
    f = _Feature
    made: list[tuple[bool, _Feature]] = [
        (seen, f("visual.fc6_similarity", f"1 − Hamming distance / {layout.n_bits} bits{by}",
                 "visual", k.FC6)),
        (layout.classes > 0, f("visual.fc8_similarity",
                 f"cosine of the {layout.classes} largest classes{by}", "visual", k.FC8)),
        (seen, f("visual.present", "1 if both have a picture", "visual", k.SEEN_BOTH)),
        (layout.terms > 0, f("text.annotation_similarity", "cosine of annotations", "text",
                             k.TERMS)),
        (layout.topics > 0, f("text.topic_similarity", "cosine of topic vectors", "text",
                              k.TOPICS)),
        (layout.terms > 0, f("text.present", "1 if both have annotations", "text", k.SAID_BOTH)),
        (has, f("category.similarity", "cosine of category vectors", "category", k.CATEGORIES)),
        (has, f("category.present", "1 if both have a category", "category", k.SORTED_BOTH)),
        *((seen and has, f(f"cross.{name}", f"query's share of {name!r} × visual.fc6_similarity",
                           "cross", k.FC6, number))
          for number, name in enumerate(list(categories)[:most])),
        (True, f("cooccurrence.count", "n: boards that hold both", "cooccurrence", k.COUNT)),
        (True, f("cooccurrence.log_count", "ln(1 + n)", "cooccurrence", k.LOG_COUNT)),
        (True, f("cooccurrence.cosine", "n / √(boards of the query × of the candidate)",
                 "cooccurrence", k.COSINE)),
        (True, f("cooccurrence.jaccard", "n / boards that hold either", "cooccurrence",
                 k.JACCARD)),
        (True, f("cooccurrence.share", "n / boards of the query", "cooccurrence", k.SHARE)),
        (True, f("cooccurrence.relative", "n / the largest n among the candidates",
                 "cooccurrence", k.RELATIVE_COUNT)),
        (True, f("cooccurrence.log_lift",
                 "ln(n × boards / (boards of the query × of the candidate)); 0 if n = 0",
                 "cooccurrence", k.LOG_LIFT)),
        *((True, f(name, definition, "quality", k.N_BASE + i))
          for i, (name, definition) in enumerate(layout.quality)),
        (True, f("walk.visits", "s: visits per random walk from the query", "collaborative",
                 k.VISITS)),
        (True, f("walk.log", "ln(1 + 1,000,000 s)", "collaborative", k.LOG_VISITS)),
        (True, f("walk.relative", "s / the largest s among the candidates", "collaborative",
                 k.RELATIVE_VISITS)),
        (True, f("walk.per_root", "s / √(boards of the candidate)", "collaborative",
                 k.VISITS_PER_ROOT)),
        (True, f("adamic_adar.sum", "a: Σ 1 / ln(size) over boards that hold both",
                 "collaborative", k.ADAMIC_ADAR)),
        (True, f("adamic_adar.log", "ln(1 + a)", "collaborative", k.LOG_ADAMIC_ADAR)),
        (True, f("adamic_adar.relative", "a / the largest a among the candidates",
                 "collaborative", k.RELATIVE_ADAMIC_ADAR)),
        (True, f("resource_allocation", "Σ 1 / size over boards that hold both", "collaborative",
                 k.RESOURCE_ALLOCATION)),
        (layout.factors > 0, f("factors.similarity", "cosine of co-save factors",
                               "collaborative", k.FACTORS)),
        (True, f("navboost.log_ratio", "smoothed log-ratio of actions to those expected",
                 "navboost", k.NAVBOOST)),
    ]  # fmt: skip
    return [feature for exists, feature in made if exists]


_CONTEXT = {
    "context.recent_topic_similarity": "cosine with the mean topic vector of recent images",
    "context.recent_factor_similarity": "cosine with the mean co-save factors of recent images",
    "context.recent_fc6_similarity": "1 − Hamming distance / bits to most recent pictures",
    "context.phrase_similarity": "cosine of annotations with the phrase searched for",
    "context.locale": "1 if the candidate fits the user's locale",
}


class PairFeatures:
    """Describes candidates of a query by the features of a configuration. Thread-safe.

    packed: the rows of all images; categories: names of the catalogue's categories by number;
    n_boards: boards of the catalogue.
    """

    def __init__(
        self,
        packed: PackedRows,
        categories: Sequence[str] = (),
        n_boards: int = 1,
        config: PairConfig | None = None,
    ) -> None:
        self.packed, self.categories, self.n_boards = packed, tuple(categories), n_boards
        self.config = config or PairConfig()
        config = self.config
        all_made = _features(packed.layout, self.categories, config.max_cross)
        self._custom = {name: _load(name, place) for name, place in config.custom.items()}
        context = _CONTEXT if "context" in config.groups else {}
        known = {feature.name for feature in all_made} | set(_CONTEXT) | set(self._custom)
        check(set(config.without) <= known, "without", "PairConfig", "names of features",
              sorted(set(config.without) - known))  # fmt: skip
        wanted = [f for f in all_made if f.group in config.groups and f.name not in config.without]
        self._made = wanted
        self._context = {n: d for n, d in context.items() if n not in config.without}
        self.schema = {
            **{f.name: f.definition for f in wanted},
            **self._context,
            **{name: f"your own: {config.custom[name]}" for name in self._custom},
        }
        self._source = np.array([f.base for f in wanted], np.int64)
        self._crossed = np.array([f.category for f in wanted], np.int64)
        self._idle: list[Any] = []

    def matrix(
        self,
        query: int | npt.NDArray[np.uint8],
        rows: UInt32s,
        signals: Signals,
        context: Context | None = None,
    ) -> Float32s:
        """(n, features) float32, in the order of the schema.

        query: a row of the catalogue, or a packed row of its own (`packed.pack_picture`).
        """
        out = np.empty((len(rows), len(self._made)), np.float32)
        row = self._row_of(query)
        self._run(row, rows, signals, out=out, factor=self._factor(row))
        return np.concatenate([out, self._extra(query, rows, context)], axis=1)

    def top(
        self,
        query: int | npt.NDArray[np.uint8],
        rows: UInt32s,
        signals: Signals,
        weights: npt.NDArray[np.floating[Any]],
        means: npt.NDArray[np.floating[Any]],
        k: int,
        context: Context | None = None,
    ) -> tuple[UInt32s, Float32s]:
        """Positions and scores of the k candidates of largest Σ weight × (feature − mean), largest
        first, ties by row. weights, means: (features,) as the schema. No matrix is made."""
        scores = self.scores(query, rows, signals, weights, means, context)
        order = np.argsort(rows, kind="stable")
        positions = order[top_k(scores[order], k)].astype(np.uint32)
        return positions, scores[positions]

    def scores(
        self,
        query: int | npt.NDArray[np.uint8],
        rows: UInt32s,
        signals: Signals,
        weights: npt.NDArray[np.floating[Any]],
        means: npt.NDArray[np.floating[Any]],
        context: Context | None = None,
    ) -> Float32s:
        """(n,) float32: Σ weight × (feature − mean) of each candidate."""
        from pinjoin.features._pairs_kernel import N_BASE

        n = len(self._made)
        row = self._row_of(query)
        factor = self._factor(row)
        size = N_BASE + len(self.packed.layout.quality)
        folded = np.bincount(self._source, weights[:n] * factor, size)
        shifts = np.zeros(size)
        own = self._source >= N_BASE
        shifts[self._source[own]] = means[:n][own]
        scores = np.empty(len(rows), np.float32)
        self._run(row, rows, signals, folded, shifts, scores=scores)
        bias = means[:n][~own] @ weights[:n][~own]
        extra = self._extra(query, rows, context)
        return np.asarray(scores - bias + (extra - means[n:]) @ weights[n:], np.float32)

    def with_packed(self, packed: PackedRows) -> PairFeatures:
        """The same features of other rows (`PackedRows.with_rows`)."""
        return PairFeatures(packed, self.categories, self.n_boards, self.config)

    def _row_of(self, query: int | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if isinstance(query, np.ndarray) and query.ndim == 1:
            return np.ascontiguousarray(query, np.uint8)[None]
        row: npt.NDArray[np.uint8] = self.packed.data[int(query)][None]
        return row

    def _factor(self, row: npt.NDArray[np.uint8]) -> Float32s:
        """(features,) what each base feature is multiplied by: 1, or a share of the query."""
        fields = Fields(row, self.packed.layout)
        shares = np.zeros(len(self.categories) + 1, np.float32)
        shares[-1] = 1
        ids = fields.part("category_ids", np.uint16)[0]
        kept = fields.part("shares")[0]
        here = kept > 0
        shares[ids[here]] = kept[here] / np.float32(255)
        return shares[self._crossed]

    def _extra(
        self, query: int | npt.NDArray[np.uint8], rows: UInt32s, context: Context | None
    ) -> Float32s:
        """(n, context and custom features)."""
        extra = np.zeros((len(rows), len(self._context) + len(self._custom)), np.float32)
        if self._context and context is not None:
            columns = self._describe_context(rows, context)
            for j, name in enumerate(self._context):
                extra[:, j] = columns[name]
        asked = None if isinstance(query, np.ndarray) and query.ndim == 1 else int(query)
        for j, (name, function) in enumerate(self._custom.items(), len(self._context)):
            values = np.asarray(function(asked, rows))
            good = values.shape == (len(rows),)
            check(good, f"custom {name}", "PairConfig", f"a function that gives {len(rows)} "
                  "numbers, one a candidate", values.shape)  # fmt: skip
            extra[:, j] = values
        return extra

    def _describe_context(self, rows: UInt32s, context: Context) -> dict[str, Any]:
        from pinjoin.features import _pairs_kernel as k

        virtual = _mean_row(self.packed, np.asarray(context.recent, np.int64), context.phrase)
        none = np.zeros(len(rows), np.float32)
        signals = Signals(np.zeros(len(rows), np.uint32), none, none, none)
        out = np.empty((len(rows), 4), np.float32)
        source = np.array([k.TOPICS, k.FACTORS, k.FC6, k.TERMS])
        self._run(virtual[None], rows, signals, out=out, source=source,
                  factor=np.ones(4, np.float32))  # fmt: skip
        locale = 0 if context.locale is None else context.locale
        return dict(zip(_CONTEXT, [*out.T, locale], strict=True))

    def _run(
        self,
        query: npt.NDArray[np.uint8],
        rows: UInt32s,
        signals: Signals,
        weights: npt.NDArray[Any] | None = None,
        shifts: npt.NDArray[Any] | None = None,
        *,
        scores: Float32s | None = None,
        out: Float32s | None = None,
        source: npt.NDArray[np.int64] | None = None,
        factor: Float32s | None = None,
    ) -> None:
        from pinjoin.features import _pairs_kernel as k

        layout = self.packed.layout
        size = k.N_BASE + len(layout.quality)
        none = np.empty(0, np.float32)
        tables = self._idle.pop() if self._idle else k.Tables(
            np.empty(k.TERM_SLOTS, np.uint64), np.zeros(65_536, np.int8),
            np.zeros(65_536, np.uint8),
        )  # fmt: skip
        given = k.Signals(
            np.ascontiguousarray(signals.counts, np.uint32),
            *(
                np.ascontiguousarray(none if a is None else a, np.float32)
                for a in (signals.adamic_adar, signals.resource_allocation, signals.walk,
                          signals.navboost)
            ),
        )  # fmt: skip
        k.describe(
            np.ascontiguousarray(rows, np.uint32),
            _views(self.packed.data),
            _places(layout),
            _views(query),
            given,
            float(self.n_boards),
            tables,
            np.zeros(size, np.float32) if weights is None else weights.astype(np.float32),
            np.zeros(size, np.float32) if shifts is None else shifts.astype(np.float32),
            self._source if source is None else source,
            none if factor is None else factor,
            np.empty((0, 0), np.float32) if out is None else out,
            none if scores is None else scores,
        )
        self._idle.append(tables)


def _views(data: npt.NDArray[np.uint8]) -> Any:
    from pinjoin.features._pairs_kernel import Views

    data = data.view()
    data.flags.writeable = False  # mapped files are: so the loops are compiled once
    kinds = (np.uint64, np.float32, np.uint32, np.uint16, np.int8, np.uint8)
    return Views(*(data.view(kind) for kind in kinds))


def _places(layout: RowLayout) -> Any:
    from pinjoin.features._pairs_kernel import Places

    at = layout.offsets
    return Places(
        words=-(-layout.n_bits // 64),
        header=at["header"] // 4,
        quality=at["quality"] // 4,
        n_quality=len(layout.quality),
        terms=at["term_ids"] // 4,
        n_terms=layout.terms,
        classes=at["class_ids"] // 2,
        n_classes=layout.classes,
        categories=at["category_ids"] // 2,
        n_categories=layout.categories,
        topics=at["topics"] if layout.topics else -1,
        factors=at["factors"] if layout.factors else -1,
        weights=at["term_weights"],
        values=at["class_values"],
        shares=at["shares"],
        flags=at["flags"],
        bits=max(layout.n_bits, 1),
    )


def _mean_row(
    packed: PackedRows,
    recent: npt.NDArray[np.int64],
    phrase: tuple[UInt32s, Float32s] | None,
) -> npt.NDArray[np.uint8]:
    """(bytes,) the row of an image that is like recent ones and of which a phrase is said."""
    layout = packed.layout
    new = np.zeros((1, layout.bytes), np.uint8)
    fields, given = Fields(new, layout), Fields(packed.data[recent], layout)
    seen = (given.flags & rows_of.SEEN) > 0
    if seen.any():
        bits = np.unpackbits(given.part("bits")[seen], axis=1)
        fields.set_codes(np.packbits(2 * bits.sum(axis=0) > seen.sum())[None])
    for name, place in (("topics", rows_of.Header.TOPICS), ("factors", rows_of.Header.FACTORS)):
        if getattr(layout, name) and len(recent):
            vectors = given.part(name, np.int8) * given.header[:, place, None]
            fields.set_dense(name, place, vectors.mean(axis=0, keepdims=True))
    if phrase is not None and layout.terms and len(phrase[0]):
        ids = np.full((1, layout.terms), NO_TERM, np.uint32)
        weights = np.zeros((1, layout.terms), np.float32)
        n = min(len(phrase[0]), layout.terms)
        ids[0, :n], weights[0, :n] = phrase[0][:n], phrase[1][:n]
        fields.set_terms(ids, weights)
    row: npt.NDArray[np.uint8] = new[0]
    return row


def _load(name: str, place: str) -> CustomFeature:
    """The function of a custom feature."""
    module, _, function = place.partition(":")
    try:
        found: CustomFeature = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The custom feature {name!r} of PairConfig must be 'module:function', importable "
            f"here. Got {place!r}: {error}."
        ) from error
    return found
