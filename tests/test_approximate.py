from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinjoin.candidates.approximate import ApproximateHamming, StoredGraph
from pinjoin.candidates.growing import GrowingHamming
from pinjoin.candidates.nearest import ExactHamming
from pinjoin.candidates.sketched import SketchedHamming, sketches_of
from pinjoin.core.errors import ConfigError, SnapshotError
from pinjoin.core.types import NO_ROW

pytest.importorskip("usearch", reason="the index of codes is optional: pip install usearch")


def pictures(n: int, bits: int = 256, seed: int = 0) -> np.ndarray:
    """Hyperplane bits of clustered Gaussian vectors, as benchmarks/nearest.py states."""
    rng = np.random.default_rng(seed)
    centres, planes = rng.standard_normal((n // 50 + 1, 16)), rng.standard_normal((16, bits))
    points = centres[rng.integers(len(centres), size=n)] + 0.5 * rng.standard_normal((n, 16))
    return np.packbits(points @ planes > 0, axis=1, bitorder="little")


CODES = pictures(20_000)
ADDED = pictures(100, seed=1)


@pytest.fixture(autouse=True)
def graphs_are_walked(monkeypatch):
    """Though a scan of so few codes would be faster; and sketches are half of such short codes."""
    monkeypatch.setattr("pinjoin.candidates.approximate._SCANNED_PER_VIEWED", 5 * 32)
    monkeypatch.setattr("pinjoin.candidates.sketched.SKETCH_BYTES", 16)


@pytest.fixture(scope="module")
def built() -> ApproximateHamming:
    return ApproximateHamming.build(CODES, threads=1)


@pytest.fixture(scope="module")
def stored(built) -> StoredGraph:
    return built.stored()


@pytest.fixture(params=["exact", "sketched", "built", "opened", "taken over", "growing"])
def index(request, built, stored):
    """Every index answers to one contract."""
    if request.param == "exact":
        return ExactHamming(CODES)
    if request.param == "sketched":
        return SketchedHamming(CODES, sketches_of(CODES))
    if request.param == "built":
        return built
    opened = ApproximateHamming.open(stored, CODES)
    if request.param == "taken over":
        return ApproximateHamming.build(np.concatenate([CODES, ADDED]), earlier=stored)
    if request.param == "growing":
        return GrowingHamming(opened, ADDED)
    return opened


def all_codes(index) -> np.ndarray:
    return np.concatenate([CODES, ADDED])[: len(index)]


def test_most_of_the_nearest_come_with_exact_distances_in_order(index):
    codes = all_codes(index)
    assert len(index) == len(codes)
    assert index.bits == 256
    hits = 0
    queries = pictures(40, seed=2)
    for query in queries:
        true = np.bitwise_count(codes ^ query).sum(1)
        rows, distances = index.search(query, 100)
        assert len(rows) == len(set(rows.tolist())) == 100
        assert distances.tolist() == true[rows].tolist()
        assert np.lexsort((rows, distances)).tolist() == list(range(100))
        assert (rows.dtype, distances.dtype) == (np.uint32, np.uint16)
        hits += int(np.sum(distances <= np.sort(true)[99]))
    assert hits / 100 / len(queries) >= 0.95


@pytest.mark.parametrize("share", [0.9, 0.3, 0.01, 0.0])
def test_only_allowed_rows_come_and_as_many_as_there_are(index, share):
    allowed = np.random.default_rng(0).random(len(index)) < share
    rows, _ = index.search(CODES[5], 50, allowed=allowed)
    assert allowed[rows].all()
    assert len(rows) == min(50, int(allowed.sum()))


def test_all_nearest_forbidden_is_no_reason_for_few(index):
    codes = all_codes(index)
    order = np.argsort(np.bitwise_count(codes ^ CODES[5]).sum(1), kind="stable")
    allowed = np.ones(len(codes), bool)
    allowed[order[:8_000]] = False
    rows, _ = index.search(CODES[5], 50, allowed=allowed)
    assert len(rows) == 50
    assert allowed[rows].all()
    assert rows[0] == order[8_000]


def test_excluded_rows_do_not_come(index):
    first, _ = index.search(CODES[5], 10)
    assert 5 in first
    rows, _ = index.search(CODES[5], 10, exclude=[5, *first[:3].tolist()])
    assert len(rows) == 10
    assert not {5, *first[:3].tolist()} & set(rows.tolist())


def test_more_than_there_are_gives_all(index):
    rows, _ = index.search(CODES[0], len(index) + 5)
    assert sorted(rows.tolist()) == list(range(len(index)))


def test_wrong_questions_are_refused(index):
    with pytest.raises(ConfigError, match=r"k parameter of \w+.search .* Got 0"):
        index.search(CODES[0], 0)
    with pytest.raises(ConfigError, match=r"must be \(32,\) uint8"):
        index.search(CODES[0][:16], 1)
    with pytest.raises(ConfigError, match="allowed parameter .* booleans"):
        index.search(CODES[0], 1, allowed=np.ones(3, bool))


def test_where_a_graph_does_not_pay_codes_are_scanned(built, monkeypatch):
    scanned = []
    scan = built.exact.search
    monkeypatch.setattr(
        built.exact, "search", lambda *a, **o: scanned.append(a[1]) or scan(*a, **o)
    )
    built.search(CODES[0], 100)
    assert scanned == []
    built.search(CODES[0], 5_000)
    built.search(CODES[0], 7, allowed=np.arange(len(CODES)) < 1_500)
    assert scanned == [5_000, 7]


def test_what_scans_beside_a_graph_can_be_chosen(stored, monkeypatch):
    sketched = SketchedHamming(CODES, sketches_of(CODES))
    index = ApproximateHamming.open(stored, CODES, sketched)
    found = index.search(CODES[0], 5_000)
    for ours, exact in zip(found, sketched.search(CODES[0], 5_000), strict=True):
        assert ours.tolist() == exact.tolist()


@given(st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_small_indexes_are_exact(n, k):
    codes = pictures(n, 64, seed=n)
    found = ApproximateHamming.build(codes, threads=1).search(codes[0], k)
    for ours, exact in zip(found, ExactHamming(codes).search(codes[0], k), strict=True):
        assert ours.tolist() == exact.tolist()


def test_an_added_code_is_found_at_once(stored):
    index = GrowingHamming(ApproximateHamming.open(stored, CODES), ADDED[:1])
    rows, distances = index.search(ADDED[0], 1)
    assert (rows.tolist(), distances.tolist()) == ([len(CODES)], [0])


def test_a_graph_is_taken_over_with_other_rows(stored):
    """The rows are shuffled, every tenth code is gone and 100 are new."""
    rng = np.random.default_rng(0)
    order = rng.permutation(np.setdiff1d(np.arange(len(CODES)), np.arange(0, len(CODES), 10)))
    codes = np.concatenate([CODES[order], ADDED])
    now = np.full(len(CODES), NO_ROW, np.uint32)
    now[order] = np.arange(len(order))
    index = ApproximateHamming.build(codes, earlier=StoredGraph(stored.bytes, now))
    assert index.n_added == 100
    assert len(index.stored().rows) == len(CODES) + 100
    hits = 0
    for code in [*ADDED[:20], *CODES[:20]]:  # also one that is gone
        true = np.bitwise_count(codes ^ code).sum(1)
        rows, distances = index.search(code, 100)
        assert distances.tolist() == true[rows].tolist()
        hits += int(np.sum(distances <= np.sort(true)[99]))
    assert hits / 100 / 40 >= 0.95
    rows, _ = index.search(ADDED[7], 1)
    assert rows.tolist() == [len(order) + 7]


def test_a_graph_of_which_much_is_gone_is_built_afresh(stored):
    rows = np.where(np.arange(len(CODES)) < 4_500, NO_ROW, np.arange(len(CODES)) - 4_500)
    earlier = StoredGraph(stored.bytes, rows.astype(np.uint32))
    index = ApproximateHamming.build(CODES[4_500:], earlier=earlier, threads=2)
    assert index.n_added == len(index.stored().rows) == 15_500


def test_only_codes_that_are_present_come(monkeypatch):
    present = np.arange(3_000) % 3 > 0
    index = ApproximateHamming.build(CODES[:3_000], present)
    assert index.n_added == 2_000
    for k in (5, 2_900):
        rows, _ = index.search(CODES[0], k)
        assert len(rows) == min(k, 2_000)
        assert present[rows].all()


def test_threads_get_what_one_gets(built):
    queries = pictures(30, seed=3)
    alone = [built.search(query, 50)[0].tolist() for query in queries]
    found: list[list[list[int]]] = []

    def work() -> None:
        found.append([built.search(query, 50)[0].tolist() for query in queries])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 4


def test_an_index_of_other_codes_is_refused(stored):
    with pytest.raises(SnapshotError, match="has row 19999, of codes there are 9: build"):
        ApproximateHamming.open(stored, CODES[:9])
    with pytest.raises(SnapshotError, match="codes of 256 bits.* of 512 bits"):
        ApproximateHamming.open(stored, pictures(20_000, 512))
    with pytest.raises(SnapshotError, match="is of 20000 codes .* expected were 9"):
        ApproximateHamming.open(StoredGraph(stored.bytes, stored.rows[:9]), CODES)
    with pytest.raises(SnapshotError, match=r"must be of shape \(20000, 16\). Got \(9, 16\)"):
        SketchedHamming(CODES, sketches_of(CODES)[:9])


def test_a_damaged_graph_is_refused(stored):
    with pytest.raises(SnapshotError, match="cannot be read .* build the snapshot again"):
        ApproximateHamming.open(StoredGraph(stored.bytes[:50], stored.rows), CODES)


def test_sketches_are_spread_over_the_code(monkeypatch):
    monkeypatch.setattr("pinjoin.candidates.sketched.SKETCH_BYTES", 128)
    codes = np.random.default_rng(0).integers(0, 256, (5, 512), dtype=np.uint8)
    words = codes.reshape(5, 64, 8)
    naive = np.concatenate([words[:, word] for word in range(0, 64, 4)], axis=1)
    assert sketches_of(codes).tolist() == naive.tolist()
    assert sketches_of(codes[:, :128].copy()).tolist() == codes[:, :128].tolist()
    assert sketches_of(codes[:, :136].copy()).shape == (5, 128)


def test_without_usearch_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(
        ConfigError, match=r"needs usearch. Install it: pip install 'pinjoin\[ann\]'"
    ):
        ApproximateHamming.build(CODES)
    assert len(ExactHamming(CODES).search(CODES[0], 3)[0]) == 3
