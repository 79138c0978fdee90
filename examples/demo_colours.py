"""Name the colour of the garment in a photo: what differs from the photo's own border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

# Colour words people use for clothes, each with one typical sRGB value.
PALETTE = {
    "black": (28, 28, 30),
    "white": (238, 236, 232),
    "grey": (135, 135, 138),
    "navy": (32, 38, 72),
    "blue": (45, 85, 175),
    "light blue": (150, 185, 220),
    "teal": (30, 125, 130),
    "green": (55, 125, 65),
    "olive": (105, 105, 60),
    "mustard": (200, 155, 45),
    "yellow": (240, 220, 80),
    "orange": (225, 110, 50),
    "red": (195, 35, 45),
    "burgundy": (100, 28, 45),
    "pink": (230, 140, 165),
    "purple": (110, 65, 145),
    "brown": (95, 65, 48),
    "beige": (210, 190, 165),
    "coral": (235, 115, 105),
    "fuchsia": (200, 40, 120),
    "mint": (150, 215, 195),
    "lavender": (180, 165, 210),
}


def lab(rgb: NDArray[np.uint8] | Floats) -> Floats:
    """sRGB 0..255, shape (..., 3), as CIE L*a*b* (D65): distances there are as the eye sees."""
    c = np.asarray(rgb, dtype=np.float64) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x = c @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1
    )


NAMES = list(PALETTE)
_CENTRES = lab(np.array(list(PALETTE.values()), dtype=np.float64))
_HUE_FIRST = np.array([0.6, 1.25, 1.25])  # folds and shadows change lightness more than hue


def _ellipse(height: int, width: int, reach_y: float, reach_x: float) -> NDArray[np.bool_]:
    y, x = np.mgrid[0:height, 0:width]
    return ((x - width / 2) / (width * reach_x)) ** 2 + (
        (y - height / 2) / (height * reach_y)
    ) ** 2 < 1


def garment_colour(photo: Image.Image) -> str:
    """The palette name most pixels of the garment are nearest to.

    The garment is taken to be what lies in the middle and matches no colour of the border; where
    that leaves too little (a black dress on black), the very middle is taken as it is.
    """
    small = photo.convert("RGB")
    small.thumbnail((96, 96))
    pixels = lab(np.asarray(small))  # (height, width, 3)
    height, width, _ = pixels.shape
    margin = max(3, int(0.06 * min(height, width)))
    border = np.ones((height, width), dtype=bool)
    border[margin:-margin, margin:-margin] = False
    seen, times = np.unique(np.round(pixels[border] / 8).astype(int), axis=0, return_counts=True)
    background = seen[times >= max(2, 0.004 * border.sum())] * 8.0
    away = np.full((height, width), np.inf)
    for colour in background:
        apart = np.linalg.norm((pixels - colour) * np.array([0.8, 1, 1]), axis=-1)
        away = np.minimum(away, apart)
    inside = _ellipse(height, width, 0.42, 0.40)
    garment = inside & (away > 10)
    if garment.sum() <= 0.3 * inside.sum():
        garment = _ellipse(height, width, 0.25, 0.20)
    distance = np.linalg.norm((pixels[garment][:, None] - _CENTRES) * _HUE_FIRST, axis=-1)
    votes = np.bincount(np.argmin(distance, axis=1), minlength=len(NAMES))
    return NAMES[int(np.argmax(votes))]
