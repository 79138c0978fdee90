"""The features of triplets, as they are at request time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.candidates.retrieval import COOCCURRENCE
from pinjoin.core.progress import Progress
from pinjoin.core.types import Float32s, Int64s
from pinjoin.features.context import Context
from pinjoin.features.pair_schema import CONTEXT
from pinjoin.features.pairs import PairFeatures
from pinjoin.ranker import by_count, describe
from pinjoin.recommender import Workspace
from pinjoin.training.log_triplets import NOBODY, LoggedTriplets


@dataclass(frozen=True)
class Pairs:
    """Numbers of the better and the worse document of each triplet: (triplets, …) each."""

    better: npt.NDArray[np.floating[Any]]
    worse: npt.NDArray[np.floating[Any]]

    def __len__(self) -> int:
        return len(self.better)

    def where(self, mask: npt.NDArray[Any]) -> Pairs:
        """Some of them."""
        return Pairs(self.better[mask], self.worse[mask])

    def in_order(self) -> float:
        """Of scores (triplets,): the share in which the better one is higher; a tie counts half.

        >>> Pairs(np.array([2.0, 1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 1.0])).in_order()
        0.625
        """
        ahead = self.better - self.worse
        return float(np.mean((ahead > 0) + 0.5 * (ahead == 0)))


def describe_triplets(
    workspace: Workspace,
    logged: LoggedTriplets,
    context_of: Callable[[int], Context],
    sets: Sequence[PairFeatures],
    progress: Progress,
) -> tuple[list[Pairs], Pairs]:
    """(features (triplets, features) by each of some sets, scores by shared boards (triplets,)).

    Documents are described among the candidates that a request for the query has today.
    context_of: what is known of the request of an impression.
    """
    triplets, n = logged.triplets, len(logged)
    made = [Pairs(*np.empty((2, n, len(features.schema)), np.float32)) for features in sets]
    counts = Pairs(*np.empty((2, n), np.float32))
    order = np.argsort(triplets.query, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(triplets.query[order])) + 1) if n else []
    with progress("describing what was shown", len(groups)) as advance:
        for group in groups:
            _describe_query(workspace, logged, group, context_of, sets, made, counts)
            advance(1)
    return made, counts


def _describe_query(
    workspace: Workspace,
    logged: LoggedTriplets,
    group: Int64s,
    context_of: Callable[[int], Context],
    sets: Sequence[PairFeatures],
    made: Sequence[Pairs],
    counts: Pairs,
) -> None:
    """Fill in the triplets `group`, all of one query."""
    triplets = logged.triplets
    query = int(triplets.query[group[0]])
    sides = np.stack([triplets.better[group], triplets.worse[group]])
    rows, at = np.unique(sides, return_inverse=True)
    at = at.reshape(sides.shape)  # which of rows each side is
    found = workspace.retrieval.find(
        query, alike=partial(workspace.alike, query), wanted=(rows, COOCCURRENCE)
    )
    by_row = np.argsort(found.rows)
    places = by_row[np.searchsorted(found.rows, rows, sorter=by_row)]
    counts.better[group], counts.worse[group] = by_count(found.signals)[places][at]
    own = np.flatnonzero(logged.impression[group] != NOBODY)
    for features, pairs in zip(sets, made, strict=True):
        matrix = describe(features, query, found, places)
        pairs.better[group], pairs.worse[group] = matrix[at[0]], matrix[at[1]]
        if not set(CONTEXT) & set(features.schema):
            continue
        for i in own.tolist():
            context = context_of(int(logged.impression[group[i]]))
            two: Float32s = describe(features, query, found, places[at[:, i]], context)
            pairs.better[group[i]], pairs.worse[group[i]] = two
