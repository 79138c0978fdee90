"""Places to start from: popular images and boards of all kinds, and boards by their title."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.types import Int64s
from pinjoin.recommender import Workspace

_POPULAR = 2_000  # images a home page mixes
_LARGE = 300  # boards it chooses from


def mixed_images(known: Workspace) -> list[int]:
    """Rows of the most popular images so that kinds take turns: the best of each category first."""
    popular = known.popular(_POPULAR)
    return popular[take_turns(known.categories.ids[popular, 0])].tolist()  # type: ignore[no-any-return]


def mixed_boards(known: Workspace, n: int) -> list[int]:
    """Rows of n large boards; categories take turns, and no title comes twice."""
    large = _largest(known.graph.sizes, _LARGE)
    large = large[take_turns(known.board_categories[large])]
    titles = [board["title"] for board in known.describe_boards(large.tolist())]
    first_of_each = {title: row for row, title in zip(large[::-1], titles[::-1], strict=True)}
    wanted = set(first_of_each.values())
    return [int(row) for row in large if row in wanted][:n]


def boards_titled(known: Workspace, words: str, n: int) -> list[int]:
    """Rows of the n largest boards whose title has these words as one string, in any case; of all
    boards without words."""
    sizes = known.graph.sizes
    if not words:
        return [int(row) for row in _largest(sizes, n)]
    stored = known.snapshot.table("boards")["title"]
    new = known.describe_boards(range(len(stored), known.n_boards))  # since the snapshot
    titles = pa.chunked_array(
        [*stored.chunks, pa.array([one["title"] for one in new], pa.string())]
    )
    named = pc.match_substring(titles, words, ignore_case=True)
    rows = np.flatnonzero(pc.fill_null(named, False).to_numpy(zero_copy_only=False))
    return [int(row) for row in rows[_largest(sizes[rows], n)]]


def take_turns(groups: npt.NDArray[Any]) -> Int64s:
    """Numbers of things in an order in which their groups take turns; within one as they are.

    >>> take_turns(np.array([7, 7, 7, 3, 3])).tolist()
    [0, 3, 1, 4, 2]
    """
    by_group = np.argsort(groups, kind="stable")
    _, first, sizes = np.unique(groups[by_group], return_index=True, return_counts=True)
    turns = np.empty(len(groups), np.int64)
    turns[by_group] = np.arange(len(groups)) - np.repeat(first, sizes)
    return np.argsort(turns, kind="stable")


def _largest(sizes: npt.NDArray[Any], n: int) -> Int64s:
    """Places of the n largest, largest first; ties by place. Without zeros."""
    n = min(n, int(np.count_nonzero(sizes)))
    if n == 0:
        return np.empty(0, np.int64)
    limit = np.partition(sizes, len(sizes) - n)[len(sizes) - n]
    found = np.flatnonzero(sizes >= limit)
    return found[np.argsort(-sizes[found].astype(np.int64), kind="stable")][:n]
