"""What a ranker reads of an image, side by side in one row of bytes.

Ranking reads some thousand images at random for each request, and it is the trips to memory that
cost, not the arithmetic: all of an image's features lie in one run of cache lines, quantised.
Weights keep 8 bits, relative to the largest of their image, and are compared after quantisation,
so an image is exactly like itself; cosines are within 0.01 of those of the full weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Float32s
from pinjoin.features.category import Categories
from pinjoin.features.pictures import Pictures
from pinjoin.features.quality import Quality
from pinjoin.features.row_layout import MOST, MOST_DIMENSIONS, Dense, Fields, RowLayout, UInt8s
from pinjoin.features.text import Annotations
from pinjoin.features.topics import Topics
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.writer import SnapshotWriter

NAME = "packed.rows"
_BLOCK = 1 << 14  # rows packed at a time


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


def layout_of(parts: Parts) -> RowLayout:
    """One with room for these parts."""
    seen, said, about = parts.pictures, parts.annotations, parts.topics
    sorts, factors, quality = parts.categories, parts.factors, parts.quality
    return RowLayout(
        n_bits=0 if seen is None else seen.n_bits,
        classes=0 if seen is None or seen.ids is None else min(seen.ids.shape[1], MOST),
        terms=0 if said is None else min(said.ids.shape[1], MOST),
        topics=0 if about is None else min(about.vectors.shape[1], MOST_DIMENSIONS),
        categories=0 if not sorts or not len(sorts.names) else min(sorts.ids.shape[1], MOST),
        factors=0 if factors is None else min(factors.shape[1], MOST_DIMENSIONS),
        quality=() if quality is None else tuple(quality.definitions.items()),
        encoder="" if seen is None else seen.encoder,
    )


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
        layout = layout_of(parts)
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

    def with_dense(self, name: Dense, vectors: npt.NDArray[np.floating[Any]]) -> PackedRows:
        """With other topics or factors of all rows: vectors (images, d). A copy in memory."""
        data = np.array(self.data)
        fields = Fields(data, self.layout)
        fields.part(name)[:] = 0
        fields.set_dense(name, vectors)
        return PackedRows(data, self.layout)


def save_packed(
    writer: SnapshotWriter, parts: Parts, n_images: int, *, progress: Progress = silent
) -> RowLayout:
    """Pack all images into what `PackedRows.open` opens, block by block."""
    layout = layout_of(parts)
    writer.save_json(NAME, layout.to_json())
    data = writer.create_array(NAME, np.uint8, (n_images, layout.bytes))
    with progress("packing features", n_images) as advance:
        for first in range(0, n_images, _BLOCK):
            rows = np.arange(first, min(first + _BLOCK, n_images))
            data[first : first + len(rows)] = pack(layout, parts, rows)
            advance(len(rows))
    return layout
