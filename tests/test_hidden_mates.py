"""What a ranker learns from boards: nothing may tell which image is hidden."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import pinjoin
from pinjoin.data.splits import Held, hidden_saves, hide
from pinjoin.features import factors
from pinjoin.features.packed import PackedRows, Parts
from pinjoin.features.pairs import PairConfig, PairFeatures
from pinjoin.features.quality import Quality
from pinjoin.training.catalogue import Catalogue
from pinjoin.training.from_boards import choose, learn, learnable
from pinjoin.training.hidden_mates import BoardTraining, Example, Examples, hidden_mates

RELEARNED = ("text.annotation_similarity", "text.topic_similarity", "factors.similarity")


def built(pins, folder, data) -> pinjoin.Workspace:
    boards = pinjoin.open_source("boards", str(data / "ikea" / "boards.csv"))
    source = pinjoin.open_source("pins", str(pins))
    pinjoin.build(folder, source, boards, encoder=None, train=False)
    return pinjoin.open(folder)


@pytest.fixture(scope="module")
def ikea(data, tmp_path_factory) -> pinjoin.Workspace:
    return built(data / "ikea" / "pins.csv", tmp_path_factory.mktemp("ikea"), data)


@pytest.fixture(scope="module")
def held(ikea) -> Held:
    return hide(ikea.incidence, np.random.default_rng(0))


@pytest.fixture(scope="module")
def left(ikea, held) -> Catalogue:
    return Catalogue.of(ikea).without(held)


@pytest.fixture(scope="module")
def rebuilt(ikea, held, data, tmp_path_factory) -> pinjoin.Workspace:
    """A build that never saw what is hidden."""
    folder = tmp_path_factory.mktemp("rebuilt")
    names = ikea.signatures().to_pylist()
    board_ids = ikea.snapshot.table("boards")["board_id"].to_pylist()
    gone = hidden_saves(ikea.incidence, held)
    gone = {(board_ids[b], names[i]) for b, i in zip(*gone, strict=True)}
    with (data / "ikea" / "pins.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if (row["board_id"], row["image"]) not in gone]
    assert len(rows) - len(kept) == len(held.left_out)
    with (folder / "pins.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return built(folder / "pins.csv", folder / "ws", data)


def test_what_is_left_is_described_as_a_build_without_the_hidden_pins_does(
    ikea, held, left, rebuilt
):
    theirs = Catalogue.of(rebuilt)
    assert list(theirs.features.schema) == list(left.features.schema)
    same_row = np.array([rebuilt.find(name) for name in ikea.signatures().to_pylist()])
    ours, expected, hidden = [], [], []
    for query, wanted in zip(held.queries.tolist(), held.hidden.tolist(), strict=True):
        found, other = left.candidates(query), theirs.candidates(int(same_row[query]))
        _, here, there = np.intersect1d(same_row[found.rows], other.rows, return_indices=True)
        assert len(here) > 0.9 * len(found)  # a few are only there for their words
        hidden.append(found.rows[here] == wanted)
        ours.append(left.describe(query, found, here))
        expected.append(theirs.describe(int(same_row[query]), other, there))
    mine, built_so = np.concatenate(ours), np.concatenate(expected)
    for place, name in enumerate(left.features.schema):
        if name in RELEARNED:  # on other words and boards: nearly the same, and not about whom
            close = np.corrcoef(mine[:, place], built_so[:, place])[0, 1]
            assert close > 0.8, name
            more = (mine - built_so)[np.concatenate(hidden), place]
            assert abs(more.mean()) < 2.5 * more.std() / np.sqrt(len(more)) + 1e-5, name
        else:
            np.testing.assert_allclose(
                mine[:, place], built_so[:, place], rtol=1e-4, atol=1e-4, err_msg=name
            )


def test_factors_are_learned_without_what_is_hidden(left):
    packed = left.features.packed.with_dense("factors", factors.build(left.incidence).vectors)
    np.testing.assert_array_equal(left.features.packed.data, packed.data)
    assert (packed.data != left.workspace.packed.data).any()


def test_words_of_hidden_pins_find_nothing(ikea, held, left):
    rows = np.unique(held.hidden)
    assert (left.annotations.ids[rows] != ikea.annotations.ids[rows]).any()
    others = np.setdiff1d(np.arange(ikea.n_images), rows)
    np.testing.assert_array_equal(left.annotations.ids[others], ikea.annotations.ids[others])
    query = int(held.queries[0])
    alike, _ = left.alike(query, 50)
    scores = [float(left.annotations.weights[row] @ left.annotations.weights[row]) for row in alike]
    assert len(set(alike.tolist())) == 50
    assert max(scores) == pytest.approx(1, abs=1e-3)


def test_hiding_twice_is_hiding_both(ikea, held, left):
    again = hide(left.incidence, np.random.default_rng(1))
    twice = left.without(again)
    assert twice.incidence.n_saves == ikea.incidence.n_saves - len(held) - len(again)
    assert twice.left_out.sum() == len(held) + len(again)
    once = np.setdiff1d(held.hidden, again.hidden)  # known as after the first time
    np.testing.assert_array_equal(twice.annotations.ids[once], left.annotations.ids[once])


def test_examples_are_of_hidden_mates_and_random_candidates(ikea):
    config = BoardTraining(queries=60, negatives=7, best=5)
    catalogue = Catalogue.of(ikea, learnable(PairConfig(), ikea.incidence))
    examples = hidden_mates(catalogue, config)
    assert 30 < len(examples) <= 60
    assert {len(one.random) for one in examples.each} == {8}
    assert examples.better.shape == examples.worse.shape == (7 * len(examples), 26)
    assert examples.query.tolist() == np.repeat(np.arange(len(examples)), 7).tolist()
    np.testing.assert_array_equal(examples.better[:7], examples.each[0].random[[0] * 7])
    assert hidden_mates(catalogue, config).hash() == examples.hash()
    other = BoardTraining(queries=60, negatives=7, best=5, seed=1)
    assert hidden_mates(catalogue, other).hash() != examples.hash()


def made_up(n: int, signal: float, seed: int = 0, noise_groups=("category",)) -> Examples:
    """Examples whose hidden image has more `text` and `cooccurrence`, and as much of the rest."""
    rng = np.random.default_rng(seed)
    names = ["quality.log_boards", *(f"feature.x{i}" for i in range(20))]
    quality = Quality(tuple(names), dict.fromkeys(names, "x"), np.zeros((1, 21), np.float32))
    features = PairFeatures(
        PackedRows.of(Parts(quality=quality), 1), config=learnable_config(noise_groups)
    )
    schema = list(features.schema)
    told = np.array([name.startswith("cooccurrence.log") for name in schema], np.float32)
    each = []
    for _ in range(n):
        rows = rng.standard_normal((31, len(schema))).astype(np.float32)
        rows[0] += signal * told
        each.append(Example(rows[:21], rows[21:], np.ones(20, bool), 200))
    return Examples(features, each)


def learnable_config(groups) -> PairConfig:
    return PairConfig(groups=("cooccurrence", *groups))


def test_groups_that_only_add_noise_are_left_out():
    choice, gains = choose(made_up(60, 2.0, noise_groups=("quality",)), folds=3)
    assert tuple(choice.pairs.groups) == ("cooccurrence",)
    assert gains.shape == (60,)


def test_groups_that_help_are_kept():
    choice, gains = choose(made_up(60, 3.0, noise_groups=()), folds=3)
    assert tuple(choice.pairs.groups) == ("cooccurrence",)
    assert gains.mean() > 0.5


def test_a_model_has_the_features_of_the_groups_that_are_kept():
    examples = made_up(60, 2.0, noise_groups=("quality",))
    model = learn(examples, BoardTraining())
    assert set(model.features) == {n for n in examples.features.schema if "cooccurrence" in n}
    assert model.about.config["features"]["groups"] == ["cooccurrence"]


def test_the_place_is_estimated_from_those_it_was_drawn_from():
    rows = np.array([[2.0], [3.0], [1.0], [3.0], [1.0]], np.float32)
    best = np.array([[5.0], [0.0]], np.float32)
    example = Example(rows, best, np.array([True, True, False, True]), 60)
    place = 1 + 60 / 3  # one of the best, and one in three of the others
    assert example.ndcg(np.ones(1)) == pytest.approx(1 / np.log2(place + 2))
