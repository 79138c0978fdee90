from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import boards_matrix

from pinjoin.candidates.walk import RandomWalk, WalkConfig, exact_walk
from pinjoin.core.errors import ConfigError
from pinjoin.core.incidence import Incidence

N = 40
BOARDS = st.lists(st.lists(st.integers(0, N - 1), max_size=12), max_size=15)
ALWAYS, NEVER = 1 << 62, 0  # exact_saves


def graph(boards: list[list[int]], n: int = N) -> Incidence:
    return Incidence.from_matrix(boards_matrix(boards, n))


def dense_scores(
    boards: list[list[int]], n: int, hops: int, decay: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """(n, n) s of the module's formula, entry by entry: weights stand in for D_img⁻¹ Aᵀ."""
    sets = [set(board) for board in boards]
    weights = np.ones(len(sets)) if weights is None else weights
    p = np.zeros((n, n))
    for i in range(n):
        mine = [b for b in range(len(sets)) if i in sets[b]]
        for b in mine:
            for c in sets[b]:
                p[i, c] += weights[b] / sum(weights[x] for x in mine) / len(sets[b])
    return sum(decay ** (t - 1) * np.linalg.matrix_power(p, t) for t in range(1, hops + 1))


def scores_of(found, n: int = N) -> np.ndarray:
    scores = np.zeros(n)
    scores[found.rows] = found.scores
    return scores


@given(BOARDS, st.integers(1, 5), st.sampled_from([1.0, 0.8, 0.3]), st.integers(0, N - 1))
def test_exact_scores_equal_the_dense_formula(boards, hops, decay, query):
    expected = dense_scores(boards, N, hops, decay)[query]
    expected[query] = 0
    rows, scores = exact_walk(graph(boards), query, hops, decay)
    assert sorted(rows.tolist()) == np.flatnonzero(expected).tolist()
    np.testing.assert_allclose(scores, expected[rows], rtol=1e-6)
    assert np.lexsort((rows, -scores)).tolist() == list(range(len(rows)))


@given(BOARDS, st.integers(0, 1000))
@settings(max_examples=30)
def test_a_bias_shares_mass_by_board_weight(boards, seed):
    weights = np.random.default_rng(seed).choice([0.1, 0.5, 1.0], size=len(boards))
    walk = RandomWalk(graph(boards), WalkConfig(exact_saves=ALWAYS))
    expected = dense_scores(boards, N, 4, 0.8, weights)
    for query in range(0, N, 7):
        row = expected[query].copy()
        row[query] = 0
        found = walk.top(query, N, board_weights=weights.astype(np.float32))
        np.testing.assert_allclose(scores_of(found), row, rtol=1e-5)


def test_a_hop_by_hand():
    # q on boards {q, a} and {q, a, b}: a gets 1/2 · 1/2 + 1/2 · 1/3, b gets 1/2 · 1/3.
    found = RandomWalk(graph([[0, 1], [0, 1, 2]], 3), WalkConfig(hops=1)).top(0)
    assert found.exact
    assert found.rows.tolist() == [1, 2]
    assert found.scores.tolist() == pytest.approx([1 / 2 * 1 / 2 + 1 / 2 * 1 / 3, 1 / 2 * 1 / 3])


CATALOGUE = [
    np.random.default_rng(b).choice(60, size=3 + b % 9, replace=False).tolist() for b in range(40)
]


def sampled(seed: int, **settings) -> RandomWalk:
    return RandomWalk(graph(CATALOGUE, 60), WalkConfig(exact_saves=NEVER, seed=seed, **settings))


@pytest.mark.parametrize("query", [0, 17, 42])
@pytest.mark.parametrize(
    ("hops", "decay", "biased"), [(4, 0.8, False), (1, 0.5, False), (3, 1.0, False), (4, 0.8, True)]
)
def test_the_mean_of_sampled_scores_is_the_exact_score(query, hops, decay, biased):
    weights = np.linspace(0.2, 1, len(CATALOGUE)) if biased else None
    expected = dense_scores(CATALOGUE, 60, hops, decay, weights)[query]
    expected[query] = 0
    given_weights = None if weights is None else weights.astype(np.float32)
    runs = np.array(
        [
            scores_of(
                sampled(seed, hops=hops, decay=decay, steps=500).top(
                    query, 60, board_weights=given_weights
                ),
                60,
            )
            for seed in range(400)
        ]
    )
    # 60 images at five standard errors each; an image that no run misses or meets has none.
    error = runs.std(axis=0) / math.sqrt(len(runs))
    assert np.all(np.abs(runs.mean(axis=0) - expected) <= 5 * error + 1e-3)


def test_walks_from_one_query_spread_better_than_chance():
    """The first hop is a systematic sample: its error is a fraction of the binomial one."""
    [expected] = dense_scores(CATALOGUE, 60, 1, 1.0)[[0]]
    expected[0] = 0
    runs = [scores_of(sampled(seed, hops=1, steps=1000).top(0, 60), 60) for seed in range(100)]
    error = np.square(np.array(runs) - expected).mean()
    binomial = (expected * (1 - expected) / 1000).mean()
    assert error < binomial / 20


@given(BOARDS, st.integers(1, 3000), st.integers(0, 50))
def test_visits_sum_to_the_steps(boards, steps, seed):
    whole = graph(boards)
    config = WalkConfig(steps=steps, exact_saves=NEVER, seed=seed, decay=1.0)
    walk = RandomWalk(whole, config)
    for query in np.flatnonzero(whole.degrees)[:5]:
        found = walk.top(int(query), N)
        assert found.steps == config.walks * config.hops
        visits = found.scores * config.walks
        np.testing.assert_allclose(visits, np.rint(visits), atol=1e-2)
        assert np.rint(visits).sum() <= found.steps  # the rest were visits to the query
        assert query not in found.rows


@given(BOARDS, st.integers(1, N), st.sampled_from([ALWAYS, NEVER]))
def test_fewer_are_a_prefix_of_more(boards, k, exact_saves):
    walk = RandomWalk(graph(boards), WalkConfig(steps=300, exact_saves=exact_saves))
    for query in range(0, N, 9):
        fewer, more = walk.top(query, k), walk.top(query, k + 1)
        assert fewer.rows.tolist() == more.rows.tolist()[:k]
        assert fewer.scores.tolist() == more.scores.tolist()[:k]
        assert len(fewer) <= k
        order = np.lexsort((more.rows, -more.scores))
        assert order.tolist() == list(range(len(more)))


def test_answers_do_not_flicker_but_snapshots_differ():
    whole = graph(CATALOGUE, 60)
    config = WalkConfig(steps=200, exact_saves=NEVER)
    first = RandomWalk(whole, config, "20250101T000000Z-00000000")
    again = RandomWalk(whole, config, "20250101T000000Z-00000000")
    other = RandomWalk(whole, config, "20250102T000000Z-00000000")
    before = [first.top(q, 60).scores.tolist() for q in range(60)]
    assert [first.top(q, 60).scores.tolist() for q in range(60)] == before
    assert [again.top(q, 60).scores.tolist() for q in range(60)] == before
    assert [other.top(q, 60).scores.tolist() for q in range(60)] != before


def test_threads_get_what_one_gets():
    walk = RandomWalk(graph(CATALOGUE, 60), WalkConfig(steps=2000, exact_saves=NEVER))
    alone = [walk.top(q).rows.tolist() for q in range(60)]
    together: dict[int, list[list[int]]] = {}

    def work(name: int) -> None:
        together[name] = [walk.top(q).rows.tolist() for q in range(60)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(rows == alone for rows in together.values())


@pytest.mark.parametrize("exact_saves", [ALWAYS, NEVER])
def test_an_image_on_no_board_or_alone_has_no_results(exact_saves):
    walk = RandomWalk(graph([[0, 1], [2]], 4), WalkConfig(exact_saves=exact_saves))
    assert len(walk.top(3)) == 0
    assert len(walk.top(2)) == 0
    assert walk.top(0).rows.tolist() == [1]


def test_exact_where_near_and_sampled_where_far():
    config = WalkConfig(steps=100, exact_saves=1000)
    assert RandomWalk(graph([[0, 1], [1, 2]], 3), config).top(0).exact
    wide = graph([list(range(300)), *[[i, i + 1] for i in range(299)]], 300)
    found = RandomWalk(wide, config).top(5)
    assert not found.exact
    assert 60 <= found.steps <= 140


@pytest.mark.parametrize("room", [1500, 3000])  # left in the first hop, in the second
def test_a_neighbourhood_larger_than_expected_is_sampled_instead(room):
    """Most boards are tiny, so little is expected; the query's one is not."""
    boards = [list(range(2000)), *[[i] for i in range(2000, 60_000)]]
    whole = graph(boards, 60_000)
    walk = RandomWalk(whole, WalkConfig(exact_saves=room, hops=2))
    walk._next_images = walk._next_boards = 1.0  # what such a catalogue's mean may say
    assert walk._is_near(0)
    found = walk.top(0)
    assert not found.exact
    again = RandomWalk(whole, WalkConfig(exact_saves=NEVER, hops=2)).top(0)
    assert found.rows.tolist() == again.rows.tolist(), "nothing is left of the attempt"
    walk.config = WalkConfig(exact_saves=ALWAYS, hops=2)
    assert walk.top(1).scores.tolist() == exact_walk(whole, 1, hops=2)[1].tolist()


def test_sampling_stops_once_enough_images_are_visited_often():
    whole = graph(CATALOGUE, 60)
    full = RandomWalk(whole, WalkConfig(exact_saves=NEVER)).top(0)
    soon = RandomWalk(whole, WalkConfig(exact_saves=NEVER, enough_images=10, enough_visits=5)).top(
        0
    )
    never = RandomWalk(whole, WalkConfig(exact_saves=NEVER, enough_images=1000)).top(0)
    assert soon.steps < full.steps / 4
    assert never.steps == pytest.approx(full.steps, rel=0.02)
    visits = soon.scores * soon.steps / 2.952  # walks = steps / (1 + 0.8 + 0.64 + 0.512)
    assert np.sum(visits >= 4.5) >= 10


def test_several_queries_favour_what_all_reach():
    # 2 shares a board with each of 0 and 1; 3 and 4 with one of them, twice.
    whole = graph([[0, 2], [1, 2], [0, 3], [1, 4]], 5)
    walk = RandomWalk(whole, WalkConfig(hops=1))
    found = walk.top_of_many([0, 1])
    assert found.rows.tolist() == [2, 3, 4]
    # Each one's share is 1/2 boards · 1/2 images; 2 has it from both queries.
    assert found.scores.tolist() == pytest.approx([(2 * math.sqrt(1 / 4)) ** 2, 1 / 4, 1 / 4])
    alone = walk.top_of_many([0])
    assert alone.rows.tolist() == walk.top(0).rows.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hops": 0}, "hops parameter of WalkConfig must be a number from 1 to 64. Got 0"),
        ({"decay": 0.0}, "decay parameter of WalkConfig must be above 0 and at most 1. Got 0.0"),
        ({"steps": 0}, "steps parameter of WalkConfig"),
        ({"exact_saves": -1}, "exact_saves parameter of WalkConfig"),
        ({"enough_images": -1}, "enough_images parameter of WalkConfig"),
        ({"enough_visits": 0}, "enough_visits parameter of WalkConfig"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        WalkConfig(**settings)


def test_wrong_questions_are_named():
    walk = RandomWalk(graph([[0, 1]], 2))
    with pytest.raises(ConfigError, match="query parameter .* a row from 0 to 1. Got 2"):
        walk.top(2)
    with pytest.raises(ConfigError, match="k parameter .* a number ≥ 1. Got 0"):
        walk.top(0, 0)
    with pytest.raises(ConfigError, match=r"board_weights .* of shape \(1,\). Got \(2,\)"):
        walk.top(0, board_weights=np.ones(2, np.float32))
    with pytest.raises(ConfigError, match=r"board_weights .* in \(0, 1\]. Got \(0.0, 1.0\)"):
        walk.top(0, board_weights=np.zeros(1, np.float32))
    with pytest.raises(ConfigError, match="queries .* at least one row"):
        walk.top_of_many([])
