"""Words of images that came after an index was built are found as if it had them."""

from __future__ import annotations

import numpy as np
import pytest

from pinjoin.candidates.growing import GrowingText
from pinjoin.candidates.nearest import TextNeighbours

N, WIDTH, TERMS, NO_TERM = 200, 4, 70_000, 0xFFFFFFFF


def annotations(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Few terms, some of them alike in their last 16 bits."""
    some = np.array([0, 1, 2, 3, 65_536, 65_537, 65_538, 69_999], np.uint32)
    ids = np.stack([rng.permutation(some)[:WIDTH] for _ in range(N)])
    weights = rng.random((N, WIDTH)).astype(np.float32)
    ids[::5, 2:], weights[::5, 2:] = NO_TERM, 0
    return ids, weights


@pytest.mark.parametrize("built", [1, 120, 200])
@pytest.mark.parametrize("k", [1, 30, 500])
def test_it_answers_as_an_index_of_all(built, k):
    ids, weights = annotations(np.random.default_rng(0))
    whole = TextNeighbours(ids, weights, TERMS)
    first = TextNeighbours(ids[:built], weights[:built], TERMS)
    growing = GrowingText(first, ids[built:], weights[built:])
    for row in (0, 5, 199):
        for exclude in ((), (0, 150, 199)):
            rows, scores = growing.search(ids[row], weights[row], k, exclude=exclude)
            others, expected = whole.search(ids[row], weights[row], k, exclude=exclude)
            assert scores.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
            above = float(expected[-1]) * 1.00001 if len(expected) == k else 0
            assert set(rows[scores > above].tolist()) == set(others[expected > above].tolist())
