"""Navboost: event by event as in a batch; what counts and how much; a strength that was tuned."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.event_log import EventLog, join_events, number_events
from pinjoin.data.events import ACTIONS, EVENTS
from pinjoin.ranking.coec import coec_of_log
from pinjoin.ranking.navboost import Navboost, NavboostConfig, tune_gamma

Event = tuple[int, int, int, int]
"""query, candidate, position, bits of the actions done"""


def log_of(events: list[Event]) -> EventLog:
    rows = [
        {"request_id": str(i), "query": f"i{q}", "candidate": f"i{c}", "position": str(p),
         "device": "phone", "action": ACTIONS[a]}
        for i, (q, c, p, done) in enumerate(events)
        for a in (0, *(a for a in range(1, 5) if done >> a & 1))
    ]  # fmt: skip
    log = join_events(number_events([pa.RecordBatch.from_pylist(rows, schema=EVENTS)]))
    assert log.items is not None
    return log.with_rows(np.array([int(name[1:]) for name in log.items.to_pylist()]))


def add(boost: Navboost, log: EventLog, some: np.ndarray) -> None:
    """The impressions `some` of a log and their actions, one event at a time, in any order."""
    events = [
        (int(log.query[i]), int(log.candidate[i]), int(log.cell[i]), ACTIONS[a])
        for i in some
        for a in range(5)
        if log.done[i] >> a & 1
    ]
    random.Random(0).shuffle(events)
    for event in events:
        boost.add(*event)


logs = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(1, 3), st.integers(0, 31)),
    min_size=3,
    max_size=60,
).filter(lambda events: any(done & 0b1110 for *_, done in events))


@given(logs, st.integers(0, 60))
def test_event_by_event_equals_the_batch(events: list[Event], cut: int) -> None:
    config = NavboostConfig(alpha=0.7, weights={"click": 1.0, "save": 2.5, "hide": 0.5})
    log = log_of([*events, (0, 0, 1, 0b10)])
    batch = Navboost.of_log(log, config)
    nothing = Navboost(batch.rates, config)
    add(nothing, log, np.arange(len(log)))
    cut = min(cut, len(log))
    first = log.where(np.arange(len(log)) < cut)
    table = coec_of_log(log, actions=config.weights)  # the rates of the whole log
    half = Navboost(batch.rates, config, None)
    if cut:
        rates = type("Rates", (), {"rates": batch.rates})
        half = Navboost(
            batch.rates, config, coec_of_log(first, actions=config.weights, rates=rates)
        )
    add(half, log, np.arange(cut, len(log)))
    candidates = np.array([9, 3, 77, *range(9)])
    for query in range(6):
        wanted = batch.values(query, candidates)
        for other in (nothing, half):
            np.testing.assert_allclose(other.values(query, candidates), wanted, atol=1e-12)
    assert len(table) == len(batch.table)


def test_the_rule() -> None:
    log = log_of([(1, 2, 1, 0b10)] * 30 + [(1, 3, 1, 0)] * 30)
    boost = Navboost.of_log(log, NavboostConfig(alpha=2.0))
    # e(1) = 30 / 60: 15 expected of each
    wanted = [np.log((30 + 2) / (15 + 2)), np.log((0 + 2) / (15 + 2)), 0.0]
    assert boost.values(1, np.array([2, 3, 4])).tolist() == pytest.approx(wanted)
    assert boost.values(9, np.array([2, 3, 4])).tolist() == [0.0, 0.0, 0.0]  # another query


def test_rows_that_end_alike_are_told_apart() -> None:
    boost = Navboost.of_log(log_of([(1, 2, 1, 0b10)] * 30 + [(1, 2 + (1 << 16), 1, 0)] * 30))
    boost.add(1, 2 + (1 << 17), 0, "click")
    rows = np.array([2 + (1 << 18), 2 + (1 << 17), 2 + (1 << 16), 2])
    assert boost.sums(1, rows)[0].tolist() == [0, 1, 0, 30]


def test_more_evidence_moves_it_further() -> None:
    values = [
        Navboost.of_log(log_of([(1, 2, 1, 0b10)] * n + [(1, 3, 1, 0)] * n)).values(
            1, np.array([2])
        )[0]
        for n in (10, 40, 400)
    ]
    assert 0 < values[0] < values[1] < values[2] < np.log(2)


def test_weights_say_what_a_save_is_worth() -> None:
    events: list[Event] = [(1, 2, 1, 0b1010)] * 20 + [(1, 3, 1, 0b0010)] * 20  # click, save
    boost = Navboost.of_log(log_of(events), NavboostConfig(weights={"click": 1, "save": 3}))
    actions, expected = boost.sums(1, np.array([2, 3]))
    assert actions.tolist() == [20 * 4, 20 * 1]
    assert expected.tolist() == pytest.approx([20 * (80 + 20) / 40] * 2)


def test_wrong_events_and_parameters_are_refused() -> None:
    boost = Navboost(np.array([0.1]))
    with pytest.raises(ConfigError, match="action parameter of Navboost.add must be one of"):
        boost.add(1, 2, 0, "tap")
    with pytest.raises(ConfigError, match="cell parameter of Navboost.add must be from 0 to 0"):
        boost.add(1, 2, 1)
    with pytest.raises(ConfigError, match="alpha parameter of NavboostConfig"):
        NavboostConfig(alpha=0)
    with pytest.raises(ConfigError, match="actions parameter"):
        NavboostConfig(weights={"tap": 1.0})


# The strength


def held_out(n: int, truth: float, seed: int = 0) -> Any:
    """Triplets whose order is by score + truth × boost, seen with noise."""
    rng = np.random.default_rng(seed)
    scores, boosts = rng.normal(size=(2, 2, n))
    merit = scores + truth * boosts + 0.3 * rng.normal(size=(2, n))
    order = np.argsort(merit, axis=0)[::-1]
    return (*np.take_along_axis(scores, order, 0), *np.take_along_axis(boosts, order, 0))


@pytest.mark.parametrize("truth", [0.0, 0.5, 2.0])
def test_the_planted_strength_is_found(truth: float) -> None:
    choice = tune_gamma(*held_out(20_000, truth))
    assert choice.gamma == pytest.approx(truth, abs=0.25 + truth / 4)
    assert choice.shares[choice.gamma] == max(choice.shares.values())


def test_of_equals_the_least_is_taken() -> None:
    ones = np.ones(5)
    assert tune_gamma(ones * 2, ones, ones, ones).gamma == 0.0


def test_what_cannot_be_tuned_on_is_refused() -> None:
    ones = np.ones(3)
    with pytest.raises(InputError, match="at least one held-out"):
        tune_gamma(*(np.empty(0),) * 4)
    with pytest.raises(InputError, match=r"\(3,\), \(3,\), \(3,\), \(2,\)"):
        tune_gamma(ones, ones, ones, ones[:2])
    with pytest.raises(ConfigError, match="gammas parameter of tune_gamma must be numbers ≥ 0"):
        tune_gamma(ones, ones, ones, ones, [-1])
