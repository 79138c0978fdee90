"""Related pins on one screen: find the query, retrieve candidates, describe them, rank, say why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.blend import blend
from pinjoin.candidates.content import Content
from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.retrieval import Part, Retrieval
from pinjoin.candidates.walk import RandomWalk
from pinjoin.contents import Contents
from pinjoin.core.errors import InputError, UnknownIdError, check
from pinjoin.core.types import Float32s, Related, UInt32s
from pinjoin.features.category import NO_CATEGORY
from pinjoin.features.context import RECENT, Context
from pinjoin.filters import Filters, filter_columns, quoted
from pinjoin.ranker import Ranker, by_count, open_ranker
from pinjoin.ranking.diversity import mmr
from pinjoin.ranking.store import COUNT
from pinjoin.reasons import count_shared, reasons
from pinjoin.results import (
    BOOSTED,
    IN_CATEGORY,
    PINNED,
    POPULAR,
    SOURCES,
    TEXT,
    VISUAL,
    Ranked,
    Ranking,
    Source,
    names_of,
)
from pinjoin.snapshot.reader import Snapshot, open_snapshot

if TYPE_CHECKING:
    from pinjoin.features.visual import Encoder

Bools = npt.NDArray[np.bool_]

_POOL = 200  # so many are looked at to make a list diverse, however long it is: pages agree
_ELSEWHERE = 0.05  # how likely walks near the query's categories take another board


@dataclass(frozen=True)
class Wishes:
    """What a request asks for beside its query."""

    exclude: Sequence[str] = ()  # ids that must not come back
    filter: str | None = None  # a condition that a pin of each result fulfils: docs/filters.md
    pinned: Sequence[str] = ()  # ids that come first, in this order
    boosted: Mapping[str, float] | None = None  # ids, and what is added to the score of each
    diversity: float = 0.0  # from 0, by score alone, to 1, as unlike each other as can be
    near: Literal["category"] | None = None  # walks keep to boards of the query's categories
    recent: Sequence[str] = ()  # ids the person looked at last; counts if the model learned it
    phrase: str | None = None  # what the person searched for; counts if the model learned it
    locale: str | None = None  # the person's, as the pins' column `locale` has it; likewise
    model: str | None = None  # another of the workspace's models; "count": most shared boards

    def __post_init__(self) -> None:
        caller, knob = "related", self.diversity
        check(0 <= knob <= 1, "diversity", caller, "from 0 to 1", knob)
        check(self.near in (None, "category"), "near", caller, "None or 'category'", self.near)


class Workspace(Contents):
    """One snapshot of a built catalogue, ready to answer. Made by `pinjoin.open`.

    Thread-safe. Arrays and tables are mapped from the snapshot, not loaded.
    """

    def __init__(self, path: Path, snapshot: Snapshot, model: str | None = None) -> None:
        """model: the name of one of the workspace's, or "count": most shared boards first; None:
        the one in use."""
        super().__init__(path, snapshot)
        self._model = model
        self._rankers: dict[str, Ranker | None] = {}

    def related(
        self, id: str, n: int = 20, *, explain: bool = True, **wishes: Any
    ) -> list[Related]:
        """The n images that belong next to a pin, a signature, an image or a picture file.

        n come back whenever the catalogue has n others that may: images that share boards with it
        or that random walks reach, as the model ranks them; then what looks alike or has the same
        said of it; what is popular in its category, and anywhere. Near-duplicates of it or of
        each other stand back. explain: whether to fill `reasons`. wishes: fields of `Wishes`.
        Raises UnknownIdError, InputError for a picture file that cannot be read.
        """
        check(n >= 1, "n", "related", "a number ≥ 1", n)
        wish = _wishes(wishes)
        try:
            query = self.find(id)
        except UnknownIdError:
            if not Path(id).is_file():
                raise
            ranking = self.rank_picture(Path(id), n, wish)
        else:
            ranking = self.rank(query, n, wish)
        why = self.reasons(ranking) if explain else [{} for _ in ranking.rows]
        columns = zip(
            self.describe(ranking.rows), ranking.scores.tolist(), ranking.sources.tolist(),
            ranking.shared_boards.tolist(), why, strict=True,
        )  # fmt: skip
        return [
            Related(**image, score=score, source=SOURCES[name], shared_boards=n, reasons=reason)
            for image, score, name, n, reason in columns
        ]

    def rank(self, query: int, n: int, wish: Wishes = Wishes()) -> Ranking:
        """The n images that belong next to a row, without a word about them.

        A longer list begins with the shorter one.
        """
        eligible = self._eligible(wish)
        ranked = self._rank(query, wish, eligible)
        first = self._pinned(query, n, wish, eligible)
        names = np.full(len(first), PINNED, np.uint8)
        rows, scores = first, np.append(ranked.scores, np.float32(0))[ranked.places(first)]
        if len(first) < n:
            shown = np.append(first, np.uint32(query))
            sources = [Source(ranked.best, ranked.sources_of), *self._fallbacks(query)]
            found = blend(sources, shown, n - len(first), eligible=eligible, copies=self.copies)
            rows, scores = np.append(first, found.rows), np.append(scores, found.scores)
            names = np.append(names, names_of(found, sources))
        shared = self._shared_boards(query, rows, ranked)
        return Ranking(query, rows, scores, names, shared, _name(ranked.ranker), ranked)

    def reasons(self, ranking: Ranking) -> list[dict[str, Any]]:
        """Why each result is there; of ranked ones, what each feature added to the score."""
        if ranking.query is None or ranking.ranked is None:
            alike = 1 - np.arccos(np.clip(ranking.scores, -1, 1)) / np.pi  # as of two images
            return [{"visual_similarity": round(float(one), 4)} for one in alike]
        query, ranked = ranking.query, ranking.ranked
        found = reasons(self, query, ranking.rows)
        if ranked.ranker is None:
            return found
        places = ranked.places(ranking.rows)
        scored = np.flatnonzero(places >= 0)
        parts = ranked.ranker.contributions(query, ranked.found, places[scored], ranked.context)
        for i, part in zip(scored.tolist(), parts, strict=True):
            row = int(ranking.rows[i])
            boost = {"boost": ranked.boosts[row]} if row in ranked.boosts else {}
            found[i]["contributions"] = part | boost
        return found

    def query(self, id: str) -> dict[str, Any]:
        """What is being looked at: described as a result is; a picture file by its path."""
        try:
            return self.describe([self.find(id)])[0]
        except UnknownIdError:
            if not Path(id).is_file():
                raise
            return {"signature": None, "pin_id": None, "image": id, "title": None}

    def show(self, row: int) -> dict[str, Any]:
        """Everything known of one image, as plain data."""
        known = self.pinjoin(row)
        neighbours = [
            {"signature": one.signature, "title": one.title, "image": one.image,
             "source": one.source, "shared_boards": one.shared_boards}
            for one in self.related(known.signature, 10, explain=False)
        ]  # fmt: skip
        return {
            "signature": known.signature,
            "pin_id": known.pin_id,
            "image": known.image,
            "file": self.image_path(row),
            "title": known.title,
            "pins": known.pins,
            "boards": known.boards,
            **self.said_and_seen(row),
            "neighbours": neighbours,
        }

    def said_and_seen(self, row: int) -> dict[str, Any]:
        """What is said and seen of one image, as plain data: names and weights."""
        return {
            "annotations": _named(self.annotations.of(row)),
            "categories": _named(self.categories.of(row)),
            "topics": _named(self.topics.of(row)),
            "looks_like": [] if self.pictures is None else self.pictures.looks_like(row),
        }

    @property
    def model(self) -> str:
        """The name of the model that ranks; "count" where shared boards do."""
        return _name(self.ranker)

    @cached_property
    def ranker(self) -> Ranker | None:
        """What orders candidates; None: the number of shared boards does, then walks."""
        return open_ranker(self, self._model)

    def ranker_of(self, model: str | None) -> Ranker | None:
        """That of another model of the workspace; by default the one above."""
        if model is None:
            return self.ranker
        if model not in self._rankers:
            self._rankers[model] = open_ranker(self, model)
        return self._rankers[model]

    @cached_property
    def cooccurrence(self) -> Cooccurrence:
        """Counts shared boards when asked; nothing is precomputed."""
        return Cooccurrence(self.graph)

    @cached_property
    def retrieval(self) -> Retrieval:
        """Finds what there is to rank."""
        return Retrieval(self.cooccurrence, RandomWalk(self.graph, None, self.snapshot.name))

    def alike(self, query: int, k: int) -> Part:
        """The k rows most alike in content, and the source of each."""
        rows, _, looks = self.neighbours.search(self.content_of(query), k)
        return rows, np.where(looks, VISUAL, TEXT).astype(np.uint8)

    def _rank(self, query: int, wish: Wishes, eligible: Bools | None) -> Ranked:
        ranker, boosts = self.ranker_of(wish.model), self._boosts(wish)
        by_likeness = self._is_alone(query) and not (ranker and ranker.knows_the_alone)
        ranker = None if by_likeness else ranker
        personal = ranker is not None and bool(ranker.contextual)
        context = self.context(wish.recent, wish.phrase, wish.locale) if personal else None
        boosted = np.array(list(boosts), np.uint32)
        found = self.retrieval.find(
            query,
            eligible=eligible,
            alike=partial(self.alike, query) if ranker or by_likeness else None,
            wanted=(boosted, BOOSTED) if boosts else None,
            board_weights=self._board_weights(query) if wish.near else None,
        )
        if by_likeness:
            scores = self.neighbours.similarity(self.content_of(query), found.rows)
        elif ranker is None:
            scores = by_count(found.signals)
        else:
            found = ranker.informed(query, found)
            scores = ranker.scores(query, found, context)
        ranked = Ranked(found, scores, ranker, context, boosts)
        places = ranked.places(boosted)
        scores[places[places >= 0]] += np.array(list(boosts.values()), np.float32)[places >= 0]
        return self._diversified(ranked, wish.diversity) if wish.diversity else ranked

    def _is_alone(self, query: int) -> bool:
        """Whether nothing is on a board with an image."""
        boards = self.graph.boards_of(query)
        return not any(len(self.graph.images_of(board)) > 1 for board in boards)

    def _diversified(self, ranked: Ranked, diversity: float) -> Ranked:
        """The best ones in the order of maximal marginal relevance by content."""
        rows, scores = ranked.best(_POOL)

        def similar_to(place: int) -> Float32s:
            return self.neighbours.similarity(self.content_of(int(rows[place])), rows)

        return replace(ranked, first=rows[mmr(scores, similar_to, len(rows), diversity)])

    def _fallbacks(self, query: int) -> list[Source]:
        """What is left to show where candidates end."""

        def alike(k: int) -> tuple[UInt32s, Float32s]:
            rows, scores, looks = self.neighbours.search(content, k)
            names.update(zip(rows.tolist(), np.where(looks, VISUAL, TEXT), strict=True))
            return rows, scores

        def in_category(k: int) -> tuple[UInt32s, Float32s]:
            rows = self.popular_in_category(query, k)
            return rows, self.popularity(rows)

        def popular(k: int) -> tuple[UInt32s, Float32s]:
            rows = self.popular(k)
            return rows, self.popularity(rows)

        content, names = self.content_of(query), dict[int, int]()
        return [
            Source(alike, lambda rows: [names[row] for row in rows.tolist()]),
            Source(in_category, IN_CATEGORY),
            Source(popular, POPULAR),
        ]

    def rank_picture(self, source: Path | bytes, n: int, wish: Wishes = Wishes()) -> Ranking:
        """What looks like a picture from outside the catalogue: a file, or its bytes.

        Raises InputError if it cannot be read, or the workspace was built without pictures.
        """
        code = self._code_of(source)
        nothing = self.annotations.ids[0][:0], self.annotations.weights[0][:0]
        content = Content(code, *nothing, np.zeros(0, np.float32))
        alike = Source(lambda k: self.neighbours.search(content, k)[:2], VISUAL)
        nobody, eligible = np.empty(0, np.uint32), self._eligible(wish)
        found = blend([alike], nobody, n, eligible=eligible, copies=self.copies)
        names = np.full(len(found), VISUAL, np.uint8)
        nowhere = np.zeros(len(found), np.uint32)
        return Ranking(None, found.rows, found.scores, names, nowhere, COUNT)

    def _code_of(self, source: Path | bytes) -> npt.NDArray[np.uint8]:
        """The bits of a picture as the catalogue's pictures have them."""
        if self.pictures is None:
            name = "The picture" if isinstance(source, bytes) else source
            raise InputError(
                f"{name}: this workspace was built without pictures, so nothing can be compared "
                "with a picture. Build it with --images DIR."
            )
        code = np.zeros(self.pictures.bits.shape[1], np.uint8)
        seen = self.encoder.visual(self.encoder.tensor(source)[None]).bits[0]
        code[: len(seen)] = seen
        return code

    @cached_property
    def encoder(self) -> Encoder:
        """What looked at the pictures of the catalogue, if anything did."""
        from pinjoin.features.visual import load_encoder

        name = "" if self.pictures is None else self.pictures.encoder
        return load_encoder(name, folders=(self.path / "encoders",))

    def _shared_boards(self, query: int, rows: UInt32s, ranked: Ranked) -> UInt32s:
        places = ranked.places(rows)
        shared = np.append(ranked.found.signals.counts, np.uint32(0))[places]
        elsewhere = places < 0
        shared[elsewhere] = count_shared(self, query, rows[elsewhere])
        return shared

    def _pinned(self, query: int, n: int, wish: Wishes, eligible: Bools | None) -> UInt32s:
        rows = np.array(list(dict.fromkeys(self._rows(wish.pinned))), np.uint32)
        able = rows != query
        if eligible is not None:
            able &= eligible[rows]
        chosen: UInt32s = rows[able][:n]
        return chosen

    def _boosts(self, wish: Wishes) -> dict[int, float]:
        given = wish.boosted or {}
        return dict(zip(self._rows(given), map(float, given.values()), strict=True))

    def context(
        self, recent: Sequence[str] = (), phrase: str | None = None, locale: str | None = None
    ) -> Context | None:
        """What a request says of the person, for a ranker; None: nothing.

        A locale counts where the pins have a column `locale` of text. Raises UnknownIdError.
        """
        if not recent and not phrase and locale is None:
            return None
        said = self.annotations.annotate(phrase) if phrase else None
        fits = None
        if locale is not None and filter_columns(self).get("locale") == "text":
            fits = self._filters.mask(f"locale = {quoted(locale)}")
        return Context(self._rows(recent)[:RECENT], said, fits)

    def _board_weights(self, query: int) -> Float32s:
        """(boards,) 1 where a board's category is one of the query's, little elsewhere."""
        own = self.categories.ids[query]
        near = np.isin(self.board_categories, own[own != NO_CATEGORY])
        return np.where(near, 1, _ELSEWHERE).astype(np.float32)

    def _eligible(self, wish: Wishes) -> Bools | None:
        excluded = self._rows(wish.exclude)
        if not excluded and wish.filter is None:
            return None
        mask = np.ones(self.n_images, np.bool_)
        if wish.filter is not None:
            mask = self._filters.mask(wish.filter).copy()
        mask[excluded] = False
        return mask

    @cached_property
    def _filters(self) -> Filters:
        return Filters(self)

    def _rows(self, ids: Iterable[str]) -> list[int]:
        return [self.find(id) for id in ids]


def _name(ranker: Ranker | None) -> str:
    return COUNT if ranker is None else ranker.model.about.name


def _wishes(given: Mapping[str, Any]) -> Wishes:
    known = [one.name for one in fields(Wishes)]
    unknown = [name for name in given if name not in known]
    check(not unknown, "wishes", "related", f"some of {', '.join(known)}", ", ".join(unknown))
    return Wishes(**given)


def _named(pairs: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"name": name, "weight": float(weight)} for name, weight in pairs]


def open_workspace(
    path: Path | str,
    snapshot: str | None = None,
    verify: Literal["auto", "full", "none"] = "auto",
    model: str | None = None,
) -> Workspace:
    """Open a built workspace: its current snapshot, or the named one.

    Costs the same for any size: files are mapped. `verify` is `pinjoin.snapshot.reader`'s; model
    names one of the workspace's instead of the one in use ("count": most shared boards first).
    Raises SnapshotError where there is none, or a file of it is damaged.
    """
    return Workspace(Path(path), open_snapshot(path, snapshot, verify), model)
