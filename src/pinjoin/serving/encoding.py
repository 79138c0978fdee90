"""Answers as JSON, in the shape of `pinjoin related --json`, without an object per result.

What describes an image is encoded once and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson

from pinjoin.core.types import UInt32s
from pinjoin.recommender import Workspace
from pinjoin.results import SOURCES, Ranking

_SOURCES = [orjson.dumps(name) for name in SOURCES]
_RESULT = b'%b,"score":%b,"source":%b,"shared_boards":%d,"reasons":%b%b}'
_BECAUSE = b',"because":%b}'
_KEPT = 100_000  # images, of some 200 bytes


class Heads:
    """What describes each image of a catalogue, as JSON without the closing brace. Thread-safe.

    kept: those of the snapshot, which all its requests share.
    """

    def __init__(self, known: Workspace, kept: dict[int, bytes]) -> None:
        self._known, self._kept = known, kept

    def of(self, rows: Sequence[int]) -> list[bytes]:
        """Of each row: `{"signature": …, "pin_id": …, "image": …, "title": …`."""
        live = self._known.redescribed
        found = {row: None if row in live else self._kept.get(row) for row in rows}
        missing = [row for row, head in found.items() if head is None]
        if missing:
            described = self._known.describe(missing)
            new = {row: orjson.dumps(one)[:-1] for row, one in zip(missing, described, strict=True)}
            found |= new
            if len(self._kept) > _KEPT:
                self._kept.clear()
            self._kept.update({row: head for row, head in new.items() if row not in live})
        return [found[row] for row in rows]  # type: ignore[misc]


def results_json(
    heads: Heads,
    ranking: Ranking,
    reasons: Sequence[Any] | None,
    because: Sequence[bytes] | None = None,
) -> bytes:
    """The list of results. reasons: one for each, None: nobody asked for them. because: of each
    result a described image, without the closing brace, that is its member of this name."""
    columns = zip(
        heads.of(ranking.rows.tolist()),
        numbers_json(ranking.scores),
        [_SOURCES[source] for source in ranking.sources.tolist()],
        ranking.shared_boards.tolist(),
        [b"{}"] * len(ranking) if reasons is None else map(orjson.dumps, reasons),
        [b""] * len(ranking) if because is None else [_BECAUSE % head for head in because],
        strict=True,
    )
    return b"[" + b",".join([_RESULT % one for one in columns]) + b"]"


def images_json(heads: Heads, rows: UInt32s) -> bytes:
    """A list of images, described."""
    return b"[" + b",".join([head + b"}" for head in heads.of(rows.tolist())]) + b"]"


def object_json(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An object of members that are JSON already."""
    return b"{" + b",".join([b'"%b":%b' % (name.encode(), value) for name, value in members]) + b"}"


def numbers_json(numbers: Any) -> list[bytes]:
    """Each of some float32 numbers, with as many digits as it has."""
    if not len(numbers):
        return []
    whole = np.ascontiguousarray(numbers, np.float32)
    return orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
