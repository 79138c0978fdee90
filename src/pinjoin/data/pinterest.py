"""The Pinterest set of Geng et al. (ICCV 2015, "Learning Image and User Features") as a catalogue.

Two BSON files: `*board_pins.bson` (board_id, board_url, cate_id, pins: a list of pin ids) and
`*pin_im.bson` (pin_id, im_name, im_url). Where categories came in a third file,
`*board_cate.bson` (board_id, cate_id), it is read too.

Pins of one `im_name` are one image, whatever server their `im_url` names: the image is the first
address given for it, or the name where there is none. A board's title is the last part of its
address in words, its owner the first. A pin on no board is a pin on no board.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import InputError, PinjoinError
from pinjoin.core.ids import StringTable
from pinjoin.core.progress import Progress
from pinjoin.data.blocks import Block
from pinjoin.data.cleaning import Cleaner
from pinjoin.data.derived import DerivedSource, canonical, find_files
from pinjoin.data.locations import find_parts, fingerprint
from pinjoin.data.presets import Catalogue
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import BOARDS, PINS

_FILES = {
    "board_pins.bson": r".*board_pins.*\.bson",
    "pin_im.bson": r".*pin_im.*\.bson",
    "board_cate.bson": r".*board_cate.*\.bson",
}
_BOARD_PINS, _PIN_IM, _BOARD_CATE = _FILES
_BOARD_COLUMNS = ("board_id", "title", "category", "user_id")
_ROWS = 1 << 16

_REMEDY = "Leave it out, or export the collection again."
_NO_TEXT = "{} is not a text or whole number"
_NO_LIST = "pins is not a list of pin ids"
_NO_IMAGE = "neither im_name nor im_url says what the image is"
_UNKNOWN_PIN = "no document of pin_im.bson tells this pin's image"


def open_catalogue(directory: Path) -> Catalogue:
    """See `open_preset`. Pin ids and image names are held in memory, boards stream."""
    found = find_files(directory, "pinterest-iccv", _FILES, optional=[_BOARD_CATE])
    _bson()
    files = {label: names[0] for label, names in found.items() if names}
    inputs = [partial(fingerprint, find_parts(list(files.values())))]
    pins = DerivedSource(files[_BOARD_PINS], PINS, partial(_pins, files), inputs)
    boards = DerivedSource(files[_BOARD_PINS], BOARDS, partial(_boards, files), inputs)
    return Catalogue(pins, boards)


def _bson() -> ModuleType:
    try:
        import bson
    except ImportError as error:
        raise PinjoinError(_INSTALL) from error
    if not hasattr(bson, "decode_file_iter"):  # another package of that name
        raise PinjoinError(_INSTALL)
    return bson  # type: ignore[no-any-return, unused-ignore]


_INSTALL = (
    "The pinterest-iccv preset reads .bson files, which needs pymongo. "
    'Install it: pip install "pinjoin[bson]"'
)


def _documents(file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(1-based number, document), one at a time. InputError where the file is damaged."""
    bson = _bson()
    number = 0
    try:
        with Path(file).open("rb") as stream:
            for document in bson.decode_file_iter(stream):
                number += 1
                yield number, document
    except bson.InvalidBSON as error:
        raise InputError(
            f"{file} is damaged after document {number:,}: {error}. Fetch it again."
        ) from error


def _text(value: object) -> str | None:
    """An id as text; None if it is none."""
    if isinstance(value, str):
        return value.strip() or None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_whole or type(value).__name__ == "ObjectId" else None


class _Images:
    """Which image each pin has: pin ids and image names as numbers, not as Python strings."""

    def __init__(self, file: str, rejects: Rejects, progress: Progress) -> None:
        self._pins, self._names = StringTable(), StringTable()
        self._name_of: list[np.ndarray] = []
        self._document_of: list[np.ndarray] = []
        self._addresses: list[str] = []  # of each image: the first address, or its name
        with progress("reading pins' images", None) as advance:
            documents = self._readable(file, rejects)
            while some := list(islice(documents, _ROWS)):
                self._add(some)
                advance(len(some))
        nothing = [np.empty(0, np.int64)]
        self.image_of = np.concatenate(self._name_of or nothing)  # pin → image
        self.document_of = np.concatenate(self._document_of or nothing)  # pin → document
        self.addresses = pa.array(self._addresses, pa.large_string())

    def find(self, pin_ids: pa.StringArray) -> np.ndarray:
        """The number of each pin; those of unknown pins are ≥ `len(image_of)`."""
        return self._pins.encode(pin_ids)

    def pin_ids(self, pins: np.ndarray) -> pa.StringArray:
        """The ids of these pins."""
        return pc.take(self._pins.strings(), pa.array(pins)).combine_chunks()

    def _readable(self, file: str, rejects: Rejects) -> Iterator[tuple[str, str, str, int]]:
        """(pin id, image name, address, document)."""
        for number, document in _documents(file):
            pin, name, url = (_text(document.get(key)) for key in ("pin_id", "im_name", "im_url"))
            if pin and (name or url):
                yield pin, name or url or "", url or name or "", number
                continue
            column = "im_name" if pin else "pin_id"
            rejects.add(
                file=file,
                row=number,
                column=column,
                value=document.get(column),
                reason=_NO_IMAGE if pin else _NO_TEXT.format(column),
                remedy=_REMEDY,
            )

    def _add(self, rows: list[tuple[str, str, str, int]]) -> None:
        pins, names, addresses, documents = zip(*rows, strict=True)
        before = len(self._pins)
        pin_numbers = self._pins.encode(pa.array(pins, pa.string()))
        names_before = len(self._names)
        name_numbers = self._names.encode(pa.array(names, pa.string()))
        new, first = np.unique(name_numbers, return_index=True)
        self._addresses += [addresses[i] for i in first[new >= names_before]]
        new, first = np.unique(pin_numbers, return_index=True)
        first = first[new >= before]  # a pin's first document counts
        self._name_of.append(name_numbers[first].astype(np.int64))
        self._document_of.append(np.array(documents)[first])


def _pins(
    files: Mapping[str, str], rejects: Rejects, progress: Progress
) -> Iterator[pa.RecordBatch]:
    images = _Images(files[_PIN_IM], rejects, progress)
    on_board = np.zeros(len(images.image_of), bool)
    cleaner = Cleaner(PINS, {name: name for name in PINS.names}, files[_BOARD_PINS], rejects)
    rows = _board_rows(files[_BOARD_PINS], rejects)
    with progress("reading boards' pins", None) as advance:
        while some := list(islice(rows, _ROWS)):
            pin_ids, board_ids, owners, numbers = zip(*some, strict=True)
            pins = images.find(pa.array(pin_ids, pa.string()))
            documents = np.array(numbers)
            known = pins < len(images.image_of)
            _refuse_unknown(~known, pin_ids, documents, files[_BOARD_PINS], rejects)
            on_board[pins[known]] = True
            keep = pa.array(known)
            columns = _columns(images, pins[known]) | {
                "board_id": pa.array(board_ids, pa.string()).filter(keep),
                "user_id": pa.array(owners, pa.string()).filter(keep),
            }
            yield _clean(cleaner, columns, documents[known])
            advance(len(some))
    left = np.flatnonzero(~on_board)
    unplaced = Cleaner(PINS, {name: name for name in PINS.names}, files[_PIN_IM], rejects)
    for first in range(0, len(left), _ROWS):
        pins = left[first : first + _ROWS]
        yield _clean(unplaced, _columns(images, pins), images.document_of[pins])


def _columns(images: _Images, pins: np.ndarray) -> dict[str, pa.Array]:
    image = images.addresses.take(pa.array(images.image_of[pins])).cast(pa.string())
    return {"pin_id": images.pin_ids(pins), "image": image}


def _clean(
    cleaner: Cleaner, columns: Mapping[str, pa.Array], documents: np.ndarray
) -> pa.RecordBatch:
    length = len(documents)
    nulls = {f.name: pa.nulls(length, f.type) for f in PINS if f.name not in columns}
    return cleaner.clean(Block({**nulls, **columns}, length, lambda index: documents[index]))


def _board_rows(file: str, rejects: Rejects) -> Iterator[tuple[str, str, str | None, int]]:
    """(pin id, board id, owner, the board's document)."""
    for number, document in _documents(file):
        board, pins = _text(document.get("board_id")), document.get("pins")
        refuse = partial(rejects.add, file=file, row=number, remedy=_REMEDY)
        if board is None:
            reason = _NO_TEXT.format("board_id")
            refuse(column="board_id", value=document.get("board_id"), reason=reason)
        elif not isinstance(pins, list):
            refuse(column="pins", value=pins, reason=_NO_LIST)
        else:
            owner = _owner_and_title(document.get("board_url"))[0]
            for given in pins:
                pin = _text(given)
                if pin is None:
                    refuse(column="pins", value=given, reason=_NO_TEXT.format("a pin id"))
                else:
                    yield pin, board, owner, number


def _refuse_unknown(
    unknown: np.ndarray, pin_ids: Sequence[str], documents: np.ndarray, file: str, rejects: Rejects
) -> None:
    if unknown.any():
        index = np.flatnonzero(unknown)
        rejects.add_many(
            file=file,
            rows=documents[index].tolist(),
            column="pins",
            values=(pin_ids[i] for i in index.tolist()),
            reason=_UNKNOWN_PIN,
            remedy="Fetch both files of one release, or leave the pin out.",
        )


def _boards(
    files: Mapping[str, str], rejects: Rejects, progress: Progress
) -> Iterator[pa.RecordBatch]:
    categories = dict(_categories(files[_BOARD_CATE])) if _BOARD_CATE in files else {}
    boards = (_board(document, categories) for _, document in _documents(files[_BOARD_PINS]))
    with progress("reading boards", None) as advance:
        while some := list(islice(boards, _ROWS)):
            # The pins' pass over the same file reports the documents without a board_id.
            columns = zip(*[row for row in some if row[0]], strict=True)
            given = dict(zip(_BOARD_COLUMNS, columns, strict=False))
            if given:
                yield canonical(BOARDS, {n: pa.array(c, pa.string()) for n, c in given.items()})
            advance(len(some))


def _board(
    document: Mapping[str, Any], categories: Mapping[str, str]
) -> tuple[str | None, str | None, str | None, str | None]:
    """(board id, title, category, owner)."""
    board = _text(document.get("board_id"))
    owner, title = _owner_and_title(document.get("board_url"))
    category = _text(document.get("cate_id")) or categories.get(board or "")
    return board, title, category, owner


def _categories(file: str) -> Iterator[tuple[str, str]]:
    for _, document in _documents(file):
        board, category = _text(document.get("board_id")), _text(document.get("cate_id"))
        if board and category:
            yield board, category


def _owner_and_title(url: object) -> tuple[str | None, str | None]:
    """
    >>> _owner_and_title("http://www.pinterest.com/anna/my-dream_kitchen/")
    ('anna', 'my dream kitchen')
    """
    if not isinstance(url, str):
        return None, None
    try:
        parts = [unquote(part) for part in urlsplit(url.strip()).path.split("/") if part]
    except ValueError:
        return None, None
    if not parts:
        return None, None
    title = " ".join(parts[-1].replace("-", " ").replace("_", " ").split())
    return parts[0] if len(parts) > 1 else None, title or None
