"""Pictures for a page that stands alone: thumbnails as data URIs, title cards where none is."""

from __future__ import annotations

import base64
import io
import re
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from PIL import Image, ImageOps

FRAME = 3 / 4  # width to height of the frames on the page, as most photos of phones


@dataclass(frozen=True)
class Picture:
    """What a page shows of an image."""

    row: int
    title: str  # what people call it; never empty
    uri: str | None  # data URI of the thumbnail; None = draw a title card
    edge: str = ""  # CSS colour of the picture's own border, to fill the frame with
    fills: bool = True  # cut to the frame (a little is lost) or shown whole inside it
    hue: int = 0  # 0..359, of the title card; the same title always has the same
    note: str = ""  # a few words below the title
    count: int | None = None  # boards shared with the query

    @property
    def alt(self) -> str:
        """What a screen reader says."""
        if self.count is None:
            return self.title
        return f"{self.title}, {self.count} shared {'board' if self.count == 1 else 'boards'}"


class Pictures:
    """Makes each image's picture once. `look_up(row)` gives its title, reference and file."""

    def __init__(
        self,
        look_up: Callable[[int], tuple[str | None, str, Path | None]],
        side: int = 240,
    ) -> None:
        self._look_up = look_up
        self._side = side
        self._made: dict[int, Picture] = {}
        self.unreadable = 0

    def of(self, row: int, *, note: str = "", count: int | None = None) -> Picture:
        if row not in self._made:
            title, reference, path = self._look_up(row)
            name = (title or "").strip() or name_of(reference)
            hue = zlib.crc32(name.encode()) % 360
            uri, edge, fills = self._thumbnail(path)
            self._made[row] = Picture(row, name, uri, edge, fills, hue)
        return replace(self._made[row], note=note, count=count)

    def _thumbnail(self, path: Path | None) -> tuple[str | None, str, bool]:
        if path is None:
            return None, "", True
        try:
            return thumbnail(path, self._side)
        except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
            # One damaged photo must not cost the report; it gets a title card.
            self.unreadable += 1
            return None, "", True


def thumbnail(path: Path, side: int) -> tuple[str, str, bool]:
    """A JPEG data URI at most `side` pixels long, its outline's mean colour as CSS, and whether
    at most 15 % of it is lost when it fills a frame of 3 : 4.

    Raises OSError, ValueError or Image.DecompressionBombError where Pillow cannot read the file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an outsized picture is only warned of otherwise
        with Image.open(path) as image:
            image.draft("RGB", (2 * side, 2 * side))  # a JPEG decodes at a fraction of its size
            small = ImageOps.exif_transpose(image)
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
    if small.mode in ("RGBA", "LA", "PA") or "transparency" in small.info:
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small.convert("RGBA"))
    small = small.convert("RGB")
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80, optimize=True)
    shape = small.width / small.height / FRAME
    kept = min(shape, 1 / shape)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{data}", _outline_colour(small), kept >= 0.85


def _outline_colour(image: Image.Image) -> str:
    width, height = image.size
    inner = image.resize((16, 16), Image.Resampling.BOX).load()
    if inner is None or not width or not height:
        return ""
    ring = [(x, y) for x in range(16) for y in range(16) if {x, y} & {0, 15}]
    pixels = [inner[x, y] for x, y in ring]
    mean = (round(sum(p[c] for p in pixels) / len(pixels)) for c in range(3))  # type: ignore[index]
    return "#{:02x}{:02x}{:02x}".format(*mean)


def name_of(reference: str) -> str:
    """A readable name from an image reference: its file name without extension, or its host.

    >>> name_of("https://example.org/pics/Red%20dress_2.jpg?w=300")
    'Red dress 2'
    >>> name_of("images/ankle-boots-1.jpg")
    'ankle boots 1'
    """
    parts = urlsplit(reference)
    path = parts.path if parts.scheme and parts.netloc else reference
    name = PurePosixPath(unquote(path)).stem
    name = " ".join(re.split(r"[_\s-]+", name)).strip()
    return name or parts.netloc or reference or "Untitled"
