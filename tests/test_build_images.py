"""Builds with pictures from the web and from disk, whole: through Python and the command line."""

from __future__ import annotations

import io
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hostile_server import Request, Web
from PIL import Image
from test_build import BOARDS, build, write

import pinjoin
from pinjoin import builder
from pinjoin.cli import cli
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data import addresses
from pinjoin.data.fetch import FetchConfig

QUICK = FetchConfig(
    rate=1000, read_timeout_s=2, total_timeout_s=1, backoff_s=0.01, max_bytes=100_000
)
"""As the default, but in no time."""


def picture(seed: int = 0, kind: str = "JPEG") -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(values).resize((48, 48)).save(out, kind)
    return out.getvalue()


@pytest.fixture
def web():
    with Web() as web:
        yield web


@pytest.fixture
def outer(monkeypatch):
    """127.0.0.1 counts as an address of the public internet, so that a server can be there."""
    judge = addresses.not_public
    monkeypatch.setattr(
        addresses, "not_public", lambda address: None if address == "127.0.0.1" else judge(address)
    )


def pins_of(references: list[str]) -> list[tuple[str, str, str, str]]:
    return [(f"p{n}", f"b{1 + n % 2}", name, f"Pin {n}") for n, name in enumerate(references)]


def listed(folder: Path) -> dict[str, dict[str, str]]:
    """What images.rejects.jsonl says, by the picture's name."""
    lines = (folder / "ws" / "images.rejects.jsonl").read_text().splitlines()
    faults = [json.loads(line) for line in lines]
    assert len({fault["file"] for fault in faults}) == len(faults), "each is told of once"
    return {fault["file"]: fault for fault in faults}


def seen(workspace: pinjoin.Workspace) -> set[str]:
    """References of the images whose picture was seen."""
    images = workspace.snapshot.table("images")["image"].to_pylist()
    assert workspace.pictures is not None
    return {name for name, there in zip(images, workspace.pictures.present, strict=True) if there}


def by_python(folder: Path, references: list[str]) -> dict[str, object]:
    summary = build(folder, pins_of(references), fetch=QUICK)
    return {"pictures": summary.pictures, "image_faults": summary.image_faults}


def by_command(folder: Path, references: list[str]) -> dict[str, object]:
    done = CliRunner().invoke(
        cli, ["build", *arguments(folder, references), "--fetch", "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def arguments(folder: Path, references: list[str]) -> list[str]:
    header = ["pin_id", "board_id", "image", "title"]
    pins = write(folder / "pins.csv", header, pins_of(references))
    boards = write(folder / "boards.csv", ["board_id", "title", "category"], BOARDS)
    return [str(folder / "ws"), "--pins", str(pins), "--boards", str(boards)]


def drip(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + picture()[:100])
    while True:
        request.send(b"a")
        time.sleep(0.05)


def endless(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\n\r\n" + picture())
    while True:
        request.send(bytes(10_000))


def good(seed: int, kind: str = "JPEG", **headers: str) -> Callable[[Request], None]:
    return lambda request: request.answer(picture(seed, kind), **headers)


def sent_to(location: str) -> Callable[[Request], None]:
    return lambda request: request.answer(b"", "302 Found", Location=location)


def busy_twice(seed: int) -> Callable[[Request], None]:
    left = itertools.count(2, -1)

    def page(request: Request) -> None:
        if next(left) > 0:
            request.answer(b"", "503 Service Unavailable")
        else:
            request.answer(picture(seed))

    return page


@pytest.mark.parametrize("build_with", [by_python, by_command])
def test_good_pictures_are_seen_and_bad_ones_are_told_of(
    web, outer, tmp_path, monkeypatch, build_with
):
    monkeypatch.setattr(builder, "FetchConfig", lambda: QUICK)  # the command's
    (tmp_path / "here.png").write_bytes(picture(9, "PNG"))
    (tmp_path / "broken.png").write_bytes(picture(9, "PNG")[:60])
    pages = {
        "/good.jpg": (good(0), None),
        "/good.webp": (good(1, "WEBP"), None),
        "/says-it-is-a-page": (good(2, Content_Type="text/html"), None),
        "/moved": (sent_to("/good.webp"), None),
        "/busy-at-first": (busy_twice(3), None),
        "/page.jpg": (
            lambda r: r.answer(b"<html>Please log in</html>" * 9, Content_Type="image/jpeg"),
            "the answer is no picture that can be used",
        ),
        "/slow": (drip, "the answer took too long"),
        "/huge": (
            lambda r: r.answer(b"", Content_Length="123456789"),
            "the answer has more than 100,000 bytes",
        ),
        "/endless": (endless, "the answer has more than 100,000 bytes"),
        "/inside": (
            sent_to("http://127.0.0.2/secret"),
            "the URL's host has a loopback address (127.0.0.2)",
        ),
        "/private": (  # an address for documentation: nobody is there, whatever goes wrong
            sent_to("http://192.0.2.1/"),
            "the URL's host has a private address (192.0.2.1)",
        ),
        "/gone": (lambda r: r.answer(b"", "404 Not Found"), "the server answered 404"),
    }
    web.pages = {path: page for path, (page, _) in pages.items()}
    references = [web.url(path) for path in pages]
    local = ["here.png", "broken.png", "missing.png"]
    told = build_with(tmp_path, [*references, *local])

    fine = {web.url(path) for path, (_, reason) in pages.items() if reason is None}
    workspace = pinjoin.open(tmp_path / "ws")
    assert seen(workspace) == fine | {"here.png"}
    assert told["pictures"] == 6
    faults = listed(tmp_path)
    assert {name: fault["reason"] for name, fault in faults.items()} == {
        **{web.url(path): reason for path, (_, reason) in pages.items() if reason},
        str(tmp_path / "broken.png"): faults[str(tmp_path / "broken.png")]["reason"],
        "missing.png": "no image file was found for this reference",
    }
    assert "PNG is cut short" in faults[str(tmp_path / "broken.png")]["reason"]
    assert sum(told["image_faults"].values()) == len(faults) == 9
    assert "--allow-private" in faults[web.url("/inside")]["remedy"]
    # Each has the features of its own picture, and its file can be shown.
    codes = workspace.pictures.bits[workspace.pictures.present]
    assert len(np.unique(codes, axis=0)) == 5, "/moved is /good.webp"
    shown = workspace.image_path(workspace.find(web.url("/busy-at-first")))
    assert shown.read_bytes() == picture(3)
    assert shown.is_relative_to(tmp_path / "ws" / "cache" / "images")
    assert workspace.image_path(workspace.find("here.png")) == tmp_path / "here.png"
    assert workspace.image_path(workspace.find(web.url("/gone"))) is None

    # Nothing is asked again: neither what came nor, for a while, what failed.
    before = web.asked()
    again = build_with(tmp_path, [*references, *local])
    assert web.asked() == before
    assert again["pictures"] == 6
    assert listed(tmp_path).keys() == faults.keys()
    assert seen(pinjoin.open(tmp_path / "ws")) == seen(workspace)


def command(folder: Path, references: list[str], *more: str) -> list[str]:
    # A parent may have had interrupts ignored.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from pinjoin.cli import main; main()"
    return [sys.executable, "-c", code, "build", *arguments(folder, references), *more]


def test_loopback_is_refused_with_the_way_to_allow_it(web, tmp_path):
    web.pages["/a.jpg"] = good(0)
    url = web.url("/a.jpg")
    done = subprocess.run(
        command(tmp_path, [url], "--fetch"), capture_output=True, text=True, check=True
    )
    assert not web.requests
    assert "1 × the URL's host has a loopback address (127.0.0.1)" in done.stdout
    assert f"what helps is said in {tmp_path / 'ws' / 'images.rejects.jsonl'}" in done.stdout
    assert "build with --allow-private (allow_private=True)" in listed(tmp_path)[url]["remedy"]
    assert pinjoin.open(tmp_path / "ws").pictures is None

    allowed = command(tmp_path, [url], "--fetch", "--allow-private")
    done = subprocess.run(allowed, capture_output=True, text=True, check=True)
    assert "1 pictures were looked at." in done.stdout
    workspace = pinjoin.open(tmp_path / "ws")
    assert seen(workspace) == {url}
    config = workspace.snapshot.manifest.config
    assert (config["fetch"], config["allow_private"]) == (True, True)


def test_what_says_how_to_fetch_is_refused_where_nothing_is_fetched(tmp_path):
    with pytest.raises(ConfigError, match="allow_private parameter of build must be False where"):
        build(tmp_path, allow_private=True)
    done = CliRunner().invoke(cli, ["build", *arguments(tmp_path, ["a"]), "--allow-private"])
    assert done.exit_code == 2
    assert "--fetch" in done.output
    assert not (tmp_path / "ws").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ended_in_the_middle_a_build_goes_on_where_it_stopped(web, tmp_path, how):
    count = 24
    for n in range(count):
        web.pages[f"/{n}"] = good(n)
    references = [web.url(f"/{n}") for n in range(count)]
    build(tmp_path, pins_of(references), encoder=None)
    first = pinjoin.open(tmp_path / "ws").snapshot.name

    fetching = command(tmp_path, references, "--fetch", "--allow-private")
    with subprocess.Popen(fetching, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while len(web.requests) < 8:
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(how)
        _, told = process.communicate(timeout=30)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert (b"Interrupted" in told) == (how == signal.SIGINT)
    asked = len(web.requests)
    assert asked < count
    assert pinjoin.open(tmp_path / "ws").snapshot.name == first

    done = subprocess.run(fetching, capture_output=True, text=True, check=True)
    assert f"{count} pictures were looked at." in done.stdout
    assert set(web.asked()) == {f"/{n}" for n in range(count)}
    assert len(web.requests) <= count + 4  # asked twice: at most those under way, 4 of one host
    assert seen(pinjoin.open(tmp_path / "ws")) == set(references)
    assert not list((tmp_path / "ws" / "snapshots").glob(".*")), "nothing half-done is left"


def test_fetched_pictures_can_tell_which_pins_are_one_image(web, tmp_path):
    web.pages |= {"/a": good(0, "PNG"), "/b": good(0, "BMP"), "/c": good(1)}
    references = [web.url(path) for path in ("/a", "/b", "/c", "/gone")]
    summary = build(
        tmp_path, pins_of(references), signature="pixels", fetch=QUICK, allow_private=True
    )
    assert (summary.images, summary.pictures) == (3, 2)
    assert {name: fault["reason"] for name, fault in listed(tmp_path).items()} == {
        web.url("/gone"): "the server answered 404"
    }
    workspace = pinjoin.open(tmp_path / "ws")
    assert workspace.find(web.url("/a")) == workspace.find(web.url("/b"))
    assert web.asked() == {"/a": 1, "/b": 1, "/c": 1, "/gone": 1}


def test_pictures_are_fetched_to_be_shown_even_if_nothing_looks_at_them(web, tmp_path):
    web.pages["/a"] = good(0)
    summary = build(
        tmp_path, pins_of([web.url("/a")]), fetch=QUICK, allow_private=True, encoder=None
    )
    assert summary.pictures == 0
    assert pinjoin.open(tmp_path / "ws").image_path(0).read_bytes() == picture(0)


def test_strict_ends_at_the_first_picture_that_cannot_be_fetched(web, tmp_path):
    with pytest.raises(InputError, match=r"/gone, column image: the server answered 404"):
        build(tmp_path, pins_of([web.url("/gone")]), fetch=QUICK, allow_private=True, strict=True)


def test_missing_files_are_told_of_only_where_there_are_pictures(tmp_path):
    references = ["a.jpg", "b.jpg", "https://example.org/c.jpg"]
    summary = build(tmp_path, pins_of(references))
    assert summary.image_faults == {}, "a catalogue without pictures"
    (tmp_path / "a.jpg").write_bytes(picture(0))
    summary = build(tmp_path, pins_of(references))
    assert summary.image_faults == {"no image file was found for this reference": 1}
    assert list(listed(tmp_path)) == ["b.jpg"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "a.jpg").unlink()
    summary = build(tmp_path, pins_of(references), images=tmp_path / "photos")
    assert list(listed(tmp_path)) == ["a.jpg", "b.jpg"], "the folder says that there are some"
