"""§III: annotations, the terms that an image's pins and boards say of it, weighted.

A PinJoin's documents are its pins and the boards they are on; each says the terms of its title
and description. weight(image, term) = (share of the image's documents that say it) × idf, where
idf = ln((images + 1) / (images that have the term + 1)) + 1. The best 32 are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.cores import cores
from pinjoin.core.errors import check
from pinjoin.core.ids import IdIndex
from pinjoin.core.incidence import Incidence
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Float32s, Int64s, UInt32s
from pinjoin.features.documents import Documents
from pinjoin.features.terms import Terms
from pinjoin.features.words import said_terms, stop_words
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.writer import SnapshotWriter

NO_TERM = 0xFFFFFFFF
"""In `Annotations.ids`: no term here; the weight is 0."""


@dataclass(frozen=True)
class TextConfig:
    """What becomes a term and which are kept."""

    words: int = 3  # of a term, at most
    keep: int = 32  # terms of an image
    min_images: int = 2  # a term of fewer images is none: it relates nothing
    max_share: float = 0.5  # a term of more than this share of all images is none …
    max_share_from: int = 100  # … in catalogues of this many images and more
    max_terms: int = 10_000_000  # the terms of most images are considered

    def __post_init__(self) -> None:
        check(1 <= self.words <= 3, "words", "TextConfig", "from 1 to 3", self.words)
        check(1 <= self.keep <= 1024, "keep", "TextConfig", "from 1 to 1024", self.keep)
        least = self.min_images
        check(1 <= least <= 255, "min_images", "TextConfig", "from 1 to 255", least)
        share = self.max_share
        check(0 < share <= 1, "max_share", "TextConfig", "above 0, and 1 at most", share)
        check(self.max_terms >= 1, "max_terms", "TextConfig", "1 or more", self.max_terms)


@dataclass(frozen=True)
class Annotations:
    """The annotations of all images; terms by number: those of most images first, then by bytes.

    terms: (terms,) string. idf: (terms,) float32.
    ids: (images, keep) uint32, best first, ties by number, then NO_TERM.
    weights: (images, keep) float32, each row of Euclidean length 1 (all 0 without a term), so
    that the cosine of two images is the sum of products over the terms they share.
    """

    terms: pa.Array | pa.ChunkedArray
    idf: Float32s
    ids: UInt32s
    weights: Float32s
    main: int  # language of texts that show none, a place in `stop_words().languages`
    config: TextConfig

    def of(self, row: int) -> list[tuple[str, float]]:
        """The terms of one image with their weights, best first."""
        kept = self.ids[row] != NO_TERM
        return [
            (self.terms[int(term)].as_py(), float(weight))
            for term, weight in zip(self.ids[row][kept], self.weights[row][kept], strict=True)
        ]

    def annotate(self, text: str | Sequence[str]) -> tuple[UInt32s, Float32s]:
        """Describe something new by its documents: (≤ keep,) ids and weights, as of an image.

        Both are empty where no document says a known term.

        >>> said = of_texts(["red lamp", "a red sofa", "lamp"])
        >>> ids, weights = said.annotate("LAMP, red")
        >>> [(said.terms[int(i)].as_py(), round(float(w), 3)) for i, w in zip(ids, weights)]
        [('lamp', 0.707), ('red', 0.707)]
        """
        texts = [text] if isinstance(text, str) else list(text)
        said = self.known_terms(said_terms(texts, self.main, self.config.words))
        ids, counts = np.unique(np.array(list(chain(*said)), np.int64), return_counts=True)
        return self.best(ids, counts)

    def known_terms(self, said: Sequence[set[str]]) -> list[list[int]]:
        """The numbers of the terms that are known, of each set of terms, in no order."""
        names = sorted(set().union(*said))
        numbers = dict(zip(names, self._index.find_all(names).tolist(), strict=True))
        return [[number for name in terms if (number := numbers[name]) >= 0] for terms in said]

    def best(self, ids: Int64s, counts: Int64s) -> tuple[UInt32s, Float32s]:
        """The `keep` best of the terms that some documents say, by count × idf, ties by number;
        and their weights, of Euclidean length 1."""
        weights = counts * self.idf[ids].astype(float)
        best = np.lexsort((ids, -weights))[: self.config.keep]
        length = np.sqrt(np.sum(weights[best] ** 2)) or 1.0
        return ids[best].astype(np.uint32), (weights[best] / length).astype(np.float32)

    def save(self, writer: SnapshotWriter) -> None:
        """Store under names that begin with `text.`."""
        writer.save_table("text.terms", pa.table({"term": self.terms}))
        writer.save_array("text.idf", self.idf)
        writer.save_array("text.ids", self.ids)
        writer.save_array("text.weights", self.weights)
        for name, array in zip(("offsets", "rows"), IdIndex.build(self.terms), strict=True):
            writer.save_array(f"text.index.{name}", array)
        language = stop_words().languages[self.main]
        writer.save_json("text", {"config": asdict(self.config), "language": language})

    @classmethod
    def open(cls, snapshot: Snapshot) -> Annotations:
        """Those of a snapshot, mapped."""
        about = snapshot.json("text")
        array = snapshot.array
        opened = cls(
            snapshot.table("text.terms")["term"],
            array("text.idf"),
            array("text.ids"),
            array("text.weights"),
            stop_words().languages.index(about["language"]),
            TextConfig(**about["config"]),
        )
        index = IdIndex(array("text.index.offsets"), array("text.index.rows"), opened.terms)
        opened.__dict__["_index"] = index  # the stored one, not built anew
        return opened

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(*IdIndex.build(self.terms), self.terms)


def build(
    pins: pa.Table,
    boards: pa.Table,
    image_pins_indptr: Int64s,
    image_pins: UInt32s,
    incidence: Incidence,
    config: TextConfig | None = None,
    *,
    threads: int | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> Annotations:
    """Annotate all images.

    pins, boards: tables with `title` and `description`, in the order of their rows; the pins of
    image i are image_pins[image_pins_indptr[i] : image_pins_indptr[i + 1]]. The result depends
    neither on threads nor on the order of pins. Memory: 4 bytes for each pin, 20 for each
    distinct text, the terms (`max_terms` and as many as one part in two images says), 256 for
    each image; word numbers beyond 256 MiB lie in a temporary file in `folder`.
    """
    config = config or TextConfig()
    threads = threads or cores()
    check(threads >= 1, "threads", "text.build", "1 or more", threads)
    n = incidence.n_images
    with (
        ThreadPoolExecutor(threads, "text") as pool,
        Documents(pins, boards, pool, threads, config.words, folder, progress) as documents,
        progress("weighing what they say", 2 * n) as advance,
    ):
        images = np.asarray(image_pins_indptr, np.int64), np.asarray(image_pins, np.uint32)
        terms = Terms(documents, *images, incidence, config.min_images, pool, threads)
        counts = terms.count_images(advance)
        chosen = _eligible(counts, n, config)
        names = terms.names(chosen)
        order = np.asarray(pc.sort_indices(names)).astype(np.int64)  # by bytes
        order = order[np.argsort(-counts[chosen][order], kind="stable")]
        order = order[: config.max_terms]
        idf = np.log((n + 1) / (counts[chosen[order]] + 1)) + 1
        ids, weights = terms.weigh(chosen[order], idf, config.keep, advance)
        kept = _renumber(ids, len(order))
        names = names.take(pa.array(order[kept]))
        return Annotations(
            names, idf[kept].astype(np.float32), ids, weights, documents.main, config
        )


def _eligible(counts: Int64s, n_images: int, config: TextConfig) -> Int64s:
    """The terms of neither too few nor too many images; those of fewest go if there are more."""
    eligible = counts >= config.min_images
    if n_images >= config.max_share_from:
        eligible &= counts <= config.max_share * n_images
    if np.count_nonzero(eligible) > config.max_terms:
        eligible &= counts >= -np.partition(-counts[eligible], config.max_terms)[config.max_terms]
    return np.flatnonzero(eligible)


def _renumber(ids: UInt32s, n: int) -> npt.NDArray[np.bool_]:
    """Close, in place, the gaps that terms kept by no image leave; which of the n are kept."""
    kept = np.zeros(n + 1, bool)
    for rows in np.array_split(ids, 1 + len(ids) // 100_000):
        kept[np.minimum(rows, n)] = True
    numbers = (np.cumsum(kept) - 1).astype(np.uint32)
    numbers[n] = NO_TERM
    for rows in np.array_split(ids, 1 + len(ids) // 100_000):
        rows[:] = numbers[np.minimum(rows, n)]
    return kept[:n]


def of_texts(texts: Sequence[str], config: TextConfig | None = None) -> Annotations:
    """Annotations of images that have one pin each, and no board."""
    n = len(texts)
    schema = pa.schema([("title", pa.string()), ("description", pa.string())])
    pins = pa.table({"title": texts, "description": [None] * n}, schema=schema)
    nothing = np.empty(0, np.uint32)
    incidence = Incidence(np.zeros(1, np.int64), nothing, np.zeros(n + 1, np.int64), nothing)
    each = np.arange(n + 1)
    return build(pins, schema.empty_table(), each, each[:-1].astype(np.uint32), incidence, config)
