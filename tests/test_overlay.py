"""What is live on top of a snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_build import build

import pinjoin
from pinjoin.core.errors import SnapshotError, UnknownIdError
from pinjoin.live.changes import Board, Change, Deletion, Save
from pinjoin.live.errors import UnavailableError
from pinjoin.live.overlay import Overlay
from pinjoin.live.store import Store, open_store
from pinjoin.live.submissions import Entry, Submission
from pinjoin.live.workspace import LiveWorkspace, open_live


class Live:
    """A workspace, its store, and what is submitted seen at once."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = open_store(folder / "live.db")
        self.ws: LiveWorkspace = open_live(folder / "ws", self.store)
        self._n = 0

    def submit(self, *changes: Change) -> None:
        self._n += 1
        receipt = self.store.submit(Submission(f"{self.store.origin}:{self._n}", changes)).result()
        self.ws.apply_now(receipt.sequence)

    def related(self, id: str) -> dict[str, tuple[str, int]]:
        return {one.signature: (one.source, one.shared_boards) for one in self.ws.related(id, 50)}

    def close(self) -> None:
        self.ws.close()
        self.store.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(folder, train=False)
    return folder


@pytest.fixture
def live(built, tmp_path) -> Iterator[Live]:
    (tmp_path / "ws").symlink_to(built / "ws")
    opened = Live(tmp_path)
    yield opened
    opened.close()


def test_a_save_shows_within_50_ms(live):
    live.submit(Save("q0", "b3", "img/sky.jpg"))  # compiled now
    live.related("p1")
    start = time.monotonic()
    live.submit(Save("q1", "b3", "img/kettle.jpg"))
    assert live.related("p5")["img/kettle.jpg"] == ("co-occurrence", 2)
    assert time.monotonic() - start < 0.5, "0.05, were nothing else at work here"


def test_new_boards_and_images_are_there_at_once(live):
    live.submit(
        Board("b9", "Kitchen corner", category="Home"),
        Save("q1", "b9", "img/kettle.jpg"),
        Save("q2", "b9", "img//new.jpg", "A kitchen kettle", created_at=0),
    )
    assert live.related("q2")["img/kettle.jpg"] == ("co-occurrence", 1)
    assert live.related("p1")["img/new.jpg"] == ("co-occurrence", 1)
    known = live.ws.pinjoin(live.ws.find("./img/new.jpg"))
    assert (known.signature, known.image, known.pin_id) == ("img/new.jpg", "img//new.jpg", "q2")
    assert [pin["title"] for pin in known.pins] == ["A kitchen kettle"]
    assert known.pins[0]["created_at"].isoformat() == "1970-01-01T00:00:00+00:00"
    assert [board["board_id"] for board in known.boards] == ["b9"]
    board = live.ws.board(live.ws.find_board("b9"))
    on_it = [one["signature"] for one in live.ws.describe(board.images)]
    assert on_it == ["img/kettle.jpg", "img/new.jpg"]
    assert (live.ws.n_images, live.ws.n_boards, live.ws.n_pins) == (5, 4, 9)


def test_what_is_taken_down_is_gone_from_every_answer(live):
    live.submit(Deletion("image", "img/sky.jpg"))
    assert "img/sky.jpg" not in live.related("p1")
    for id in ("p5", "p6", "img/sky.jpg"):
        with pytest.raises(UnknownIdError):
            live.ws.find(id)
    live.submit(Save("q1", "b1", "img/sky.jpg"))
    with pytest.raises(UnknownIdError):
        live.ws.find("q1")


def test_a_pair_stays_while_another_pin_makes_it(live):
    live.submit(Save("q1", "b2", "img/kettle.jpg"), Deletion("pin", "p4"))
    assert live.related("p5")["img/kettle.jpg"] == ("co-occurrence", 1)
    live.submit(Deletion("pin", "q1"))
    assert live.related("p5")["img/kettle.jpg"][1] == 0


def test_versions_stay_as_they_are(live):
    before = live.ws.now
    live.submit(Save("q1", "b3", "img/kettle.jpg"), Save("q2", "b3", "img/new.jpg"))
    assert before.n_images == 4
    assert len(before.graph.images_of(before.find_board("b3"))) == 0
    with pytest.raises(UnknownIdError):
        before.find("img/new.jpg")
    assert live.ws.n_images == 5


def test_what_is_said_of_a_new_image_finds_it_and_what_is_like_it(live):
    """No board in common with anything: words and categories tell."""
    live.submit(Save("q1", None, "img/new.jpg", "Blue cup"), Save("q2", None, "img/odd.jpg", "Xyz"))
    assert live.ws.annotations.of(live.ws.find("q1"))
    found = live.ws.related("q1", 5)
    assert (found[0].signature, found[0].source) == ("img/cup.jpg", "text neighbours")
    assert found[0].reasons["words"] == ["blue"]
    backwards = {one.signature: one for one in live.ws.related("p7", 5)}
    assert set(backwards) == {"img/cup.jpg", "img/kettle.jpg", "img/sky.jpg", "img/new.jpg",
                              "img/odd.jpg"}  # fmt: skip
    live.submit(Board("b9", "Cups", category="Home"), Save("q3", "b9", "img/new.jpg"))
    assert live.ws.categories.of(live.ws.find("q1")) == [("Home", 1.0)]
    named = live.ws.show(live.ws.find("q1"))
    assert [one["name"] for one in named["categories"]] == ["Home"]


def test_more_is_said_of_a_new_image_with_each_pin(live):
    live.submit(Save("q1", None, "img/new.jpg", "Blue"))
    before = {name for name, _ in live.ws.annotations.of(live.ws.find("q1"))}
    live.submit(Save("q2", None, "img/new.jpg", "Kitchens"))
    after = {name for name, _ in live.ws.annotations.of(live.ws.find("q1"))}
    assert before < after
    live.submit(Deletion("pin", "q2"))
    assert {name for name, _ in live.ws.annotations.of(live.ws.find("q1"))} == before


def test_what_is_said_stays_when_room_is_made(live):
    small = Overlay(live.ws.path, pinjoin.open(live.ws.path).snapshot, 0, None, rows=1)
    small.apply([Entry(1, "", "", (Save("q1", None, "img/new.jpg", "Blue"),))], 1)
    before = small.newest
    others = tuple(Save(f"r{i}", "b1", f"img/r{i}.jpg") for i in range(5))
    small.apply([Entry(2, "", "", others)], 2)
    for version in (before, small.newest):
        assert [name for name, _ in version.annotations.of(4)] == ["blue"]
        assert version.related("q1", 1)[0].signature == "img/cup.jpg"
    assert len(small.newest.related("r4", 50)) == 9
    small.close()


def test_filters_are_of_the_pins_there_are_now(live):
    def fits(text: str) -> set[str]:
        return {one.signature for one in live.ws.related("p7", 50, filter=text)}

    assert fits("boards >= 2") == {"img/cup.jpg", "img/kettle.jpg"}
    assert fits("title = 'Sky'") == {"img/sky.jpg"}
    live.submit(Save("q1", "b1", "img/sky.jpg"), Save("q2", None, "img/new.jpg", "Sky"))
    assert fits("boards >= 2") == {"img/cup.jpg", "img/kettle.jpg", "img/sky.jpg"}
    assert fits("title = 'Sky'") == {"img/sky.jpg", "img/new.jpg"}
    assert fits("pins > 2") == {"img/sky.jpg"}
    live.submit(Deletion("pin", "p5"), Deletion("board", "b1"))
    assert fits("boards >= 2") == set()
    assert fits("title = 'Sky'") == {"img/new.jpg"}
    assert fits("created_at > '2020-01-01'") == {"img/new.jpg"}


def test_suggestions_are_of_what_is_there(live):
    with pytest.raises(UnknownIdError, match="img/cup.jpg"):
        live.ws.find("img/cap.jpg")
    live.submit(Deletion("image", "img/cup.jpg"))
    with pytest.raises(UnknownIdError) as error:
        live.ws.find("img/cap.jpg")
    assert "img/cup.jpg" not in str(error.value)
    live.submit(Deletion("board", "b1"))
    with pytest.raises(UnknownIdError) as error:
        live.ws.find_board("b0")
    assert set(error.value.suggestions) == {"b2", "b3"}


def test_the_images_of_a_new_board_are_near_in_walks_that_keep_to_categories(live):
    live.submit(Board("b9", "Homes", category="Home"), Save("q1", "b9", "img/sky.jpg"))
    assert len(live.ws.board_categories) == 4
    assert live.ws.board_categories[3] == live.ws.board_categories[0]
    assert len(live.ws.related("p1", 10, near="category")) == 3


def test_requests_that_run_while_much_is_saved_see_whole_versions(live):
    """Every answer fits the version that gave it: no counter is left behind by another."""
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        rng = np.random.default_rng(threading.get_ident())
        while not stop.is_set():
            now = live.ws.now
            row = int(rng.integers(now.n_images))
            found = now.retrieval.find(row)
            graph = now.graph
            for other, count in zip(
                found.rows.tolist(), found.signals.counts.tolist(), strict=True
            ):
                shared = len(np.intersect1d(graph.boards_of(row), graph.boards_of(other)))
                if shared != count:
                    wrong.append(f"{row} {other}: {count}, not {shared}")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    live.submit(*[Board(f"n{i}") for i in range(20)])
    for i in range(60):
        image = f"img/new{i % 15}.jpg"
        live.submit(Save(f"q{i}", f"n{i % 20}", image), Save(f"r{i}", "b1", image))
        if i % 7 == 6:
            live.submit(Deletion("pin", f"r{i - 3}"))
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_processes_see_each_others_saves_within_a_second(live, tmp_path):
    with open_store(tmp_path / "live.db") as store, open_live(tmp_path / "ws", store) as other:
        live.submit(Save("q1", "b3", "img/kettle.jpg"))
        start = time.monotonic()
        while "q1" not in ids_of(other, "p1"):
            assert time.monotonic() - start < 1
            time.sleep(0.01)


def test_what_was_saved_before_is_there_from_the_start(live, tmp_path):
    live.submit(Save("q1", "b3", "img/new.jpg"))
    with open_live(tmp_path / "ws", live.store) as again:
        assert again.find("q1") == 4
        assert again.sequence == live.ws.sequence == 1


def test_without_a_store_nothing_is_live(live, tmp_path):
    with open_live(tmp_path / "ws", None) as ws:
        assert ws.n_images == 4
        assert [one.signature for one in ws.related("p1", 2)] == ["img/cup.jpg", "img/sky.jpg"]


def test_a_snapshot_with_another_databases_live_part_is_refused(built, tmp_path):
    folder = tmp_path / "folded"
    folder.mkdir()
    build(folder, train=False)
    with open_store(tmp_path / "live.db") as store, open_live(folder / "ws", store) as ws:
        manifest = ws.snapshot.manifest
        manifest.config["live"] = {"identity": store.identity, "sequence": 0}
        overlay = LiveWorkspace(folder / "ws", ws.snapshot, store)
        overlay.close()
        manifest.config["live"] = {"identity": "another", "sequence": 0}
        with pytest.raises(SnapshotError, match="its database|another, and the one given"):
            LiveWorkspace(folder / "ws", ws.snapshot, store)


def test_what_cannot_be_applied_in_time_is_said(live):
    with pytest.raises(UnavailableError, match="has got to sequence 0, not yet to 5"):
        live.ws.apply_now(5, timeout_s=0.05)


def test_more_than_a_page_is_read_at_once(live, monkeypatch):
    monkeypatch.setattr("pinjoin.live.workspace._PAGE", 2)
    saves = [Save(f"q{i}", "b3", f"img/new{i}.jpg") for i in range(7)]
    futures = [live.store.submit(Submission(save.pin_id, (save,))) for save in saves]
    live.ws.apply_now(max(future.result().sequence for future in futures), timeout_s=2)
    assert len(live.ws.board(live.ws.find_board("b3")).images) == 7


def test_nobody_looks_again_and_again_for_what_is_not_there(live, monkeypatch):
    looked = []
    tail = live.store.tail
    monkeypatch.setattr(live.store, "tail", lambda *given: looked.append(given) or tail(*given))
    with pytest.raises(UnavailableError):
        live.ws.apply_now(5, timeout_s=0.6)
    assert 1 <= len(looked) < 10


def test_an_error_while_applying_does_not_end_the_following(live, monkeypatch, caplog):
    apply = Overlay.apply
    failed = []

    def fail_once(self, entries, sequence) -> None:
        if not failed:
            failed.append(sequence)
            raise MemoryError("none left")
        apply(self, entries, sequence)

    monkeypatch.setattr(Overlay, "apply", fail_once)
    live.submit(Save("q1", "b3", "img/kettle.jpg"))
    assert live.ws.find("q1") == live.ws.find("p1")
    assert "none left" in caplog.text


def ids_of(ws, id: str) -> set[str]:
    return {pin["pin_id"] for pin in ws.pinjoin(ws.find(id)).pins}
