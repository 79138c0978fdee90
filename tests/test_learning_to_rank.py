"""From a log to weights: small worlds with planted preferences and strong position bias.

What can be recovered depends on the ranker that made the log. After one that is useful and
imperfect, as those in service are, the planted direction is found (cosine ≥ 0.95 for every seed
here). After one that puts first what people like least it is not: cosines of 0.8 to 0.95 were
measured, and no better ones (0.81 to 0.96) with the true chance of each place to be looked at in
place of COEC's estimate, so that it is the choice of what was shown that is in the way. Both
worlds are here, lest one claim stand for the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from pyarrow import RecordBatch

from pinjoin.data.event_log import EventLog, join_events, number_events
from pinjoin.data.events import EVENTS
from pinjoin.ranking.coec import CoecTable, coec_of_log
from pinjoin.ranking.ranksvm import RankSVM
from pinjoin.ranking.triplets import TripletConfig, make_triplets

QUERIES, CANDIDATES, SHOWN, FEATURES = 300, 30, 10, 6
PLANTED = np.array([1.0, -0.8, 0.6, 0.0, 0.4, -0.2])
SEEN = 0.9 / np.arange(1, SHOWN + 1) ** 1.2  # how likely a place is looked at, on a desktop
USEFUL = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])  # knows one taste, believes in one nobody has
CONTRARY = np.array([-1.0, 0.0, 0.0, 1.0, 0.0, 0.0])  # has the strongest taste the wrong way round
SEEDS = [10, 11, 12, 13]


@dataclass
class World:
    """Φ float64 [queries, candidates, features]; rows of candidate c of query q."""

    features: np.ndarray
    rows: np.ndarray
    n_items: int

    def of(self, query: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Φ(q, d); a document from elsewhere has nothing to do with any query."""
        place = row.astype(np.int64) - QUERIES - query.astype(np.int64) * CANDIDATES
        own = (place >= 0) & (place < CANDIDATES)
        found: np.ndarray = np.where(
            own[:, None],
            self.features[query, np.clip(place, 0, CANDIDATES - 1)],
            np.random.default_rng(9).normal(-0.5 * PLANTED, 1, (len(row), FEATURES)),
        )
        return found


def simulate(old_ranker: np.ndarray, seed: int, requests: int = 60_000) -> tuple[World, EventLog]:
    """Requests ranked by the old ranker, mostly; clicks where seen and liked. A seeded log."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(QUERIES, CANDIDATES, FEATURES))
    rows = QUERIES + np.arange(QUERIES * CANDIDATES).reshape(QUERIES, CANDIDATES)
    world = World(features, rows, QUERIES + QUERIES * CANDIDATES)
    liked = 1 / (1 + np.exp(-(features @ PLANTED - 1.0)))
    query = rng.integers(0, QUERIES, requests)
    old = (features @ old_ranker)[query] + rng.gumbel(size=(requests, CANDIDATES)) * 0.7
    shown = np.argsort(-old, axis=1)[:, :SHOWN]
    phone = rng.random(requests) < 0.6
    seen = SEEN[None, :] ** np.where(phone, 1.4, 1.0)[:, None]
    chance = seen * np.take_along_axis(liked[query], shown, 1)
    clicked = rng.random((requests, SHOWN)) < chance
    columns: dict[str, list[object]] = {name: [] for name in EVENTS.names}
    for action, mask in (("impression", np.ones_like(clicked)), ("click", clicked)):
        r, p = np.nonzero(mask)
        columns["time"] += r.tolist()
        columns["request_id"] += [f"r{i}" for i in r]
        columns["user_id"] += [f"u{i % 997}" for i in r]
        columns["query"] += [str(q) for q in query[r]]
        columns["candidate"] += [str(d) for d in rows[query[r], shown[r, p]]]
        columns["position"] += [str(i + 1) for i in p]
        columns["device"] += ["phone" if phone[i] else "desktop" for i in r]
        columns["surface"] += [None] * len(r)
        columns["action"] += [action] * len(r)
        columns["propensity"] += [None] * len(r)
    log = join_events(number_events([RecordBatch.from_pydict(columns, schema=EVENTS)]))
    assert log.items is not None
    return world, log.with_rows(np.array([int(i) for i in log.items.to_pylist()]))


def raw_clicks(table: CoecTable) -> CoecTable:
    """The same pairs by click rate: as if every place were alike."""
    rate = table.actions.sum() / table.impressions.sum()
    return CoecTable(
        table.query, table.candidate, table.impressions, table.actions, table.impressions * rate
    )


def learn(world: World, table: CoecTable, n_random: int = 0) -> np.ndarray:
    """Weights from triplets; C by what orders the triplets of held-out queries best."""
    config = TripletConfig(min_query_impressions=200, min_impressions=20, random_negatives=n_random)
    made = make_triplets(table, world.n_items, np.random.default_rng(1), config)
    better, worse = world.of(made.query, made.better), world.of(made.query, made.worse)
    held = made.query % 3 == 0

    def share(C: float) -> float:  # noqa: N803
        return RankSVM(C).fit(better[~held], worse[~held]).score(better[held], worse[held])

    return RankSVM(max((0.001, 0.01, 0.1, 1.0), key=share)).fit(better, worse).coef_


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def order_found(world: World, w: np.ndarray) -> float:
    """The share of pairs of a query's candidates that w ranks as people like them."""
    liked, found = world.features @ PLANTED, world.features @ w
    a, b = np.triu_indices(CANDIDATES, 1)
    return float(np.mean((liked[:, a] > liked[:, b]) == (found[:, a] > found[:, b])))


def both(world: World, log: EventLog) -> tuple[np.ndarray, np.ndarray]:
    """Weights learned from COEC, and from raw clicks."""
    table = coec_of_log(log)
    return learn(world, table), learn(world, raw_clicks(table))


@pytest.mark.parametrize("seed", SEEDS)
def test_coec_recovers_the_planted_weights_and_raw_clicks_do_not(seed: int) -> None:
    world, log = simulate(USEFUL, seed)
    coec, raw = both(world, log)
    assert cosine(coec, PLANTED) >= 0.95
    # The old ranker's taste leaks into raw clicks: it filled the places that are looked at.
    assert cosine(raw, PLANTED) < cosine(coec, PLANTED) - 0.05
    assert order_found(world, coec) > order_found(world, raw) + 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_contrary_ranker_coec_is_still_far_better_than_raw_clicks(seed: int) -> None:
    """But 0.95 is not promised here: see the top of this file."""
    world, log = simulate(CONTRARY, seed)
    coec, raw = both(world, log)
    assert cosine(raw, PLANTED) < cosine(coec, PLANTED)
    assert order_found(world, coec) > order_found(world, raw)


def test_coec_measures_what_is_liked_wherever_it_stood() -> None:
    world, log = simulate(CONTRARY, 0)
    table = coec_of_log(log)
    own = table.candidate.astype(np.int64) - QUERIES - table.query.astype(np.int64) * CANDIDATES
    liked = (world.features @ PLANTED)[table.query, own]
    thick = table.expected > 20
    assert np.corrcoef(np.log(table.coec[thick] + 0.05), liked[thick])[0, 1] > 0.9


def test_random_negatives_keep_the_direction() -> None:
    world, log = simulate(USEFUL, 10)
    assert cosine(learn(world, coec_of_log(log), 1), PLANTED) > 0.85


def test_the_order_of_a_log_does_not_matter() -> None:
    _, log = simulate(USEFUL, 3, requests=5_000)
    shuffled = log.where(np.random.default_rng(0).permutation(len(log)))
    assert coec_of_log(shuffled).expected.tobytes() == coec_of_log(log).expected.tobytes()
