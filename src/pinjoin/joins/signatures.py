"""What makes two pins the same image: its reference, its decoded pixels, or a perceptual hash."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from pinjoin.core.errors import check
from pinjoin.core.progress import Progress, silent
from pinjoin.data.rejects import Rejects
from pinjoin.joins.references import normalise_references

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageSignature", "normalise_references", "resolve_image", "signature_of_images"]

ImageSignature = Literal["pixels", "perceptual"]

MAX_PIXELS = 89_478_485
"""Pillow's own line for a decompression bomb: a gigabyte at 3 bytes a pixel and 4 copies."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "JPEG2000")
"""What Pillow may open; not EPS and the like, which start other programs."""

_DRAFT = (256, 256)
"""A perceptual hash looks at 32 × 32 pixels; a JPEG need not be decoded beyond this."""

_AT_ONCE = 256  # images handed to the threads at a time: bounds what waits, keeps all busy

_REMEDY = "The pin is joined by its reference instead."


class _Fault(NamedTuple):
    reason: str
    value: str


def signature_of_images(
    paths: Sequence[Path | None],
    kind: ImageSignature,
    *,
    threads: int | None = None,
    rejects: Rejects | None = None,
    progress: Progress = silent,
) -> list[str | None]:
    """The signature of each image file, in the order of `paths`.

    - `pixels`: SHA-256 (64 hex digits) of the width, the height and the decoded pixels, turned
      as EXIF says and converted to RGB (transparency over white; the first frame of an
      animation). Equal for the same pixels under other names or metadata.
    - `perceptual`: the 64-bit pHash of the ImageHash library (16 hex digits): the signs, about
      their median, of the lowest 8 × 8 DCT coefficients of the image shrunk to 32 × 32 grey.
      Equal for most copies in other sizes or qualities; blind to colour, so that one product's
      pictures in two colours may meet. (Zauner, "Implementation and
      Benchmarking of Perceptual Image Hash Functions", 2010.)

    `threads` defaults to the cores of the machine. None for a path that is None and for an image
    that cannot be decoded (missing, truncated, a decompression bomb, no image); `rejects` is
    told of each (`file` = its path), and with strict rejects the first raises InputError. Such a
    pin keeps its other features: the caller joins it by its reference.
    """
    check(
        kind in get_args(ImageSignature),
        "kind",
        "signature_of_images",
        "'pixels' or 'perceptual'",
        kind,
    )
    check(threads is None or threads > 0, "threads", "signature_of_images", "positive", threads)
    signatures: list[str | None] = []
    refused = rejects if rejects is not None else Rejects(None)
    with (
        progress(f"hashing images ({kind})", len(paths)) as advance,
        ThreadPoolExecutor(threads or os.cpu_count()) as pool,
    ):
        for some in _chunks(paths, _AT_ONCE):
            for path, result in zip(some, pool.map(lambda p: _sign(p, kind), some), strict=True):
                if isinstance(result, _Fault):
                    _refuse(refused, path, result)
                signatures.append(None if isinstance(result, _Fault) else result)
                advance(1)
    return signatures


def _chunks(paths: Sequence[Path | None], size: int) -> Iterator[list[Path | None]]:
    every = iter(paths)
    while some := list(islice(every, size)):
        yield some


def _refuse(rejects: Rejects, path: Path | None, fault: _Fault) -> None:
    rejects.add_many(
        file="" if path is None else str(path),
        rows=[None],
        column="image",
        values=[fault.value],
        reason=fault.reason,
        remedy=_REMEDY,
        dropped="value",
    )


def _sign(path: Path | None, kind: ImageSignature) -> str | _Fault:
    if path is None:
        return _Fault("no image file was found for this reference", "")
    if not os.path.isfile(path):  # noqa: PTH113 - Path's raises if the name is too long
        return _Fault("the image file is missing", str(path))
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_known_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return _too_large(f"{width} × {height} pixels")
            return _pixels(image) if kind == "pixels" else _perceptual(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return _too_large(str(error))
    except UnidentifiedImageError:
        return _Fault("the file is not an image of a known format", str(path))
    # Decoders meet bytes of any kind, and raise as many kinds of errors as they have authors;
    # one bad image must not end the work of all.
    except Exception as error:
        return _Fault("the image is damaged", f"{type(error).__name__}: {error}")


@cache
def _known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with: it stumbles over the names of others."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(value: str) -> _Fault:
    return _Fault(f"the image has more than {MAX_PIXELS:,} pixels", value)


def _pixels(image: Image.Image) -> str:
    upright = _upright_rgb(image)
    digest = hashlib.sha256(struct.pack("<II", *upright.size))
    digest.update(upright.tobytes())
    return digest.hexdigest()


def _perceptual(image: Image.Image) -> str:
    from imagehash import phash

    image.draft("RGB", _DRAFT)
    return str(phash(_upright_rgb(image)))


def _upright_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    layer = upright.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


_HAS_SCHEME = re.compile(r"(?i)[a-z][a-z0-9+.\-]+://|data:")


def resolve_image(reference: str, images_dir: Path | None, base: Path) -> Path | None:
    """The local file of an image reference, or None if there is none.

    Looked for under `images_dir`, then under `base` (the folder of the pins file); in each with
    the reference as it is, without its leading `images/` (or the folder's own name), and within
    `images/`. A URL has no local file. The answer is always a regular file that lies, links
    followed, inside the folder it was looked for in: neither `..`, an absolute path nor a link
    leads out.

    >>> resolve_image("../../etc/passwd", None, Path("/tmp")) is None
    True
    """
    if not reference or "\0" in reference or _HAS_SCHEME.match(reference):
        return None
    name = PurePosixPath(reference.strip().replace("\\", "/"))
    for root in (base,) if images_dir is None else (images_dir, base):
        real_root = os.path.realpath(root)
        for candidate in _spellings(name, PurePosixPath(real_root).name):
            found = Path(os.path.realpath(real_root / candidate))
            if found.is_relative_to(real_root) and os.path.isfile(found):  # noqa: PTH113
                return found
    return None


def _spellings(name: PurePosixPath, folder: str) -> list[PurePosixPath]:
    spellings = [name]
    if len(name.parts) > 1 and name.parts[0] in ("images", folder):
        spellings.append(PurePosixPath(*name.parts[1:]))
    spellings.append("images" / name)
    return spellings
