from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinjoin.candidates.approximate import EXACT_BYTES, ApproximateHamming, hamming_index
from pinjoin.candidates.nearest import ExactHamming
from pinjoin.core.errors import ConfigError, SnapshotError

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
    """Though a scan of so few codes would be faster."""
    monkeypatch.setattr("pinjoin.candidates.approximate._SCANNED_PER_VIEWED", 5)


@pytest.fixture(scope="module")
def built() -> ApproximateHamming:
    return ApproximateHamming.build(CODES, threads=1)


@pytest.fixture(scope="module")
def file(built, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "codes.usearch"
    built.save(path)
    return path


@pytest.fixture(params=["exact", "built", "opened", "with added"])
def index(request, built, file):
    """Every index answers to one contract."""
    if request.param == "exact":
        return ExactHamming(CODES)
    if request.param == "built":
        return built
    opened = ApproximateHamming.open(file, CODES)
    if request.param == "with added":
        opened.add(ADDED[:60])
        opened.add(ADDED[60:])
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
    assert rows.tolist() == order[8_000:8_050].tolist()


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


def test_for_much_of_the_catalogue_a_scan_is_faster(built, monkeypatch):
    walked = []
    monkeypatch.setattr(built, "_walk", lambda code, k: walked.append(k) or np.arange(0, 0))
    built.search(CODES[0], 5_000)
    assert walked == []
    built.search(CODES[0], 100)
    assert walked == [100]


@given(st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_small_indexes_are_exact(n, k):
    codes = pictures(n, 64, seed=n)
    found = ApproximateHamming.build(codes, threads=1).search(codes[0], k)
    for ours, exact in zip(found, ExactHamming(codes).search(codes[0], k), strict=True):
        assert ours.tolist() == exact.tolist()


def test_an_added_code_is_found_at_once(file):
    index = ApproximateHamming.open(file, CODES)
    index.add(ADDED[:1])
    rows, distances = index.search(ADDED[0], 1)
    assert (rows.tolist(), distances.tolist()) == ([len(CODES)], [0])


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


def test_an_index_of_other_codes_is_refused(file):
    with pytest.raises(SnapshotError, match="20000 codes .* are 9 of 256 bits: build"):
        ApproximateHamming.open(file, CODES[:9])
    with pytest.raises(SnapshotError, match="codes of 256 bits.* of 512 bits"):
        ApproximateHamming.open(file, pictures(20_000, 512))


def test_a_damaged_file_is_refused(file, tmp_path):
    (tmp_path / "cut").write_bytes(file.read_bytes()[:50])
    with pytest.raises(SnapshotError, match="cut is no index of codes .* build it again"):
        ApproximateHamming.open(tmp_path / "cut", CODES)
    with pytest.raises(SnapshotError, match="none is no index of codes"):
        ApproximateHamming.open(tmp_path / "none", CODES)


def test_few_codes_are_searched_exactly(file, monkeypatch):
    assert isinstance(hamming_index(CODES, file), ExactHamming)
    assert CODES.nbytes <= EXACT_BYTES
    monkeypatch.setattr("pinjoin.candidates.approximate.EXACT_BYTES", CODES.nbytes - 1)
    assert isinstance(hamming_index(CODES, file), ApproximateHamming)
    assert isinstance(hamming_index(CODES), ExactHamming)
    assert isinstance(hamming_index(CODES, file.parent / "none"), ExactHamming)


def test_without_usearch_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(
        ConfigError, match=r"needs usearch. Install it: pip install 'pinjoin\[ann\]'"
    ):
        ApproximateHamming.build(CODES)
    assert len(ExactHamming(CODES).search(CODES[0], 3)[0]) == 3
