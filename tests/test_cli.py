"""The command line as a person or a script meets it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from test_build import BOARDS, PINS, write

import pinjoin
from pinjoin.cli import COMMANDS, cli


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pinjoin.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write(folder / "pins.csv", ["pin_id", "board_id", "photo", "title"], PINS)
    write(folder / "boards.csv", ["board_id", "title", "category"], BOARDS)
    done = run(
        "build", folder / "ws", "--pins", folder / "pins.csv", "--boards", folder / "boards.csv",
        "--map", "image=photo",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "7 pins fell into 4 PinJoins on 3 boards (5 distinct saves)." in done.stdout
    assert "1 images are on no board." in done.stdout
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_help_imports_nothing_heavy():
    heavy = ["numpy", "pyarrow", "numba", "scipy", "PIL", "rich", "jinja2", "logging.config"]
    code = (
        "import sys\nfrom pinjoin.cli import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        f"print('heavy:', [m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")][
        -len(COMMANDS) :
    ] == sorted(COMMANDS)


def test_importing_the_package_imports_nothing_heavy():
    code = "import pinjoin, sys; print('numpy' in sys.modules, pinjoin.Related.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "Related"]


def test_every_public_name_can_be_had():
    for name in pinjoin.__all__:
        assert getattr(pinjoin, name) is not None
    assert callable(pinjoin.build), "the function, whatever was imported before"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pinjoin.nothing


def test_related_prints_a_table(folder):
    done = run("related", folder / "ws", "p2", COLUMNS="120")
    assert done.returncode == 0
    assert "Next to Blue cup" in done.stdout
    for word in ("Kettle", "img/kettle.jpg", "2", "Sunny kitchens", "co-occurrence", "popular"):
        assert word in done.stdout


def test_related_prints_one_json_object(folder):
    done = run("related", folder / "ws", "p2", "-n", 1, "--json")
    answer = json.loads(done.stdout)
    assert answer["query"] == {
        "signature": "img/cup.jpg", "pin_id": "p2", "image": "./img/cup.jpg", "title": "Blue cup"
    }  # fmt: skip
    assert answer["snapshot"] == pinjoin.open(folder / "ws").snapshot.name
    [result] = answer["results"]
    assert list(result) == [
        "signature", "pin_id", "image", "title", "score", "source", "shared_boards", "reasons"
    ]  # fmt: skip
    assert result["shared_boards"] == 2


def test_an_item_on_no_board_still_gets_company(folder):
    answer = json.loads(run("related", folder / "ws", "p7", "--json").stdout)
    assert len(answer["results"]) == 3
    assert {one["shared_boards"] for one in answer["results"]} == {0}


def test_excluded_items_stay_away(folder):
    done = run("related", folder / "ws", "p2", "--exclude", "p1", "--exclude", "img/sky.jpg")
    assert "Lonely" in done.stdout
    assert "Kettle" not in done.stdout
    assert "Sky" not in done.stdout


def test_show_prints_all_that_is_known(folder):
    done = run("show", folder / "ws", "p2")
    for word in ("Blue cup", "2 pins", "p3", "2 boards", "Sunny kitchens", "categories", "Home"):
        assert word in done.stdout
    known = json.loads(run("show", folder / "ws", "p2", "--json").stdout)
    assert [pin["pin_id"] for pin in known["pins"]] == ["p2", "p3"]
    assert known["categories"] == [{"name": "Home", "weight": 1.0}]
    assert len(known["neighbours"]) == 3


def test_an_unknown_id_fails_with_suggestions(folder):
    done = run("related", folder / "ws", "img/cap.jpg")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Error: 'img/cap.jpg' is not a pin id" in done.stderr
    assert "Did you mean 'img/cup.jpg'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["related"], "Missing argument"),
        (["build", "ws", "--pins", "x.csv"], "Missing option '--boards'"),
        (
            ["build", "ws", "--pins", "x", "--boards", "y", "--map", "image"],
            "must be column=column",
        ),
        (
            ["build", "ws", "--pins", "x", "--boards", "y", "--map", "users.id=x"],
            "Got 'users.id=x'",
        ),
        (["build", "ws", "--pins", "x", "--preset", "unsplash", "--boards", "y"], "neither"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_missing_workspace_says_what_to_run(tmp_path):
    done = run("related", tmp_path / "none", "x")
    assert done.returncode == 1
    assert "pinjoin build" in done.stderr


def test_strict_stops_at_the_first_bad_row_and_keeps_the_workspace(folder, tmp_path):
    shutil.copytree(folder / "ws", tmp_path / "ws")
    bad = write(tmp_path / "pins.csv", ["pin_id", "board_id", "image"], [("p1", "b1", "")])
    arguments = ("build", tmp_path / "ws", "--pins", bad, "--boards", folder / "boards.csv")
    done = run(*arguments, "--strict")
    assert done.returncode == 1
    assert "pins.csv, row 2, column image" in done.stderr
    assert run("related", tmp_path / "ws", "p2").returncode == 0


def test_export_writes_every_candidate(folder, tmp_path):
    done = run("export", "candidates", folder / "ws", tmp_path / "c.parquet", "-k", 2)
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "c.parquet").to_pylist()
    names = pq.read_table(tmp_path / "c.images.parquet")["signature"].to_pylist()
    assert [(names[r["query"]], names[r["candidate"]], r["count"]) for r in rows] == [
        ("img/cup.jpg", "img/kettle.jpg", 2),
        ("img/cup.jpg", "img/sky.jpg", 1),
        ("img/kettle.jpg", "img/cup.jpg", 2),
        ("img/kettle.jpg", "img/sky.jpg", 1),
        ("img/sky.jpg", "img/cup.jpg", 1),
        ("img/sky.jpg", "img/kettle.jpg", 1),
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.images.parquet", "c.parquet"]
    done = run("export", "candidates", folder / "ws", tmp_path / "s.parquet", "--score", "cosine")
    assert pq.read_table(tmp_path / "s.parquet")["score"][0].as_py() == pytest.approx(
        2 / (2**0.5 * 2**0.5)
    )


def test_the_output_may_be_cut_short(folder):
    command = f"{sys.executable} -c 'from pinjoin.cli import main; main()' related {folder}/ws p2"
    done = subprocess.run(
        ["bash", "-c", f"{command} --json | head -n 1"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_first_command_says_that_it_compiles_and_a_read_only_install_caches(folder, tmp_path):
    """A copy of the package that cannot be written compiles once, into the user's cache."""
    site = tmp_path / "site"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(pinjoin.__file__).parent, site / "pinjoin", ignore=ignore)
    for path in [site, *site.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    environment = {"PYTHONPATH": str(site), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    if os.geteuid() == 0:  # root may write anywhere: take away the place instead
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    first = run("related", folder / "ws", "p2", **environment)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("compiling kernels, once") == 1
    second = run("related", folder / "ws", "p2", **environment)
    assert second.stderr == ""
    assert second.stdout == first.stdout
    for path in [site, *site.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
