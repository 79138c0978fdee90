"""Pictures for a page that stands alone: thumbnails as data URIs, title cards where none is."""

from __future__ import annotations

import base64
import io
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image

from pinjoin.data.images import ImageError, decode_within

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
        except ImageError:
            # One damaged photo must not cost the report; it gets a title card.
            self.unreadable += 1
            return None, "", True


def thumbnail(path: Path, side: int) -> tuple[str, str, bool]:
    """A JPEG data URI at most `side` pixels long, its outline's mean colour as CSS, and whether
    at most 15 % of it is lost when it fills a frame of 3 : 4.

    Raises ImageError where the file is no picture that can be decoded.
    """
    small = Image.fromarray(decode_within(path, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80, optimize=True)
    shape = small.width / small.height / FRAME
    kept = min(shape, 1 / shape)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{data}", _outline_colour(small), kept >= 0.85


def _outline_colour(image: Image.Image) -> str:
    pixels = np.asarray(image.resize((16, 16), Image.Resampling.BOX), dtype=np.float64)
    ring = np.ones((16, 16), dtype=bool)
    ring[1:-1, 1:-1] = False
    red, green, blue = pixels[ring].mean(axis=0).round().astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


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
