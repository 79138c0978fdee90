"""What can be stored: pins saved, boards made, things taken down, and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar

from pinjoin.core.errors import InputError
from pinjoin.data.events import ACTIONS
from pinjoin.live import clean

DELETABLE = ("pin", "board", "image")
"""What a deletion takes down."""


class Change:
    """One row to be. InputError if a field holds what it must not.

    RULES has what cleans each field, in the order of the fields. The last one is when it
    happened, in unix seconds; None: when it was stored.
    """

    __slots__ = ()
    RULES: ClassVar[Mapping[str, clean.Cleaner]]
    _FIELDS: ClassVar[attrgetter[tuple[Any, ...]]]

    def __init_subclass__(cls) -> None:
        cls._FIELDS = attrgetter(*cls.RULES)

    def __post_init__(self) -> None:
        self._clean(self.RULES)

    def _clean(self, rules: Mapping[str, clean.Cleaner]) -> None:
        for name, cleaner in rules.items():
            given = getattr(self, name)
            try:
                value = cleaner(given, name)
            except ValueError as error:
                kind = type(self).__name__.lower()
                raise InputError(f"{kind}: {error}. Got {shown(given)}.") from None
            if value is not given:
                object.__setattr__(self, name, value)

    @property
    def values(self) -> tuple[Any, ...]:
        """The fields, in order."""
        return self._FIELDS(self)

    @property
    def made(self) -> tuple[str, str] | None:
        """The (kind, id) of what this makes: nothing else may ever make it."""
        return None


@dataclass(frozen=True, slots=True)
class Save(Change):
    """A new pin: an image saved to a board."""

    pin_id: str
    board_id: str | None  # None: a pin on no board
    image: str  # path or address, as in a table of pins
    title: str | None = None
    description: str | None = None
    link: str | None = None
    user_id: str | None = None
    created_at: int | None = None

    RULES: ClassVar = {
        "pin_id": clean.required_id,
        "board_id": clean.optional_id,
        "image": clean.reference,
        "title": clean.text,
        "description": clean.text,
        "link": clean.text,
        "user_id": clean.optional_id,
        "created_at": clean.time,
    }

    @property
    def made(self) -> tuple[str, str]:
        return "pin", self.pin_id


@dataclass(frozen=True, slots=True)
class Board(Change):
    """A new board."""

    board_id: str
    title: str | None = None
    description: str | None = None
    category: str | None = None
    user_id: str | None = None
    created_at: int | None = None

    RULES: ClassVar = {
        "board_id": clean.required_id,
        "title": clean.text,
        "description": clean.text,
        "category": clean.text,
        "user_id": clean.optional_id,
        "created_at": clean.time,
    }

    @property
    def made(self) -> tuple[str, str]:
        return "board", self.board_id


@dataclass(frozen=True, slots=True)
class Deletion(Change):
    """A takedown, for ever: of a pin, of a board with its pins, of an image with its pins."""

    kind: str  # one of DELETABLE
    id: str  # pin_id, board_id, or the image's signature
    user_id: str | None = None  # who asked for it
    created_at: int | None = None

    RULES: ClassVar = {
        "kind": clean.one_of(DELETABLE),
        "id": clean.reference,  # a signature is no id: 12.0 is not 12
        "user_id": clean.optional_id,
        "created_at": clean.time,
    }

    def __post_init__(self) -> None:
        Change.__post_init__(self)  # with slots, super() finds another class
        if self.kind != "image":
            self._clean({"id": clean.required_id})


@dataclass(frozen=True, slots=True)
class Event(Change):
    """A candidate shown for a query, or what was done to it: a row of `data.events.LOGGED`."""

    request_id: str
    query: str
    candidate: str
    action: str  # one of ACTIONS
    position: str | None = None  # "3", or "2,5" for a grid; only actions may leave it out
    device: str | None = None
    surface: str | None = None
    user_id: str | None = None
    arm: str | None = None  # of the experiment that the request was in
    propensity: float | None = None  # how likely this impression was, as PROPENSITY says
    phrase: str | None = None  # what the request said the person had searched for
    locale: str | None = None  # and the person's locale
    time: int | None = None

    RULES: ClassVar = {
        "request_id": clean.required_id,
        "query": clean.required_id,
        "candidate": clean.required_id,
        "action": clean.one_of(ACTIONS),
        "position": clean.position,
        "device": clean.optional_id,
        "surface": clean.optional_id,
        "user_id": clean.optional_id,
        "arm": clean.optional_id,
        "propensity": clean.probability,
        "phrase": clean.text,
        "locale": clean.optional_id,
        "time": clean.time,
    }

    def __post_init__(self) -> None:
        Change.__post_init__(self)
        if self.action == ACTIONS[0] and self.position is None:
            raise InputError(
                "event: position is missing. Say where the impression was shown: without it, its "
                "clicks cannot be judged."
            )


CATALOGUE: tuple[type[Change], ...] = (Save, Board, Deletion)
"""What changes recommendations; events do not."""


def columns(kind: type[Change]) -> tuple[str, ...]:
    """The fields of a kind of change, in order."""
    return tuple(kind.RULES)


def shown(value: object) -> str:
    """A value in an error: not more than a line of it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
