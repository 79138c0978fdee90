"""What is live is folded into the next build: snapshot and live rows become one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from live_databases import KINDS, SQLiteDatabase, new_database, submit
from PIL import Image
from test_build import BOARDS, PINS, write

import pinjoin
from pinjoin.cli.build import build as build_command
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.core.ids import as_ids
from pinjoin.folding import Folded
from pinjoin.live.changes import Board, Deletion, Save
from pinjoin.live.errors import StoreError
from pinjoin.live.store import open_store
from pinjoin.live.submissions import Submission
from pinjoin.live.workspace import open_live
from pinjoin.snapshot.reader import Snapshot, open_snapshot

LIVE_BOARDS = (Board("b4", "Attic", category="Art"), Board("b5", "Mistake"))
LIVE_PINS = (
    Save("l1", "b4", "img/sky.jpg", title="Blue sky", created_at=1_700_000_000),
    Save("l2", "b1", "img/new.jpg", description="Never seen", created_at=1_700_000_001),
    Save("l3", None, "./img/lonely.jpg", created_at=1_700_000_002),
    Save("l4", "b5", "img/kettle.jpg", created_at=1_700_000_003),
    Save("l5", "b2", "img/unwanted.jpg", created_at=1_700_000_004),
)
HEADER = ["pin_id", "board_id", "image", "title", "description", "created_at"]
BOARD_HEADER = ["board_id", "title", "category"]


@pytest.fixture(params=KINDS)
def database(request, tmp_path):
    with new_database(request.param, tmp_path) as found:
        yield found


def fill(where, *changes):
    """Store each change as a submission of its own; the last sequence."""
    with open_store(where) as store:
        last = store.state().last
        numbered = enumerate(changes, last + 1)
        submit(store, *(Submission(f"key-{place}", (one,)) for place, one in numbered))
        return store.state().last


def row(pin) -> tuple:
    """A pin as a row of a table: of a Save, or of the four columns of PINS."""
    if isinstance(pin, Save):
        return tuple(getattr(pin, name) for name in HEADER)
    return (*pin, None, None)


def build(folder: Path, workspace: str, pins, boards, **options):
    """Build from these rows (tuples or changes), or from none."""
    sources = []
    if pins is not None:
        rows = [
            tuple(getattr(b, n) for n in BOARD_HEADER) if isinstance(b, Board) else b
            for b in boards
        ]
        tables = {"pins": (HEADER, list(map(row, pins))), "boards": (BOARD_HEADER, rows)}
        sources = [
            pinjoin.open_source(kind, str(write(folder / workspace / f"{kind}.csv", *table)))
            for kind, table in tables.items()
        ]
    options = {"encoder": None, "train": False} | options
    return pinjoin.build(folder / workspace, *sources, base=folder, **options)


def assert_same(found: Snapshot, expected: Snapshot) -> None:
    """All files are equal, byte by byte."""
    files = dict(expected.manifest.files)
    assert dict(found.manifest.files).keys() == files.keys()
    differ = [name for name, entry in files.items() if found.manifest.files[name] != entry]
    assert differ == []


def test_live_rows_join_those_of_the_sources(tmp_path, database):
    sequence = fill(database.where, *LIVE_BOARDS, *LIVE_PINS)
    summary = build(tmp_path, "folded", PINS, BOARDS, database=database.where)
    build(tmp_path, "whole", [*PINS, *LIVE_PINS], [*BOARDS, *LIVE_BOARDS])
    folded, whole = (open_snapshot(tmp_path / name) for name in ("folded", "whole"))
    assert_same(folded, whole)
    assert summary.live == Folded(5, 2, 0, 0, 0)
    assert (summary.pins, summary.rejects) == (12, {})
    with open_store(database.where) as store:
        assert folded.manifest.config["live"] == {
            "identity": store.identity, "sequence": sequence,
        }  # fmt: skip
        assert store.state().folded == sequence
    assert whole.manifest.config["live"] is None


def test_what_was_taken_down_leaves_both(tmp_path, database):
    """A pin, a board with its pins, an image with its pins: of the sources and of what is live."""
    fill(
        database.where, *LIVE_BOARDS, *LIVE_PINS, Deletion("pin", "p1"), Deletion("pin", "l2"),
        Deletion("board", "b3"), Deletion("board", "b5"), Deletion("image", "img/cup.jpg"),
        Deletion("image", "img/unwanted.jpg"), Deletion("pin", "nobody's"),
    )  # fmt: skip
    summary = build(tmp_path, "folded", PINS, BOARDS, database=database.where)
    pins = [pin for pin in [*PINS[3:], *LIVE_PINS] if row(pin)[0] not in ("l2", "l4", "l5")]
    build(tmp_path, "whole", pins, [*BOARDS[:2], LIVE_BOARDS[0]])
    assert_same(*(open_snapshot(tmp_path / name) for name in ("folded", "whole")))
    assert summary.live == Folded(3, 1, 7, 2 + 2 + 2, 2), "l2, l4 and l5, p1, p2 and p3"
    assert summary.rejects == {}, "taken down is not rejected"
    stored = open_snapshot(tmp_path / "folded").table("pins")["pin_id"].to_pylist()
    assert "p1" not in stored, "what it said is gone, too"


def test_what_is_taken_down_stays_away(tmp_path):
    """As the sources bring it again, and what is pruned does not come back, either."""
    where = SQLiteDatabase(tmp_path / "live.db").where
    sequence = fill(where, *LIVE_PINS[:3], Deletion("pin", "l2"), Deletion("image", "img/sky.jpg"))
    boards = [*BOARDS, LIVE_BOARDS[0]]
    build(tmp_path, "ws", PINS, boards, database=where)
    with open_store(where) as store:
        assert store.prune(sequence) == 1, "l2"
    before = open_snapshot(tmp_path / "ws")
    summary = build(tmp_path, "ws", PINS, boards, database=where)
    assert_same(open_snapshot(tmp_path / "ws"), before)
    assert summary.live == Folded(2, 0, 2, 2 + 1, 0), "l1 goes with its image"


def test_what_was_taken_down_before_a_build_does_not_come_back_live(tmp_path, database):
    fill(database.where, *LIVE_BOARDS, LIVE_PINS[1], Deletion("pin", "l2"),
         Deletion("image", "img/sky.jpg"), Deletion("board", "b4"))  # fmt: skip
    build(tmp_path, "ws", PINS, BOARDS, database=database.where)
    with open_store(database.where) as store, open_live(tmp_path / "ws", store) as live:
        before = live.n_pins
        again = (Board("b9"), Save("l9", "b9", "img/sky.jpg"), Save("l8", "b4", "img/cup.jpg"),
                 Save("l7", "b9", "img/cup.jpg"))  # fmt: skip
        [receipt] = submit(store, Submission("again", again))
        live.apply_now(receipt.sequence)
        assert live.find_all(as_ids(["l9", "l8", "img/sky.jpg"])).tolist() == [-1, -1, -1]
        assert live.find("l7") >= 0
        assert live.n_pins == before + 1
        assert live.now.is_taken_down("pin", "l2")
        assert live.now.is_taken_down("board", "b4")
    build(tmp_path, "ws", PINS, BOARDS, database=database.where)
    assert open_snapshot(tmp_path / "ws").manifest.counts["pins"] == before + 1, "a build agrees"


def test_what_was_live_is_the_same_once_it_is_folded(tmp_path, database):
    build(tmp_path, "ws", PINS, BOARDS)
    fill(database.where, *LIVE_BOARDS, *LIVE_PINS, Deletion("image", "img/cup.jpg"))
    with open_store(database.where) as store:
        before = seen(tmp_path / "ws", store)
        build(tmp_path, "ws", PINS, BOARDS, database=database.where)
        assert seen(tmp_path / "ws", store) == before
        assert before[0].keys() == {"img/kettle.jpg", "img/sky.jpg", "img/lonely.jpg",
                                    "img/new.jpg", "img/unwanted.jpg"}  # fmt: skip


def seen(workspace: Path, store) -> tuple[dict[str, set[str]], int]:
    """The boards of each image that is shown, with what is live; and up to which sequence."""
    with open_live(workspace, store, model="count") as live:
        related = live.related("img/sky.jpg", 20, explain=False)
        signatures = ["img/sky.jpg", *(one.signature for one in related)]
        known = [live.pinjoin(live.find(one)) for one in signatures]
        return {one.signature: {b["board_id"] for b in one.boards} for one in known}, live.sequence


@pytest.mark.parametrize("signature", ["pixels", "perceptual"])
def test_an_image_that_was_taken_down_stays_away_under_other_names(tmp_path, signature):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        picture = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "again.png").write_bytes((tmp_path / "a.png").read_bytes())
    names = ["a", "again", "b", "c", "missing"]
    pins = [(f"p{name}", "b1", f"{name}.png", name) for name in names]
    build(tmp_path, "ws", pins, BOARDS, signature=signature)
    workspace = pinjoin.open(tmp_path / "ws")
    gone = [workspace.describe([workspace.find(pin)])[0]["signature"] for pin in ("pa", "pmissing")]
    fill(tmp_path / "ws" / "live.db", *(Deletion("image", one) for one in gone))
    summary = build(tmp_path, "ws", pins, BOARDS, signature=signature)
    build(tmp_path, "whole", pins[2:4], BOARDS, signature=signature)
    assert_same(*(open_snapshot(tmp_path / name) for name in ("ws", "whole")))
    assert summary.live == Folded(0, 0, 2, 3, 0)


def test_a_pin_taken_down_makes_way_for_no_other_of_its_id(tmp_path):
    """Whichever row comes first where a pin_id is given twice, none is left."""
    where = tmp_path / "live.db"
    fill(where, Deletion("pin", "p1"))
    build(tmp_path, "ws", [*PINS, ("p1", "b2", "img/other.jpg", "Again")], BOARDS, database=where)
    build(tmp_path, "whole", PINS[1:], BOARDS)
    assert_same(*(open_snapshot(tmp_path / name) for name in ("ws", "whole")))


def test_the_first_pin_of_an_id_may_be_of_an_image_that_is_gone(tmp_path):
    """Then the next of that id counts, as if the first had never been there."""
    where = tmp_path / "live.db"
    fill(where, Deletion("image", "img/kettle.jpg"))
    pins = [*PINS, ("p1", "b2", "img/other.jpg", "Again")]
    summary = build(tmp_path, "ws", pins, BOARDS, database=where)
    build(tmp_path, "whole", [*PINS[1:3], *PINS[4:], pins[-1]], BOARDS)
    assert_same(*(open_snapshot(tmp_path / name) for name in ("ws", "whole")))
    assert summary.rejects == {}


def test_a_live_pin_that_the_sources_have_already_is_listed(tmp_path):
    """As after an export of the live part: the source's row is kept."""
    where = tmp_path / "live.db"
    fill(where, LIVE_BOARDS[0], LIVE_PINS[0])
    summary = build(
        tmp_path, "ws", [*PINS, LIVE_PINS[0]], [*BOARDS, LIVE_BOARDS[0]], database=where
    )
    assert (summary.rejected_pins, summary.rejected_boards) == (1, 1)
    lines = Path(summary.rejects_file).read_text().splitlines()
    rejects = [(line["column"], line["value"]) for line in map(json.loads, lines)]
    assert rejects == [("board_id", "b4"), ("pin_id", "l1")]
    assert summary.pins == 8


def test_a_live_pin_on_a_board_that_nobody_made_is_listed(tmp_path):
    where = tmp_path / "live.db"
    fill(where, LIVE_PINS[0])
    summary = build(tmp_path, "ws", PINS, BOARDS, database=where)
    assert summary.rejects == {"no row of the boards table has this board_id": 1}


def test_columns_of_ones_own_are_unknown_of_live_pins(tmp_path):
    where = tmp_path / "live.db"
    fill(where, *LIVE_PINS[1:2])
    table = write(
        tmp_path / "pins.csv", ["pin_id", "board_id", "image", "feature_price", "in_stock"],
        [("p1", "b1", "img/a.jpg", 3, "yes"), ("p2", "b1", "img/b.jpg", 4, "no")],
    )  # fmt: skip
    boards = write(tmp_path / "boards.csv", BOARD_HEADER, BOARDS)
    pinjoin.build(
        tmp_path / "ws",
        pinjoin.open_source("pins", str(table), attributes=["in_stock"]),
        pinjoin.open_source("boards", str(boards)),
        database=where, encoder=None, train=False,
    )  # fmt: skip
    pins = open_snapshot(tmp_path / "ws").table("pins")
    assert pins["in_stock"].to_pylist() == [True, False, None]
    assert pins["feature_price"].to_pylist() == [3, 4, None]
    workspace = pinjoin.open(tmp_path / "ws")
    assert {one.pin_id for one in workspace.related("l2", 5, filter="in_stock")} == {"p1"}


IDS = st.sampled_from([f"p{i}" for i in range(12)])
BOARD_IDS = st.sampled_from([f"b{i}" for i in range(4)])
IMAGES = st.sampled_from([f"img/{name}.jpg" for name in "abcdef"])
SAVES = st.lists(st.tuples(IDS, st.none() | BOARD_IDS, IMAGES), unique_by=lambda pin: pin[0])
DELETIONS = st.lists(
    st.one_of(
        st.tuples(st.just("pin"), IDS),
        st.tuples(st.just("board"), BOARD_IDS),
        st.tuples(st.just("image"), IMAGES),
    ),
    max_size=4,
)


@given(SAVES, st.integers(0, 12), DELETIONS, st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_folding_is_building_from_everything(tmp_path_factory, saves, live_from, gone, board_from):
    """law: build(sources + live) = build(sources with those rows, without what was taken down)."""
    folder = tmp_path_factory.mktemp("law")
    boards = [Board(f"b{i}", f"Board {i}") for i in range(4)]
    pins = [Save(*pin, title=f"Title {pin[0]}", created_at=10**9) for pin in saves]
    changes = [*boards[3 - board_from :], *pins[live_from:], *(Deletion(*one) for one in gone)]
    fill(folder / "live.db", *changes)
    left = [
        pin for pin in pins
        if not {("pin", pin.pin_id), ("board", pin.board_id), ("image", pin.image)} & set(gone)
    ]  # fmt: skip
    boards_left = [board for board in boards if ("board", board.board_id) not in gone]
    given = pins[:live_from], boards[: 3 - board_from]
    if not left or not boards_left:
        with pytest.raises(InputError, match=r"taken down|none of its rows|no rows|is empty"):
            build(folder, "folded", *given, database=folder / "live.db")
        return
    if not given[0]:
        return  # a table without rows is an error of its own
    build(folder, "folded", *given, database=folder / "live.db")
    build(folder, "whole", left, boards_left)
    assert_same(*(open_snapshot(folder / name) for name in ("folded", "whole")))


# From a workspace's own database, and its errors.


def run(*args: object, expected: int = 0) -> str:
    result = CliRunner().invoke(build_command, [*map(str, args)], catch_exceptions=False)
    assert result.exit_code == expected, result.output
    return result.output if expected else result.stdout


def test_an_app_without_tables_is_built_from_what_is_live(tmp_path):
    workspace = tmp_path / "ws"
    workspace.mkdir()
    fill(workspace / "live.db", *LIVE_BOARDS, *LIVE_PINS[:4], Deletion("board", "b5"))
    said = run(workspace, "--encoder", "none")
    assert "1 takedowns removed 1 pins and 1 boards" in said
    assert pinjoin.open(workspace).n_images == 2, "sky, lonely; there is no b1 for the new one"
    assert "1 × no row of the boards table has this board_id" in said
    again = json.loads(run(workspace, "--encoder", "none", "--json"))
    assert again["live"] == {
        "saves": 3, "boards": 1, "takedowns": 1, "removed_pins": 1, "removed_boards": 1,
    }  # fmt: skip


def test_the_command_folds_in_and_says_so(tmp_path):
    for kind, header, rows in (("pins", HEADER, map(row, PINS)), ("boards", BOARD_HEADER, BOARDS)):
        write(tmp_path / f"{kind}.csv", header, list(rows))
    tables = ["--pins", tmp_path / "pins.csv", "--boards", tmp_path / "boards.csv"]
    given = [tmp_path / "ws", *tables, "--encoder", "none"]
    assert "live" not in run(*given).replace("live.db", "")
    fill(tmp_path / "other.db", LIVE_BOARDS[0], LIVE_PINS[0])
    said = run(*given, "--database", tmp_path / "other.db")
    assert "1 pins and 1 boards are from the live database" in said
    fill(tmp_path / "ws" / "live.db", LIVE_PINS[2])
    assert "1 pins and 0 boards are from the live database" in run(*given)
    assert "was built from tables" in run(tmp_path / "ws", "--encoder", "none", expected=2)
    fill(tmp_path / "ws" / "live.db", *LIVE_BOARDS)
    run(tmp_path / "ws", "--encoder", "none", "--live-only")
    run(tmp_path / "ws", "--encoder", "none")


def test_nothing_to_build_from_is_wrong_usage(tmp_path):
    assert "Missing option '--pins'" in run(tmp_path / "ws", expected=2)
    with pytest.raises(InputError, match=r"nothing to build .*--pins P --boards B.*live\.db"):
        pinjoin.build(tmp_path / "ws")
    with pytest.raises(InputError, match=r"no live database .*nowhere\.db"):
        pinjoin.build(tmp_path / "ws", database=tmp_path / "nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()


def test_a_database_without_a_row_is_nothing_to_build_from(tmp_path):
    fill(tmp_path / "live.db", Deletion("pin", "p1"))
    with pytest.raises(InputError, match="the live part: no row is left.*--pins and --boards"):
        pinjoin.build(tmp_path / "ws", database=tmp_path / "live.db", encoder=None)


def test_a_live_database_that_cannot_be_read_stops_the_build_before_any_work(tmp_path, monkeypatch):
    build(tmp_path, "ws", PINS, BOARDS)
    before = open_snapshot(tmp_path / "ws").name
    (tmp_path / "ws" / "live.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"live\.db"):
        build(tmp_path, "ws", PINS, BOARDS)
    for module in [name for name in sys.modules if name.startswith("pinjoin.live.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"pip install 'pinjoin\[serve\]'"):
        build(tmp_path, "ws", PINS, BOARDS)
    assert open_snapshot(tmp_path / "ws").name == before
    (tmp_path / "ws" / "live.db").unlink()
    build(tmp_path, "ws", PINS, BOARDS)


def test_a_database_that_goes_away_meanwhile_costs_no_snapshot(tmp_path, caplog):
    where = tmp_path / "live.db"
    fill(where, LIVE_BOARDS[0], LIVE_PINS[0])

    def progress(what, total):
        if what.startswith("verifying"):
            where.write_bytes(b"gone")
        return pinjoin.core.progress.silent(what, total)

    summary = build(tmp_path, "ws", PINS, BOARDS, database=where, progress=progress)
    assert open_snapshot(tmp_path / "ws").name == summary.snapshot
    assert "the database was not told" in caplog.text
