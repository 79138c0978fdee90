"""What pages show: comparisons, places to start from, reasons; the pages without a browser."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.serving.browse import take_turns
from pinjoin.serving.comparing import compare
from pinjoin.serving.views import by_family, by_feature, parts

numbers = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))
added = st.dictionaries(st.sampled_from(["walk.log", "walk.visits", "text.present", "x"]), numbers)
rankings = st.dictionaries(st.integers(0, 9), added, max_size=8)


def test_what_moved_a_result_is_told_beside_the_others():
    before = {1: {"a": 4.0}, 2: {"a": 2.0}, 3: {"a": 0.0}}
    after = {2: {"a": 2.0, "b": 3.0}, 1: {"a": 4.0}, 3: {"a": 0.0}}
    first, second, third = compare(before, after)
    assert [(m.row, m.before, m.after) for m in (first, second, third)] == [
        (2, 2, 1),
        (1, 1, 2),
        (3, 3, 3),
    ]
    old, new = np.std([4, 2, 0]), np.std([5, 4, 0])
    assert first.causes == pytest.approx({"a": 0.0, "b": (3 - 1) / new})
    assert second.causes == pytest.approx({"a": (4 - 2) / new - (4 - 2) / old, "b": -1 / new})


def test_a_model_on_another_scale_moves_nothing():
    before = {row: {"a": float(row), "b": 1.0 - row**2} for row in (5, 3, 1)}
    after = {
        row: {name: 1000 * value for name, value in one.items()} for row, one in before.items()
    }
    for move in compare(before, after):
        assert move.before == move.after
        assert move.causes == pytest.approx({"a": 0.0, "b": 0.0}, abs=1e-12)


def test_who_is_in_one_list_only_has_no_causes():
    came, stayed, went = compare({1: {"a": 1.0}, 2: {"a": 2.0}}, {3: {"a": 9.0}, 2: {"a": 1.0}})
    assert (came.row, came.before, came.after, came.causes) == (3, None, 1, {})
    assert (went.row, went.before, went.after, went.causes) == (1, 1, None, {})
    assert (stayed.before, stayed.after) == (2, 2)


@given(rankings, rankings)
def test_causes_sum_to_how_far_the_score_rose_beside_the_others(before, after):
    moves = compare(before, after)
    assert [move.row for move in moves if move.after] == list(after)
    common = [row for row in after if after[row] and before.get(row)]

    def risen(ranking: dict[int, dict[str, float]], row: int) -> float:
        scores = np.array([sum(ranking[one].values()) for one in common])
        return float((sum(ranking[row].values()) - scores.mean()) / (scores.std() or 1.0))

    for move in moves:
        if move.causes:
            expected = risen(after, move.row) - risen(before, move.row)
            spread = max(map(abs, move.causes.values()))
            assert sum(move.causes.values()) == pytest.approx(expected, abs=1e-6 * (1 + spread))


@given(added)
def test_bars_and_lists_of_features_sum_to_the_score(contributions):
    score = pytest.approx(sum(contributions.values()), abs=1e-9)
    assert sum(part.value for part in parts(by_family(contributions))) == score
    assert sum(value for _, value in by_feature(contributions)) == score
    for part in parts(contributions):
        assert -100 <= part.x <= part.x + part.width <= 100
        assert (part.x < 0) == (part.value < 0 and part.width > 0)


def test_families_join_what_belongs_together():
    given = {"adamic_adar.sum": 0.25, "resource_allocation.sum": 0.5, "walk.log": 1.0, "new.x": 2.0}
    assert by_family(given) == {"Small boards shared": 0.75, "Boards nearby": 1.0, "new": 2.0}


@given(st.lists(st.integers(0, 4)))
def test_groups_take_turns(groups):
    order = take_turns(np.array(groups, np.int64)).tolist()
    assert sorted(order) == list(range(len(groups)))
    rounds = [sum(groups[other] == groups[one] for other in range(one)) for one in order]
    assert rounds == sorted(rounds)
    for one, following in pairwise(order):
        if rounds[order.index(one)] == rounds[order.index(following)]:
            assert one < following
