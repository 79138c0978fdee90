"""What a request says besides what is looked at: recent pins, words searched for, a locale.

A context is told to the ranker as one more image: one whose topics and factors are the mean of
recent images', whose picture has the bits that most of theirs have, and of which the phrase is said
(§VI: personal and contextual re-ranking).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.types import Float32s, UInt32s
from pinjoin.features.packed import PackedRows
from pinjoin.features.row_layout import FACTOR_SCALE, SEEN, TOPIC_SCALE, Dense, Fields
from pinjoin.features.text import NO_TERM

RECENT = 8
"""Images that a person looked at last tell something; the others are forgotten."""


@dataclass(frozen=True)
class Context:
    """What is known of a request besides its query; features of what is not given are 0.

    recent: rows of a few images the user looked at or saved last. phrase: ids and weights of what
    the user searched for (`Annotations.annotate`). locale: (images,) numbers, how well each of the
    catalogue fits the user's: 1 or 0, say.
    """

    recent: Sequence[int] | npt.NDArray[np.integer[Any]] = ()
    phrase: tuple[UInt32s, Float32s] | None = None
    locale: npt.NDArray[Any] | None = None


def as_image(context: Context, packed: PackedRows) -> npt.NDArray[np.uint8]:
    """(bytes,) uint8: the packed row of an image as the context describes it."""
    row = np.zeros((1, packed.layout.bytes), np.uint8)
    fields = Fields(row, packed.layout)
    if len(context.recent):
        recent = np.stack([packed.row(int(one)) for one in context.recent])
        _set_means(fields, Fields(recent, packed.layout))
    if context.phrase is not None and packed.layout.terms:
        n = min(len(context.phrase[0]), packed.layout.terms)
        ids = np.full((1, packed.layout.terms), NO_TERM, np.uint32)
        weights = np.zeros(ids.shape, np.float32)
        ids[0, :n], weights[0, :n] = (given[:n] for given in context.phrase)
        fields.set_terms(ids, weights)
    made: npt.NDArray[np.uint8] = row[0]
    return made


def _set_means(fields: Fields, recent: Fields) -> None:
    seen = recent.flags & SEEN > 0
    if seen.any():
        bits = np.unpackbits(recent.part("bits")[seen], axis=1)
        fields.set_codes(np.packbits(2 * bits.sum(axis=0) > np.count_nonzero(seen))[None])
    dense: tuple[Dense, ...] = ("topics", "factors")
    for name, place in zip(dense, (TOPIC_SCALE, FACTOR_SCALE), strict=True):
        if fields.part(name).size:
            vectors = recent.part(name, np.int8) * recent.header[:, place, None]
            fields.set_dense(name, vectors.mean(axis=0, keepdims=True))
