"""The live store: what is submitted is durable when it is acknowledged, and never twice there.

    with open_store(workspace / LIVE_FILE) as store:
        save = Save(pin_id="p9", board_id="b1", image="lamp.jpg")
        receipt = store.submit(Submission("mobile:7f3a", (save,))).result()
        page = store.tail(after=receipt.sequence - 1)

Several processes may have one database open. Each submission gets the next sequence, in the
order of commits, so that who has read up to one has missed nothing before it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pinjoin.core.closing import Closing
from pinjoin.core.errors import check
from pinjoin.live.append import append, known
from pinjoin.live.changes import CATALOGUE, Board, Change, Deletion, Event, Save
from pinjoin.live.database import Database
from pinjoin.live.errors import (
    DamagedError,
    StoreError,
    UnavailableError,
    VersionError,
)
from pinjoin.live.group_commit import GroupCommit, GroupCommitConfig
from pinjoin.live.reading import LivePart, batches, check_after, page, read_table
from pinjoin.live.retention import mark_folded, prune
from pinjoin.live.submissions import Page, Receipt, Submission
from pinjoin.live.tables import LiveTables, State


@dataclass(frozen=True)
class StoreConfig(GroupCommitConfig):
    """What makes a group, and how long to wait."""

    lock_s: float = 2.0  # for another process's lock, and for the network

    def __post_init__(self) -> None:
        GroupCommitConfig.__post_init__(self)
        check(0 < self.lock_s <= 60, "lock_s", "StoreConfig", "0 to 60 seconds", self.lock_s)


class Store(Closing):
    """An open live database. Any thread may use it; a fork may not. Made by `open_store`."""

    def __init__(self, tables: LiveTables, config: StoreConfig) -> None:
        self.identity = tables.identity  # of the database: goes with every sequence that is kept
        self.origin = uuid.uuid4().hex  # of this store: tells its own entries from others'
        self._tables = tables
        self._watchers: tuple[Callable[[int], None], ...] = ()
        self._commits: GroupCommit[Submission, Receipt] = GroupCommit(self._write, config)

    def submit(self, submission: Submission) -> Future[Receipt]:
        """Store a submission. The future is done when it is durable, or has failed.

        `.result()` waits; `await asyncio.wrap_future(…)` does in a coroutine. It raises
        ConflictError if the key was used for something else, or what it makes was made before;
        UnavailableError if the database could not be reached or written to: then it may or may
        not be stored, and submitting it again with the same key settles it.
        """
        return self._commits.submit(submission, len(submission.changes))

    def watch(self, watcher: Callable[[int], None]) -> None:
        """Call a function with the last sequence whenever this store has written something, before
        anybody gets a receipt: it must be quick."""
        self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Callable[[int], None]) -> None:
        """Call it no more."""
        self._watchers = tuple(one for one in self._watchers if one != watcher)

    def tail(
        self, after: int, limit: int = 1_000, kinds: Collection[type[Change]] = CATALOGUE
    ) -> Page:
        """What came after a sequence, from all processes: at most `limit` entries.

        Of an entry, the changes of the given kinds. Read on with the page's sequence, also
        where it has no entries. Raises PrunedError if `kinds` has Event and events after the
        sequence were pruned, StoreError if the database has not got as far as `after`.
        """
        check(limit > 0, "limit", "Store.tail", "a positive integer", limit)
        with self._tables.reading() as (connection, state):
            return page(connection, state, after, limit, kinds)

    def state(self) -> State:
        """The last sequence, and up to which all is folded and events are pruned."""
        with self._tables.reading() as (_, state):
            return state

    def knows(self, key: str) -> bool:
        """Whether a submission of that key is stored."""
        with self._tables.reading() as (connection, _):
            return bool(known(connection, [key]))

    def read_all(self, up_to: int | None = None) -> LivePart:
        """All pins, boards and deletions up to a sequence (the last), for a build to fold in."""
        end = self._end(up_to)
        kinds = (Save, Board, Deletion)
        pins, boards, deletions = (read_table(self._tables, kind, end) for kind in kinds)
        return LivePart(self.identity, end, pins, boards, deletions)

    def takedowns(self, up_to: int) -> list[tuple[str, str]]:
        """(kind, id) of all that was taken down up to a sequence: it stays down."""
        table = read_table(self._tables, Deletion, self._end(up_to))
        return list(zip(table["kind"].to_pylist(), table["id"].to_pylist(), strict=True))

    def event_batches(self, after: int = 0, up_to: int | None = None) -> Iterator[pa.RecordBatch]:
        """Events in the order they were stored, in the schema LIVE_EVENTS; none is empty.

        `number_events` of `data.event_log` takes them. Raises as `tail` does.
        """
        end = self._end(up_to)
        return batches(self._tables, Event, after, end)

    def mark_folded(self, up_to: int) -> None:
        """Say that a snapshot has everything up to a sequence. It never goes back."""
        with self._tables.writing() as (connection, state):
            mark_folded(connection, state, up_to)

    def prune(self, before: int) -> int:
        """Remove the events up to a sequence, and pins and boards that were taken down.

        Other pins and boards, and all deletions, stay: every build needs them again. Returns
        how many rows were removed. StoreError if `before` is beyond what is folded.
        """
        return prune(self._tables, before)

    def close(self) -> None:
        """Write what was submitted, then let go of the database."""
        self._commits.close()
        self._tables.close()

    def _write(self, submissions: Sequence[Submission]) -> Sequence[Receipt | StoreError]:
        try:
            with self._tables.writing() as (connection, state):
                results = append(connection, state, submissions, self.origin)
        except (UnavailableError, DamagedError, VersionError):
            raise
        except StoreError as error:
            if len(submissions) == 1:
                return [error]
            # One that the database does not take must not cost the others of its group.
            return [result for one in submissions for result in self._write([one])]
        written = [one.sequence for one in results if isinstance(one, Receipt)]
        for watcher in self._watchers if written else ():
            watcher(max(written))
        return results

    def _end(self, up_to: int | None) -> int:
        state = self.state()
        if up_to is not None:
            check_after(state, up_to, with_events=False)
        return state.last if up_to is None else up_to


def open_store(where: Path | str, config: StoreConfig = StoreConfig()) -> Store:
    """The live database at `where`, made if there is none.

    `where`: the path of an SQLite file, or a URL: sqlite:///FILE or postgresql://….
    Raises ConfigError for another URL or a missing driver, UnavailableError if it cannot be
    reached, DamagedError if it is broken, VersionError if a newer pinjoin has changed it.
    """
    database = Database(where, config.lock_s)
    try:
        return Store(LiveTables(database), config)
    except BaseException:
        database.close()
        raise
