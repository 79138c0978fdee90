"""Features of a query and its candidates, made at request time (§IV.B, §V.B).

A part that the query or the candidate lacks gives 0, and an indicator says so; features of a part
that the whole catalogue lacks do not exist. `features.pair_schema` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import ConfigError, check
from pinjoin.core.topk import top_k
from pinjoin.core.types import Float32s, Int64s, UInt32s
from pinjoin.features import pair_schema, row_layout
from pinjoin.features.context import Context, as_image
from pinjoin.features.packed import PackedRows
from pinjoin.features.pair_schema import PAPER_GROUPS, PairConfig
from pinjoin.features.row_layout import Fields, RowLayout

__all__ = ["PAPER_GROUPS", "Context", "PairConfig", "PairFeatures", "Signals"]

UInt8s = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.floating[Any]]

Query = int | np.integer[Any] | UInt8s
"""What is looked at: a row of the catalogue, or a packed row of its own, (bytes,) uint8
(`packed.pack_picture`: a picture from outside)."""

CustomFeature = Callable[[int | None, UInt32s], npt.ArrayLike]
"""A feature of your own: f(query, rows) → (rows,) finite numbers. query: the row of the image that
is looked at, None for a picture from outside; rows: (rows,) uint32, the candidates. Only these
cost Python."""

_NONE = np.empty(0, np.float32)
_NO_COLUMNS = np.empty(0, np.int64)
_NO_MATRIX = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Signals:
    """What boards and walks say of n candidates.

    counts: (n,) uint32, boards shared with the query; adamic_adar: Σ 1 / ln(size) and
    resource_allocation: Σ 1 / size over these boards; walk: visits per walk; navboost: smoothed
    log-ratio of actions, None without a log; each (n,) float32, all but navboost ≥ 0.
    """

    counts: UInt32s
    adamic_adar: Float32s
    resource_allocation: Float32s
    walk: Float32s
    navboost: Float32s | None = None

    @classmethod
    def none(cls, n: int) -> Signals:
        """Nothing is known, as of a picture from outside."""
        nothing = np.zeros(n, np.float32)
        return cls(np.zeros(n, np.uint32), nothing, nothing, nothing)


class PairFeatures:
    """Describes candidates of a query by the features of a configuration. Thread-safe.

    packed: the rows of all images; categories: the names of the catalogue's categories by number;
    n_boards: boards of the catalogue. schema: the features' names in their order, with their
    definitions (`ranking.model.require_schema` compares them).
    """

    def __init__(
        self,
        packed: PackedRows,
        categories: Sequence[str] = (),
        n_boards: int = 1,
        config: PairConfig | None = None,
    ) -> None:
        self.packed, self.categories, self.n_boards = packed, tuple(categories), n_boards
        self.config = config = config or PairConfig()
        made = pair_schema.features(packed.layout, self.categories, config)
        self._context = pair_schema.context_features(config)
        self._custom = {name: _load(name, place) for name, place in config.custom.items()}
        self.schema: Mapping[str, str] = {
            **{feature.name: feature.definition for feature in made},
            **self._context,
            **{name: f"your own: {place}" for name, place in config.custom.items()},
        }
        n = len(made) + len(self._context) + len(self._custom)
        distinct = len(self.schema) == n
        check(distinct, "custom", "PairConfig", "names no other feature has", tuple(self._custom))
        self._base = np.array([feature.base for feature in made], np.int64)
        self._scale = np.array([feature.scale for feature in made], np.int64)
        self._n_crossed = max(0, int(self._scale.max(initial=0)) + 1 - pair_schema.SHARES)
        self._views, self._places = _views(packed.data), _places(packed.layout)
        self._idle: list[Any] = []  # pop and append are atomic

    def matrix(
        self, query: Query, rows: UInt32s, signals: Signals, context: Context | None = None
    ) -> Float32s:
        """(rows, features) float32, in the order of the schema."""
        row = self._row_of(query)
        made = self._columns(row, rows, signals, self._base, self._scales(row, signals))
        more = self._more(query, rows, context)
        return np.concatenate([made, more], axis=1) if more.shape[1] else made

    def scores(
        self,
        query: Query,
        rows: UInt32s,
        signals: Signals,
        weights: Numbers,
        means: Numbers,
        context: Context | None = None,
    ) -> Float32s:
        """(rows,) float32: Σ weight × (feature − mean) of each. No matrix is made.

        weights, means: (features,) in the order of the schema.
        """
        weights, means = (np.asarray(given, np.float64) for given in (weights, means))
        for name, given in (("weights", weights), ("means", means)):
            fits = given.shape == (len(self.schema),)
            allowed = f"of shape ({len(self.schema)},), as the schema"
            check(fits, name, "PairFeatures.scores", allowed, given.shape)
        row, n = self._row_of(query), len(self._base)
        size = pair_schema.OWN + len(self.packed.layout.quality)
        scaled = weights[:n] * self._scales(row, signals)
        folded = np.bincount(self._base, scaled, size).astype(np.float32)
        # A column of large numbers is shifted before it is weighed: float32 has 7 digits.
        own = self._base >= pair_schema.OWN
        shifts = np.bincount(self._base[own], means[:n][own], size).astype(np.float32)
        scores = np.empty(len(rows), np.float32)
        self._run(row, rows, signals, folded, shifts, scores=scores)
        scores -= np.float32(weights[:n][~own] @ means[:n][~own])
        if n < len(self.schema):
            scores += np.float32((self._more(query, rows, context) - means[n:]) @ weights[n:])
        return scores

    def top(
        self,
        query: Query,
        rows: UInt32s,
        signals: Signals,
        weights: Numbers,
        means: Numbers,
        k: int,
        context: Context | None = None,
    ) -> tuple[UInt32s, Float32s]:
        """The k candidates of highest score: positions in `rows` (uint32) and scores (float32),
        highest first, ties by row. Parameters as of `scores`."""
        scores = self.scores(query, rows, signals, weights, means, context)
        best = top_k(scores, k)
        if len(best):
            best = np.flatnonzero(scores >= scores[best[-1]]).astype(np.uint32)
            best = best[np.lexsort((rows[best], -scores[best]))[:k]]
        return best, scores[best]

    def with_packed(self, packed: PackedRows) -> PairFeatures:
        """The same features of other rows (`PackedRows.with_rows`)."""
        return PairFeatures(packed, self.categories, self.n_boards, self.config)

    def configured(self, config: PairConfig) -> PairFeatures:
        """Other features of the same rows."""
        return PairFeatures(self.packed, self.categories, self.n_boards, config)

    def _row_of(self, query: Query) -> UInt8s:
        if not isinstance(query, np.ndarray):
            return self.packed.row(int(query))
        size = self.packed.layout.bytes
        fits = query.shape == (size,) and query.dtype == np.uint8
        allowed = f"the number of a row, or a packed row of {size} bytes"
        check(fits, "query", "PairFeatures", allowed, (query.dtype, query.shape))
        return query.copy()  # where numbers of 8 bytes may lie

    def _scales(self, row: UInt8s, signals: Signals) -> Float32s:
        """(features of the kernel,) float32: what each is multiplied by in this request."""
        fields = Fields(row[None], self.packed.layout)
        header, shares = fields.header[0], np.zeros(self._n_crossed)
        ids, given = (part[0] for part in fields.categories)
        kept = ids < self._n_crossed
        shares[ids[kept]] = given[kept]
        columns = (signals.counts, signals.walk, signals.adamic_adar)
        largest = [float(column.max(initial=0)) for column in columns]
        inverse = [1 / one if one > 0 else 0 for one in (header[row_layout.BOARDS], *largest)]
        fixed = [1, *header[: row_layout.BOARDS], header[row_layout.BOARD_SCALE], *inverse]
        scales: Float32s = np.concatenate([fixed, shares])[self._scale].astype(np.float32)
        return scales

    def _columns(
        self, row: UInt8s, rows: UInt32s, signals: Signals, base: Int64s, scales: Float32s
    ) -> Float32s:
        """(rows, columns) what the kernel makes in places `base`, × scales."""
        size = pair_schema.OWN + len(self.packed.layout.quality)
        out = np.empty((len(rows), len(base)), np.float32)
        if len(rows):
            nothing = np.zeros(size, np.float32)
            self._run(row, rows, signals, nothing, nothing, base, scales, matrix=out)
        return out

    def _run(
        self,
        row: UInt8s,
        rows: UInt32s,
        signals: Signals,
        weights: Float32s,
        shifts: Float32s,
        base: Int64s = _NO_COLUMNS,
        scales: Float32s = _NONE,
        matrix: Float32s = _NO_MATRIX,
        scores: Float32s = _NONE,
    ) -> None:
        from pinjoin.features import _pairs_kernel as kernel

        rows, given = self._checked(rows, signals)
        tables = self._idle.pop() if self._idle else kernel.new_tables()
        kernel.describe(
            rows, self._views, self._places, _views(row), given, np.float32(np.log(self.n_boards)),
            tables, weights, shifts, base, scales, matrix, scores,
        )  # fmt: skip
        self._idle.append(tables)  # an interrupted one is dropped: it is not all zero

    def _checked(self, rows: UInt32s, signals: Signals) -> tuple[UInt32s, Any]:
        """Rows and signals as the kernel wants them, which trusts them."""
        from pinjoin.features import _pairs_kernel as kernel

        n, rows = len(self.packed), _frozen(rows, np.uint32)
        inside = not len(rows) or bool(rows.max() < n)
        check(inside, "rows", "PairFeatures", f"numbers from 0 to {n - 1}", rows)
        given = kernel.Signals(
            _frozen(signals.counts, np.uint32),
            _frozen(signals.walk, np.float32),
            _frozen(signals.adamic_adar, np.float32),
            _frozen(signals.resource_allocation, np.float32),
            _frozen(_NONE if signals.navboost is None else signals.navboost, np.float32),
        )
        for name, one in given._asdict().items():
            fits = one.shape == rows.shape or (name == "navboost" and signals.navboost is None)
            check(fits, name, "Signals", f"of shape {rows.shape}, as rows", one.shape)
        return rows, given

    def _more(self, query: Query, rows: UInt32s, context: Context | None) -> Float32s:
        """(rows, context and custom features)."""
        more = np.zeros((len(rows), len(self._context) + len(self._custom)), np.float32)
        if self._context and context is not None:
            known = self._describe_context(rows, context)
            for j, name in enumerate(self._context):
                more[:, j] = known[name]
        asked = None if isinstance(query, np.ndarray) else int(query)
        for j, (name, function) in enumerate(self._custom.items(), len(self._context)):
            values = np.asarray(function(asked, rows), np.float32)
            good = values.shape == rows.shape and bool(np.isfinite(values).all())
            check(good, name, "PairConfig.custom", f"a function that gives {len(rows)} finite "
                  "numbers, one a candidate", values)  # fmt: skip
            more[:, j] = values
        return more

    def _describe_context(self, rows: UInt32s, context: Context) -> dict[str, Any]:
        row = as_image(context, self.packed)
        header = Fields(row[None], self.packed.layout).header[0]
        columns = [
            (pair_schema.TOPICS, header[row_layout.TOPIC_SCALE]),
            (pair_schema.FACTORS, header[row_layout.FACTOR_SCALE]),
            (pair_schema.FC6, 1),
            (pair_schema.TERMS, header[row_layout.TERM_SCALE]),
        ]
        base, scales = (np.array(part) for part in zip(*columns, strict=True))
        nothing = Signals.none(len(rows))
        made = self._columns(row, rows, nothing, base, scales.astype(np.float32))
        locale = 0 if context.locale is None else context.locale[rows]
        return dict(zip(pair_schema.CONTEXT, [*made.T, locale], strict=True))


def _frozen(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A read-only view, as those of mapped files are: so the loop is compiled once."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def _views(data: UInt8s) -> Any:
    from pinjoin.features._pairs_kernel import Views

    flat = _frozen(data, np.uint8).reshape(-1)
    kinds = (np.uint64, np.float32, np.uint32, np.uint16, np.int8, np.uint8)
    return Views(*(flat.view(kind) for kind in kinds))


def _places(layout: RowLayout) -> Any:
    """Where parts begin, counted in numbers of their size."""
    from pinjoin.features._pairs_kernel import Places

    at = layout.offsets
    places = Places(
        row_words=layout.bytes // 8,
        bits=max(layout.n_bits, 1),
        words=-(-layout.n_bits // 64),
        header=at["header"] // 4,
        quality=at["quality"] // 4,
        n_quality=len(layout.quality),
        term_ids=at["term_ids"] // 4,
        term_weights=at["term_weights"],
        terms=layout.terms,
        class_ids=at["class_ids"] // 2,
        class_values=at["class_values"],
        classes=layout.classes,
        category_ids=at["category_ids"] // 2,
        shares=at["shares"],
        categories=layout.categories,
        topics=at["topics"],
        n_topics=at["factors"] - at["topics"],
        factors=at["factors"],
        n_factors=at["term_weights"] - at["factors"],
        flags=at["flags"],
    )
    return Places(*map(np.uint64, places))


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
