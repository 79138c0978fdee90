"""The catalogue as it was at one moment: a snapshot and what came after it, for ever the same.

A request takes the newest version and answers from it alone, without a lock.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.candidates.content import ContentNeighbours
from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.copies import HammingCopies
from pinjoin.candidates.growing import GrowingHamming, GrowingText
from pinjoin.candidates.retrieval import Retrieval
from pinjoin.core.ids import IdIndex, as_ids
from pinjoin.core.incidence import Graph
from pinjoin.core.types import Int64s, PinJoin, UInt32s
from pinjoin.features.category import Categories, numbered
from pinjoin.features.packed import PackedRows
from pinjoin.features.pictures import Pictures
from pinjoin.features.text import Annotations
from pinjoin.features.topics import Topics
from pinjoin.features.visual import Encoder
from pinjoin.filters import Filters
from pinjoin.joins.references import normalise_references
from pinjoin.live.built import Built
from pinjoin.live.filters import FilterAnswers, LiveFilters
from pinjoin.live.ledger import Ledger, LivePin
from pinjoin.live.rows import LiveRows
from pinjoin.ranker import Ranker
from pinjoin.ranking.navboost import Navboost
from pinjoin.recommender import Workspace
from pinjoin.snapshot.tables import Rows


class Version(Workspace):
    """A workspace whose graph is `graph` and whose rows `gone`, ascending, are taken down."""

    def __init__(
        self,
        built: Built,
        ledger: Ledger,
        graph: Graph,
        gone: UInt32s,
        answers: FilterAnswers,
        sequence: int,
    ) -> None:
        self.path, self.snapshot, self.incidence = built.path, built.snapshot, built.incidence
        self._model, self._rankers = built._model, built._rankers
        self.sequence, self._answers = sequence, answers
        self._built, self._ledger, self._graph, self._gone = built, ledger, graph, gone
        self._n_pins = ledger.n_pins
        self.n_touched = len(ledger.touched)

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def n_pins(self) -> int:
        return self._n_pins

    # ---- ids and tables ----

    @property
    def redescribed(self) -> dict[int, dict[str, Any]]:
        return self._ledger.shown

    @property
    def waiting_pins(self) -> Container[str]:
        return self._ledger.waiting

    def is_taken_down(self, kind: str, id: str) -> bool:
        return id in self._ledger.taken_down[kind]

    def pinjoin(self, row: int, most: int | None = None) -> PinJoin:
        [image] = self.describe([row])
        built = self._ledger.built_pins(row)[:most]
        live = self._ledger.pins_of.get(row, ())[: None if most is None else most - len(built)]
        pins = self._pins.dicts(built) + _as_rows(live, self._pins.table.column_names)
        boards = self._boards.dicts(np.sort(self.graph.boards_of(row))[:most])
        return PinJoin(row, **image, pins=pins, boards=boards)

    def n_pins_of(self, row: int) -> int:
        return len(self._ledger.built_pins(row)) + len(self._ledger.pins_of.get(row, ()))

    def pins_of(self, row: int, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of the pins of an image, those of the snapshot first."""
        live = _as_rows(self._ledger.pins_of.get(row, ()), columns)
        return self._pins.dicts(self._ledger.built_pins(row), columns) + live

    def board_row(self, board_id: str) -> int:
        row = self._ledger.boards.get(board_id)
        row = super().board_row(board_id) if row is None else row
        return row if row < self.n_boards else -1

    def signatures(self) -> pa.ChunkedArray:
        """The signatures of all PinJoins, in row order; null where one is taken down."""
        stored = self._built.signatures()
        new = [self._ledger.shown[row]["signature"] for row in range(len(stored), self.n_images)]
        whole = pa.chunked_array([*stored.chunks, pa.array(new, stored.type)], stored.type)
        if not len(self._gone):
            return whole
        there = np.ones(self.n_images, np.bool_)
        there[self._gone] = False
        return pa.chunked_array([pc.if_else(pa.array(there), whole.combine_chunks(), None)])

    def _find_pins(self, ids: pa.Array | pa.ChunkedArray) -> Int64s:
        return self._corrected(ids, super()._find_pins(ids), self._ledger.pins)

    def find_signatures(self, signatures: pa.Array | pa.ChunkedArray) -> Int64s:
        found = super().find_signatures(signatures)
        return self._corrected(signatures, found, self._ledger.images)

    def _find_references(self, ids: pa.Array | pa.ChunkedArray) -> Int64s:
        rows, live = super()._find_references(ids), self._ledger.references
        return self._corrected(normalise_references(as_ids(ids.to_pylist())), rows, live)

    def _corrected(
        self, ids: pa.Array | pa.ChunkedArray, rows: Int64s, live: dict[str, int]
    ) -> Int64s:
        """Rows of the snapshot's as they are now: new, or −1 where they are taken down."""
        if not live and not len(self._gone):
            return rows
        for i, id in enumerate(ids.to_pylist()) if live else ():
            rows[i] = live.get(id, rows[i])
        rows[(rows >= self.n_images) | np.isin(rows, self._gone)] = -1
        return rows

    @cached_property
    def _images(self) -> Rows:
        return LiveRows(self._built._images, self._ledger.shown, self.n_images)

    @cached_property
    def _boards(self) -> Rows:
        return LiveRows(self._built._boards, self._ledger.boards_shown, self.n_boards)

    @cached_property
    def _pins(self) -> Rows:
        return self._built._pins

    @cached_property
    def _pin_ids(self) -> IdIndex:
        return self._built._pin_ids

    @cached_property
    def _board_ids(self) -> IdIndex:
        return self._built._board_ids

    @cached_property
    def _signatures(self) -> IdIndex:
        return self._built._signatures

    @cached_property
    def _reference_ids(self) -> IdIndex:
        return self._built._reference_ids

    def suggestions(self, id: str) -> list[str]:
        close = super().suggestions(id)
        return [
            one for one, row in zip(close, self.find_all(as_ids(close)), strict=True) if row >= 0
        ]

    def board_suggestions(self, id: str) -> list[str]:
        return [one for one in super().board_suggestions(id) if self.board_row(one) >= 0]

    # ---- contents ----

    @cached_property
    def annotations(self) -> Annotations:
        return self._built.annotations

    @cached_property
    def categories(self) -> Categories:
        return self._built.categories

    @cached_property
    def topics(self) -> Topics:
        return self._built.topics

    @cached_property
    def pictures(self) -> Pictures | None:
        return self._built.pictures

    @cached_property
    def packed(self) -> PackedRows:
        return self._built.packed

    @cached_property
    def copies(self) -> HammingCopies | None:
        return self._built.copies

    @cached_property
    def encoder(self) -> Encoder:
        return self._built.encoder

    @cached_property
    def ranker(self) -> Ranker | None:
        return self._built.ranker

    def navboost(self, name: str) -> Navboost:
        return self._built.navboost(name)

    @cached_property
    def navboosts(self) -> dict[str, Navboost]:
        return self._built.navboosts

    @cached_property
    def board_categories(self) -> npt.NDArray[np.uint16]:
        known, shown = self._built.board_categories, self._ledger.boards_shown
        new = [shown[board]["category"] for board in range(len(known), self.n_boards)]
        return np.concatenate([known, numbered(pa.array(new, pa.string()), self.categories.names)])

    @cached_property
    def neighbours(self) -> ContentNeighbours:
        built, said, seen = self._built, self.annotations, self.pictures
        new = slice(built.n_images, self.n_images)
        index = built.picture_index
        return ContentNeighbours(
            None if seen is None or index is None else GrowingHamming(index, seen.bits[new]),
            None if seen is None else seen.bits,
            None if seen is None else seen.present[: self.n_images],
            1 if seen is None else seen.n_bits,
            GrowingText(built.text_index, said.ids[new], said.weights[new]),
            said.ids,
            said.weights,
            self.topics.vectors,
            self._gone.tolist(),
        )

    @cached_property
    def _filters(self) -> Filters:
        return LiveFilters(self, self._built._filters, self._answers)

    # ---- candidates ----

    @cached_property
    def cooccurrence(self) -> Cooccurrence:
        return self._built.cooccurrence.over(self.graph)

    @cached_property
    def retrieval(self) -> Retrieval:
        return self._built.retrieval.over(self.graph)

    def popular(self, k: int) -> UInt32s:
        return self._there(super().popular(k + len(self._gone)), k)

    def popular_in_category(self, row: int, k: int) -> UInt32s:
        return self._there(super().popular_in_category(row, k + len(self._gone)), k)

    def _there(self, rows: UInt32s, k: int) -> UInt32s:
        return rows[~np.isin(rows, self._gone)][:k] if len(self._gone) else rows


def _as_rows(pins: Sequence[LivePin], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Columns of the table of pins, of live ones."""
    found = []
    for pin in pins:
        said = {name: getattr(pin.save, name, None) for name in columns}
        seconds = said.get("created_at")
        if seconds is not None:
            said["created_at"] = datetime.fromtimestamp(seconds, UTC)
        found.append(said)
    return found
