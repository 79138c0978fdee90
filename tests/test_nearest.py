from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinjoin.candidates.nearest import ExactHamming, TextNeighbours
from pinjoin.core.errors import ConfigError

WIDTHS = st.sampled_from([8, 16, 64, 72, 128])  # bytes: below, at and past a whole vector


def some_codes(n: int, width: int, seed: int) -> np.ndarray:
    """Few distinct bytes and repeated rows: many equal distances."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(np.array([0, 1, 255], np.uint8), (n, width))
    return codes[rng.integers(max(n // 2, 1), size=n)] if n else codes


def naive_distances(codes: np.ndarray, code: np.ndarray) -> list[int]:
    return [sum(int(a ^ b).bit_count() for a, b in zip(row, code, strict=True)) for row in codes]


def naive_nearest(codes, code, k, exclude=(), allowed=None) -> tuple[list[int], list[int]]:
    distances = naive_distances(codes, code)
    able = [r for r in range(len(codes)) if r not in exclude and (allowed is None or allowed[r])]
    best = sorted(able, key=lambda r: (distances[r], r))[:k]
    return best, [distances[r] for r in best]


@given(st.integers(0, 60), WIDTHS, st.integers(0, 99), st.integers(1, 70))
def test_whole_rows_equal_a_double_loop(n, width, seed, k):
    codes, code = some_codes(n, width, seed), some_codes(1, width, seed + 1000)[0]
    rows, distances = ExactHamming(codes).search(code, k)
    assert (rows.tolist(), distances.tolist()) == naive_nearest(codes, code, k)
    assert rows.dtype == np.uint32
    assert distances.dtype == np.uint16


@given(
    st.integers(1, 60), st.integers(0, 99), st.integers(1, 20),
    st.lists(st.integers(0, 70), max_size=8), st.integers(0, 9),
)  # fmt: skip
def test_excluded_and_forbidden_rows_never_come(n, seed, k, exclude, share):
    codes = some_codes(n, 16, seed)
    allowed = np.random.default_rng(seed).random(n) < share / 9
    expected = naive_nearest(codes, codes[0], k, exclude, allowed)
    rows, distances = ExactHamming(codes).search(codes[0], k, exclude=exclude, allowed=allowed)
    assert (rows.tolist(), distances.tolist()) == expected
    rows, _ = ExactHamming(codes).search(codes[0], k, exclude=exclude)
    assert rows.tolist() == naive_nearest(codes, codes[0], k, exclude)[0]


@given(st.integers(1, 60), st.integers(0, 99), st.integers(1, 60))
def test_fewer_are_a_prefix_of_more(n, seed, k):
    codes = some_codes(n, 24, seed)
    index = ExactHamming(codes)
    fewer, more = index.search(codes[0], k), index.search(codes[0], k + 1)
    for a, b in zip(fewer, more, strict=True):
        assert a.tolist() == b.tolist()[:k]


@pytest.mark.parametrize("k", [1, 100, 5_000, 70_000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_large_scans_lower_their_limit_and_threads_agree(k, threads, monkeypatch):
    monkeypatch.setattr("pinjoin.candidates.nearest._BLOCK_BYTES", 1 << 18)
    codes = np.random.default_rng(0).integers(0, 256, (60_000, 64), dtype=np.uint8)
    codes[30_000:] &= 0b11110000  # later rows are nearer
    code = np.zeros(64, np.uint8)
    distances = np.bitwise_count(codes).sum(1)
    order = np.lexsort((np.arange(len(codes)), distances))[:k]
    rows, found = ExactHamming(codes, threads=threads).search(code, k)
    assert rows.tolist() == order.tolist()
    assert found.tolist() == distances[order].tolist()
    half = np.arange(len(codes)) % 3 == 0
    rows, _ = ExactHamming(codes, threads=threads).search(code, k, allowed=half)
    order = np.lexsort((np.arange(len(codes)), distances))
    assert rows.tolist() == order[half[order]][:k].tolist()


def test_the_largest_distance_fits():
    codes = np.array([[255] * 1024, [0] * 1024], np.uint8)
    rows, distances = ExactHamming(codes).search(np.zeros(1024, np.uint8), 2)
    assert (rows.tolist(), distances.tolist()) == ([1, 0], [0, 1024 * 8])


@given(st.integers(1, 40), WIDTHS, st.integers(0, 99))
def test_distances_of_given_rows(n, width, seed):
    codes = some_codes(n, width, seed)
    index = ExactHamming(codes)
    rows = np.random.default_rng(seed).integers(n, size=25).astype(np.uint32)
    naive = naive_distances(codes, codes[0])
    assert index.distances(codes[0], rows).tolist() == [naive[r] for r in rows]
    assert index.distances(codes[0], rows[:0]).tolist() == []


def test_mapped_codes_are_searched_in_place(tmp_path):
    codes = some_codes(50, 64, 7)
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    index = ExactHamming(mapped)
    assert np.shares_memory(index.codes, mapped)
    assert index.search(codes[3], 9)[0].tolist() == naive_nearest(codes, codes[3], 9)[0]
    assert (len(index), index.bits) == (50, 512)


@pytest.mark.parametrize(
    ("codes", "got"),
    [
        (np.zeros((3, 8), np.int8), r"int8 of shape \(3, 8\)"),
        (np.zeros(8, np.uint8), r"uint8 of shape \(8,\)"),
        (np.zeros((3, 12), np.uint8), r"shape \(3, 12\)"),
        (np.zeros((3, 1032), np.uint8), r"shape \(3, 1032\)"),
        (np.zeros((8, 3), np.uint8).T, r"shape \(3, 8\)"),
    ],
)
def test_wrong_codes_are_refused(codes, got):
    with pytest.raises(ConfigError, match=f"64 to 8,192 bits, a multiple of 64 .*{got}"):
        ExactHamming(codes)


def test_wrong_questions_are_refused():
    index = ExactHamming(np.zeros((3, 8), np.uint8))
    code = np.zeros(8, np.uint8)
    with pytest.raises(ConfigError, match="k parameter of ExactHamming.search .* Got 0"):
        index.search(code, 0)
    with pytest.raises(ConfigError, match=r"must be \(8,\) uint8.* Got uint8 of shape \(16,\)"):
        index.search(np.zeros(16, np.uint8), 1)
    with pytest.raises(ConfigError, match="allowed parameter .* 3 booleans. Got .*uint8"):
        index.search(code, 1, allowed=np.ones(3, np.uint8))
    with pytest.raises(ConfigError, match="rows parameter .* rows from 0 to 2"):
        index.distances(code, np.array([3], np.uint32))
    with pytest.raises(ConfigError, match="threads parameter of ExactHamming"):
        ExactHamming(np.zeros((3, 8), np.uint8), threads=0)


NO_TERM = 0xFFFFFFFF


def some_texts(n: int, n_terms: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of up to `width` distinct terms, padded; some equal, some empty."""
    rng = np.random.default_rng(seed)
    ids = np.full((n, width), NO_TERM, np.uint32)
    weights = np.zeros((n, width), np.float32)
    for image in range(n):
        size = int(rng.integers(min(width, n_terms) + 1))
        if size:
            ids[image, :size] = rng.choice(n_terms, size, replace=False)
            raw = rng.integers(1, 4, size)
            weights[image, :size] = raw / np.sqrt(np.square(raw).sum())
    same = rng.integers(n, size=n)
    return ids[same], weights[same]


def naive_cosines(ids, weights, query_ids, query_weights) -> list[float]:
    """In the order the index sums: by term id, in float32."""
    query = sorted(
        (int(t), w) for t, w in zip(query_ids, query_weights, strict=True) if t != NO_TERM
    )
    found = []
    for image in range(len(ids)):
        mine = dict(zip(ids[image].tolist(), weights[image], strict=True))
        total = np.float32(0)
        for term, weight in query:
            if term in mine:
                total = np.float32(total + np.float32(weight) * mine[term])
        found.append(float(total))
    return found


@given(st.integers(1, 200), st.sampled_from([3, 40]), st.integers(0, 999), st.integers(1, 250))
@settings(max_examples=60)
def test_text_neighbours_equal_a_double_loop(n, n_terms, seed, k):
    ids, weights = some_texts(n, n_terms, 6, seed)
    index = TextNeighbours(ids, weights, n_terms)
    for query in {0, n // 2, n - 1}:
        naive = naive_cosines(ids, weights, ids[query], weights[query])
        able = [r for r in range(n) if naive[r] > 0 and r != query]
        rows, scores = index.search(ids[query], weights[query], k, exclude=[query])
        # A fused multiply-add may round once where the loop rounds twice.
        expected = sorted(able, key=lambda r: (-naive[r], r))[:k]
        np.testing.assert_allclose(scores, [naive[r] for r in expected], rtol=1e-6)
        np.testing.assert_allclose(scores, [naive[r] for r in rows], rtol=1e-6)
        assert np.lexsort((rows, -scores)).tolist() == list(range(len(rows)))
        assert len(set(rows.tolist())) == len(rows)
        assert query not in rows


def test_texts_by_hand():
    ids = np.array([[0, 1], [1, NO_TERM], [0, 1], [NO_TERM, NO_TERM]], np.uint32)
    weights = np.array([[0.6, 0.8], [1, 0], [0.6, 0.8], [0, 0]], np.float32)
    index = TextNeighbours(ids, weights, 2)
    rows, scores = index.search(np.array([1, 0]), np.array([0.8, 0.6]), 10)
    assert rows.tolist() == [0, 2, 1]
    assert scores.tolist() == pytest.approx([0.8 * 0.8 + 0.6 * 0.6] * 2 + [0.8])
    rows, _ = index.search(ids[0], weights[0], 2, exclude=[0])
    assert rows.tolist() == [2, 1]
    rows, _ = index.search(ids[0], weights[0], 2, allowed=np.array([False, True, True, True]))
    assert rows.tolist() == [2, 1]
    assert len(index.search(ids[3], weights[3], 5)[0]) == 0, "no words, no neighbours"
    assert len(index.search(np.array([7]), np.array([1.0]), 5)[0]) == 0, "an unknown word"


@given(st.integers(0, 99), st.integers(1, 30))
@settings(max_examples=20)
def test_fewer_texts_are_a_prefix_of_more_and_the_index_reopens(seed, k):
    ids, weights = some_texts(80, 12, 5, seed)
    index = TextNeighbours(ids, weights, 12)
    again = TextNeighbours.from_arrays(index.indptr, index.images, index.weights, 80)
    shuffled = np.random.default_rng(seed).permutation(5)
    for query in range(0, 80, 11):
        rows, scores = index.search(ids[query], weights[query], k)
        more, more_scores = again.search(ids[query][shuffled], weights[query][shuffled], k + 1)
        assert rows.tolist() == more.tolist()[:k], "nor does the order of terms matter"
        assert scores.tolist() == more_scores.tolist()[:k]


def test_wrong_texts_are_refused():
    with pytest.raises(ConfigError, match=r"one shape. Got \(2, 3\) and \(2, 2\)"):
        TextNeighbours(np.zeros((2, 3), np.uint32), np.zeros((2, 2), np.float32), 5)
    with pytest.raises(ConfigError, match="weights parameter .* numbers ≥ 0. Got -1.0"):
        TextNeighbours(np.zeros((1, 1), np.uint32), np.full((1, 1), -1, np.float32), 5)
    index = TextNeighbours(np.zeros((1, 1), np.uint32), np.ones((1, 1), np.float32), 1)
    with pytest.raises(ConfigError, match="k parameter of TextNeighbours.search"):
        index.search(np.array([0]), np.array([1.0]), 0)
    with pytest.raises(ConfigError, match=r"as long as weights. Got \(2,\)"):
        index.search(np.array([0, 1]), np.array([1.0]), 1)
