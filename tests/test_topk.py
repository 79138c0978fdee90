from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError
from pinjoin.core.topk import top_k, top_rows

SCORES = st.lists(
    st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5]), st.floats(width=32)), max_size=300
)


def reference(scores: np.ndarray, k: int) -> list[int]:
    last = np.isnan(scores)
    return np.lexsort((np.arange(len(scores)), -np.where(last, 0, scores), last))[:k].tolist()


@given(SCORES, st.integers(0, 320))
def test_equals_a_stable_sort(scores, k):
    array = np.array(scores, np.float32)
    assert top_k(array, k).tolist() == reference(array, k)


@given(SCORES, st.integers(0, 300))
def test_is_a_prefix_of_one_more(scores, k):
    array = np.array(scores, np.float32)
    assert top_k(array, k).tolist() == top_k(array, k + 1).tolist()[:k]


def test_many_equal_scores_come_in_row_order():
    scores = np.repeat(np.array([1, 3, 2], np.float32), 5_000)
    assert top_k(scores, 5_003).tolist() == [*range(5_000, 10_000), 10_000, 10_001, 10_002]


def test_negative_k_is_refused():
    with pytest.raises(ConfigError, match="k parameter of top_k must be a number ≥ 0. Got -1"):
        top_k(np.zeros(3, np.float32), -1)


@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5]), max_size=60), st.integers(0, 70))
def test_ties_by_row_in_whatever_order_rows_are(scores, k):
    rows = np.random.default_rng(len(scores)).permutation(len(scores)).astype(np.uint32)
    pairs = sorted(range(len(scores)), key=lambda i: (-scores[i], rows[i]))
    assert top_rows(np.array(scores, np.float32), rows, k).tolist() == pairs[:k]
