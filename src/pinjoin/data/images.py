"""Decode pictures from people we do not know: any content, one clear reason when it cannot be.

The format is told by content, never by the file's name, and only formats listed here reach a
decoder. Large JPEGs are decoded at a fraction of their size (DCT scaling) when a small picture
is asked for. Everything returned is RGB, upright, without transparency, 8 bits a channel.
"""

from __future__ import annotations

import io
import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pinjoin.core.errors import InputError, check

if TYPE_CHECKING:
    from PIL import Image

Fit = Literal["crop", "squash", "pad"]
"""How a picture becomes the asked size: cut its middle, ignore its proportions, or add borders."""

_Fit = Fit | Literal["within"]  # keep proportions, and so miss the asked size on one side

Resample = Literal["bicubic", "bilinear", "lanczos", "box"]

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF")
"""Formats that are decoded. Phones' MPO files are JPEG."""

_ORIENTATION_TAG = 0x0112
_ALIEN = (  # what pretends to be a picture most often: first bytes → what it is
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"%pdf", "a PDF document"),
    (b"%!ps", "a PostScript program"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"{", "JSON text"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


class ImageError(InputError):
    """A picture cannot be decoded. `reason` is one short sentence without the picture's name."""

    def __init__(self, name: str, reason: str, remedy: str = "") -> None:
        self.name, self.reason, self.remedy = name, reason, remedy
        super().__init__(f"{name}: {reason}.{f' {remedy}' if remedy else ''}")


@dataclass(frozen=True)
class Limits:
    """What a picture may cost before it is refused, checked before any pixel is decoded."""

    max_bytes: int = 64 * 2**20
    """Size of the file."""
    max_pixels: int = 89_000_000
    """Width × height as the header says; just under the size at which Pillow warns by itself."""
    max_side: int = 65_500
    """The longer side; the largest that JPEG can say."""


def sniff(head: bytes) -> str | None:
    """Format by content of a file's first 32 bytes or more: one of `FORMATS`, else None.

    >>> sniff(b"\\x89PNG\\r\\n\\x1a\\n")
    'PNG'
    >>> sniff(b"<html>") is None
    True
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and (b"avif" in head[8:32] or b"avis" in head[8:32]):
        return "AVIF"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith((b"II*\x00", b"MM\x00*")):
        return "TIFF"
    return None


def read_bytes(path: str | os.PathLike[str], limits: Limits | None = None) -> bytes:
    """Content of an ordinary file. Raises ImageError when missing, no file, empty or too large."""
    name = os.fspath(path)
    with _open_file(name, limits or Limits()) as file:
        return file.read()


def read_size(path: str | os.PathLike[str], limits: Limits | None = None) -> tuple[int, int]:
    """Width and height of a picture as it is shown, upright, from its header: no pixel is decoded.

    Raises ImageError when it is missing, empty, too large, no picture or its header is damaged;
    damage behind the header goes unseen, and so does a turn that a PNG tells after its pixels.
    """
    limits = limits or Limits()
    name = os.fspath(path)
    with _open_file(name, limits) as file:
        kind = _require_format(file.read(64), name)
        file.seek(0)
        with _decoder_errors(kind, name), _open(file, kind, name) as image:
            _check_pixels(image, name, limits)
            width, height = image.size
            # Pillow gives the size of a TIFF as it will be when loaded, and turns it then.
            turned = kind != "TIFF" and _orientation(image) >= 5
    return (height, width) if turned else (width, height)


def file_key(path: Path) -> str:
    """Names a file's content without reading it: changes when the file does.

    Raises OSError when it is missing.
    """
    found = path.stat()
    return f"{path}\0{found.st_size}\0{found.st_mtime_ns}"


def decode(
    source: str | os.PathLike[str] | bytes,
    size: int | tuple[int, int] | None = None,
    *,
    fit: Fit = "crop",
    crop: float = 1.0,
    resample: Resample = "bicubic",
    limits: Limits | None = None,
    name: str | None = None,
) -> NDArray[np.uint8]:
    """Decode one picture → uint8 (height, width, 3), RGB, upright.

    `source` is a file's path or a picture's bytes; `name` is what errors call it. `size` is a
    side or (height, width); None keeps the picture's own. `fit` says how to get there: "crop"
    cuts the middle out with the asked proportions, `crop` of its largest possible extent (0.875
    leaves out an eighth); "squash" ignores proportions; "pad" shows all of it on grey. Of an
    animation the first frame counts; what is transparent becomes white.

    Raises ImageError when it is missing, empty, too large, no picture or damaged. Takes no
    colour profile into account.
    """
    height, width = (size, size) if isinstance(size, int) else size or (1, 1)
    check(height >= 1 and width >= 1, "size", "decode", "at least 1 × 1", size)
    check(fit in get_args(Fit), "fit", "decode", f"one of {', '.join(get_args(Fit))}", fit)
    check(0 < crop <= 1, "crop", "decode", "in (0, 1]", crop)
    known = get_args(Resample)
    check(resample in known, "resample", "decode", f"one of {', '.join(known)}", resample)
    limits = limits or Limits()
    name, data = _content(source, name, limits)
    target = None if size is None else (height, width)
    return _decode(data, name, target, fit, crop, resample, limits)


def decode_within(
    source: str | os.PathLike[str] | bytes, side: int, *, limits: Limits | None = None
) -> NDArray[np.uint8]:
    """Decode all of a picture, its longer side at most `side` → uint8 (height, width, 3).

    It keeps its proportions and is never enlarged. Otherwise as `decode`.
    """
    check(side >= 1, "side", "decode_within", "at least 1", side)
    limits = limits or Limits()
    name, data = _content(source, None, limits)
    return _decode(data, name, (side, side), "within", 1.0, "lanczos", limits)


@contextmanager
def _open_file(name: str, limits: Limits) -> Iterator[IO[bytes]]:
    try:
        status = Path(name).stat()
        # A named pipe or device would block for ever or never end.
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise ImageError(name, f"is {kind}, not a file")
        _check_bytes(name, status.st_size, limits)
        with Path(name).open("rb") as file:
            yield file
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(name, "no such file") from None
    except PermissionError:
        raise ImageError(name, "may not be read", "Check the file's permissions.") from None
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        raise ImageError(name, f"cannot be read ({problem})") from None


def _content(
    source: str | os.PathLike[str] | bytes, name: str | None, limits: Limits
) -> tuple[str, bytes]:
    """What errors call the picture, and its bytes."""
    if not isinstance(source, bytes):
        return name or os.fspath(source), read_bytes(source, limits)
    name = name or "image"
    _check_bytes(name, len(source), limits)
    return name, source


def _check_bytes(name: str, size: int, limits: Limits) -> None:
    if size == 0:
        raise ImageError(name, "is empty (0 bytes)")
    if size > limits.max_bytes:
        raise ImageError(
            name,
            f"has {size:,} bytes, more than the allowed {limits.max_bytes:,}",
            "Shrink it or raise max_bytes.",
        )


def _decode(
    data: bytes,
    name: str,
    size: tuple[int, int] | None,
    fit: _Fit,
    crop: float,
    resample: Resample,
    limits: Limits,
) -> NDArray[np.uint8]:
    kind = _require_format(data, name)
    with _decoder_errors(kind, name), _open(io.BytesIO(data), kind, name) as image:
        _check_pixels(image, name, limits)
        if size is not None:
            _draft(image, max(size), fit, crop)
        image.load()  # before EXIF is read: a PNG may tell it after its pixels
        turn = _orientation(image)
        rgb = _to_rgb(image)
    if size is not None:
        # A quarter turn swaps the sides afterwards.
        rgb = _resize(rgb, size[::-1] if turn >= 5 else size, fit, crop, resample)
    return np.asarray(_upright(rgb, turn))


@contextmanager
def _decoder_errors(kind: str, name: str) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(name, "needs more memory than there is") from None
    except Exception as problem:
        # Decoders fed hostile bytes raise anything: SyntaxError, struct.error, IndexError, …
        raise ImageError(name, _explain(kind, problem)) from None


def _require_format(data: bytes, name: str) -> str:
    kind = sniff(data[:64])
    if kind is not None:
        return kind
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    what = next((what for first, what in _ALIEN if start.startswith(first)), None)
    if what is None and data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace")
        what = "a HEIC picture" if brand in ("heic", "heix", "mif1") else f"a {brand!r} video"
    found = f"is {what}" if what else f"has unknown content (starts with {data[:8]!r})"
    raise ImageError(name, f"{found}; readable are {', '.join(FORMATS)}")


def _open(file: IO[bytes], kind: str, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file, formats=[kind])
    except KeyError:
        raise ImageError(name, f"is {kind}, which this Pillow cannot read") from None
    except UnidentifiedImageError:
        raise ImageError(name, f"starts like {kind} but its header is damaged") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise ImageError(name, f"has too many pixels ({problem})") from None


def _check_pixels(image: Image.Image, name: str, limits: Limits) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(name, f"has no pixels ({width} × {height})")
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        allowed = f"{limits.max_pixels:,} pixels and {limits.max_side:,} a side"
        raise ImageError(
            name,
            f"has {width:,} × {height:,} pixels, more than the allowed {allowed}",
            "Shrink it or raise max_pixels.",
        )


def _explain(kind: str, problem: Exception) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    cut_short = "truncated" in text.lower() or isinstance(problem, EOFError | struct.error)
    return f"{kind} is {'cut short' if cut_short else 'damaged'} ({text[:120]})"


def _orientation(image: Image.Image) -> int:
    from PIL import Image

    try:  # not the method of a PNG, which decodes the pixels for it
        turn = int(Image.Image.getexif(image).get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1  # damaged EXIF is no reason to lose the picture
    return turn if 1 <= turn <= 8 else 1


def _draft(image: Image.Image, side: int, fit: _Fit, crop: float) -> None:
    """Let the JPEG decoder shrink by 2, 4 or 8 as long as the asked detail is left."""
    if fit in ("pad", "within"):
        scale = side / max(image.size)
    else:
        scale = side / (min(image.size) * (crop if fit == "crop" else 1.0))
    if scale <= 0.5:
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_deep(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte; floats stretched from their least to largest value."""
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 0xFFFF):
        grey = (values.astype(np.uint32) >> 8).astype(np.uint8)
    elif image.mode == "I" and low >= 0 and high <= 255:
        grey = values.astype(np.uint8)
    else:
        finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = finite.min(), finite.max()
        grey = ((finite - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _resize(
    image: Image.Image, size: tuple[int, int], fit: _Fit, crop: float, resample: Resample
) -> Image.Image:
    from PIL import Image

    height, width = size
    method = Image.Resampling[resample.upper()]
    if fit in ("pad", "within"):
        scale = min(width / image.width, height / image.height)
        scale = min(scale, 1.0) if fit == "within" else scale
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        whole = image.resize(inner, method, reducing_gap=3.0)
        if fit == "within":
            return whole
        canvas = Image.new("RGB", (width, height), (127, 127, 127))
        canvas.paste(whole, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas
    box = (0.0, 0.0, float(image.width), float(image.height))
    if fit == "crop":
        scale = min(image.width / width, image.height / height) * crop
        left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
        box = (max(0.0, left), max(0.0, top), left + width * scale, top + height * scale)
    return image.resize((width, height), method, box=box, reducing_gap=3.0)


def _upright(image: Image.Image, turn: int) -> Image.Image:
    from PIL import Image

    step = Image.Transpose
    ways = {
        2: step.FLIP_LEFT_RIGHT,
        3: step.ROTATE_180,
        4: step.FLIP_TOP_BOTTOM,
        5: step.TRANSPOSE,
        6: step.ROTATE_270,
        7: step.TRANSVERSE,
        8: step.ROTATE_90,
    }
    return image.transpose(ways[turn]) if turn in ways else image
