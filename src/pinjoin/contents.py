"""What is known of each image of a built catalogue: words, topics, categories, pictures."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.content import Content, ContentNeighbours
from pinjoin.candidates.copies import HammingCopies
from pinjoin.candidates.nearest import INVERTED, TextNeighbours
from pinjoin.candidates.picture_index import open_index
from pinjoin.core.types import Float32s, UInt32s
from pinjoin.features.category import Categories, numbered
from pinjoin.features.packed import PackedRows
from pinjoin.features.pairs import PairConfig, PairFeatures
from pinjoin.features.pictures import Pictures
from pinjoin.features.text import NO_TERM, Annotations
from pinjoin.features.topics import Topics
from pinjoin.lookup import Lookup
from pinjoin.ranking.navboost import Navboost
from pinjoin.ranking.navboost_store import open_navboost

_COPY_SHARE = 0.06
"""Pictures that differ in at most this share of their bits are shown once. A photo saved again at
quality 50 differs in some 6 %; of 2,345 film posters hardly two differ in less than 24 %."""


class Contents(Lookup):
    """A catalogue with its content features, mapped when first asked for. Thread-safe."""

    @cached_property
    def annotations(self) -> Annotations:
        """What people say of each image."""
        return Annotations.open(self.snapshot)

    @cached_property
    def categories(self) -> Categories:
        """The categories of each image's boards."""
        return Categories.open(self.snapshot)

    @cached_property
    def topics(self) -> Topics:
        """What each image's annotations are about."""
        return Topics.open(self.snapshot)

    @cached_property
    def pictures(self) -> Pictures | None:
        """What an encoder saw in each image; None if built without."""
        return Pictures.open(self.snapshot)

    @cached_property
    def board_categories(self) -> npt.NDArray[np.uint16]:
        """(boards,) the number of each board's category, NO_CATEGORY if it has none."""
        return numbered(self._boards.table["category"], self.categories.names)

    def pair_features(self, config: PairConfig | None = None) -> PairFeatures:
        """The features of pairs of its images."""
        names = self.categories.names.to_pylist()
        return PairFeatures(self.packed, names, max(self.n_boards, 1), config)

    @cached_property
    def packed(self) -> PackedRows:
        """What a ranker reads of each image."""
        return PackedRows.open(self.snapshot)

    def navboost(self, name: str) -> Navboost:
        """What people did, as kept under a name: one for all models that count it."""
        if name not in self.navboosts:
            find = self.find_signatures
            opened = open_navboost(self.path, name, self.snapshot.name, find)
            return self.navboosts.setdefault(name, opened)
        return self.navboosts[name]

    @cached_property
    def navboosts(self) -> dict[str, Navboost]:
        """Those that were asked for, by name."""
        return {}

    def content_of(self, row: int) -> Content:
        """Words, topics and picture of one image."""
        said, seen = self.annotations, self.pictures
        words = said.ids[row] != NO_TERM
        code = seen.bits[row] if seen is not None and seen.present[row] else None
        return Content(
            code, said.ids[row][words], said.weights[row][words], self.topics.vectors[row]
        )

    @cached_property
    def neighbours(self) -> ContentNeighbours:
        """Finds what is alike in content."""
        said, seen = self.annotations, self.pictures
        indptr, images, weights = (self.snapshot.array(f"text.inverted.{n}") for n in INVERTED)
        return ContentNeighbours(
            None if seen is None else open_index(self.snapshot),
            None if seen is None else seen.bits,
            None if seen is None else seen.present,
            1 if seen is None else seen.n_bits,
            TextNeighbours.from_arrays(indptr, images, weights, self.n_images),
            said.ids,
            said.weights,
            self.topics.vectors,
        )

    @cached_property
    def copies(self) -> HammingCopies | None:
        """Tells pictures that are nearly the same; None if built without."""
        if self.pictures is None:
            return None
        limit = int(_COPY_SHARE * self.pictures.n_bits)
        return HammingCopies(self.pictures.bits, self.pictures.present, limit)

    def popular(self, k: int) -> UInt32s:
        """The k most popular images: rows are by popularity."""
        return np.arange(min(k, self.n_images), dtype=np.uint32)

    def popular_in_category(self, row: int, k: int) -> UInt32s:
        """Up to k images of an image's categories: see `Categories.popular`."""
        return self.categories.popular(row, k)

    def popularity(self, rows: UInt32s) -> Float32s:
        """Boards that hold each row, (rows,) float32."""
        boards: Float32s = self.graph.by_image.sizes_of(rows).astype(np.float32)
        return boards
