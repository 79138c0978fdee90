"""A group of submissions into the tables: each once, each with the next sequence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any

from pinjoin.live.changes import Board, Save
from pinjoin.live.errors import ConflictError
from pinjoin.live.sql import sa
from pinjoin.live.submissions import Receipt, Submission
from pinjoin.live.tables import STATE, SUBMISSIONS, TABLES, State

Made = tuple[str, str]
"""(kind, id) of a pin or board."""

_MADE = {"pin": TABLES[Save].c.pin_id, "board": TABLES[Board].c.board_id}
_AT_ONCE = 250  # rows of one statement
_CHUNK = 5_000  # values in one condition: the databases take 32,766 and 65,535 at most


def append(
    connection: sa.Connection, state: State, submissions: Sequence[Submission], origin: str
) -> list[Receipt | ConflictError]:
    """Store submissions, and say for each what came of it. Durable with the transaction.

    One whose key is known gets its first receipt again, or a ConflictError if its content is
    another. One that makes a pin or board that was made before is a ConflictError. The others
    are stored all the same.
    """
    stored = known(connection, [one.key for one in submissions])
    taken = _taken(connection, [made for one in submissions for made in one.made])
    rows = _Rows(origin, state.last)
    results: list[Receipt | ConflictError] = []
    for one in submissions:
        digest = one.digest()
        if one.key in stored:
            sequence, earlier = stored[one.key]
            same = digest == earlier
            results.append(Receipt(sequence, repeated=True) if same else _other(one))
        elif again := taken.intersection(made := one.made):
            results.append(_made_before(one, sorted(again)[0]))
        else:
            stored[one.key] = rows.add(one, digest), digest
            taken.update(made)
            results.append(Receipt(rows.last, repeated=False))
    rows.insert(connection)
    return results


class _Rows:
    """What is to be inserted."""

    def __init__(self, origin: str, last: int) -> None:
        self.last = last
        self._origin = origin
        self._now = int(time.time())
        self._rows: dict[sa.Table, list[tuple[Any, ...]]] = {}

    def add(self, submission: Submission, digest: bytes) -> int:
        """Give a submission its sequence."""
        self.last += 1
        head = (self.last, submission.key, digest, self._origin, self._now)
        self._rows.setdefault(SUBMISSIONS, []).append(head)
        for place, change in enumerate(submission.changes):
            *fields, when = change.values
            row = (self.last, place, *fields, self._now if when is None else when)
            self._rows.setdefault(TABLES[type(change)], []).append(row)
        return self.last

    def insert(self, connection: sa.Connection) -> None:
        """Insert it all."""
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        for table, rows in self._rows.items():
            names = ", ".join(f'"{column.name}"' for column in table.c)
            marks = f"({', '.join([mark] * len(table.c))})"
            # SQLAlchemy's own way takes longer to prepare a row than SQLite to store it, and with
            # a statement for each row this thread would give way to others after each.
            for start in range(0, len(rows), _AT_ONCE):
                some = rows[start : start + _AT_ONCE]
                text = f"INSERT INTO {table} ({names}) VALUES {', '.join([marks] * len(some))}"
                connection.exec_driver_sql(text, tuple(chain.from_iterable(some)))
        if self._rows:
            connection.execute(STATE.update().values(last=self.last))


def known(connection: sa.Connection, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """key → (sequence, digest) of those that are stored."""
    c = SUBMISSIONS.c
    found: dict[str, tuple[int, bytes]] = {}
    for start in range(0, len(keys), _CHUNK):
        wanted = c.key.in_(keys[start : start + _CHUNK])
        for key, sequence, digest in connection.execute(
            sa.select(c.key, c.sequence, c.digest).where(wanted)
        ):
            found[key] = sequence, bytes(digest)
    return found


def _taken(connection: sa.Connection, made: Sequence[Made]) -> set[Made]:
    """Those that were made before."""
    found: set[Made] = set()
    for kind, column in _MADE.items():
        ids = [one for its_kind, one in made if its_kind == kind]
        for start in range(0, len(ids), _CHUNK):
            wanted = sa.select(column).where(column.in_(ids[start : start + _CHUNK]))
            found.update((kind, one) for one in connection.execute(wanted).scalars())
    return found


def _other(submission: Submission) -> ConflictError:
    return ConflictError(
        f"The key {submission.key!r} was used before, for something else. Give each submission a "
        "key of its own; only a repetition of the very same has the same key."
    )


def _made_before(submission: Submission, made: Made) -> ConflictError:
    kind, one = made
    return ConflictError(
        f"The submission {submission.key!r} makes the {kind} {one!r}, which was made before. "
        f"Give it another id: those of {kind}s are never used twice."
    )
