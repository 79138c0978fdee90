"""What is measured of lists, against ir-measures and the plainest loops."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError
from pinjoin.core.types import NO_ROW
from pinjoin.experiments import metrics
from pinjoin.experiments.intervals import bootstrap_means, estimate, ratio

IMAGES = 12
LISTS = st.lists(
    st.lists(st.integers(0, IMAGES - 1), unique=True, max_size=8), min_size=1, max_size=6
)


def padded(lists: list[list[int]]) -> np.ndarray:
    table = np.full((len(lists), 8), NO_ROW, np.uint32)
    for row, one in zip(table, lists, strict=True):
        row[: len(one)] = one
    return table


@given(LISTS, st.data())
def test_as_ir_measures_has_them(lists, data):
    wanted = [data.draw(st.integers(0, IMAGES - 1)) for _ in lists]
    place = metrics.places(padded(lists), np.array(wanted, np.uint32))
    qrels = [ir_measures.Qrel(str(q), str(w), 1) for q, w in enumerate(wanted)]
    run = [
        ir_measures.ScoredDoc(str(q), str(row), -i)
        for q, one in enumerate(lists)
        for i, row in enumerate(one)
    ]
    theirs = {
        ir_measures.nDCG @ 5: metrics.ndcg(place, 5),
        ir_measures.R @ 3: metrics.recall(place, 3),
        ir_measures.RR: metrics.reciprocal_rank(place),
    }
    for measure, ours in theirs.items():
        found = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}
        assert ours.tolist() == pytest.approx([found.get(str(q), 0) for q in range(len(lists))])


@given(LISTS, st.data())
def test_triplets_in_order_are_those_of_all_triplets(lists, data):
    wanted = [data.draw(st.integers(0, IMAGES - 1)) for _ in lists]
    table = padded(lists)
    place = metrics.places(table, np.array(wanted, np.uint32))
    listed = np.count_nonzero(table != NO_ROW, axis=1)
    found = metrics.in_order(place, listed, np.full(len(lists), IMAGES - 1))
    for one, mine, share in zip(lists, wanted, found, strict=True):
        at = {row: i for i, row in enumerate(one)}
        points = [
            (at.get(mine, 99) < at.get(other, 99)) + 0.5 * (at.get(mine, 99) == at.get(other, 99))
            for other in range(IMAGES)
            if other != mine
        ]
        assert share == pytest.approx(sum(points) / len(points))


@given(LISTS, st.lists(st.integers(0, 5), min_size=IMAGES, max_size=IMAGES), st.data())
def test_what_lists_say_of_the_catalogue(lists, degrees, data):
    shown = {row for one in lists for row in one}
    more = data.draw(st.sets(st.integers(0, IMAGES - 1)))
    eligible = np.array([row in shown | more for row in range(IMAGES)])
    table, degree = padded(lists), np.array(degrees)
    if not eligible.any():
        assert metrics.coverage(table, eligible) == metrics.gini(table, eligible) == 0
        return
    some = np.flatnonzero(eligible).tolist()
    assert metrics.coverage(table, eligible) == pytest.approx(len(shown) / len(some))
    percentile = {
        r: sum((degree[o] < degree[r]) + 0.5 * (degree[o] == degree[r]) for o in some) / len(some)
        for r in some
    }
    listed = [row for one in lists for row in one]
    found = metrics.popularity(table, degree, eligible)
    if not listed:
        assert found is None
        return
    assert found == pytest.approx(np.mean([percentile[row] for row in listed]))
    times = [listed.count(row) for row in some]
    apart = sum(abs(a - b) for a in times for b in times)
    mean_apart = apart / (2 * len(some) * sum(times))
    assert metrics.gini(table, eligible) == pytest.approx(mean_apart, abs=1e-12)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        values = rng.exponential(1, (80, 1))
        drawn = bootstrap_means(values, rng, 400)[:, 0]
        one = estimate(float(values.mean()), drawn, 0.9)
        inside += one.low <= 1 <= one.high
    assert 0.83 < inside / 300 < 0.95


def test_ratios_are_paired_by_query():
    base = np.random.default_rng(0).random((200, 1))
    drawn = [bootstrap_means(values, np.random.default_rng(1)) for values in (base, 2 * base)]
    found = ratio(2 * base.mean(), drawn[1][:, 0], base.mean(), drawn[0][:, 0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((2, 2))
    assert ratio(1.0, drawn[0][:, 0], 0.0, np.zeros(2000)) is None


def test_refused():
    with pytest.raises(ConfigError, match="k parameter of recall"):
        metrics.recall(np.array([1]), 0)
    with pytest.raises(ConfigError, match="confidence parameter of estimate"):
        estimate(0.5, np.zeros(3), 1.0)
    with pytest.raises(ConfigError, match="resamples parameter"):
        bootstrap_means(np.zeros((3, 1)), np.random.default_rng(0), 0)
