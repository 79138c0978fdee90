"""A built catalogue by id and by row: find an image, describe it, see its pins and boards."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pinjoin.core.errors import UnknownIdError
from pinjoin.core.ids import IdIndex, as_ids
from pinjoin.core.incidence import Graph, Incidence
from pinjoin.core.types import NO_ROW, BoardJoin, Int64s, PinJoin, UInt32s
from pinjoin.joins.image_files import known_file
from pinjoin.joins.references import normalise_references
from pinjoin.snapshot.reader import Snapshot
from pinjoin.snapshot.tables import Rows


class Lookup:
    """One snapshot of a built catalogue. Arrays and tables are mapped from it, not loaded.

    Thread-safe.
    """

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self.path = path
        self.snapshot = snapshot
        array = snapshot.array
        self.incidence = Incidence(
            array("board_images.indptr"),
            array("board_images"),
            array("image_boards.indptr"),
            array("image_boards"),
        )

    @property
    def graph(self) -> Graph:
        """Which images are on which boards, now."""
        return self.incidence

    def find(self, id: str) -> int:
        """The image row of a pin id, a signature or an image reference (tried in this order)."""
        row = int(self.find_all(as_ids([id]))[0])
        if row < 0:
            raise UnknownIdError(id, self.suggestions(id))
        return row

    def find_all(self, ids: pa.Array | pa.ChunkedArray) -> Int64s:
        """The image row of each id, as `find` finds it: int64 (ids,), −1 = unknown or null."""
        rows = np.full(len(ids), -1, np.int64)
        for find in (self._find_pins, self.find_signatures, self._find_references):
            unknown = np.flatnonzero(rows < 0)
            if not len(unknown):
                break
            rows[unknown] = find(ids if len(unknown) == len(ids) else ids.take(pa.array(unknown)))
        return rows

    @property
    def redescribed(self) -> dict[int, dict[str, Any]]:
        """Image rows of which `describe` tells other things than the snapshot does, and what. It
        may grow meanwhile."""
        return {}

    @property
    def waiting_pins(self) -> Container[str]:
        """Ids of pins that were saved and are not yet on their image: its picture or its board
        must come first."""
        return ()

    def is_stored(self, kind: str, id: str) -> bool:
        """Whether the snapshot has a pin or a board of that id."""
        index = {"pin": self._pin_ids, "board": self._board_ids}[kind]
        return index.find(id) is not None

    def is_taken_down(self, kind: str, id: str) -> bool:
        """Whether a pin, a board or an image (its signature) may not come back."""
        return False

    def describe(self, rows: UInt32s | Sequence[int]) -> list[dict[str, Any]]:
        """signature, pin_id, image and title of image rows."""
        return self._images.dicts(np.asarray(rows), ["signature", "pin_id", "image", "title"])

    def describe_boards(self, rows: UInt32s | Sequence[int]) -> list[dict[str, Any]]:
        """board_id and title of board rows."""
        return self._boards.dicts(np.asarray(rows), ["board_id", "title"])

    def pinjoin(self, row: int, most: int | None = None) -> PinJoin:
        """Everything known of one image: its pins and its boards; the first `most` of each."""
        first, last = self.snapshot.array("image_pins.indptr")[row : row + 2]
        pins = self.snapshot.array("image_pins")[first:last][:most]
        [image] = self.describe([row])
        boards = self._boards.dicts(self.graph.boards_of(row)[:most])
        return PinJoin(row, **image, pins=self._pins.dicts(pins), boards=boards)

    def n_pins_of(self, row: int) -> int:
        """How many pins an image has."""
        first, last = self.snapshot.array("image_pins.indptr")[row : row + 2]
        return int(last - first)

    def board(self, row: int) -> BoardJoin:
        """A board and the images on it, most popular first."""
        columns = ["board_id", "title", "description", "category", "user_id"]
        [board] = self._boards.dicts([row], columns)
        return BoardJoin(row, **board, images=self.graph.images_of(row))

    def find_board(self, board_id: str) -> int:
        """The row of a board. Raises UnknownIdError."""
        row = self.board_row(board_id)
        if row < 0:
            raise UnknownIdError(board_id, self.board_suggestions(board_id), "board id")
        return row

    def board_row(self, board_id: str) -> int:
        """The row of a board; −1: there is none."""
        row = self._board_ids.find(board_id)
        return -1 if row is None else row

    def signatures(self) -> pa.ChunkedArray:
        """The signatures of all PinJoins, in row order."""
        return self.snapshot.table("images")["signature"]

    def find_signatures(self, signatures: pa.Array | pa.ChunkedArray) -> Int64s:
        """The row of each signature: int64 (signatures,), −1 = unknown or null."""
        return self._signatures.find_all(signatures)

    def image_path(self, row: int) -> Path | None:
        """The local file of an image, if it has one: the user's own, or a fetched one."""
        config = self.snapshot.manifest.config
        images = Path(config["images"]) if config["images"] else None
        base = Path(config["base"]) if config["base"] else images
        return known_file(self._images.value(row, "image"), self.path, images, base)

    @property
    def n_images(self) -> int:
        return self.graph.n_images

    @property
    def n_boards(self) -> int:
        return self.graph.n_boards

    @property
    def n_pins(self) -> int:
        return int(self.snapshot.manifest.counts["pins"])

    @cached_property
    def _images(self) -> Rows:
        return Rows(self.snapshot.table("images"))

    @cached_property
    def _boards(self) -> Rows:
        return Rows(self.snapshot.table("boards"))

    @cached_property
    def _pins(self) -> Rows:
        return Rows(self.snapshot.table("pins"))

    @cached_property
    def _signatures(self) -> IdIndex:
        return self._index("signatures", self.signatures())

    @cached_property
    def _pin_ids(self) -> IdIndex:
        return self._index("pin_ids", self._pins.table["pin_id"])

    @cached_property
    def _board_ids(self) -> IdIndex:
        return self._index("board_ids", self._boards.table["board_id"])

    @cached_property
    def _reference_ids(self) -> IdIndex:
        return self._index("references", self.snapshot.table("references")["reference"])

    def _find_pins(self, ids: pa.Array | pa.ChunkedArray) -> Int64s:
        pins = self._pin_ids.find_all(ids)
        found = pins >= 0
        rows = np.full(len(pins), -1, np.int64)
        images = self.snapshot.array("pin_image")[pins[found]]
        rows[found] = np.where(images == NO_ROW, -1, images.astype(np.int64))
        return rows

    def _find_references(self, ids: pa.Array | pa.ChunkedArray) -> Int64s:
        """The rows of images by any spelling of their reference."""
        chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
        references = pa.chunked_array(map(normalise_references, chunks), ids.type)
        if not self.snapshot.has("references"):
            return self.find_signatures(references)
        table = self.snapshot.table("references")
        found = self._reference_ids.find_all(references)
        known = found >= 0
        found[known] = table["image_row"].take(pa.array(found[known])).to_numpy()
        return found

    def _index(self, name: str, strings: pa.ChunkedArray) -> IdIndex:
        array = self.snapshot.array
        return IdIndex(array(f"{name}.offsets"), array(f"{name}.rows"), strings)

    def suggestions(self, id: str) -> list[str]:
        """Known pin ids and signatures that an id may be a slip of. Reads up to 2,000,000 of each:
        some tenths of a second."""
        both = [*self._pin_ids.close_matches(id, 2), *self._signatures.close_matches(id, 2)]
        return list(dict.fromkeys(both))[:3]

    def board_suggestions(self, id: str) -> list[str]:
        """Known board ids that an id may be a slip of; as slow."""
        return self._board_ids.close_matches(id)
