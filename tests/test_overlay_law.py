"""A snapshot and what is live on it are the snapshot that would be built of the same rows."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pinjoin
from pinjoin.candidates.cooccurrence import SCORES, Cooccurrence, CooccurrenceConfig
from pinjoin.candidates.walk import RandomWalk, WalkConfig
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import NO_ROW
from pinjoin.live.changes import Board, Change, Deletion, Save
from pinjoin.live.overlay import Overlay
from pinjoin.live.submissions import Entry
from pinjoin.live.version import Version

WALK = WalkConfig(exact_saves=10**9)
BOARD_IDS = [f"b{i}" for i in range(5)]
NEW_BOARDS = [f"n{i}" for i in range(3)]
IMAGES = [f"img/{i}.jpg" for i in range(9)]
NEW_IMAGES = [f"img/new{i}.jpg" for i in range(3)]
TITLES = [None, "Red lamp", "A blue chair", "Lamp for kitchens"]


def rows_of_base() -> tuple[list[Save], list[Board]]:
    """Some pins of eight images on five boards; the ninth image is on none."""
    rng = np.random.default_rng(3)
    saves = [
        Save(f"p{i}", f"b{rng.integers(5)}", IMAGES[rng.integers(8)], TITLES[rng.integers(4)], None,
             None, None, 1_000_000 + i)
        for i in range(30)
    ]  # fmt: skip
    lonely = Save("p30", None, IMAGES[8], "Alone", None, None, None, 1_000_100)
    boards = [
        Board(id, f"Board {id}", None, "Home" if i % 2 else None) for i, id in enumerate(BOARD_IDS)
    ]
    return [*saves, lonely], boards


SAVES, BOARDS = rows_of_base()


def build(folder: Path, saves: Sequence[Save], boards: Sequence[Board]) -> pinjoin.Workspace:
    names = ["pin_id", "board_id", "image", "title", "created_at"]
    with (folder / "pins.csv").open("w", newline="") as file:
        rows = [[getattr(one, name) for name in names] for one in saves]
        csv.writer(file).writerows([names, *rows])
    with (folder / "boards.csv").open("w", newline="") as file:
        rows = [[one.board_id, one.title, one.category] for one in boards]
        csv.writer(file).writerows([["board_id", "title", "category"], *rows])
    pins, boards_source = (
        pinjoin.open_source(kind, str(folder / f"{kind}.csv")) for kind in ("pins", "boards")
    )
    pinjoin.build(folder / "ws", pins, boards_source, train=False)
    return pinjoin.open(folder / "ws")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> pinjoin.Workspace:
    return build(tmp_path_factory.mktemp("base"), SAVES, BOARDS)


@st.composite
def changes(draw: Any) -> list[Change]:
    """Saves, boards that are made once each, and takedowns, in any order."""
    board = st.sampled_from([*BOARD_IDS, *NEW_BOARDS, "unknown", None])
    image = st.sampled_from([*IMAGES, *NEW_IMAGES])
    save = st.tuples(st.just("save"), board, image, st.sampled_from(TITLES))
    taken = st.one_of(
        st.tuples(st.just("pin"), st.sampled_from([f"p{i}" for i in range(31)])),
        st.tuples(st.just("pin"), st.sampled_from([f"q{i}" for i in range(20)])),
        st.tuples(st.just("board"), st.sampled_from([*BOARD_IDS, *NEW_BOARDS])),
        st.tuples(st.just("image"), image),
    )
    made = draw(st.lists(st.sampled_from(NEW_BOARDS), unique=True))
    rows = draw(st.lists(st.one_of(save, save, save, taken), max_size=25))
    found: list[Change] = [Board(id, f"New {id}", None, "Home") for id in made]
    for i, (kind, *about) in enumerate(rows):
        if kind == "save":
            at, what, title = about
            found.append(Save(f"q{i}", at, what, title, None, None, None, 2_000_000 + i))
        else:
            found.append(Deletion(kind, about[0]))
    return draw(st.permutations(found))


def left(given: Sequence[Change]) -> tuple[list[Save], list[Board]]:
    """The rows of a table that has it all, less what is taken down."""
    gone = {(one.kind, one.id) for one in given if isinstance(one, Deletion)}
    boards = [*BOARDS, *(one for one in given if isinstance(one, Board))]
    boards = [one for one in boards if ("board", one.board_id) not in gone]
    known = {None, *(one.board_id for one in boards)}
    saves = [*SAVES, *(one for one in given if isinstance(one, Save))]
    return [
        one for one in saves
        if one.board_id in known
        and not {("pin", one.pin_id), ("image", one.image)} & gone
    ], boards  # fmt: skip


def overlaid(base: pinjoin.Workspace, given: Sequence[Change], at_once: int, rows: int) -> Version:
    overlay = Overlay(base.path, base.snapshot, 0, "count", rows)
    for first in range(0, len(given), at_once):
        overlay.apply([Entry(first + 1, "", "", tuple(given[first : first + at_once]))], first + 1)
    return overlay.newest


def pairs_graph(saves: Sequence[Save], boards: Sequence[Board]) -> tuple[Incidence, list[str]]:
    """Who is on which board, the plain way: images in the order of their names."""
    names = sorted({one.image for one in saves})
    of_board = {one.board_id: row for row, one in enumerate(boards)}
    on_one = [one for one in saves if one.board_id is not None]
    graph = Incidence.from_pairs(
        np.array([of_board[one.board_id] for one in on_one], np.int64),
        np.array([names.index(one.image) for one in on_one], np.int64),
        len(boards),
        len(names),
    )
    return graph, names


def there(version: pinjoin.Workspace) -> dict[str, int]:
    """Row by signature, of what is not taken down."""
    return {name: row for row, name in enumerate(version.signatures().to_pylist()) if name}


def by_name(rows: Any, values: Any, names: dict[int, str]) -> dict[str, float]:
    return {names[row]: value for row, value in zip(rows.tolist(), values.tolist(), strict=True)}


def same_as(graph: Any, rows: dict[str, int], other: Incidence, others: dict[str, int]) -> None:
    """Counts, scores and walks of every image are the same, by name."""
    assert sorted(rows) == sorted(others)
    assert graph.n_saves == other.n_saves
    names, other_names = ({row: name for name, row in d.items()} for d in (rows, others))
    most = max(graph.n_images, 1)
    for score in SCORES:
        config = CooccurrenceConfig(score)
        ours, theirs = Cooccurrence(graph, config), Cooccurrence(other, config)
        for name, row in rows.items():
            found, expected = ours.top(row, most), theirs.top(others[name], most)
            counts = by_name(found.indices, found.counts, names)
            assert counts == by_name(expected.indices, expected.counts, other_names)
            assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), rel=1e-6)
            scores = by_name(found.indices, found.scores, names)
            wanted = by_name(expected.indices, expected.scores, other_names)
            assert scores == pytest.approx(wanted, rel=1e-6)
    walks, other_walks = RandomWalk(graph, WALK), RandomWalk(other, WALK)
    for name, row in rows.items():
        visits, wanted = walks.top(row, most), other_walks.top(others[name], most)
        assert visits.exact
        ours = by_name(visits.rows, visits.scores, names)
        assert ours == pytest.approx(by_name(wanted.rows, wanted.scores, other_names), abs=1e-6)


@given(changes(), st.integers(1, 9), st.sampled_from([1, 64]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_counts_scores_and_walks_are_those_of_all_rows(base, given, at_once, room):
    version = overlaid(base, given, at_once, room)
    graph, names = pairs_graph(*left(given))
    same_as(version.graph, there(version), graph, {name: row for row, name in enumerate(names)})


@given(changes(), st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
def test_a_build_of_all_rows_answers_the_same(base, given, at_once):
    version = overlaid(base, given, at_once, 64)
    saves, boards = left(given)
    if not saves:
        return
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = build(Path(folder), saves, boards)
        rows, others = there(version), there(rebuilt)
        same_as(version.graph, rows, rebuilt.graph, others)
        assert version.n_pins == rebuilt.n_pins
        assert version.graph.boards_there == rebuilt.n_boards
        for name, row in rows.items():
            [ours], [theirs] = version.describe([row]), rebuilt.describe([others[name]])
            assert ours == theirs
            ours, theirs = version.pinjoin(row), rebuilt.pinjoin(others[name])
            assert ours.pins == theirs.pins
            assert by_id(ours.boards) == by_id(theirs.boards)
        for one in boards:
            ours, theirs = (ws.board(ws.find_board(one.board_id)) for ws in (version, rebuilt))
            assert (ours.title, ours.category) == (theirs.title, theirs.category)
            assert on_board(version, ours) == on_board(rebuilt, theirs)
        for one in saves:
            assert version.find(one.pin_id) == rows[one.image]
        asked = ["unknown", *(f"p{i}" for i in range(31)), *IMAGES, *NEW_IMAGES]
        ours, theirs = ([found(ws, id) for id in asked] for ws in (version, rebuilt))
        assert ours == theirs


def by_id(boards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(boards, key=lambda one: one["board_id"])


def on_board(ws: pinjoin.Workspace, board: Any) -> set[str]:
    return {one["signature"] for one in ws.describe(board.images)}


def found(ws: pinjoin.Workspace, id: str) -> str | None:
    try:
        return ws.describe([ws.find(id)])[0]["signature"]
    except pinjoin.core.errors.UnknownIdError:
        return None


def test_what_no_pin_shows_is_no_row_of_a_list(base):
    given = [Deletion("pin", one.pin_id) for one in SAVES if one.image == IMAGES[0]]
    version = overlaid(base, given, 3, 64)
    assert NO_ROW not in version.graph.by_board.values[:10]
    assert IMAGES[0] not in there(version)
    assert len(there(version)) == 8
