"""What a log says should rank above what: of all people together, and of a person at a time.

Of all people together it is COEC that says it (`ranking.triplets`). What is recent, searched for
or local differs from request to request, and only requests can teach what it is worth: what was
acted on there should rank above what else was shown. Places are accounted for as in COEC: requests
are drawn in proportion to 1 / e(place) of what was acted on, so that, as an estimate, each counts
as if all places were looked at alike (Joachims et al., "Unbiased Learning-to-Rank with Biased
Feedback", 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinjoin.core.errors import InputError
from pinjoin.core.types import Int64s
from pinjoin.ranking.coec import CoecTable, coec_of_log
from pinjoin.ranking.triplets import TripletConfig, Triplets, make_triplets
from pinjoin.training.log_config import LEAST, LogTraining
from pinjoin.training.logged import Logged

IN_CONTEXT = 2
"""A kind of triplet, besides those of `ranking.triplets`: of one request."""

NOBODY = -1
"""In place of an impression: of all people together."""

LEARNED, RAW, LATER = range(3)
"""What triplets are for: to learn from; to compare with, from clicks taken at their face value; to
tune Navboost by, from the latest requests."""

Mask = npt.NDArray[np.bool_] | Int64s


@dataclass(frozen=True)
class LoggedTriplets:
    """Triplets and, int64 (n,) each, the impression whose request each is of, or NOBODY; what it
    is for; and the fold of its query."""

    triplets: Triplets
    impression: Int64s
    use: Int64s
    fold: Int64s

    def __len__(self) -> int:
        return len(self.triplets)

    def where(self, mask: Mask) -> LoggedTriplets:
        """Some of them."""
        columns = (self.impression, self.use, self.fold)
        return LoggedTriplets(self.triplets.where(mask), *(column[mask] for column in columns))


def draw(
    logged: Logged, known: npt.NDArray[np.bool_] | None, n_images: int, config: LogTraining
) -> LoggedTriplets:
    """The triplets of all uses. known: (impressions,) bool, of whose person something is; None:
    nobody asks for it.

    Raises InputError, which says how much it takes, where too few queries qualify.
    """
    rng, table = np.random.default_rng(config.seed), logged.table
    learned = make_triplets(table, n_images, rng, config.triplets)
    queries = _enough(np.unique(learned.query), table, config.triplets)
    queries = rng.permutation(queries)[: config.queries]
    fold = np.arange(n_images) % config.folds  # of queries that are not learned from
    fold[queries] = np.arange(len(queries)) % config.folds
    mine = np.zeros(n_images, bool)
    mine[queries] = True
    told = np.zeros(len(logged.log), bool) if known is None else known & mine[logged.log.query]
    requests, impression = of_requests(logged, told, rng, config.requests)
    raw = make_triplets(logged.at_face_value().table, n_images, rng, config.triplets)
    parts: list[tuple[Triplets, int, Int64s | int]] = [
        (learned.where(mine[learned.query]), LEARNED, NOBODY),
        (requests, LEARNED, impression),
        (raw.where(mine[raw.query]), RAW, NOBODY),
        (later(logged, n_images, rng, config), LATER, NOBODY),
    ]
    return _together(parts, fold)


def of_requests(
    logged: Logged, known: npt.NDArray[np.bool_], rng: np.random.Generator, most: int
) -> tuple[Triplets, Int64s]:
    """Up to `most` triplets of requests of which something is known, and the impression that
    each is of; none where they are too few."""
    log, worth = logged.log, logged.worth
    acted = np.flatnonzero(known & (worth > 0))
    order = np.argsort(log.request, kind="stable")
    starts = np.searchsorted(log.request[order], np.arange(int(log.request.max()) + 2))
    weight = worth[acted] / logged.rates.rates[log.cell[acted]]
    size = min(most, len(acted)) if len(acted) >= LEAST else 0
    chosen = rng.choice(acted, size, p=weight / weight.sum()) if size else acted[:0]
    pairs = []
    for impression in chosen.tolist():
        request = log.request[impression]
        beside = order[starts[request] : starts[request + 1]]
        other = log.candidate[beside] != log.candidate[impression]
        same_query = log.query[beside] == log.query[impression]
        beside = beside[other & same_query & (worth[beside] == 0)]
        if len(beside):
            pairs.append((impression, int(rng.choice(beside))))
    better, worse = np.array(pairs, np.int64).reshape(-1, 2).T
    kind = np.full(len(better), IN_CONTEXT, np.uint8)
    items = log.candidate[better], log.candidate[worse]
    return Triplets(log.query[better], *items, kind), better


def later(logged: Logged, n_images: int, rng: np.random.Generator, config: LogTraining) -> Triplets:
    """Best over worst of each query in the latest requests; none where there are too few."""
    _, latest = logged.log.split_by_time(config.earlier)
    nothing = np.empty(0, np.uint32)
    none = Triplets(nothing, nothing, nothing, np.empty(0, np.uint8))
    if not len(latest):
        return none
    table = coec_of_log(latest, actions=logged.actions, rates=logged.rates)
    try:
        made = make_triplets(table, n_images, rng, config.later_triplets)
    except InputError:
        return none
    return made if len(made) >= LEAST else none


def _enough(queries: npt.NDArray[Any], table: CoecTable, config: TripletConfig) -> Any:
    if len(queries) < LEAST:
        raise InputError(
            f"Only {len(queries)} queries can be learned from; {LEAST} are the least. Each needs "
            f"{config.min_query_impressions} impressions, and two candidates with "
            f"{config.min_impressions} or more each; {len(np.unique(table.query)):,} queries have "
            "any. Collect more events, or ask for less of each query "
            "(--min-query-impressions, --min-impressions)."
        )
    return queries


def _together(parts: Sequence[tuple[Triplets, int, Int64s | int]], fold: Int64s) -> LoggedTriplets:
    columns = [
        np.concatenate([getattr(triplets, name) for triplets, _, _ in parts])
        for name in ("query", "better", "worse", "kind")
    ]
    sizes = [len(triplets) for triplets, _, _ in parts]
    uses = np.repeat([use for _, use, _ in parts], sizes)
    impressions = [np.broadcast_to(one, n) for (_, _, one), n in zip(parts, sizes, strict=True)]
    return LoggedTriplets(
        Triplets(*columns), np.concatenate(impressions), uses, fold[columns[0]].astype(np.int64)
    )
