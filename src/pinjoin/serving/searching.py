"""Finding a start by words: an id, what is said of images, what stands in titles and ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.candidates.content import Content
from pinjoin.core.ids import as_ids
from pinjoin.core.types import UInt32s
from pinjoin.recommender import Workspace

_MOST = 2_000  # images whose titles or ids fit that are looked at


def find_images(known: Workspace, words: str, n: int) -> UInt32s:
    """Rows of images for what someone typed, each once, the n best.

    First the image that has it as id; then those of which most is said in these words; then those
    whose title contains them, or whose id begins with them, most popular first. A longer list
    begins with the shorter one.
    """
    words = words.strip()
    if not words:
        return np.empty(0, np.uint32)
    parts = [_by_id(known, words), _by_words(known, words, n)]
    found = _distinct(parts)
    if len(found) < n:
        found = _distinct([found, _by_beginning(known, words)])
    return found[:n]


def _by_id(known: Workspace, words: str) -> UInt32s:
    rows = known.find_all(as_ids([words]))
    found: UInt32s = rows[rows >= 0].astype(np.uint32)
    return found


def _by_words(known: Workspace, words: str, n: int) -> UInt32s:
    ids, weights = known.annotations.annotate(words)
    if not len(ids):
        return np.empty(0, np.uint32)
    nothing = np.zeros(known.topics.vectors.shape[1], np.float32)
    said = Content(None, ids, weights, nothing)
    return known.neighbours.search(said, n)[0]


def _by_beginning(known: Workspace, words: str) -> UInt32s:
    """By popularity, as rows are; those that came after the build last."""
    images, said = known.snapshot.table("images"), known.redescribed.copy()
    contains = pc.match_substring(images["title"], words, ignore_case=True)
    begins = pc.starts_with(images["pin_id"], words)
    either = pc.or_kleene(pc.fill_null(contains, False), begins)
    rows = np.flatnonzero(either.to_numpy(zero_copy_only=False))[:_MOST].tolist()
    stored = pa.array([row for row in rows if row not in said], pa.int64())
    newer = [image["signature"] for image in said.values() if _fits(image, words)]
    signatures = images["signature"].take(stored).to_pylist() + newer[:_MOST]
    there = known.find_signatures(as_ids(signatures))
    found: UInt32s = there[there >= 0].astype(np.uint32)
    return found


def _fits(image: Mapping[str, Any], words: str) -> bool:
    title, pin_id = image.get("title") or "", image.get("pin_id") or ""
    return words.lower() in title.lower() or pin_id.startswith(words)


def _distinct(parts: list[UInt32s]) -> UInt32s:
    rows = np.concatenate(parts)
    _, first = np.unique(rows, return_index=True)
    found: UInt32s = rows[np.sort(first)].astype(np.uint32)
    return found
