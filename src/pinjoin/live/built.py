"""The snapshot below all that is live: what every version of the catalogue shares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from pinjoin.candidates.nearest import INVERTED, HammingIndex, TextNeighbours
from pinjoin.candidates.picture_index import open_index
from pinjoin.core.ids import as_ids
from pinjoin.core.room import with_room
from pinjoin.core.types import UInt32s
from pinjoin.recommender import Workspace
from pinjoin.snapshot.reader import Snapshot

Kind = Literal["pin", "board", "reference"]

_OF_IMAGES = (
    "text.ids", "text.weights", "topics.vectors", "category.ids", "category.shares",
    "visual.bits", "visual.present", "visual.ids", "visual.values", "packed.rows",
)  # fmt: skip
"""Arrays with a row an image that answers are made from."""


class RoomySnapshot(Snapshot):
    """A snapshot whose arrays of images have room for `rows` more images behind its own."""

    def __init__(self, snapshot: Snapshot, rows: int) -> None:
        super().__init__(snapshot.path, snapshot.manifest)
        self.rooms = {
            name: with_room(snapshot.array(name), rows, snapshot.path / f"{name}.npy")
            for name in _OF_IMAGES
            if snapshot.has(name)
        }

    def array(self, name: str) -> npt.NDArray[Any]:
        """As `Snapshot.array`; those of images with their room."""
        if name not in self.rooms:
            return super().array(name)
        view = self.rooms[name].view()
        view.flags.writeable = False
        return view

    def room(self, name: str) -> npt.NDArray[Any]:
        """An array of images, to be written to behind the snapshot's own rows."""
        return self.rooms[name]


class Built(Workspace):
    """A snapshot opened with room for `rows` new images. Thread-safe.

    What is known of images by row has room; indexes and tables are those of the snapshot.
    """

    snapshot: RoomySnapshot

    def __init__(self, path: Path, snapshot: Snapshot, rows: int, model: str | None) -> None:
        super().__init__(path, RoomySnapshot(snapshot, rows), model)
        self.rows = rows
        self._plain = snapshot

    def room(self, name: str) -> npt.NDArray[Any]:
        """As `RoomySnapshot.room`."""
        return self.snapshot.room(name)

    def with_more_room(self, rows: int) -> Built:
        """The same, what was written to its rooms included, with room for `rows` new images."""
        larger = Built(self.path, self._plain, rows, self._model)
        larger.navboosts = self.navboosts  # with the clicks that came since
        used = slice(self.n_images, self.n_images + self.rows)
        for name in self.snapshot.rooms:
            larger.room(name)[used] = self.room(name)[used]
        return larger

    @cached_property
    def picture_index(self) -> HammingIndex | None:
        """Finds the snapshot's pictures; None if it was built without."""
        return open_index(self._plain) if self._plain.has("visual") else None

    @cached_property
    def text_index(self) -> TextNeighbours:
        """Finds the snapshot's images by their words."""
        indptr, images, weights = (self._plain.array(f"text.inverted.{n}") for n in INVERTED)
        return TextNeighbours.from_arrays(indptr, images, weights, self.n_images)

    def lists(self, name: str) -> UInt32s:
        """`board_images` or `image_boards` with room for twice as many, and 64 M."""
        saves = self._plain.array(name)
        file = self._plain.path / f"{name}.npy"
        return with_room(saves, len(saves) + (1 << 26), file)

    def find_signature(self, signature: str) -> int | None:
        """The snapshot's row of a signature."""
        return self._signatures.find(signature)

    def find_in_snapshot(self, kind: Kind, ids: Sequence[str | None]) -> list[int]:
        """Rows of the snapshot by pin id (of the table of pins), board id or image reference, in
        any spelling; −1 = none."""
        find = {
            "pin": self._pin_ids.find_all,
            "board": self._board_ids.find_all,
            "reference": self._find_references,
        }[kind]
        found: list[int] = find(as_ids(ids)).tolist()
        return found

    def pin_values(self, pins: Sequence[int] | UInt32s, column: str) -> list[Any]:
        """A column of some pins of the snapshot."""
        return self._pins.take(pins, [column])[column].to_pylist() if len(pins) else []

    def about_boards(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """What the snapshot's boards say of themselves."""
        return self._boards.dicts(rows, ["title", "description", "category"])

    def title(self, row: int) -> str | None:
        """What the snapshot calls an image."""
        found: str | None = self._images.value(row, "title")
        return found

    def shown(self, row: int) -> dict[str, Any]:
        """What the snapshot says of an image."""
        return self.describe([row])[0]
