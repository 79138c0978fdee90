"""Fetched pictures on disk: files named by their content, and an index by URL.

    FOLDER/index.sqlite               which URL gave which content, and which gave none, and why
    FOLDER/content/ab/abcd….jpg       the pictures, named by the SHA-256 of their bytes
    FOLDER/partial/                   what is being written

A picture is written aside, synced and renamed before the index tells of it, so a crash at any
moment leaves whole pictures only, and what the index tells is there. Several processes may use
one cache at the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinjoin.core.closing import Closing
from pinjoin.core.errors import InputError
from pinjoin.core.progress import Progress, silent
from pinjoin.data.addresses import AddressError, parse_url
from pinjoin.data.images import sniff

INDEX = "index.sqlite"
FORMAT = 1
"""Of the index; kept in SQLite's user_version."""

_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}  # others: the format's own name
_STALE_S = 3600.0  # a file is in `partial` for moments; what is this old was left by a crash
_TABLES = """
CREATE TABLE IF NOT EXISTS images (
    url TEXT PRIMARY KEY, content TEXT NOT NULL, bytes INTEGER NOT NULL,
    etag TEXT, last_modified TEXT, checked_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    url TEXT PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL, remedy TEXT NOT NULL,
    until REAL NOT NULL, limits TEXT
) WITHOUT ROWID;
"""


_KNOWN = "SELECT content, bytes, etag, last_modified, checked_at FROM images WHERE url = ?"


@dataclass(frozen=True)
class CachedImage:
    """What the index tells of a URL that gave a picture."""

    path: Path
    etag: str | None  # as the server gave them, to ask whether the picture has changed
    last_modified: str | None
    checked_at: float  # seconds since 1970: when the server last said that this is it


@dataclass(frozen=True)
class Failure:
    """Why a URL gave no picture: a few words shared by many URLs, this one's detail, a remedy."""

    reason: str
    detail: str = ""
    remedy: str = ""


class ImageCache(Closing):
    """Pictures by URL in `folder`, which is made. A context manager; for any number of threads.

    Raises InputError if the folder cannot be written, or its index is damaged or of a newer
    format.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._partial = self.folder / "partial"
        self._lock = threading.Lock()
        self._index_path = self.folder / INDEX
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._remove_stale()
            self._index = self._open_index()
        except (OSError, sqlite3.OperationalError) as problem:
            raise InputError(
                f"{self.folder}: cannot be used as an image cache ({problem}). "
                "Give a folder that can be written."
            ) from None
        except sqlite3.DatabaseError as problem:
            raise InputError(
                f"{self._index_path}: the index is damaged ({problem}). "
                "Remove it; pictures will be fetched again."
            ) from None

    def close(self) -> None:
        """Close the index. Nothing is lost without it."""
        with self._lock:
            self._index.close()

    def __len__(self) -> int:
        """How many URLs gave a picture."""
        with self._lock:
            return int(self._index.execute("SELECT count(*) FROM images").fetchone()[0])

    def path(self, url: str) -> Path | None:
        """The picture's file, or None if this URL has not (yet) given one."""
        try:
            found = self.get(str(parse_url(url)))
        except AddressError:
            return None
        return None if found is None else found.path

    def get(self, url: str) -> CachedImage | None:
        """What is known of a URL in its one spelling (`str(parse_url(url))`).

        None, too, if its file is missing or has not the size it had: fetch it again.
        """
        return _known(self.folder, self._one(_KNOWN, url))

    def put(
        self, url: str, picture: bytes, etag: str | None = None, last_modified: str | None = None
    ) -> Path:
        """Keep what a URL gave, durably, and forget its failures. Raises OSError (disk full)."""
        kind = sniff(picture[:64])
        suffix = "" if kind is None else _SUFFIXES.get(kind, f".{kind.lower()}")
        content = hashlib.sha256(picture).hexdigest() + suffix
        path = _file(self.folder, content)
        if not (path.is_file() and path.read_bytes() == picture):
            self._write(path, picture)
        with self._lock, self._index:
            row = (url, content, len(picture), etag, last_modified, time.time())
            self._index.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?)", row)
            self._index.execute("DELETE FROM failures WHERE url = ?", (url,))
        return path

    def confirm(self, url: str) -> None:
        """The picture of this URL was looked at again now, and stays."""
        with self._lock, self._index:
            now = (time.time(), url)
            self._index.execute("UPDATE images SET checked_at = ? WHERE url = ?", now)

    def fail(self, url: str, failure: Failure, for_s: float, limits: str | None = None) -> None:
        """Remember for so long that a URL gave no picture; with `limits`, only under these."""
        row = (url, failure.reason, failure.detail, failure.remedy, time.time() + for_s, limits)
        with self._lock, self._index:
            self._index.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)", row)

    def failure(self, url: str, limits: str | None = None) -> Failure | None:
        """Why a URL gave no picture the last time; None if that is unknown or long ago."""
        row = self._one(
            "SELECT reason, detail, remedy, until, limits FROM failures WHERE url = ?", url
        )
        if row is None or row[3] < time.time() or (row[4] is not None and row[4] != limits):
            return None
        return Failure(*row[:3])

    def verify(self, progress: Progress = silent) -> list[str]:
        """Read every picture; remove those whose content is not what their name says.

        Returns their names. They, and pictures whose file is missing, are fetched the next time.
        """
        files = sorted((self.folder / "content").glob("??/*"))
        damaged = []
        with progress("checking fetched images", len(files)) as advance:
            for path in files:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                if path.name.partition(".")[0] != digest:
                    damaged.append(path.name)
                    path.unlink(missing_ok=True)
                advance(1)
        return damaged

    def _write(self, path: Path, picture: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._partial / uuid.uuid4().hex
        try:
            with partial.open("xb") as file:
                file.write(picture)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _remove_stale(self) -> None:
        for path in self._partial.iterdir():
            with contextlib.suppress(OSError):  # another process may have been quicker
                if time.time() - path.stat().st_mtime > _STALE_S:
                    path.unlink()

    def _one(self, query: str, url: str) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._index.execute(query, (url,)).fetchone()
            return row

    def _open_index(self) -> sqlite3.Connection:
        index = sqlite3.connect(self._index_path, timeout=60, check_same_thread=False)
        try:
            version = index.execute("PRAGMA user_version").fetchone()[0]
            if version > FORMAT:
                raise InputError(
                    f"{self._index_path}: is of format {version}, newer than {FORMAT}. "
                    "Use a newer pinjoin, or another folder."
                )
            if version < FORMAT:
                index.execute("PRAGMA journal_mode = WAL")
                index.executescript(f"{_TABLES} PRAGMA user_version = {FORMAT};")
            # A killed process loses nothing by this; a power cut the last rows, never the index.
            index.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            index.close()
            raise
        return index


def fetched_file(folder: Path, url: str) -> Path | None:
    """The file of a URL's picture in a cache that is only looked at; None where there is none.

    Works in a folder that cannot be written, and beside a process that fetches. Opens the index
    each time, which takes 0.3 ms.
    """
    index = (folder / INDEX).absolute()
    try:
        key = str(parse_url(url))
    except AddressError:
        return None
    if not index.is_file():
        return None
    # Where no lock can be made nobody writes: the index may be read as it stands.
    for mode in ("mode=ro", "immutable=1"):
        with contextlib.suppress(sqlite3.Error), _opened(f"{index.as_uri()}?{mode}") as opened:
            found = _known(folder, opened.execute(_KNOWN, (key,)).fetchone())
            return None if found is None else found.path
    return None


def _opened(uri: str) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(uri, uri=True))


def _known(folder: Path, row: tuple[Any, ...] | None) -> CachedImage | None:
    """What a row of the index says, if the file it tells of is there in full size."""
    if row is None:
        return None
    path = _file(folder, row[0])
    try:
        if path.stat().st_size != row[1]:
            return None
    except OSError:
        return None
    return CachedImage(path, *row[2:])


def _file(folder: Path, content: str) -> Path:
    return folder / "content" / content[:2] / content
