"""A workspace that follows a live database: what is saved or taken down shows at once."""

from __future__ import annotations

import logging
import threading
import time
from operator import attrgetter
from pathlib import Path
from typing import Literal

from pinjoin.core.closing import Closing
from pinjoin.core.errors import SnapshotError
from pinjoin.live.errors import UnavailableError
from pinjoin.live.overlay import Overlay
from pinjoin.live.store import Store
from pinjoin.recommender import Workspace
from pinjoin.snapshot.reader import Snapshot, open_snapshot

_POLL_S = 0.25  # how soon what other processes wrote is seen
_PAUSE_S = 0.02  # from one version to the next, while much is written
_PAGE = 5_000  # entries read at once

_log = logging.getLogger(__name__)


class LiveWorkspace(Closing, Workspace):
    """A workspace whose answers are those of the newest version. Made by `open_live`.

    Everything a `Workspace` answers is answered by the version of that moment; take `now` once
    for several questions that must agree, such as those of one request. Thread-safe.
    """

    def __init__(
        self, path: Path, snapshot: Snapshot, store: Store | None, model: str | None = None
    ) -> None:
        self._store = store
        folded = _sequence_in(snapshot, store)
        down = store.takedowns(folded) if store is not None and folded else ()
        self._overlay = Overlay(path, snapshot, folded, model, down=down)
        self._applied = threading.Condition()
        self._asked = False  # to look now, not only when it is time
        self._closed = False
        self._error: Exception | None = None  # why the database could not be read the last time
        self._thread: threading.Thread | None = None
        if store is not None:
            while self._read_on(store):
                pass
            store.watch(self._wake)
            self._thread = threading.Thread(
                target=self._follow, args=[store], name="live-overlay", daemon=True
            )
            self._thread.start()

    @property
    def now(self) -> Workspace:
        """The newest version: it stays as it is."""
        return self._overlay.newest

    @property
    def sequence(self) -> int:
        """Everything up to this sequence of the store is visible."""
        return self._overlay.newest.sequence

    def apply_now(self, sequence: int, timeout_s: float = 10.0) -> None:
        """Return once everything up to a sequence (of a receipt) is visible.

        Raises UnavailableError if that takes longer than `timeout_s`.
        """
        with self._applied:
            self._asked = True
            self._applied.notify_all()
            self._applied.wait_for(lambda: self._closed or self.sequence >= sequence, timeout_s)
        if self.sequence < sequence:
            raise UnavailableError(
                f"The live part has got to sequence {self.sequence:,}, not yet to {sequence:,}: "
                f"it is stored, and will be seen. {self._error or ''}".strip()
            ) from self._error

    def close(self) -> None:
        """Stop following the store, which stays open. Versions in use stay whole."""
        if self._store is not None:
            self._store.unwatch(self._wake)
        with self._applied:
            self._closed = True
            self._applied.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._overlay.close()

    def _wake(self, sequence: int) -> None:
        with self._applied:
            self._asked = True
            self._applied.notify_all()

    def _follow(self, store: Store) -> None:
        again = False
        while True:
            with self._applied:
                pause = 0 if again else _POLL_S
                self._applied.wait_for(lambda: self._closed or self._asked, pause)
                if self._closed:
                    return
                self._asked = False
            start = time.monotonic()
            try:
                again = self._read_on(store)
                self._error = None
            except Exception as error:  # answers go on, and so do tries
                if self._error is None:
                    _log.warning("What is live is not followed: %s", error, exc_info=error)
                self._error, again = error, False
            took = time.monotonic() - start
            if again or self._error:
                time.sleep(_POLL_S if self._error else max(0, _PAUSE_S - took))

    def _read_on(self, store: Store) -> bool:
        """Apply what is new; whether there was anything."""
        page = store.tail(self.sequence, _PAGE)
        if page.sequence == self.sequence:
            return False
        self._overlay.apply(page.entries, page.sequence)
        with self._applied:
            self._applied.notify_all()
        return True


def _forward_to_now() -> None:
    """Let everything that a workspace is asked be answered by the newest version."""
    names = {name for kind in Workspace.__mro__[:-1] for name in vars(kind)}
    for name in (*names, "path", "snapshot", "incidence"):
        if not name.startswith("_"):
            setattr(LiveWorkspace, name, property(attrgetter(f"now.{name}")))


_forward_to_now()


def open_live(
    path: Path | str,
    store: Store | None,
    *,
    snapshot: str | None = None,
    verify: Literal["auto", "full", "none"] = "auto",
    model: str | None = None,
) -> LiveWorkspace:
    """Open a built workspace and what a store has beyond it, and follow the store from then on.

    store: stays the caller's to close; None: nothing is live. The rest as of `open_workspace`.
    Returns once all that is stored is visible. Raises as `open_workspace` does, and a
    SnapshotError where the snapshot has another database's live part.
    """
    return LiveWorkspace(Path(path), open_snapshot(path, snapshot, verify), store, model)


def _sequence_in(snapshot: Snapshot, store: Store | None) -> int:
    """Up to which sequence of the store the snapshot has everything."""
    folded = snapshot.manifest.config.get("live")
    if folded is None or store is None:
        return 0 if folded is None else int(folded["sequence"])
    if folded["identity"] != store.identity:
        raise SnapshotError(
            f"The snapshot {snapshot.name} has the live part of the database "
            f"{folded['identity']}, and the one given is {store.identity}: their sequences mean "
            "different things. Give the database that it was built with, or build again."
        )
    return int(folded["sequence"])
