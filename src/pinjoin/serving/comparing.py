"""Two rankings of the same query side by side: what moved between them, and what moved it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Added = Mapping[int, Mapping[str, float]]
"""A ranking, best first: by image row, what each feature added to its score; {} if unknown."""


@dataclass(frozen=True)
class Move:
    """Where one result stands before and after; ranks from 1, None: not in the list.

    causes: by feature, how much more it counts for this result after than before, in standard
    deviations of the scores. They sum to how much its score rose beside the others'. Empty where
    a list has no contributions for it.
    """

    row: int
    before: int | None
    after: int | None
    causes: Mapping[str, float]


def compare(before: Added, after: Added) -> list[Move]:
    """The moves of all results of two rankings: in the order of `after`, then the rest.

    Only what is relative to the other results moves a result, so contributions are taken less
    their means over the results that both rankings have, and divided by the deviation of those'
    scores, list by list: then two models on different scales compare.
    """
    ranks_before, ranks_after = _ranks(before), _ranks(after)
    common = [row for row in after if after[row] and before.get(row)]
    old, new = _relative(before, common), _relative(after, common)
    return [
        Move(row, ranks_before.get(row), ranks_after.get(row), _differences(old, new, row))
        for row in dict.fromkeys([*after, *before])
    ]


def _ranks(added: Added) -> dict[int, int]:
    return {row: rank for rank, row in enumerate(added, 1)}


def _relative(added: Added, common: Sequence[int]) -> dict[int, dict[str, float]]:
    """By row and feature: contributions beside those of the common results."""
    if not common:
        return {}
    names = list(dict.fromkeys(name for parts in added.values() for name in parts))
    matrix = np.array([[added[row].get(name, 0.0) for name in names] for row in common])
    means, spread = matrix.mean(axis=0).tolist(), float(matrix.sum(axis=1).std()) or 1.0
    return {
        row: {
            name: (parts.get(name, 0.0) - mean) / spread
            for name, mean in zip(names, means, strict=True)
        }
        for row, parts in added.items()
        if parts
    }


def _differences(
    old: Mapping[int, Mapping[str, float]], new: Mapping[int, Mapping[str, float]], row: int
) -> dict[str, float]:
    if row not in old or row not in new:
        return {}
    names = dict.fromkeys([*new[row], *old[row]])
    return {name: new[row].get(name, 0.0) - old[row].get(name, 0.0) for name in names}
