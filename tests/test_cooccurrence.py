from __future__ import annotations

import logging
import math
import threading

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from references import boards_matrix, count_matrix

import pinjoin
from pinjoin.candidates import cooccurrence as module
from pinjoin.candidates.cooccurrence import (
    SCORES,
    Cooccurrence,
    CooccurrenceConfig,
    cooccurrence,
    pair_histogram,
)
from pinjoin.candidates.sampling import hash_pairs
from pinjoin.core.errors import ConfigError
from pinjoin.core.incidence import Incidence

N = 150  # more than two groups of 64 rows
BOARDS = st.lists(st.lists(st.integers(0, N - 1), max_size=40), max_size=30)


def ranked(scores: np.ndarray, counts: np.ndarray, query: int, k: int, min_count: int = 1):
    """Whole row of a query: (candidates, counts, scores), by score, ties by row."""
    able = [c for c in range(len(scores)) if c != query and counts[query, c] >= min_count]
    able.sort(key=lambda c: (-np.float32(scores[c]), c))
    best = able[:k]
    return best, [int(counts[query, c]) for c in best], [np.float32(scores[c]) for c in best]


def naive_scores(boards: list[list[int]], counts: np.ndarray, score: str) -> np.ndarray:
    """(items, items) float64, entry by entry from the definitions."""
    n, n_boards = len(counts), len(boards)
    degree = np.diag(counts)
    distinct = [set(board) for board in boards]
    mean = sum(map(len, distinct)) / max(len(distinct), 1)
    unit = 2.0**-32

    def weight(board: set[int]) -> float:
        if score == "adamic_adar":
            exact = 1 / math.log(max(len(board), 2))
        else:  # BM25 of a single save, squared: once for each of the two items
            exact = (101 / (100 * (0.2 + 0.8 * len(board) / mean) + 1)) ** 2
        return round(exact / unit) * unit

    def entropy(*cells: float) -> float:
        return sum(x * math.log(x) for x in cells if x > 0)

    def value(q: int, c: int) -> float:
        both, dq, dc = float(counts[q, c]), float(degree[q]), float(degree[c])
        if score == "count":
            return both
        if score == "cosine":
            return both / math.sqrt(dq * dc)
        if score == "jaccard":
            return both / (dq + dc - both)
        if score == "lift":
            return both * n_boards / (dq * dc)
        if score == "llr":
            cells = entropy(both, dq - both, dc - both, n_boards - dq - dc + both)
            margins = entropy(dq, n_boards - dq) + entropy(dc, n_boards - dc)
            ratio = max(0.0, 2 * (cells - margins + entropy(n_boards)))
            return ratio if both * n_boards >= dq * dc else -ratio
        total = sum(weight(board) for board in distinct if q in board and c in board)
        if score == "bm25":
            idf = [math.log(n_boards) - math.log1p(degree[x]) for x in (q, c)]
            total = total * idf[0] * idf[1]
        return total

    found = np.zeros((n, n))
    for q, c in zip(*np.nonzero(counts), strict=True):
        if q != c:
            found[q, c] = value(q, c)
    return found


@given(BOARDS, st.sampled_from([1, 2, 5, 20, 1000]), st.sampled_from([1, 2, 3]))
def test_whole_rows_equal_a_triple_loop(boards, k, min_count):
    counts = count_matrix(boards, N)
    found = cooccurrence(boards_matrix(boards, N), k, min_count=min_count)
    assert len(found) == N
    for query in range(N):
        rows, numbers, _ = ranked(counts[query], counts, query, k, min_count)
        assert found.of(query)[0].tolist() == rows
        assert found.of(query)[1].tolist() == numbers


@pytest.mark.parametrize("score", SCORES)
@given(boards=BOARDS, k=st.sampled_from([1, 7, 1000]))
@settings(max_examples=30)
def test_scores_equal_their_definitions(score, boards, k):
    counts = count_matrix(boards, N)
    naive = naive_scores(boards, counts, score)
    found = cooccurrence(boards_matrix(boards, N), k, score)
    for query in range(N):
        here = slice(found.indptr[query], found.indptr[query + 1])
        rows, _, scores = ranked(naive[query], counts, query, k)
        # Log and square root may differ in the last bit between libraries: ranks are compared
        # through the scores they carry, and the carried score of each row with its own.
        np.testing.assert_allclose(found.scores[here], scores, rtol=3e-6, atol=1e-6)
        own = [naive[query, c] for c in found.indices[here]]
        np.testing.assert_allclose(found.scores[here], own, rtol=3e-6, atol=1e-6)
        if score in ("count", "jaccard", "lift", "adamic_adar"):
            assert found.indices[here].tolist() == rows


@given(BOARDS)
def test_counts_are_symmetric_and_an_item_never_meets_itself(boards):
    found = cooccurrence(boards_matrix(boards, N), N)
    dense = np.zeros((N, N), np.int64)
    for query in range(N):
        rows, counts = found.of(query)
        dense[query, rows] = counts
    assert np.array_equal(dense, dense.T)
    assert not dense.diagonal().any()


@given(BOARDS, BOARDS)
@settings(max_examples=30)
def test_counts_of_two_sets_of_boards_add(one, other):
    def dense(boards):
        found = cooccurrence(boards_matrix(boards, N), N)
        rows = np.repeat(np.arange(N), np.diff(found.indptr))
        return scipy.sparse.coo_array((found.counts, (rows, found.indices)), (N, N)).toarray()

    assert np.array_equal(dense(one) + dense(other), dense(one + other))


@given(BOARDS, st.integers(1, 20), st.sampled_from(SCORES))
@settings(max_examples=30)
def test_top_k_is_a_prefix_of_one_more(boards, k, score):
    matrix = boards_matrix(boards, N)
    less, more = cooccurrence(matrix, k, score), cooccurrence(matrix, k + 1, score)
    for query in range(N):
        rows = less.of(query)[0].tolist()
        assert len(set(rows)) == len(rows) <= k
        assert rows == more.of(query)[0].tolist()[:k]


@given(BOARDS, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_renaming_boards_and_items_changes_nothing_but_names(boards, random):
    names = list(range(N))
    random.shuffle(names)
    renamed = [[names[item] for item in board] for board in boards]
    random.shuffle(renamed)
    plain = cooccurrence(boards_matrix(boards, N), N)
    other = cooccurrence(boards_matrix(renamed, N), N)
    for query in range(N):
        rows, counts = plain.of(query)
        there, numbers = other.of(names[query])
        assert {(names[row], count) for row, count in zip(rows, counts, strict=True)} == set(
            zip(there.tolist(), numbers.tolist(), strict=True)
        )


@pytest.fixture(scope="module")
def large() -> scipy.sparse.csr_array:
    """5,000 items on 3,000 boards with a power law of popularity: many blocks, many ties."""
    rng = np.random.default_rng(7)
    weights = np.arange(1, 5_001) ** -0.8
    boards = [
        np.unique(rng.choice(5_000, size=size, p=weights / weights.sum())).tolist()
        for size in rng.integers(2, 120, size=3_000)
    ]
    return boards_matrix(boards, 5_000)


@pytest.mark.parametrize("score", ["count", "cosine", "adamic_adar"])
def test_any_number_of_threads_and_blocks_gives_the_same(large, score, monkeypatch):
    one = cooccurrence(large, 50, score, threads=1)
    monkeypatch.setattr(module, "_BLOCK_PAIRS", 10_000)
    four = cooccurrence(large, 50, score, threads=4)
    for name in ("indptr", "indices", "counts", "scores"):
        assert np.array_equal(getattr(one, name), getattr(four, name)), name


@pytest.mark.parametrize("score", SCORES)
def test_one_live_query_equals_its_row_of_all(large, score):
    every = cooccurrence(large, 100, score)
    counter = Cooccurrence(large, CooccurrenceConfig(score))
    for query in [0, 1, 17, 4_999, 0]:  # twice the same: counters carry over between calls
        alone = counter.top(query, 100)
        here = slice(every.indptr[query], every.indptr[query + 1])
        assert np.array_equal(alone.indices, every.indices[here])
        assert np.array_equal(alone.counts, every.counts[here])
        assert np.array_equal(alone.scores, every.scores[here])


def test_live_queries_from_many_threads_do_not_meet(large):
    every = cooccurrence(large, 30)
    counter = Cooccurrence(large)
    wrong = []

    def ask(start: int) -> None:
        for query in range(start, 5_000, 40):
            if not np.array_equal(counter.top(query, 30).indices, every.of(query)[0]):
                wrong.append(query)

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_counters_survive_many_queries_without_clearing():
    """An item on 900 boards is asked until 16-bit counters must start over, many times."""
    boards = [[0, 1 + b % 3] for b in range(900)]
    counter = Cooccurrence(boards_matrix(boards, 4))
    for _ in range(500):
        top = counter.top(0, 10)
        assert top.indices.tolist() == [1, 2, 3]
        assert top.counts.tolist() == [300, 300, 300]


@pytest.mark.slow
def test_an_item_on_more_boards_than_16_bits_count():
    boards = [[0, 1]] * 70_000 + [[0, 2]] * 3
    found = cooccurrence(boards_matrix(boards, 3), 5)
    assert found.of(0)[0].tolist() == [1, 2]
    assert found.of(0)[1].tolist() == [70_000, 3]


def test_columns_of_ids_are_as_good_as_a_matrix(large):
    coo = large.tocoo()
    pairs = cooccurrence((coo.row, coo.col), 10)
    assert np.array_equal(pairs.indices, cooccurrence(large, 10).indices)


def test_no_boards_no_items_no_candidates():
    assert len(cooccurrence(scipy.sparse.csr_array((0, 0)), 5)) == 0
    assert cooccurrence(scipy.sparse.csr_array((3, 4)), 5).indptr.tolist() == [0] * 5
    assert cooccurrence(boards_matrix([[2]], 4), 5).indices.tolist() == []


@given(BOARDS)
def test_the_pair_histogram_equals_counting(boards):
    upper = count_matrix(boards, N)[np.triu_indices(N, 1)]
    assert pair_histogram(boards_matrix(boards, N)).tolist() == np.bincount(upper).tolist()


def test_large_boards_keep_their_most_popular_items(caplog):
    boards = [[0, 1, 2, 3], [1, 2], [2, 3], [3, 2]]  # on boards: 0 once, 1 twice, 2 four, 3 three
    with caplog.at_level(logging.INFO, "pinjoin"):
        found = cooccurrence(boards_matrix(boards, 4), 5, max_board_pins=2)
    # The first board keeps 2 and 3: they share it and two more.
    assert found.of(3)[0].tolist() == [2]
    assert found.of(3)[1].tolist() == [1 + 2]
    assert found.of(0)[0].tolist() == []
    assert "kept the best 2 images of 1 larger boards: 8 of 10 saves" in caplog.text


def test_busy_items_ask_a_seeded_sample_of_their_boards(caplog):
    boards = [[0, 1 + b] for b in range(50)]  # item 0 is on 50 boards, with a different one each
    matrix = boards_matrix(boards, 51)
    with caplog.at_level(logging.INFO, "pinjoin"):
        found = cooccurrence(matrix, 100, max_pin_boards=10, seed=3)
    chosen = np.argsort(hash_pairs(3, 0, np.arange(50, dtype=np.uint32)))[:10]
    assert found.of(0)[0].tolist() == sorted(int(board) + 1 for board in chosen)
    assert found.of(1)[0].tolist() == [0], "an item on few boards asks them all"
    other = cooccurrence(matrix, 100, max_pin_boards=10, seed=4)
    assert found.of(0)[0].tolist() != other.of(0)[0].tolist()
    assert "sampled 10 boards of each of 1 images" in caplog.text


def splitmix64(seed: int) -> int:
    """The published reference, one step, in whole numbers of any size."""
    mask = (1 << 64) - 1
    z = (seed + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_the_sampling_hash_is_the_published_one():
    assert splitmix64(0) == 0xE220A8397B1DCDAF  # first output for seed 0 in the authors' code
    golden = 0x9E3779B97F4A7C15
    for seed, image, boards in [(0, 0, [0]), (3, 5, [1, 2]), (1 << 40, 2_000_000, [0xFFFFFFFE])]:
        expected = [splitmix64((image << 32 | board) + seed * golden) for board in boards]
        assert hash_pairs(seed, image, np.array(boards, np.uint32)).tolist() == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k parameter of cooccurrence must be a number ≥ 1. Got 0"),
        ({"score": "best"}, "score parameter .* one of count, cosine.* Got 'best'"),
        ({"min_count": 0}, "min_count parameter .* ≥ 1. Got 0"),
        ({"threads": 0}, "threads parameter .* Got 0"),
        ({"max_board_pins": 0}, "max_board_pins parameter .* None or a number ≥ 1. Got 0"),
        ({"max_pin_boards": -1}, "max_pin_boards parameter .* Got -1"),
    ],
)
def test_wrong_parameters_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        cooccurrence(scipy.sparse.csr_array((3, 4)), **options)


@pytest.mark.parametrize("query", [-1, 4])
def test_a_query_that_is_no_row_is_refused(query):
    with pytest.raises(ConfigError, match=f"query parameter of top .* from 0 to 3. Got {query}"):
        Cooccurrence(scipy.sparse.csr_array((3, 4))).top(query)


@pytest.mark.parametrize("span", [(-1, 2), (0, 5), (3, 2)])
def test_a_range_that_is_none_is_refused(span):
    first, last = span
    with pytest.raises(ConfigError, match=r"within \[0, 4\)"):
        next(Cooccurrence(scipy.sparse.csr_array((3, 4))).blocks(first=first, last=last))


def test_a_range_of_queries_equals_its_part_of_all(large):
    every, part = cooccurrence(large, 20), Cooccurrence(large).all(20, first=100, last=350)
    assert len(part) == 250
    for query in range(250):
        assert np.array_equal(part.of(query)[0], every.of(100 + query)[0])


def test_a_consumer_that_stops_early_stops_the_work(large, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_PAIRS", 1_000)
    before = threading.active_count()
    blocks = Cooccurrence(large).blocks(10)
    first, block = next(blocks)
    assert first == 0
    assert len(block) >= 1
    blocks.close()
    assert threading.active_count() == before


def test_the_public_name_is_this_function():
    assert pinjoin.cooccurrence is cooccurrence
    assert isinstance(Cooccurrence([[0], [1]]).incidence, Incidence)
