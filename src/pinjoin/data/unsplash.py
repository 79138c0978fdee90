"""The Unsplash dataset as a catalogue. Columns: github.com/unsplash/datasets, DOCS.md.

A pin is a photo in a collection (`collection_id/photo_id`), a board is a collection. A photo in
no collection is a pin (`photo_id`) on no board. Title: the photographer's description, or else
the AI's; description: the AI's and the keywords that a user suggested or an AI is sure of. The
link is the photo's page. Views, downloads, width and height are features of the pin.

Colours are not read, as pixels say more. Conversions (a photo downloaded after a search) are
what people did with results, not what they curated: they are events, not boards, and not read
here either.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.ids import StringTable
from pinjoin.core.progress import Progress
from pinjoin.data.derived import (
    BATCH_ROWS,
    DerivedSource,
    canonical,
    clean_rows,
    find_files,
    open_columns,
)
from pinjoin.data.presets import Catalogue
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import BOARDS, TIMESTAMP, canonical_schema
from pinjoin.data.tables import Table

KEYWORD_CONFIDENCE = 70.0
"""A keyword no user suggested counts if one of the two AI services is this sure (percent)."""

KEYWORDS = 20
"""The most keywords a pin's description takes: suggested ones first, then the surest."""

_FILES = {
    f"{name}.tsv000…": rf"{name}\.[ct]sv\d*(\.gz|\.zst|\.bz2)?"
    for name in ("photos", "collections", "keywords")
}
_PHOTOS, _COLLECTIONS, _KEYWORDS = _FILES

_FEATURES = {
    "stats_views": "feature_views",
    "stats_downloads": "feature_downloads",
    "photo_width": "feature_width",
    "photo_height": "feature_height",
}
_PHOTO = pa.schema(
    [
        pa.field("photo_id", pa.string(), nullable=False),
        ("photo_url", pa.string()),
        ("photo_image_url", pa.string()),
        ("photo_description", pa.string()),
        ("ai_description", pa.string()),
        *((column, pa.float64()) for column in _FEATURES),
    ]
)
_KEYWORD = pa.schema(
    [
        pa.field("photo_id", pa.string(), nullable=False),
        pa.field("keyword", pa.string(), nullable=False),
        ("ai_service_1_confidence", pa.float64()),
        ("ai_service_2_confidence", pa.float64()),
        ("suggested_by_user", pa.string()),
    ]
)
_COLLECTED = pa.schema(
    [
        pa.field("photo_id", pa.string(), nullable=False),
        pa.field("collection_id", pa.string(), nullable=False),
        ("collection_title", pa.string()),
        ("photo_collected_at", TIMESTAMP),
    ]
)


def open_catalogue(directory: Path) -> Catalogue:
    """See `open_preset`. Photos (with their texts) are held in memory, collections stream."""
    files = find_files(directory, "unsplash", _FILES, optional=[_KEYWORDS])
    photos = open_columns(files[_PHOTOS], ["photo_id", "photo_image_url"], "unsplash")
    collections = open_columns(files[_COLLECTIONS], ["photo_id", "collection_id"], "unsplash")
    keywords = None
    if files[_KEYWORDS]:
        keywords = open_columns(files[_KEYWORDS], ["photo_id", "keyword"], "unsplash")
    tables = [photos, collections, *([keywords] if keywords else [])]
    features = [feature for column, feature in _FEATURES.items() if column in photos.columns]
    schema = canonical_schema("pins", features)

    def pins(rejects: Rejects, progress: Progress) -> Iterator[pa.RecordBatch]:
        known = _Photos(photos, keywords, rejects, progress)
        yield from _pins(collections, known, schema, rejects, progress)

    def boards(rejects: Rejects, progress: Progress) -> Iterator[pa.RecordBatch]:
        return _boards(collections, progress)

    inputs = [table.fingerprint for table in tables]
    return Catalogue(
        DerivedSource(collections.name, schema, pins, inputs),
        DerivedSource(collections.name, BOARDS, boards, [collections.fingerprint]),
    )


def _pins(
    collections: Table, photos: _Photos, schema: pa.Schema, rejects: Rejects, progress: Progress
) -> Iterator[pa.RecordBatch]:
    collected = np.zeros(len(photos), bool)
    for clean in clean_rows(collections, _COLLECTED, rejects, "collections", progress):
        photo_ids, collection_ids = clean.batch["photo_id"], clean.batch["collection_id"]
        rows = photos.find(photo_ids)
        collected[rows[rows >= 0]] = True
        yield canonical(
            schema,
            photos.columns(rows, photo_ids)
            | {
                "pin_id": pc.binary_join_element_wise(collection_ids, photo_ids, "/"),
                "board_id": collection_ids,
                "created_at": clean.batch["photo_collected_at"],
            },
        )
    left = np.flatnonzero(~collected & photos.is_first)
    for first in range(0, len(left), BATCH_ROWS):
        rows = left[first : first + BATCH_ROWS]
        photo_ids = photos.ids.take(pa.array(rows)).cast(pa.string())
        yield canonical(schema, photos.columns(rows, photo_ids) | {"pin_id": photo_ids})


def _boards(collections: Table, progress: Progress) -> Iterator[pa.RecordBatch]:
    """Each collection once, with the title of its first row."""
    seen = StringTable()
    unheard = Rejects(None)  # the pins' pass over the same file reports its bad rows
    for clean in clean_rows(collections, _COLLECTED, unheard, "collections", progress):
        before = len(seen)
        numbers = seen.encode(clean.batch["collection_id"])
        distinct, first = np.unique(numbers, return_index=True)
        new = pa.array(first[distinct >= before])
        yield canonical(
            BOARDS,
            {
                "board_id": clean.batch["collection_id"].take(new),
                "title": clean.batch["collection_title"].take(new),
            },
        )


class _Photos:
    """All photos, by id: what a pin says of its photo."""

    def __init__(
        self, photos: Table, keywords: Table | None, rejects: Rejects, progress: Progress
    ) -> None:
        clean = clean_rows(photos, _PHOTO, rejects, "photos", progress)
        # Large strings: the texts of the full set do not fit into 32-bit offsets.
        large = pa.schema([f.with_type(_enlarged(f.type)) for f in _PHOTO])
        batches = [rows.batch.cast(large) for rows in clean]
        table = pa.Table.from_batches(batches, large).combine_chunks()
        self._table = {name: _whole(table[name]) for name in table.column_names}
        self.ids = self._table["photo_id"]
        self._numbers = StringTable()
        numbers = self._numbers.encode(self.ids)
        _, self._first = np.unique(numbers, return_index=True)  # number → row
        self.is_first = np.zeros(len(self.ids), bool)
        self.is_first[self._first] = True
        self._title, self._description = self._texts(
            _keyword_lists(keywords, self, rejects, progress) if keywords else None
        )

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, photo_ids: pa.StringArray) -> np.ndarray:
        """The row of each photo, −1 if unknown: int64[n]."""
        numbers = self._numbers.encode(photo_ids)
        known = numbers < len(self._first)
        return np.where(known, self._first[np.where(known, numbers, 0)], -1)

    def columns(self, rows: np.ndarray, photo_ids: pa.StringArray) -> dict[str, pa.Array]:
        """Canonical columns of the photos at `rows`; −1 is a photo of which only the id is known.

        Such a photo's image is its id: it still says what was saved together.
        """
        index = pa.array(rows, mask=rows < 0)
        image = self._table["photo_image_url"].take(index).cast(pa.string())
        features = {
            feature: self._table[column].take(index) for column, feature in _FEATURES.items()
        }
        return features | {
            "image": pc.coalesce(image, photo_ids),
            "title": self._title.take(index),
            "description": self._description.take(index),
            "link": self._table["photo_url"].take(index),
        }

    def _texts(self, keywords: pa.Array | None) -> tuple[pa.Array, pa.Array]:
        said, seen = self._table["photo_description"], self._table["ai_description"]
        title = pc.coalesce(said, seen)
        # Not twice: where nobody described the photo, the AI's words are its title already.
        seen = pc.if_else(pc.is_null(said), pa.scalar(None, seen.type), seen)
        if keywords is None:
            return title, seen
        # Not null_handling="skip": that loses the rows where all are null (Arrow 26).
        apart = pc.if_else(pc.or_(pc.is_null(seen), pc.is_null(keywords)), "", "; ")
        texts = [pc.fill_null(seen, ""), apart.cast(seen.type), pc.fill_null(keywords, "")]
        both = pc.binary_join_element_wise(*texts, pa.scalar("", seen.type))
        return title, pc.if_else(pc.equal(both, ""), pa.scalar(None, both.type), both)


def _keyword_lists(
    keywords: Table, photos: _Photos, rejects: Rejects, progress: Progress
) -> pa.Array:
    """The keywords of each photo as one text, null where there are none: large_string[photos]."""
    words = StringTable()
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # photo row, confidence, word
    for clean in clean_rows(keywords, _KEYWORD, rejects, "keywords", progress):
        batch = clean.batch
        confidence = np.fmax(
            _numbers(batch["ai_service_1_confidence"]), _numbers(batch["ai_service_2_confidence"])
        )
        suggested = pc.is_in(pc.utf8_lower(batch["suggested_by_user"]), _TRUE)
        confidence[suggested.to_numpy(zero_copy_only=False)] = np.inf
        rows = photos.find(batch["photo_id"])
        sure = (rows >= 0) & (confidence >= KEYWORD_CONFIDENCE)
        chosen = batch["keyword"].filter(pa.array(sure))
        kept.append((rows[sure], confidence[sure], words.encode(chosen)))
    row, confidence, word = (np.concatenate(column) for column in zip(*kept, strict=True))
    order = np.lexsort((-confidence, row))  # stable: the file's order among equals
    row, word = row[order], word[order]
    starts = np.searchsorted(row, np.arange(len(photos) + 1))
    best = np.arange(len(row)) - starts[row] < KEYWORDS
    offsets = np.searchsorted(row[best], np.arange(len(photos) + 1))
    chosen = words.strings().combine_chunks().cast(pa.large_string()).take(pa.array(word[best]))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), chosen)
    joined = pc.binary_join(lists, pa.scalar(", ", chosen.type))
    return pc.if_else(pc.equal(joined, ""), pa.scalar(None, joined.type), joined)


_TRUE = pa.array(["t", "true", "1"])


def _numbers(column: pa.Array) -> np.ndarray:
    return np.array(column.to_numpy(zero_copy_only=False))  # null as NaN; ours to change


def _enlarged(kind: pa.DataType) -> pa.DataType:
    return pa.large_string() if pa.types.is_string(kind) else kind


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
