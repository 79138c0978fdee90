"""What is live on top of a snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_build import build

from pinjoin.core.errors import UnknownIdError
from pinjoin.live.changes import Board, Change, Deletion, Save
from pinjoin.live.store import Store, open_store
from pinjoin.live.submissions import Submission
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
