"""COEC: 1 for what does as expected, whatever its places, order or frame; against plain loops."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.ranking.coec import action_weights, coec_arrays, coec_interval
from pinjoin.ranking.expected import THIN, expected_rates
from pinjoin.ranking.frames import coec

Row = dict[str, Any]


def shown(n: int, clicks: int = 0, **row: Any) -> list[Row]:
    """n impressions of one candidate at one place, the first `clicks` of them clicked."""
    plain = {"query": "q", "candidate": "a", "position": 1, "device": "phone"} | row
    rows = [plain | {"action": "impression"} for _ in range(n)]
    return rows + [plain | {"action": "click"} for _ in range(clicks)]


def run(rows: list[Row], **options: Any) -> list[Row]:
    found: list[Row] = coec(pa.Table.from_pylist(rows), **options).to_pylist()
    return found


# The rule


def test_coec_is_actions_over_what_the_places_let_expect() -> None:
    rows = [
        *shown(100, 40, candidate="a", position=1),
        *shown(100, 20, candidate="b", position=1),  # e(1) = 60 / 200
        *shown(100, 20, candidate="b", position=2),
        *shown(300, 20, candidate="c", position=2),  # e(2) = 40 / 400
    ]
    a, b, c = run(rows)
    assert [r["candidate"] for r in (a, b, c)] == ["a", "b", "c"]
    assert (a["impressions"], a["actions"]) == (100, 40)
    assert a["expected"] == pytest.approx(100 * 60 / 200)
    assert a["coec"] == pytest.approx(40 / (100 * 60 / 200))
    assert b["coec"] == pytest.approx(40 / (100 * 60 / 200 + 100 * 40 / 400))
    assert c["coec"] == pytest.approx(20 / (300 * 40 / 400))


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=5),
    st.integers(1, 5),
    st.sampled_from(["phone", "desktop"]),
)
def test_what_does_as_expected_has_coec_1(
    places: list[tuple[int, int]], candidates: int, device: str
) -> None:
    """Every candidate has each place's rate exactly: 1 / (1 + position), more on a phone."""
    rows = [
        row
        for position, times in set(places)
        for c in range(candidates)
        for d, rate in (("phone", 1), (device, 1))
        for row in shown(
            (1 + position) * 10 * times, 10 * times * rate, candidate=c, position=position, device=d
        )
    ]
    for found in run(rows):
        assert found["coec"] == pytest.approx(1, rel=1e-12)


def test_a_click_further_down_says_more() -> None:
    rows = [
        *shown(100, 30, candidate="top", position=1),
        *shown(100, 10, candidate="bottom", position=9),
        *shown(100, 30, candidate="other", position=1),
        *shown(100, 2, candidate="other", position=9),
    ]
    by_name = {r["candidate"]: r["coec"] for r in run(rows)}
    assert by_name["bottom"] > by_name["top"]  # though it has a third of the clicks


def test_saves_count_and_hides_do_not() -> None:
    rows = [*shown(40, 10, candidate="a"), *shown(40, 10, candidate="b")]
    rows += [dict(rows[0], action=a) for a in ("save", "clickthrough", "hide")]
    a, b = run(rows)
    assert (a["actions"], b["actions"]) == (12, 10)
    a, b = run(rows, actions=("hide", "save"), thin=0)
    assert (a["actions"], b["actions"]) == (2, 0)
    assert (b["expected"], b["coec"]) == (1.0, 0.0)  # 40 × 2 / 80


def test_the_surface_is_a_third_key_if_there_is_one() -> None:
    rows = [
        *shown(50, 25, candidate="a", surface="home"),
        *shown(50, 10, candidate="b", surface="search"),
    ]
    assert [r["coec"] for r in run(rows)] == [1.0, 1.0]
    assert [r["coec"] for r in run(rows, by=("position", "device"))] == pytest.approx(
        [25 / (50 * 35 / 100), 10 / (50 * 35 / 100)]
    )


def test_a_grid_position_may_be_text_or_two_columns() -> None:
    places = {"a": (1, 1), "b": (1, 2), "c": (2, 1)}
    rows = [
        row | {"row": r, "column": c}
        for n, (name, (r, c)) in enumerate(places.items())
        for row in shown(60, 12 + n, candidate=name)
    ]
    two = [{k: v for k, v in row.items() if k != "position"} for row in rows]
    one = [row | {"position": f"({row['row']}, {row['column']})"} for row in rows]
    assert run(two) == run(one)
    assert [r["coec"] for r in run(two)] == [1.0, 1.0, 1.0]


# Requests


def test_repeats_count_once_and_late_actions_find_their_place() -> None:
    rows: list[Row] = []
    for i in range(80):
        position = 1 + i % 2
        row = shown(1, candidate="ab"[i // 40], position=position)[0] | {"request_id": i}
        rows += [row, row]
        if i % 4 == 0:
            rows.insert(0, row | {"action": "click", "position": None, "device": None})
            rows.append(row | {"action": "click", "position": 7})
    rows.append(shown(0, 1, position=1)[0] | {"request_id": 999})  # never shown
    a, b = run(rows)
    assert (a["impressions"], a["actions"]) == (b["impressions"], b["actions"]) == (40, 10)
    assert a["expected"] == pytest.approx(20 * 20 / 40 + 20 * e_of_no_clicks())


def e_of_no_clicks() -> float:
    """Position 2 above has 40 impressions and no click: little, not nothing."""
    levels = np.array([[0, 0], [1, 0]])  # position, device
    return float(expected_rates(np.array([40, 40]), np.array([20, 0]), levels).rates[1])


# Smoothing


def test_a_place_with_enough_actions_is_taken_at_its_word() -> None:
    n, a = np.array([1000.0, 400.0, 20.0]), np.array([100.0, 10.0, 3.0])
    rates = expected_rates(n, a, np.array([[0], [1], [2]]))
    assert rates.rates[:2].tolist() == [100 / 1000, 10 / 400]
    assert rates.rates[2] != 3 / 20


def test_a_thin_place_is_between_its_own_rate_and_what_its_factors_make_likely() -> None:
    # Phones have twice the rate of desktops, position 1 four times that of position 2.
    levels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    n = np.array([10_000, 10_000, 10_000, 20])
    a = np.array([800, 400, 200, 0])
    found = expected_rates(n, a, levels)
    assert found.prior[3] == pytest.approx(0.01, rel=0.05)  # 0.04 × 0.02 / 0.08
    assert 0 < found.rates[3] < found.prior[3]
    assert found.rates[:3].tolist() == [0.08, 0.04, 0.02]


def test_smoothing_fades_without_a_step() -> None:
    n = np.array([5000.0, 100.0])
    below, at = (
        expected_rates(n, np.array([50.0, a]), np.array([[0], [1]])).rates[1]
        for a in (THIN - 1e-9, THIN)
    )
    assert below == pytest.approx(at, rel=1e-6)


def test_thin_0_is_raw_and_infinite_shrinks_all() -> None:
    n, a = np.array([100.0, 50.0]), np.array([30.0, 2.0])
    levels = np.array([[0], [1]])
    assert expected_rates(n, a, levels, thin=0).rates.tolist() == [0.3, 0.04]
    shrunk = expected_rates(n, a, levels, thin=math.inf)
    assert shrunk.rates[0] < 0.3
    assert shrunk.rates[1] > 0.04


def test_places_that_vary_at_random_follow_the_prior_and_others_themselves() -> None:
    rng = np.random.default_rng(0)
    n, levels = np.full(400, 500.0), np.arange(400)[:, None] // 20  # 20 cells per level
    same = rng.poisson(n * 0.02)
    differing = rng.poisson(n * 0.02 * rng.gamma(1.0, 1.0, 400))
    assert expected_rates(n, same, levels).strength > 20
    assert expected_rates(n, differing, levels).strength < 3


def test_a_place_never_shown_has_the_rate_its_factors_make_likely() -> None:
    found = expected_rates(np.array([100, 0]), np.array([20, 0]))
    assert found.rates.tolist() == [0.2, 0.2]


# Confidence


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    for expected in (0.5, 3.0, 40.0):
        actions = rng.poisson(expected * 1.3, 4000)
        low, high = coec_interval(actions, np.full(4000, expected), 0.9)
        assert 0.9 <= np.mean((low <= 1.3) & (high >= 1.3)) <= 0.985  # exact: never below


def test_more_impressions_make_it_narrower() -> None:
    rows = [*shown(40, 20, candidate="a"), *shown(4000, 2000, candidate="b")]
    a, b = run(rows, confidence=0.95)
    assert a["coec_low"] < b["coec_low"] < b["coec"] < b["coec_high"] < a["coec_high"]


# Arrays against loops


def naive(events: list[tuple[int, int, int, int]], rates: list[float]) -> dict[Any, list[float]]:
    """{(query, candidate): [impressions, actions, expected]} by a plain loop."""
    out: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for query, candidate, cell, done in events:
        sums = out[query, candidate]
        sums[0] += done & 1
        sums[1] += (done >> 1 & 1) + (done >> 2 & 1) + (done >> 3 & 1)
        sums[2] += rates[cell] * (done & 1)
    return {k: v for k, v in out.items() if v[0]}


ids = st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1))


@given(
    st.lists(st.tuples(ids, ids, st.integers(0, 4), st.integers(0, 31)), min_size=1, max_size=80),
    st.randoms(),
)
@settings(max_examples=200)
def test_arrays_equal_a_plain_loop_in_any_order(
    events: list[tuple[int, int, int, int]], random: Any
) -> None:
    rates = [0.5, 0.25, 0.125, 0.1, 0.3]

    def compute(rows: list[tuple[int, int, int, int]]) -> Any:
        q, c, cell, done = (np.array(x) for x in zip(*rows, strict=True))
        return coec_arrays(
            q.astype(np.uint32), c.astype(np.uint32), cell.astype(np.uint32),
            done.astype(np.uint8), np.array(rates),
            action_weights(("click", "clickthrough", "save")),
        )  # fmt: skip

    # 2³² queries × 2³² candidates do not fit in 64 bits beside the rest: several rounds. Few of
    # them are run, as each reads all events.
    if max(e[0] for e in events) > 3 and max(e[1] for e in events) > 3:
        events = [(q % 64, c, cell, done) for q, c, cell, done in events]
    table = compute(events)
    wanted = naive(events, rates)
    keys = list(zip(table.query.tolist(), table.candidate.tolist(), strict=True))
    assert keys == sorted(wanted)
    values = np.array([wanted[k] for k in keys]).reshape(-1, 3)
    assert table.impressions.tolist() == values[:, 0].tolist()
    assert table.actions.tolist() == values[:, 1].tolist()
    np.testing.assert_allclose(table.expected, values[:, 2], rtol=1e-12)
    random.shuffle(events)
    again = compute(events)
    assert again.expected.tobytes() == table.expected.tobytes()


def test_numbers_that_do_not_fit_in_one_word_are_done_in_rounds() -> None:
    query = np.array([0, 1 << 20, (1 << 28) - 1, 5], np.uint32)
    candidate = np.array([2**32 - 1, 3, 2**32 - 2, 2**32 - 1], np.uint32)
    cell = np.array([0, 255, 0, 255], np.uint32)
    rates = np.linspace(0.1, 0.2, 256)
    done = np.array([1, 3, 1, 1], np.uint8)
    table = coec_arrays(query, candidate, cell, done, rates, action_weights(("click",)))
    order = np.argsort(query)
    assert table.query.tolist() == query[order].tolist()
    assert table.candidate.tolist() == candidate[order].tolist()
    assert table.expected.tolist() == rates[cell[order]].tolist()
    assert table.actions.tolist() == [0, 0, 1, 0]


# Frames


def arrow_backed(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows).convert_dtypes(dtype_backend="pyarrow")


FRAMES: list[tuple[str, Callable[[list[Row]], Any], type]] = [
    ("pandas", pd.DataFrame, pd.DataFrame),
    (
        "pandas-arrow",
        lambda r: pd.DataFrame(r).convert_dtypes(dtype_backend="pyarrow"),
        pd.DataFrame,
    ),
    ("polars", pl.DataFrame, pl.DataFrame),
    ("arrow", pa.Table.from_pylist, pa.Table),
    ("batch", pa.RecordBatch.from_pylist, pa.Table),
]


@pytest.mark.parametrize(("make", "kind"), [f[1:] for f in FRAMES], ids=[f[0] for f in FRAMES])
def test_every_frame_gives_the_same_in_its_own_kind(
    make: Callable[[list[Row]], Any], kind: type
) -> None:
    rows = [*shown(100, 40, candidate=3), *shown(100, 20, candidate=10), *shown(9, candidate=20)]
    found = coec(make(rows))
    assert type(found) is kind
    plain = found if isinstance(found, pd.DataFrame) else found.to_pandas()
    assert list(plain.columns) == [
        "query", "candidate", "impressions", "actions", "expected", "coec"
    ]  # fmt: skip
    assert plain["candidate"].tolist() == [3, 10, 20]  # numbers stay numbers, in their order
    assert plain["coec"].tolist() == pytest.approx(
        [40 / (100 * 60 / 209), 20 / (100 * 60 / 209), 0.0]
    )


def test_categories_dates_and_missing_values_are_read() -> None:
    frame = pd.DataFrame(shown(60, 20) + shown(60, 30, candidate="b"))
    for column in ("query", "candidate", "device", "action"):
        frame[column] = frame[column].astype("category")
    frame["position"] = frame["position"].astype(float)
    frame["time"] = pd.Timestamp("2024-01-01")
    frame.loc[0, "device"] = None  # one impression of an unknown device
    assert coec(frame)["impressions"].tolist() == [60, 60]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("query"), "no column 'query'"),
        (lambda t: t.drop_columns("position"), r"no column 'position' \(or row and column"),
        (lambda t: t.drop_columns("device"), r"pass by=\('position',\)"),
        (lambda t: t.slice(0, 0), "have no rows"),
        (lambda t: t.filter(pa.compute.equal(t["action"], "click")), "have no impression"),
        (lambda t: t.filter(pa.compute.equal(t["action"], "impression")), "not one action"),
        (lambda t: replaced(t, "action", 3, "view"), "an action 'view'; it must be one of"),
        (lambda t: replaced(t, "action", 3, None), "1 rows without action, first in row 3"),
        (lambda t: replaced(t, "candidate", 4, None), "1 rows without candidate, first in row 4"),
        (lambda t: replaced(t, "position", 2, None), "1 impressions without position, .*row 2"),
        (lambda t: replaced(t, "position", 15, None), "1 actions without position or device"),
        (lambda t: t.append_column("request_id", pa.nulls(len(t))), "without request_id"),
    ],
)
def test_events_that_cannot_be_counted_are_refused(
    change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    table = pa.Table.from_pylist(shown(12, 6))
    with pytest.raises(InputError, match=message):
        coec(change(table))


def replaced(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    rows = table.to_pylist()
    rows[row][column] = value
    return pa.Table.from_pylist(rows, table.schema)


def test_what_is_no_frame_or_lazy_is_refused() -> None:
    with pytest.raises(InputError, match="must be a data frame in memory.*Got list"):
        coec(shown(3))
    with pytest.raises(InputError, match="Collect a lazy one first"):
        coec(pl.DataFrame(shown(3)).lazy())


def test_wrong_parameters_are_refused() -> None:
    table = pa.Table.from_pylist(shown(12, 6))
    with pytest.raises(InputError, match="by parameter of coec must be some of position"):
        coec(table, by=("slot",))
    with pytest.raises(ConfigError, match="actions parameter of action_weights must be some of"):
        coec(table, actions=("tap",))
    with pytest.raises(ConfigError, match="thin parameter"):
        coec(table, thin=-1)
    with pytest.raises(ConfigError, match="confidence parameter"):
        coec(table, confidence=95)
    with pytest.raises(ConfigError, match="weights of 0 or more"):
        action_weights({"hide": -1.0})


def test_a_frame_is_not_changed() -> None:
    frame = pd.DataFrame(shown(30, 10))
    before = frame.copy(deep=True)
    coec(frame)
    pd.testing.assert_frame_equal(frame, before)
