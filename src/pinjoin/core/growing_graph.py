"""A graph that changes, and versions of it that do not: whoever reads one is never disturbed.

Lists grow in place where they have room behind them, else they move to the end of their array.
What a version shows is never moved or overwritten; a version keeps bounds of its own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from pinjoin.core.incidence import Graph, Incidence, Lists
from pinjoin.core.types import Int64s, UInt32s

_ANYWHERE = np.uint64(2)
_LEAST_ROOM = 4  # of a list that moves
_KEPT = 4  # copies of the bounds that are used again
_OURS = 2  # references to one that nobody else has: ours, and the one to ask for their number


@dataclass(slots=True, eq=False)
class _Copy:
    """Bounds that versions view. changes: how many of the changes they have."""

    bounds: Int64s
    changes: int


class GrowingLists:
    """Lists of rows; for one writer. `room`: an array that begins with the values of `lists`."""

    def __init__(self, lists: Lists, room: UInt32s) -> None:
        self._values = room
        self._end = len(lists.values)  # of what is used of the values
        self._n = n = lists.n
        self._bounds = np.zeros(2 * (n + n // 8 + 1024), np.int64)
        self._bounds[0 : 2 * n : 2] = lists.bounds[:-1]
        self._bounds[1 : 2 * n : 2] = lists.bounds[1:]
        self._ends_of_room: dict[int, int] = {}  # of the lists that moved
        self._copies: list[_Copy] = []
        self._changed: list[int] = []  # lists whose bounds changed, each time they did

    def __len__(self) -> int:
        return self._n

    def of(self, row: int) -> UInt32s:
        """A list as it is now."""
        return self._values[self._bounds[2 * row] : self._bounds[2 * row + 1]]

    def add_list(self) -> int:
        """A new list, empty; its number."""
        if 2 * self._n == len(self._bounds):
            self._bounds = np.concatenate([self._bounds, np.zeros_like(self._bounds)])
        self._n += 1
        return self._n - 1

    def append(self, row: int, value: int) -> None:
        """Put a value at the end of a list."""
        end = int(self._bounds[2 * row + 1])
        if end == self._ends_of_room.get(row, end):
            old = self.of(row)
            end = self._move(row, old, max(_LEAST_ROOM, 2 * len(old)))
        self._values[end] = value
        self._bounds[2 * row + 1] = end + 1
        self._changed.append(row)

    def remove(self, row: int, values: UInt32s) -> int:
        """Take values out of a list; how many were there."""
        old = self.of(row)
        kept = old[~np.isin(old, values)]
        self._bounds[2 * row + 1] = self._move(row, kept, len(old))
        self._changed.append(row)
        return len(old) - len(kept)

    def version(self) -> Lists:
        """The lists as they are now, for ever."""
        bounds, values = self._copied()[: 2 * self._n], self._values.view()
        bounds.flags.writeable = values.flags.writeable = False  # as those of a mapped file
        return Lists(bounds, _ANYWHERE, values)

    def _copied(self) -> Int64s:
        """The bounds, in memory that no version views any more, if there is some: then only what
        has changed since is copied."""
        for copy in self._copies:
            if sys.getrefcount(copy.bounds) == _OURS and len(copy.bounds) == len(self._bounds):
                rows = 2 * np.array(self._changed[copy.changes :], np.int64)
                copy.bounds[rows] = self._bounds[rows]
                copy.bounds[rows + 1] = self._bounds[rows + 1]
                copy.changes = len(self._changed)
                return copy.bounds
        if len(self._changed) > len(self._bounds):
            self._copies.clear()
            self._changed.clear()
        if len(self._copies) == _KEPT:
            oldest = min(self._copies, key=lambda copy: copy.changes)
            self._copies.remove(oldest)  # versions that view it keep it
        self._copies.append(_Copy(self._bounds.copy(), len(self._changed)))
        return self._copies[-1].bounds

    def _move(self, row: int, values: UInt32s, room: int) -> int:
        """Let a list begin anew behind all others; where its values end."""
        start, end = self._end, self._end + len(values)
        if start + room > len(self._values):
            self._values = _larger(self._values, start + room)
        self._values[start:end] = values
        self._bounds[2 * row] = start
        self._ends_of_room[row] = self._end = start + room
        return end


class GrowingGraph:
    """Which images are on which boards; for one writer.

    board_images, image_boards: arrays that begin with those of the incidence (`room.with_room`).
    """

    def __init__(self, incidence: Incidence, board_images: UInt32s, image_boards: UInt32s) -> None:
        self._by_board = GrowingLists(incidence.by_board, board_images)
        self._by_image = GrowingLists(incidence.by_image, image_boards)
        self._n_saves = incidence.n_saves
        self._boards_gone = 0
        self._most_boards = incidence.most_boards

    @property
    def n_images(self) -> int:
        return len(self._by_image)

    @property
    def n_boards(self) -> int:
        return len(self._by_board)

    def add_image(self) -> int:
        """A new image, on no board; its row."""
        return self._by_image.add_list()

    def add_board(self) -> int:
        """A new board without images; its row."""
        return self._by_board.add_list()

    def boards_of(self, image: int) -> UInt32s:
        return self._by_image.of(image)

    def images_of(self, board: int) -> UInt32s:
        return self._by_board.of(board)

    def has(self, board: int, image: int) -> bool:
        """Whether a board holds an image."""
        boards, images = self.boards_of(image), self.images_of(board)
        return bool(
            (boards == board).any() if len(boards) < len(images) else (images == image).any()
        )

    def add(self, board: int, image: int) -> None:
        """Put an image on a board; nothing happens if it is there."""
        if self.has(board, image):
            return
        self._by_board.append(board, image)
        self._by_image.append(image, board)
        self._n_saves += 1
        self._most_boards = max(self._most_boards, len(self.boards_of(image)))

    def remove(self, boards: UInt32s, images: UInt32s) -> None:
        """Take images off boards, (pairs,) each; nothing happens where one is not there."""
        for board in np.unique(boards).tolist():
            self._n_saves -= self._by_board.remove(board, images[boards == board])
        for image in np.unique(images).tolist():
            self._by_image.remove(image, boards[images == image])

    def forget_board(self) -> None:
        """Count one board less. Its images are taken off it by `remove`."""
        self._boards_gone += 1

    def version(self) -> GraphVersion:
        """The graph as it is now, for ever."""
        return GraphVersion(
            self._by_board.version(),
            self._by_image.version(),
            self._n_saves,
            (1 << self._most_boards.bit_length()) - 1,  # so that it rarely changes
            self._boards_gone,
        )


@dataclass(frozen=True, slots=True)
class GraphVersion(Graph):
    """A graph whose lists lie anywhere, in no order."""

    _by_board: Lists
    _by_image: Lists
    _n_saves: int
    _most_boards: int
    _boards_gone: int

    @property
    def by_board(self) -> Lists:
        return self._by_board

    @property
    def by_image(self) -> Lists:
        return self._by_image

    @property
    def n_saves(self) -> int:
        return self._n_saves

    @property
    def most_boards(self) -> int:
        return self._most_boards

    @property
    def boards_there(self) -> int:
        return self.n_boards - self._boards_gone

    def as_incidence(self) -> Incidence:
        indptr = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)
        lists = [np.sort(self.images_of(board)) for board in range(self.n_boards)]
        images = np.concatenate([np.empty(0, np.uint32), *lists])
        return Incidence.from_boards(indptr, images, self.n_images)


def _larger(values: UInt32s, least: int) -> UInt32s:
    larger = np.zeros(max(2 * len(values), least), np.uint32)
    larger[: len(values)] = values
    return larger
