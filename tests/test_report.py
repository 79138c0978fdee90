"""The report: what it shows, that it loads nothing, that bad pictures or words do not break it."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pinjoin
from pinjoin.builder import build
from pinjoin.core.errors import ConfigError, InputError, UnknownIdError
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import Related
from pinjoin.data.sources import open_source
from pinjoin.recommender import Workspace
from pinjoin.report import why, write_report
from pinjoin.report.charts import bar_chart, plain, whole
from pinjoin.report.figures import choose_queries, cover, largest_boards, levels, shared_counts
from pinjoin.report.pictures import Pictures, thumbnail
from pinjoin.stats import Bar, Distribution

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Twelve images: 0–8 have pictures (8 is damaged), the rest are references only."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "images").mkdir()
    for i in range(9):
        colour = (20 * i, 100, 255 - 20 * i)
        Image.new("RGB", (300, 400) if i % 2 else (500, 300), colour).save(
            folder / "images" / f"{i}.jpg"
        )
    (folder / "images" / "8.jpg").write_bytes(b"\xff\xd8\xff no picture")
    boards = {f"b{k}": [i for i in range(12) if i % k == 0] for k in range(1, 7)}
    with (folder / "pins.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["pin_id", "board_id", "image", "title"])
        for b, images in boards.items():
            for i in images:
                title = HOSTILE if i == 0 else f"Pin {i}"
                table.writerow([f"{b}-{i}", b, f"images/{i}.jpg", title])
    (folder / "boards.csv").write_text(
        "board_id,title,category\n" + "".join(f"{b},<b>Board</b> {b},Cats & dogs\n" for b in boards)
    )
    build(
        folder / "ws",
        open_source("pins", folder / "pins.csv"),
        open_source("boards", folder / "boards.csv"),
        base=folder,
    )
    return pinjoin.open(folder / "ws")


class Page(HTMLParser):
    """Collects what a browser would load or run, and checks that elements nest."""

    VOID = frozenset(["meta", "img", "br", "link", "input"])

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.loads += [given[key] or "" for key in ("src", "href", "srcset") if key in given]
        if tag == "img":
            self.pictures.append(given)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_report_loads_nothing_and_runs_nothing(workspace: Workspace, tmp_path: Path) -> None:
    page = read(write_report(workspace, tmp_path / "r.html"))
    assert page.pictures
    assert all(load.startswith("data:image/jpeg;base64,") for load in page.loads)
    assert not page.tags & {"script", "link", "iframe", "object"}
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text


def test_report_shows_numbers_charts_examples_and_boards(
    workspace: Workspace, tmp_path: Path
) -> None:
    page = read(write_report(workspace, tmp_path / "r.html"))
    for words in ("What belongs together", "Low", "High", "Related items", "The largest boards"):
        assert words in page.text
    assert f"{workspace.n_pins:,}" in page.text
    assert "svg" in page.tags


def test_words_of_people_are_escaped(workspace: Workspace, tmp_path: Path) -> None:
    path = write_report(workspace, tmp_path / "r.html", queries=["b1-0"])
    assert HOSTILE not in path.read_text(encoding="utf-8")
    page = read(path)
    assert HOSTILE in page.text
    assert "<b>Board</b> b1" in page.text


def test_every_picture_has_words_and_unreadable_ones_become_cards(
    workspace: Workspace, tmp_path: Path
) -> None:
    page = read(write_report(workspace, tmp_path / "r.html", queries=["images/8.jpg"]))
    assert all(picture["alt"] for picture in page.pictures)
    assert "1 picture could not be read and is shown by title" in page.text
    assert "Pin 8" in page.text


def test_same_seed_same_bytes(workspace: Workspace, tmp_path: Path) -> None:
    pages = [
        write_report(workspace, tmp_path / f"{i}.html", n_queries=2, seed=seed).read_bytes()
        for i, seed in enumerate((5, 5, 6))
    ]
    assert pages[0] == pages[1]
    assert pages[0] != pages[2]


def test_report_without_queries_has_only_numbers(workspace: Workspace, tmp_path: Path) -> None:
    page = read(write_report(workspace, tmp_path / "r.html", n_queries=0))
    assert "Related items" not in page.text
    assert "The largest boards" in page.text


def test_unknown_query_leaves_no_file(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UnknownIdError, match="'nope' is not"):
        write_report(workspace, tmp_path / "r.html", queries=["nope"])
    assert not (tmp_path / "r.html").exists()


def test_catalogue_without_pairs_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "pins.csv").write_text("pin_id,board_id,image\np,b,https://example.org/1.jpg\n")
    (tmp_path / "boards.csv").write_text("board_id,title\nb,\n")
    sources = [open_source(kind, tmp_path / f"{kind}.csv") for kind in ("pins", "boards")]
    build(tmp_path / "ws", *sources)
    page = read(write_report(pinjoin.open(tmp_path / "ws"), tmp_path / "r.html"))
    assert "No two images share a board yet." in page.text
    assert "Nothing related is known." in page.text
    assert page.pictures == []


def test_unwritable_place_is_told(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot be written to .*report.html.* another file"):
        write_report(workspace, tmp_path / "file" / "report.html", n_queries=0)


def test_negative_number_of_queries_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"n_queries parameter of write_report .* Got -1"):
        write_report(workspace, tmp_path / "r.html", n_queries=-1)


def incidence_of(boards: list[list[int]], n_images: int) -> Incidence:
    saves = [(board, image) for board, images in enumerate(boards) for image in images]
    columns = np.array(saves, dtype=np.int64).reshape(-1, 2)
    return Incidence.from_pairs(columns[:, 0], columns[:, 1], len(boards), n_images)


def test_levels_by_hand() -> None:
    # Image 0 shares 9 boards with 1, 8 with 2, 3 with 3, 2 with 4, one with 5 and 6, none with 7.
    shared = {1: 9, 2: 8, 3: 3, 4: 2, 5: 1, 6: 1}
    boards = [[0, *(image for image, n in shared.items() if board < n)] for board in range(9)]
    found = levels(incidence_of(boards, 8), 0, 5, np.random.default_rng(0))
    # ln 9 · 2/3 is 9^(2/3) = 4.3: above it high, 1 is low, the rest medium.
    assert [(level.name, level.rows.tolist(), level.counts.tolist()) for level in found] == [
        ("low", [5, 6], [1, 1]),
        ("medium", [3, 4], [3, 2]),
        ("high", [1, 2], [9, 8]),
    ]


def test_equal_counts_are_one_level() -> None:
    found = levels(incidence_of([[0, 1, 2]], 3), 0, 5, np.random.default_rng(0))
    assert [(level.name, level.rows.tolist()) for level in found] == [("low", [1, 2])]


def test_image_on_no_board_has_no_levels() -> None:
    assert levels(incidence_of([[0, 1]], 3), 2, 5, np.random.default_rng(0)) == []


@given(st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=12), st.integers(1, 4))
def test_levels_hold_true_counts_and_never_overlap(boards: list[set[int]], n: int) -> None:
    incidence = incidence_of([sorted(images) for images in boards], 10)
    found = levels(incidence, 0, n, np.random.default_rng(1))
    rows = [int(row) for level in found for row in level.rows]
    assert len(rows) == len(set(rows))
    assert 0 not in rows
    for level in found:
        assert 1 <= len(level.rows) <= n
        for row, count in zip(level.rows, level.counts, strict=True):
            assert count == sum(0 in images and row in images for images in boards)
    tops = [int(level.counts.max()) for level in found]
    assert tops == sorted(tops)
    assert len(found) == 0 or sum(len(level.rows) for level in found) >= 1
    assert len(shared_counts(incidence, 0)[0]) >= len(rows)


def test_queries_come_from_boards_and_follow_the_seed() -> None:
    boards = [list(range(20)), list(range(10))]
    incidence = incidence_of(boards, 40)  # rows 20–39 are on no board
    drawn = [choose_queries(incidence, 4, np.random.default_rng(seed)) for seed in range(20)]
    assert all(len(set(rows)) == 4 and max(rows) < 20 for rows in drawn)
    assert len({tuple(rows) for rows in drawn}) > 1
    assert choose_queries(incidence_of([], 3), 4, np.random.default_rng(0)) == []


def test_largest_boards_and_their_covers() -> None:
    incidence = incidence_of([[0], [0, 1, 2, 3, 4], [5, 6, 7, 8, 9], []], 10)
    assert largest_boards(incidence, 9) == [(1, 5), (2, 5), (0, 1)]
    assert cover(incidence, 1, 3) == [0, 2, 4]
    assert cover(incidence, 0, 3) == [0]


def test_why_names_boards_once_and_counts_the_rest() -> None:
    def reason(titles: list[str | None], shared: int) -> str:
        boards = [{"board_id": f"b{i}", "title": title} for i, title in enumerate(titles)]
        return why(Related("s", "p", "i", None, 1.0, "popular", shared, {"boards": boards}))

    assert reason(["Denim", "Denim", "Summer", "Work"], 9) == "Denim, Summer and 6 more"
    assert reason(["Denim"], 1) == "Denim"
    assert reason([None], 1) == "b0"
    assert reason([], 0) == "popular"


def chart(rows: list[Bar]) -> str:
    return str(
        bar_chart(
            rows,
            name="A & B",
            x_title="x",
            y_title="y",
            height_of=lambda bar: float(bar.count),
            tick=plain,
            value=lambda bar: whole(bar.count),
            tell=lambda bar: f"<{bar.label}>",
        )
    )


def heights(svg: str) -> list[float]:
    return [float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"', svg)]


def test_chart_is_logarithmic_and_escapes() -> None:
    svg = chart([Bar(1, 1, 1000), Bar(2, 2, 100), Bar(3, 4, 10), Bar(5, 9, 0)])
    one, two, three = heights(svg)  # the empty bar is not drawn
    assert one - two == pytest.approx(two - three, abs=0.2)  # equal ratios, equal steps
    assert "A &amp; B" in svg
    assert "&lt;3–4&gt;" in svg


def test_chart_of_nothing_says_so() -> None:
    assert "Nothing to draw" in chart([Bar(1, 1, 0)])


def test_chart_of_a_real_spread_stays_inside() -> None:
    spread = Distribution(tuple(range(1, 3000)), tuple(max(1, 9000 // v) for v in range(1, 3000)))
    svg = chart(spread.bars(singles=4, growth=1.3))
    for x, width in re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg):
        assert 0 <= float(x) <= float(x) + float(width) <= 460


def test_thumbnail_is_small_upright_and_opaque(tmp_path: Path) -> None:
    import base64
    import io

    Image.new("RGBA", (800, 400), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    uri, edge, fills = thumbnail(tmp_path / "clear.png", 200)
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
        assert image.size == (200, 100)
    assert edge == "#ffffff"  # what is transparent is shown on white
    assert not fills
    assert thumbnail(_plain(tmp_path, 300, 400), 200)[2]


def _plain(folder: Path, width: int, height: int) -> Path:
    path = folder / "plain.jpg"
    Image.new("RGB", (width, height), "teal").save(path)
    return path


def test_pictures_are_made_once_and_named(tmp_path: Path) -> None:
    asked: list[int] = []

    def look_up(row: int) -> tuple[str | None, str, Path | None]:
        asked.append(row)
        return None, "https://example.org/a/Red%20dress_2.jpg?w=3", None

    pictures = Pictures(look_up)
    assert pictures.of(3, count=2).alt == "Red dress 2, 2 shared boards"
    assert pictures.of(3, count=1).alt == "Red dress 2, 1 shared board"
    assert pictures.of(3).uri is None
    assert asked == [3]
