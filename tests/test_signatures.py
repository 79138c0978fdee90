"""References in one spelling, image hashes, and the safe way from a reference to its file."""

from __future__ import annotations

import json
import os
import re
import string
import time
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.rejects import Rejects
from pinjoin.joins.signatures import normalise_references, resolve_image, signature_of_images


def normal(*references: str | None) -> list[str | None]:
    return normalise_references(pa.array(references, pa.string())).to_pylist()


# --- references --------------------------------------------------------------------------------

SPELLINGS = [
    # (given, normal spelling)
    ("HTTP://Shop.COM/A.jpg", "https://shop.com/A.jpg"),
    ("hTTpS://shop.com/a.jpg", "https://shop.com/a.jpg"),
    ("http://shop.com:80/a", "https://shop.com/a"),
    ("https://shop.com:443/a", "https://shop.com/a"),
    ("https://shop.com:0443:/a", "https://shop.com/a"),
    ("https://shop.com:8080/a", "https://shop.com:8080/a"),
    ("https://shop.com:99999999999999999999/a", "https://shop.com:99999999999999999999/a"),
    ("https://[::1]:443/a", "https://[::1]/a"),
    ("https://Me:Pass@Shop.com/a", "https://Me:Pass@shop.com/a"),
    ("https://shop.com", "https://shop.com/"),
    ("https://shop.com?w=1", "https://shop.com/?w=1"),
    ("https://shop.com/a#top", "https://shop.com/a"),
    ("https://shop.com/a #top", "https://shop.com/a"),
    ("https://shop.com/a?", "https://shop.com/a"),
    ("https://shop.com/a?b=2&a=1", "https://shop.com/a?b=2&a=1"),
    ("https://shop.com/a?b=2&&a=1&", "https://shop.com/a?b=2&a=1"),
    ("https://shop.com/a?utm_source=x&UTM_Medium=y&fbclid=z", "https://shop.com/a"),
    ("https://shop.com/a?utm_source=x&w=2&gclid=3&h=4", "https://shop.com/a?w=2&h=4"),
    ("https://shop.com/a?gclid&w=2", "https://shop.com/a?w=2"),
    ("https://shop.com/a?gclids=1&utm=2", "https://shop.com/a?gclids=1&utm=2"),
    ("https://shop.com/a?u=b?gclid=1", "https://shop.com/a?u=b?gclid=1"),
    ("https://shop.com/%7eme/%2f%c3%a9", "https://shop.com/~me/%2F%C3%A9"),
    ("https://shop.com/é b", "https://shop.com/%C3%A9%20b"),
    ("https://shop.com/e\u0301", "https://shop.com/%C3%A9"),
    ("https://shop.com/100%", "https://shop.com/100%25"),
    ("https://shop.com/%%341", "https://shop.com/%2541"),
    ("https://shop.com/%4", "https://shop.com/%254"),
    ("https://shop.com/%2541", "https://shop.com/%2541"),
    ("https://shop.com/a//b/./c", "https://shop.com/a//b/./c"),
    ("https://", "https://"),
    ("S3://Bucket/a#1.jpg", "s3://Bucket/a#1.jpg"),
    ("gs://b/a%7e//c?utm_x=1", "gs://b/a%7e//c?utm_x=1"),
    ("data:image/png;base64,A//B", "data:image/png;base64,A//B"),
    ("DATA:image/png;base64,A//B ", "DATA:image/png;base64,A//B"),
    ("./images/1.jpg", "images/1.jpg"),
    (".//./images/./1.jpg", "images/1.jpg"),
    ("images//1.jpg", "images/1.jpg"),
    ("images\\1.jpg", "images/1.jpg"),
    (".\\images\\.\\1.jpg", "images/1.jpg"),
    ("C:\\shop\\1.jpg", "C:/shop/1.jpg"),
    ("//share/1.jpg", "/share/1.jpg"),
    ("../images/1.jpg", "../images/1.jpg"),
    ("a/../b.jpg", "a/../b.jpg"),
    (".hidden/..b/.c", ".hidden/..b/.c"),
    ("a b.jpg", "a b.jpg"),
    (" \ta.jpg\r\n", "a.jpg"),
    ("./ ./a.jpg", "a.jpg"),
    ("100%.jpg", "100%.jpg"),
    ("a#b?c&d.jpg", "a#b?c&d.jpg"),
    ("cafe\u0301.jpg", "caf\u00e9.jpg"),
    ("Images/A.JPG", "Images/A.JPG"),
    ("./", "./"),
    ("  ", "  "),
    ("", ""),
]


@pytest.mark.parametrize(("given_", "expected"), SPELLINGS)
def test_a_reference_has_one_normal_spelling(given_: str, expected: str) -> None:
    assert normal(given_) == [expected]
    assert normal(expected) == [expected]


def test_rows_keep_their_places_and_nulls_stay_null() -> None:
    untidy, expected = zip(*SPELLINGS, strict=True)
    assert normal(None, *untidy, None) == [None, *expected, None]
    sliced = pa.array(["x", *untidy, "y"])[1:-1]
    assert normalise_references(sliced).to_pylist() == list(expected)


@pytest.mark.parametrize("array", [[], [None], ["images/1.jpg", None, "https://a.b/c?w=1&h=2"]])
def test_what_needs_no_change_comes_back_itself(array: list[str | None]) -> None:
    references = pa.array(array, pa.string())
    assert normalise_references(references) is references


def naive(reference: str) -> str:
    """The rules of `normalise_references`, one reference at a time, in plain Python."""
    blanks = " \t\n\r\f"
    given_ = reference
    reference = unicodedata.normalize("NFC", reference).strip(blanks)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.\-]+)(?=://)", reference)
    if scheme and scheme[0].lower() in ("http", "https"):
        return naive_url(reference[scheme.end() + 3 :])
    if scheme:
        return scheme[0].lower() + reference[scheme.end() :]
    if reference[:5].lower() != "data:":
        reference = re.sub(r"/+", "/", reference.replace("\\", "/"))
        reference = re.sub(rf"^(?:\./[{blanks}]*)+", "", re.sub(r"/(\./)+", "/", reference))
    return reference or given_


def naive_url(rest: str) -> str:
    rest, hash_, _ = rest.partition("#")
    rest = naive_percent(rest.rstrip(" \t\n\r\f") if hash_ else rest)
    authority, path, query = re.fullmatch(r"([^/?]*)([^?]*)(?:\?(.*))?", rest).groups()  # type: ignore[union-attr]
    user, at, host = authority.rpartition("@")
    authority = user + at + re.sub("[A-Z]", lambda m: m[0].lower(), host)
    while port := re.search(r":(0*(80|443))?$", authority):
        authority = authority[: port.start()]
    tracking = r"(?i)utm_.*|fbclid|gclid|igsh|_ga"
    kept = [p for p in (query or "").split("&") if p]
    kept = [p for p in kept if not re.fullmatch(tracking, p.partition("=")[0])]
    slash = "/" if authority and not path else ""
    return "https://" + authority + slash + path + ("?" + "&".join(kept) if kept else "")


def naive_percent(text: str) -> str:
    unreserved = string.ascii_letters + string.digits + "-._~"

    def escape(match: re.Match[str]) -> str:
        found = match[0]
        if len(found) == 3:
            byte = chr(int(found[1:], 16))
            return byte if byte in unreserved else found.upper()
        return "".join(f"%{byte:02X}" for byte in found.encode())

    return re.sub(r"(?s)%[0-9A-Fa-f]{2}|[^!$&-;=?-Z\[\]_a-z~]", escape, text)


PIECES = (
    *("http://", "HTTPS://", "s3://", "data:", "C:", "/", "//", "\\", ".", "./", "..", " ", "\n"),
    *("a", "B", "Shop.com", ":80", ":443", ":", ":8", "@", "?", "&", "=", "#", "%", "%7e", "%2F"),
    *("utm_", "utm_a=1", "gclid", "_ga=2", "igsh=", "w=1", "é", "e\u0301", "\u212a", "0", "4"),
)
pieces = st.sampled_from(PIECES)
references = st.one_of(st.text(max_size=30), st.lists(pieces, max_size=9).map("".join))


@settings(max_examples=600, deadline=None)
@given(references)
@example("./ ./a")
@example("https://u:@:80:80?&&#")
def test_the_kernel_says_what_plain_python_says_and_twice_is_once(reference: str) -> None:
    once = normal(reference)
    assert once == [naive(reference)]
    assert normal(*once) == once


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), references), max_size=8))
def test_each_row_is_normalised_by_itself(rows: list[str | None]) -> None:
    assert normal(*rows) == [normal(row)[0] for row in rows]


def test_speed_is_millions_a_second() -> None:
    n = 200_000
    tidy = pa.array([f"https://img.example.com/originals/{i:08d}.jpg" for i in range(n)])
    untidy = pa.array([f"HTTP://Img.com:80/%7e{i}.jpg?utm_source=x&w=2#top" for i in range(n)])
    normal("HTTP://a")  # compiled now
    # A tenth of what it must reach (5 M/s and 0.5 M/s) on a quiet machine: this one may be busy.
    for references_, seconds in ((tidy, 10 * n / 5e6), (untidy, 10 * n / 0.5e6)):
        start = time.perf_counter()
        normalise_references(references_)
        assert time.perf_counter() - start < seconds


# --- images ------------------------------------------------------------------------------------


def picture(size: tuple[int, int] = (96, 64), seed: int = 0) -> Image.Image:
    """A few blobs: enough structure for a perceptual hash."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, (240, 230, 220))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        r = int(rng.integers(4, size[1] // 2))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image


def sign(kind: str, *paths: Path | None, **options: object) -> list[str | None]:
    return signature_of_images(paths, kind, **options)  # type: ignore[arg-type]


def test_the_same_pixels_meet_under_other_names_formats_and_metadata(tmp_path: Path) -> None:
    image = picture()
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "copy.PNG", compress_level=1, exif=exif)
    image.save(tmp_path / "b.bmp")
    image.save(tmp_path / "c.webp", lossless=True, exact=True)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90° clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=turned)
    image.convert("RGBA").save(tmp_path / "opaque.png")
    names = ["a.png", "copy.PNG", "b.bmp", "c.webp", "turned.png", "opaque.png"]
    signatures = sign("pixels", *(tmp_path / name for name in names))
    assert len(set(signatures)) == 1
    assert re.fullmatch("[0-9a-f]{64}", signatures[0] or "")


def test_other_pixels_and_other_shapes_differ(tmp_path: Path) -> None:
    image = picture()
    changed = image.copy()
    changed.putpixel((3, 3), (0, 0, 0))
    image.save(tmp_path / "a.png")
    changed.save(tmp_path / "b.png")
    # The same 24 bytes a row, once 2 × 4 and once 4 × 2 pixels.
    Image.new("RGB", (2, 4), "red").save(tmp_path / "tall.png")
    Image.new("RGB", (4, 2), "red").save(tmp_path / "wide.png")
    names = ["a.png", "b.png", "tall.png", "wide.png"]
    assert len(set(sign("pixels", *(tmp_path / n for n in names)))) == 4


def test_transparent_pixels_are_seen_over_white(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([9, 9, 9])
    palette.save(tmp_path / "palette.png", transparency=b"\x00")
    names = ["white.png", "clear.png", "palette.png"]
    assert len(set(sign("pixels", *(tmp_path / n for n in names)))) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16", "F"])
def test_every_colour_mode_has_both_signatures(tmp_path: Path, mode: str) -> None:
    image = picture().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 256)
    image.save(tmp_path / "image.tif")
    assert None not in sign("pixels", tmp_path / "image.tif")
    assert None not in sign("perceptual", tmp_path / "image.tif")


def test_perceptual_hashes_survive_size_and_quality_but_not_another_picture(
    tmp_path: Path,
) -> None:
    image = picture((960, 640), seed=1)
    image.save(tmp_path / "large.jpg", quality=95)
    image.resize((480, 320)).save(tmp_path / "small.jpg", quality=75)
    image.save(tmp_path / "large.png")
    picture((960, 640), seed=2).save(tmp_path / "other.jpg")
    names = ["large.jpg", "small.jpg", "large.png", "other.jpg"]
    large, small, png, other = sign("perceptual", *(tmp_path / n for n in names))
    assert large == small == png != other
    assert re.fullmatch("[0-9a-f]{16}", large or "")


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("L", (8, 8), 10), Image.new("L", (8, 8), 200)
    first.save(tmp_path / "both.gif", save_all=True, append_images=[second])
    first.save(tmp_path / "first.gif")
    both, alone = sign("pixels", tmp_path / "both.gif", tmp_path / "first.gif")
    assert both == alone is not None


def bad_images(folder: Path) -> dict[str, tuple[Path | None, str]]:
    """What cannot be decoded: name → (path, what the reject says)."""
    good = folder / "good.jpg"
    picture((400, 300)).save(good)
    files = {
        "truncated.jpg": good.read_bytes()[:2000],
        "empty.jpg": b"",
        "text.jpg": b"<html>404 not found</html>",
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    Image.new("1", (10_000, 9_000)).save(folder / "bomb.png")
    Image.new("1", (20_000, 10_000)).save(folder / "great_bomb.png")
    picture().save(folder / "broken.png")
    broken = bytearray((folder / "broken.png").read_bytes())
    broken[60] ^= 255  # inside the pixels: their checksum is wrong
    (folder / "broken.png").write_bytes(bytes(broken))
    (folder / "folder.jpg").mkdir()
    unknown = "not an image of a known format"
    return {
        "none": (None, "no image file was found"),
        "missing": (folder / "no.jpg", "missing"),
        "folder": (folder / "folder.jpg", "missing"),
        "truncated": (folder / "truncated.jpg", "damaged"),
        "broken": (folder / "broken.png", "damaged"),
        "empty": (folder / "empty.jpg", unknown),
        "text": (folder / "text.jpg", unknown),
        "script": (folder / "script.jpg", unknown),
        "bomb": (folder / "bomb.png", "more than 89,478,485 pixels"),
        "great bomb": (folder / "great_bomb.png", "more than 89,478,485 pixels"),
    }


@pytest.mark.parametrize("kind", ["pixels", "perceptual"])
def test_an_undecodable_image_has_no_signature_and_says_why(tmp_path: Path, kind: str) -> None:
    bad = bad_images(tmp_path)
    paths = [tmp_path / "good.jpg", *(path for path, _ in bad.values())]
    with Rejects(tmp_path / "images.rejects.jsonl") as rejects:
        signatures = sign(kind, *paths, rejects=rejects, threads=3)
    assert signatures[0] is not None
    assert signatures[1:] == [None] * len(bad)
    assert rejects.count == 0  # no row is left out: the pins stay
    assert rejects.dropped_values.total() == len(bad)
    lines = (tmp_path / "images.rejects.jsonl").read_text().splitlines()
    for line, (path, reason) in zip(lines, bad.values(), strict=True):
        reject = json.loads(line)
        assert reject["file"] == (str(path) if path else "")
        assert reason in reject["reason"]
        assert reject["dropped"] == "value"
        assert "reference" in reject["remedy"]


def test_strict_rejects_end_the_work(tmp_path: Path) -> None:
    with (
        Rejects(None, strict=True) as rejects,
        pytest.raises(InputError, match=r"no\.jpg.*missing"),
    ):
        sign("pixels", tmp_path / "no.jpg", rejects=rejects)


def test_threads_do_not_change_the_answer_and_progress_counts_all(tmp_path: Path) -> None:
    from contextlib import contextmanager

    for i in range(20):
        picture(seed=i).save(tmp_path / f"{i}.png")
    paths = [tmp_path / f"{i % 21}.png" for i in range(600)]
    done: list[int] = []

    @contextmanager
    def progress(what: str, total: int | None = None):  # type: ignore[no-untyped-def]
        assert total == 600
        yield done.append

    alone = sign("pixels", *paths, threads=1)
    assert sign("pixels", *paths, threads=4, progress=progress) == alone
    assert sum(done) == 600
    assert len(set(alone)) == 20 + 1  # 20 pictures; 20.png is missing: None


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kind": "reference"}, "'pixels' or 'perceptual'"), ({"kind": "pixels", "threads": 0}, "0")],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        signature_of_images([], **options)  # type: ignore[arg-type]


# --- from a reference to its file ---------------------------------------------------------------


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """catalogue/images/{1.jpg, a b/2.jpg}, catalogue/3.jpg, and a secret.jpg outside."""
    root = tmp_path / "catalogue"
    (root / "images" / "a b").mkdir(parents=True)
    for name in ["images/1.jpg", "images/a b/2.jpg", "3.jpg", "../secret.jpg"]:
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("images/1.jpg", "images/1.jpg"),
        ("1.jpg", "images/1.jpg"),
        ("./images//1.jpg", "images/1.jpg"),
        (".\\images\\a b\\2.jpg", "images/a b/2.jpg"),
        (" images/1.jpg ", "images/1.jpg"),
        ("3.jpg", "3.jpg"),
        ("images/../3.jpg", "3.jpg"),
        ("images/9.jpg", None),
        ("images", None),
        ("", None),
        (".", None),
        ("..", None),
        ("../secret.jpg", None),
        ("images/../../secret.jpg", None),
        ("https://shop.com/1.jpg", None),
        ("file:///1.jpg", None),
        ("data:image/png;base64,AAAA", None),
        ("a\0b", None),
        ("x" * 5000, None),
    ],
)
@pytest.mark.parametrize("given_folder", [True, False])
def test_a_reference_finds_its_file_within_its_folders(
    catalogue: Path, reference: str, found: str | None, given_folder: bool
) -> None:
    images = catalogue / "images" if given_folder else None
    expected = None if found is None else (catalogue / found).resolve()
    assert resolve_image(reference, images, catalogue) == expected


def test_the_images_folder_comes_first_under_any_name(catalogue: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_bytes(b"x")
    for reference in ["1.jpg", "images/1.jpg", "photos/1.jpg"]:
        assert resolve_image(reference, photos, catalogue) == (photos / "1.jpg").resolve()
    assert resolve_image("3.jpg", photos, catalogue) == (catalogue / "3.jpg").resolve()


def test_nothing_leads_out_of_the_folder(catalogue: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    (catalogue / "images" / "link.jpg").symlink_to(secret)
    (catalogue / "images" / "out").symlink_to(tmp_path)
    (catalogue / "images" / "loop.jpg").symlink_to("loop.jpg")
    beside = tmp_path / "catalogue-2"  # whose name begins like the folder's
    beside.mkdir()
    (beside / "4.jpg").write_bytes(b"x")
    for reference in [
        "link.jpg",
        "out/secret.jpg",
        "loop.jpg",
        str(secret),
        "../catalogue-2/4.jpg",
    ]:
        assert resolve_image(reference, catalogue / "images", catalogue) is None
    inside = catalogue / "images" / "1.jpg"
    (catalogue / "images" / "inner.jpg").symlink_to(inside)
    assert resolve_image("inner.jpg", None, catalogue) == inside.resolve()
    assert resolve_image(str(inside), None, catalogue) == inside.resolve()
    os.mkfifo(catalogue / "pipe.jpg")
    assert resolve_image("pipe.jpg", None, catalogue) is None


# --- real catalogues ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "images", "by_pixels"), [("ikea", 2175, 2060), ("movies", 2345, 2345)]
)
def test_real_catalogues(name: str, images: int, by_pixels: int) -> None:
    folder = Path(os.environ.get("PINJOIN_DATA", "../shared/data")) / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here (set PINJOIN_DATA)")
    import pyarrow.csv

    pins = pyarrow.csv.read_csv(folder / "pins.csv")
    distinct = normalise_references(pins["image"].combine_chunks().unique())
    paths = [resolve_image(reference, None, folder) for reference in distinct.to_pylist()]
    assert len(paths) == images
    signatures = sign("pixels", *paths)
    assert None not in signatures
    assert len(set(signatures)) == by_pixels
