"""§III: the category vector, how an image's boards divide over the categories.

share(image, category) = boards of the image in the category / its boards in any; shares under a
threshold count as zero (what remains is not scaled up). Similarity is the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core._incidence_kernel import group, offsets
from pinjoin.core.errors import check
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import Float32s, Int64s, UInt32s
from pinjoin.features import _category_kernel as kernel
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.writer import SnapshotWriter

NO_CATEGORY = 0xFFFF
"""In `Categories.ids`: no category here; the share is 0."""

UInt16s = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class CategoryConfig:
    """What of a distribution is kept."""

    threshold: float = 0.1  # smaller shares are zero
    keep: int = 8  # categories of an image, at most

    def __post_init__(self) -> None:
        share = self.threshold
        check(0 <= share <= 1, "threshold", "CategoryConfig", "from 0 to 1", share)
        check(1 <= self.keep <= 256, "keep", "CategoryConfig", "from 1 to 256", self.keep)


@dataclass(frozen=True)
class Categories:
    """The category vectors of all images; categories by number: of most boards first, then by name.

    names: (categories,) string. ids: (images, keep) uint16, largest share first, ties by number,
    then NO_CATEGORY. shares: (images, keep) float32.
    images: (images with a category,) uint32, by their largest category, then by row;
    images_indptr: (categories + 1,) int64, where those of each category begin.
    """

    names: pa.Array | pa.ChunkedArray
    ids: UInt16s
    shares: Float32s
    images_indptr: Int64s
    images: UInt32s
    config: CategoryConfig

    def of(self, row: int) -> list[tuple[str, float]]:
        """The categories of one image with their shares, largest first."""
        kept = self.ids[row] != NO_CATEGORY
        return [
            (self.names[int(number)].as_py(), float(share))
            for number, share in zip(self.ids[row][kept], self.shares[row][kept], strict=True)
        ]

    def popular(self, row: int, k: int) -> UInt32s:
        """Up to k images, most popular first, of an image's categories, its largest first.

        An image stands under its largest category only, so none comes twice; `row` itself may.
        """
        kept = [int(number) for number in self.ids[row] if number != NO_CATEGORY]
        parts = [np.empty(0, np.uint32)]
        for number in kept:
            first = int(self.images_indptr[number])
            last = min(int(self.images_indptr[number + 1]), first + k - sum(map(len, parts)))
            parts.append(self.images[first:last])
        return np.concatenate(parts)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(images,) whether an image has any category: the indicator feature."""
        present: npt.NDArray[np.bool_] = self.ids[:, 0] != NO_CATEGORY
        return present

    def save(self, writer: SnapshotWriter) -> None:
        """Store under names that begin with `category.`."""
        writer.save_table("category.names", pa.table({"category": self.names}))
        writer.save_array("category.ids", self.ids)
        writer.save_array("category.shares", self.shares)
        writer.save_array("category.images.indptr", self.images_indptr)
        writer.save_array("category.images", self.images)
        writer.save_json("category", {"config": asdict(self.config)})

    @classmethod
    def open(cls, snapshot: Snapshot) -> Categories:
        """Those of a snapshot, mapped."""
        return cls(
            snapshot.table("category.names")["category"],
            snapshot.array("category.ids"),
            snapshot.array("category.shares"),
            snapshot.array("category.images.indptr"),
            snapshot.array("category.images"),
            CategoryConfig(**snapshot.json("category")["config"]),
        )


def build(
    categories: pa.Array | pa.ChunkedArray | Sequence[str | None],
    incidence: Incidence,
    config: CategoryConfig | None = None,
) -> Categories:
    """Category vectors of all images, from the category of each board (null or blank = none).

    Blanks around a name do not count. Beyond 65,535 categories those of fewest boards are
    left out.
    """
    config = config or CategoryConfig()
    given = _column(categories)
    fits = len(given) == incidence.n_boards
    check(fits, "categories", "category.build", f"{incidence.n_boards} long, one a board",
          len(given))  # fmt: skip
    names, numbers = _number(given)
    shape = incidence.n_images, config.keep
    ids, shares = np.full(shape, NO_CATEGORY, np.uint16), np.zeros(shape, np.float32)
    kernel.category_shares(
        incidence.image_indptr, incidence.image_boards, numbers, len(names), config.threshold,
        ids, shares,
    )  # fmt: skip
    largest = ids[:, 0].astype(np.uint32)
    indptr = offsets(largest, len(names))
    images = group(largest, np.arange(len(ids), dtype=np.uint32), indptr)
    return Categories(names, ids, shares, indptr, images, config)


def numbered(categories: pa.Array | pa.ChunkedArray, names: pa.Array | pa.ChunkedArray) -> UInt16s:
    """(boards,) the numbers of boards' categories among known names; NO_CATEGORY for others."""
    known = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    found = pc.index_in(pc.utf8_trim_whitespace(categories.cast(pa.string())), known)
    return np.asarray(pc.fill_null(found, NO_CATEGORY)).astype(np.uint16)


def _column(categories: pa.Array | pa.ChunkedArray | Sequence[str | None]) -> pa.Array:
    if not isinstance(categories, (pa.Array, pa.ChunkedArray)):
        categories = pa.array(categories, pa.string())
    if isinstance(categories, pa.ChunkedArray):
        categories = categories.combine_chunks()
    trimmed = pc.utf8_trim_whitespace(categories.cast(pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _number(given: pa.Array) -> tuple[pa.Array, UInt16s]:
    """The distinct categories, of most boards first, and the number of each board's."""
    encoded = given.dictionary_encode()
    found = encoded.dictionary
    codes = np.asarray(pc.fill_null(encoded.indices, len(found))).astype(np.int64)
    counts = np.bincount(codes, minlength=len(found) + 1)[: len(found)]
    order = np.asarray(pc.sort_indices(found)).astype(np.int64)  # by bytes
    order = order[np.argsort(-counts[order], kind="stable")][:NO_CATEGORY]
    numbers = np.full(len(found) + 1, NO_CATEGORY, np.uint16)
    numbers[order] = np.arange(len(order))
    return found.take(pa.array(order)), numbers[codes]
