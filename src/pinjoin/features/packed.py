"""What a ranker reads of an image, side by side in one row of bytes.

Ranking reads some thousand images at random for each request, and it is the trips to memory that
cost, not the arithmetic: all of an image's features lie in one run of cache lines, quantised.
Weights keep 8 bits, relative to the largest of their image, and are compared after quantisation,
so an image is exactly like itself; cosines are within 0.01 of those of the full weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import SnapshotError, check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Float32s, UInt32s
from pinjoin.features.category import NO_CATEGORY, Categories
from pinjoin.features.pictures import Pictures
from pinjoin.features.quality import Quality
from pinjoin.features.text import NO_TERM, Annotations
from pinjoin.features.topics import Topics
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.writer import SnapshotWriter

FORMAT_VERSION = 1
NAME = "packed.rows"

MOST = 32
"""Terms, classes and categories of an image that are packed, at most: its largest."""

MOST_DIMENSIONS = 64
"""Of topic and factor vectors: the first so many are packed."""

LINE = 64  # bytes of a cache line
HEADER = 8  # float32 numbers of every row, as `Header` names them
SEEN, SAID, SORTED = 1, 2, 4
"""Bits of a row's flags: it has a picture, a term, a category."""

UInt8s = npt.NDArray[np.uint8]
Dense = Literal["topics", "factors"]
_BLOCK = 1 << 14  # rows packed at a time


class Header:
    """Places of the numbers that every row begins with, after its code."""

    CLASSES, TERMS, TOPICS, FACTORS, CATEGORIES = range(5)
    """1 / Euclidean length of the quantised part; 0 if it is missing."""
    BOARDS, PER_ROOT, LOG_BOARDS = 5, 6, 7
    """Boards that hold the image; 1 / √boards and ln(boards), 0 if it is on none."""


@dataclass(frozen=True)
class RowLayout:
    """What a packed row holds; 0 of what the catalogue does not have. Kept as JSON."""

    n_bits: int = 0  # of an fc6 code
    classes: int = 0  # fc8 classes of an image
    terms: int = 0
    topics: int = 0
    categories: int = 0  # of an image
    factors: int = 0
    quality: tuple[tuple[str, str], ...] = ()  # names and definitions of query-independent columns
    encoder: str = ""  # that made the codes
    format_version: int = FORMAT_VERSION

    @classmethod
    def of(cls, parts: Parts) -> RowLayout:
        """One with room for some parts."""
        seen, said, about = parts.pictures, parts.annotations, parts.topics
        sorts, factors, quality = parts.categories, parts.factors, parts.quality
        return cls(
            n_bits=0 if seen is None else seen.n_bits,
            classes=0 if seen is None or seen.ids is None else min(seen.ids.shape[1], MOST),
            terms=0 if said is None else min(said.ids.shape[1], MOST),
            topics=0 if about is None else min(about.vectors.shape[1], MOST_DIMENSIONS),
            categories=0 if sorts is None or len(sorts.names) == 0
            else min(sorts.ids.shape[1], MOST),
            factors=0 if factors is None else min(factors.shape[1], MOST_DIMENSIONS),
            quality=() if quality is None
            else tuple((name, quality.definitions[name]) for name in quality.names),
            encoder="" if seen is None else seen.encoder,
        )  # fmt: skip

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
        return -(-self.offsets["end"] // LINE) * LINE

    @property
    def quality_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.quality)


@dataclass(frozen=True)
class Parts:
    """What is known of images, a row each, in the classes of `features`; None: nothing.

    factors: (images, d) numbers, rows of unit length, 0 where there is none.
    """

    pictures: Pictures | None = None
    annotations: Annotations | None = None
    topics: Topics | None = None
    categories: Categories | None = None
    factors: npt.NDArray[np.floating[Any]] | None = None
    quality: Quality | None = None


def pack(layout: RowLayout, parts: Parts, rows: npt.NDArray[np.integer[Any]]) -> UInt8s:
    """(rows, layout.bytes) uint8: the packed rows of some rows of the parts.

    A part that the layout has and `parts` has not is left zero: missing.
    """
    out = np.zeros((len(rows), layout.bytes), np.uint8)
    fields = Fields(out, layout)
    if parts.pictures is not None and layout.n_bits:
        _pack_pictures(fields, parts.pictures, rows)
    if parts.annotations is not None and layout.terms:
        said = parts.annotations
        fields.set_terms(said.ids[rows], said.weights[rows])
    if parts.topics is not None and layout.topics:
        fields.set_dense("topics", parts.topics.vectors[rows])
    if parts.factors is not None and layout.factors:
        fields.set_dense("factors", parts.factors[rows])
    if parts.categories is not None and layout.categories:
        sorts = parts.categories
        fields.set_categories(sorts.ids[rows], sorts.shares[rows])
    if parts.quality is not None:
        fields.set_quality(parts.quality.values[rows])
    return out


def pack_picture(
    layout: RowLayout,
    bits: UInt8s,
    ids: npt.NDArray[np.uint16] | None = None,
    values: npt.NDArray[np.float16] | None = None,
) -> UInt8s:
    """(layout.bytes,) uint8: the row of a picture from outside the catalogue, by what the
    catalogue's encoder saw in it; bits: its code, ids and values: its classes, largest first."""
    out = np.zeros((1, layout.bytes), np.uint8)
    fields = Fields(out, layout)
    fields.set_codes(bits[None])
    if ids is not None and values is not None and layout.classes:
        fields.set_classes(ids[None], values[None])
    row: UInt8s = out[0]
    return row


def _pack_pictures(fields: Fields, pictures: Pictures, rows: npt.NDArray[np.integer[Any]]) -> None:
    present = pictures.present[rows]
    fields.set_codes(pictures.bits[rows], present)
    if fields.layout.classes and pictures.ids is not None and pictures.values is not None:
        fields.set_classes(pictures.ids[rows], pictures.values[rows])


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
    def categories(self) -> tuple[npt.NDArray[np.uint16], UInt8s]:
        """(n, kept) ids, and shares in 255ths."""
        return self.part("category_ids", np.uint16), self.part("shares")

    def set_codes(self, bits: UInt8s, present: npt.NDArray[np.bool_] | None = None) -> None:
        flag = SEEN if present is None else np.where(present, SEEN, 0).astype(np.uint8)
        self.part("bits")[:, : bits.shape[1]] = bits
        self.flags[:] = self.flags & ~np.uint8(SEEN) | flag

    def set_classes(self, ids: npt.NDArray[np.uint16], values: npt.NDArray[Any]) -> None:
        n = self.layout.classes
        quantised = _quantised(values[:, :n], 127)
        self.part("class_ids", np.uint16)[:] = ids[:, :n]
        self.part("class_values", np.int8)[:] = quantised
        self.header[:, Header.CLASSES] = _per_length(quantised)

    def set_terms(self, ids: UInt32s, weights: Float32s) -> None:
        n = self.layout.terms
        quantised = _quantised(weights[:, :n], 255)
        self.part("term_ids", np.uint32)[:] = ids[:, :n]
        self.part("term_weights")[:] = quantised
        self.header[:, Header.TERMS] = _per_length(quantised)
        self._flag(SAID, ids[:, 0] != NO_TERM)

    def set_dense(self, name: Dense, vectors: npt.NDArray[Any]) -> None:
        """Vectors; of unit length or not makes no difference."""
        place = Header.TOPICS if name == "topics" else Header.FACTORS
        n = min(vectors.shape[1], getattr(self.layout, name))
        quantised = _quantised(vectors[:, :n], 127)
        self.part(name, np.int8)[:, :n] = quantised
        self.header[:, place] = _per_length(quantised)

    def set_categories(self, ids: npt.NDArray[np.uint16], shares: Float32s) -> None:
        n = self.layout.categories
        quantised = np.rint(shares[:, :n] * 255)
        self.part("category_ids", np.uint16)[:] = ids[:, :n]
        self.part("shares")[:] = quantised
        self.header[:, Header.CATEGORIES] = _per_length(quantised)
        self._flag(SORTED, ids[:, 0] != NO_CATEGORY)

    def set_quality(self, values: Float32s, first: int = 0) -> None:
        """Columns from `first` on; the first of all tells on how many boards an image is."""
        self.part("quality", np.float32)[:, first : first + values.shape[1]] = values
        if first == 0 and values.shape[1]:
            boards = np.rint(np.expm1(values[:, 0].astype(np.float64)))
            known = np.maximum(boards, 1)
            header = self.header
            header[:, Header.BOARDS] = boards
            header[:, Header.PER_ROOT] = np.where(boards > 0, 1 / np.sqrt(known), 0)
            header[:, Header.LOG_BOARDS] = np.log(known)

    def _flag(self, flag: int, present: npt.NDArray[np.bool_]) -> None:
        self.flags[:] = self.flags & ~np.uint8(flag) | np.where(present, flag, 0).astype(np.uint8)


def _quantised(values: npt.NDArray[Any], most: int) -> Float32s:
    """Whole numbers up to ±most, the largest of each row ±most; all 0 stay so."""
    values = values.astype(np.float32)
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    scaled: Float32s = np.rint(values * (most / np.where(largest > 0, largest, np.inf)))
    return scaled


def _per_length(vectors: npt.NDArray[Any]) -> Float32s:
    lengths = np.linalg.norm(vectors, axis=1)
    return np.asarray(1 / np.where(lengths > 0, lengths, np.inf), np.float32)


@dataclass(frozen=True)
class PackedRows:
    """The packed rows of all images.

    data: (images, layout.bytes) uint8. file: what it is mapped from, if it is; changed: rows that
    differ from the file.
    """

    data: UInt8s
    layout: RowLayout
    file: Path | None = None
    changed: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        fits = self.data.ndim == 2 and self.data.shape[1] == self.layout.bytes
        allowed = f"of shape (images, {self.layout.bytes})"
        check(fits, "data", "PackedRows", allowed, self.data.shape)

    def __len__(self) -> int:
        return len(self.data)

    def row(self, number: int) -> UInt8s:
        """(layout.bytes,) uint8, one of them."""
        inside = 0 <= number < len(self)
        check(inside, "number", "PackedRows.row", f"from 0 to {len(self) - 1}", number)
        row: UInt8s = self.data[number]
        return row

    @classmethod
    def of(cls, parts: Parts, n_images: int) -> PackedRows:
        """In memory, of all images."""
        layout = RowLayout.of(parts)
        return cls(pack(layout, parts, np.arange(n_images)), layout)

    @classmethod
    def open(cls, snapshot: Snapshot) -> PackedRows:
        """Those of a snapshot, mapped."""
        layout = RowLayout.from_json(snapshot.json(NAME))
        return cls(snapshot.array(NAME), layout, snapshot.path / f"{NAME}.npy")

    def with_rows(self, rows: npt.NDArray[np.integer[Any]], new: UInt8s) -> PackedRows:
        """With some rows replaced: new (rows, layout.bytes) uint8. The original stays as it is.

        Of mapped rows only the pages written to are copied.
        """
        rows = np.asarray(rows, np.int64)
        fits = new.shape == (len(rows), self.layout.bytes)
        allowed = f"of shape ({len(rows)}, {self.layout.bytes})"
        check(fits, "new", "PackedRows.with_rows", allowed, new.shape)
        changed = np.empty(0, np.int64) if self.changed is None else self.changed
        if self.file is None:
            data = self.data.copy()
        else:
            data = np.load(self.file, mmap_mode="c").view(np.ndarray)
            data[changed] = self.data[changed]
        data[rows] = new
        return replace(self, data=data, changed=np.union1d(changed, rows))

    def redescribed(
        self,
        rows: npt.NDArray[np.integer[Any]],
        annotations: Annotations,
        topics: Topics,
        categories: Categories,
        from_saves: Float32s,
    ) -> PackedRows:
        """With other words, topics, categories and saves of some rows; pictures and factors stay.

        annotations, topics, categories: a row for each of `rows`. from_saves: (rows, columns)
        float32, the first columns of the query-independent features (`quality.of_rows`).
        """
        new = self.data[rows]
        fields = Fields(new, self.layout)
        if self.layout.terms:
            fields.set_terms(annotations.ids, annotations.weights)
        if self.layout.topics:
            fields.set_dense("topics", topics.vectors)
        if self.layout.categories:
            fields.set_categories(categories.ids, categories.shares)
        fields.set_quality(from_saves)
        return self.with_rows(rows, new)


def save_packed(
    writer: SnapshotWriter, parts: Parts, n_images: int, *, progress: Progress = silent
) -> RowLayout:
    """Pack all images into what `PackedRows.open` opens, block by block."""
    layout = RowLayout.of(parts)
    writer.save_json(NAME, layout.to_json())
    data = writer.create_array(NAME, np.uint8, (n_images, layout.bytes))
    with progress("packing features", n_images) as advance:
        for first in range(0, n_images, _BLOCK):
            rows = np.arange(first, min(first + _BLOCK, n_images))
            data[first : first + len(rows)] = pack(layout, parts, rows)
            advance(len(rows))
    return layout
