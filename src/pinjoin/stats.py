"""What a catalogue looks like in numbers: sizes, how they spread, and the paper's Figure 5."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinjoin.core.progress import Progress, silent

if TYPE_CHECKING:
    from pinjoin.recommender import Workspace

PERCENTILES = (10, 25, 50, 75, 90, 99)


@dataclass(frozen=True)
class Bar:
    """How many items have a value in low..high, both included."""

    low: int
    high: int
    count: int

    @property
    def label(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,}–{self.high:,}"


@dataclass(frozen=True)
class Distribution:
    """How a whole number is spread over items: `counts[i]` items have the value `values[i]`.

    `values` ascend and only those that occur are kept. A percentile is the smallest value that at
    least so many percent of the items do not exceed, so it always is a value that occurs; all
    numbers are 0 where there are no items.

    >>> spread = Distribution.of(np.array([3, 3, 4, 10]))
    >>> spread.mean, spread.percentile(50), spread.percentile(75), spread.maximum
    (5.0, 3, 4, 10)
    """

    values: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, numbers: NDArray[np.integer[Any]]) -> Distribution:
        """The distribution of an array of whole numbers ≥ 0, shape (items,)."""
        counts = np.bincount(numbers) if len(numbers) else np.zeros(0, dtype=np.int64)
        values = np.flatnonzero(counts)
        return cls(tuple(values.tolist()), tuple(counts[values].tolist()))

    @property
    def items(self) -> int:
        return sum(self.counts)

    @property
    def total(self) -> int:
        return sum(value * count for value, count in zip(self.values, self.counts, strict=True))

    @property
    def mean(self) -> float:
        return self.total / self.items if self.items else 0.0

    @property
    def minimum(self) -> int:
        return self.values[0] if self.values else 0

    @property
    def maximum(self) -> int:
        return self.values[-1] if self.values else 0

    def percentile(self, percent: float) -> int:
        if not self.values:
            return 0
        up_to = np.cumsum(self.counts)  # items whose value is at most values[i]
        # In hundredths, so that 75 % of 4 items is 3 exactly and not 3 plus a rounding error.
        return self.values[int(np.searchsorted(up_to * 100, percent * self.items))]

    def bars(self, singles: int = 10, growth: float = 1.5) -> list[Bar]:
        """The distribution in groups: single values up to `singles`, then ever wider ranges.

        Ranges nothing falls into stay, with count 0; the last ends at the largest value.

        >>> [bar.label for bar in Distribution((1, 2, 9), (5, 3, 1)).bars(singles=2)]
        ['1', '2', '3–4', '5–7', '8–9']
        """
        made: list[Bar] = []
        low, up_to = self.minimum, np.concatenate([[0], np.cumsum(self.counts)])
        while self.values and low <= self.maximum:
            high = min(low if low <= singles else math.floor(low * growth), self.maximum)
            ends = np.searchsorted(self.values, [low, high + 1])
            made.append(Bar(low, high, int(up_to[ends[1]] - up_to[ends[0]])))
            low = high + 1
        return made

    def to_dict(self) -> dict[str, Any]:
        return {
            "mean": round(self.mean, 4),
            "min": self.minimum,
            **{f"p{percent}": self.percentile(percent) for percent in PERCENTILES},
            "max": self.maximum,
            "counts": {str(v): n for v, n in zip(self.values, self.counts, strict=True)},
        }


@dataclass(frozen=True)
class CatalogueStats:
    """Everything `pinjoin stats` tells of a snapshot."""

    snapshot: str  # its name
    n_pins: int
    n_images: int  # = PinJoins: what is recommended
    n_boards: int
    n_saves: int  # distinct (image, board) pairs
    pins_per_image: Distribution
    images_per_board: Distribution
    boards_per_image: Distribution
    pairs_sharing: Distribution  # boards shared (≥ 1) → unordered image pairs: Figure 5

    @property
    def density(self) -> float:
        """Share of all (image, board) pairs that are saves."""
        cells = self.n_images * self.n_boards
        return self.n_saves / cells if cells else 0.0

    @property
    def n_pairs(self) -> int:
        """Unordered pairs of images, whether they share a board or not."""
        return self.n_images * (self.n_images - 1) // 2

    @property
    def images_on_no_board(self) -> int:
        return self._images_on(0)

    @property
    def images_on_one_board(self) -> int:
        return self._images_on(1)

    def _images_on(self, boards: int) -> int:
        spread = self.boards_per_image
        return dict(zip(spread.values, spread.counts, strict=True)).get(boards, 0)

    def pair_shares(self) -> list[tuple[int, int, float]]:
        """(boards shared, pairs, share of the pairs that share any), fewest boards first."""
        spread = self.pairs_sharing
        return [
            (boards, pairs, pairs / spread.items)
            for boards, pairs in zip(spread.values, spread.counts, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {
            "snapshot": self.snapshot,
            "pins": self.n_pins,
            "images": self.n_images,
            "boards": self.n_boards,
            "saves": self.n_saves,
            "density": self.density,
            "images_on_no_board": self.images_on_no_board,
            "images_on_one_board": self.images_on_one_board,
            "pins_per_image": self.pins_per_image.to_dict(),
            "images_per_board": self.images_per_board.to_dict(),
            "boards_per_image": self.boards_per_image.to_dict(),
            "image_pairs": self.n_pairs,
            "image_pairs_sharing_a_board": self.pairs_sharing.items,
            "pairs_by_shared_boards": [
                {"boards": boards, "pairs": pairs, "share": share}
                for boards, pairs, share in self.pair_shares()
            ],
        }


def catalogue_stats(workspace: Workspace, *, progress: Progress = silent) -> CatalogueStats:
    """Count the open snapshot of `workspace`, exactly.

    All but the pairs is read off the ends of the stored lists. The pairs (Figure 5) take one walk
    over all boards of all images, as computing all candidates does.
    """
    from pinjoin.candidates.cooccurrence import pair_histogram

    snapshot, incidence = workspace.snapshot, workspace.incidence
    pairs = pair_histogram(incidence, progress=progress)
    shared = 1 + np.flatnonzero(pairs[1:])
    return CatalogueStats(
        snapshot=snapshot.name,
        n_pins=workspace.n_pins,
        n_images=workspace.n_images,
        n_boards=workspace.n_boards,
        n_saves=incidence.n_saves,
        pins_per_image=Distribution.of(np.diff(snapshot.array("image_pins.indptr"))),
        images_per_board=Distribution.of(incidence.sizes),
        boards_per_image=Distribution.of(incidence.degrees),
        pairs_sharing=Distribution(tuple(shared.tolist()), tuple(pairs[shared].tolist())),
    )


def percent(share: float) -> str:
    """A share as per cent with two digits that count: 70 %, 6.3 %, 0.047 %."""
    return f"{two_digits(100 * share)} %"


def two_digits(value: float) -> str:
    """A number ≥ 0 with two digits that count, without idle zeros.

    >>> [two_digits(value) for value in (69.6, 6.25, 0.1, 0.0047, 0)]
    ['70', '6.2', '0.1', '0.0047', '0']
    """
    if value == 0 or value >= 9.95:
        return f"{value:.0f}"
    places = max(1, 1 - math.floor(math.log10(value)))
    return f"{value:.{places}f}".rstrip("0").rstrip(".")
