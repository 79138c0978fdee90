"""What each character is to a reader of pin texts: letter, space, emoji … and its lower case."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from pinjoin.features import _words_kernel as kernel

_CLASSES = {
    "L": kernel.LETTER,
    "Nd": kernel.DIGIT,
    "Nl": kernel.LETTER,
    "No": kernel.LETTER,
    "M": kernel.MARK,
    "Zs": kernel.SPACE,
    "Cf": kernel.IGNORED,
    "Pc": kernel.SPACE,
    "Pd": kernel.SPACE,
}
"""By general category, or its first letter. What is not here breaks a phrase off."""

_RANGES = (
    (0x3041, 0x3096, kernel.HIRAGANA),
    (0x309D, 0x309F, kernel.HIRAGANA),
    (0x30A1, 0x30FA, kernel.KATAKANA),
    (0x30FC, 0x30FF, kernel.KATAKANA),
    (0x31F0, 0x31FF, kernel.KATAKANA),
    (0x3005, 0x3007, kernel.IDEOGRAPH),
    (0x3105, 0x312F, kernel.IDEOGRAPH),
    (0x3400, 0x4DBF, kernel.IDEOGRAPH),
    (0x4E00, 0x9FFF, kernel.IDEOGRAPH),
    (0xF900, 0xFAFF, kernel.IDEOGRAPH),
)
_NO_SPACES = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
"""Thai and Lao, Burmese, Khmer: written without spaces; a word here is a letter and its marks."""

_EMOJI = (
    (0x231A, 0x231B), (0x23E9, 0x23F3), (0x2600, 0x2604), (0x260E, 0x260E), (0x2614, 0x2615),
    (0x2618, 0x2618), (0x261D, 0x261D), (0x2620, 0x2623), (0x2626, 0x262F), (0x2638, 0x263A),
    (0x2640, 0x2642), (0x2648, 0x2653), (0x265F, 0x2668), (0x267B, 0x267F), (0x2692, 0x26FD),
    (0x2702, 0x2702), (0x2708, 0x2712), (0x271D, 0x271D), (0x2721, 0x2721), (0x2728, 0x2728),
    (0x2733, 0x2734), (0x2744, 0x2747), (0x2753, 0x2757), (0x2763, 0x2764), (0x27B0, 0x27BF),
    (0x2B50, 0x2B50), (0x2B55, 0x2B55), (0x1F004, 0x1F004), (0x1F0CF, 0x1F0CF),
    (0x1F300, 0x1F3FA), (0x1F400, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F7E0, 0x1F7F0),
    (0x1F90C, 0x1FAFF),
)  # fmt: skip
"""Pictures, without the arrows, ticks and squares that people use as bullets."""

_SINGLE = {
    "\t": kernel.SPACE,
    "/": kernel.SPACE,
    "+": kernel.SPACE,
    "\u200b": kernel.SPACE,  # zero width space: where Thai and Khmer words end
    "&": kernel.LINK,
    "-": kernel.LINK,
    "\u2010": kernel.LINK,
    "'": kernel.APOSTROPHE,
    "\u2019": kernel.APOSTROPHE,
    "\u200d": kernel.JOINER,  # in emoji; elsewhere a matter of looks
    "\u0640": kernel.IGNORED,  # Arabic letters drawn out
}


@cache
def classes() -> npt.NDArray[np.uint8]:
    """uint8[0x20000]: the class of each character; read-only."""
    table = np.zeros(kernel.TABLE, np.uint8)
    for c in range(kernel.TABLE):
        category = unicodedata.category(chr(c))
        table[c] = _CLASSES.get(category, _CLASSES.get(category[0], kernel.BREAK))
    letters = table == kernel.LETTER
    for first, last in _NO_SPACES:
        here = slice(first, last + 1)
        table[here] = np.where(letters[here], kernel.CLUSTER, table[here])
    for first, last in _EMOJI:
        table[first : last + 1] = kernel.EMOJI
    for first, last, kind in _RANGES:
        table[first : last + 1] = kind
    table[0xFE00:0xFE10] = kernel.IGNORED  # which look of an emoji or ideograph
    table[0x1F1E6:0x1F200] = kernel.REGIONAL
    table[0x1F3FB:0x1F400] = kernel.IGNORED  # skin tones: the same picture
    for character, kind in _SINGLE.items():
        table[ord(character)] = kind
    table.flags.writeable = False
    return table


@cache
def folds() -> npt.NDArray[np.uint64]:
    """uint64[0x20000]: the case-folded character, and a second one (ß → ss) in the high half."""
    table = np.arange(kernel.TABLE, dtype=np.uint64)
    for c in range(kernel.TABLE):
        if 0xD800 <= c < 0xE000:
            continue
        folded = unicodedata.normalize("NFKC", chr(c).casefold())
        if len(folded) <= 2 and all(ord(x) <= sys.maxunicode for x in folded):
            table[c] = sum(ord(x) << 32 * place for place, x in enumerate(folded))
    table[0x130] = ord("i")  # İ: Turkish writes it small as a plain i
    table[ord("\u03c2")] = ord("\u03c3")
    table.flags.writeable = False
    return table
