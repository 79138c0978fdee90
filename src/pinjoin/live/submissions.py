"""What is handed to the store and what comes out of it: changes that belong together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from pinjoin.core.errors import InputError
from pinjoin.live.changes import Change, shown

MOST_CHANGES = 10_000
"""In one submission. Larger ones would keep others waiting."""

KEY_LIMIT = 200
"""Characters of a key."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Changes that are stored together or not at all, once, however often they are submitted.

    `key`: 1 to KEY_LIMIT printable characters, unique for ever among all clients (prefix it
    with the client's name). InputError if there is no change, or one pin or board made twice.
    """

    key: str
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        key = self.key
        if not (isinstance(key, str) and 0 < len(key) <= KEY_LIMIT and key.isprintable()):
            allowed = f"1 to {KEY_LIMIT} printable characters"
            raise InputError(f"The key of a submission must be {allowed}. Got {shown(key)}.")
        if not 0 < len(self.changes) <= MOST_CHANGES:
            raise InputError(
                f"A submission must have 1 to {MOST_CHANGES:,} changes. Got "
                f"{len(self.changes):,}: split it, each part with a key of its own."
            )
        made = self.made
        if len(set(made)) < len(made):
            kind, twice = next(one for one in made if made.count(one) > 1)
            raise InputError(f"The submission {key!r} makes the {kind} {twice!r} twice.")

    @property
    def made(self) -> list[tuple[str, str]]:
        """The (kind, id) of all that it makes."""
        return [made for change in self.changes if (made := change.made)]

    def digest(self) -> bytes:
        """A hash of the content, 16 bytes: what a repetition must have in common."""
        content = []
        for kind, alike in groupby(self.changes, lambda one: type(one)):
            columns = list(zip(*[one.values for one in alike], strict=True))
            # Without columns that nobody filled, so that a new one changes no digest.
            nothing = (None,) * len(columns[0])
            filled = {
                name: column
                for name, column in zip(kind.RULES, columns, strict=True)
                if column != nothing
            }
            content.append((kind.__name__, filled))
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).digest()


class Receipt(NamedTuple):
    """A submission is durable."""

    sequence: int
    repeated: bool  # it was stored before, under this key


class Entry(NamedTuple):
    """A stored submission, or those of its changes that were asked for."""

    sequence: int
    origin: str  # the store that wrote it: one per process
    key: str
    changes: tuple[Change, ...]


class Page(NamedTuple):
    """Entries by ascending sequence, and the sequence to read on after."""

    entries: list[Entry]
    sequence: int


def derived_id(key: str, place: int) -> str:
    """An id for a pin or board whose client gave none: the same in every repetition.

    >>> derived_id("mobile:7f3a", 0)
    'live-31369c9758f1a4f2a723bf88'
    """
    return f"live-{hashlib.blake2b(f'{place}:{key}'.encode(), digest_size=12).hexdigest()}"
