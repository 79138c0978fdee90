"""Decoding: every odd picture is decoded right, every broken one is refused with a reason."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin, features

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.images import (
    ImageError,
    Limits,
    decode,
    decode_within,
    read_bytes,
    read_size,
    sniff,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (width, height), WHITE)
    half = (width // 2, height // 2)
    image.paste(RED, (0, 0, *half))
    image.paste(GREEN, (half[0], 0, width, half[1]))
    image.paste(BLUE, (0, half[1], half[0], height))
    return image


def noise(width: int = 96, height: int = 80) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_text_bomb() -> bytes:
    good = encoded(noise(), "PNG")
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 20_000_000, 9))
    return good[:33] + bomb + good[33:]


def flipped(data: bytes, start: int, count: int) -> bytes:
    return (
        data[:start] + bytes(b ^ 0xFF for b in data[start : start + count]) + data[start + count :]
    )


def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= 40)


JPEG, PNG = encoded(noise(), "JPEG"), encoded(noise(), "PNG")
GIF, WEBP = encoded(noise(), "GIF"), encoded(noise(), "WEBP")
TIFF, BMP = encoded(noise(), "TIFF"), encoded(noise(), "BMP")

MALFORMED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "one byte": (lambda: b"\xff", "unknown content"),
    "only zeros": (lambda: bytes(5_000), "unknown content"),
    "text": (lambda: b"not found\n" * 9, "unknown content"),
    "web page": (lambda: b"\n <!DOCTYPE html><html>404</html>", "is a web page"),
    "html without doctype": (lambda: b"<HTML><body>no</body></HTML>", "is a web page"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
    "xml with a mark": (lambda: b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "is an XML"),
    "json": (lambda: b'{"error": "rate limited"}', "is JSON text"),
    "pdf": (lambda: b"%PDF-1.7 ...", "is a PDF document"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run", "is a PostScript program"),
    "zip": (lambda: b"PK\x03\x04" + bytes(60), "is a ZIP archive"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(60), "is a gzip file"),
    "lfs pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(40), "is a HEIC picture"),
    "video": (lambda: b"\0\0\0\x18ftypisom" + bytes(40), "'isom' video"),
    "jpeg start only": (lambda: b"\xff\xd8\xff", "JPEG"),
    "jpeg cut short": (lambda: JPEG[: len(JPEG) // 2], "JPEG is cut short"),
    "jpeg cut in its header": (lambda: JPEG[:150], "JPEG"),
    "jpeg without header": (lambda: b"\xff\xd8\xff\xe0" + os.urandom(400), "JPEG"),
    "png start only": (lambda: PNG[:8], "PNG"),
    "png cut short": (lambda: PNG[: len(PNG) // 2], "PNG is cut short"),
    "png with a bad checksum": (lambda: flipped(PNG, 20, 2), "PNG"),
    "png with scrambled pixels": (
        lambda: flipped(encoded(corners(400, 400), "PNG"), 60, 50),
        "PNG is (damaged|cut)",
    ),
    "png bomb": (lambda: png_of_size(60_000, 60_000), "pixels"),
    "png just over the limit": (lambda: png_of_size(10_000, 8_901), "more than the allowed"),
    "png without pixels": (lambda: png_of_size(0, 0), "PNG|no pixels"),
    "png of a huge side": (lambda: png_of_size(2_000_000, 1), "more than the allowed"),
    "png text bomb": (png_text_bomb, "PNG is damaged"),
    "gif start only": (lambda: b"GIF89a", "GIF"),
    "gif cut short": (lambda: GIF[: len(GIF) // 2], "GIF is (cut short|damaged)"),
    "gif without frames": (lambda: GIF[:13] + b";", "GIF"),
    "webp cut short": (lambda: WEBP[: len(WEBP) // 2], "WEBP"),
    "webp scrambled": (lambda: flipped(WEBP, 12, 30), "WEBP"),
    "tiff cut short": (lambda: TIFF[:60], "TIFF"),
    "tiff with wild offsets": (lambda: TIFF[:4] + b"\xff\xff\xff\x7f" + TIFF[8:], "TIFF"),
    "bmp cut short": (lambda: BMP[:200], "BMP is cut short"),
    "bmp of wrong depth": (lambda: BMP[:28] + b"\x63\x00" + BMP[30:], "BMP"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_is_refused_with_a_reason(kind: str, tmp_path: Path) -> None:
    make, reason = MALFORMED[kind]
    path = tmp_path / "picture.jpg"
    path.write_bytes(make())
    with pytest.raises(ImageError, match=reason) as caught:
        decode(path, 32)
    assert str(path) in str(caught.value)
    assert str(path) not in caught.value.reason
    assert isinstance(caught.value, InputError)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(ImageError, match="no such file"):
        decode(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        decode(tmp_path)
    with pytest.raises(ImageError, match="is a pipe, socket or device"):
        decode(tmp_path / "pipe")
    with pytest.raises(ImageError, match="cannot be read"):
        decode("nul\0byte.jpg")


def test_limits_are_checked_before_decoding(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"has {len(PNG):,} bytes, more than the allowed 100"):
        decode(PNG, limits=Limits(max_bytes=100))
    with pytest.raises(ImageError, match="96 × 80 pixels, more than the allowed 7,679 pixels"):
        decode(PNG, limits=Limits(max_pixels=96 * 80 - 1))
    assert decode(PNG, limits=Limits(max_pixels=96 * 80)).shape == (80, 96, 3)
    (tmp_path / "big").write_bytes(bytes(101))
    with pytest.raises(ImageError, match="101 bytes"):
        read_bytes(tmp_path / "big", Limits(max_bytes=100))


@given(cut=st.integers(0, len(JPEG)), at=st.integers(0, len(JPEG) - 1), value=st.integers(0, 255))
def test_any_damage_decodes_or_is_refused(cut: int, at: int, value: int) -> None:
    damaged = bytearray(JPEG)
    damaged[at] = value
    with contextlib.suppress(ImageError):  # any other exception would fail this test
        assert decode(bytes(damaged[:cut]), 16).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF"])
def test_format_is_told_by_content(kind: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = encoded(corners(), kind)
    assert sniff(data) == kind
    path = tmp_path / "misnamed.txt"
    path.write_bytes(data)
    pixels = decode(path)
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    found = [pixels[y, x] for y, x in ((8, 8), (8, 56), (40, 8), (40, 56))]
    assert all(map(near, found, (RED, GREEN, BLUE, WHITE)))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("size", [None, (24, 32), (32, 24)])
def test_exif_rotation_is_applied(turn: int, size: tuple[int, int] | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(corners(), "JPEG", exif=exif, quality=95)
    pixels = decode(data, size, fit="squash")
    assert pixels.shape[:2] == (size or ((48, 64) if turn < 5 else (64, 48)))
    # What stood at (top left, top right, bottom left, bottom right) stands there after the turn.
    r, g, b, w = RED, GREEN, BLUE, WHITE
    order = {
        1: (r, g, b, w),
        2: (g, r, w, b),
        3: (w, b, g, r),
        4: (b, w, r, g),
        5: (r, b, g, w),
        6: (b, r, w, g),
        7: (w, g, b, r),
        8: (g, w, r, b),
    }[turn]
    height, width = pixels.shape[:2]
    quarter, rest = (height // 4, width // 4), (3 * height // 4, 3 * width // 4)
    found = [pixels[y, x] for y in (quarter[0], rest[0]) for x in (quarter[1], rest[1])]
    assert all(map(near, found, order))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF"])
@pytest.mark.parametrize("turn", [None, *range(1, 9)])
def test_the_size_of_the_header_is_that_of_the_decoded_picture(
    kind: str, turn: int | None, tmp_path: Path
) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = turn or 1
    (tmp_path / "p").write_bytes(encoded(corners(), kind, **({"exif": exif} if turn else {})))
    height, width, _ = decode(tmp_path / "p").shape
    assert read_size(tmp_path / "p") == (width, height)
    if kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        assert (width, height) == ((64, 48) if (turn or 1) < 5 else (48, 64))


def test_the_size_is_read_without_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: loaded.append(self))
    for data in (JPEG, PNG, GIF, TIFF, BMP):
        (tmp_path / "whole").write_bytes(data)
        assert read_size(tmp_path / "whole") == (96, 80)
    assert loaded == []
    (tmp_path / "jpeg").write_bytes(JPEG[: len(JPEG) // 2])
    (tmp_path / "png").write_bytes(PNG[:60])
    assert read_size(tmp_path / "jpeg") == read_size(tmp_path / "png") == (96, 80)


@pytest.mark.parametrize("kind", MALFORMED)
def test_the_size_of_the_malformed_is_of_its_header_or_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(MALFORMED[kind][0]())
    with contextlib.suppress(ImageError):
        assert read_size(path) in ((96, 80), (400, 400)), "those the files were made from"


def test_the_size_of_what_is_too_large_or_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bomb").write_bytes(png_of_size(60_000, 60_000))
    (tmp_path / "png").write_bytes(PNG)
    with pytest.raises(ImageError, match="is a pipe, socket or device"):
        read_size(tmp_path / "pipe")
    with pytest.raises(ImageError, match="no such file"):
        read_size(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="pixels"):
        read_size(tmp_path / "bomb")
    with pytest.raises(ImageError, match="96 × 80 pixels, more than the allowed 7,679 pixels"):
        read_size(tmp_path / "png", Limits(max_pixels=96 * 80 - 1))
    with pytest.raises(ImageError, match="more than the allowed 100"):
        read_size(tmp_path / "png", Limits(max_bytes=100))


@given(cut=st.integers(0, len(JPEG)), at=st.integers(0, len(JPEG) - 1), value=st.integers(0, 255))
def test_any_damaged_header_has_a_size_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, value: int
) -> None:
    damaged = bytearray(JPEG)
    damaged[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    path.write_bytes(damaged[:cut])
    with contextlib.suppress(ImageError):
        assert min(read_size(path)) >= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = encoded(corners(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(20))
    assert decode(data).shape == (48, 64, 3)


def test_colour_modes_become_rgb() -> None:
    for mode in ("1", "L", "P", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"):
        grey = Image.new("L", (8, 8), 128)
        if mode == "I;16":
            image = Image.fromarray(np.full((8, 8), 128 << 8, dtype=np.uint16))
        elif mode == "LAB":
            image = Image.new("LAB", (8, 8), (128, 128, 128))
        else:
            image = (
                grey.convert("RGB").convert(mode)
                if mode in ("CMYK", "YCbCr", "P")
                else (grey.convert(mode))
            )
        pixels = decode(encoded(image, "TIFF"))
        assert pixels.shape == (8, 8, 3)
        if mode not in ("1", "F", "LAB"):  # these cannot or need not hold this grey
            assert near(pixels[4, 4], (128, 128, 128)), mode


def test_cmyk_jpeg_keeps_its_colours() -> None:
    data = encoded(corners().convert("CMYK"), "JPEG", quality=95)
    assert near(decode(data)[8, 8], RED)
    assert near(decode(data, 12)[2, 2], RED)


def test_transparency_becomes_white() -> None:
    layer = corners().convert("RGBA")
    layer.putpixel((8, 8), (0, 0, 0, 0))
    assert near(decode(encoded(layer, "PNG"))[8, 8], WHITE)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((0, 0), 0)
    for transparency in (0, b"\x00\xff"):
        pixels = decode(encoded(palette, "PNG", transparency=transparency))
        assert near(pixels[0, 0], WHITE)
        assert near(pixels[4, 4], RED)
    keyed = decode(encoded(corners(), "PNG", transparency=BLUE))
    assert near(keyed[40, 8], WHITE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(decode(data)[8, 8], RED)


def test_crop_squash_and_pad() -> None:
    wide = Image.new("RGB", (90, 30), GREEN)
    wide.paste(RED, (0, 0, 30, 30))
    wide.paste(BLUE, (60, 0, 90, 30))
    data = encoded(wide, "PNG")
    assert near(decode(data, 30, fit="crop")[15, 2], GREEN)
    squashed = decode(data, 30, fit="squash")
    assert near(squashed[15, 2], RED)
    assert near(squashed[15, 27], BLUE)
    padded = decode(data, 30, fit="pad")
    assert near(padded[2, 15], (127, 127, 127))
    assert near(padded[15, 2], RED)
    # crop = 0.5 of a square shows its middle half, columns 16..48 of 64: the frame is gone.
    framed = Image.new("RGB", (64, 64), RED)
    framed.paste(BLUE, (14, 14, 50, 50))
    assert (decode(encoded(framed, "PNG"), 32, crop=0.5) == BLUE).all()
    assert near(decode(encoded(framed, "PNG"), 32)[1, 1], RED)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3_000), (3_000, 1), (7, 5)])
def test_any_proportions_fit(shape: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", shape, RED), "PNG")
    for fit in ("crop", "squash", "pad"):
        pixels = decode(data, (20, 30), fit=fit, crop=0.9)
        assert pixels.shape == (20, 30, 3)
        assert (pixels == RED).all(axis=2).any()


def test_scaled_jpeg_looks_like_the_full_one() -> None:
    y, x = np.mgrid[0:1200, 0:1600] / 200.0
    waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)], axis=-1)
    big = Image.fromarray(np.uint8(127 + 120 * waves))
    scaled = decode(encoded(big, "JPEG", quality=95), 100)
    full = decode(encoded(big, "PNG"), 100)
    assert np.abs(scaled.astype(int) - full).max() <= 12


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1600, 801), (240, 120)),  # 801 × 240 / 1600 = 120.15
        ((801, 1600), (120, 240)),
        ((241, 241), (240, 240)),
        ((240, 30), (240, 30)),
        ((3, 2), (3, 2)),
        ((3_000, 1), (240, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_within_a_side_all_is_shown_in_proportion_and_never_enlarged(
    kind: str, shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    pixels = decode_within(encoded(Image.new("RGB", shape, RED), kind), 240)
    assert max(pixels.shape[:2]) == max(expected)
    assert min(pixels.shape[:2]) == pytest.approx(min(expected), abs=1)  # a JPEG's own rounding
    assert near(pixels.mean(axis=(0, 1)), RED)


def test_within_a_side_a_jpeg_is_not_decoded_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    draft = JpegImagePlugin.JpegImageFile.draft

    def watched(image: JpegImagePlugin.JpegImageFile, mode: str, size: tuple[int, int]) -> object:
        found = draft(image, mode, size)
        asked.append(image.size)
        return found

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", watched)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    photo = encoded(Image.new("RGB", (4000, 2000), RED), "JPEG", exif=turned)
    assert decode_within(photo, 250).shape == (250, 125, 3)
    assert asked == [(500, 250)]  # an eighth, the least that JPEG has


def test_within_a_side_limits_hold() -> None:
    with pytest.raises(ImageError, match="more than the allowed 63 pixels"):
        decode_within(PNG, 8, limits=Limits(max_pixels=63))
    with pytest.raises(ConfigError, match="side parameter of decode_within must be at least 1"):
        decode_within(PNG, 0)


def test_parameters_are_checked() -> None:
    with pytest.raises(ConfigError, match="fit parameter of decode must be one of crop"):
        decode(PNG, 8, fit="stretch")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="size parameter of decode must be at least"):
        decode(PNG, 0)
    with pytest.raises(ConfigError, match=r"crop parameter of decode must be in \(0, 1\]"):
        decode(PNG, 8, crop=0)
    with pytest.raises(ConfigError, match="resample parameter of decode must be one of"):
        decode(PNG, 8, resample="nearest")  # type: ignore[arg-type]
