"""From tables to a snapshot to answers."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from references import count_matrix

import pinjoin
from pinjoin.core.errors import InputError, SnapshotError, UnknownIdError
from pinjoin.core.types import NO_ROW

BOARDS = [("b1", "Sunny kitchens", "Home"), ("b2", "Blue things", None), ("b3", "", "Art")]
PINS = [
    ("p1", "b1", "img/kettle.jpg", "Kettle"),
    ("p2", "b1", "./img/cup.jpg", ""),
    ("p3", "b2", "img//cup.jpg", "Blue cup"),
    ("p4", "b2", "img/kettle.jpg", "A kettle"),
    ("p5", "b2", "img/sky.jpg", "Sky"),
    ("p6", "b2", "img/sky.jpg", "Sky again, same board"),
    ("p7", "", "img/lonely.jpg", "Lonely"),
]


def write(path: Path, header: list[str], rows: list[tuple]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def build(folder: Path, pins=PINS, boards=BOARDS, workspace="ws", **options):
    return pinjoin.build(
        folder / workspace,
        pinjoin.open_source(
            "pins", str(write(folder / "pins.csv", ["pin_id", "board_id", "image", "title"], pins))
        ),
        pinjoin.open_source(
            "boards", str(write(folder / "boards.csv", ["board_id", "title", "category"], boards))
        ),
        base=folder,
        **options,
    )


@pytest.fixture
def workspace(tmp_path) -> pinjoin.Workspace:
    build(tmp_path)
    return pinjoin.open(tmp_path / "ws")


def test_the_summary_counts(tmp_path):
    summary = build(tmp_path)
    assert summary.pins == 7
    assert summary.images == 4, "cup is written in two ways, kettle and sky are pinned twice"
    assert summary.boards == 3
    assert summary.saves == 5, "sky on b2 twice counts once; lonely is on no board"
    assert summary.on_no_board == 1
    assert summary.rejects == {}
    assert summary.rejects_file is None


def test_rows_are_by_popularity_then_signature(workspace):
    assert workspace.signatures().to_pylist() == [
        "img/cup.jpg",  # two boards
        "img/kettle.jpg",  # two boards, k after c
        "img/sky.jpg",
        "img/lonely.jpg",
    ]
    assert workspace.incidence.degrees.tolist() == [2, 2, 1, 0]


def test_a_pinjoin_knows_its_pins_and_boards(workspace):
    cup = workspace.pinjoin(workspace.find("p2"))
    assert cup.row == 0
    assert cup.image == "./img/cup.jpg", "as the first pin wrote it"
    assert cup.pin_id == "p2"
    assert cup.title == "Blue cup", "the first pin has no title, the second has"
    assert [pin["pin_id"] for pin in cup.pins] == ["p2", "p3"]
    assert [board["board_id"] for board in cup.boards] == ["b1", "b2"]
    lonely = workspace.pinjoin(3)
    assert lonely.boards == []
    assert lonely.pins[0]["title"] == "Lonely"


def test_a_boardjoin_holds_distinct_images_most_popular_first(workspace):
    board = workspace.board(workspace.find_board("b2"))
    assert (board.title, board.category) == ("Blue things", None)
    assert board.images.tolist() == [0, 1, 2]
    with pytest.raises(UnknownIdError, match="'b22' is not .* Did you mean 'b2'"):
        workspace.find_board("b22")


def test_related_counts_shared_boards_and_names_them(workspace):
    kettle, sky, lonely = workspace.related("img/cup.jpg")
    assert (kettle.title, kettle.shared_boards, kettle.score) == ("Kettle", 2, 2.0)
    assert kettle.source == "co-occurrence"
    assert [board["title"] for board in kettle.reasons["boards"]] == [
        "Sunny kitchens",  # two images: smaller than
        "Blue things",  # three
    ]
    assert (sky.signature, sky.shared_boards, sky.source) == ("img/sky.jpg", 1, "co-occurrence")
    assert (lonely.signature, lonely.shared_boards, lonely.source) == (
        "img/lonely.jpg",
        0,
        "popular",
    )
    assert workspace.related("img/cup.jpg", 1) == [kettle]
    assert workspace.related("p2", explain=False)[0].reasons == {}


@pytest.mark.parametrize("id", ["p2", "p3", "img/cup.jpg", "./img/cup.jpg", "img//cup.jpg"])
def test_an_image_is_found_by_pin_signature_or_any_spelling(workspace, id):
    assert workspace.find(id) == 0


@pytest.mark.parametrize("signature", ["reference", "pixels"])
def test_many_are_found_as_each_is(tmp_path, signature):
    for name, colour in [("kettle", "red"), ("cup", "blue"), ("sky", "cyan"), ("lonely", "pink")]:
        path = tmp_path / "img" / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(path)
    build(tmp_path, signature=signature, encoder=None)
    workspace = pinjoin.open(tmp_path / "ws")
    ids = ["./img/cup.jpg", "p1", "nobody", None, "img//sky.jpg", "p7"]
    ids += workspace.signatures().to_pylist()
    known = [-1 if id in ("nobody", None) else workspace.find(id) for id in ids]
    assert len(set(known)) == 5
    column = pa.chunked_array([ids[:3], ids[3:]], pa.string())
    assert workspace.find_all(column).tolist() == known


def test_an_unknown_id_suggests_close_ones(workspace):
    with pytest.raises(UnknownIdError, match=r"'img/cap.jpg' is not a pin id.*'img/cup.jpg'"):
        workspace.related("img/cap.jpg")


def test_bad_rows_are_listed_and_good_ones_kept(tmp_path):
    pins = [*PINS, ("p1", "b3", "img/new.jpg", "Again"), ("p9", "nowhere", "img/x.jpg", "X")]
    boards = [*BOARDS, ("b1", "Second of its name", "")]
    summary = build(tmp_path, pins, boards)
    assert (summary.pins, summary.images, summary.boards) == (7, 4, 3)
    assert (summary.rejected_pins, summary.rejected_boards) == (2, 1)
    listed = [json.loads(line) for line in Path(summary.rejects_file).read_text().splitlines()]
    assert [(line["column"], line["value"]) for line in listed] == [
        ("board_id", "b1"),
        ("board_id", "nowhere (of pin p9)"),
        ("pin_id", "p1"),
    ]
    workspace = pinjoin.open(tmp_path / "ws")
    assert workspace.pinjoin(workspace.find("p1")).image == "img/kettle.jpg", "the first is kept"
    with pytest.raises(UnknownIdError):
        workspace.find("img/new.jpg")
    assert workspace.snapshot.array("pin_image")[7] == NO_ROW
    with pytest.raises(InputError, match="b1"):
        build(tmp_path, pins, boards, workspace="strict", strict=True)
    with pytest.raises(SnapshotError):
        pinjoin.open(tmp_path / "strict")


def test_a_failed_build_leaves_the_last_one_current(tmp_path):
    build(tmp_path)
    with pytest.raises(InputError, match="none of its rows can be used"):
        build(tmp_path, pins=[("", "", "", "")])
    assert pinjoin.open(tmp_path / "ws").n_pins == 7


def digests(workspace: Path) -> dict[str, str]:
    snapshot = pinjoin.open(workspace).snapshot
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in snapshot.path.iterdir()
        if file.suffix in (".npy", ".arrow")
    }


def test_two_builds_of_one_input_have_the_same_bytes(tmp_path):
    build(tmp_path, workspace="one")
    build(tmp_path, workspace="two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) > 10


ROWS = st.lists(
    st.tuples(st.sampled_from(["", *"ABCDEF"]), st.sampled_from([f"i{n}" for n in range(12)])),
    min_size=1,
    max_size=60,
)


@given(ROWS)
@settings(max_examples=25)
def test_the_joins_equal_their_definition(tmp_path_factory, rows):
    pins = [(f"p{n}", board, image, f"t{n}") for n, (board, image) in enumerate(rows)]
    folder = tmp_path_factory.mktemp("joins")
    build(folder, pins, [(name, name, None) for name in "ABCDEF"])
    workspace = pinjoin.open(folder / "ws")
    on = {image: {board for board, i in rows if i == image and board} for _, image in rows}
    expected = sorted(on, key=lambda image: (-len(on[image]), image))
    assert workspace.signatures().to_pylist() == expected
    boards = [[expected.index(i) for b, i in rows if b == name] for name in "ABCDEF"]
    counts = count_matrix(boards, len(expected))
    for row, image in enumerate(expected):
        joined = workspace.pinjoin(row)
        assert [p["pin_id"] for p in joined.pins] == [p[0] for p in pins if p[2] == image]
        assert {b["board_id"] for b in joined.boards} == on[image]
        found = workspace.related(image, 50)
        assert sorted(one.signature for one in found) == sorted(set(expected) - {image})
        assert {one.signature: one.shared_boards for one in found} == {
            other: int(counts[row, at]) for at, other in enumerate(expected) if other != image
        }
        assert all((one.source == "co-occurrence") == (one.shared_boards > 0) for one in found)


def test_pixels_join_files_of_other_names(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 30), "red").save(photos / "red.png")
    Image.new("RGB", (40, 30), "red").save(photos / "red-copy.bmp")
    Image.new("RGB", (40, 30), "blue").save(photos / "blue.png")
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    pins = [
        ("p1", "b1", "photos/red.png", "Red"),
        ("p2", "b2", "photos/red-copy.bmp", ""),
        ("p3", "b1", "photos/blue.png", "Blue"),
        ("p4", "b2", "photos/broken.png", "Broken"),
    ]
    summary = build(tmp_path, pins, images=photos, signature="pixels")
    assert summary.images == 3
    assert summary.rejects == {}
    assert sum(summary.image_faults.values()) == 1
    [fault] = (tmp_path / "ws" / "images.rejects.jsonl").read_text().splitlines()
    assert "broken.png" in fault
    workspace = pinjoin.open(tmp_path / "ws")
    red = workspace.find("photos/red-copy.bmp")
    assert red == workspace.find("p1") == workspace.find("./photos/red.png")
    assert workspace.incidence.degrees[red] == 2
    assert {one.title for one in workspace.related("p1")} == {"Blue", "Broken"}
    assert summary.pictures == 2
    assert workspace.image_path(red) == photos / "red.png"


def test_real_movies(data, tmp_path):
    folder = data / "movies"
    pinjoin.build(
        tmp_path,
        pinjoin.open_source("pins", str(folder / "pins.csv")),
        pinjoin.open_source("boards", str(folder / "boards.csv")),
        base=folder,
    )
    workspace = pinjoin.open(tmp_path)
    assert (workspace.n_images, workspace.n_boards) == (2345, 5128)
    titles = [one.title for one in workspace.related("images/1.jpg", 5)]
    assert "Lion King, The (1994)" in titles
    assert "Aladdin (1992)" in titles
    path = workspace.image_path(workspace.find("images/1.jpg"))
    assert path is not None
    assert path.name == "1.jpg"


BUILD_FOR_EVER = """
import sys, pinjoin
folder = sys.argv[1]
while True:
    pinjoin.build(folder + "/ws", pinjoin.open_source("pins", folder + "/pins.csv"),
                  pinjoin.open_source("boards", folder + "/boards.csv"), train=False)
    print("built", flush=True)
"""


@pytest.mark.slow
def test_a_build_killed_anywhere_leaves_the_last_good_one(tmp_path):
    rng = np.random.default_rng(5)
    boards = [(f"b{n}", f"Board {n}", "") for n in range(500)]
    pins = [
        (f"p{n}", f"b{rng.integers(500)}", f"images/{int(rng.zipf(1.4)) % 3_000}.jpg", f"Title {n}")
        for n in range(40_000)
    ]
    summary = build(tmp_path, pins, boards)
    delays = random.Random(1)
    for _ in range(24):
        child = subprocess.Popen(
            [sys.executable, "-c", BUILD_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        child.stdout.readline()  # it is up and building its second
        time.sleep(delays.uniform(0, 0.5))
        os.kill(child.pid, signal.SIGKILL)
        child.stdout.close()
        child.wait()
        workspace = pinjoin.open(tmp_path / "ws", verify="full")
        assert (workspace.n_pins, workspace.n_images) == (summary.pins, summary.images)
        assert workspace.related(workspace.signatures()[0].as_py(), 3)
    build(tmp_path, pins, boards)
    hidden = [p for p in (tmp_path / "ws" / "snapshots").iterdir() if p.name.startswith(".")]
    assert hidden == [], "what the killed builds left is cleared by the next"
