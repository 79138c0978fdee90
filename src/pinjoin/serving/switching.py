"""What is served now, and the way to the next: noticed, opened beside, warmed up, switched to.

Requests that began with the last one end with it: it is let go of when they must be done.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pinjoin.core.errors import PinjoinError, UnknownIdError
from pinjoin.core.ids import as_ids
from pinjoin.live import live_database
from pinjoin.live.clicks import LiveClicks
from pinjoin.live.errors import StoreError
from pinjoin.live.store import Store, StoreConfig, open_store
from pinjoin.live.workspace import LiveWorkspace, open_live
from pinjoin.ranking.store import COUNT, current_model, load_model
from pinjoin.recommender import Workspace
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.encoding import Heads
from pinjoin.serving.logs import say
from pinjoin.serving.metrics import Metrics
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.workspace import current_name

_GRACE_S = 30.0  # longer than any request takes
_AGAIN_S = 30.0  # until what could not be opened is tried again
_PATIENCE_S = 2.0  # with a database that is away, before a client is told
_SLIP = 100  # characters of an id that may have been typed
_SUGGESTING = threading.Lock()
"""Held while close ids are looked for: that takes long, and who asks for nonsense must not hold
all threads."""

_WARM_ROWS = 3  # images that are asked before others may


class Wanted(NamedTuple):
    """What the workspace says is to be served."""

    snapshot: str | None
    model: str | None


class Now(NamedTuple):
    """The catalogue at the moment of a request, which it does not change in."""

    known: Workspace
    heads: Heads

    def find(self, id: str) -> int:
        """The row of an image. UnknownIdError, with close ids unless others are looked for."""
        row = int(self.known.find_all(as_ids([id]))[0])
        if row < 0:
            raise UnknownIdError(id, _close_to(id, self.known.suggestions))
        return row

    def find_board(self, id: str) -> int:
        """The row of a board, likewise."""
        row = self.known.board_row(id)
        if row < 0:
            raise UnknownIdError(id, _close_to(id, self.known.board_suggestions), "board id")
        return row


def _close_to(id: str, look: Callable[[str], list[str]]) -> list[str]:
    if len(id) > _SLIP or not _SUGGESTING.acquire(blocking=False):
        return []
    try:
        return look(id)
    finally:
        _SUGGESTING.release()


class Opened:
    """A snapshot in use, with what is live on top of it."""

    def __init__(
        self, live: LiveWorkspace, store: Store | None, models: Collection[str] = ()
    ) -> None:
        """models: that rank besides the one in use. Raises InputError for one that cannot."""
        self.live = live
        for model in (None, *models):
            live.ranker_of(model)
        self._clicks = None if store is None else LiveClicks(live, store).start()
        self._heads: dict[int, bytes] = {}

    @property
    def now(self) -> Now:
        """The newest state of it."""
        known = self.live.now
        return Now(known, Heads(known, self._heads))

    def close(self) -> None:
        """Follow the store no longer, which stays open."""
        if self._clicks is not None:
            self._clicks.close()
        self.live.close()

    def warm_up(self) -> None:
        """Map files, compile and load what the first requests would wait for."""
        known, heads = self.now
        for row in range(min(_WARM_ROWS, known.n_images)):
            ranking = known.rank(row, 20)
            known.reasons(ranking)
            heads.of(ranking.rows.tolist())
        if known.pictures is not None:
            with suppress(PinjoinError):  # then only uploads fail, and say why
                known.encoder  # noqa: B018 - it is loaded when first asked for


class Switch:
    """Holds what is served, and the live store. For the event loop."""

    def __init__(self, path: Path, config: ServeConfig, metrics: Metrics) -> None:
        """Raises SnapshotError, StoreError, and InputError for a model that cannot rank."""
        self._path, self._config, self._metrics = path, config, metrics
        open_snapshot(path)  # before a database is made where there is nothing to serve
        if config.model not in (None, COUNT):
            load_model(path, config.model)  # likewise
        self._wanted = self._now_wanted()
        self.store = _open_store(path, config)
        try:
            self.opened = self._open()
        except BaseException:
            if self.store is not None:
                self.store.close()
            raise
        self._database_up = self.store is not None
        self._problem: str | None = None
        self._failed: tuple[Wanted, float] | None = None
        self._retired: list[tuple[Opened, float]] = []
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Warm up, then look for what is new."""
        await asyncio.to_thread(self.opened.warm_up)
        self._tell_metrics()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Let go of everything; what was submitted is written first."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        for opened in (self.opened, *(one for one, _ in self._retired)):
            await asyncio.to_thread(opened.close)
        if self.store is not None:
            await asyncio.to_thread(self.store.close)

    def state(self) -> dict[str, Any]:
        """Whether all is well."""
        known = self.opened.now.known
        database = "none" if self.store is None else "up" if self._database_up else "down"
        return {
            "ready": self._watching is not None,
            "snapshot": known.snapshot.name,
            "model": known.model,
            "database": database,
            "writes": self._database_up and not self._config.read_only,
            "problem": self._problem or self._unfit(known),
        }

    def _unfit(self, known: Workspace) -> str | None:
        wanted = self._wanted.model
        if wanted in (None, known.model):
            return None
        return (
            f"The model in use, {wanted}, cannot rank {known.snapshot.name}, so {known.model} does."
            f" `pinjoin models use {self._path} {wanted}` says why."
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._config.watch_s)
            try:
                await self._look_at_database()
                await self._look_for_snapshot()
                await self._let_go()
            except Exception as error:  # whatever it is, what is served goes on being served
                say("watching failed", logging.ERROR, error)

    async def _look_at_database(self) -> None:
        if self.store is None:
            return
        try:
            await asyncio.to_thread(self.store.state)
            up = True
        except StoreError as error:
            up = False
            if self._database_up:
                say("database down", logging.ERROR, problem=str(error))
        if up and not self._database_up:
            say("database up")
        self._database_up = up
        self._metrics.database.set(up)

    async def _look_for_snapshot(self) -> None:
        try:
            wanted = await asyncio.to_thread(self._now_wanted)
        except PinjoinError as error:
            self._problem = str(error)
            return
        if wanted == self._wanted:
            self._problem = None
            return
        if self._failed and self._failed[0] == wanted and time.monotonic() < self._failed[1]:
            return
        try:
            new = await asyncio.to_thread(self._open_warm)
        except Exception as error:
            self._failed = wanted, time.monotonic() + _AGAIN_S
            self._problem = f"{wanted.snapshot} cannot be served, so the last one is: {error}"
            self._metrics.switches.labels("failed").inc()
            say("switch failed", logging.ERROR, error, snapshot=wanted.snapshot)
            return
        self._retired.append((self.opened, time.monotonic() + _GRACE_S))
        self.opened, self._wanted, self._problem = new, wanted, None
        self._metrics.switches.labels("done").inc()
        self._tell_metrics()
        say("switched", snapshot=new.live.snapshot.name, model=new.live.model)

    async def _let_go(self) -> None:
        now = time.monotonic()
        for opened, until in self._retired[:]:
            if until <= now:
                self._retired.remove((opened, until))
                await asyncio.to_thread(opened.close)

    def _now_wanted(self) -> Wanted:
        model = self._config.model or current_model(self._path)
        return Wanted(current_name(self._path), model)

    def _open(self) -> Opened:
        config, store = self._config, self.store
        live = open_live(self._path, store, model=config.model)
        try:
            return Opened(live, store, set(config.arms.values()))
        except BaseException:
            live.close()
            raise

    def _open_warm(self) -> Opened:
        opened = self._open()
        try:
            opened.warm_up()
        except BaseException:
            opened.close()
            raise
        return opened

    def _tell_metrics(self) -> None:
        self._metrics.images.set(self.opened.live.n_images)
        self._metrics.opened_at.set_to_current_time()
        self._metrics.database.set(self._database_up)


def _open_store(path: Path, config: ServeConfig) -> Store | None:
    """The live database. Who takes nothing in follows one that is there, and makes none."""
    where = live_database(path, config.database or None)
    if config.read_only and isinstance(where, Path) and not where.exists():
        return None
    return open_store(where, StoreConfig(patience_s=_PATIENCE_S))
