"""The cache: whole pictures or none, whatever happens to the process or the folder."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from pinjoin.core.errors import InputError
from pinjoin.data.image_cache import FORMAT, Failure, ImageCache, fetched_file

URL = "https://shop.com/a.jpg"


def picture(kind: str = "PNG", colour: tuple[int, int, int] = (200, 30, 60)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, kind)
    return out.getvalue()


@pytest.fixture
def cache(tmp_path: Path):
    with ImageCache(tmp_path / "cache") as cache:
        yield cache


def files(cache: ImageCache) -> list[Path]:
    return sorted((cache.folder / "content").glob("*/*"))


def test_a_picture_is_found_again_by_any_spelling_of_its_url(cache):
    assert cache.path(URL) is None
    path = cache.put(URL, picture(), '"tag"', "Mon, 05 Jan 2026 10:00:00 GMT")
    assert path.read_bytes() == picture()
    assert path.name == hashlib.sha256(picture()).hexdigest() + ".png"
    assert cache.path("HTTPS://Shop.com:443/a.jpg#top") == path
    assert cache.path("no url") is None
    assert len(cache) == 1
    known = cache.get(URL)
    assert (known.etag, known.last_modified) == ('"tag"', "Mon, 05 Jan 2026 10:00:00 GMT")
    assert abs(known.checked_at - time.time()) < 60
    with ImageCache(cache.folder) as again:
        assert again.get(URL) == known


def test_the_same_content_is_kept_once(cache):
    first = cache.put(URL, picture("JPEG"))
    second = cache.put("https://other.com/b", picture("JPEG"))
    assert first == second
    assert first.suffix == ".jpg"
    assert files(cache) == [first]
    third = cache.put(URL, picture("JPEG", (0, 0, 9)))  # has changed
    assert cache.path(URL) == third != second == cache.path("https://other.com/b")


def test_a_picture_is_found_without_opening_the_cache_for_writing(tmp_path):
    folder = tmp_path / "cache"
    assert fetched_file(folder, URL) is None
    assert not folder.exists()
    with ImageCache(folder) as cache:
        path = cache.put(URL, picture())
        cache.fail("https://shop.com/gone.jpg", Failure("gone"), 60)
        assert fetched_file(folder, URL) == path, "while another has it open"
    assert fetched_file(folder, " HTTPS://shop.com:443/a.jpg#top") == path
    assert fetched_file(folder, "https://shop.com/gone.jpg") is None
    assert fetched_file(folder, "https://shop.com/other.jpg") is None
    assert fetched_file(folder, "no url") is None
    path.write_bytes(b"cut")
    assert fetched_file(folder, URL) is None
    (folder / "index.sqlite").write_bytes(b"damaged" * 1000)
    assert fetched_file(folder, URL) is None


def test_a_picture_is_found_in_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    with ImageCache(folder) as cache:
        path = cache.put(URL, picture())
    connect = sqlite3.connect

    def without_locks(address: str, **options: object) -> sqlite3.Connection:
        """What SQLite does where it can make no file beside the index (root always can)."""
        if "immutable=1" not in address:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(address, **options)

    monkeypatch.setattr(sqlite3, "connect", without_locks)
    assert fetched_file(folder, URL) == path


def test_files_may_be_read_by_whom_the_umask_allows(cache):
    path = cache.put(URL, picture())
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("damage", ["missing", "cut short", "emptied"])
def test_a_lost_or_cut_file_is_not_given_out_and_can_be_put_again(cache, damage):
    path = cache.put(URL, picture())
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(picture()[: 20 if damage == "cut short" else 0])
    assert cache.path(URL) is None
    cache.put(URL, picture())
    assert cache.path(URL).read_bytes() == picture()


def test_verify_removes_what_is_not_what_its_name_says(cache):
    sound, damaged = cache.put(URL, picture()), cache.put("https://shop.com/b", picture("JPEG"))
    flipped = bytearray(damaged.read_bytes())
    flipped[-5] ^= 1
    damaged.write_bytes(flipped)
    assert cache.verify() == [damaged.name]
    assert files(cache) == [sound]
    assert cache.path("https://shop.com/b") is None


def test_failures_are_remembered_for_a_while(cache):
    failure = Failure("the server answered 404", "Not Found", "Look.")
    cache.fail(URL, failure, for_s=60)
    assert cache.failure(URL) == failure
    cache.fail(URL, failure, for_s=-1)
    assert cache.failure(URL) is None
    cache.fail(URL, failure, for_s=60, limits="10 bytes")
    assert cache.failure(URL, "10 bytes") == failure
    assert cache.failure(URL, "20 bytes") is None
    cache.put(URL, picture())
    assert cache.failure(URL, "10 bytes") is None


def test_what_a_crash_left_half_written_is_removed_later(cache):
    old, new = cache.folder / "partial" / "old", cache.folder / "partial" / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    with ImageCache(cache.folder):
        assert not old.exists()
        assert new.exists()  # of another process, at work


def test_a_write_that_fails_leaves_nothing(cache, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pinjoin.data.image_cache.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        cache.put(URL, picture())
    assert files(cache) == []
    assert list((cache.folder / "partial").iterdir()) == []
    assert cache.path(URL) is None


def test_a_picture_is_synced_before_it_has_its_name_and_named_before_it_is_told_of(
    cache, monkeypatch
):
    steps = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(
        "pinjoin.data.image_cache.os.fsync",
        lambda handle: (steps.append(("sync", len(files(cache)), len(cache))), sync(handle)),
    )
    monkeypatch.setattr(
        Path,
        "replace",
        lambda path, to: (
            steps.append(("rename", len(files(cache)), len(cache))),
            rename(path, to),
        ),
    )
    cache.put(URL, picture())
    assert steps == [("sync", 0, 0), ("rename", 0, 0)]
    assert (len(files(cache)), len(cache)) == (1, 1)


def test_an_index_that_is_none_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "index.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(InputError, match="the index is damaged.*Remove it"):
        ImageCache(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    ImageCache(tmp_path).close()
    index = sqlite3.connect(tmp_path / "index.sqlite")
    index.execute(f"PRAGMA user_version = {FORMAT + 1}")
    index.close()
    with pytest.raises(InputError, match=f"format {FORMAT + 1}, newer than {FORMAT}"):
        ImageCache(tmp_path)


def test_a_folder_that_is_none_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be used as an image cache.*Give a folder"):
        ImageCache(tmp_path / "file")


def test_many_threads_and_two_openings_at_once(tmp_path):
    with ImageCache(tmp_path) as one, ImageCache(tmp_path) as two:
        pictures = [picture(colour=(n, n, n)) for n in range(20)]

        def work(cache: ImageCache, start: int) -> None:
            for n in range(start, 100, 4):
                cache.put(f"https://shop.com/{n}", pictures[n % 20])

        threads = [
            threading.Thread(target=work, args=(cache, start))
            for start, cache in enumerate([one, two, one, two])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(one) == len(two) == 100
        assert len(files(one)) == 20
        for n in range(100):
            assert two.path(f"https://shop.com/{n}").read_bytes() == pictures[n % 20]
