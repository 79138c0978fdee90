"""Triplets: the best over the worst, the worst over anything; ties by row; the same for a seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.ranking.coec import CoecTable
from pinjoin.ranking.triplets import ENGAGED, RANDOM, TripletConfig, Triplets, make_triplets

ALL = TripletConfig(min_query_impressions=1, min_impressions=1)

Entry = tuple[int, int, int, float, float]
"""query, candidate, impressions, actions, expected"""


def table(entries: list[Entry]) -> CoecTable:
    columns = zip(*sorted(entries), strict=True)
    kinds = (np.uint32, np.uint32, np.int64, np.float64, np.float64)
    return CoecTable(*(np.array(c, k) for c, k in zip(columns, kinds, strict=True)))


def make(
    entries: list[Entry], n_items: int = 50, config: TripletConfig = ALL, seed: int = 0
) -> Triplets:
    return make_triplets(table(entries), n_items, np.random.default_rng(seed), config)


def rows(triplets: Triplets, kind: int) -> list[tuple[int, int, int]]:
    some = triplets.where(triplets.kind == kind)
    return list(
        zip(some.query.tolist(), some.better.tolist(), some.worse.tolist(), strict=True)
    )  # fmt: skip


def test_best_over_worst_and_worst_over_random() -> None:
    made = make([(7, 1, 10, 2, 2), (7, 2, 10, 6, 2), (7, 3, 10, 1, 2)])
    assert made.kind.tolist() == [ENGAGED, RANDOM]
    assert rows(made, ENGAGED) == [(7, 2, 3)]
    ((query, worst, anything),) = rows(made, RANDOM)
    assert (query, worst) == (7, 3)
    assert anything not in {1, 2, 3, 7}


def test_ties_go_to_the_lowest_row() -> None:
    entries: list[Entry] = [
        (0, 9, 10, 0, 2), (0, 4, 10, 0, 2), (0, 8, 10, 3, 1), (0, 6, 10, 3, 1), (0, 5, 10, 1, 1)
    ]  # fmt: skip
    assert rows(make(entries), ENGAGED) == [(0, 6, 4)]


def test_equal_documents_teach_nothing_of_each_other() -> None:
    made = make([(0, 1, 10, 1, 1), (0, 2, 10, 2, 2)])
    assert made.kind.tolist() == [RANDOM]


def test_only_enough_impressions_count() -> None:
    entries: list[Entry] = [
        (0, 1, 60, 6, 3), (0, 2, 60, 3, 3), (0, 3, 2, 2, 0.1),  # 3 is lucky once
        (1, 1, 40, 6, 3), (1, 2, 40, 3, 3),  # 80 impressions in all
        (2, 1, 500, 6, 3), (2, 2, 1, 0, 3),  # one candidate left
    ]  # fmt: skip
    config = TripletConfig(min_query_impressions=100, min_impressions=10)
    assert rows(make(entries, config=config), ENGAGED) == [(0, 1, 2)]
    assert {q for q, _, _ in rows(make(entries, config=config), RANDOM)} == {0}


def test_random_rows_are_even_over_what_was_not_shown() -> None:
    entries: list[Entry] = [(3, c, 10, c, 5) for c in (0, 1, 5, 9)]
    drawn: Counter[int] = Counter()
    config = TripletConfig(1, 1, random_negatives=6000)
    drawn.update(worse for _, _, worse in rows(make(entries, 10, config), RANDOM))
    assert sorted(drawn) == [2, 4, 6, 7, 8]
    assert min(drawn.values()) > 1200 * 0.85
    assert max(drawn.values()) < 1200 * 1.15


def test_where_all_was_shown_nothing_is_random() -> None:
    made = make([(0, 1, 10, 2, 1), (0, 2, 10, 1, 1)], n_items=3)
    assert made.kind.tolist() == [ENGAGED]


def test_a_seed_gives_its_triplets() -> None:
    entries: list[Entry] = [(q, c, 10, c % 3, 2) for q in range(40) for c in range(50, 60)]
    same, again, other = (rows(make(entries, 90, seed=s), RANDOM) for s in (1, 1, 2))
    assert same == again != other


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 8)),
        st.tuples(st.integers(1, 30), st.integers(0, 4), st.sampled_from([0.5, 1.0, 2.0])),
        min_size=1,
    ),
    st.integers(1, 60),
    st.integers(1, 15),
    st.integers(0, 3),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 3.0]),
)
def test_triplets_equal_a_plain_loop(
    given_: dict[tuple[int, int], tuple[int, int, float]],
    per_query: int,
    per_pair: int,
    negatives: int,
    pairs: int,
    doubt: float,
) -> None:
    wanted, of_random = [], []
    for q in sorted({q for q, _ in given_}):
        mine = {c: v for (p, c), v in given_.items() if p == q}
        enough = {
            c: (a + doubt) / (e + doubt) for c, (n, a, e) in sorted(mine.items()) if n >= per_pair
        }
        if sum(n for n, _, _ in mine.values()) < per_query or len(enough) < 2:
            continue
        best = sorted(enough, key=lambda c: (-enough[c], c))
        worst = sorted(enough, key=lambda c: (enough[c], c))
        for b, w in list(zip(best, worst, strict=True))[: min(pairs, len(enough) // 2)]:
            if enough[b] > enough[w]:
                wanted.append((q, b, w))
        if set(range(9)) - set(mine) - {q}:
            of_random += [(q, worst[0], set(mine) | {q})] * negatives
    config = TripletConfig(per_query, per_pair, negatives, pairs, doubt)
    entries: list[Entry] = [(q, c, *v) for (q, c), v in given_.items()]
    if not wanted and not of_random:
        with pytest.raises(InputError, match="No query has"):
            make(entries, 9, config)
        return
    made = make(entries, 9, config)
    assert rows(made, ENGAGED) == wanted
    assert [(q, b) for q, b, _ in rows(made, RANDOM)] == [(q, b) for q, b, _ in of_random]
    for (_, _, row), (_, _, seen) in zip(rows(made, RANDOM), of_random, strict=True):
        assert row < 9
        assert row not in seen


def test_with_doubt_evidence_decides_not_luck() -> None:
    entries: list[Entry] = [
        (0, 1, 10, 1, 0.05), (0, 2, 90, 18, 6), (0, 3, 10, 0, 0.05), (0, 4, 90, 0, 6)
    ]  # fmt: skip
    assert rows(make(entries), ENGAGED) == [(0, 1, 3)]  # COEC 20 over 0, of 20 impressions
    doubting = TripletConfig(1, 1, doubt=1.0)  # (1 + 1) / 1.05 < (18 + 1) / 7
    assert rows(make(entries, config=doubting), ENGAGED) == [(0, 2, 4)]


def test_several_pairs_go_from_the_ends_to_the_middle() -> None:
    entries: list[Entry] = [(0, c, 10, c, 2) for c in range(1, 6)]
    made = make(entries, config=TripletConfig(1, 1, random_negatives=0, pairs=9))
    assert rows(made, ENGAGED) == [(0, 5, 1), (0, 4, 2)]


def test_too_little_is_said() -> None:
    with pytest.raises(InputError, match="No query has 100 impressions.*the most one has is 12"):
        make([(0, 1, 12, 2, 1)], config=TripletConfig())


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_items parameter of make_triplets must be more than"):
        make([(0, 60, 10, 2, 1)], n_items=50)
    with pytest.raises(ConfigError, match="min_impressions parameter of TripletConfig"):
        TripletConfig(min_impressions=0)
    with pytest.raises(ConfigError, match="random_negatives parameter"):
        TripletConfig(random_negatives=-1)
    with pytest.raises(ConfigError, match="pairs parameter"):
        TripletConfig(pairs=0)
    with pytest.raises(ConfigError, match="doubt parameter"):
        TripletConfig(doubt=-1)
