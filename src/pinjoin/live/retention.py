"""What need not be kept: events that training has seen, and what was taken down."""

from __future__ import annotations

from pinjoin.live.changes import CATALOGUE, Board, Deletion, Event, Save
from pinjoin.live.errors import StoreError
from pinjoin.live.reading import check_after
from pinjoin.live.sql import sa
from pinjoin.live.tables import STATE, SUBMISSIONS, TABLES, LiveTables, State

_STEP = 5_000  # sequences in one transaction: others write between them


def mark_folded(connection: sa.Connection, state: State, up_to: int) -> None:
    """Note that a snapshot has everything up to a sequence, unless more is noted already."""
    check_after(state, up_to, with_events=False)
    connection.execute(STATE.update().values(folded=max(state.folded, up_to)))


def prune(tables: LiveTables, before: int) -> int:
    """Remove what is not needed up to a sequence; the number of rows."""
    with tables.writing() as (connection, state):
        if not 0 <= before <= state.folded:
            raise StoreError(
                f"Only what is folded into a snapshot can be pruned: up to {state.folded:,}. Got "
                f"{before:,}. Build first."
            )
        removed = _remove_withdrawn(connection, before)
    for start in range(state.pruned, before, _STEP):
        end = min(start + _STEP, before)
        with tables.writing() as (connection, state):
            removed += _remove_events(connection, start, end)
            connection.execute(STATE.update().values(pruned=max(state.pruned, end)))
    return removed


def _remove_events(connection: sa.Connection, after: int, end: int) -> int:
    """Events of some sequences, and submissions (their keys) that were nothing else."""
    events, key = TABLES[Event].c.sequence, SUBMISSIONS.c.sequence
    gone = connection.execute(sa.delete(TABLES[Event]).where(events > after, events <= end))
    others = [sa.exists().where(TABLES[kind].c.sequence == key) for kind in CATALOGUE]
    connection.execute(
        sa.delete(SUBMISSIONS).where(key > after, key <= end, *(~other for other in others))
    )
    return gone.rowcount


def _remove_withdrawn(connection: sa.Connection, before: int) -> int:
    """Pins and boards that were taken down: what they said is nobody's business any more."""
    c = TABLES[Deletion].c
    pins, boards = (sa.select(c.id).where(c.kind == kind) for kind in ("pin", "board"))
    save, board = TABLES[Save], TABLES[Board]
    withdrawn = save.c.pin_id.in_(pins) | save.c.board_id.in_(boards)
    conditions = {save: withdrawn, board: board.c.board_id.in_(boards)}
    return sum(
        connection.execute(sa.delete(table).where(table.c.sequence <= before, condition)).rowcount
        for table, condition in conditions.items()
    )
