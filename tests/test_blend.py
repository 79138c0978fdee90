from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.candidates.blend import blend
from pinjoin.candidates.copies import HammingCopies
from pinjoin.core.errors import ConfigError

N = 60


@dataclass
class Listed:
    """A source with a fixed ranking; scores fall from 1."""

    name: str
    rows: list[int]

    def find(self, k: int):
        rows = np.array(self.rows[:k], np.uint32)
        return rows, np.linspace(1, 0.5, len(rows), dtype=np.float32)


RANKINGS = st.lists(st.permutations(range(N)).flatmap(
    lambda rows: st.integers(0, N).map(lambda n: rows[:n])
), min_size=1, max_size=4)  # fmt: skip


def naive(rankings, query, n, eligible, alike):
    """Source by source, row by row, as the docstring says it."""
    shown, stood_back = [], []
    for place, ranking in enumerate(rankings):
        for row in ranking:
            if row == query or not eligible[row] or row in [r for r, _ in shown + stood_back]:
                continue
            if alike(row, query) or any(alike(row, other) for other, _ in shown):
                stood_back.append((row, place))
            elif len(shown) < n:
                shown.append((row, place))
    return (shown + stood_back)[:n]


@given(
    RANKINGS,
    st.integers(1, N + 5),
    st.lists(st.booleans(), min_size=N, max_size=N),
    st.sampled_from([1, 5, N]),
)
def test_equals_the_definition(rankings, n, eligible, kinds):
    """Images of one kind (row modulo kinds) are near-duplicates of each other."""

    def alike(a: int, b: int) -> bool:
        return kinds < N and a % kinds == b % kinds and kinds > 1

    codes = np.zeros((N, 8), np.uint8)
    for row in range(N):  # kinds differ in 8 bits from each other, members in none
        codes[row, row % kinds % 8] = 255
    copies = HammingCopies(codes, np.ones(N, bool), 2) if 1 < kinds < N else None
    found = blend(
        [Listed(str(i), rows) for i, rows in enumerate(rankings)],
        np.array([7], np.uint32),
        n,
        eligible=np.array(eligible),
        copies=copies,
    )
    expected = naive(rankings, 7, n, eligible, alike)
    assert list(zip(found.rows.tolist(), found.sources.tolist(), strict=True)) == expected


@given(RANKINGS, st.integers(1, 20))
def test_n_come_back_whenever_n_are_eligible(rankings, n):
    everyone = Listed("popular", list(range(N)))
    codes = np.zeros((N, 8), np.uint8)  # all near-duplicates of each other
    found = blend(
        [*(Listed("some", rows) for rows in rankings), everyone],
        np.array([0], np.uint32),
        n,
        copies=HammingCopies(codes, np.ones(N, bool), 0),
    )
    assert len(found) == n
    assert len(set(found.rows.tolist())) == n
    assert 0 not in found.rows


def test_a_source_is_asked_for_more_only_when_needed():
    asked = []

    class Deep(Listed):
        def find(self, k):
            asked.append(k)
            return super().find(k)

    eligible = np.zeros(N, bool)
    eligible[40:] = True
    found = blend([Deep("deep", list(range(N)))], np.array([], np.uint32), 3, eligible=eligible)
    assert found.rows.tolist() == [40, 41, 42]
    assert asked == [19, 152]
    asked.clear()
    blend([Deep("deep", list(range(N)))], np.array([], np.uint32), 3)
    assert asked == [19]


def test_images_without_a_picture_are_nobodys_copies():
    codes = np.zeros((4, 8), np.uint8)
    copies = HammingCopies(codes, np.array([True, False, False, True]), 5)
    new = copies.distinct(np.array([1, 2, 3], np.uint32), np.array([0], np.uint32))
    assert new.tolist() == [True, True, False]


def test_nothing_to_blend():
    assert len(blend([], np.array([0], np.uint32), 5)) == 0
    with pytest.raises(ConfigError, match="n parameter of blend must be a number ≥ 1. Got 0"):
        blend([], np.array([0], np.uint32), 0)
