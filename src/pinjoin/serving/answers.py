"""Answers: a workspace asked, and what it says as JSON. Plain functions, for threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson

from pinjoin.core.errors import UnknownIdError
from pinjoin.core.ids import as_ids
from pinjoin.ideas import ideas
from pinjoin.recommender import Wishes, Workspace
from pinjoin.results import Ranking
from pinjoin.serving.arms import NO_CHOICE, Chosen
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.cursors import cursor_of, place_of
from pinjoin.serving.encoding import images_json, object_json, results_json
from pinjoin.serving.errors import ApiError
from pinjoin.serving.searching import find_images
from pinjoin.serving.switching import Now

_SHOWN = 100  # pins and boards of an image that are listed
_OUTSIDE = orjson.dumps(dict.fromkeys(("signature", "pin_id", "image", "title")))


@dataclass(frozen=True)
class Asked:
    """A request for related images, beside its query."""

    n: int = 20
    cursor: str | None = None
    explain: bool = False
    user: str | None = None  # decides the arm
    wishes: Wishes = field(default_factory=Wishes)
    chosen: Chosen = NO_CHOICE


def related(now: Now, id: str, asked: Asked, config: ServeConfig, request_id: str) -> bytes:
    """What belongs next to an image."""
    known = now.known
    query = now.find(id)
    request = (id, asked.wishes, asked.user)
    start = place_of(asked.cursor, *request)
    end = min(start + asked.n, config.depth)
    ranking = known.rank(query, end, _with_known_ids(known, asked.wishes))
    cursor = cursor_of(end, *request) if len(ranking) == end < config.depth else None
    results = _results(now, ranking.after(start), asked)
    about = [("query", now.heads.of([query])[0] + b"}")]
    return _answer(now, about, ranking.model, results, asked, request_id, cursor)


def related_to_picture(now: Now, picture: bytes, asked: Asked, request_id: str) -> bytes:
    """What looks like a picture from outside."""
    wishes = _with_known_ids(now.known, asked.wishes)
    ranking = now.known.rank_picture(picture, asked.n, wishes)
    results = _results(now, ranking, asked)
    about = [("query", _OUTSIDE)]
    return _answer(now, about, ranking.model, results, asked, request_id, None)


def related_to_several(
    now: Now, ids: Sequence[str], asked: Asked, config: ServeConfig, request_id: str
) -> bytes:
    """What belongs next to several images; ids that are not known are named.

    Raises UnknownIdError if none is known.
    """
    rows = now.known.find_all(as_ids(ids)).tolist()
    unknown = [id for id, row in zip(ids, rows, strict=True) if row < 0]
    queries = [row for row in rows if row >= 0]
    if not queries:
        raise UnknownIdError(unknown[0])
    return _ideas(now, queries, unknown, asked, config, request_id)


def related_to_board(
    now: Now, id: str, asked: Asked, config: ServeConfig, request_id: str
) -> bytes:
    """More ideas for a board. Raises UnknownIdError, and ApiError if nothing is on it."""
    known = now.known
    images = known.board(now.find_board(id)).images
    if not len(images):
        raise ApiError(422, "empty_board", f"Nothing is on the board {id!r} yet.")
    some = np.linspace(0, len(images) - 1, min(config.most_ids, len(images))).astype(int)
    return _ideas(now, images[some].tolist(), [], asked, config, request_id)


def _ideas(
    now: Now,
    queries: Sequence[int],
    unknown: Sequence[str],
    asked: Asked,
    config: ServeConfig,
    request_id: str,
) -> bytes:
    known, queries = now.known, list(dict.fromkeys(queries))
    heads = now.heads.of(queries)
    request = (tuple(heads), asked.wishes, asked.user)
    start = place_of(asked.cursor, *request)
    end = min(start + asked.n, config.depth)
    found = ideas(known, queries, end, _with_known_ids(known, asked.wishes))
    full = len(found.because) == end < config.depth
    cursor = cursor_of(end, *request) if full else None
    found = found.after(start)
    reasons = found.reasons(known) if asked.explain else None
    because = now.heads.of(found.because.tolist())
    results = results_json(now.heads, found.ranking, reasons, because)
    about = [
        ("queries", images_json(now.heads, np.array(queries, np.uint32))),
        ("unknown", orjson.dumps(unknown)),
    ]
    return _answer(now, about, found.ranking.model, results, asked, request_id, cursor)


def search(now: Now, words: str, n: int, cursor: str | None, config: ServeConfig) -> bytes:
    """A page of the images that words find."""
    known = now.known
    start = place_of(cursor, "search", words)
    end = min(start + n, config.depth)
    rows = find_images(known, words, end)
    following = cursor_of(end, "search", words) if len(rows) == end < config.depth else None
    return object_json(
        [
            ("snapshot", orjson.dumps(known.snapshot.name)),
            ("images", images_json(now.heads, rows[start:])),
            ("next_cursor", orjson.dumps(following)),
        ]
    )


def pin(now: Now, id: str) -> bytes:
    """Everything known of an image; of its pins and boards, the first."""
    known = now.known
    row = now.find(id)
    found = known.pinjoin(row, _SHOWN)
    return orjson.dumps(
        {
            "snapshot": known.snapshot.name,
            "signature": found.signature,
            "pin_id": found.pin_id,
            "image": found.image,
            "title": found.title,
            "has_picture": known.image_path(row) is not None,
            "n_pins": known.n_pins_of(row),
            "n_boards": len(known.graph.boards_of(row)),
            "pins": found.pins,
            "boards": found.boards,
            **known.said_and_seen(row),
        }
    )


def board(now: Now, id: str, n: int, cursor: str | None) -> bytes:
    """A board and a page of the images on it, most popular first."""
    known = now.known
    found = known.board(now.find_board(id))
    start = place_of(cursor, "board", id)
    about = {
        "snapshot": known.snapshot.name,
        "board_id": found.board_id,
        "title": found.title,
        "description": found.description,
        "category": found.category,
        "n_images": len(found.images),
    }
    images = images_json(now.heads, np.asarray(found.images[start : start + n]))
    more = start + n < len(found.images)
    following = cursor_of(start + n, "board", id) if more else None
    parts = [(name, orjson.dumps(value)) for name, value in about.items()]
    return object_json([*parts, ("images", images), ("next_cursor", orjson.dumps(following))])


def _answer(
    now: Now,
    query: Iterable[tuple[str, bytes]],
    model: str,
    results: bytes,
    asked: Asked,
    request_id: str,
    cursor: str | None,
) -> bytes:
    """The one shape of answers."""
    return object_json(
        [
            *query,
            ("snapshot", orjson.dumps(now.known.snapshot.name)),
            ("model", orjson.dumps(model)),
            ("experiment", orjson.dumps(asked.chosen.experiment)),
            ("arm", orjson.dumps(asked.chosen.arm)),
            ("request_id", orjson.dumps(request_id)),
            ("results", results),
            ("next_cursor", orjson.dumps(cursor)),
        ]
    )


def _results(now: Now, ranking: Ranking, asked: Asked) -> bytes:
    reasons = now.known.reasons(ranking) if asked.explain else None
    return results_json(now.heads, ranking, reasons)


def _with_known_ids(known: Workspace, wishes: Wishes) -> Wishes:
    """Without ids that are not known: what was taken down meanwhile need not be excluded."""
    given = {"exclude": wishes.exclude, "recent": wishes.recent}
    kept = {name: _known_ids(known, ids) for name, ids in given.items() if ids}
    return replace(wishes, **kept) if kept else wishes  # type: ignore[arg-type]


def _known_ids(known: Workspace, ids: Sequence[str]) -> tuple[str, ...]:
    rows = known.find_all(as_ids(ids)).tolist()
    return tuple(id for id, row in zip(ids, rows, strict=True) if row >= 0)
