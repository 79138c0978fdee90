"""The shipped catalogue looks as people's catalogues do, and the demo runs to its end."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pinjoin.cli.demo import QUERIES, build_demo, demo
from pinjoin.core.errors import InputError
from pinjoin.core.progress import silent
from pinjoin.recommender import Workspace, open_workspace
from pinjoin.stats import catalogue_stats

SHIPPED = Path(str(files("pinjoin.data"))) / "demo"
ROOT = Path(__file__).resolve().parents[1]


def rows(name: str) -> list[dict[str, str]]:
    with (SHIPPED / name).open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("demo") / "ws"
    built = build_demo(folder, silent)
    assert built.rejected_pins == built.rejected_boards == 0
    return open_workspace(folder)


def test_photos_are_small_and_their_licence_is_told() -> None:
    photos = list((SHIPPED / "images").iterdir())
    assert sum(photo.stat().st_size for photo in photos) <= 4_000_000
    assert {f"images/{photo.name}" for photo in photos} == {
        pin["image"] for pin in rows("pins.csv")
    }
    assert '"can be freely used for any\npurpose, including commercial"' in (
        SHIPPED / "LICENSE.txt"
    ).read_text(encoding="utf-8")


def test_tables_are_whole() -> None:
    pins, boards = rows("pins.csv"), rows("boards.csv")
    ids = {board["board_id"] for board in boards}
    assert len(ids) == len(boards) >= 300
    assert len({pin["pin_id"] for pin in pins}) == len(pins)
    assert {pin["board_id"] for pin in pins} == ids | {""}  # no board is empty, some pins have none
    assert len({pin["created_at"][:7] for pin in pins}) >= 12  # spread over a year
    assert len({board["user_id"] for board in boards}) >= 40
    assert all(board["title"] for board in boards)


def test_board_sizes_follow_a_power_law() -> None:
    sizes = Counter(pin["board_id"] for pin in rows("pins.csv") if pin["board_id"])
    assert min(sizes.values()) == 3
    assert 50 <= max(sizes.values()) <= 60
    at_least = [np.mean(np.array(list(sizes.values())) >= size) for size in (3, 6, 12, 24)]
    # P(size ≥ s) = (3 / s)^1.1: doubling leaves 2^-1.1 = 0.47; outfits of few pieces take from it.
    for less, more in zip(at_least[1:], at_least, strict=False):
        assert 0.3 <= less / more <= 0.6


def test_copies_under_other_names_meet(workspace: Workspace) -> None:
    files_ = {pin["image"] for pin in rows("pins.csv")}
    copies = [name for name in files_ if name.startswith("images/saved-")]
    assert len(copies) >= 10
    assert workspace.n_images == len(files_) - len(copies)
    copy = workspace.pinjoin(workspace.find(copies[0]))
    saved = {pin["image"] for pin in rows("pins.csv") if workspace.find(pin["image"]) == copy.row}
    assert len(saved) == 2


def test_catalogue_has_the_shape_of_the_paper(workspace: Workspace) -> None:
    counted = catalogue_stats(workspace)
    assert counted.images_on_no_board >= 3
    shares = [share for _, _, share in counted.pair_shares()]
    assert 0.6 <= shares[0] <= 0.85  # about 80 % in the paper's Figure 5
    assert shares[:5] == sorted(shares[:5], reverse=True)
    assert counted.pairs_sharing.maximum >= 8


@pytest.mark.parametrize("query", QUERIES)
def test_related_of_the_demo_share_boards(workspace: Workspace, query: str) -> None:
    found = workspace.related(query, n=6)
    assert len(found) == 6
    assert all(item.shared_boards >= 1 for item in found[:3])
    by_count = Workspace(workspace.path, workspace.snapshot, "count").related(query, n=6)
    counts = [item.shared_boards for item in by_count]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] >= 4


def test_demo_runs_to_its_end_twice(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "demo"
    for _ in range(2):
        result = CliRunner().invoke(demo, ["--dir", str(folder), "--no-serve"])
        assert result.exit_code == 0, result.output
    assert (folder / "report.html").stat().st_size > 500_000
    assert str(folder / "report.html") in result.stdout
    assert f"pinjoin related {folder} p" in result.stdout
    assert result.stdout.count("Related to ") == len(QUERIES)


def test_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no workspace .* --dir DIR"):
        build_demo(tmp_path, silent)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_catalogue_is_made_again_byte_for_byte(tmp_path: Path, data_folder: Path) -> None:
    script = ROOT / "examples" / "make_demo_catalogue.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "demo")], check=True)
    made = {p.relative_to(tmp_path / "demo"): p for p in (tmp_path / "demo").rglob("*.*")}
    shipped = {p.relative_to(SHIPPED): p for p in SHIPPED.rglob("*.*")}
    assert made.keys() == shipped.keys()
    # Another Pillow may bring another JPEG encoder; the tables never depend on it.
    for name in ("pins.csv", "boards.csv", "LICENSE.txt"):
        assert made[Path(name)].read_bytes() == shipped[Path(name)].read_bytes()


@pytest.fixture
def data_folder() -> Path:
    import os

    folder = Path(os.environ.get("PINJOIN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "clothing").is_dir():
        pytest.skip(f"{folder}/clothing is not there (set PINJOIN_DATA to the folder of data sets)")
    return folder
