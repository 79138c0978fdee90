"""Connections to SQLite and PostgreSQL on which a commit is durable, and their errors in words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pinjoin.core.errors import ConfigError
from pinjoin.live.errors import DamagedError, StoreError, UnavailableError
from pinjoin.live.sql import sa

_RETRY_S = 0.01
_AGAIN = " Nothing was acknowledged; the same key can be used again."


class Database:
    """One database, reached through a pool of connections that any thread may use."""

    def __init__(self, where: Path | str, lock_s: float) -> None:
        """`where`: the file of an SQLite database, or a URL (sqlite:///… or postgresql://…).

        `lock_s`: how long to wait for others' locks and for the network.
        """
        url = _url(where)
        self.name = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":
            self.path: Path | None = Path(url.database or "").absolute()
            self._engine = _sqlite(self.path, lock_s)
            self._reader = self._engine
        else:
            self.path = None
            self._engine = _postgresql(url, lock_s)
            # A reader's statements all see one state of the database; in SQLite they always do.
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that reads."""
        with self._errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes. When the block is over, it is durable."""
        with self._errors(_AGAIN), self._engine.connect() as connection:
            if self.path:
                connection = connection.execution_options(begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection
            if self.path and _file_id(self.path) != connection.info["file"]:
                connection.invalidate()
                raise UnavailableError(f"{self._gone()}{_AGAIN}")

    def create(self) -> None:
        """Make an empty SQLite database where there is none. (Others must exist.)"""
        if not self.path:
            return
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
        except OSError as error:
            raise UnavailableError(
                f"The live database {self.path} cannot be opened: {error.strerror}. Make its "
                "folder, or allow this user to write there."
            ) from error

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engine.dispose()

    def _gone(self) -> str:
        return (
            f"The live database {self.name} was removed or replaced while it was in use. Put it "
            "back, or restart to begin another."
        )

    @contextmanager
    def _errors(self, again: str = "") -> Iterator[None]:
        """Errors in our words; `again` is what to say where trying again may help."""
        try:
            yield
        except sa.exc.TimeoutError as error:
            raise UnavailableError(
                f"All connections to the live database {self.name} are in use.{again}"
            ) from error
        except sa.exc.SQLAlchemyError as error:
            raise self._translated(getattr(error, "orig", None) or error, again) from error

    def _translated(self, error: BaseException, again: str) -> StoreError:
        kind, remedy = _sqlite_error(error) if self.path else _postgresql_error(error)
        if self.path and not self.path.exists():
            return UnavailableError(f"{self._gone()}{again}")
        what = " ".join(str(error).split())[:300].rstrip(".")
        hint = again if kind is UnavailableError else ""
        return kind(f"The live database {self.name} failed: {what}. {remedy}{hint}")


def _url(where: Path | str) -> sa.URL:
    if isinstance(where, Path):
        return sa.URL.create("sqlite", database=str(where))
    allowed = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        url = sa.make_url(where)
    except sa.exc.ArgumentError:
        raise ConfigError(f"The database's URL must be {allowed}. Got {where!r}.") from None
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database and url.database != ":memory:":
        return url
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    got = url.render_as_string(hide_password=True)
    raise ConfigError(f"The database's URL must be {allowed}. Got {got!r}.")


def _sqlite(path: Path, lock_s: float) -> sa.Engine:
    uri = f"file:{quote(str(path))}?mode=rw"  # never makes a new file where the old one was

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=lock_s, isolation_level=None, check_same_thread=False
        )
        try:
            mode = _use_wal(connection, lock_s)
            if mode != "wal":
                raise ConfigError(
                    f"{path} lies where SQLite's write-ahead log does not work ({mode}), such as "
                    "a network drive. Choose a local disk, or PostgreSQL."
                )
            connection.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
            connection.execute("PRAGMA fullfsync = ON")  # also on macOS
        except BaseException:
            connection.close()
            raise
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, pool_timeout=lock_s, **_POOL)

    @sa.event.listens_for(engine, "connect")
    def _remember(connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _file_id(path)

    @sa.event.listens_for(engine, "checkout")
    def _look(connection: sqlite3.Connection, record: Any, proxy: Any) -> None:
        if record.info["file"] != _file_id(path):  # writes would go to a file without a name
            raise sa.exc.DisconnectionError(f"{path} was removed or replaced")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _use_wal(connection: sqlite3.Connection, lock_s: float) -> str:
    """Switch to the write-ahead log; the mode that is used then.

    Where others switch the same new file, SQLite does not wait but says that it is locked.
    """
    until = time.monotonic() + lock_s
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)


def _postgresql(url: sa.URL, lock_s: float) -> sa.Engine:
    wait_ms = max(1, round(lock_s * 1000))
    network = {"connect_timeout": max(2, round(lock_s)), "tcp_user_timeout": max(wait_ms, 2000)}
    settings = (
        f"SET lock_timeout = {wait_ms}; "
        # A process that stops halfway must not keep the others waiting for ever.
        f"SET idle_in_transaction_session_timeout = {4 * wait_ms}"
    )
    try:
        engine = sa.create_engine(
            url, connect_args=network, pool_pre_ping=True, pool_timeout=lock_s, **_POOL
        )
    except ModuleNotFoundError:
        raise ConfigError(
            "PostgreSQL needs psycopg, which is not installed: pip install 'pinjoin[postgres]'."
        ) from None

    @sa.event.listens_for(engine, "connect")
    def _set(connection: Any, record: Any) -> None:
        connection.execute(settings)
        (durable,) = connection.execute("SHOW synchronous_commit").fetchone()
        if durable == "off":
            connection.execute("SET synchronous_commit = on")
        connection.commit()

    return engine


_POOL: dict[str, Any] = {"poolclass": sa.QueuePool, "pool_size": 4, "max_overflow": 12}


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_error(error: BaseException) -> tuple[type[StoreError], str]:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what SQLite says in addition
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnavailableError, "Another process keeps it locked."
    if code == sqlite3.SQLITE_FULL:
        return UnavailableError, "Make room on its disk. What was stored is safe."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedError, (
            "Its file is damaged: restore it from a backup, or rescue what can be read with "
            "`sqlite3 FILE .recover`."
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return UnavailableError, "Allow this user to write to it and its folder."
    if code == sqlite3.SQLITE_IOERR:
        return UnavailableError, "Look at its disk."
    return StoreError, "Please report this."


def _postgresql_error(error: BaseException) -> tuple[type[StoreError], str]:
    from psycopg import InterfaceError, OperationalError

    state = getattr(error, "sqlstate", None) or ""
    lost = not state and isinstance(error, (InterfaceError, OperationalError))
    if lost or state[:2] in ("08", "57", "28", "3D", "55", "40", "25"):
        return UnavailableError, "Is it running, and the URL right?"
    if state[:2] == "53":
        return UnavailableError, "Give it room and connections."
    if state[:2] in ("XX", "58"):
        return DamagedError, "Look at its server's log."
    if state == "42501":
        return UnavailableError, "Grant this user what is missing."
    return StoreError, "Please report this."
