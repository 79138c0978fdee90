"""The tables of the live database, their version, and the way from older versions."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from pinjoin.live.changes import Board, Change, Deletion, Event, Save, columns
from pinjoin.live.database import Database
from pinjoin.live.errors import StoreError, VersionError
from pinjoin.live.sql import sa

VERSION = 2
"""Of the tables below."""

STEPS: Mapping[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE pinjoin_events ADD COLUMN phrase TEXT",
        "ALTER TABLE pinjoin_events ADD COLUMN locale TEXT",
    ),
}
"""STEPS[n]: the statements that make version n + 1 of version n, for both databases."""

_CLOCKS = ("created_at", "time")
_TYPES = {**dict.fromkeys(_CLOCKS, sa.BigInteger), "propensity": sa.Double}

METADATA = sa.MetaData()

STATE = sa.Table(
    "pinjoin_live",
    METADATA,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),  # 1: there is one row
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("identity", sa.Text, nullable=False),  # sequences of another database mean nothing
    sa.Column("last", sa.BigInteger, nullable=False),  # the last sequence that was given out
    sa.Column("folded", sa.BigInteger, nullable=False),  # up to here, a snapshot has everything
    sa.Column("pruned", sa.BigInteger, nullable=False),  # up to here, there are no events any more
)

SUBMISSIONS = sa.Table(
    "pinjoin_submissions",
    METADATA,
    sa.Column(
        "sequence",
        # In SQLite only INTEGER makes it the order of the rows on disk.
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("stored_at", sa.BigInteger, nullable=False),  # unix seconds
)


def _rows_of(name: str, kind: type[Change], made: str | None = None) -> sa.Table:
    """The table of a kind of change; `made` is the column of the ids that it makes."""
    return sa.Table(
        name,
        METADATA,
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),  # in its submission
        *(
            sa.Column(
                column,
                _TYPES.get(column, sa.Text),
                nullable=column not in _CLOCKS and _may_be_missing(kind, column),
                unique=column == made,
            )
            for column in columns(kind)
        ),
        sqlite_with_rowid=False,
    )


def _may_be_missing(kind: type[Change], column: str) -> bool:
    try:
        return kind.RULES[column](None, column) is None
    except ValueError:
        return False


TABLES: Mapping[type[Change], sa.Table] = {
    Save: _rows_of("pinjoin_saves", Save, made="pin_id"),
    Board: _rows_of("pinjoin_boards", Board, made="board_id"),
    Deletion: _rows_of("pinjoin_deletions", Deletion),
    Event: _rows_of("pinjoin_events", Event),
}


class State(NamedTuple):
    """The row of `pinjoin_live`: see there."""

    version: int
    identity: str
    last: int
    folded: int
    pruned: int


_STATE = sa.select(*(STATE.c[name] for name in State._fields)).where(STATE.c.id == 1)


class LiveTables:
    """A database with our tables in it: always the same one, always of our version."""

    def __init__(self, database: Database) -> None:
        """Make the tables if there are none, or bring older ones to our version.

        Any number of processes may do so at once: one of them does it, the others wait.
        """
        self._database = database
        database.create()
        with database.writing() as connection:
            _prepare(connection)
            self.identity = _read_state(connection, lock=False).identity

    @contextmanager
    def reading(self) -> Iterator[tuple[sa.Connection, State]]:
        """A transaction that reads, and the state."""
        with self._database.reading() as connection:
            yield connection, self._own(_read_state(connection, lock=False))

    @contextmanager
    def writing(self) -> Iterator[tuple[sa.Connection, State]]:
        """A transaction beside which no other writes, and the state. At its end it is durable.

        So sequences are in the order of commits: who reads one has seen all lower ones.
        """
        with self._database.writing() as connection:
            yield connection, self._own(_read_state(connection, lock=True))

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _own(self, state: State) -> State:
        if state.identity != self.identity:
            raise StoreError(
                f"The live database {self._database.name} was replaced by another one while it "
                "was in use. Put the first back, or restart."
            )
        return state


def _prepare(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(31641120344598894)"))  # "pinjoin"
    if not sa.inspect(connection).has_table(STATE.name):
        METADATA.create_all(connection, checkfirst=False)
        row = State(VERSION, uuid.uuid4().hex, last=0, folded=0, pruned=0)
        connection.execute(STATE.insert().values(id=1, **row._asdict()))
    found = connection.execute(sa.select(STATE.c.version)).scalar()
    for version in range(VERSION if found is None else found, VERSION):
        for statement in STEPS[version]:
            connection.execute(sa.text(statement))
        connection.execute(STATE.update().values(version=version + 1))


def _read_state(connection: sa.Connection, lock: bool) -> State:
    # SQLite knows no such lock: its transactions that write hold one from their beginning.
    row = connection.execute(_STATE.with_for_update() if lock else _STATE).one_or_none()
    if row is None:
        raise StoreError(
            f"The table {STATE.name} of the live database is empty. Restore the database from a "
            "backup."
        )
    state = State(**row._mapping)
    if state.version > VERSION:
        raise VersionError(
            f"The live database is of version {state.version}; this pinjoin knows versions up to "
            f"{VERSION}. Update pinjoin: a newer one has changed the tables."
        )
    if state.version < VERSION:
        raise VersionError(
            f"The live database is of version {state.version}, this pinjoin needs {VERSION}. "
            "Open it anew: that brings it up to date."
        )
    return state
