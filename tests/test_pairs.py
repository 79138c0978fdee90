"""Features of pairs and the packed rows they are made from, against the plainest way to compute
them."""

from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError, SnapshotError
from pinjoin.features import _pairs_kernel as kernel
from pinjoin.features.category import NO_CATEGORY, Categories, CategoryConfig
from pinjoin.features.packed import PackedRows, Parts, pack, pack_picture, save_packed
from pinjoin.features.pair_schema import CONTEXT, DEFAULT_GROUPS, GROUPS
from pinjoin.features.pairs import PAPER_GROUPS, Context, PairConfig, PairFeatures, Signals
from pinjoin.features.pictures import Pictures
from pinjoin.features.quality import Quality
from pinjoin.features.row_layout import RowLayout
from pinjoin.features.text import NO_TERM, Annotations, TextConfig
from pinjoin.features.topics import TopicConfig, Topics
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter

NAMES = ["art", "food", "garden", "toys", "travel"]
N_BOARDS = 1000
OFFSETS = np.zeros(1, np.int64), np.zeros(0, np.uint32)


@dataclass(frozen=True)
class Case:
    """A catalogue, a query, its candidates and what retrieval knows of them."""

    parts: Parts
    n: int
    query: int
    rows: np.ndarray
    signals: Signals

    def features(self, **config) -> PairFeatures:
        names = [] if self.parts.categories is None else NAMES
        packed = PackedRows.of(self.parts, self.n)
        return PairFeatures(packed, names, N_BOARDS, PairConfig(**config))


def sparse(rng, n, keep, universe, most, none, dtype):
    """Ids and weights of n images, some with fewer or none. Weights are whole numbers over the
    largest possible one, which every image has: so quantising them loses nothing."""
    ids = np.argsort(rng.random((n, universe)), axis=1)[:, :keep].astype(dtype)
    weights = rng.integers(1, most + 1, ids.shape).astype(np.float32)
    weights[:, 0] = most
    fewer = np.arange(keep) >= rng.integers(0, keep + 1, (n, 1))
    ids[fewer], weights[fewer] = none, 0
    return ids, weights


def vocabulary(rng, n):
    """Numbers of terms, as far apart as in a large catalogue."""
    return rng.choice(2**24, n, replace=False).astype(np.uint32)


def dense(rng, n, d):
    vectors = rng.integers(-127, 128, (n, d)).astype(np.float32)
    vectors[:, 0] = 127
    vectors[rng.random(n) < 0.2] = 0
    return vectors / 128  # of any length: only cosines are compared


def make_case(seed, n, sizes, candidates, lossless=True):
    """sizes: of each part, 0: the catalogue has none."""
    rng = np.random.default_rng(seed)
    bits, classes, terms, topics, categories, factors, own = sizes
    pictures = annotations = subjects = sorts = vectors = None
    if bits:
        code = rng.integers(0, 2, (n, -(-bits // 64) * 64), dtype=np.uint8)
        code[:, bits:] = 0
        present = rng.random(n) < 0.8
        code[~present] = 0
        ids, values = sparse(rng, n, max(classes, 1), 70, 127, 0, np.uint16)
        if lossless:
            values *= rng.choice([-1, 1], values.shape)
        else:
            values = np.where(values > 0, rng.random(values.shape) ** 3 + 1e-3, 0)
        values[~present], ids[~present] = 0, 0
        pictures = Pictures(
            np.packbits(code, axis=1, bitorder="little"), present,
            ids if classes else None, values.astype(np.float16) if classes else None,
            None, bits, "some encoder",
        )  # fmt: skip
    if terms:
        ids, weights = sparse(rng, n, terms, 60, 255, NO_TERM, np.uint32)
        ids[ids != NO_TERM] = vocabulary(rng, 60)[ids[ids != NO_TERM]]
        if not lossless:
            weights = np.where(weights > 0, rng.random(weights.shape), 0).astype(np.float32)
        texts = pa.array([], pa.string()), np.zeros(0, np.float32)
        annotations = Annotations(*texts, ids, weights, 0, TextConfig())
    if topics:
        some = dense(rng, n, topics) if lossless else rng.standard_normal((n, topics))
        subjects = Topics(some.astype(np.float16), np.zeros((0, topics)), [], TopicConfig())
    if categories:
        ids, shares = sparse(rng, n, categories, len(NAMES), 255, NO_CATEGORY, np.uint16)
        shares /= 255 * 2
        if not lossless:
            shares = np.where(shares > 0, rng.random(shares.shape), 0).astype(np.float32)
        sorts = Categories(pa.array(NAMES), ids, shares, *OFFSETS, CategoryConfig())
    if factors:
        vectors = dense(rng, n, factors) if lossless else rng.standard_normal((n, factors))
    boards = rng.integers(0, 50, n)
    columns = [np.log1p(boards), *(rng.standard_normal(n) * 10.0**i for i in range(own))]
    names = ["quality.log_boards", *(f"feature.x{i}" for i in range(own))]
    definitions = {name: f"what {name} is" for name in names}
    quality = Quality(tuple(names), definitions, np.stack(columns, axis=1).astype(np.float32))
    query, rows = int(rng.integers(n)), rng.integers(0, n, candidates).astype(np.uint32)
    shared = rng.integers(0, 4, candidates)
    counts = np.minimum(np.minimum(boards[rows], boards[query]), shared).astype(np.uint32)
    floats = [(rng.random(candidates) * (counts > 0) * s).astype(np.float32) for s in (3, 1, 1e-3)]
    navboost = rng.standard_normal(candidates).astype(np.float32) if seed % 2 else None
    signals = Signals(counts, *floats, navboost)
    parts = Parts(pictures, annotations, subjects, sorts, vectors, quality)
    return Case(parts, n, query, rows, signals)


SIZES = st.tuples(
    st.sampled_from([0, 64, 100, 256]),
    st.sampled_from([0, 1, 32]),
    st.sampled_from([0, 1, 7, 32]),
    st.sampled_from([0, 1, 5, 64]),
    st.sampled_from([0, 1, 4]),
    st.sampled_from([0, 3, 64]),
    st.integers(0, 3),
)
SEEDS = st.integers(0, 2**32)
CANDIDATES = st.sampled_from([0, 1, 2, 31, 32, 33, 64, 65, 130])
CASES = st.builds(make_case, SEEDS, st.integers(1, 30), SIZES, CANDIDATES)
FULL = (256, 32, 32, 64, 4, 64, 2)


def cosine(one, other):
    lengths = math.sqrt(sum(x * x for x in one) * sum(y * y for y in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0


def sparse_cosine(ids, weights, q, c):
    one, other = (
        {i: float(w) for i, w in zip(ids[r].tolist(), weights[r], strict=True) if w} for r in (q, c)
    )
    every = sorted({*one, *other})
    return cosine([one.get(i, 0.0) for i in every], [other.get(i, 0.0) for i in every])


def reference(case: Case, i: int) -> dict[str, float]:
    """All features of the i-th candidate, by their definitions."""
    p, q, c = case.parts, case.query, int(case.rows[i])
    s, boards = case.signals, np.rint(np.expm1(case.parts.quality.values[:, 0].astype(float)))
    made = {}
    similar = 0.0
    if p.pictures is not None:
        seen = p.pictures
        both = bool(seen.present[q] and seen.present[c])
        different = int(np.unpackbits(seen.bits[q] ^ seen.bits[c]).sum())
        similar = 1 - different / seen.n_bits if both else 0.0
        made["visual.fc6_similarity"] = similar
        if seen.ids is not None:
            made["visual.fc8_similarity"] = sparse_cosine(seen.ids, seen.values, q, c)
        made["visual.present"] = both
    if p.annotations is not None:
        said = p.annotations
        made["text.annotation_similarity"] = sparse_cosine(said.ids, said.weights, q, c)
        made["text.present"] = said.ids[q, 0] != NO_TERM and said.ids[c, 0] != NO_TERM
    if p.topics is not None:
        vectors = p.topics.vectors.astype(float)
        made["text.topic_similarity"] = cosine(vectors[q], vectors[c])
    if p.categories is not None:
        sorts = p.categories
        made["category.similarity"] = sparse_cosine(sorts.ids, sorts.shares, q, c)
        made["category.present"] = bool(sorts.present[q] and sorts.present[c])
        shares = dict(zip(sorts.ids[q].tolist(), sorts.shares[q].tolist(), strict=True))
        if p.pictures is not None:
            for number, name in enumerate(NAMES):
                made[f"cross.{name}"] = shares.get(number, 0) * similar
    n, nq, nc = int(s.counts[i]), boards[q], boards[c]
    made |= {
        "cooccurrence.count": n,
        "cooccurrence.log_count": math.log(1 + n),
        "cooccurrence.cosine": n / math.sqrt(nq * nc) if n else 0,
        "cooccurrence.jaccard": n / (nq + nc - n) if n else 0,
        "cooccurrence.share": n / nq if n else 0,
        "cooccurrence.relative": n / max(s.counts) if n else 0,
        "cooccurrence.log_lift": math.log(n * N_BOARDS / (nq * nc)) if n else 0,
    }
    made |= dict(zip(p.quality.names, p.quality.values[c].tolist(), strict=True))
    visits, rare = float(s.walk[i]), float(s.adamic_adar[i])
    # As float32, whose rounding the logarithm of the difference of two near numbers shows.
    direct = s.resource_allocation[i] / np.float32(max(nq, 1))
    indirect = max(float(s.walk[i] - direct), 0)
    made |= {
        "walk.visits": visits,
        "walk.log": math.log(1 + 1e6 * visits),
        "walk.relative": visits / float(max(s.walk)) if visits else 0,
        "walk.direct_log": math.log(1 + 1e6 * direct),
        "walk.indirect_log": math.log(1 + 1e6 * indirect),
        "walk.per_root": visits / math.sqrt(nc) if nc else 0,
        "adamic_adar.sum": rare,
        "adamic_adar.log": math.log(1 + rare),
        "adamic_adar.relative": rare / float(max(s.adamic_adar)) if rare else 0,
        "resource_allocation.sum": s.resource_allocation[i],
        "navboost.log_ratio": 0 if s.navboost is None else s.navboost[i],
    }
    if p.factors is not None:
        made["factors.similarity"] = cosine(p.factors[q].astype(float), p.factors[c].astype(float))
    return {name: float(value) for name, value in made.items()}


def expected(case: Case, names) -> np.ndarray:
    made = [reference(case, i) for i in range(len(case.rows))]
    assert all(set(one) == set(names) for one in made)
    return np.array([[one[name] for name in names] for one in made]).reshape(-1, len(names))


@given(CASES)
@settings(max_examples=150)
def test_features_equal_their_definitions(case):
    features = case.features()
    found = features.matrix(case.query, case.rows, case.signals)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(case, features.schema), rtol=2e-5, atol=2e-5)


@given(SEEDS, st.integers(2, 30), SIZES)
@settings(max_examples=80)
def test_quantised_cosines_are_within_a_hundredth(seed, n, sizes):
    case = make_case(seed, n, sizes, 40, lossless=False)
    whole = case.features()
    cosines = [
        at for at, name in enumerate(whole.schema) if "similarity" in name or "cross" in name
    ]
    found = whole.matrix(case.query, case.rows, case.signals)[:, cosines]
    theirs = expected(case, whole.schema)[:, cosines]
    np.testing.assert_allclose(found, theirs, rtol=0, atol=0.01)


def weigh(case, features, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, len(features.schema)))


@given(CASES, st.integers(0, 140))
@settings(max_examples=100)
def test_scores_are_weighted_sums_and_the_top_is_ordered_ties_by_row(case, k):
    features = case.features()
    weights, means = weigh(case, features)
    matrix = features.matrix(case.query, case.rows, case.signals).astype(float)
    parts = (matrix - means) * weights
    scores = features.scores(case.query, case.rows, case.signals, weights, means)
    assert scores.dtype == np.float32
    size = np.abs(parts).sum(axis=1).max(initial=1)
    np.testing.assert_allclose(scores, parts.sum(axis=1), rtol=0, atol=3e-6 * size)
    best, top = features.top(case.query, case.rows, case.signals, weights, means, k)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], case.rows[i], i))[:k]
    assert best.tolist() == order  # so top k is a prefix of top k + 1
    np.testing.assert_array_equal(top, scores[order])


def test_equal_candidates_rank_by_row():
    case = make_case(3, 12, FULL, 0)
    features = case.features()
    row = features.packed.data[:1]
    features = features.with_packed(replace(features.packed, data=np.repeat(row, 200, axis=0)))
    rows = np.random.default_rng(0).permutation(200).astype(np.uint32)
    weights, means = weigh(case, features)
    best, scores = features.top(5, rows, Signals.none(200), weights, means, 50)
    assert len(np.unique(scores)) == 1
    assert rows[best].tolist() == list(range(50))


def test_large_numbers_keep_their_differences():
    """A date in seconds, say: 1.7e9 in float32 is exact to 128."""
    case = make_case(5, 30, FULL, 30)
    values = case.parts.quality.values.copy()
    values[:, 1] = 1.7e9 + 10_000 * np.arange(30)
    case = replace(case, parts=replace(case.parts, quality=replace(case.parts.quality,
                                                                   values=values)))  # fmt: skip
    features = case.features(groups=("quality",))
    weights, means = np.zeros((2, len(features.schema)))
    at = list(features.schema).index("feature.x0")
    weights[at], means[at] = 1e-4, 1.7e9
    scores = features.scores(case.query, case.rows, case.signals, weights, means)
    np.testing.assert_allclose(scores, case.rows, atol=0.01)


@given(st.sets(st.sampled_from(DEFAULT_GROUPS)), st.sets(st.integers(0, 40), max_size=5))
@settings(max_examples=40)
def test_groups_and_names_toggle_columns_and_change_no_other(groups, dropped):
    case = make_case(7, 20, FULL, 33)
    whole = case.features()
    names = list(whole.schema)
    without = [names[i] for i in dropped if i < len(names)]
    some = case.features(groups=tuple(groups), without=without)
    columns = whole.matrix(case.query, case.rows, case.signals)
    chosen = [names.index(name) for name in some.schema]
    assert chosen == sorted(chosen)
    assert not set(without) & set(some.schema)
    left = set().union(*(set(case.features(groups=(group,)).schema) for group in groups))
    assert set(some.schema) == left - set(without)
    found = some.matrix(case.query, case.rows, case.signals)
    np.testing.assert_array_equal(found, columns[:, chosen])


def test_the_paper_ranks_without_walks():
    features = make_case(1, 9, FULL, 1).features(groups=PAPER_GROUPS)
    groups = {name.split(".")[0] for name in features.schema}
    assert groups == {"visual", "text", "category", "cross", "cooccurrence", "quality", "feature"}


def test_crosses_are_of_the_most_frequent_categories_only():
    names = make_case(1, 9, FULL, 1).features(groups=("cross",), max_cross=2).schema
    assert list(names) == ["cross.art", "cross.food"]


def test_every_feature_is_documented():
    page = (Path(__file__).parents[1] / "docs/features.md").read_text("utf-8")
    for name in make_case(1, 9, FULL, 1).features(groups=GROUPS).schema:
        if not name.startswith(("cross.", "quality.", "feature.")):
            assert f"| `{name}` |" in page


def test_parts_that_a_catalogue_lacks_have_no_features():
    names = make_case(1, 9, (0, 0, 0, 0, 0, 0, 0), 1).features().schema
    groups = {name.split(".")[0] for name in names}
    assert groups == {
        "cooccurrence", "quality", "walk", "adamic_adar", "resource_allocation", "navboost"
    }  # fmt: skip
    assert "factors.similarity" not in names


def test_definitions_name_the_encoder():
    case = make_case(1, 9, FULL, 1)
    pictures = replace(case.parts.pictures, encoder="another")
    other = replace(case, parts=replace(case.parts, pictures=pictures)).features()
    mine = case.features().schema
    differ = [name for name, definition in other.schema.items() if mine[name] != definition]
    assert differ == ["visual.fc6_similarity", "visual.fc8_similarity"]


def test_a_picture_from_outside_is_compared_by_what_is_seen_in_it():
    case = make_case(2, 30, FULL, 65)
    features, seen = case.features(), case.parts.pictures
    query = int(np.flatnonzero(seen.present)[0])
    row = pack_picture(features.packed.layout, seen.bits[query], seen.ids[query],
                       seen.values[query])  # fmt: skip
    nothing = Signals.none(65)
    outside = features.matrix(row, case.rows, nothing)
    inside = features.matrix(query, case.rows, nothing)
    for at, name in enumerate(features.schema):
        if name.startswith(("visual.", "quality.", "feature.")):
            np.testing.assert_array_equal(outside[:, at], inside[:, at], err_msg=name)
        else:
            assert not outside[:, at].any(), name
    assert outside[:, 0].any()


def test_a_code_without_padding_and_without_classes_packs():
    layout = RowLayout(n_bits=100, classes=4)
    row = pack_picture(layout, np.full(13, 255, np.uint8))
    assert row.shape == (layout.bytes,)
    assert row[:16].tolist() == [255] * 13 + [0] * 3


def test_context_is_told_as_means_of_recent_images_and_the_phrase():
    case = make_case(4, 30, FULL, 65)
    p, recent = case.parts, [3, 8, 21]
    features = case.features(groups=("context",))
    terms, frequency = np.unique(p.annotations.ids[:, 0], return_counts=True)
    terms = terms[np.argsort(-frequency * (terms != NO_TERM), kind="stable")][:2]
    phrase = terms, np.float32([0.8, 0.6])
    locale = np.arange(len(features.packed)) % 2 == 0
    context = Context(recent, phrase, locale)
    found = features.matrix(case.query, case.rows, case.signals, context)
    assert list(features.schema) == list(CONTEXT)

    def unit(vectors):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)

    bits = np.unpackbits(p.pictures.bits, axis=1)
    shown = [row for row in recent if p.pictures.present[row]]
    assert len(shown) > 1
    most = 2 * bits[shown].sum(axis=0) > len(shown)
    for i, row in enumerate(case.rows.tolist()):
        topics = unit(p.topics.vectors.astype(float))
        factors = unit(p.factors.astype(float))
        said = dict(zip(p.annotations.ids[row].tolist(), p.annotations.weights[row].tolist(),
                        strict=True))  # fmt: skip
        values = [
            cosine(topics[recent].mean(axis=0), topics[row]),
            cosine(factors[recent].mean(axis=0), factors[row]),
            np.mean(bits[row] == most) if p.pictures.present[row] else 0,
            cosine([said.get(int(phrase[0][0]), 0), said.get(int(phrase[0][1]), 0),
                    math.sqrt(sum(w * w for t, w in said.items() if t not in phrase[0]))],
                   [0.8, 0.6, 0]),
            float(locale[row]),
        ]  # fmt: skip
        np.testing.assert_allclose(found[i], values, atol=0.01)
    assert not features.matrix(case.query, case.rows, case.signals).any()
    some = features.matrix(case.query, case.rows, case.signals, Context(recent=[8]))
    assert some[:, :3].any()
    assert not some[:, 3:].any()


@pytest.fixture
def hooks(monkeypatch):
    """A module of someone else's."""
    module = ModuleType("somebodys_features")
    module.asked = []
    module.closeness = lambda query, rows: (
        -np.abs(rows.astype(float) - (-1 if query is None else query))
    )
    module.short = lambda query, rows: np.zeros(len(rows) + 1)
    module.odd = lambda query, rows: np.full(len(rows), np.nan)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_function_of_ones_own_is_a_feature(hooks):
    case = make_case(6, 30, FULL, 33)
    features = case.features(custom={"my.closeness": "somebodys_features:closeness"})
    assert features.schema["my.closeness"] == "your own: somebodys_features:closeness"
    matrix = features.matrix(case.query, case.rows, case.signals)
    assert list(features.schema)[-1] == "my.closeness"
    np.testing.assert_array_equal(matrix[:, -1], -np.abs(case.rows.astype(int) - case.query))
    weights, means = weigh(case, features)
    scores = features.scores(case.query, case.rows, case.signals, weights, means)
    np.testing.assert_allclose(scores, (matrix - means) @ weights, rtol=1e-4, atol=1e-3)
    outside = features.matrix(features.packed.row(case.query), case.rows, case.signals)
    np.testing.assert_array_equal(outside[:, -1], -(case.rows.astype(float) + 1))


@pytest.mark.parametrize("name", ["short", "odd"])
def test_a_function_of_ones_own_that_gives_no_numbers_is_refused(hooks, name):
    case = make_case(6, 30, FULL, 5)
    features = case.features(custom={"my.x": f"somebodys_features:{name}"})
    with pytest.raises(ConfigError, match=r"my\.x .* 5 finite numbers"):
        features.matrix(case.query, case.rows, case.signals)


@pytest.mark.parametrize("place", ["nowhere_at_all:f", "math:nothing", "math", ""])
def test_a_function_of_ones_own_that_is_not_there_is_refused(place):
    with pytest.raises(ConfigError, match=r"'my\.x' .* 'module:function', importable"):
        make_case(6, 9, FULL, 5).features(custom={"my.x": place})


def test_names_are_distinct():
    with pytest.raises(ConfigError, match="names no other feature has"):
        make_case(6, 9, FULL, 5).features(custom={"walk.log": "math:log"})


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"groups": ("visual", "smell")}, "groups .* 'smell'"),
        ({"without": ("visual.fc7",)}, r"without .* 'visual\.fc7'"),
        ({"max_cross": -1}, "max_cross .* -1"),
    ],
)
def test_configurations_that_say_nothing_are_refused(config, match):
    with pytest.raises(ConfigError, match=match):
        PairConfig(**config)


def test_a_configuration_survives_as_plain_data():
    config = PairConfig(groups=GROUPS, without=("cross.art", "context.locale"), max_cross=3)
    assert PairConfig(**asdict(config)) == config


def test_numbers_that_do_not_fit_are_refused():
    case = make_case(6, 9, FULL, 5)
    features, rows, known = case.features(), case.rows, case.signals
    weights, means = weigh(case, features)
    with pytest.raises(ConfigError, match="rows .* from 0 to 8"):
        features.matrix(0, np.array([9, 1, 2, 3, 4], np.uint32), known)
    with pytest.raises(ConfigError, match="from 0 to 8.*9"):
        features.matrix(9, rows, known)
    with pytest.raises(ConfigError, match="from 0 to 8.*-1"):
        features.matrix(-1, rows, known)
    with pytest.raises(ConfigError, match="query .* bytes"):
        features.matrix(np.zeros(3, np.uint8), rows, known)
    with pytest.raises(ConfigError, match=r"walk .* \(5,\)"):
        features.matrix(0, rows, replace(known, walk=known.walk[:4]))
    with pytest.raises(ConfigError, match=r"navboost .* \(5,\)"):
        features.matrix(0, rows, replace(known, navboost=known.walk[:0]))
    with pytest.raises(ConfigError, match="weights .* as the schema"):
        features.scores(0, rows, known, weights[:-1], means)
    with pytest.raises(ConfigError, match="means .* as the schema"):
        features.scores(0, rows, known, weights, means[:-1])


@given(SEEDS)
@settings(max_examples=60)
def test_the_terms_of_any_query_are_told_apart(seed):
    rng = np.random.default_rng(seed)
    stride = int(rng.choice([1, 3, 1 << 10, 1 << 20, 1 << 22, 1 << 27]))
    ids = (np.arange(32) * stride + rng.integers(0, 1000)).astype(np.uint32)
    if stride == 1:
        ids = vocabulary(rng, 32)
    weights = rng.integers(1, 256, 32).astype(np.uint8)
    slots = np.empty(kernel.TERM_SLOTS, np.uint64)
    kernel._spread_terms(ids, weights, slots)
    taken = slots[slots & np.uint64(0xFF) > 0]
    told = {int(slot >> np.uint64(32)): int(slot & np.uint64(0xFF)) for slot in taken}
    assert told == dict(zip(ids.tolist(), weights.tolist(), strict=True))


def test_scratch_is_clean_after_any_number_of_requests():
    case = make_case(8, 30, FULL, 33)
    features = case.features()
    first = [features.matrix(q, case.rows, case.signals) for q in range(30)]
    again = [features.matrix(q, case.rows, case.signals) for q in reversed(range(30))]
    np.testing.assert_array_equal(first, again[::-1])


def test_threads_do_not_disturb_each_other():
    case = make_case(8, 30, FULL, 130)
    features = case.features()
    alone = [features.matrix(q, case.rows, case.signals) for q in range(30)]
    asked = [i % 30 for i in range(300)]
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda q: features.matrix(q, case.rows, case.signals), asked))
    for q, found in zip(asked, many, strict=True):
        np.testing.assert_array_equal(found, alone[q])


@pytest.fixture
def stored(tmp_path):
    """A case with the packed rows of its snapshot."""
    case = make_case(9, 40, FULL, 65)
    with SnapshotWriter(tmp_path, {}, "hash") as writer:
        save_packed(writer, case.parts, case.n)
        writer.commit({})
    return case, open_snapshot(tmp_path)


def test_rows_survive_a_snapshot(stored):
    case, snapshot = stored
    packed = PackedRows.open(snapshot)
    assert packed.layout == PackedRows.of(case.parts, case.n).layout
    np.testing.assert_array_equal(packed.data, PackedRows.of(case.parts, case.n).data)
    assert packed.layout.bytes % 64 == 0
    features = PairFeatures(packed, NAMES, N_BOARDS)
    given = case.query, case.rows, case.signals
    np.testing.assert_array_equal(features.matrix(*given), case.features().matrix(*given))


def test_rows_of_another_format_are_refused(stored):
    content = stored[1].json("packed.rows") | {"format_version": 99}
    with pytest.raises(SnapshotError, match="format 99.*Build again"):
        RowLayout.from_json(content)


@pytest.mark.parametrize("mapped", [True, False])
def test_replaced_rows_are_a_private_copy(stored, mapped):
    case, snapshot = stored
    packed = PackedRows.open(snapshot) if mapped else PackedRows.of(case.parts, case.n)
    before = packed.data.copy()
    size = packed.layout.bytes
    one = packed.with_rows(np.array([3, 5]), np.full((2, size), 7, np.uint8))
    two = one.with_rows(np.array([5, 9], np.uint32), np.full((2, size), 8, np.uint8))
    assert (packed.data == before).all()
    assert (PackedRows.open(snapshot).data == before).all()
    changed = before.copy()
    changed[[3, 5]] = 7
    assert (one.data == changed).all()
    changed[[5, 9]] = 8
    assert (two.data == changed).all()
    three = two.with_rows(np.array([0]), np.full((1, size), 9, np.uint8))
    changed[0] = 9
    assert (three.data == changed).all()
    with pytest.raises(ConfigError, match=r"new .* \(1, "):
        packed.with_rows(np.array([1]), np.zeros((2, size), np.uint8))


def test_rows_described_anew_equal_packing_anew(stored):
    case, snapshot = stored
    rows = np.array([2, 7, 31])
    p, other = case.parts, make_case(10, 40, FULL, 1).parts
    values = p.quality.values.copy()
    values[rows, 0] = np.log1p([0, 4, 30])
    said = replace(p.annotations, ids=p.annotations.ids.copy(),
                   weights=p.annotations.weights.copy())  # fmt: skip
    said.ids[rows], said.weights[rows] = (
        other.annotations.ids[rows], other.annotations.weights[rows]
    )  # fmt: skip
    topics = replace(p.topics, vectors=p.topics.vectors.copy())
    topics.vectors[rows] = other.topics.vectors[rows]
    sorts = replace(p.categories, ids=p.categories.ids.copy(), shares=p.categories.shares.copy())
    sorts.ids[rows], sorts.shares[rows] = other.categories.ids[rows], other.categories.shares[rows]
    parts = replace(p, annotations=said, topics=topics, categories=sorts,
                    quality=replace(p.quality, values=values))  # fmt: skip
    found = PackedRows.open(snapshot).redescribed(
        rows,
        replace(said, ids=said.ids[rows], weights=said.weights[rows]),
        replace(topics, vectors=topics.vectors[rows]),
        replace(sorts, ids=sorts.ids[rows], shares=sorts.shares[rows]),
        values[rows, :1],
    )
    np.testing.assert_array_equal(found.data, PackedRows.of(parts, case.n).data)


def test_blocks_of_rows_pack_as_all_at_once(stored, monkeypatch, tmp_path):
    case, snapshot = stored
    monkeypatch.setattr("pinjoin.features.packed._BLOCK", 7)
    done = []

    def progress(what, total):
        from contextlib import nullcontext

        return nullcontext(done.append)

    with SnapshotWriter(tmp_path / "other", {}, "hash") as writer:
        save_packed(writer, case.parts, case.n, progress=progress)
        writer.commit({})
    again = PackedRows.open(open_snapshot(tmp_path / "other"))
    np.testing.assert_array_equal(again.data, PackedRows.open(snapshot).data)
    assert done == [7, 7, 7, 7, 7, 5]


def test_a_missing_part_packs_as_zeros():
    case = make_case(11, 9, FULL, 1)
    layout = PackedRows.of(case.parts, 9).layout
    assert not pack(layout, Parts(), np.arange(9)).any()


def test_more_than_a_row_holds_is_cut_to_the_largest():
    rng = np.random.default_rng(0)
    ids, weights = sparse(rng, 5, 50, 60, 255, NO_TERM, np.uint32)
    said = Annotations(pa.array([], pa.string()), np.zeros(0), ids, weights, 0, TextConfig(keep=50))
    topics = Topics(dense(rng, 5, 100).astype(np.float16), np.zeros((0, 100)), [], TopicConfig())
    packed = PackedRows.of(Parts(annotations=said, topics=topics), 5)
    assert (packed.layout.terms, packed.layout.topics) == (32, 64)
    cut = Parts(
        annotations=replace(said, ids=ids[:, :32], weights=weights[:, :32]),
        topics=replace(topics, vectors=topics.vectors[:, :64]),
    )
    np.testing.assert_array_equal(packed.data, PackedRows.of(cut, 5).data)


def test_one_compiled_loop_serves_every_catalogue(stored):
    case, snapshot = stored
    frozen = case.rows.copy()
    frozen.flags.writeable = False
    known = Signals(*(np.frombuffer(a.tobytes(), a.dtype) for a in
                      (case.signals.counts, case.signals.adamic_adar,
                       case.signals.resource_allocation, case.signals.walk)))  # fmt: skip
    packed = PackedRows.open(snapshot)
    private = packed.with_rows(np.array([1]), packed.data[2:3])
    for rows in (packed, private, PackedRows.of(case.parts, case.n)):
        features = PairFeatures(rows, NAMES, N_BOARDS, PairConfig(groups=GROUPS))
        weights, means = weigh(case, features)
        for query in (case.query, np.frombuffer(b"x" + rows.row(3).tobytes(), np.uint8)[1:]):
            features.matrix(query, frozen, known, Context(recent=[1]))
            features.top(query, case.rows, case.signals, weights, means, 9)
    assert len(kernel.describe.signatures) == 1
