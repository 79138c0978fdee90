from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.candidates.content import Content, ContentNeighbours
from pinjoin.candidates.nearest import ExactHamming, TextNeighbours

N, TERMS, TOPICS, BITS = 40, 12, 3, 64
NONE = 0xFFFFFFFF


def catalogue(seed: int):
    """Random pictures (every fifth has none), words (every seventh has none) and topics."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (N, BITS // 8), dtype=np.uint8)
    present = np.arange(N) % 5 != 0
    codes[~present] = 0
    ids = np.full((N, 4), NONE, np.uint32)
    weights = np.zeros((N, 4), np.float32)
    for row in range(N):
        if row % 7:
            ids[row] = np.sort(rng.choice(TERMS, 4, replace=False))
            weights[row] = rng.random(4) + 0.1
            weights[row] /= np.linalg.norm(weights[row])
    topics = rng.normal(size=(N, TOPICS)).astype(np.float32)
    topics[np.arange(N) % 7 == 0] = 0
    topics /= np.maximum(np.linalg.norm(topics, axis=1, keepdims=True), 1e-9)
    return codes, present, ids, weights, topics


def naive(codes, present, ids, weights, topics, query: Content, row: int) -> float:
    """The mean of the cosines that can be had, one image at a time."""
    parts = []
    if query.code is not None:
        differ = bin(int.from_bytes(codes[row]) ^ int.from_bytes(query.code)).count("1")
        parts.append(np.cos(np.pi * differ / BITS) if present[row] else 0.0)
    if len(query.ids):
        mine = dict(zip(query.ids.tolist(), query.weights.tolist(), strict=True))
        theirs = zip(ids[row].tolist(), weights[row].tolist(), strict=True)
        parts.append(sum(weight * mine.get(term, 0) for term, weight in theirs))
        parts.append(float(topics[row] @ query.topics))
    return float(np.mean(parts))


@given(st.integers(0, 1000), st.integers(0, N - 1), st.sampled_from([1, 5, 100]))
def test_equals_the_mean_of_cosines(seed, row, k):
    codes, present, ids, weights, topics = catalogue(seed)
    neighbours = ContentNeighbours(
        ExactHamming(codes), codes, present, BITS, TextNeighbours(ids, weights, TERMS),
        ids, weights, topics,
    )  # fmt: skip
    said = ids[row] != NONE
    query = Content(
        codes[row] if present[row] else None, ids[row][said], weights[row][said], topics[row]
    )
    rows, scores, _ = neighbours.search(query, k)
    able = [
        other for other in range(N)
        if (query.code is not None and present[other])
        or set(query.ids.tolist()) & set(ids[other].tolist())
    ]  # fmt: skip
    expected = {other: naive(codes, present, ids, weights, topics, query, other) for other in able}
    best = sorted(able, key=lambda other: -expected[other])[:k]
    np.testing.assert_allclose(scores, [expected[other] for other in best], atol=1e-5)
    np.testing.assert_allclose(scores, [expected[other] for other in rows.tolist()], atol=1e-5)
    assert len(set(rows.tolist())) == len(rows) == min(k, len(able))


def test_each_says_whether_it_looks_or_reads_alike():
    codes = np.array([[0] * 8, [0] * 8, [255] * 8], np.uint8)
    ids = np.array([[0], [1], [0]], np.uint32)
    neighbours = ContentNeighbours(
        ExactHamming(codes), codes, np.ones(3, bool), BITS,
        TextNeighbours(ids, np.ones((3, 1), np.float32), 2),
        ids, np.ones((3, 1), np.float32), np.ones((3, 1), np.float32),
    )  # fmt: skip
    query = Content(codes[0], ids[0], np.ones(1, np.float32), np.ones(1, np.float32))
    rows, scores, looks = neighbours.search(query, 3)
    assert rows.tolist() == [0, 1, 2]
    assert scores.tolist() == pytest.approx([3 / 3, (1 + 0 + 1) / 3, (-1 + 1 + 1) / 3])
    assert looks.tolist() == [True, True, False]


def test_a_catalogue_without_pictures_and_a_query_without_words_have_none():
    _, _, ids, weights, topics = catalogue(0)
    text = TextNeighbours(ids, weights, TERMS)
    neighbours = ContentNeighbours(None, None, None, 1, text, ids, weights, topics)
    nothing = Content(None, ids[0][:0], weights[0][:0], topics[0])
    assert [len(part) for part in neighbours.search(nothing, 5)] == [0, 0, 0]
