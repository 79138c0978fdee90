"""What is served: one open snapshot at a time, asked by the API and by the pages.

Everything slow runs in a few threads; what waits for them is counted, and where too many wait the
next is told to come again instead of making all wait longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import orjson

from pinjoin.recommender import Wishes, Workspace, open_workspace
from pinjoin.results import Ranking
from pinjoin.serving.arms import Arms, Chosen
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.cursors import cursor_of, place_of
from pinjoin.serving.encoding import Heads, images_json, object_json, results_json
from pinjoin.serving.errors import ApiError
from pinjoin.serving.images import Picture, Pictures

P = ParamSpec("P")
T = TypeVar("T")

_SHOWN = 100  # pins and boards of an image that are listed


@dataclass(frozen=True)
class Asked:
    """A request for related images, beside its query."""

    n: int = 20
    cursor: str | None = None
    explain: bool = False
    user: str | None = None  # decides the arm
    wishes: Wishes = field(default_factory=Wishes)


class Opened:
    """A snapshot in use."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.heads = Heads(workspace)


class Service:
    """Answers as JSON bytes. Methods are coroutines; `workspace` is for threads of one's own."""

    def __init__(self, path: Path, config: ServeConfig) -> None:
        """Raises SnapshotError where there is nothing to serve."""
        self.path = path
        self.config = config
        self.arms = Arms(config.experiment, config.arms)
        self.opened = Opened(open_workspace(path, model=config.model))
        self._threads = ThreadPoolExecutor(config.threads, thread_name_prefix="serving")
        self._waiting = 0
        self._pictures = Pictures()

    @property
    def workspace(self) -> Workspace:
        """The one that is served now. Keep it for the length of one request, not longer."""
        return self.opened.workspace

    def close(self) -> None:
        """Let go of everything."""
        self._threads.shutdown()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in a thread. ApiError if too many wait for one."""
        if self._waiting >= self.config.most_waiting:
            message = "More requests are waiting than can be answered soon. Try again."
            raise ApiError(503, "overloaded", message, {"Retry-After": "1"})
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        finally:
            self._waiting -= 1

    async def related(self, id: str, asked: Asked, request_id: str) -> bytes:
        """What belongs next to an image. UnknownIdError; ApiError; ConfigError."""
        return await self.run(self._related, self.opened, id, asked, request_id)

    async def related_to_picture(self, picture: bytes, asked: Asked, request_id: str) -> bytes:
        """What looks like a picture that is not of the catalogue. InputError if it is none."""
        return await self.run(self._related_to_picture, self.opened, picture, asked, request_id)

    async def pin(self, id: str) -> bytes:
        """Everything known of an image; of its pins and boards, the first."""
        return await self.run(_pin, self.opened, id)

    async def board(self, id: str, n: int, cursor: str | None) -> bytes:
        """A board and a page of the images on it, most popular first."""
        return await self.run(_board, self.opened, id, n, cursor)

    async def picture(self, id: str, width: int | None) -> Picture:
        """The picture of an image. UnknownIdError; ApiError where there is none."""
        return await self.run(self._pictures.find, self.workspace, id, width)

    def _related(self, opened: Opened, id: str, asked: Asked, request_id: str) -> bytes:
        known = opened.workspace
        chosen = self.arms.choose(self.path, asked.wishes.model, asked.user)
        query = known.find(id)
        request = (id, replace(asked.wishes, model=chosen.model), asked.user)
        start = place_of(asked.cursor, *request)
        depth = min(start + asked.n, self.config.depth)
        ranking = known.rank(query, depth, replace(asked.wishes, model=chosen.model))
        [head] = opened.heads.of([query])
        more = start + asked.n < self.config.depth and len(ranking) == depth
        cursor = cursor_of(depth, *request) if more else None
        return _answer(
            opened, head + b"}", ranking.after(start), chosen, request_id, asked.explain, cursor
        )

    def _related_to_picture(
        self, opened: Opened, picture: bytes, asked: Asked, request_id: str
    ) -> bytes:
        query = {"signature": None, "pin_id": None, "image": None, "title": None}
        ranking = opened.workspace.rank_picture(picture, asked.n, asked.wishes)
        return _answer(
            opened, orjson.dumps(query), ranking, Chosen(None), request_id, asked.explain, None
        )


def _answer(
    opened: Opened,
    query: bytes,
    ranking: Ranking,
    chosen: Chosen,
    request_id: str,
    explain: bool,
    cursor: str | None,
    more: Iterable[tuple[str, bytes]] = (),
) -> bytes:
    """The one shape of answers."""
    reasons = opened.workspace.reasons(ranking) if explain else None
    return object_json(
        [
            ("query", query),
            ("snapshot", orjson.dumps(opened.workspace.snapshot.name)),
            ("model", orjson.dumps(ranking.model)),
            ("experiment", orjson.dumps(chosen.experiment)),
            ("arm", orjson.dumps(chosen.arm)),
            ("request_id", orjson.dumps(request_id)),
            *more,
            ("results", results_json(opened.heads, ranking, reasons)),
            ("next_cursor", orjson.dumps(cursor)),
        ]
    )


def _pin(opened: Opened, id: str) -> bytes:
    known = opened.workspace
    row = known.find(id)
    pin = known.pinjoin(row)
    looks = known.pictures.looks_like(row) if known.pictures else []
    return orjson.dumps(
        {
            "snapshot": known.snapshot.name,
            "signature": pin.signature,
            "pin_id": pin.pin_id,
            "image": pin.image,
            "title": pin.title,
            "has_picture": known.image_path(row) is not None,
            "n_pins": len(pin.pins),
            "n_boards": len(pin.boards),
            "pins": pin.pins[:_SHOWN],
            "boards": pin.boards[:_SHOWN],
            "annotations": _named(known.annotations.of(row)),
            "categories": _named(known.categories.of(row)),
            "topics": _named(known.topics.of(row)),
            "looks_like": looks,
        }
    )


def _board(opened: Opened, id: str, n: int, cursor: str | None) -> bytes:
    known = opened.workspace
    board = known.board(known.find_board(id))
    start = place_of(cursor, "board", id)
    end = start + n
    about = {
        "snapshot": known.snapshot.name,
        "board_id": board.board_id,
        "title": board.title,
        "description": board.description,
        "category": board.category,
        "n_images": len(board.images),
    }
    images = images_json(opened.heads, np.asarray(board.images[start:end]))
    following = cursor_of(end, "board", id) if end < len(board.images) else None
    parts = [(name, orjson.dumps(value)) for name, value in about.items()]
    return object_json([*parts, ("images", images), ("next_cursor", orjson.dumps(following))])


def _named(pairs: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"name": name, "weight": float(weight)} for name, weight in pairs]
