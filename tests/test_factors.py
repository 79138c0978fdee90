"""Group `collaborative`: vectors of who is saved with whom."""

from __future__ import annotations

import numpy as np
import pytest

from pinjoin.core.errors import ConfigError
from pinjoin.core.incidence import Incidence
from pinjoin.features import factors
from pinjoin.features.factors import FactorConfig


def two_worlds() -> Incidence:
    """Images 0–9 meet on boards 0–19, images 10–19 on boards 20–39; 20 is on no board."""
    rng = np.random.default_rng(0)
    boards = np.repeat(np.arange(40), 4)
    images = np.concatenate([rng.choice(10, 4, replace=False) + 10 * (b >= 20) for b in range(40)])
    return Incidence.from_pairs(boards, images, 40, 21)


def similarities(found: factors.Factors) -> np.ndarray:
    vectors = found.vectors.astype(np.float64)
    return vectors @ vectors.T


def test_images_of_one_world_are_alike_and_of_two_are_not() -> None:
    alike = similarities(factors.build(two_worlds(), FactorConfig(factors=2)))
    assert alike[:10, :10].min() > 0.8
    assert alike[10:20, 10:20].min() > 0.8
    assert np.abs(alike[:10, 10:20]).max() < 0.01


def test_images_that_never_met_are_alike_through_their_company() -> None:
    boards, images = np.array([[0, 0], [0, 1], [1, 1], [1, 2], [2, 3], [2, 4]]).T
    alike = similarities(factors.build(Incidence.from_pairs(boards, images), FactorConfig(2)))
    assert alike[0, 2] > 0.9  # 0 – 1 – 2
    assert abs(alike[0, 3]) < 0.01


def test_with_all_factors_similarity_is_that_of_the_normalised_incidence() -> None:
    graph = two_worlds()
    found = factors.build(graph, FactorConfig(factors=21))
    dense = np.zeros((graph.n_boards, graph.n_images))
    for board in range(graph.n_boards):
        dense[board, graph.images_of(board)] = 1
    degrees = np.maximum(dense.sum(axis=0), 1)
    normal = dense / np.sqrt(dense.sum(axis=1, keepdims=True) * degrees)
    normal = normal[:, :20] / np.linalg.norm(normal[:, :20], axis=0)
    np.testing.assert_allclose(similarities(found)[:20, :20], normal.T @ normal, atol=2e-3)


def test_images_on_no_board_have_no_vector_and_all_others_length_one() -> None:
    lengths = np.linalg.norm(factors.build(two_worlds()).vectors.astype(float), axis=1)
    np.testing.assert_allclose(lengths, [1.0] * 20 + [0.0], atol=1e-3)


def test_a_sample_of_the_boards_is_the_same_every_time_and_within_its_size() -> None:
    config = FactorConfig(factors=4, max_saves=80)
    one, other = (factors.build(two_worlds(), config).vectors for _ in range(2))
    np.testing.assert_array_equal(one, other)
    kept = factors._sample(two_worlds(), config)
    assert 0 < len(kept) <= 20  # boards of 4


def test_a_catalogue_without_company_has_no_factors() -> None:
    alone = Incidence.from_pairs(np.arange(3), np.arange(3))
    assert factors.build(alone).vectors.shape == (3, 0)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="factors"):
        FactorConfig(factors=0)
