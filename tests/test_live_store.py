"""The live store, on SQLite and on PostgreSQL: once, durable, in order, for all processes."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from live_databases import KINDS, LiveDatabase, entries, made, new_database, saved, submit

from pinjoin.core.errors import ConfigError
from pinjoin.data.event_log import join_events, number_events
from pinjoin.data.schema import BOARDS, PINS
from pinjoin.live import store as store_module
from pinjoin.live import tables
from pinjoin.live.append import append
from pinjoin.live.changes import CATALOGUE, Board, Deletion, Event, Save
from pinjoin.live.database import Database
from pinjoin.live.errors import (
    ConflictError,
    PrunedError,
    StoreError,
    UnavailableError,
    VersionError,
)
from pinjoin.live.reading import LIVE_EVENTS, batches
from pinjoin.live.store import Store, StoreConfig, open_store
from pinjoin.live.submissions import Receipt, Submission

QUICK = StoreConfig(patience_s=0, lock_s=0.2)
EVERYTHING = (*CATALOGUE, Event)

SAVE = Save("p1", "b1", "lamp.jpg", "Lamp", "A lamp", "https://x", "u1", 1_000)
BOARD = Board("b1", "Lights", "All", "home", "u1", 2_000)
SHOWN = Event(
    "r1", "q", "c", "impression", "2,5", "phone", "home", "u1", "x:b", 0.25, "red lamp", "de", 3_000
)
CLICK = Event("r1", "q", "c", "click", time=3_001)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveDatabase]:
    with new_database(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(database: LiveDatabase) -> Iterator[Store]:
    with open_store(database.where, QUICK) as opened:
        yield opened


def test_what_was_stored_is_read_back_whole_and_in_order(store: Store) -> None:
    first = Submission("k1", (BOARD, SAVE, SHOWN, CLICK, Deletion("image", "x", "u2", 4_000)))
    second = Submission("k2", (Save("p2", None, "é\N{CINEMA}.jpg"),))
    start = int(time.time())
    receipts = submit(store, first, second)
    assert receipts == [Receipt(1, False), Receipt(2, False)]
    one, two = entries(store, kinds=EVERYTHING)
    assert one == (1, store.origin, "k1", first.changes)
    assert two[:3] == (2, store.origin, "k2")
    (kept,) = two.changes
    assert kept == Save("p2", None, "é\N{CINEMA}.jpg", created_at=kept.created_at)
    assert start <= kept.created_at <= time.time()


def test_a_repetition_is_acknowledged_again_and_stored_once(database: LiveDatabase) -> None:
    with open_store(database.where) as store:
        (first,) = submit(store, saved("k"))
        assert submit(store, saved("k"), saved("other"), saved("k")) == [
            Receipt(first.sequence, True),
            Receipt(2, False),
            Receipt(first.sequence, True),
        ]
    with open_store(database.where) as store:
        assert submit(store, saved("k")) == [Receipt(first.sequence, True)]
        assert made(entries(store)) == ["k", "other"]


def test_repetitions_in_one_group_are_stored_once(database: LiveDatabase) -> None:
    with open_store(database.where, StoreConfig(linger_s=3600, max_rows=4)) as store:
        copies = submit(store, saved("k"), saved("k"), saved("k"), saved("l"))
        assert copies == [Receipt(1, False), Receipt(1, True), Receipt(1, True), Receipt(2, False)]
        assert made(entries(store)) == ["k", "l"]


def test_a_key_with_another_content_is_a_conflict_and_costs_no_one_else(
    database: LiveDatabase,
) -> None:
    with open_store(database.where, StoreConfig(linger_s=3600, max_rows=4)) as store:
        futures = [
            store.submit(one)
            for one in (saved("k"), saved("k", "p"), Submission("k", (Board("k"),)), saved("l"))
        ]
        assert futures[0].result(60) == (1, False)
        for conflict in futures[1:3]:
            with pytest.raises(ConflictError, match="The key 'k' was used before, for something"):
                conflict.result(60)
        assert futures[3].result(60) == (2, False)
        assert made(entries(store)) == ["k", "l"]


def test_pins_and_boards_are_made_once(database: LiveDatabase) -> None:
    first = Submission("k", (Save("x", "b", "i.jpg"), Board("b"), Board("x")))
    again = Submission("l", (Save("y", "b", "i.jpg"), Save("x", "b", "i.jpg")))
    board = Submission("m", (Board("b"),))
    rows = sum(len(one.changes) for one in (first, again, board))
    with open_store(database.where, StoreConfig(linger_s=3600, max_rows=rows)) as store:
        in_one_group = [store.submit(one) for one in (first, again, board)]
        assert in_one_group[0].result(60) == (1, False)
    with open_store(database.where) as store:
        later = [store.submit(one) for one in (again, board)]
        for pin, made_again in (in_one_group[1:], later):
            with pytest.raises(ConflictError, match="'l' makes the pin 'x', which was made before"):
                pin.result(60)
            with pytest.raises(ConflictError, match="makes the board 'b', which was made before"):
                made_again.result(60)
        assert made(entries(store)) == ["x", "b", "x"]


def test_coroutines_can_await_receipts(store: Store) -> None:
    async def all_of() -> list[Receipt]:
        return await asyncio.gather(
            *(asyncio.wrap_future(store.submit(saved(f"k{n}"))) for n in range(50))
        )

    assert sorted(r.sequence for r in asyncio.run(all_of())) == list(range(1, 51))


def test_commits_wait_for_the_disk(database: LiveDatabase) -> None:
    if isinstance(database.where, str):
        name = database.name  # type: ignore[attr-defined]
        database.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        query, durable = "SHOW synchronous_commit", "on"
    else:
        query, durable = "PRAGMA synchronous", 2  # FULL
    reached = Database(database.where, 1)
    reached.create()
    with reached.writing() as connection:
        assert connection.exec_driver_sql(query).scalar() == durable
    reached.close()


def test_a_reader_never_passes_a_sequence_that_is_not_there_yet(database: LiveDatabase) -> None:
    """A transaction that has taken sequence 1 stays open while another store wants the next."""
    patient = StoreConfig(patience_s=60, lock_s=10)
    slow = tables.LiveTables(Database(database.where, 10))
    with open_store(database.where, patient) as quick:
        with slow.writing() as (connection, state):
            append(connection, state, [saved("slow")], "slow")
            later = quick.submit(saved("quick"))
            time.sleep(0.2)
            assert quick.tail(0) == ([], 0)
            assert not later.done()
        assert later.result(60) == (2, False)
        assert made(entries(quick)) == ["slow", "quick"]
    slow.close()


def test_concurrent_writers_leave_no_gap_and_pass_no_reader(database: LiveDatabase) -> None:
    config = StoreConfig(linger_s=0, patience_s=60, lock_s=10)
    stores = [open_store(database.where, config) for _ in range(4)]
    failures: list[Exception] = []

    def write(own: int) -> None:
        try:
            for n in range(60):
                stores[own].submit(saved(f"{own}-{n}")).result(60)
        except Exception as error:
            failures.append(error)

    def follow(reader: Store, seen: list[int]) -> None:
        after = 0
        while after < 240 and not failures:
            page = reader.tail(after, limit=7)
            seen.extend(entry.sequence for entry in page.entries)
            after = page.sequence

    seen: list[list[int]] = [[], []]
    threads = [threading.Thread(target=write, args=(own,)) for own in range(4)]
    threads += [threading.Thread(target=follow, args=(stores[i], seen[i])) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert seen == [list(range(1, 241))] * 2
    assert {entry.origin for entry in entries(stores[0])} == {one.origin for one in stores}
    for one in stores:
        one.close()


def test_pages_are_limited_and_of_the_kinds_asked_for(store: Store) -> None:
    for n in range(5):
        submit(store, Submission(f"e{n}", (CLICK, SHOWN)), saved(f"s{n}", f"p{n}", f"q{n}"))
    first = store.tail(0, limit=2)
    assert [entry.sequence for entry in first.entries] == [2, 4]
    assert first.sequence == 4
    assert store.tail(4, limit=3).sequence == 10
    assert store.tail(8, limit=9).sequence == 10
    assert store.tail(10) == ([], 10)
    submit(store, Submission("e", (CLICK,)))
    assert store.tail(10) == ([], 11)  # nothing of these kinds: read on after it all the same
    assert [e.changes for e in store.tail(10, kinds=[Event]).entries] == [(CLICK,)]
    assert made(entries(store, limit=1)) == [f"{p}{n}" for n in range(5) for p in "pq"]


@pytest.mark.parametrize("after", [-1, 3])
def test_reading_after_what_is_not_there_is_an_error(store: Store, after: int) -> None:
    submit(store, saved("a"), saved("b"))
    with pytest.raises(StoreError, match=f"has sequences up to 2, not {after}: it is another one"):
        store.tail(after)
    with pytest.raises(StoreError, match="up to 2"):
        store.read_all(after)
    with pytest.raises(StoreError, match="up to 2"):
        store.mark_folded(after)
    with pytest.raises(ConfigError, match=r"limit parameter of Store\.tail"):
        store.tail(0, limit=0)


def test_a_build_gets_tables_up_to_a_sequence(store: Store) -> None:
    submit(store, Submission("k", (BOARD, SAVE)), saved("p2"))
    submit(store, Submission("d", (Deletion("pin", "p2", None, 9),)), saved("later"))
    part = store.read_all(3)
    assert (part.identity, part.sequence) == (store.identity, 3)
    assert part.pins.schema == PINS
    assert part.boards.schema == BOARDS
    assert part.pins["pin_id"].to_pylist() == ["p1", "p2"]
    assert part.pins["created_at"].cast("int64")[0].as_py() == 1_000
    assert part.boards.to_pylist() == [
        {
            "board_id": "b1",
            "title": "Lights",
            "description": "All",
            "category": "home",
            "user_id": "u1",
        }
    ]
    assert part.deletions["id"].to_pylist() == ["p2"]
    assert store.read_all().pins["pin_id"].to_pylist() == ["p1", "p2", "later"]
    assert store.read_all(0).pins.num_rows == 0


def test_events_come_out_as_a_log_of_events(store: Store) -> None:
    submit(store, Submission("a", (SHOWN, CLICK)), saved("p"), Submission("b", (CLICK,) * 3))
    (batch,) = store.event_batches()
    assert batch.schema == LIVE_EVENTS
    assert batch.num_rows == 5
    first = batch.to_pylist()[0]
    assert (first["position"], first["propensity"], first["arm"]) == ("2,5", 0.25, "x:b")
    assert (first["phrase"], first["locale"]) == ("red lamp", "de")
    assert list(store.event_batches(after=3)) == []
    log = join_events(number_events(store.event_batches()))
    assert (len(log), log.duplicates) == (1, 3)  # one impression; three copies of its click


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
def test_batches_of_any_size_have_all_rows_in_order(database: LiveDatabase, rows: int) -> None:
    with open_store(database.where) as store:
        for n in range(4):
            submit(store, saved(f"k{n}", *(f"p{n}-{i}" for i in range(n + 1))))
        found = list(batches(store._tables, Save, 1, 3, rows))
        assert all(0 < batch.num_rows <= rows for batch in found)
        assert [pin for batch in found for pin in batch["pin_id"].to_pylist()] == [
            f"p{n}-{i}" for n in (1, 2) for i in range(n + 1)
        ]


def test_pruning_removes_folded_events_and_keeps_the_catalogue(store: Store) -> None:
    submit(store, Submission("e", (SHOWN, CLICK)), Submission("both", (CLICK, SAVE, BOARD)))
    submit(store, Submission("after", (CLICK,)))
    with pytest.raises(StoreError, match=r"can be pruned: up to 0\. Got 2\. Build first"):
        store.prune(2)
    store.mark_folded(2)
    store.mark_folded(1)  # an older build ends later: nothing is taken back
    assert store.state().folded == 2
    before = store.tail(0)
    assert store.prune(2) == 3
    assert store.prune(2) == 0
    assert store.tail(0) == before
    assert submit(store, Submission("both", (CLICK, SAVE, BOARD))) == [Receipt(2, True)]
    assert [b["time"].cast("int64").to_pylist() for b in store.event_batches(2)] == [[3_001]]
    for read in (lambda: store.tail(1, kinds=[Event]), lambda: list(store.event_batches(1))):
        with pytest.raises(PrunedError, match=r"Events up to sequence 2 were pruned"):
            read()


def test_pruning_goes_on_where_it_was_broken_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinjoin.live.retention._STEP", 2)
    for n in range(5):
        submit(store, Submission(f"e{n}", (CLICK,)))
    store.mark_folded(5)
    original = tables.LiveTables.writing
    calls = 0

    def failing(self: tables.LiveTables) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:  # the state and two sequences are done
            raise OSError("killed")
        return original(self)

    monkeypatch.setattr(tables.LiveTables, "writing", failing)
    with pytest.raises(OSError, match="killed"):
        store.prune(5)
    assert store.state().pruned == 2
    assert store.prune(5) == 3


def test_a_reader_of_events_notices_that_they_are_pruned_under_it(store: Store) -> None:
    for n in range(4):
        submit(store, Submission(f"e{n}", (CLICK,)))
    found = batches(store._tables, Event, 0, 4, rows=1)
    next(found)
    store.mark_folded(4)
    store.prune(3)
    with pytest.raises(PrunedError, match="up to sequence 3"):
        next(found)


def test_what_was_taken_down_is_removed_by_pruning(database: LiveDatabase, store: Store) -> None:
    submit(store, Submission("k", (Board("b1"), Board("b2"), Save("kept", "b2", "i.jpg"))))
    submit(store, saved("l", "p1", board="b2"), saved("m", "p2", board="b1"))
    submit(store, Submission("d", (Deletion("pin", "p1"), Deletion("board", "b1"))))
    store.mark_folded(4)
    assert store.prune(4) == 3
    part = store.read_all()
    assert part.pins["pin_id"].to_pylist() == ["kept"]
    assert part.boards["board_id"].to_pylist() == ["b2"]
    assert part.deletions["id"].to_pylist() == ["p1", "b1"]


def test_one_that_the_database_refuses_is_no_one_elses_failure(
    database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: Any, state: Any, submissions: Any, origin: str) -> Any:
        results = append(connection, state, submissions, origin)
        if any(one.key == "bad" for one in submissions):
            connection.exec_driver_sql("SELECT * FROM nowhere")
        return results

    monkeypatch.setattr(store_module, "append", refuse)
    with open_store(database.where, StoreConfig(linger_s=3600, max_rows=3)) as store:
        a, bad, b = [store.submit(saved(key)) for key in ("a", "bad", "b")]
        assert (a.result(60).sequence, b.result(60).sequence) == (1, 2)
        with pytest.raises(StoreError, match="nowhere") as error:
            bad.result(60)
        assert not isinstance(error.value, UnavailableError)  # which would be tried again
        assert made(entries(store)) == ["a", "b"]


def test_many_that_open_a_new_database_make_it_once(database: LiveDatabase) -> None:
    patient = StoreConfig(lock_s=30)
    stores: list[Store] = []
    threads = [
        threading.Thread(target=lambda: stores.append(open_store(database.where, patient)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 6
    assert len({one.identity for one in stores}) == 1
    assert len({one.origin for one in stores}) == 6
    for one in stores:
        one.close()


def test_a_newer_version_is_refused(database: LiveDatabase, store: Store) -> None:
    database.execute(f"UPDATE pinjoin_live SET version = {tables.VERSION + 1}")
    message = f"knows versions up to {tables.VERSION}. Update pinjoin"
    with pytest.raises(VersionError, match=message):
        open_store(database.where)
    with pytest.raises(VersionError, match=message):  # also one that was open before
        store.submit(saved("k")).result(60)
    with pytest.raises(VersionError, match=message):
        store.tail(0)


def test_an_older_version_is_brought_up_to_date(
    database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(database.where) as old:
        submit(old, saved("k"))
        now = tables.VERSION
        steps = {
            now: ("ALTER TABLE pinjoin_saves ADD COLUMN colour TEXT",),
            now + 1: (
                "UPDATE pinjoin_saves SET colour = 'red'", "UPDATE pinjoin_live SET folded = 1",
            ),
        }  # fmt: skip
        monkeypatch.setattr(tables, "VERSION", now + 2)
        monkeypatch.setattr(tables, "STEPS", steps)
        message = f"is of version {now}, this pinjoin needs {now + 2}. Open it"
        with pytest.raises(VersionError, match=message):
            old.tail(0)
        with open_store(database.where) as new:
            assert new.identity == old.identity
            assert new.state() == (now + 2, old.identity, 1, 1, 0)
        assert database.execute("SELECT colour FROM pinjoin_saves") == [("red",)]


def test_events_of_version_1_come_without_phrase_and_locale(database: LiveDatabase) -> None:
    with open_store(database.where) as old:
        submit(old, Submission("a", (SHOWN,)))
    database.execute(
        "ALTER TABLE pinjoin_events DROP COLUMN phrase",
        "ALTER TABLE pinjoin_events DROP COLUMN locale",
        "UPDATE pinjoin_live SET version = 1",
    )
    with open_store(database.where) as new:
        submit(new, Submission("b", (SHOWN,)))
        found = pa.Table.from_batches(new.event_batches()).select(
            ["request_id", "phrase", "locale"]
        )
    assert [list(row.values()) for row in found.to_pylist()] == [
        [SHOWN.request_id, None, None],
        [SHOWN.request_id, "red lamp", "de"],
    ]


def test_a_step_that_fails_changes_nothing(
    database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(database.where).close()
    now = tables.VERSION
    monkeypatch.setattr(tables, "VERSION", now + 1)
    steps = "ALTER TABLE pinjoin_saves ADD COLUMN colour TEXT", "SELECT * FROM nowhere"
    monkeypatch.setattr(tables, "STEPS", {now: steps})
    with pytest.raises(StoreError, match="nowhere"):
        open_store(database.where)
    monkeypatch.undo()
    with open_store(database.where) as store:
        submit(store, saved("k"))
    with pytest.raises(Exception, match="colour"):
        database.execute("SELECT colour FROM pinjoin_saves")


def test_a_database_that_is_locked_is_an_error_until_it_is_free(
    database: LiveDatabase, store: Store
) -> None:
    submit(store, saved("before"))
    with database.lock():
        with pytest.raises(UnavailableError, match=r"lock.*the same key can be used again"):
            store.submit(saved("k")).result(60)
        assert made(entries(store)) == ["before"]  # reading goes on
    assert submit(store, saved("k")) == [Receipt(2, False)]


def test_a_database_that_is_gone_is_an_error_until_it_is_back(
    database: LiveDatabase, store: Store
) -> None:
    submit(store, saved("before"))
    database.take_away()
    for n in range(2):
        with pytest.raises(UnavailableError, match="The live database .* (failed|was removed)"):
            store.submit(saved(f"k{n}")).result(60)
        with pytest.raises(UnavailableError, match="The live database"):
            store.tail(0)
    with pytest.raises(UnavailableError, match="The live database"):
        open_store(database.where, QUICK)
    database.bring_back()
    assert submit(store, saved("k1"), saved("k0")) == [Receipt(2, False), Receipt(3, False)]
    assert made(entries(store)) == ["before", "k1", "k0"]


def test_who_did_not_look_meanwhile_notices_no_absence(
    database: LiveDatabase, store: Store
) -> None:
    submit(store, saved("before"))
    assert store.state().last == 1
    database.take_away()
    database.bring_back()
    assert made(entries(store)) == ["before"]


def test_patience_outlasts_a_short_absence(database: LiveDatabase) -> None:
    with open_store(database.where, StoreConfig(patience_s=60, lock_s=0.5)) as store:
        submit(store, saved("before"))
        database.take_away()
        waiting = [store.submit(saved(f"k{n}")) for n in range(3)]
        time.sleep(0.3)
        assert not any(one.done() for one in waiting)
        database.bring_back()
        assert [one.result(60).sequence for one in waiting] == [2, 3, 4]


def test_a_commit_whose_answer_is_lost_is_stored_once(
    database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after the commit: whether it went through is not known."""
    with open_store(database.where, StoreConfig(patience_s=60)) as store:
        engine = store._tables._database._engine
        commit: Callable[[Any], None] = engine.dialect.do_commit
        losses = [database.connection_lost()]

        def lose(connection: Any) -> None:
            commit(connection)
            if losses:
                raise losses.pop()

        monkeypatch.setattr(engine.dialect, "do_commit", lose)
        assert submit(store, saved("k")) == [Receipt(1, True)]
        assert not losses
        assert made(entries(store)) == ["k"]


def test_another_database_in_its_place_is_refused(database: LiveDatabase, store: Store) -> None:
    database.execute("UPDATE pinjoin_live SET identity = 'other'")
    with pytest.raises(StoreError, match="was replaced by another one while it was in use"):
        store.submit(saved("k")).result(60)
    with pytest.raises(StoreError, match="was replaced by another one"):
        store.tail(0)


class Client(RuleBasedStateMachine):
    """A client that repeats, contradicts itself and loses answers, and a model of what is kept."""

    database: LiveDatabase

    @initialize()
    def start(self) -> None:
        self.prefix = f"{time.monotonic_ns()}-"
        self.kept: dict[str, tuple[int, Submission]] = {}
        self.pins: set[str] = set()
        self.store = open_store(self.database.where, StoreConfig(linger_s=0))
        self.begin = self.store.state().last

    def teardown(self) -> None:
        self.store.close()

    def expect(self, one: Submission) -> int | None:
        """The sequence that a submission must get; None for a conflict."""
        if one.key in self.kept:
            sequence, first = self.kept[one.key]
            return sequence if first.changes == one.changes else None
        pins = {change.pin_id for change in one.changes if isinstance(change, Save)}
        if pins & self.pins:
            return None
        self.pins |= pins
        self.kept[one.key] = self.begin + len(self.kept) + 1, one
        return self.kept[one.key][0]

    @rule(
        chosen=st.lists(
            st.tuples(st.sampled_from("abcd"), st.sets(st.sampled_from("wxyz"), min_size=1)),
            min_size=1,
            max_size=5,
        )
    )
    def submit(self, chosen: list[tuple[str, set[str]]]) -> None:
        p = self.prefix
        submissions = [
            saved(p + key, *sorted(p + key + pin if pin < "z" else p + pin for pin in pins))
            for key, pins in chosen
        ]
        futures = [self.store.submit(one) for one in submissions]
        for one, future in zip(submissions, futures, strict=True):
            expected = self.expect(one)
            if expected is None:
                with pytest.raises(ConflictError):
                    future.result(60)
            else:
                assert future.result(60).sequence == expected

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        sequence, one = self.kept[data.draw(st.sampled_from(sorted(self.kept)))]
        assert self.store.submit(one).result(60) == (sequence, True)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = open_store(self.database.where, StoreConfig(linger_s=0))

    @invariant()
    def all_is_kept_once_and_in_order(self) -> None:
        found = [(e.sequence, e.key) for e in entries(self.store, self.begin)]
        assert found == [(sequence, key) for key, (sequence, _) in self.kept.items()]


def test_whatever_a_client_repeats_is_stored_once(database: LiveDatabase) -> None:
    machine = type("OnDatabase", (Client,), {"database": database})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=10, deadline=None)
    )


def test_the_page_on_live_data_says_what_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "docs/live.md").read_text("utf-8")
    program, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)  # the other needs a build
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    assert "pin_id='p9'" in capsys.readouterr().out
    for field in dataclasses.fields(StoreConfig):
        (default,) = re.findall(rf"\| `{field.name}` \| ([\d,.]+) \|", page)
        assert float(default.replace(",", "")) == field.default
    for table in tables.METADATA.tables:
        assert f"`{table}`" in page
