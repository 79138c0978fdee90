"""Who is on which board: the bipartite graph everything else is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import ConfigError
from pinjoin.core.types import Int64s, UInt32s

_SIDE_BY_SIDE = np.uint64(1)


class Lists(NamedTuple):
    """Lists of rows in one array: list i is values[bounds[i · step] : bounds[i · step + 1]].

    bounds: int64. step: 1 where each list begins where the one before ends (an indptr), 2 where
    they lie anywhere. values: uint32.
    """

    bounds: Int64s
    step: np.uint64
    values: UInt32s

    @property
    def arrays(self) -> tuple[Int64s, np.uint64, UInt32s]:
        """As compiled loops take them: a named tuple costs 3 µs a call."""
        return self.bounds, self.step, self.values

    @property
    def n(self) -> int:
        """How many lists there are."""
        return (len(self.bounds) + int(self.step) - 2) // int(self.step)

    def of(self, row: int) -> UInt32s:
        """One list."""
        at = int(row) * int(self.step)
        return self.values[self.bounds[at] : self.bounds[at + 1]]

    @property
    def sizes(self) -> Int64s:
        """(lists,) int64: how long each is."""
        step = int(self.step)
        sizes: Int64s = self.bounds[1::step] - self.bounds[: self.n * step : step]
        return sizes

    def sizes_of(self, rows: UInt32s) -> Int64s:
        """(rows,) int64: how long some lists are."""
        at = np.asarray(rows, np.int64) * int(self.step)
        sizes: Int64s = self.bounds[at + 1] - self.bounds[at]
        return sizes


class Graph:
    """Which images are on which boards, readable both ways. A board holds an image once."""

    __slots__ = ()

    @property
    def by_board(self) -> Lists:
        """The images of each board."""
        raise NotImplementedError

    @property
    def by_image(self) -> Lists:
        """The boards of each image."""
        raise NotImplementedError

    @property
    def n_saves(self) -> int:
        """How many (board, image) pairs there are."""
        raise NotImplementedError

    @property
    def most_boards(self) -> int:
        """No image is on more boards."""
        raise NotImplementedError

    def as_incidence(self) -> Incidence:
        """The same, stored side by side: itself, or a copy."""
        raise NotImplementedError

    @property
    def n_boards(self) -> int:
        return self.by_board.n

    @property
    def boards_there(self) -> int:
        """How many boards are not taken down."""
        return self.n_boards

    @property
    def n_images(self) -> int:
        return self.by_image.n

    def images_of(self, board: int) -> UInt32s:
        """Rows of the images on one board, ascending (in a workspace: most popular first)."""
        return self.by_board.of(board)

    def boards_of(self, image: int) -> UInt32s:
        """Rows of the boards that hold one image, ascending."""
        return self.by_image.of(image)

    @property
    def degrees(self) -> Int64s:
        """(images,) int64: on how many boards each image is."""
        return self.by_image.sizes

    @property
    def sizes(self) -> Int64s:
        """(boards,) int64: how many images each board holds."""
        return self.by_board.sizes


@dataclass(frozen=True, slots=True)
class Incidence(Graph):
    """A graph as it is built and stored: each list begins where the one before ends.

    board_indptr: (boards + 1,) int64; board_images: (saves,) uint32, ascending in each board.
    image_indptr: (images + 1,) int64; image_boards: (saves,) uint32, ascending in each image.
    """

    board_indptr: Int64s
    board_images: UInt32s
    image_indptr: Int64s
    image_boards: UInt32s

    @property
    def by_board(self) -> Lists:
        return Lists(self.board_indptr, _SIDE_BY_SIDE, self.board_images)

    @property
    def by_image(self) -> Lists:
        return Lists(self.image_indptr, _SIDE_BY_SIDE, self.image_boards)

    @property
    def n_saves(self) -> int:
        return len(self.board_images)

    @property
    def most_boards(self) -> int:
        return int(self.degrees.max(initial=0))

    def as_incidence(self) -> Incidence:
        return self

    @classmethod
    def from_boards(cls, board_indptr: Int64s, board_images: UInt32s, n_images: int) -> Incidence:
        """From the boards' lists, each ascending and without repeats."""
        from pinjoin.core._incidence_kernel import transpose

        image_indptr, image_boards = transpose(board_indptr, board_images, n_images)
        return cls(board_indptr, board_images, image_indptr, image_boards)

    @classmethod
    def from_pairs(
        cls,
        boards: npt.NDArray[np.integer[Any]],
        images: npt.NDArray[np.integer[Any]],
        n_boards: int | None = None,
        n_images: int | None = None,
    ) -> Incidence:
        """From (pairs,) columns of dense rows; a pair said twice counts once."""
        if boards.shape != images.shape or boards.ndim != 1:
            raise ConfigError(
                "The boards and images of Incidence.from_pairs must be two columns of one "
                f"length. Got shapes {boards.shape} and {images.shape} instead."
            )
        boards, n_boards = _rows(boards, n_boards, "boards")
        images, n_images = _rows(images, n_images, "images")
        return group_pairs(boards, images, n_boards, n_images).incidence(np.arange(n_images))

    @classmethod
    def from_matrix(cls, matrix: Any) -> Incidence:
        """From a SciPy sparse boards × items matrix; any stored non-zero is a save."""
        import scipy.sparse

        if not scipy.sparse.issparse(matrix) or matrix.ndim != 2:
            raise ConfigError(
                "The incidence parameter of cooccurrence must be a SciPy sparse matrix of boards "
                f"× items or a pair of id columns. Got {type(matrix).__name__} instead."
            )
        csr = scipy.sparse.csr_array(matrix)
        if csr.nnz and not np.all(csr.data):
            csr = csr.copy()
            csr.eliminate_zeros()
        if not csr.has_canonical_format:
            csr = csr.copy() if csr.indices is getattr(matrix, "indices", None) else csr
            csr.sum_duplicates()
        indptr = csr.indptr.astype(np.int64)
        return cls.from_boards(indptr, csr.indices.astype(np.uint32), csr.shape[1])


@dataclass(frozen=True, slots=True)
class GroupedPairs:
    """Pairs grouped by image, before it is decided which image becomes which row.

    degrees: (images,) int64, distinct boards of each image; sizes: (boards,) int64.
    """

    indptr: Int64s
    boards: UInt32s
    degrees: Int64s
    sizes: Int64s

    def incidence(self, order: npt.NDArray[np.integer[Any]]) -> Incidence:
        """The incidence in which image order[r] is row r."""
        from pinjoin.core._incidence_kernel import fill_boards

        board_indptr = np.zeros(len(self.sizes) + 1, np.int64)
        np.cumsum(self.sizes, out=board_indptr[1:])
        board_images = fill_boards(
            np.ascontiguousarray(order, np.uint32), self.indptr, self.boards, board_indptr
        )
        return Incidence.from_boards(board_indptr, board_images, len(order))


def group_pairs(boards: UInt32s, images: UInt32s, n_boards: int, n_images: int) -> GroupedPairs:
    """Group (pairs,) uint32 columns by image; pairs with board ≥ n_boards (NO_ROW) are left out."""
    from pinjoin.core._incidence_kernel import distinct_degrees, group, offsets

    if len(boards) and int(boards.max()) >= n_boards:
        on_a_board = boards < n_boards
        boards, images = boards[on_a_board], images[on_a_board]
    indptr = offsets(images, n_images)
    grouped = group(images, boards, indptr)
    degrees, sizes = distinct_degrees(indptr, grouped, n_boards)
    return GroupedPairs(indptr, grouped, degrees, sizes)


def _rows(column: npt.NDArray[np.integer[Any]], n: int | None, name: str) -> tuple[UInt32s, int]:
    if not np.issubdtype(column.dtype, np.integer):
        raise ConfigError(
            f"The {name} column must hold whole numbers. Got dtype {column.dtype} instead; "
            "pinjoin.cooccurrence accepts strings and numbers them."
        )
    lowest, highest = (int(column.min()), int(column.max())) if len(column) else (0, -1)
    size = highest + 1 if n is None else n
    if lowest < 0 or highest >= size or size > 0xFFFFFFFF:
        raise ConfigError(
            f"The {name} column must hold rows from 0 to {size - 1}. "
            f"Got values from {lowest} to {highest} instead."
        )
    return column.astype(np.uint32, copy=False), size
