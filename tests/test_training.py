"""A ranker from a catalogue's own boards, and a workspace that ranks with it."""

from __future__ import annotations

import numpy as np
import pytest
from test_build import build

import pinjoin
from pinjoin.candidates.cooccurrence import Cooccurrence
from pinjoin.candidates.retrieval import Retrieval, RetrievalConfig
from pinjoin.candidates.walk import RandomWalk
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.core.incidence import Incidence
from pinjoin.features.pairs import PAPER_GROUPS, PairConfig
from pinjoin.training.from_boards import NOT_LEARNED, train_from_boards


@pytest.fixture(scope="module")
def ikea(data, tmp_path_factory) -> pinjoin.Workspace:
    folder = tmp_path_factory.mktemp("ikea")
    sources = (
        pinjoin.open_source(kind, str(data / "ikea" / f"{kind}.csv")) for kind in ("pins", "boards")
    )
    summary = pinjoin.build(folder, *sources, encoder=None)
    assert summary.model == f"boards-{summary.snapshot}"
    return pinjoin.open(folder)


def random_graph(seed: int, boards: int = 30, images: int = 40) -> Incidence:
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(boards), 5)
    return Incidence.from_pairs(of, (images * rng.random(len(of)) ** 2).astype(int), boards, images)


@pytest.mark.parametrize("seed", range(5))
def test_candidates_and_what_boards_say_of_them_are_those_of_a_plain_loop(seed):
    graph = random_graph(seed)
    walk = RandomWalk(graph)
    retrieval = Retrieval(Cooccurrence(graph), walk)
    for query in range(graph.n_images):
        found = retrieval.find(query)
        mine = set(graph.boards_of(query).tolist())
        counted = Cooccurrence(graph).top(query).indices.tolist()
        walked = walk.top(query)
        assert found.rows.tolist() == list(dict.fromkeys([*counted, *walked.rows.tolist()]))
        visits = dict(zip(walked.rows.tolist(), walked.scores.tolist(), strict=True))
        for i, row in enumerate(found.rows.tolist()):
            shared = [graph.sizes[b] for b in graph.boards_of(row).tolist() if b in mine]
            signals = found.signals
            assert signals.counts[i] == len(shared)
            assert signals.adamic_adar[i] == pytest.approx(sum(1 / np.log(shared)), rel=1e-5)
            assert signals.resource_allocation[i] == pytest.approx(
                sum(1 / s for s in shared), rel=1e-5
            )
            assert signals.walk[i] == visits.get(row, 0)
            assert found.sources[i] == (0 if shared else 1)


def test_only_eligible_rows_are_found_and_the_cut_comes_after():
    graph = random_graph(1)
    eligible = np.arange(graph.n_images) % 3 == 0
    most = RetrievalConfig(most=4)
    retrieval = Retrieval(Cooccurrence(graph), RandomWalk(graph), most)
    everything = Retrieval(Cooccurrence(graph), RandomWalk(graph))
    for query in range(graph.n_images):
        found = retrieval.find(query, eligible=eligible).rows
        allowed = [r for r in everything.find(query).rows.tolist() if eligible[r]]
        assert found.tolist() == allowed[:4]


def test_contributions_sum_to_the_score(ikea):
    for signature in ikea.signatures()[:40:8].to_pylist():
        for one in ikea.related(signature, 12):
            if one.source in ("co-occurrence", "random walk"):
                total = sum(one.reasons["contributions"].values())
                assert total == pytest.approx(one.score, abs=1e-3)


def test_results_are_in_the_order_of_the_model(ikea):
    query = ikea.signatures()[3].as_py()
    ranked = [r for r in ikea.related(query, 30) if "contributions" in r.reasons]
    scores = [one.score for one in ranked]
    assert len(scores) > 10
    assert scores == sorted(scores, reverse=True)


def test_the_raw_count_is_one_switch_away(ikea):
    counting = pinjoin.open(ikea.path, model="count")
    query = counting.signatures()[0].as_py()
    found = counting.related(query, 10)
    shared = [one.shared_boards for one in found]
    assert shared == sorted(shared, reverse=True)
    assert counting.model == "count"
    assert ikea.model != "count"


def test_what_is_pinned_comes_first_and_what_is_excluded_never(ikea):
    query, unrelated = (ikea.signatures()[i].as_py() for i in (0, 2000))
    best = ikea.related(query, 2)[0].signature
    found = ikea.related(query, 10, pinned=[unrelated], exclude=[best])
    assert (found[0].signature, found[0].source) == (unrelated, "pinned")
    assert best not in [one.signature for one in found]
    assert len(found) == 10


def test_a_boost_lifts_and_is_said(ikea):
    query, unrelated = (ikea.signatures()[i].as_py() for i in (0, 2000))
    found = ikea.related(query, 5, boosted={unrelated: 1000.0})
    assert found[0].signature == unrelated
    assert found[0].reasons["contributions"]["boost"] == 1000.0


def test_a_selective_filter_still_fills_the_list(ikea):
    query = ikea.signatures()[0].as_py()
    found = ikea.related(query, 20, filter="boards = 5")
    assert len(found) == 20
    assert all(len(ikea.incidence.boards_of(ikea.find(one.signature))) == 5 for one in found)


def test_diversity_changes_the_order_of_the_best_not_who_they_are(ikea):
    query = ikea.signatures()[0].as_py()
    plain = ikea.related(query, 100, explain=False)
    mixed = ikea.related(query, 100, explain=False, diversity=0.7)
    assert [r.signature for r in plain[:20]] != [r.signature for r in mixed[:20]]
    assert mixed[0].signature == plain[0].signature


def test_unknown_wishes_are_named(ikea):
    with pytest.raises(ConfigError, match="wishes"):
        ikea.related(ikea.signatures()[0].as_py(), 5, colour="red")


def test_training_is_deterministic(ikea):
    one, other = (train_from_boards(ikea) for _ in range(2))
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.about.metrics["queries"] > 100
    assert not set(NOT_LEARNED) & set(one.features)


def test_groups_choose_features(ikea):
    model = train_from_boards(ikea, pairs=PairConfig(groups=PAPER_GROUPS))
    assert not [name for name in model.features if name.startswith("walk.")]


def test_too_few_boards_are_an_error_that_says_what_to_do(tmp_path):
    summary = build(tmp_path)
    assert summary.model is None
    with pytest.raises(InputError, match="Collect more boards"):
        train_from_boards(pinjoin.open(tmp_path / "ws"))
