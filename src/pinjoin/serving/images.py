"""Pictures of the catalogue, as they are or smaller. Nothing else has an address here.

What is sent is told by content, not by name, and only what browsers show without running it; the
rest (TIFF, BMP) is sent as JPEG.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from PIL import Image

from pinjoin.data.images import ImageError, Limits, decode_within, file_key, read_bytes, sniff
from pinjoin.serving.errors import ApiError
from pinjoin.serving.switching import Now

WIDTHS = (64, 160, 240, 320, 480, 640, 960, 1280, 1920)
"""Sizes of a picture's longer side that are made; a request gets the next larger one."""

_SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif",
          "WEBP": "image/webp", "AVIF": "image/avif"}  # fmt: skip
_QUALITY = 82
_KEPT_BYTES = 64 << 20


class Picture(NamedTuple):
    """What is sent."""

    content: bytes
    media_type: str
    etag: str


class Pictures:
    """Reads pictures by id, and keeps the latest smaller ones. Thread-safe."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._kept: OrderedDict[str, Picture] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def find(self, now: Now, id: str, width: int | None) -> Picture:
        """The picture of an image of the catalogue, its longer side about `width` at most.

        Raises UnknownIdError; ApiError where there is no picture that can be shown.
        """
        path = now.known.image_path(now.find(id))
        try:
            if path is None:
                raise ApiError(404, "no_picture", "There is no picture of this image here.")
            side = None if width is None else next((w for w in WIDTHS if w >= width), WIDTHS[-1])
            key = f"{file_key(path)}\0{side}"
            return self._get(key) or self._put(key, self._made(path, key, side))
        except (ImageError, OSError):
            message = "The picture of this image cannot be read."
            raise ApiError(404, "no_picture", message) from None

    def _made(self, path: Path, key: str, side: int | None) -> Picture:
        name = key.encode("utf-8", "surrogateescape")
        etag = f'"{hashlib.blake2b(name, digest_size=12).hexdigest()}"'
        content = read_bytes(path, self._limits)
        media_type = _SHOWN.get(sniff(content[:64]) or "")
        if media_type is not None and side is None:
            return Picture(content, media_type, etag)
        pixels = decode_within(content, side or WIDTHS[-1], limits=self._limits)
        smaller = io.BytesIO()
        Image.fromarray(pixels).save(smaller, "JPEG", quality=_QUALITY, progressive=True)
        return Picture(smaller.getvalue(), "image/jpeg", etag)

    def _get(self, key: str) -> Picture | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _put(self, key: str, picture: Picture) -> Picture:
        with self._lock:
            if key not in self._kept and len(picture.content) <= _KEPT_BYTES // 8:
                self._kept[key] = picture
                self._bytes += len(picture.content)
                while self._bytes > _KEPT_BYTES:
                    _, oldest = self._kept.popitem(last=False)
                    self._bytes -= len(oldest.content)
        return picture
