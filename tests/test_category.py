"""Category vectors against the plainest way to compute them."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError
from pinjoin.core.incidence import Incidence
from pinjoin.features import category
from pinjoin.features.category import NO_CATEGORY, Categories, CategoryConfig
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter

NAMES = st.sampled_from(["home", "Home", " home ", "art", "é", "", None])
BOARDS = st.lists(st.tuples(NAMES, st.sets(st.integers(0, 4))), max_size=12)


def build(boards, config=None) -> Categories:
    pairs = [(row, image) for row, (_, images) in enumerate(boards) for image in sorted(images)]
    rows = np.array(pairs, np.int64).reshape(-1, 2).T
    incidence = Incidence.from_pairs(rows[0], rows[1], len(boards), 5)
    return category.build([name for name, _ in boards], incidence, config)


def reference(boards, config):
    boards = [(name and name.strip(), images) for name, images in boards]
    often = Counter(name for name, _ in boards if name)
    names = sorted(often, key=lambda name: (-often[name], name.encode()))
    rows = []
    for image in range(5):
        counts = Counter(name for name, images in boards if name and image in images)
        shares = {name: count / counts.total() for name, count in counts.items()}
        kept = [name for name in shares if shares[name] >= config.threshold]
        kept.sort(key=lambda name: (-shares[name], names.index(name)))
        rows.append([(name, shares[name]) for name in kept[: config.keep]])
    return names, rows


CONFIGS = st.builds(CategoryConfig, st.sampled_from([0.0, 0.1, 1 / 3, 1.0]), st.integers(1, 3))


@given(BOARDS, CONFIGS)
def test_equals_dictionaries(boards, config):
    found = build(boards, config)
    names, rows = reference(boards, config)
    assert found.names.to_pylist() == names
    assert found.ids.shape == found.shares.shape == (5, config.keep)
    for row, expected in enumerate(rows):
        assert found.of(row) == [(name, pytest.approx(share)) for name, share in expected]
        assert (found.ids[row][len(expected) :] == NO_CATEGORY).all()
        assert not found.shares[row][len(expected) :].any()
        assert found.present[row] == bool(expected)


def test_a_share_of_exactly_the_threshold_is_kept_and_nothing_is_scaled_up():
    boards = [("art", {0})] * 27 + [("home", {0})] * 3 + [("diy", {0})] * 2 + [(None, {0})] * 9
    found = build(boards[:30])
    assert found.of(0) == [("art", pytest.approx(27 / 30)), ("home", pytest.approx(3 / 30))]
    found = build(boards)
    assert found.of(0) == [("art", pytest.approx(27 / 32))]  # 3 / 32 < 0.1


def category_similarity(a: list[tuple[str, float]], b: list[tuple[str, float]]) -> float:
    """Cosine; 0 where there is no category."""
    x, y = dict(a), dict(b)
    lengths = math.hypot(*x.values()) * math.hypot(*y.values())
    return sum(x[name] * y[name] for name in x.keys() & y.keys()) / lengths if lengths else 0.0


def test_similarity():
    found = build([("art", {0, 1}), ("home", {0, 2}), (None, {3})])
    # Image 0 is half art, half home: cosine (½ · 1) / (√½ · 1).
    assert category_similarity(found.of(0), found.of(1)) == pytest.approx(0.5 / math.sqrt(0.5))
    assert category_similarity(found.of(1), found.of(2)) == 0
    assert category_similarity(found.of(3), found.of(0)) == 0
    assert found.present.tolist() == [True, True, True, False, False]


def test_popular_images_of_a_category_come_first_and_once():
    found = build([("art", {1, 3, 4}), ("home", {0, 4}), ("home", {4})])
    assert found.of(4) == [("home", pytest.approx(2 / 3)), ("art", pytest.approx(1 / 3))]
    assert found.popular(4, 9).tolist() == [0, 4, 1, 3]
    assert found.popular(4, 3).tolist() == [0, 4, 1]
    assert found.popular(1, 9).tolist() == [1, 3]
    assert found.popular(2, 9).tolist() == []


def test_categories_beyond_65535_are_left_out():
    n = 65_540
    names = [f"{i:06d}" for i in range(n)] + ["000003"]
    boards = np.arange(n + 1)
    incidence = Incidence.from_pairs(boards, np.minimum(boards, n - 1), n + 1, n)
    found = category.build(pa.chunked_array([names]), incidence)
    assert len(found.names) == 65_535
    assert found.names[0].as_py() == "000003"
    assert found.of(65_534) == [("065534", 1.0)]
    assert found.of(65_535) == []


def test_saved_and_opened(tmp_path):
    found = build([("art", {0, 1}), ("home", {0, 2})], CategoryConfig(threshold=0.2))
    with SnapshotWriter(tmp_path, {}, "x") as writer:
        found.save(writer)
        writer.commit({})
    opened = Categories.open(open_snapshot(tmp_path))
    assert [opened.of(row) for row in range(5)] == [found.of(row) for row in range(5)]
    assert opened.popular(0, 5).tolist() == found.popular(0, 5).tolist()
    assert opened.config == found.config


def test_refused():
    with pytest.raises(ConfigError, match="threshold parameter .* from 0 to 1. Got 1.5"):
        CategoryConfig(threshold=1.5)
    with pytest.raises(ConfigError, match="keep parameter .* from 1 to 256. Got 0"):
        CategoryConfig(keep=0)
    with pytest.raises(ConfigError, match="categories parameter .* 1 long, one a board. Got 2"):
        category.build(["a", "b"], Incidence.from_pairs(np.array([0]), np.array([0])))
