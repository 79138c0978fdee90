"""Diversity: the greedy rules against plain loops; one knob from scores to similarity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError
from pinjoin.ranking.diversity import dpp, mmr

BOTH = pytest.mark.parametrize("rerank", [mmr, dpp])


def candidates(n: int, seed: int, dimensions: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, dimensions))
    return rng.normal(size=n), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def naive_mmr(scores: np.ndarray, similar: np.ndarray, n: int, diversity: float) -> list[int]:
    relevance = (scores - scores.min()) / max(np.ptp(scores), 1e-300)
    chosen = [int(np.argmax(relevance))]
    while len(chosen) < min(n, len(scores)):
        values = {
            i: (1 - diversity) * relevance[i] - diversity * max(similar[i, c] for c in chosen)
            for i in range(len(scores))
            if i not in chosen
        }
        chosen.append(max(values, key=lambda i: (values[i], -i)))
    return chosen


def naive_dpp(scores: np.ndarray, similar: np.ndarray, n: int, diversity: float) -> list[int]:
    """Greedy maximum of log det of L over the chosen, computed anew for each."""
    relevance = (scores - scores.min()) / np.ptp(scores)
    r = np.exp(relevance * (1 / diversity - 1))
    kernel = r[:, None] * similar * r[None, :]
    chosen: list[int] = []
    while len(chosen) < n:
        left = [i for i in range(len(scores)) if i not in chosen]
        gain = {i: np.linalg.slogdet(kernel[np.ix_([*chosen, i], [*chosen, i])])[1] for i in left}
        chosen.append(max(gain, key=lambda i: gain[i]))
    return chosen


@given(st.integers(0, 500), st.floats(0, 1), st.integers(1, 12))
def test_mmr_equals_a_plain_loop(seed: int, diversity: float, n: int) -> None:
    scores, vectors = candidates(10, seed)
    similar = vectors @ vectors.T
    wanted = naive_mmr(scores, similar, n, diversity)
    assert mmr(scores, lambda i: similar[i], n, diversity).tolist() == wanted


@given(st.integers(0, 200), st.floats(0.2, 0.95), st.integers(1, 5))
def test_dpp_equals_determinants(seed: int, diversity: float, n: int) -> None:
    scores, vectors = candidates(9, seed)
    wanted = naive_dpp(scores, vectors @ vectors.T, n, diversity)
    assert dpp(scores, vectors, n, diversity).tolist() == wanted


@BOTH
@given(seed=st.integers(0, 100), diversity=st.floats(0, 1))
def test_a_shorter_list_is_the_start_of_a_longer_one(
    rerank: Callable[..., Any], seed: int, diversity: float
) -> None:
    scores, vectors = candidates(12, seed)
    longest = rerank(scores, vectors, 12, diversity).tolist()
    assert sorted(longest) == list(range(12))
    for n in range(12):
        assert rerank(scores, vectors, n, diversity).tolist() == longest[:n]


@BOTH
def test_no_diversity_is_the_order_of_scores_ties_by_position(rerank: Callable[..., Any]) -> None:
    _, vectors = candidates(5, 0)
    assert rerank(np.array([1.0, 3.0, 2.0, 3.0, 2.0]), vectors, 5, 0).tolist() == [1, 3, 2, 4, 0]


@BOTH
def test_more_diversity_puts_a_twin_further_down(rerank: Callable[..., Any]) -> None:
    vectors = np.eye(6)[[0, 0, 1, 2, 3, 4]]  # 1 is the twin of 0
    scores = np.array([1.0, 0.95, 0.8, 0.7, 0.6, 0.5])
    places = [
        rerank(scores, vectors, 6, d).tolist().index(1) for d in (0.0, 0.05, 0.12, 0.3, 0.9)
    ]  # fmt: skip
    assert places == sorted(places)
    assert (places[0], places[-1]) == (1, 5)


@BOTH
def test_full_diversity_begins_with_the_best(rerank: Callable[..., Any]) -> None:
    scores, vectors = candidates(8, 3)
    assert rerank(scores, vectors, 1, 1.0).tolist() == [int(np.argmax(scores))]


@BOTH
def test_the_units_of_scores_do_not_matter(rerank: Callable[..., Any]) -> None:
    scores, vectors = candidates(30, 7)
    assert (
        rerank(scores, vectors, 20, 0.4).tolist()
        == rerank(scores * 1000 - 7, vectors, 20, 0.4).tolist()
    )


@BOTH
def test_empty_equal_and_float32_input(rerank: Callable[..., Any]) -> None:
    assert rerank(np.empty(0), np.empty((0, 3)), 5).tolist() == []
    assert sorted(rerank(np.ones(4), np.eye(4), 9).tolist()) == [0, 1, 2, 3]
    assert sorted(rerank(np.ones(4), np.ones((4, 1), np.float32), 4).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"diversity": 1.5}, "diversity parameter of mmr must be between 0 and 1. Got 1.5"),
        ({"n": -1}, "n parameter of mmr must be 0 or more"),
        ({"scores": [np.nan, 1]}, "scores parameter of mmr must be one finite number"),
        ({"similarity": np.eye(3)}, r"similarity parameter of mmr must be \(2, dimensions\)"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mmr(**({"scores": np.ones(2), "similarity": np.eye(2), "n": 2} | parameters))
