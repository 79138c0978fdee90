"""Sizes of pictures, read once."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinjoin.features import sizes
from pinjoin.features.sizes import CACHE_FILE, image_sizes


def picture(path: Path, width: int, height: int) -> Path:
    Image.new("RGB", (width, height), "red").save(path)
    return path


@pytest.fixture
def opened(monkeypatch) -> list[Path]:
    """The files whose header is read, as they are."""
    opened: list[Path] = []
    really = sizes.read_size

    def read(path: Path) -> tuple[int, int]:
        opened.append(path)
        return really(path)

    monkeypatch.setattr(sizes, "read_size", read)
    return opened


def test_sizes_stand_in_the_rows_of_their_files(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (tmp_path / "page.jpg").write_bytes(b"<html>404</html>")
    paths = [
        None,
        picture(tmp_path / "wide.png", 30, 20),
        tmp_path / "broken.png",
        tmp_path / "missing.png",
        tmp_path,
        tmp_path / "page.jpg",
        picture(tmp_path / "tall.jpg", 7, 9),
        None,
    ]
    expected = [[0, 0], [30, 20], [0, 0], [0, 0], [0, 0], [0, 0], [7, 9], [0, 0]]
    assert image_sizes(paths).tolist() == expected
    assert image_sizes(paths, tmp_path / "cache").tolist() == expected
    assert image_sizes(paths, tmp_path / "cache").tolist() == expected, "from the cache"
    assert image_sizes([None, None]).tolist() == [[0, 0], [0, 0]]
    assert image_sizes([]).shape == (0, 2)


def test_only_new_and_changed_files_are_opened(tmp_path, opened):
    cache = tmp_path / "cache"
    paths = [picture(tmp_path / f"{n}.png", n + 1, 5) for n in range(6)]
    image_sizes(paths[:4], cache)
    assert sorted(opened) == paths[:4]
    opened.clear()
    assert image_sizes(paths, cache)[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert sorted(opened) == paths[4:]
    opened.clear()
    picture(paths[1], 70, 80)
    os.utime(paths[2], (1, 1))
    assert image_sizes(paths[::-1], cache)[::-1].tolist() == [
        [70 if n == 1 else n + 1, 80 if n == 1 else 5] for n in range(6)
    ]
    assert sorted(opened) == paths[1:3]
    opened.clear()
    image_sizes(paths, cache)
    assert opened == []


def test_more_files_than_one_thread_takes_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "_AT_ONCE", 3)
    paths = [picture(tmp_path / f"{n}.png", n + 1, 100 - n) for n in range(20)]
    expected = [[n + 1, 100 - n] for n in range(20)]
    for threads in (1, 4):
        assert image_sizes(paths, threads=threads).tolist() == expected
    image_sizes(paths[5:9], tmp_path)
    assert image_sizes(paths, tmp_path).tolist() == expected
    assert len(np.load(tmp_path / CACHE_FILE)) == 20


class Interrupting:
    """Progress of one who presses Ctrl-C when `left` units are done."""

    def __init__(self, left: int) -> None:
        self.left = left

    @contextmanager
    def __call__(self, what: str, total: int | None):
        yield self.advance

    def advance(self, n: int) -> None:
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


def test_an_interrupted_build_keeps_what_it_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "_AT_ONCE", 1)
    paths = [picture(tmp_path / f"{n}.png", 3, 4) for n in range(5)]

    with pytest.raises(KeyboardInterrupt):
        image_sizes(paths, tmp_path, progress=Interrupting(3))
    assert len(np.load(tmp_path / CACHE_FILE)) == 3


def test_an_interrupted_build_does_not_read_on(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(sizes, "_AT_ONCE", 1)

    def slowly(path: Path) -> tuple[int, int]:
        time.sleep(0.001)
        read.append(path)
        return 3, 4

    monkeypatch.setattr(sizes, "read_size", slowly)
    with pytest.raises(KeyboardInterrupt):
        image_sizes([tmp_path] * 2_000, threads=1, progress=Interrupting(3))
    assert len(read) < 2_000


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "other", "huge"])
def test_a_damaged_cache_costs_no_more_than_reading_again(tmp_path, damage, opened):
    paths = [picture(tmp_path / "a.png", 3, 4)]
    image_sizes(paths, tmp_path)
    file = tmp_path / CACHE_FILE
    good = file.read_bytes()
    if damage == "other":
        np.save(file, np.arange(5))
    else:
        huge = good.replace(b"(1,)", b"(9999999999999999,)")
        file.write_bytes({"empty": b"", "garbage": b"\0x" * 99, "cut": good[:-3]}.get(damage, huge))
    assert image_sizes(paths, tmp_path).tolist() == [[3, 4]]
    assert len(opened) == 2
    assert file.read_bytes() == good
