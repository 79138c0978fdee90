"""An event log as numbers: impressions, each with where it was shown and what was done to it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import InputError, check
from pinjoin.core.ids import NULL_CODE, StringTable
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Int64s, UInt32s
from pinjoin.data.blocks import one_ahead
from pinjoin.data.events import ACTIONS, CONTEXT, EventSource
from pinjoin.data.rejects import Rejects

UInt8s = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]

NO_TIME = np.iinfo(np.int64).min
"""In a column of times: not given."""

FACTORS = ("position", "device", "surface")
"""What a cell is made of."""

_OPTIONAL = ("propensity", "user", "phrase", "locale")
"""Columns of an `EventLog` that may be None."""


@dataclass(frozen=True)
class Cells:
    """Where candidates were shown: the distinct (position, device, surface) of a log.

    `levels` uint32 [cells, 3] are numbers into `names` (one list per factor); NULL_CODE = not
    given.
    """

    levels: UInt32s
    names: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.levels)

    def name(self, cell: int, factor: str) -> str | None:
        """A cell's position, device or surface."""
        which = FACTORS.index(factor)
        level = int(self.levels[cell, which])
        return None if level == NULL_CODE else self.names[which][level]

    def places(self) -> list[tuple[str | None, str | None, str | None]]:
        """(position, device, surface) of each cell."""
        cells = range(len(self))
        columns = ([self.name(cell, factor) for cell in cells] for factor in FACTORS)
        return list(zip(*columns, strict=True))


@dataclass(frozen=True)
class Events:
    """Every event of a log in input order, its ids numbered; nothing joined yet.

    request, user, query, candidate and cell uint32 [n] (user may be NULL_CODE), action uint8 [n]
    (codes of ACTIONS), time int64 [n] (unix seconds, or NO_TIME), propensity float64 [n] (NaN =
    not given; None = no event has one). `items` are the names of queries and candidates alike, as
    one item is both.
    """

    request: UInt32s
    user: UInt32s
    query: UInt32s
    candidate: UInt32s
    cell: UInt32s
    action: UInt8s
    time: Int64s
    items: pa.ChunkedArray
    requests: pa.ChunkedArray
    users: pa.ChunkedArray
    cells: Cells
    propensity: Float64s | None = None
    phrase: UInt32s | None = None
    locale: UInt32s | None = None
    phrases: pa.ChunkedArray | None = None
    locales: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return len(self.action)

    @cached_property
    def joined(self) -> Joined:
        """What became of each event."""
        return join(self.request, self.candidate, self.action)


@dataclass(frozen=True)
class Joined:
    """state uint8 [n] (a code of `_events_kernel`), owner uint32 [n]: the impression it belongs
    to; done uint8 [n]: for impressions, the bits of their actions."""

    state: UInt8s
    owner: UInt32s
    done: UInt8s


@dataclass(frozen=True)
class EventLog:
    """The impressions of a log, each once, with the actions on them. What the ranking learns from.

    query, candidate uint32 [n] (numbers into `items`; catalogue rows after `with_rows`), cell
    uint32 [n] into `cells`, done uint8 [n]: bit a says that ACTIONS[a] was done (bit 0 is always
    set), time int64 [n], user (None: no event has one), phrase, locale and propensity (as in
    `Events`) of the impression. `duplicates` and
    `orphans` count the events left out: repeats of a (request, candidate, action), and actions
    whose impression is nowhere in the log.
    """

    query: UInt32s
    candidate: UInt32s
    cell: UInt32s
    done: UInt8s
    time: Int64s
    request: UInt32s
    items: pa.ChunkedArray | None
    cells: Cells
    duplicates: int = 0
    orphans: int = 0
    propensity: Float64s | None = None
    user: UInt32s | None = None
    phrase: UInt32s | None = None
    locale: UInt32s | None = None
    phrases: pa.ChunkedArray | None = None
    locales: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return len(self.done)

    def with_rows(self, rows: npt.NDArray[np.integer[Any]]) -> EventLog:
        """The log in other numbers: `rows[i]` int [items] is the catalogue's row of item i.

        Impressions of which either side is unknown (a negative row) are left out. Items of
        equal row (two pins of one image) become one.
        """
        given = len(self.items) if self.items is not None else None
        check(given == len(rows), "rows", "EventLog.with_rows", f"{given} numbers", len(rows))
        rows = np.asarray(rows, np.int64)
        query, candidate = rows[self.query], rows[self.candidate]
        known = (query >= 0) & (candidate >= 0)
        kept = self.where(known)
        return replace(
            kept,
            query=query[known].astype(np.uint32),
            candidate=candidate[known].astype(np.uint32),
            items=None,
        )

    def where(self, mask: npt.NDArray[np.bool_]) -> EventLog:
        """Some of the impressions: mask bool [n]."""
        columns = ["query", "candidate", "cell", "done", "time", "request"]
        columns += [name for name in _OPTIONAL if getattr(self, name) is not None]
        return replace(self, **{name: getattr(self, name)[mask] for name in columns})

    @property
    def until(self) -> int | None:
        """The latest time of an impression (unix seconds) but for those in the future, where a
        clock was wrong; None without times."""
        known = self.time[(self.time != NO_TIME) & (self.time <= time.time())]
        return int(known.max()) if len(known) else None

    @property
    def begins(self) -> Int64s:
        """int64 [n]: when the request of each impression began: its first time, or, unless all
        have one, its first place in the log."""
        timed = bool((self.time != NO_TIME).all())
        when = self.time if timed else np.arange(len(self), dtype=np.int64)
        first = np.full(int(self.request.max(initial=0)) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, self.request, when)
        begins: Int64s = first[self.request]
        return begins

    def split_by_time(self, share: float = 0.8) -> tuple[EventLog, EventLog]:
        """(the earlier `share` of the impressions, the later ones): what is tuned or tested on
        the second was not in the first. Requests are not split: one belongs where it begins.
        Without times, the order of the log stands in for them.

        Raises ConfigError unless 0 < share < 1.
        """
        check(0 < share < 1, "share", "EventLog.split_by_time", "between 0 and 1", share)
        n, begin = len(self), self.begins
        cut = np.partition(begin, int(n * share))[int(n * share)] if n else 0
        return self.where(begin < cut), self.where(begin >= cut)


def read_events(
    source: EventSource, rejects: Rejects | None = None, progress: Progress = silent
) -> Events:
    """All events of a source, numbered: some 30 bytes an event, plus the distinct ids."""
    batches = source.batches(rejects or Rejects(None), progress)
    return number_events(one_ahead(batches))  # cleaned in one thread while numbered in another


def read_log(
    source: EventSource, rejects: Rejects | None = None, progress: Progress = silent
) -> EventLog:
    """The impressions of a source with their actions, however late these are in the log."""
    return join_events(read_events(source, rejects, progress))


def number_events(batches: Iterable[pa.RecordBatch]) -> Events:
    """Events (batches with the columns of EVENTS, maybe those of CONTEXT) as numbers, in input
    order."""
    items, requests, users = StringTable(), StringTable(), StringTable()
    context = {name: StringTable() for name in CONTEXT.names}
    cells = _CellTable()
    codes = pa.array(ACTIONS)
    columns: dict[str, list[npt.NDArray[Any]]] = {}
    propensity: list[tuple[int, Float64s | None]] = []
    for batch in batches:
        times = batch.column("time").cast(pa.int64()).fill_null(int(NO_TIME))
        action = pc.index_in(batch.column("action"), codes)
        new = {
            "request": requests.encode(batch.column("request_id")),
            "user": users.encode(batch.column("user_id")),
            "query": items.encode(batch.column("query")),
            "candidate": items.encode(batch.column("candidate")),
            "cell": cells.encode([batch.column(name) for name in FACTORS]),
            "action": action.to_numpy(zero_copy_only=False).astype(np.uint8),
            "time": times.to_numpy(zero_copy_only=False),
        }
        for name, table in context.items():
            new[name] = _encoded(table, batch, name)
        for name, values in new.items():
            columns.setdefault(name, []).append(values)
        given = batch.column("propensity")
        known = given.null_count < len(given)
        propensity.append((len(given), given.to_numpy(zero_copy_only=False) if known else None))
    if not columns:
        raise InputError("The log has no events. Check where it was exported to.")
    # Each column's pieces are let go as soon as it is whole.
    whole: dict[str, Any] = {name: np.concatenate(columns.pop(name)) for name in list(columns)}
    names = {"items": items, "requests": requests, "users": users}
    for name, table in context.items():
        if len(table):
            names[f"{name}s"] = table
        else:
            whole[name] = None
    tables = {name: table.strings() for name, table in names.items()}
    return Events(**whole, **tables, cells=cells.cells(), propensity=_filled(propensity))


def _encoded(table: StringTable, batch: pa.RecordBatch, name: str) -> UInt32s:
    """A column that may be missing, numbered."""
    if name not in batch.schema.names:
        return np.full(batch.num_rows, NULL_CODE, np.uint32)
    return table.encode(batch.column(name))


def _filled(parts: list[tuple[int, Float64s | None]]) -> Float64s | None:
    """A column of parts (how long, what is there), NaN for nothing; None if all are nothing."""
    if all(values is None for _, values in parts):
        return None
    return np.concatenate([np.full(n, np.nan) if v is None else v for n, v in parts])


def join(
    request: UInt32s, candidate: npt.NDArray[np.unsignedinteger[Any]], action: UInt8s
) -> Joined:
    """Find each action's impression by (request, candidate), and what is there twice.

    request: dense numbers, uint32 [n]; candidate uint32 [n]; action uint8 [n], 0 = impression.
    """
    from pinjoin.data._events_kernel import group_by_request, join_actions

    n = len(action)
    starts = np.zeros(int(request.max(initial=0)) + 2, np.int64)
    keys = np.empty(n, np.uint64)
    group_by_request(request, candidate, starts, keys)
    found = Joined(np.empty(n, np.uint8), np.empty(n, np.uint32), np.zeros(n, np.uint8))
    join_actions(starts, keys, action, found.state, found.owner, found.done)
    return found


def join_events(events: Events) -> EventLog:
    """The impressions, each once, with the actions on them.

    Raises InputError if there is no impression.
    """
    from pinjoin.data._events_kernel import DUPLICATE, IMPRESSION, ORPHAN

    found = events.joined
    counts = np.bincount(found.state, minlength=4)
    shown = np.flatnonzero(found.state == IMPRESSION)
    if not len(shown):
        raise InputError(
            f"The log has {len(events):,} events and no impression among them. Log what was "
            "shown (action = impression), not only what was clicked."
        )
    return EventLog(
        query=events.query[shown],
        candidate=events.candidate[shown],
        cell=events.cell[shown],
        done=found.done[shown],
        time=events.time[shown],
        request=events.request[shown],
        items=events.items,
        cells=events.cells,
        duplicates=int(counts[DUPLICATE]),
        orphans=int(counts[ORPHAN]),
        propensity=_some(events.propensity, shown),
        user=_some(events.user, shown) if len(events.users) else None,
        phrase=_some(events.phrase, shown),
        locale=_some(events.locale, shown),
        phrases=events.phrases,
        locales=events.locales,
    )


def _some(column: npt.NDArray[Any] | None, which: Int64s) -> npt.NDArray[Any] | None:
    return None if column is None else column[which]


class _CellTable:
    """Numbers the combinations of the factors, batch after batch."""

    def __init__(self) -> None:
        self._tables = [StringTable() for _ in FACTORS]
        self._known: dict[tuple[int, ...], int] = {}

    def encode(self, columns: list[pa.Array]) -> UInt32s:
        """The cell of each row, uint32 [n]."""
        key = np.zeros(len(columns[0]), np.int64)
        sizes = []
        for table, column in zip(self._tables, columns, strict=True):
            level = table.encode(column) + np.uint32(1)  # null becomes 0
            if len(table) >= _MOST_LEVELS:
                raise InputError(
                    f"The log has {len(table):,} different positions, devices or surfaces in one "
                    f"column (such as {column[0].as_py()!r}). It seems to hold something else: "
                    "map the right column, or group its values."
                )
            sizes.append(len(table) + 1)
            key = key * sizes[-1] + level
        distinct, which = _distinct(key, math.prod(sizes))
        levels = zip(*(part.tolist() for part in np.unravel_index(distinct, sizes)), strict=True)
        known = self._known
        numbers = np.array([known.setdefault(k, len(known)) for k in levels], np.uint32)
        cells: UInt32s = numbers[which]
        return cells

    def cells(self) -> Cells:
        """The cells by number."""
        levels = np.array(list(self._known), np.int64).astype(np.uint32) - np.uint32(1)
        names = tuple(tuple(table.strings().to_pylist()) for table in self._tables)
        return Cells(levels, names)


_MOST_LEVELS = (1 << 20) - 2  # the product of three is an int64
_FEW = 1 << 16  # keys that are looked up in a table; more are sorted


def _distinct(key: Int64s, size: int) -> tuple[Int64s, Int64s]:
    """The distinct keys, ascending, and which of them each is; all are < size."""
    if size > _FEW:
        distinct, which = np.unique(key, return_inverse=True)
        return distinct, which
    there = np.zeros(size, bool)
    there[key] = True
    distinct = np.flatnonzero(there)
    rank = np.cumsum(there) - 1
    return distinct, rank[key]
