"""Never empty, never short: sources asked in order until there are n, and who came from where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.types import Float32s, UInt32s


class CandidateSource(Protocol):
    """One way to come by candidates of a query."""

    def find(self, k: int) -> tuple[UInt32s, Float32s]:
        """The k best rows, best first, and their scores; fewer only where there are no more."""


class Copies(Protocol):
    """Tells near-duplicates."""

    def distinct(self, rows: UInt32s, shown: UInt32s) -> npt.NDArray[np.bool_]:
        """(rows,) bool: False where a row is a near-duplicate of one shown or of an earlier row."""


@dataclass(frozen=True)
class Blended:
    """Rows in the order to show, each once. sources: (results,) index of where each comes from;
    scores: (results,) float32 as that source gave it, comparable within a source only."""

    rows: UInt32s
    scores: Float32s
    sources: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)


def blend(
    sources: Sequence[CandidateSource],
    query: UInt32s,
    n: int,
    *,
    eligible: npt.NDArray[np.bool_] | None = None,
    copies: Copies | None = None,
) -> Blended:
    """n results: those of the first source, then of the next, until there are n.

    query: rows that are being looked at (none for a picture from outside): never results, and
    their near-duplicates neither. eligible: (images,) bool, what may be shown: applied before the
    cut. Near-duplicates of what is already in the list stand back; they only come, at the end,
    where there would be fewer than n results without them.
    """
    check(n >= 1, "n", "blend", "a number ≥ 1", n)
    taken = set(query.tolist())
    shown = [query]
    parts: list[tuple[UInt32s, Float32s, int]] = []
    stood_back: list[tuple[int, float, int]] = []
    missing = n
    for place, source in enumerate(sources):
        for rows, scores in _more_and_more(source, n):
            able = [i for i, row in enumerate(rows.tolist()) if row not in taken]
            rows, scores = rows[able], scores[able]
            taken.update(rows.tolist())
            if eligible is not None:
                rows, scores = rows[eligible[rows]], scores[eligible[rows]]
            if copies is not None and len(rows):
                new = copies.distinct(rows, np.concatenate(shown))
                for row, score in zip(rows[~new].tolist(), scores[~new].tolist(), strict=True):
                    stood_back.append((row, score, place))
                rows, scores = rows[new], scores[new]
            rows, scores = rows[:missing], scores[:missing]
            parts.append((rows, scores, place))
            shown.append(rows)
            missing -= len(rows)
            if not missing:
                return _blended(parts)
    for row, score, place in stood_back[:missing]:
        parts.append((np.array([row], np.uint32), np.array([score], np.float32), place))
    return _blended(parts)


def _more_and_more(source: CandidateSource, n: int) -> Iterator[tuple[UInt32s, Float32s]]:
    """What a source has, in growing helpings: most requests need only the first."""
    k = n + 16
    while True:
        rows, scores = source.find(k)
        yield rows, scores
        if len(rows) < k:
            return
        k *= 8


def _blended(parts: list[tuple[UInt32s, Float32s, int]]) -> Blended:
    if not parts:
        return Blended(np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.uint8))
    return Blended(
        np.concatenate([rows for rows, _, _ in parts]).astype(np.uint32),
        np.concatenate([scores for _, scores, _ in parts]).astype(np.float32),
        np.concatenate([np.full(len(rows), place, np.uint8) for rows, _, place in parts]),
    )
