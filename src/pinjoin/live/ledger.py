"""What was saved, made and taken down since a snapshot: who is who, and who is on which board.

What remains is everything made less everything taken down, in whatever order the two came: the
same as a build would have of the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pinjoin.core.growing_graph import GrowingGraph
from pinjoin.core.types import NO_ROW, UInt32s
from pinjoin.joins.references import normalise_references
from pinjoin.live.built import Built
from pinjoin.live.changes import DELETABLE, Board, Change, Deletion, Save

GONE = -1
"""In tables from ids to rows: taken down."""


_Pair = tuple[int, int]
"""(board, image) rows."""


@dataclass(frozen=True, slots=True)
class LivePin:
    """A pin that the snapshot does not have. board: its row; None: on no board."""

    save: Save
    board: int | None
    image: int


@dataclass(frozen=True, slots=True)
class _Found:
    """A save, and what the snapshot has of what it names; −1: nothing."""

    save: Save
    pin: int
    board: int
    reference: str  # in its normal spelling
    image: int


class Ledger:
    """The live part of a catalogue. One thread writes; others may read its tables meanwhile,
    in which every entry is whole.

    pins, boards, images, references: rows by id, of what is new or gone. pins_of: live pins by
    image row. shown, boards_shown: what is said of rows that are new or changed. gone: image rows
    without pins. touched: rows of images in the order their pins changed. changed: those of new
    ones, since the caller last emptied it. unsigned: saves that wait for a signature. waiting: ids
    of these pins, and of those that wait for their board. taken_down: ids by kind.
    """

    def __init__(
        self, built: Built, graph: GrowingGraph, down: Iterable[tuple[str, str]] = ()
    ) -> None:
        """down: (kind, id) of what was taken down before the snapshot was built."""
        self._built, self._graph = built, graph
        self._n_built = built.n_images
        self.pins: dict[str, int] = {}
        self.boards: dict[str, int] = {}
        self.images: dict[str, int] = {}
        self.references: dict[str, int] = {}
        self.pins_of: dict[int, tuple[LivePin, ...]] = {}
        self.shown: dict[int, dict[str, Any]] = {}
        self.boards_shown: dict[int, dict[str, Any]] = {}
        self.gone: set[int] = set()
        self.changed: set[int] = set()
        self.touched: list[int] = []
        self.n_pins = built.n_pins
        self._gone_pins: dict[int, set[int]] = defaultdict(set)  # of the snapshot, by image row
        self._by_picture = built.snapshot.manifest.config["signature"] != "reference"
        self._signatures: dict[str, str] = {}  # by reference, where pictures are signed
        self.unsigned: dict[str, list[_Found]] = defaultdict(list)  # by reference
        self.waiting: set[str] = set()  # ids of pins that are stored and not yet there
        self.taken_down: dict[str, set[str]] = {kind: set() for kind in DELETABLE}
        for kind, id in down:
            self.taken_down[kind].add(id)
        self._waiting: dict[str, list[_Found]] = defaultdict(list)  # for their board
        array = built.snapshot.array
        self._pin_board, self._pin_image = array("pin_board"), array("pin_image")
        self._image_pins_indptr, self._image_pins = array("image_pins.indptr"), array("image_pins")

    def apply(self, changes: Sequence[Change]) -> None:
        """Do what they say, in their order."""
        found = self._find([one for one in changes if isinstance(one, Save)])
        made = [one.board_id for one in changes if isinstance(one, Board)]
        boards = iter(self._built.find_in_snapshot("board", made))
        for change in changes:
            if isinstance(change, Save):
                self._save(next(found))
            elif isinstance(change, Board):
                self._make(change, next(boards))
            elif isinstance(change, Deletion):
                self._take_down(change)

    def sign(self, reference: str, signature: str) -> None:
        """Say what an image's signature is, once its picture was looked at."""
        self._signatures[reference] = signature
        for found in self.unsigned.pop(reference, ()):
            self._save(found)

    def built_pins(self, image: int) -> UInt32s:
        """The pins of the snapshot that an image still has, in their order."""
        if image >= self._n_built:
            return np.empty(0, np.uint32)
        first, last = self._image_pins_indptr[image : image + 2]
        pins: UInt32s = self._image_pins[first:last]
        gone = self._gone_pins.get(image)
        return pins[~np.isin(pins, list(gone))] if gone else pins

    def _find(self, saves: Sequence[Save]) -> Iterator[_Found]:
        built, images = self._built, [one.image for one in saves]
        columns = (
            built.find_in_snapshot("pin", [one.pin_id for one in saves]),
            built.find_in_snapshot("board", [one.board_id for one in saves]),
            normalise_references(pa.array(images, pa.string())).to_pylist(),
            built.find_in_snapshot("reference", images),
        )
        return (_Found(*found) for found in zip(saves, *columns, strict=True))

    def _save(self, found: _Found) -> None:
        save, gone = found.save, self.taken_down
        self.waiting.discard(save.pin_id)
        if found.pin >= 0 or save.pin_id in self.pins or save.pin_id in gone["pin"]:
            return  # an id is used once
        signature = self._signature(found)
        if signature is None:  # until its picture was looked at
            self.unsigned[found.reference].append(found)
            self.waiting.add(save.pin_id)
            return
        if save.board_id in gone["board"] or {signature, found.reference} & gone["image"]:
            return
        board = None
        if save.board_id is not None:
            board = self.boards.get(save.board_id, found.board)
            if board < 0:  # until somebody makes it
                self._waiting[save.board_id].append(found)
                self.waiting.add(save.pin_id)
                return
        image = self._image(found, signature)
        pin = LivePin(save, board, image)
        self.pins_of[image] = (*self.pins_of.get(image, ()), pin)
        self.pins[save.pin_id] = image
        self.n_pins += 1
        if board is not None:
            self._graph.add(board, image)
        self._settle(image)

    def _signature(self, found: _Found) -> str | None:
        """What makes a save's image the same as others; None where its picture must tell."""
        if not self._by_picture:
            return found.reference
        if found.image >= 0:
            return str(self._built.shown(found.image)["signature"])
        return self._signatures.get(found.reference)

    def _image(self, found: _Found, signature: str) -> int:
        """The row of a save's image; a new one if need be."""
        row: int | None = found.image
        if found.image < 0:
            row = self._built.find_signature(signature) if self._by_picture else None
            row = self.images.get(signature) if row is None else row
        if row is None:
            row = self._graph.add_image()
            self.shown[row] = {"signature": signature}
            self.images[signature] = row
        self.references[found.reference] = row
        return row

    def _make(self, board: Board, built: int) -> None:
        id = board.board_id
        if built >= 0 or id in self.boards or id in self.taken_down["board"]:
            return
        row = self._graph.add_board()
        self.boards_shown[row] = dict(zip(Board.RULES, board.values, strict=True))
        self.boards[id] = row
        for found in self._waiting.pop(id, ()):
            self._save(found)

    def _take_down(self, deletion: Deletion) -> None:
        kind, id = deletion.kind, deletion.id
        if id in self.taken_down[kind]:
            return
        self.taken_down[kind].add(id)
        self.waiting.discard(id if kind == "pin" else "")
        pairs = {"pin": self._drop_pin, "board": self._drop_board, "image": self._drop_image}
        off = np.array(list(pairs[kind](id)), np.uint32).reshape(-1, 2)
        self._graph.remove(off[:, 0], off[:, 1])

    def _drop_pin(self, id: str) -> Iterator[_Pair]:
        [pin] = self._built.find_in_snapshot("pin", [id])
        if pin >= 0 and (image := int(self._pin_image[pin])) != NO_ROW:
            here = [pin] if pin in self.built_pins(image) else []  # not if its board is gone
            yield from self._drop_pins(image, here, [])
        elif (image := self.pins.get(id, GONE)) != GONE:
            live = [one for one in self.pins_of[image] if one.save.pin_id == id]
            yield from self._drop_pins(image, [], live)

    def _drop_board(self, id: str) -> Iterator[_Pair]:
        self.waiting -= {found.save.pin_id for found in self._waiting.pop(id, ())}
        [built] = self._built.find_in_snapshot("board", [id])
        board = self.boards.get(id, built)
        self.boards[id] = GONE
        if board == GONE:
            return
        self._graph.forget_board()
        for image in self._graph.images_of(board).tolist():
            pins = self.built_pins(image)
            live = [one for one in self.pins_of.get(image, ()) if one.board == board]
            yield from self._drop_pins(image, pins[self._pin_board[pins] == board].tolist(), live)

    def _drop_image(self, signature: str) -> Iterator[_Pair]:
        built = self._built.find_signature(signature)
        image = self.images.get(signature) if built is None else built
        if image is not None:
            pins = self.built_pins(image).tolist()
            yield from self._drop_pins(image, pins, self.pins_of.get(image, ()))

    def _drop_pins(
        self, image: int, built: Sequence[int], live: Sequence[LivePin]
    ) -> Iterator[_Pair]:
        """Let an image be without some pins; the (board, image) pairs that were only theirs."""
        ids = self._built.pin_values(built, "pin_id") + [one.save.pin_id for one in live]
        self.pins |= dict.fromkeys(ids, GONE)
        self.n_pins -= len(ids)
        self._gone_pins[image] = self._gone_pins[image] | set(built)  # readers have the old one
        self.pins_of[image] = tuple(one for one in self.pins_of.get(image, ()) if one not in live)
        left = {int(self._pin_board[pin]) for pin in built} | {one.board for one in live}
        left -= {one.board for one in self.pins_of[image]} | {None, NO_ROW}
        left -= set(self._pin_board[self.built_pins(image)].tolist())
        self._settle(image)
        return ((board, image) for board in left if board is not None)

    def _settle(self, row: int) -> None:
        """Whether an image is there, and what is shown of it, now that its pins are others."""
        self.touched.append(row)
        live, pins = self.pins_of.get(row, ()), self.built_pins(row)
        if not len(pins) and not live:
            self.gone.add(row)
            return
        self.gone.discard(row)
        if row >= self._n_built:
            self.changed.add(row)
        elif not self._gone_pins.get(row) and self._built.title(row) is not None:
            return  # as the snapshot says
        self.shown[row] = self._shown(row, pins, live)

    def _shown(self, row: int, pins: UInt32s, live: Sequence[LivePin]) -> dict[str, Any]:
        """What is said of an image: by its first pin, and the first that has a title."""
        value = self._built.pin_values
        shown = dict(self._built.shown(row) if row < self._n_built else self.shown[row])
        if len(pins):
            titles = value(pins, "title") if self._gone_pins.get(row) else [shown["title"]]
            shown["pin_id"] = value(pins[:1], "pin_id")[0]
        else:
            titles = []
            shown |= {"pin_id": live[0].save.pin_id, "image": live[0].save.image}
        every = (*titles, *(one.save.title for one in live))
        return shown | {"title": next(filter(None, every), None)}
