"""What is odd about an event log: each oddity counted, shown by an example, with its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pinjoin.core.errors import check
from pinjoin.core.ids import NULL_CODE
from pinjoin.data._events_kernel import DUPLICATE, IMPRESSION, JOINED, ORPHAN
from pinjoin.data.event_log import FACTORS, NO_TIME, Events
from pinjoin.data.events import ACTIONS, PROPENSITY

RARE_SHARE = 0.001
"""A device or surface with a smaller share of the impressions is odd."""
LATE_SECONDS = 24 * 3600
HIGH_RATE = 0.5
BUSY_SHARE, BUSY_ACTIONS = 0.05, 100
EARLIEST = 946_684_800  # the year 2000


@dataclass(frozen=True)
class Finding:
    """One kind of oddity: how often, an example, and what to do about it."""

    code: str
    count: int
    what: str
    example: str
    remedy: str


@dataclass(frozen=True)
class EventReport:
    """What a log holds, and what is odd about it."""

    events: int
    by_action: dict[str, int]
    requests: int
    users: int
    queries: int
    pairs: int
    cells: int
    first: str | None
    last: str | None
    rejected: int
    findings: tuple[Finding, ...]


def check_events(events: Events, rejected: int = 0, now: float | None = None) -> EventReport:
    """Look an event log over. Nothing in it is changed or refused here.

    `rejected` is how many rows reading left out; `now` (unix seconds) is what the future begins
    after; None = not looked at, so that the report of a log is always the same.
    """
    check(rejected >= 0, "rejected", "check_events", "a number ≥ 0", rejected)
    view = _View(events, now)
    findings = tuple(finding for find in _CHECKS for finding in find(view))
    known = events.time[events.time != NO_TIME]
    counts = np.bincount(events.action, minlength=len(ACTIONS)).tolist()
    pairs = events.query.astype(np.uint64) << np.uint64(32) | events.candidate
    return EventReport(
        events=len(events),
        by_action=dict(zip(ACTIONS, counts, strict=True)),
        requests=len(events.requests),
        users=len(events.users),
        queries=int((np.bincount(events.query, minlength=1) > 0).sum()),
        pairs=_count_distinct(pairs),
        cells=len(events.cells),
        first=_iso(int(known.min())) if len(known) else None,
        last=_iso(int(known.max())) if len(known) else None,
        rejected=rejected,
        findings=findings,
    )


def _count_distinct(keys: npt.NDArray[np.uint64]) -> int:
    """How many there are; sorts `keys` (faster than numpy's hashing)."""
    keys.sort()
    return int((keys[1:] != keys[:-1]).sum()) + bool(len(keys))


class _View:
    """A log with what several checks need."""

    def __init__(self, events: Events, now: float | None) -> None:
        self.events = events
        self.now = now
        self.state = events.joined.state
        self.owner = events.joined.owner
        self.shown = np.flatnonzero(self.state == IMPRESSION)
        self.acted = np.flatnonzero(self.state == JOINED)

    def level(self, factor: str) -> npt.NDArray[np.uint32]:
        """The number of each event's position, device or surface."""
        levels: npt.NDArray[np.uint32] = self.events.cells.levels[:, FACTORS.index(factor)]
        return levels[self.events.cell]

    def names(self, factor: str) -> tuple[str, ...]:
        return self.events.cells.names[FACTORS.index(factor)]

    def finding(
        self, code: str, where: npt.NDArray[np.integer[Any]], what: str, remedy: str
    ) -> Iterator[Finding]:
        """A finding about some events, if there are any; the first is the example."""
        if len(where):
            yield Finding(code, len(where), what, self.describe(int(where[0])), remedy)

    def describe(self, event: int) -> str:
        """One event in words."""
        e = self.events
        cell = int(e.cell[event])
        place = [f"{f} {n}" for f in FACTORS if (n := e.cells.name(cell, f)) is not None]
        return (
            f"{ACTIONS[e.action[event]]} of {_name(e.items, e.candidate[event])!r} for "
            f"{_name(e.items, e.query[event])!r} in request "
            f"{_name(e.requests, e.request[event])!r}" + "".join(f", {p}" for p in place)
        )


def _name(names: pa.ChunkedArray, number: Any) -> str:
    return str(names[int(number)].as_py())


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _orphans(view: _View) -> Iterator[Finding]:
    yield from view.finding(
        "action-without-impression",
        np.flatnonzero(view.state == ORPHAN),
        "actions have no impression of the same request and candidate; they are left out",
        "Log every impression, and give its actions the same request_id and candidate.",
    )


def _duplicates(view: _View) -> Iterator[Finding]:
    yield from view.finding(
        "duplicate",
        np.flatnonzero(view.state == DUPLICATE),
        "events repeat the request, candidate and action of an earlier one; the first counts",
        "Nothing to do if they were sent twice; if one request_id serves many requests, "
        "give each request its own.",
    )


def _early(view: _View) -> Iterator[Finding]:
    acted, time = view.acted, view.events.time
    shown = time[view.owner[acted]]
    known = (time[acted] != NO_TIME) & (shown != NO_TIME)
    yield from view.finding(
        "action-before-impression",
        acted[known & (time[acted] < shown)],
        "actions are earlier than their impression",
        "Take the times of both from one clock, the server's.",
    )
    late = np.where(known, time[acted], 0) - np.where(known, shown, 0)
    yield from view.finding(
        "late-action",
        acted[late > LATE_SECONDS],
        "actions are more than a day later than their impression; they are joined to it",
        "If pages stay open that long, nothing; else look for request_ids that are used again.",
    )


def _moved(view: _View) -> Iterator[Finding]:
    position = view.level("position")
    again = np.flatnonzero((view.events.action == 0) & (view.state == DUPLICATE))
    moved = again[position[again] != position[view.owner[again]]]
    yield from view.finding(
        "several-positions",
        moved,
        "impressions show a candidate again at another position of the same request; the first "
        "counts",
        "Give each page of results its own request_id, or log where it was seen first.",
    )
    acted = view.acted
    given = acted[position[acted] != NULL_CODE]
    yield from view.finding(
        "action-elsewhere",
        given[position[given] != position[view.owner[given]]],
        "actions name another position than their impression, whose position counts",
        "Log with an action the position that was shown.",
    )


def _shared_place(view: _View) -> Iterator[Finding]:
    e, shown = view.events, view.shown
    place = e.request[shown].astype(np.uint64) << np.uint64(32) | view.level("position")[shown]
    order = np.argsort(place, kind="stable")
    same = np.flatnonzero(place[order][1:] == place[order][:-1]) + 1
    yield from view.finding(
        "shared-position",
        np.sort(shown[order[same]]),
        "impressions stand at a position of their request that another candidate has",
        "Number positions within the whole result, not within a row or page; for a grid give "
        "row and column.",
    )


def _positions(view: _View) -> Iterator[Finding]:
    names = np.array(view.names("position"), dtype=str)
    level = view.level("position")[view.shown]
    grid = np.char.find(names, ",") >= 0 if len(names) else np.zeros(0, bool)
    if grid.any() and not grid.all():
        at = view.shown[grid[level]]
        yield from view.finding(
            "mixed-positions",
            at,
            "impressions have a row and column while others have one number",
            "Use one of both; each is a place of its own now.",
        )
    first = np.array([min(map(int, n.split(","))) == 0 for n in names.tolist()], bool)
    if first.any():
        yield from view.finding(
            "position-zero",
            view.shown[first[level]],
            "impressions are at position 0: positions seem to start at 0",
            "Nothing to do if all logs do so; mixed with logs that start at 1, add 1.",
        )
    numbers = {int(n) for n in names[~grid].tolist()}
    if numbers and len(gaps := sorted(set(range(1, max(numbers))) - numbers)) > 0:
        yield Finding(
            "position-gap",
            len(gaps),
            f"positions below the last one ({max(numbers)}) were never shown",
            f"position {gaps[0]}",
            "Check that all impressions are logged, not only those that were clicked or seen.",
        )


def _rare(view: _View) -> Iterator[Finding]:
    for factor in ("device", "surface"):
        names = view.names(factor)
        level = view.level(factor)
        shown = level[view.shown]
        counts = np.bincount(shown[shown != NULL_CODE], minlength=len(names))
        unseen = np.flatnonzero(counts == 0)
        yield from view.finding(
            f"unseen-{factor}",
            np.flatnonzero(np.isin(level, unseen)),
            f"actions name a {factor} that no impression has",
            f"Write the {factor} of an action as its impression does.",
        )
        rare = np.flatnonzero((counts > 0) & (counts < RARE_SHARE * len(shown)))
        yield from view.finding(
            f"rare-{factor}",
            view.shown[np.isin(shown, rare)],
            f"impressions are on a {factor} that has under {RARE_SHARE:.1%} of them all "
            f"({', '.join(names[i] for i in rare[:5])}); its rates borrow from the others",
            f"Check its spelling, or map it to a common {factor}.",
        )
        spelled = Counter(name.casefold() for name in names)
        twice = [i for i, name in enumerate(names) if spelled[name.casefold()] > 1]
        yield from view.finding(
            f"{factor}-spelling",
            view.shown[np.isin(shown, twice)],
            f"impressions have a {factor} that is spelled in several ways "
            f"({', '.join(names[i] for i in twice[:4])})",
            "Spell it one way: each spelling has its own rates.",
        )


def _no_device(view: _View) -> Iterator[Finding]:
    level = view.level("device")[view.shown]
    yield from view.finding(
        "no-device",
        view.shown[level == NULL_CODE],
        "impressions have no device; they count as one device of their own",
        "Log the device: a position means something else on a phone than on a desktop.",
    )


def _requests(view: _View) -> Iterator[Finding]:
    e = view.events
    for code, column, what in (
        ("several-queries", e.query, "query"),
        ("several-users", e.user, "user"),
    ):
        given = np.flatnonzero(column != NULL_CODE)
        first = np.full(len(e.requests), NULL_CODE, np.uint32)
        first[e.request[given][::-1]] = column[given][::-1]
        other = given[column[given] != first[e.request[given]]]
        yield from view.finding(
            code,
            other,
            f"events are of another {what} than the first event of their request",
            f"Give each request its own request_id: a request has one {what}.",
        )


def _itself(view: _View) -> Iterator[Finding]:
    e = view.events
    yield from view.finding(
        "candidate-is-query",
        np.flatnonzero(e.query == e.candidate),
        "events have the query itself as its candidate",
        "Check that query and candidate are mapped to the right columns.",
    )


def _times(view: _View) -> Iterator[Finding]:
    time = view.events.time
    yield from view.finding(
        "no-time",
        np.flatnonzero(time == NO_TIME),
        "events have no time: training cannot hold out the latest of them",
        "Log when it happened.",
    )
    yield from view.finding(
        "old-time",
        np.flatnonzero((time != NO_TIME) & (time < EARLIEST)),
        "events are from before the year 2000",
        "Check the unit: unix seconds are expected.",
    )
    if view.now is not None:
        yield from view.finding(
            "future-time",
            np.flatnonzero(time > view.now + 3600),
            "events are in the future",
            "Check the clock and the zone; times without one are read as UTC.",
        )


def _propensity(view: _View) -> Iterator[Finding]:
    given = view.events.propensity
    if given is None:
        return
    missing = np.isnan(given[view.shown])
    yield from view.finding(
        "some-without-propensity",
        view.shown[missing] if not missing.all() else view.shown[:0],
        "impressions have no propensity while others have one",
        f"Log it with every impression ({PROPENSITY}): estimates of other policies need all.",
    )


def _actions(view: _View) -> Iterator[Finding]:
    counts = np.bincount(view.events.action, minlength=len(ACTIONS))
    if not counts[1:4].sum():
        yield Finding(
            "no-actions", 1, "no click, clickthrough or save is in the log", "",
            "Add the log of actions: nothing can be learned from impressions alone.",
        )  # fmt: skip
    if not counts[0]:
        yield Finding(
            "no-impressions", 1, "no impression is in the log", "",
            "Log what was shown: without it a click cannot be judged.",
        )  # fmt: skip
    clicked = np.bitwise_and(view.events.joined.done[view.shown], 0b1110) > 0
    if len(view.shown) >= 100 and clicked.mean() > HIGH_RATE:
        yield Finding(
            "high-rate", int(clicked.sum()),
            f"of {len(view.shown):,} impressions have an action: more than {HIGH_RATE:.0%}", "",
            "Check that impressions without an action are logged too.",
        )  # fmt: skip


def _busy_users(view: _View) -> Iterator[Finding]:
    e = view.events
    acted = view.acted[(e.action[view.acted] <= 3) & (e.user[view.acted] != NULL_CODE)]
    if not len(acted):
        return
    counts = np.bincount(e.user[acted], minlength=len(e.users))
    busy = np.flatnonzero((counts >= BUSY_ACTIONS) & (counts > BUSY_SHARE * len(acted)))
    if len(busy):
        most = int(busy[np.argmax(counts[busy])])
        yield Finding(
            "busy-user",
            len(busy),
            f"users made more than {BUSY_SHARE:.0%} of all actions each",
            f"user {_name(e.users, most)!r} made {counts[most]:,} of {len(acted):,}",
            "If it is a robot or a test, leave its events out.",
        )


_CHECKS: tuple[Callable[[_View], Iterator[Finding]], ...] = (
    _actions, _orphans, _duplicates, _early, _moved, _shared_place, _positions, _rare,
    _no_device, _requests, _itself, _times, _propensity,
    _busy_users,
)  # fmt: skip
