"""A built catalogue by id and by row: find an image, describe it, see its pins and boards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pinjoin.core.errors import UnknownIdError
from pinjoin.core.ids import IdIndex
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import NO_ROW, BoardJoin, PinJoin, UInt32s
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

    def find(self, id: str) -> int:
        """The image row of a pin id, a signature or an image reference (tried in this order)."""
        pin = self._index("pin_ids", self._pins.table["pin_id"]).find(id)
        if pin is not None and (row := int(self.snapshot.array("pin_image")[pin])) != NO_ROW:
            return row
        row_of_signature = self._signatures.find(id)
        if row_of_signature is not None:
            return row_of_signature
        reference = normalise_references(pa.array([id]))[0].as_py()
        if not self.snapshot.has("references"):
            row_of_reference = self._signatures.find(reference)
            if row_of_reference is not None:
                return row_of_reference
        else:
            table = self.snapshot.table("references")
            at = self._index("references", table["reference"]).find(reference)
            if at is not None:
                return int(table["image_row"][at].as_py())
        raise UnknownIdError(id, self._suggestions(id))

    def describe(self, rows: UInt32s | Sequence[int]) -> list[dict[str, Any]]:
        """signature, pin_id, image and title of image rows."""
        return self._images.dicts(np.asarray(rows), ["signature", "pin_id", "image", "title"])

    def describe_boards(self, rows: UInt32s | Sequence[int]) -> list[dict[str, Any]]:
        """board_id and title of board rows."""
        return self._boards.dicts(np.asarray(rows), ["board_id", "title"])

    def pinjoin(self, row: int) -> PinJoin:
        """Everything known of one image: its pins and its boards."""
        first, last = self.snapshot.array("image_pins.indptr")[row : row + 2]
        pins = self.snapshot.array("image_pins")[first:last]
        [image] = self.describe([row])
        boards = self._boards.dicts(self.incidence.boards_of(row))
        return PinJoin(row, **image, pins=self._pins.dicts(pins), boards=boards)

    def board(self, row: int) -> BoardJoin:
        """A board and the images on it, most popular first."""
        [board] = self._boards.dicts([row], ["board_id", "title", "description", "category"])
        return BoardJoin(row, **board, images=self.incidence.images_of(row))

    def find_board(self, board_id: str) -> int:
        """The row of a board. Raises UnknownIdError."""
        index = self._index("board_ids", self._boards.table["board_id"])
        row = index.find(board_id)
        if row is None:
            raise UnknownIdError(board_id, index.close_matches(board_id))
        return row

    def signatures(self) -> pa.ChunkedArray:
        """The signatures of all PinJoins, in row order."""
        return self.snapshot.table("images")["signature"]

    def image_path(self, row: int) -> Path | None:
        """The local file of an image, if it has one: the user's own, or a fetched one."""
        config = self.snapshot.manifest.config
        images = Path(config["images"]) if config["images"] else None
        base = Path(config["base"]) if config["base"] else images
        return known_file(self._images.value(row, "image"), self.path, images, base)

    @property
    def n_images(self) -> int:
        return self.incidence.n_images

    @property
    def n_boards(self) -> int:
        return self.incidence.n_boards

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

    def _index(self, name: str, strings: pa.ChunkedArray) -> IdIndex:
        array = self.snapshot.array
        return IdIndex(array(f"{name}.offsets"), array(f"{name}.rows"), strings)

    def _suggestions(self, id: str) -> list[str]:
        pins = self._index("pin_ids", self._pins.table["pin_id"])
        both = [*pins.close_matches(id, 2), *self._signatures.close_matches(id, 2)]
        return list(dict.fromkeys(both))[:3]
