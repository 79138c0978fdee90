from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import boards_matrix

from pinjoin.core.errors import ConfigError
from pinjoin.core.incidence import Incidence
from pinjoin.core.types import NO_ROW
from pinjoin.data.splits import (
    UNDATED,
    Held,
    hidden_saves,
    hide,
    hide_later,
    reduced,
    save_times,
)

N = 12
BOARDS = st.lists(st.lists(st.integers(0, N - 1), max_size=9), max_size=14)
SEEDS = st.integers(0, 1000)


def graph(boards: list[list[int]]) -> Incidence:
    return Incidence.from_matrix(boards_matrix(boards, N))


def saves_of(incidence: Incidence) -> set[tuple[int, int]]:
    return {(b, int(i)) for b in range(incidence.n_boards) for i in incidence.images_of(b)}


def saves_hidden(incidence: Incidence, held: Held) -> set[tuple[int, int]]:
    return set(zip(*(column.tolist() for column in hidden_saves(incidence, held)), strict=True))


def naive_hide(boards, seed, share, min_images, keeps, most) -> list[tuple[int, int, int]]:
    """(board, query, hidden), by the same random numbers."""
    rng = np.random.default_rng(seed)
    lists = [sorted(set(board)) for board in boards]
    order = rng.permutation([b for b, images in enumerate(lists) if len(images) >= min_images])
    order = order[: round(len(order) * share)]
    draws = rng.random((len(order), 2))
    on = [sum(i in images for images in lists) for i in range(N)]
    found = []
    for b, (first, second) in zip(order.astype(int).tolist(), draws, strict=True):
        able = [i for i in lists[b] if on[i] > keeps]
        if able and (most is None or len(found) < most):
            hidden = able[int(first * len(able))]
            others = [i for i in lists[b] if i != hidden]
            on[hidden] -= 1
            found.append((b, others[int(second * len(others))], hidden))
    return sorted(found)


@given(
    BOARDS,
    SEEDS,
    st.sampled_from([0.3, 0.5, 1.0]),
    st.integers(2, 5),
    st.integers(0, 3),
    st.sampled_from([None, 1, 3]),
)
def test_hiding_equals_the_naive_loop(boards, seed, share, min_images, keeps, most):
    held = hide(graph(boards), np.random.default_rng(seed), share, min_images, keeps, most)
    columns = (held.boards, held.queries, held.hidden)
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == naive_hide(boards, seed, share, min_images, keeps, most)


@given(BOARDS, SEEDS, st.integers(0, 3))
def test_one_image_of_a_board_is_hidden_and_keeps_enough_boards(boards, seed, keeps):
    whole = graph(boards)
    held = hide(whole, np.random.default_rng(seed), 1.0, keeps=keeps)
    left = reduced(whole, held)
    assert held.eligible.tolist() == (left.degrees >= keeps).tolist()
    assert held.eligible[held.hidden].all()
    assert len(set(held.boards.tolist())) == len(held)
    hidden = set(zip(held.boards.tolist(), held.hidden.tolist(), strict=True))
    assert saves_hidden(whole, held) == hidden
    assert saves_of(whole) - saves_of(left) == hidden
    for board, query in zip(held.boards.tolist(), held.queries.tolist(), strict=True):
        assert query in left.images_of(board)


@given(BOARDS, SEEDS)
def test_what_is_left_reads_the_same_both_ways_and_keeps_its_numbers(boards, seed):
    whole = graph(boards)
    left = reduced(whole, hide(whole, np.random.default_rng(seed), 1.0, 2, 1))
    assert (left.n_boards, left.n_images) == (whole.n_boards, whole.n_images)
    turned = {(int(b), i) for i in range(N) for b in left.boards_of(i)}
    assert turned == saves_of(left)
    assert all(a.tolist() == sorted(a) for a in map(left.images_of, range(left.n_boards)))


def test_the_same_seed_hides_the_same_and_another_seed_does_not():
    rng = np.random.default_rng(0)
    whole = graph([rng.choice(N, 6, replace=False).tolist() for _ in range(30)])
    first, again, other = (hide(whole, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.hidden.tolist() == again.hidden.tolist()
    assert first.queries.tolist() == again.queries.tolist()
    assert first.hidden.tolist() != other.hidden.tolist()


def test_every_image_of_a_board_is_hidden_and_asked_with_alike():
    boards = [[0, 1, 2, 3]] * 3
    hidden, queries = np.zeros(N, int), np.zeros(N, int)
    for seed in range(400):
        held = hide(graph(boards), np.random.default_rng(seed), 1.0, most=1)
        hidden[held.hidden] += 1
        queries[held.queries] += 1
    assert hidden[:4].min() > 70  # of 100 each
    assert queries[:4].min() > 70


def test_a_catalogue_without_boards_hides_nothing():
    whole = graph([])
    held = hide(whole, np.random.default_rng(0))
    assert len(held) == 0
    assert reduced(whole, held).n_saves == 0


def test_some_of_the_queries_still_hide_everything():
    whole = graph([[0, 1, 2, 3]] * 6)
    held = hide(whole, np.random.default_rng(0), 1.0)
    one = held.where(np.arange(len(held)) == 1)
    assert (len(held), len(one)) == (6, 1)
    assert reduced(whole, one).n_saves == reduced(whole, held).n_saves == 18


@given(BOARDS, SEEDS, st.integers(0, 3), st.integers(2, 4), st.data())
def test_a_time_split_is_the_catalogue_before_and_asks_for_what_came(
    boards, seed, keeps, min_images, data
):
    whole = graph(boards)
    times = data.draw(st.lists(st.integers(0, 9), min_size=whole.n_saves, max_size=whole.n_saves))
    rng = np.random.default_rng(seed)
    held = hide_later(whole, np.array(times, np.int64), 5, rng, min_images, keeps)
    left = reduced(whole, held)
    at = dict(zip(sorted(saves_of(whole)), times, strict=True))
    assert saves_of(left) == {save for save, time in at.items() if time < 5}
    assert held.eligible.tolist() == (left.degrees >= keeps).tolist()
    goes_on = {
        b
        for b, i in at
        if len(whole.images_of(b)) >= min_images
        and at[b, i] >= 5
        and held.eligible[i]
        and len(left.images_of(b))
    }
    assert held.boards.tolist() == sorted(goes_on)
    for board, query, hidden in zip(held.boards, held.queries, held.hidden, strict=True):
        assert at[int(board), int(query)] < 5 <= at[int(board), int(hidden)]
        assert held.eligible[hidden]


def test_a_time_split_asks_at_most_so_many_boards():
    whole = graph([[0, 1, 2, 3]] * 6)
    times = np.tile([0, 1, 1, 2], 6)
    held = hide_later(whole, times, 2, np.random.default_rng(0), keeps=0, most=4)
    assert len(held) == 4
    assert held.hidden.tolist() == [3] * 4
    assert reduced(whole, held).n_saves == 18


@given(BOARDS, st.data())
def test_a_save_is_as_old_as_its_earliest_dated_pin(boards, data):
    whole = graph(boards)
    saves = sorted(saves_of(whole)) or [(0, 0)]
    rows = st.one_of(st.integers(0, len(boards)), st.just(NO_ROW))
    pair = st.one_of(st.sampled_from(saves), st.tuples(rows, st.integers(0, N - 1)))
    whens = st.one_of(st.integers(-5, 5), st.just(UNDATED))
    pins = data.draw(st.lists(st.tuples(pair, whens), max_size=40))
    pins = [(*where, when) for where, when in pins]
    columns = [np.array([p[i] for p in pins]) for i in range(3)]
    found = save_times(
        whole, columns[0].astype(np.uint32), columns[1].astype(np.uint32),
        columns[2].astype(np.int64),
    )  # fmt: skip
    expected = [
        min((t for b, i, t in pins if (b, i) == save and t != UNDATED), default=UNDATED)
        for save in sorted(saves_of(whole))
    ]
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0}, "The share parameter of hide must be above 0 and at most 1. Got 0 instead"),
        ({"min_images": 1}, "min_images parameter of hide must be 2 or more. Got 1"),
        ({"keeps": -1}, "keeps parameter of hide must be 0 or more. Got -1"),
        ({"most": 0}, "most parameter of hide must be None or 1 or more. Got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        hide(graph([[0, 1]]), np.random.default_rng(0), **settings)


def test_a_time_for_each_save_is_asked_for():
    with pytest.raises(ConfigError, match="must be 2 times"):
        hide_later(graph([[0, 1]]), np.zeros(1, np.int64), 0, np.random.default_rng(0))
