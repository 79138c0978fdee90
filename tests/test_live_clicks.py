"""Live events in what people did: as a log that holds them all, each once, from where it ends."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_build import build

import pinjoin
from pinjoin.data.event_log import join_events, number_events
from pinjoin.data.events import EVENTS
from pinjoin.live import clicks
from pinjoin.live.changes import Event
from pinjoin.live.clicks import ClickCounter, LiveClicks
from pinjoin.live.store import Store, open_store
from pinjoin.live.submissions import Submission
from pinjoin.ranking.navboost import Navboost
from pinjoin.recommender import Workspace

START = 1_700_000_000
NAMES = ["img/kettle.jpg", "img/cup.jpg", "img/sky.jpg", "img/lonely.jpg", "img/unknown.jpg"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("clicks")
    build(folder, encoder=None)
    return pinjoin.open(folder / "ws")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "live.db") as opened:
        yield opened


def event(request: int, query: int, candidate: int, action: str = "impression") -> Event:
    return Event(
        f"r{request}", NAMES[query], NAMES[candidate], action,
        position=str(1 + candidate % 3), device="phone", time=START + request,
    )  # fmt: skip


def submit(store: Store, events: list[Event]) -> None:
    key = f"test:{random.random()}"
    store.submit(Submission(key, tuple(events))).result()


def counted(workspace: Workspace, events: list[Event]) -> Navboost:
    """A log of these events, read as one."""
    columns = EVENTS.names
    rows = [{name: getattr(one, name) for name in columns} for one in events]
    log = join_events(number_events([pa.RecordBatch.from_pylist(rows, schema=EVENTS)]))
    return Navboost.of_log(log.with_rows(workspace.find_all(log.items)))


def some(seed: int, requests: int) -> list[Event]:
    """Impressions, some of them repeated, then actions, some without an impression."""
    rng = random.Random(seed)
    events = []
    for request in range(requests):
        query, *shown = rng.sample(range(5), 4)
        acted = [(c, a) for c in shown for a in ("click", "save", "hide") if rng.random() < 0.3]
        events += [event(request, query, c) for c in shown]
        events += [event(request, query, c, a) for c, a in acted * rng.choice((1, 2))]
        events += [event(request, query, shown[0])] * (rng.random() < 0.2)
    return [*events, event(requests, 0, 1, "click")]


@pytest.mark.parametrize("seed", range(3))
def test_live_events_count_as_in_a_log_that_holds_them(
    workspace: Workspace, store: Store, seed: int
) -> None:
    before, after = some(seed, 60), some(seed + 10, 40)
    after = [replace_request(one) for one in after]
    whole = counted(workspace, [*before, *after])
    log = counted(workspace, before)
    boost = Navboost(whole.rates, table=at(whole, before, workspace), places=whole.places)
    assert len(log.table)
    counter = ClickCounter(boost, workspace, store)
    cut = len(after) // 3
    for part in (after[:cut], after[cut:]):
        submit(store, part)
        counter.read_on()
    assert counter.read_on() == 0
    rows = np.arange(workspace.n_images)
    for query in range(workspace.n_images):
        np.testing.assert_allclose(boost.values(query, rows), whole.values(query, rows), atol=1e-12)


def replace_request(one: Event) -> Event:
    """Of another request, after those of the log."""
    return Event(f"later-{one.request_id}", one.query, one.candidate, one.action, one.position,
                 one.device, time=one.time + 10_000)  # fmt: skip


def at(whole: Navboost, events: list[Event], workspace: Workspace):
    """What some events count at the rates of all."""
    part = counted(workspace, events)
    rates = np.array([whole.rates[whole.cell(*place)] for place in part.places])
    rows = [{name: getattr(one, name) for name in EVENTS.names} for one in events]
    log = join_events(number_events([pa.RecordBatch.from_pylist(rows, schema=EVENTS)]))
    return Navboost.at_rates(log.with_rows(workspace.find_all(log.items)), rates).table


def test_what_the_log_had_is_not_counted_again(workspace: Workspace, store: Store) -> None:
    boost = Navboost(np.array([0.5]), places=[("1", "phone", None)], until=START + 10)
    submit(store, [event(request, 1, 0) for request in (3, 10, 11, 12)])
    assert ClickCounter(boost, workspace, store).read_on() == 2
    assert boost.sums(workspace.find(NAMES[1]), [workspace.find(NAMES[0])])[1] == [2 * 0.5]


def test_what_is_not_known_is_passed_over(workspace: Workspace, store: Store) -> None:
    boost = Navboost(np.array([0.5]), places=[("1", "phone", None)])
    submit(store, [event(1, 4, 0), event(1, 0, 4), event(1, 2, 2), event(1, 0, 2)])
    assert ClickCounter(boost, workspace, store).read_on() == 1
    expected = boost.sums(workspace.find(NAMES[0]), [workspace.find(NAMES[2])])[1]
    assert expected == [0.5]  # at a place the log did not know: as the mean


def test_pruned_events_are_not_missed_loudly(workspace: Workspace, store: Store) -> None:
    submit(store, [event(1, 0, 1)])
    store.mark_folded(1)
    store.prune(1)
    submit(store, [event(2, 0, 1), event(2, 0, 1, "click")])
    boost = Navboost(np.array([0.5]))
    assert ClickCounter(boost, workspace, store).read_on() == 2


def test_a_thread_counts_what_comes_soon_after_for_every_model(
    workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    boost, query, row = Navboost(np.array([0.1])), *map(workspace.find, NAMES[:2])
    monkeypatch.setattr(workspace, "navboosts", {"control": boost})
    with LiveClicks(workspace, store):
        submit(store, [event(1, 0, 1), event(1, 0, 1, "click")])
        assert soon(lambda: boost.values(query, [row])[0] > 0)
        submit(store, [event(2, 0, 1)])
        assert soon(lambda: boost.sums(query, [row])[1][0] > 0.15)
        late = workspace.navboosts["treatment"] = Navboost(np.array([0.3]))
        assert soon(lambda: late.sums(query, [row])[1][0] == pytest.approx(2 * 0.3))
    assert boost.sums(query, [row])[1][0] == pytest.approx(2 * 0.1)


def test_an_error_in_between_counts_nothing_twice(
    workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    boost, query, row = Navboost(np.array([0.1])), *map(workspace.find, NAMES[:2])
    counter, there = ClickCounter(boost, workspace, store), store.event_batches
    monkeypatch.setattr(clicks, "_AT_ONCE", 2)
    monkeypatch.setattr(clicks, "_KEPT", 1)  # impressions: earlier ones are forgotten
    for request in range(6):
        submit(store, [event(request, 0, 1)])

    def batches(after: int, end: int) -> Iterator[pa.RecordBatch]:
        yield from there(after, end)
        if end == 4:
            raise OSError("the disk is gone")

    monkeypatch.setattr(store, "event_batches", batches)
    with pytest.raises(OSError, match="gone"):
        counter.read_on()
    monkeypatch.setattr(store, "event_batches", there)
    assert counter.read_on() == 4
    assert boost.sums(query, [row])[1][0] == pytest.approx(6 * 0.1)


def test_a_database_that_is_away_is_tried_again(
    workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    boost, query, row = Navboost(np.array([0.1])), *map(workspace.find, NAMES[:2])
    monkeypatch.setattr(workspace, "navboosts", {"log": boost})
    following, there = LiveClicks(workspace, store), store.event_batches
    away = [True]

    def batches(*given: int) -> Iterator[pa.RecordBatch]:
        if away[0]:
            raise OSError("the disk is gone")
        return there(*given)

    monkeypatch.setattr(store, "event_batches", batches)
    with following:
        submit(store, [event(1, 0, 1)])
        assert soon(lambda: "the disk is gone" in caplog.text)
        away[0] = False
        submit(store, [event(2, 0, 1)])
        assert soon(lambda: boost.sums(query, [row])[1][0] == pytest.approx(0.2))
    assert caplog.text.count("Live clicks are not counted") == 1


def soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.01)
    return False
