"""Pictures of new images: looked at in the background, by the encoder of the snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_build import build
from test_overlay import Live

from pinjoin.core.errors import UnknownIdError
from pinjoin.live import pictures
from pinjoin.live.changes import Save
from pinjoin.serving.encoding import Heads
from pinjoin.serving.switching import Now
from pinjoin.serving.writes import takedown_of


def picture(number: int) -> Image.Image:
    """A red one, coloured blocks, stripes."""
    blocks = np.random.default_rng(0).integers(0, 255, (8, 8, 3))
    stripes = np.where(np.arange(160) // 8 % 2, 255, 0)[:, None, None]
    pixels = [
        np.full((160, 160, 3), (200, 30, 40)),
        np.kron(blocks, np.ones((20, 20, 1))),
        np.tile(stripes, (1, 160, 3)),
    ]
    return Image.fromarray(pixels[number].astype(np.uint8))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def opened(folder: Path, **options) -> Live:
    photos = folder / "photos"
    photos.mkdir()
    for number in range(3):
        picture(number).save(photos / f"{number}.png")
    pins = [(f"p{i}", f"b{i}", f"photos/{i}.png", "") for i in range(3)]
    build(
        folder, pins, [(f"b{i}", "", "") for i in range(3)], images=photos, train=False, **options
    )
    picture(1).save(photos / "again.png", compress_level=0)
    picture(1).save(photos / "copy.jpg", quality=90)
    return Live(folder)


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Iterator[Live]:
    found = opened(tmp_path_factory.mktemp("seen"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def by_pixels(tmp_path_factory) -> Iterator[Live]:
    found = opened(tmp_path_factory.mktemp("signed"), signature="pixels")
    yield found
    found.close()


def test_a_new_picture_finds_what_looks_alike_and_is_found(live):
    live.submit(Save("q1", None, "photos/copy.jpg"))
    row = live.ws.find("q1")
    wait_for(lambda: bool(live.ws.pictures.present[row]))
    found = live.ws.related("q1", 3)
    assert (found[0].pin_id, found[0].source) == ("p1", "visual neighbours")
    alike = [one.reasons["visual_similarity"] for one in found]
    assert alike[0] > max(alike[1:])
    outside = live.ws.related(str(live.ws.path.parent / "photos" / "copy.jpg"), 2)
    assert outside[0].pin_id == "q1"
    fields = live.ws.pair_features().packed
    assert fields.row(row)[fields.layout.offsets["flags"]] & 1, "the ranker knows, too"
    sized = [name for name, _ in fields.layout.quality].index("quality.sized")
    start = fields.layout.offsets["quality"]
    assert fields.row(row)[start:].view(np.float32)[sized] == 1


def test_what_cannot_be_read_is_left_alone(live):
    (live.ws.path.parent / "photos" / "broken.jpg").write_bytes(b"no picture")
    live.submit(Save("q2", None, "photos/broken.jpg", "Broken"), Save("q3", None, "photos/no.jpg"))
    live.submit(Save("q4", None, "photos/again.png"))
    wait_for(lambda: bool(live.ws.pictures.present[live.ws.find("q4")]))
    assert not live.ws.pictures.present[live.ws.find("q2")]
    assert live.ws.pinjoin(live.ws.find("q2")).title == "Broken"


def test_pictures_of_the_same_pixels_are_one_image(by_pixels):
    live = by_pixels
    live.submit(Save("q1", "b0", "photos/again.png"), Save("q2", "b0", "photos/copy.jpg"))
    wait_for(lambda: known(live, "q1") and known(live, "q2"))
    assert live.ws.find("q1") == live.ws.find("p1") == live.ws.find("photos/again.png")
    assert live.ws.find("q2") == live.ws.find("photos/copy.jpg") == 3
    assert len(live.ws.signatures()[3].as_py()) == 64
    for row in (1, 3):
        assert live.related("p0")[signature(live, row)] == ("co-occurrence", 1)


def test_a_pin_that_waits_for_its_picture_can_be_taken_down(by_pixels, monkeypatch):
    live, sign, looked_at = by_pixels, pictures.signature_of_images, threading.Event()

    def slowly(*given: Any, **options: Any) -> Any:
        looked_at.wait()
        return sign(*given, **options)

    monkeypatch.setattr(pictures, "signature_of_images", slowly)
    picture(2).save(live.ws.path.parent / "photos" / "slow.png", compress_level=1)
    live.submit(Save("q7", "b0", "photos/slow.png"))
    assert not known(live, "q7")
    now = Now(live.ws.now, Heads(live.ws.now, {}))
    live.submit(*takedown_of(now, "pin", "q7", None).changes)
    looked_at.set()
    wait_for(lambda: "photos/slow.png" not in live.ws._overlay._ledger.unsigned)
    assert not known(live, "q7")
    with pytest.raises(UnknownIdError):
        takedown_of(Now(live.ws.now, Heads(live.ws.now, {})), "pin", "q7", None)


def test_a_picture_that_is_not_there_is_signed_by_its_reference(by_pixels):
    live = by_pixels
    live.submit(Save("q5", "b2", "photos//gone.jpg"))
    wait_for(lambda: known(live, "q5"))
    assert signature(live, live.ws.find("q5")) == "photos/gone.jpg"
    live.submit(Save("q6", "b1", "photos/gone.jpg"))
    assert live.ws.find("q6") == live.ws.find("q5")


def known(live: Live, id: str) -> bool:
    try:
        live.ws.find(id)
    except UnknownIdError:
        return False
    return True


def signature(live: Live, row: int) -> str:
    return live.ws.signatures()[row].as_py()
