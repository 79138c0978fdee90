"""What clients change: saves, events, takedowns. Durable before they are acknowledged."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pinjoin.core.errors import InputError, UnknownIdError
from pinjoin.core.ids import as_ids
from pinjoin.joins.references import normalise_references
from pinjoin.live.changes import Board, Change, Deletion, Event, Save, columns, shown
from pinjoin.live.store import Store
from pinjoin.live.submissions import Receipt, Submission, derived_id
from pinjoin.serving.errors import ApiError
from pinjoin.serving.metrics import Metrics
from pinjoin.serving.switching import Now


@dataclass(frozen=True)
class NewPin:
    """A pin to be saved: of an image of the catalogue (`id`), or of another (`image`); to a board
    that there is (`board_id`), to a new one (`new_board`: its columns), or to none."""

    id: str | None = None  # a pin id, signature or image reference
    image: str | None = None  # path or address
    board_id: str | None = None
    new_board: Mapping[str, Any] | None = None
    pin_id: str | None = None  # None: it gets one
    title: str | None = None
    description: str | None = None
    link: str | None = None
    user_id: str | None = None
    created_at: int | None = None  # unix seconds; None: now


@dataclass(frozen=True)
class Saved:
    """A pin that is durable. repeated: it was so before, by a request of the same key."""

    pin_id: str
    board_id: str | None
    sequence: int
    repeated: bool


def save_of(now: Now, pin: NewPin, key: str) -> tuple[Submission, Saved, ApiError | None]:
    """What to store for a pin, what will then be known of it but for the sequence, and why it is
    refused unless it is stored already.

    Ids that are not given follow from the key: a repetition makes the same ones. Raises
    UnknownIdError for an image or board that is not there, InputError for a field that may not be.
    """
    if (pin.id is None) == (pin.image is None):
        raise InputError("A save must have either id, an image of the catalogue, or image.")
    if pin.board_id is not None and pin.new_board is not None:
        raise InputError("A save must have board_id or a new board, not both.")
    image = pin.image
    if pin.id is not None:
        [described] = now.known.describe([now.find(pin.id)])
        image = described["image"]
    board_id = pin.board_id
    changes: list[Change] = []
    if pin.new_board is not None:
        about = {"user_id": pin.user_id, "created_at": pin.created_at, **pin.new_board}
        board_id = about.pop("board_id", None) or derived_id(key, 0)
        changes.append(Board(board_id, **about))
    elif board_id is not None:
        now.find_board(board_id)
    made = Save(
        pin.pin_id or derived_id(key, 1),
        board_id,
        image,  # type: ignore[arg-type]
        pin.title,
        pin.description,
        pin.link,
        pin.user_id,
        pin.created_at,
    )
    submission = Submission(key, (*changes, made))
    return submission, Saved(made.pin_id, made.board_id, 0, False), _refusal(now, made, submission)


def _refusal(now: Now, save: Save, submission: Submission) -> ApiError | None:
    """Why a save would be stored and never be there: an id of it was taken down, or the tables
    have it. (The store itself refuses those that are live.)"""
    [image] = normalise_references(as_ids([save.image])).to_pylist()
    named = [*submission.made, ("board", save.board_id or ""), ("image", image)]
    for kind, id in named:
        if now.known.is_taken_down(kind, id):
            message = f"The {kind} {id[:100]!r} was taken down, for ever."
            return ApiError(409, "taken_down", message)
    for kind, id in submission.made:
        if now.known.is_stored(kind, id):
            message = f"There is a {kind} {id[:100]!r} already. Give the new one another id."
            return ApiError(409, "conflict", message)
    return None


def takedown_of(now: Now, kind: str, id: str, user: str | None) -> Submission:
    """What to store to take something down. Raises UnknownIdError if it is not there."""
    if kind == "board":
        now.find_board(id)
    elif not (kind == "pin" and id in now.known.waiting_pins):
        row = now.find(id)
        if kind == "image":
            id = now.known.describe([row])[0]["signature"]
        elif all(pin["pin_id"] != id for pin in now.known.pinjoin(row).pins):
            raise UnknownIdError(id, (), "pin id")
    return Submission(f"takedown:{uuid.uuid4().hex}", (Deletion(kind, id, user),))


def events_of(given: Sequence[Any], key: str) -> tuple[Submission | None, list[dict[str, Any]]]:
    """What to store of a batch of events, and what is wrong with the others, by their place."""
    good, problems = [], []
    for place, fields in enumerate(given):
        try:
            good.append(_event(fields))
        except InputError as error:
            problems.append({"place": place, "message": str(error)})
    return (Submission(key, tuple(good)) if good else None), problems


_COLUMNS = columns(Event)
_AHEAD_S = 86_400  # clocks of devices may be wrong by that much
_NAMES, _POSITION = frozenset(_COLUMNS), _COLUMNS.index("position")


def _event(given: Any) -> Event:
    if not isinstance(given, dict):
        raise InputError(f"event: must be an object. Got {shown(given)}.")
    if not _NAMES.issuperset(given):
        unknown = next(name for name in given if name not in _NAMES)
        raise InputError(f"event: {unknown[:80]!r} is none of {', '.join(_COLUMNS)}.")
    fields: list[Any] = [given.get(name) for name in _COLUMNS]
    if type(fields[_POSITION]) is int:
        fields[_POSITION] = str(fields[_POSITION])
    event = Event(*fields)
    if event.time is not None and event.time > time.time() + _AHEAD_S:
        raise InputError(f"event: time must not be in the future. Got {event.time}.")
    return event


class Writer:
    """Stores submissions, and has them show."""

    def __init__(self, store: Store | None, metrics: Metrics) -> None:
        """store None: there is none, and nothing is taken in."""
        self.store = store
        self._metrics = metrics

    async def last(self) -> int:
        """The last sequence that any process was given; 0 where nothing is taken in."""
        return 0 if self.store is None else (await asyncio.to_thread(self.store.state)).last

    async def knows(self, key: str) -> bool:
        """Whether something was stored under a key."""
        return self.store is not None and await asyncio.to_thread(self.store.knows, key)

    async def submit(self, submission: Submission) -> Receipt:
        """Wait until it is durable. Raises StoreError, ApiError."""
        if self.store is None:
            raise ApiError(403, "read_only", "This server takes nothing in.")
        try:
            receipt = await asyncio.wrap_future(self.store.submit(submission))
        except Exception as error:
            reason = type(error).__name__.removesuffix("Error").lower()
            self._metrics.refused.labels(reason).inc(len(submission.changes))
            raise
        if not receipt.repeated:
            for kind, n in Counter(map(type, submission.changes)).items():
                self._metrics.stored.labels(kind.__name__.lower()).inc(n)
        return receipt
