"""The words of the house as data: what a catalogue holds and what a recommendation says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

UInt32s = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

NO_ROW = 0xFFFFFFFF
"""In a uint32 column of rows: none (a pin on no board)."""


@dataclass(frozen=True, slots=True)
class Related:
    """One recommended PinJoin."""

    signature: str
    pin_id: str
    image: str
    title: str | None
    score: float
    source: str
    shared_boards: int
    reasons: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PinJoin:
    """§III: everything known of one signature: its pins and its boards."""

    row: int
    signature: str
    pin_id: str
    image: str
    title: str | None
    pins: list[dict[str, Any]]
    boards: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class BoardJoin:
    """§III: a board's title (and what else it says of itself) and its distinct PinJoins."""

    row: int
    board_id: str
    title: str | None
    description: str | None
    category: str | None
    user_id: str | None
    images: UInt32s
