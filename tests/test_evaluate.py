"""Board completion: who sees what, who competes, and the table for people and programs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_build import write

import pinjoin
from pinjoin.cli import cli
from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data.splits import Held, hide
from pinjoin.experiments import metrics, peers
from pinjoin.experiments.asked import EvaluationConfig
from pinjoin.experiments.baselines import BASELINES
from pinjoin.experiments.learned import LEARNED, SEEN
from pinjoin.experiments.offline import METRICS, SCORERS, Evaluation, evaluate
from pinjoin.experiments.scorers import OnRebuilt, Split, check_lists, rank_all
from pinjoin.experiments.tuning import tuned
from pinjoin.ranking.store import load_model, save_model, use_model

DAY = 86_400
WITH_IMPLICIT = [name for name in SCORERS if name.startswith("implicit")]


def catalogue(folder: Path, on_topic: float, seed: int = 0, topics: int = 6) -> pinjoin.Workspace:
    """240 images and 260 boards of 6; `on_topic` of a board is of its topic, the rest random."""
    rng, n, boards, size = np.random.default_rng(seed), 240, 260, 6
    pins = []
    for board in range(boards):
        own = np.flatnonzero(np.arange(n) % topics == board % topics)
        images = {
            int(rng.choice(own)) if rng.random() < on_topic else int(rng.integers(n))
            for _ in range(size)
        }
        for nth, image in enumerate(rng.permutation(sorted(images)).tolist()):
            word = f"kind{image % topics}" if on_topic else "thing"
            pin_id, day = f"b{board}/{image}", nth * boards + board + 1
            pins.append((pin_id, f"b{board}", f"i{image}", f"a {word}", day * DAY))
    header = ["pin_id", "board_id", "image", "title", "created_at"]
    rows = [(f"b{b}", f"room{b}", f"sort {b % 3}") for b in range(boards)]
    pinjoin.build(
        folder / "ws",
        pinjoin.open_source("pins", str(write(folder / "pins.csv", header, pins))),
        pinjoin.open_source(
            "boards", str(write(folder / "boards.csv", ["board_id", "title", "category"], rows))
        ),
        encoder=None,
    )
    return pinjoin.open(folder / "ws", model="count")


@pytest.fixture(scope="module")
def topical(tmp_path_factory) -> pinjoin.Workspace:
    return catalogue(tmp_path_factory.mktemp("topical"), on_topic=0.9)


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> pinjoin.Workspace:
    return catalogue(tmp_path_factory.mktemp("noise"), on_topic=0.0)


@pytest.fixture(scope="module")
def table(topical) -> Evaluation:
    return evaluate(topical, EvaluationConfig(resamples=200, depth=200))


def split_of(workspace: pinjoin.Workspace, seed: int = 0) -> Split:
    return Split(workspace, hide(workspace.incidence, np.random.default_rng(seed)), seed)


def ndcg(lists: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return metrics.ndcg(metrics.places(lists, wanted), 100)


@pytest.mark.parametrize(
    "name", [name for name in SCORERS if name not in ("visual", "model in use")]
)
def test_scorers_rank_eligible_images_once_and_prefixes_agree(topical, name):
    split = split_of(topical)
    few = split.held.where(np.arange(0, len(split.held), 12))
    scorer = SCORERS[name](split)
    lists = rank_all(name, scorer, few, 60)
    check_lists(name, lists, few)
    assert lists.dtype == np.uint32
    shorter = rank_all(name, scorer, few, 7)
    if name != "implicit ALS":  # whose ties are in any order
        np.testing.assert_array_equal(lists[:, :7], shorter)


def same_degree(left: np.ndarray, held: Held, rng: np.random.Generator) -> np.ndarray:
    """For each hidden image another one on as many of the boards that are left."""
    chosen = []
    for query, hidden in zip(held.queries.tolist(), held.hidden.tolist(), strict=True):
        able = np.flatnonzero((left == left[hidden]) & held.eligible)
        chosen.append(rng.choice(able[able != query]))
    return np.array(chosen, np.uint32)


def lead(workspace: pinjoin.Workspace, make, seeds: range) -> float:
    """How much better a scorer ranks what is hidden than others like it, in standard errors."""
    gains = []
    for seed in seeds:
        split = split_of(workspace, seed)
        lists = rank_all("", make(split), split.held, 100)
        others = same_degree(split.incidence.degrees, split.held, np.random.default_rng(seed))
        gains.append(ndcg(lists, split.held.hidden) - ndcg(lists, others))
    gain = np.concatenate(gains)
    return float(gain.mean() / (gain.std() / np.sqrt(len(gain))))


@pytest.mark.parametrize("name", ["popularity", "count", "BM25", "walk", "text", "pinjoin"])
def test_where_boards_are_random_nothing_tells_what_is_hidden(noise, name):
    assert abs(lead(noise, SCORERS[name], range(3))) < 3


def test_the_order_of_the_whole_catalogue_would_tell(noise):
    """Why scorers work on rebuilt rows: the workspace's are by a popularity that has seen all."""

    class ByRow:
        note = ""

        def __init__(self, split: Split) -> None:
            left = split.incidence.degrees
            self._rows = np.lexsort((np.arange(len(left)), -left))
            self._held = split.held

        def rank(self, query: int, k: int) -> np.ndarray:
            rows = self._rows[self._held.eligible[self._rows] & (self._rows != query)]
            return rows[:k].astype(np.uint32)

    assert lead(noise, ByRow, range(3)) > 4


def test_rebuilt_rows_are_those_of_a_build_of_what_is_left(topical):
    split = split_of(topical)
    rebuilt, left = split.rebuilt, split.incidence
    degrees = left.degrees[rebuilt.old]
    names = np.array(topical.signatures().to_pylist())[rebuilt.old].tolist()
    assert list(zip(-degrees, names, strict=True)) == sorted(zip(-degrees, names, strict=True))
    np.testing.assert_array_equal(rebuilt.old[rebuilt.new], np.arange(topical.n_images))
    board = int(split.held.boards[0])
    assert set(rebuilt.old[rebuilt.incidence.images_of(board)]) == set(left.images_of(board))


def test_an_inner_split_hides_from_what_is_left(topical):
    outer = split_of(topical)
    inner = outer.inner(20)
    assert len(inner.held) <= 20
    assert inner.incidence.n_saves == outer.incidence.n_saves - len(inner.held)
    assert inner.catalogue.incidence.n_saves == inner.incidence.n_saves


def test_the_table_compares_all_on_the_same_queries(topical, table):
    assert set(table.not_run) == {"visual", "model in use"}
    assert {one.name for one in table.results} == set(SCORERS) - set(table.not_run)
    first = [one.means[METRICS[0]].value for one in table.results]
    assert first == sorted(first, reverse=True)
    held = split_of(topical).held
    assert (table.queries, table.eligible) == (len(held), int(held.eligible.sum()))
    assert sum(table.categories.values()) == table.queries
    for one in table.results:
        assert (
            one.means[METRICS[0]].low <= one.means[METRICS[0]].value <= one.means[METRICS[0]].high
        )
        parts = [one.by_category[name].value * n for name, n in table.categories.items()]
        assert sum(parts) / table.queries == pytest.approx(one.means[METRICS[0]].value)
        assert set(one.means) == set(METRICS)
        assert 0 <= one.coverage <= 1
        assert one.ms > 0
    by_name = {one.name: one for one in table.results}
    assert by_name["count"].ratio.value == by_name["count"].ratio.low == 1
    lists = rank_all("", SCORERS["walk"](split_of(topical)), held, 200)
    assert by_name["walk"].means["ndcg@100"].value == pytest.approx(ndcg(lists, held.hidden).mean())


def test_where_boards_have_topics_learning_finds_them(table):
    means = {one.name: one.means[METRICS[0]].value for one in table.results}
    assert means["pinjoin"] > 1.3 * max(means["count"], means["popularity"])


def test_the_same_seed_gives_the_same_table(topical):
    some = {name: SCORERS[name] for name in ("popularity", "walk sampled", "pinjoin (paper)")}
    config = EvaluationConfig(resamples=100, against="popularity")
    one, other = (evaluate(topical, config, some) for _ in range(2))
    assert [replace(r, ms=0) for r in one.results] == [replace(r, ms=0) for r in other.results]
    moved = evaluate(topical, replace(config, seed=1), some)
    assert moved.results[0].means != one.results[0].means


def test_asking_for_a_category_hides_the_same(topical, table):
    config = EvaluationConfig(resamples=200, depth=200, category="sort 1")
    found = evaluate(topical, config, {"count": SCORERS["count"]})
    assert found.queries == table.categories["sort 1"]
    whole = next(one for one in table.results if one.name == "count")
    here = found.results[0].means[METRICS[0]].value
    assert here == pytest.approx(whole.by_category["sort 1"].value)


def test_a_split_by_time_hides_what_came_later(topical):
    some = {"popularity": SCORERS["popularity"], "count": SCORERS["count"]}
    config = EvaluationConfig(after=4 * 260 * DAY, resamples=100)  # the fifth pin of each board
    found = evaluate(topical, config, some)
    assert found.queries > 150
    with pytest.raises(InputError, match="No board of this catalogue has an image to hide"):
        evaluate(topical, replace(config, after=10_000 * DAY), some)


def test_a_model_trained_on_logs_is_marked(topical):
    [name] = [p.stem for p in (topical.path / "models").glob("boards-*.json")]
    model = load_model(topical.path, name)
    about = replace(model.about, name="logs", trained_on="logs")
    save_model(topical.path, replace(model, about=about), use=True)
    try:
        found = evaluate(
            topical, EvaluationConfig(resamples=100), {"model in use": LEARNED["model in use"]}
        )
    finally:
        use_model(topical.path, name)
    assert found.results[0].note == SEEN
    assert found.results[0].means[METRICS[0]].value > 0


def test_what_cannot_run_says_why(topical, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit", None)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.setattr(peers, "EASE_IMAGES", 10)
    names = [*WITH_IMPLICIT, "EASE", "pinjoin (LambdaMART)", "count"]
    found = evaluate(topical, EvaluationConfig(resamples=100), {n: SCORERS[n] for n in names})
    assert [one.name for one in found.results] == ["count"]
    assert "pip install 'pinjoin[evaluate]'" in found.not_run["implicit ALS"]
    assert "pip install 'pinjoin[gbdt]'" in found.not_run["pinjoin (LambdaMART)"]
    assert "240 × 240 (at most 10)" in found.not_run["EASE"]


def test_settings_are_chosen_on_a_split_of_what_is_left(topical):
    seen = []

    def factory(good: bool):
        def make(split: Split):
            seen.append(split)
            return BASELINES["walk" if good else "SAR lift"](split)

        return make

    split = split_of(topical)
    assert tuned({"bad": factory(False), "good": factory(True)})(split).note == "good"
    assert [one is split for one in seen] == [False, False, True]
    assert all(one.incidence.n_saves < split.incidence.n_saves for one in seen[:2])


def test_a_scorer_of_ones_own(topical):
    def by_name(split: Split) -> OnRebuilt:
        rows = np.arange(split.incidence.n_images)[::-1]
        return OnRebuilt(split, lambda query, k: rows)

    found = evaluate(topical, EvaluationConfig(resamples=100), {"mine": by_name})
    assert found.results[0].ratio is None  # count was not asked for
    assert 0 < found.results[0].means["triplets"].value < 1


def _fit(query: int, held: Held) -> np.ndarray:
    rows = np.flatnonzero(held.eligible).astype(np.uint32)
    return rows[rows != query]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (lambda query, held: np.array([query], np.uint32), "the query itself"),
        (lambda query, held: _fit(query, held)[[0, 0]], "an image twice"),
        (lambda query, held: np.array([len(held.eligible)], np.uint32), "not eligible"),
        (lambda query, held: _fit(query, held), "[0-9]+ rows where 100 were asked for"),
    ],
)
def test_a_scorer_that_breaks_its_contract_is_named(topical, given, fault):
    class Bad:
        note = ""

        def __init__(self, split: Split) -> None:
            self.held = split.held

        def rank(self, query: int, k: int) -> np.ndarray:
            return given(query, self.held)

    with pytest.raises(ConfigError, match=f"mine gave .*{fault}"):
        evaluate(topical, EvaluationConfig(resamples=100, depth=100), {"mine": Bad})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0}, "share parameter of EvaluationConfig must be above 0"),
        ({"min_images": 1}, "min_images parameter of EvaluationConfig must be 2 or more"),
        ({"depth": 10}, "depth parameter"),
        ({"most": 0}, "most parameter"),
        ({"category": "Nowhere"}, "No image has the category 'Nowhere'. The largest: sort"),
        ({"against": "nobody"}, "against parameter of evaluate must be one of pinjoin;"),
        ({"keeps": 500}, "No board of this catalogue has an image to hide"),
    ],
)
def test_refused(topical, settings, message):
    with pytest.raises((ConfigError, InputError), match=message):
        evaluate(topical, EvaluationConfig(**settings), {"count": SCORERS["count"]})


def asked(workspace: pinjoin.Workspace, *arguments: str):
    return CliRunner().invoke(cli, ["evaluate", str(workspace.path), *arguments])


def test_one_json_object(topical, table):
    found = asked(topical, "--json", "--scorer", "COUNT", "--scorer", "rp3beta", "--most", "50")
    assert found.exit_code == 0
    content = json.loads(found.stdout, parse_constant=lambda name: pytest.fail(name))
    assert content["queries"] == 50
    assert {one["name"] for one in content["results"]} == {"count", "RP3β"}
    assert set(content["results"][0]["means"]) == set(METRICS)
    assert set(content) == set(table.to_dict())
    assert "evaluating count" in found.stderr


def test_tables_for_people(topical):
    found = asked(topical, "--scorer", "walk", "--scorer", "count", "--scorer", "visual")
    assert found.exit_code == 0
    for word in (
        "ndcg@100",
        "× count",
        "walk",
        "sort 0",
        "visual: not run, the workspace was built",
    ):
        assert word in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scorer", "nope"], "There is no 'nope'. There are: pinjoin; "),
        (["--after", "yesterday"], "'yesterday' is no date. Write 2024-06-01"),
        (["--seed", "-1"], "-1 is not in the range"),
    ],
)
def test_wrong_usage(topical, arguments, message):
    found = asked(topical, *arguments)
    assert found.exit_code == 2
    assert message in " ".join(found.stderr.replace("│", " ").split())


def test_the_ranker_of_the_page_runs(topical, capsys):
    page = (Path(__file__).parents[1] / "docs/evaluation.md").read_text("utf-8")
    code = page.split("```python\n")[-1].split("```")[0]
    exec(code.replace('"shop"', repr(str(topical.path))), {})
    assert "'overlap': Estimate(value=0." in capsys.readouterr().out


def test_every_option_is_documented_by_the_command_and_the_page_names_it():
    page = (Path(__file__).parents[1] / "docs/evaluation.md").read_text("utf-8")
    shown = CliRunner().invoke(cli, ["evaluate", "--help"]).stdout
    for option in ("--scorer", "--seed", "--after", "--category", "--json"):
        assert option in shown
        assert option in page
