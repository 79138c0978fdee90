"""How the bytes of a packed row are laid out, and the parts of rows as numbers.

A row begins with the code of its picture; then come numbers of 4 bytes, of 2 and of 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import SnapshotError
from pinjoin.core.types import Float32s, UInt32s
from pinjoin.features.category import NO_CATEGORY
from pinjoin.features.text import NO_TERM

FORMAT_VERSION = 1

MOST = 32
"""Terms, classes and categories of an image that a row holds, at most: its largest."""

MOST_DIMENSIONS = 64
"""Of topic and factor vectors: a row holds the first so many."""

SEEN, SAID, SORTED = 1, 2, 4
"""Bits of a row's flags: it has a picture, a term, a category."""

(
    CLASS_SCALE, TERM_SCALE, TOPIC_SCALE, FACTOR_SCALE, CATEGORY_SCALE,
    BOARDS, BOARD_SCALE, LOG_BOARDS, SHARE_UNIT,
) = range(9)  # fmt: skip
HEADER = 9
"""Places of the float32 numbers in the header. The scale of a part is 1 / its Euclidean length as
quantised, 0 if it is missing. BOARDS: that hold the image; BOARD_SCALE: 1 / √boards and
LOG_BOARDS: ln(boards), 0 if it is on none. SHARE_UNIT: what 1 of a category's number stands for."""

UInt8s = npt.NDArray[np.uint8]
Dense = Literal["topics", "factors"]
_LINE = 64  # bytes of a cache line


@dataclass(frozen=True)
class RowLayout:
    """What a packed row holds; 0 of what the catalogue does not have. Kept as JSON."""

    n_bits: int = 0  # of an fc6 code
    classes: int = 0  # fc8 classes of an image
    terms: int = 0  # of an image
    topics: int = 0
    categories: int = 0  # of an image
    factors: int = 0
    quality: tuple[tuple[str, str], ...] = ()  # names and definitions of query-independent columns
    encoder: str = ""  # that made the codes
    format_version: int = FORMAT_VERSION

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RowLayout:
        """What `to_json` gave; SnapshotError for another format."""
        if content["format_version"] != FORMAT_VERSION:
            raise SnapshotError(
                f"The packed rows are of format {content['format_version']!r}; this version reads "
                f"format {FORMAT_VERSION}. Build again."
            )
        return cls(**content | {"quality": tuple(map(tuple, content["quality"]))})

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each part begins, in bytes; each at a multiple of its numbers' size."""
        sizes = {
            "bits": -(-self.n_bits // 64) * 8,
            "header": 4 * HEADER,
            "quality": 4 * len(self.quality),
            "term_ids": 4 * self.terms,
            "class_ids": 2 * self.classes,
            "category_ids": 2 * self.categories,
            "topics": MOST_DIMENSIONS * (self.topics > 0),
            "factors": MOST_DIMENSIONS * (self.factors > 0),
            "term_weights": self.terms,
            "class_values": self.classes,
            "shares": self.categories,
            "flags": 1,
        }
        ends = np.cumsum(list(sizes.values()))
        starts = [0, *ends.tolist()]
        return dict(zip([*sizes, "end"], starts, strict=True))

    @property
    def bytes(self) -> int:
        """Of a row: whole cache lines."""
        return -(-self.offsets["end"] // _LINE) * _LINE


class Fields:
    """The parts of packed rows (n, bytes) as numbers, for reading and, if `data` is, writing."""

    def __init__(self, data: UInt8s, layout: RowLayout) -> None:
        self.data, self.layout = data, layout

    def part(self, name: str, dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
        """(n, of each) one part of all rows, a view."""
        offsets = list(self.layout.offsets.values())
        at = list(self.layout.offsets).index(name)
        first, last = offsets[at], offsets[at + 1]
        size = np.dtype(dtype).itemsize
        return self.data.view(dtype)[:, first // size : last // size]

    @property
    def header(self) -> npt.NDArray[np.float32]:
        return self.part("header", np.float32)

    @property
    def flags(self) -> UInt8s:
        flags: UInt8s = self.part("flags")[:, 0]
        return flags

    @property
    def categories(self) -> tuple[npt.NDArray[np.uint16], Float32s]:
        """(n, kept) ids and shares, 0 where there are fewer."""
        shares = self.part("shares") * self.header[:, SHARE_UNIT, None]
        return self.part("category_ids", np.uint16), shares

    def set_codes(self, bits: UInt8s, present: npt.NDArray[np.bool_] | None = None) -> None:
        """Codes of fc6 bits; present: (n,) whether there is a picture, None: all have one."""
        self.part("bits")[:, : bits.shape[1]] = bits
        self._flag(SEEN, np.ones(len(bits), np.bool_) if present is None else present)

    def set_classes(self, ids: npt.NDArray[np.uint16], values: npt.NDArray[Any]) -> None:
        n = self.layout.classes
        quantised = _quantised(values[:, :n], 127)
        self.part("class_ids", np.uint16)[:] = ids[:, :n]
        self.part("class_values", np.int8)[:] = quantised
        self.header[:, CLASS_SCALE] = _per_length(quantised)

    def set_terms(self, ids: UInt32s, weights: Float32s) -> None:
        n = self.layout.terms
        quantised = _quantised(weights[:, :n], 255)
        self.part("term_ids", np.uint32)[:] = ids[:, :n]
        self.part("term_weights")[:] = quantised
        self.header[:, TERM_SCALE] = _per_length(quantised)
        self._flag(SAID, ids[:, 0] != NO_TERM)

    def set_dense(self, name: Dense, vectors: npt.NDArray[Any]) -> None:
        """Vectors; of unit length or not makes no difference."""
        place = TOPIC_SCALE if name == "topics" else FACTOR_SCALE
        n = min(vectors.shape[1], getattr(self.layout, name))
        quantised = _quantised(vectors[:, :n], 127)
        self.part(name, np.int8)[:, :n] = quantised
        self.header[:, place] = _per_length(quantised)

    def set_categories(self, ids: npt.NDArray[np.uint16], shares: Float32s) -> None:
        n = self.layout.categories
        quantised = _quantised(shares[:, :n], 255)
        self.part("category_ids", np.uint16)[:] = ids[:, :n]
        self.part("shares")[:] = quantised
        self.header[:, CATEGORY_SCALE] = _per_length(quantised)
        self.header[:, SHARE_UNIT] = shares[:, :n].max(axis=1, initial=0) / 255
        self._flag(SORTED, ids[:, 0] != NO_CATEGORY)

    def set_quality(self, values: Float32s) -> None:
        """The first columns, all or some; the very first tells on how many boards an image is."""
        self.part("quality", np.float32)[:, : values.shape[1]] = values
        if values.shape[1]:
            boards = np.rint(np.expm1(values[:, 0].astype(np.float64)))
            known = np.maximum(boards, 1)
            header = self.header
            header[:, BOARDS] = boards
            header[:, BOARD_SCALE] = np.where(boards > 0, 1 / np.sqrt(known), 0)
            header[:, LOG_BOARDS] = np.log(known)

    def _flag(self, flag: int, present: npt.NDArray[np.bool_]) -> None:
        self.flags[:] = self.flags & ~np.uint8(flag) | np.where(present, flag, 0).astype(np.uint8)


def _quantised(values: npt.NDArray[Any], most: int) -> Float32s:
    """Whole numbers up to ±most, the largest of each row ±most; all 0 stay so."""
    values = values.astype(np.float32)
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    # What is too small for 1 / largest to be a number counts as 0.
    scaled: Float32s = np.rint(values * (most / np.where(largest > 1e-30, largest, np.inf)))
    return scaled


def _per_length(vectors: npt.NDArray[Any]) -> Float32s:
    lengths = np.linalg.norm(vectors, axis=1)
    return np.asarray(1 / np.where(lengths > 0, lengths, np.inf), np.float32)
