"""Catalogue statistics: distributions by hand, Figure 5 against a triple loop, the command."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import pinjoin
from pinjoin.builder import build
from pinjoin.cli.stats import stats
from pinjoin.core.errors import UnknownIdError
from pinjoin.data.sources import open_source
from pinjoin.stats import Distribution, catalogue_stats, percent, two_digits

# board → images; "lone" is saved to no board, "b" is twice on "x" and counts once.
BOARDS = {"x": "abbc", "y": "ab", "z": "abd", "w": ""}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stats")
    saves = [(board, image) for board, images in BOARDS.items() for image in images]
    pins = [f"p{i},{board},{image}.jpg" for i, (board, image) in enumerate(saves)]
    lines = ["pin_id,board_id,image", *pins, "p99,,lone.jpg"]
    (folder / "pins.csv").write_text("\n".join(lines) + "\n")
    boards = "\n".join(f"{board},Board {board}" for board in BOARDS)
    (folder / "boards.csv").write_text(f"board_id,title\n{boards}\n")
    build(
        folder / "ws",
        open_source("pins", folder / "pins.csv"),
        open_source("boards", folder / "boards.csv"),
    )
    return folder / "ws"


def test_counts_by_hand(workspace: Path) -> None:
    counted = catalogue_stats(pinjoin.open(workspace))
    assert counted.n_pins == 4 + 2 + 3 + 1
    assert counted.n_images == len("abcd") + 1
    assert counted.n_boards == len(BOARDS)
    assert counted.n_saves == 3 + 2 + 3 + 0  # "b" twice on "x" is one save
    assert counted.density == 8 / (5 * 4)
    assert counted.images_on_no_board == 1
    assert counted.images_on_one_board == 2  # c and d
    assert counted.pins_per_image == Distribution((1, 3, 4), (3, 1, 1))  # c d lone, a, b
    assert counted.images_per_board == Distribution((0, 2, 3), (1, 1, 2))
    assert counted.boards_per_image == Distribution((0, 1, 3), (1, 2, 2))


def test_pairs_by_hand(workspace: Path) -> None:
    counted = catalogue_stats(pinjoin.open(workspace))
    # x: ab ac bc; y: ab; z: ab ad bd → ab on three boards, four pairs on one, none on two
    assert counted.pair_shares() == [(1, 4, 4 / 5), (3, 1, 1 / 5)]
    assert counted.n_pairs == 5 * 4 // 2


@given(st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=9))
def test_pair_histogram_equals_a_triple_loop(boards: list[set[int]]) -> None:
    from pinjoin.candidates.cooccurrence import pair_histogram
    from pinjoin.core.incidence import Incidence

    saves = [(board, image) for board, images in enumerate(boards) for image in sorted(images)]
    columns = np.array(saves, dtype=np.int64).reshape(-1, 2)
    incidence = Incidence.from_pairs(columns[:, 0], columns[:, 1], len(boards), 8)
    expected: dict[int, int] = {}
    for a, b in combinations(range(8), 2):
        shared = sum(a in images and b in images for images in boards)
        expected[shared] = expected.get(shared, 0) + 1
    found = pair_histogram(incidence)
    assert {c: int(n) for c, n in enumerate(found) if n and c} == {
        c: n for c, n in expected.items() if c
    }


@given(st.lists(st.integers(0, 40), max_size=50))
def test_distribution_says_what_the_numbers_say(numbers: list[int]) -> None:
    spread = Distribution.of(np.array(numbers, dtype=np.int64))
    assert spread.items == len(numbers)
    assert spread.total == sum(numbers)
    assert sum(bar.count for bar in spread.bars()) == len(numbers)
    for percentage in (10, 50, 99):
        expected = np.percentile(numbers, percentage, method="inverted_cdf") if numbers else 0
        assert spread.percentile(percentage) == expected


def test_bars_are_single_then_ranges_without_gaps() -> None:
    bars = Distribution((1, 30), (5, 2)).bars(singles=3, growth=2)
    assert [(bar.low, bar.high, bar.count) for bar in bars] == [
        *((1, 1, 5), (2, 2, 0), (3, 3, 0)),
        *((4, 8, 0), (9, 18, 0), (19, 30, 2)),
    ]


@pytest.mark.parametrize(
    ("share", "said"), [(0.696, "70 %"), (0.0625, "6.2 %"), (0.00047, "0.047 %"), (0, "0 %")]
)
def test_percent_keeps_two_digits(share: float, said: str) -> None:
    assert percent(share) == said == f"{two_digits(100 * share)} %"


def test_command_prints_json_alone_on_stdout(workspace: Path) -> None:
    result = CliRunner().invoke(stats, [str(workspace), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told == catalogue_stats(pinjoin.open(workspace)).to_dict()
    assert told["pairs_by_shared_boards"][0] == {"boards": 1, "pairs": 4, "share": 4 / 5}
    assert told["images_per_board"]["max"] == 3


def test_command_prints_tables(workspace: Path) -> None:
    result = CliRunner().invoke(stats, [str(workspace)])
    assert result.exit_code == 0, result.output
    for words in ("Images per board", "On no board", "5 of 10 pairs share any", "█"):
        assert words in result.stdout


def test_command_writes_the_report(workspace: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "report.html"
    result = CliRunner().invoke(stats, [str(workspace), "--html", str(page), "--query", "a.jpg"])
    assert result.exit_code == 0, result.output
    assert str(page) in result.stdout
    assert "From loosely to closely related" in page.read_text(encoding="utf-8")


def test_json_stays_alone_beside_a_report(workspace: Path, tmp_path: Path) -> None:
    page = str(tmp_path / "report.html")
    result = CliRunner().invoke(stats, [str(workspace), "--json", "--html", page])
    assert json.loads(result.stdout)["boards"] == len(BOARDS)
    assert page in result.stderr


def test_query_without_report_is_wrong_usage(workspace: Path) -> None:
    result = CliRunner().invoke(stats, [str(workspace), "--query", "a.jpg"])
    assert result.exit_code == 2
    assert "--html" in result.output


def test_unknown_query_is_told_before_counting(workspace: Path, tmp_path: Path) -> None:
    arguments = [str(workspace), "--html", str(tmp_path / "r.html"), "--query", "nope"]
    result = CliRunner().invoke(stats, arguments)
    assert isinstance(result.exception, UnknownIdError)
    assert not (tmp_path / "r.html").exists()
