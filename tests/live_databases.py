"""New, empty databases for tests of the live store: SQLite, and PostgreSQL where one is given."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from pinjoin.live.changes import Board, Change, Save
from pinjoin.live.store import Store
from pinjoin.live.submissions import Entry, Receipt, Submission

SERVER = os.environ.get("PINJOIN_TEST_POSTGRES")
"""URL of a PostgreSQL server whose user may create databases."""

KINDS = (
    "sqlite",
    pytest.param(
        "postgresql",
        marks=pytest.mark.skipif(
            not SERVER, reason="no PostgreSQL server: set PINJOIN_TEST_POSTGRES to its URL"
        ),
    ),
)


class LiveDatabase:
    """One database, with the ways to break it."""

    def __init__(self, where: Path | str) -> None:
        self.where = where

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run SQL behind the store's back; the rows of the last statement."""
        with self.connect() as connection:
            for statement in statements:
                rows = connection.execute(statement)
            return rows.fetchall() if rows.description else []

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """A plain connection; commits at the end."""
        raise NotImplementedError

    def lock(self) -> Any:
        """A transaction of another program that writes and does not end."""
        raise NotImplementedError

    def take_away(self) -> None:
        """Make the database unreachable, as when its disk or server is gone."""
        raise NotImplementedError

    def bring_back(self) -> None:
        """Make it reachable again."""
        raise NotImplementedError

    def connection_lost(self) -> Exception:
        """What the driver raises when the connection breaks."""
        raise NotImplementedError

    def remove(self) -> None:
        """Clean up."""


class SQLiteDatabase(LiveDatabase):
    where: Path

    @contextmanager
    def connect(self) -> Iterator[Any]:
        connection = sqlite3.connect(self.where)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    @contextmanager
    def lock(self) -> Iterator[None]:
        with self.connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def take_away(self) -> None:
        self.where.parent.rename(self.where.parent.with_name("away"))

    def bring_back(self) -> None:
        self.where.parent.with_name("away").rename(self.where.parent)

    def connection_lost(self) -> Exception:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        return error


class PostgreSQLDatabase(LiveDatabase):
    where: str

    @contextmanager
    def connect(self) -> Iterator[Any]:
        import psycopg

        with psycopg.connect(self.where) as connection:
            yield connection

    @contextmanager
    def lock(self) -> Iterator[None]:
        with self.connect() as connection:
            connection.execute("SELECT last FROM pinjoin_live FOR UPDATE")
            yield

    @property
    def name(self) -> str:
        return str(make_url(self.where).database)

    def take_away(self) -> None:
        on_server(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        on_server(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = '{self.name}'"
        )

    def bring_back(self) -> None:
        on_server(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    def connection_lost(self) -> Exception:
        import psycopg

        return psycopg.OperationalError("server closed the connection unexpectedly")

    def remove(self) -> None:
        on_server(f"DROP DATABASE {self.name} WITH (FORCE)")


def on_server(statement: str) -> None:
    """Run SQL in the server's own database."""
    import psycopg

    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[LiveDatabase]:
    """An empty database that is gone after the block."""
    database: LiveDatabase
    if kind == "sqlite":
        home = folder / uuid.uuid4().hex
        home.mkdir()
        database = SQLiteDatabase(home / "live.db")
    else:
        name = f"pinjoin_test_{uuid.uuid4().hex[:12]}"
        on_server(f"CREATE DATABASE {name}")
        url = make_url(str(SERVER)).set(database=name)
        database = PostgreSQLDatabase(url.render_as_string(hide_password=False))
    try:
        yield database
    finally:
        database.remove()


def saved(key: str, *pins: str, board: str = "b1") -> Submission:
    """A submission that saves some pins (one of the key's name) to a board."""
    return Submission(key, tuple(Save(pin, board, f"{pin}.jpg") for pin in pins or (key,)))


def submit(store: Store, *submissions: Submission) -> list[Receipt]:
    """Submit at once and wait for all."""
    return [future.result(60) for future in [store.submit(one) for one in submissions]]


def entries(store: Store, after: int = 0, **given: Any) -> list[Entry]:
    """All there is to tail."""
    found: list[Entry] = []
    while True:
        page = store.tail(after, **given)
        found += page.entries
        if page.sequence == after:
            return found
        after = page.sequence


def made(found: list[Entry]) -> list[str]:
    """The pins and boards of entries, in order."""

    def name(change: Change) -> str:
        return change.pin_id if isinstance(change, Save) else getattr(change, "board_id", "")

    return [name(c) for entry in found for c in entry.changes if isinstance(c, (Save, Board))]
