"""What is hidden from a catalogue to see whether it is found again.

Board completion: of many boards at once one image is hidden each; the query is another image of
the board. A hidden image keeps some other boards and only images on as many boards compete:
otherwise "on no board" would tell a ranker which one is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import check
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import Int64s, UInt32s

Bools = npt.NDArray[np.bool_]

UNDATED = np.iinfo(np.int64).min
"""In the times of saves: no date; earlier than any."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is hidden, who is asked for it, and who competes.

    boards, queries, hidden: (asked,) uint32 rows, by board: asked with images queries[i], one
    hopes for hidden[i], which was on boards[i] too. left_out: (saves,) int64, ascending, places in
    `board_images` of all saves that are hidden. eligible: (images,) bool.
    """

    boards: UInt32s
    queries: UInt32s
    hidden: UInt32s
    left_out: Int64s
    eligible: Bools

    def __len__(self) -> int:
        return len(self.boards)

    def where(self, asked: npt.NDArray[Any]) -> Held:
        """Only some of the queries, by mask or number; hidden stays what is hidden."""
        return Held(
            self.boards[asked], self.queries[asked], self.hidden[asked], self.left_out,
            self.eligible,
        )  # fmt: skip


def hide(
    incidence: Incidence,
    rng: np.random.Generator,
    share: float = 0.5,
    min_images: int = 4,
    keeps: int = 2,
    most: int | None = None,
) -> Held:
    """Hide one image of each board in a random `share` of the boards of `min_images` or more.

    Boards are visited in random order until `most` gave an image. Each draws evenly from its
    images that still have more than `keeps` boards; one without any is passed over. The query is
    drawn evenly from its other images (which other boards may have to hide). Images that keep
    `keeps` boards or more are eligible. Empty where no board can give an image.
    """
    from pinjoin.data._splits_kernel import draw_saves

    check(0 < share <= 1, "share", "hide", "above 0 and at most 1", share)
    _check_limits("hide", min_images, keeps, most)
    large = np.flatnonzero(incidence.sizes >= min_images)
    order = rng.permutation(large)[: round(len(large) * share)]
    limit = len(order) if most is None else min(most, len(order))
    boards, queries = np.empty((2, limit), np.uint32)
    places, degrees = np.empty(limit, np.int64), incidence.degrees
    n = draw_saves(
        order, rng.random((len(order), 2)), incidence.board_indptr, incidence.board_images,
        degrees, keeps, limit, boards, queries, places,
    )  # fmt: skip
    by_board = np.argsort(boards[:n])
    places = places[:n][by_board]
    hidden = incidence.board_images[places]
    return Held(boards[:n][by_board], queries[:n][by_board], hidden, places, degrees >= keeps)


def hide_later(
    incidence: Incidence,
    saved_at: Int64s,
    after: int,
    rng: np.random.Generator,
    min_images: int = 4,
    keeps: int = 2,
    most: int | None = None,
) -> Held:
    """Hide every save made at `after` or later: the catalogue as it was before.

    saved_at: (saves,) int64, as `save_times` gives it; `after` in the same unit. Boards of
    `min_images` or more, later ones included, that go on are asked (a random `most` of them): one
    of their earlier images, drawn evenly, for one that came later, drawn evenly from those that
    were on `keeps` boards or more before. Such images are eligible.
    """
    _check_limits("hide_later", min_images, keeps, most)
    fits = saved_at.shape == (incidence.n_saves,)
    check(fits, "saved_at", "hide_later", f"{incidence.n_saves} times", saved_at.shape)
    later = saved_at >= after
    board = np.repeat(np.arange(incidence.n_boards, dtype=np.uint32), incidence.sizes)
    images = incidence.board_images
    eligible = np.bincount(images[~later], minlength=incidence.n_images) >= keeps
    large = (incidence.sizes >= min_images)[board]
    earlier_boards, earlier = _one_a_board(np.flatnonzero(~later & large), board, rng)
    later_boards, wanted = _one_a_board(
        np.flatnonzero(later & large & eligible[images]), board, rng
    )
    boards, of_query, of_wanted = np.intersect1d(
        earlier_boards, later_boards, assume_unique=True, return_indices=True
    )
    limit = len(boards) if most is None else most
    some = np.sort(rng.permutation(len(boards))[:limit])
    queries, hidden = images[earlier[of_query[some]]], images[wanted[of_wanted[some]]]
    return Held(boards[some], queries, hidden, np.flatnonzero(later), eligible)


def save_times(
    incidence: Incidence, pin_boards: UInt32s, pin_images: UInt32s, created_at: Int64s
) -> Int64s:
    """(saves,) int64, in the order of `board_images`: when each image came to each board.

    pin_boards, pin_images: (pins,) rows; pins on no board (NO_ROW) count nowhere. created_at:
    (pins,) int64. The earliest dated pin of a save says it; UNDATED where none has a date.
    """
    from pinjoin.data._splits_kernel import earliest

    found: Int64s = earliest(
        incidence.board_indptr, incidence.board_images, pin_boards, pin_images, created_at, UNDATED
    )
    return found


def reduced(incidence: Incidence, held: Held) -> Incidence:
    """The same images and boards, numbered alike, without the hidden saves."""
    keep = np.ones(incidence.n_saves, bool)
    keep[held.left_out] = False
    indptr = incidence.board_indptr - np.searchsorted(held.left_out, incidence.board_indptr)
    return Incidence.from_boards(indptr, incidence.board_images[keep], incidence.n_images)


def hidden_saves(incidence: Incidence, held: Held) -> tuple[UInt32s, UInt32s]:
    """(boards, images) of all hidden saves, uint32 rows, by board, then image."""
    boards = np.searchsorted(incidence.board_indptr, held.left_out, side="right") - 1
    return boards.astype(np.uint32), incidence.board_images[held.left_out]


def _one_a_board(
    places: Int64s, board: UInt32s, rng: np.random.Generator
) -> tuple[UInt32s, Int64s]:
    """One of the (ascending) places of each board they lie in, drawn evenly."""
    boards, first, counts = np.unique(board[places], return_index=True, return_counts=True)
    drawn = (rng.random(len(boards)) * counts).astype(np.int64)
    return boards, places[first + drawn]


def _check_limits(caller: str, min_images: int, keeps: int, most: int | None) -> None:
    check(min_images >= 2, "min_images", caller, "2 or more", min_images)
    check(keeps >= 0, "keeps", caller, "0 or more", keeps)
    check(most is None or most >= 1, "most", caller, "None or 1 or more", most)
