"""What people do now counts in what is shown next: live events, added to Navboost as they come."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Any

import pyarrow as pa

from pinjoin.contents import Contents
from pinjoin.core.closing import Closing
from pinjoin.data.events import ACTIONS
from pinjoin.live.store import Store
from pinjoin.ranking.navboost import Navboost

_POLL_S = 1.0  # how soon what other processes stored is counted
_AT_ONCE = 100  # submissions read at once
_KEPT = 100_000  # impressions whose repeats are told and whose clicks are waited for

_log = logging.getLogger(__name__)


class LiveClicks(Closing):
    """Adds the events of a store to every Navboost of a catalogue, also of models opened later."""

    def __init__(self, known: Contents, store: Store) -> None:
        """known: tells the Navboosts in use, and the rows of ids, of what is live as well."""
        self._known, self._store = known, store
        self._counters: dict[str, ClickCounter] = {}
        self._wake, self._closed = threading.Event(), False
        self._failed = False
        self._thread = threading.Thread(target=self._follow, name="live-clicks", daemon=True)

    def start(self) -> LiveClicks:
        """Follow the store in a thread from now on."""
        self._store.watch(self._woken)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop following the store, which stays open."""
        self._store.unwatch(self._woken)
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> LiveClicks:
        return self.start()

    def _woken(self, sequence: int) -> None:
        self._wake.set()

    def _follow(self) -> None:
        while not self._closed:
            try:
                self._read_on()
                self._failed = False
            except Exception as error:  # ranking goes on, and so do tries
                if not self._failed:
                    _log.warning("Live clicks are not counted: %s", error, exc_info=error)
                self._failed = True
            self._wake.wait(_POLL_S)
            self._wake.clear()

    def _read_on(self) -> None:
        for name, boost in list(self._known.navboosts.items()):
            if name not in self._counters:
                self._counters[name] = ClickCounter(boost, self._known, self._store)
            self._counters[name].read_on()


class ClickCounter:
    """Adds the events of a store to one Navboost, from what it has counted already.

    As in a log, each action of an impression counts once, and one whose impression is unknown
    (or more than 100,000 impressions ago) does not: the next training joins it. Events up to the
    time that the Navboost was made of are passed over. Nothing else may add to the Navboost.
    """

    def __init__(self, boost: Navboost, known: Contents, store: Store) -> None:
        """known: tells the rows of ids, of what is live as well."""
        self._boost, self._known, self._store = boost, known, store
        self._sequence = store.state().pruned
        self._done: OrderedDict[tuple[str, str], int] = OrderedDict()

    def read_on(self) -> int:
        """Count what is new; how many events that was."""
        state, counted = self._store.state(), 0
        start = max(self._sequence, state.pruned)
        while start < state.last:
            end = min(start + _AT_ONCE, state.last)
            # All of it is read before any is counted: an error in between counts nothing twice.
            batches = list(self._store.event_batches(start, end))
            counted += sum(map(self._count, batches))
            start = self._sequence = end
        return counted

    def _count(self, batch: pa.RecordBatch) -> int:
        rows = {name: self._known.find_all(batch.column(name)) for name in ("query", "candidate")}
        given = zip(
            rows["query"].tolist(), rows["candidate"].tolist(), batch.to_pylist(), strict=True
        )
        return sum(self._add(query, candidate, event) for query, candidate, event in given)

    def _add(self, query: int, candidate: int, event: dict[str, Any]) -> bool:
        until, boost = self._boost.until, self._boost
        if query < 0 or candidate < 0 or query == candidate:
            return False
        if until is not None and event["time"].timestamp() <= until:
            return False
        key = (event["request_id"], event["candidate"])
        bit, done = 1 << ACTIONS.index(event["action"]), self._done.get(key, 0)
        if done & bit or (bit != 1 and not done):
            return False
        self._done[key] = done | bit
        if len(self._done) > _KEPT:
            self._done.popitem(last=False)
        cell = boost.cell(event["position"], event["device"], event["surface"])
        boost.add(query, candidate, cell, event["action"])
        return True
