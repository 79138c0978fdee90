"""Topic vectors: what turning keeps, what folding in gives, and catalogues too small for any."""

from __future__ import annotations

import numpy as np
import pytest

from pinjoin.core.errors import ConfigError
from pinjoin.features import topics
from pinjoin.features.text import NO_TERM, Annotations, of_texts
from pinjoin.features.topics import TopicConfig, Topics
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter

KITCHEN = ["kitchen", "oven", "pan", "sink", "spoon"]
GARDEN = ["garden", "rose", "spade", "lawn", "hedge"]
BEACH = ["beach", "sand", "towel", "sea", "shell"]


@pytest.fixture(scope="module")
def annotations() -> Annotations:
    rng = np.random.default_rng(3)
    themes = [KITCHEN, GARDEN, BEACH]
    return of_texts([", ".join(rng.choice(themes[i % 3], 3, False)) for i in range(120)] + ["the"])


@pytest.fixture(scope="module")
def found(annotations) -> Topics:
    return topics.build(annotations, TopicConfig(topics=3))


def dense(annotations: Annotations) -> np.ndarray:
    matrix = np.zeros((len(annotations.ids), len(annotations.terms)))
    for row, (ids, weights) in enumerate(zip(annotations.ids, annotations.weights, strict=True)):
        matrix[row, ids[ids != NO_TERM]] = weights[ids != NO_TERM]
    return matrix


def test_each_theme_is_a_topic_that_its_terms_tell(found):
    assert {frozenset(terms) for terms in found.terms} == {
        frozenset(theme) for theme in (KITCHEN, GARDEN, BEACH)
    }
    for row, theme in enumerate((KITCHEN, GARDEN, BEACH)):
        [(name, weight)] = found.of(row)
        assert set(name.split(", ")) == set(theme)
        assert weight == pytest.approx(1, abs=0.01)


def test_similarities_are_those_of_the_singular_vectors(annotations, found):
    matrix = dense(annotations)
    right = np.linalg.svd(matrix)[2][:3]
    plain = matrix @ right.T
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    plain = np.divide(plain, lengths, where=lengths > 0, out=np.zeros_like(plain))
    vectors = found.vectors.astype(float)
    np.testing.assert_allclose(vectors @ vectors.T, plain @ plain.T, atol=3e-3)
    np.testing.assert_allclose(found.loadings.T @ found.loadings, np.eye(3), atol=1e-5)


def test_loadings_are_turned_until_each_term_is_of_one_topic():
    apart = np.kron(np.eye(3), np.full((4, 1), 0.5))  # 12 terms, 4 of each topic
    mixed = apart @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    assert (np.abs(mixed) > 0.05).sum() > 12
    turned = topics._turned(mixed.astype(np.float32))
    np.testing.assert_allclose(np.sort(turned, axis=1), np.sort(apart, axis=1), atol=1e-3)


def test_vectors_are_of_length_one_or_zero(found):
    lengths = np.linalg.norm(found.vectors.astype(float), axis=1)
    np.testing.assert_allclose(lengths[:-1], 1, atol=2e-3)
    assert lengths[-1] == 0
    assert found.of(120) == []


def test_folding_in_an_images_annotations_gives_its_vector(annotations, found):
    for row in (0, 1, 2, 120):
        folded = found.fold_in(annotations.ids[row], annotations.weights[row])
        np.testing.assert_allclose(folded, found.vectors[row], atol=1e-3)
    new = found.fold_in(*annotations.annotate("a spade, a rose and nothing known"))
    assert found.name(int(np.argmax(new))) == found.of(1)[0][0]


def test_twice_the_same(annotations):
    one, two = (topics.build(annotations, TopicConfig(topics=5)) for _ in range(2))
    assert one.vectors.tobytes() == two.vectors.tobytes()
    assert one.loadings.tobytes() == two.loadings.tobytes()


def test_learned_from_a_sample_and_in_blocks(annotations, found, monkeypatch):
    monkeypatch.setattr(topics, "_BLOCK", 7)
    sampled = topics.build(annotations, TopicConfig(topics=3, max_images=61))
    assert {frozenset(terms) for terms in sampled.terms} == {
        frozenset(terms) for terms in found.terms
    }
    assert sampled.vectors.shape == found.vectors.shape


def test_rarer_terms_have_no_loadings(annotations):
    few = topics.build(annotations, TopicConfig(topics=3, max_terms=4))
    assert few.loadings.shape == (4, 3)
    assert set().union(*few.terms) <= set(annotations.terms.to_pylist()[:4])
    rare = np.array([4, NO_TERM], np.uint32)
    assert few.fold_in(rare, np.ones(2, np.float32)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("texts", "shape"),
    [([], (0, 0)), (["lamp"], (1, 0)), (["lamp", "lamp"], (2, 1)), (["a", "the"], (2, 0))],
)
def test_tiny_catalogues(texts, shape):
    said = of_texts(texts)
    tiny = topics.build(said)
    assert tiny.vectors.shape == shape
    assert tiny.fold_in(*said.annotate("lamp")).shape == shape[1:]
    assert [len(tiny.of(row)) for row in range(len(texts))] == [shape[1]] * len(texts)


def test_parts_of_a_longer_term_do_not_name_a_topic():
    texts = ["sci fi"] * 5 + ["oven, pan"] * 4
    names = topics.build(of_texts(texts)).terms
    assert names == [["sci fi"], ["oven", "pan"]]


def test_saved_and_opened(found, tmp_path):
    with SnapshotWriter(tmp_path, {}, "x") as writer:
        found.save(writer)
        writer.commit({})
    opened = Topics.open(open_snapshot(tmp_path))
    assert [opened.of(row) for row in range(9)] == [found.of(row) for row in range(9)]
    assert opened.config == found.config


@pytest.mark.parametrize("setting", ["topics", "max_images", "max_terms"])
def test_refused(setting):
    with pytest.raises(ConfigError, match=f"{setting} parameter of TopicConfig .* Got 0"):
        TopicConfig(**{setting: 0})
