"""What is stored, read: entries in order for whoever follows, columns for whoever builds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pinjoin.data.events import LOGGED
from pinjoin.data.schema import BOARDS, PINS, TIMESTAMP
from pinjoin.live.changes import Board, Change, Deletion, Event, Save, columns
from pinjoin.live.errors import PrunedError, StoreError
from pinjoin.live.sql import sa
from pinjoin.live.submissions import Entry, Page
from pinjoin.live.tables import SUBMISSIONS, TABLES, LiveTables, State

DELETIONS = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("created_at", TIMESTAMP),
    ]
)
"""Columns of the takedowns."""

LIVE_EVENTS = pa.schema([*LOGGED, pa.field("arm", pa.string())])
"""Columns of live events: those of a log, and the experiment's arm."""

_SCHEMAS = {Save: PINS, Board: BOARDS, Deletion: DELETIONS, Event: LIVE_EVENTS}


@dataclass(frozen=True)
class LivePart:
    """What a build folds in: everything up to a sequence.

    Deletions hold for ever and for all: take their pins, boards and images out of the sources
    and of `pins` and `boards` alike, in whatever order they came.
    """

    identity: str  # of the database
    sequence: int
    pins: pa.Table  # PINS
    boards: pa.Table  # BOARDS
    deletions: pa.Table  # DELETIONS


def page(
    connection: sa.Connection, state: State, after: int, limit: int, kinds: Collection[type[Change]]
) -> Page:
    """The first `limit` entries after a sequence that have changes of these kinds."""
    check_after(state, after, Event in kinds)
    if after == state.last:
        return Page([], after)
    found = {kind: _sequences(connection, TABLES[kind], after, limit) for kind in kinds}
    sequences = sorted(set().union(*found.values()))[:limit]
    end = sequences[-1] if len(sequences) == limit else state.last
    changes: dict[int, list[tuple[int, Change]]] = defaultdict(list)
    for kind in kinds:
        for sequence, place, *fields in connection.execute(_between(kind, after, end)):
            changes[sequence].append((place, kind(*fields)))
    c = SUBMISSIONS.c
    chosen = sa.select(c.sequence, c.origin, c.key).where(c.sequence.in_(sequences))
    heads = {sequence: (origin, key) for sequence, origin, key in connection.execute(chosen)}
    entries = [
        Entry(one, *heads[one], tuple(change for _, change in sorted(changes[one], key=_place)))
        for one in sequences
    ]
    return Page(entries, end)


def check_after(state: State, after: int, with_events: bool) -> None:
    """Raise a StoreError unless all that came after a sequence can be read."""
    if not 0 <= after <= state.last:
        raise StoreError(
            f"The live database has sequences up to {state.last:,}, not {after:,}: it is another "
            "one, or was restored from an old backup. Build again and restart what follows it."
        )
    if with_events and after < state.pruned:
        raise PrunedError(
            f"Events up to sequence {state.pruned:,} were pruned. Read on after it, not after "
            f"{after:,}."
        )


def batches(
    tables: LiveTables, kind: type[Change], after: int, end: int, rows: int = 50_000
) -> Iterator[pa.RecordBatch]:
    """The rows of a kind after one sequence up to another, in order, some at a time.

    No transaction stays open between batches: up to a sequence that was seen, none is added.
    """
    schema, table = _SCHEMAS[kind], TABLES[kind]
    fields = [table.c[name] for name in schema.names]
    position = sa.tuple_(table.c.sequence, table.c.place)
    query = sa.select(table.c.sequence, table.c.place, *fields).order_by(*_order(table)).limit(rows)
    last = (after, 2**31 - 1)
    while True:
        with tables.reading() as (connection, state):
            check_after(state, last[0], with_events=kind is Event)
            chosen = query.where(position > last, table.c.sequence <= end)
            found = connection.execute(chosen).all()
        if found:
            given = list(zip(*found, strict=True))
            yield _batch(given[2:], schema)
            last = (given[0][-1], given[1][-1])
        if len(found) < rows:
            return


def read_table(tables: LiveTables, kind: type[Change], end: int) -> pa.Table:
    """All rows of a kind up to a sequence."""
    return pa.Table.from_batches(batches(tables, kind, 0, end), _SCHEMAS[kind])


def _batch(given: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        pa.array(values, pa.int64()).cast(TIMESTAMP)
        if field.type == TIMESTAMP
        else pa.array(values, field.type)
        for field, values in zip(schema, given, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _order(table: sa.Table) -> tuple[Any, Any]:
    return table.c.sequence, table.c.place


def _sequences(connection: sa.Connection, table: sa.Table, after: int, limit: int) -> set[int]:
    c = table.c.sequence
    chosen = sa.select(c).distinct().where(c > after).order_by(c).limit(limit)
    return set(connection.execute(chosen).scalars())


def _between(kind: type[Change], after: int, end: int) -> Any:
    table = TABLES[kind]
    fields = [table.c[name] for name in columns(kind)]
    chosen = (table.c.sequence > after) & (table.c.sequence <= end)
    return sa.select(*_order(table), *fields).where(chosen)


def _place(change: tuple[int, Change]) -> int:
    return change[0]
