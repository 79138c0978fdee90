"""From a log of what people did to a ranked, explained list: what is learned, and what is refused.

The logs are of simulated people in front of the shipped catalogue (its words, without pictures),
so that what training should find is known.
"""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from click.testing import CliRunner, Result

import pinjoin
from pinjoin.cli import cli
from pinjoin.cli.build import build as build_command
from pinjoin.cli.events import events as events_command
from pinjoin.cli.models import models as models_command
from pinjoin.cli.related import related as related_command
from pinjoin.cli.train import train as train_command
from pinjoin.core.errors import ConfigError, InputError, PinjoinError
from pinjoin.data.event_log import EventLog, join_events, number_events
from pinjoin.data.events import EVENTS, LOGGED
from pinjoin.experiments.simulated_log import Crowd, Simulation
from pinjoin.features.pair_schema import CONTEXT
from pinjoin.features.pairs import PAPER_GROUPS, PairConfig
from pinjoin.ranking.model import LinearModel
from pinjoin.ranking.store import save_model
from pinjoin.ranking.triplets import TripletConfig
from pinjoin.recommender import Wishes, Workspace, open_workspace
from pinjoin.training.from_logs import Learned, train_from_logs
from pinjoin.training.log_config import LogTraining
from pinjoin.training.log_triplets import IN_CONTEXT, LEARNED, draw, of_requests
from pinjoin.training.logged import in_rows
from pinjoin.training.people import People

LIKES = {
    "text.annotation_similarity": 1.0,
    "category.similarity": -0.6,
    "quality.log_boards": 0.5,
    "factors.similarity": 0.8,
}
"""What people like; the old ranker believes in shared boards."""

STRONG = {"bias": 2.0, "chance": 0.1, "requests": 10_000, "queries": 120}
"""What is shown far down is hardly seen, and nearly always far down."""

CLICKS = {"click": 1.0}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped pins, each for a locale, in a workspace that nothing is trained in."""
    folder = tmp_path_factory.mktemp("logs")
    shipped = Path(str(files("pinjoin.data"))) / "demo"
    with (shipped / "pins.csv").open(newline="", encoding="utf-8") as file:
        pins = list(csv.DictReader(file))
    with (folder / "pins.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*pins[0], "locale"])
        writer.writeheader()
        writer.writerows(
            pin | {"locale": "de" if len(pin["image"]) % 2 else "rock 'n' roll"} for pin in pins
        )
    pinjoin.build(
        folder / "ws",
        pinjoin.open_source("pins", str(folder / "pins.csv"), attributes=["locale"]),
        pinjoin.open_source("boards", str(shipped / "boards.csv")),
        encoder=None,
        train=False,
    )
    return folder / "ws"


@pytest.fixture(scope="module")
def workspace(catalogue: Path) -> Workspace:
    return open_workspace(catalogue, model="count")


@pytest.fixture(scope="module")
def biased(workspace: Workspace) -> tuple[Simulation, EventLog]:
    return simulated(workspace, Crowd(LIKES, **STRONG))


def simulated(workspace: Workspace, crowd: Crowd) -> tuple[Simulation, EventLog]:
    simulation = Simulation(workspace, crowd)
    return simulation, log_of(simulation.log())


def log_of(events: pa.Table) -> EventLog:
    return join_events(number_events(events.to_batches()))


def only(workspace: Workspace, *names: str) -> PairConfig:
    """These features."""
    known = workspace.pair_features(PairConfig()).schema
    return PairConfig(without=[name for name in known if name not in names])


def kept(workspace: Workspace, learned: Learned) -> Workspace:
    """The workspace ranking with what was learned."""
    learned.save(workspace, use=False)
    return open_workspace(workspace.path, model=learned.model.about.name)


# What is found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_likes_are_found_and_clicks_at_face_value_mislead(
    workspace: Workspace, seed: int
) -> None:
    simulation, log = simulated(workspace, Crowd(LIKES, **STRONG, seed=seed))
    config = LogTraining(triplets=TripletConfig(pairs=5, doubt=1.0, random_negatives=0))
    found, naive = (
        train_from_logs(workspace, log, replace(config, face_value=value), only(workspace, *LIKES))
        for value in (False, True)
    )
    assert isinstance(found.model, LinearModel)
    assert simulation.cosine(found.model) >= 0.95
    assert simulation.cosine(naive.model) < simulation.cosine(found.model) - 0.05
    assert simulation.order_found(naive.model) < simulation.order_found(found.model) - 0.03


def test_with_all_features_and_the_usual_settings_the_order_is_found(
    workspace: Workspace, biased: tuple[Simulation, EventLog]
) -> None:
    simulation, log = biased
    model = train_from_logs(workspace, log, pairs=PairConfig()).model
    metrics = model.about.metrics
    assert simulation.order_found(model) > 0.8
    assert metrics["queries"] == 120
    assert metrics["engaged_in_order"] > metrics["engaged_in_order_by_count"] + 0.1
    assert 0.5 < metrics["engaged_in_order_by_raw_clicks"] <= 1


def test_clicks_of_no_reason_teach_nothing_and_the_metrics_say_so(workspace: Workspace) -> None:
    """What is judged was not learned from: sixty features would fit a third of it by heart."""
    crowd = Crowd({"factors.similarity": 0.0}, requests=5_000, queries=100, chance=10.0)
    _, log = simulated(workspace, crowd)
    config = LogTraining(C=1.0, triplets=TripletConfig(pairs=5, doubt=1.0, random_negatives=0))
    metrics = train_from_logs(workspace, log, config, PairConfig()).model.about.metrics
    assert metrics["engaged"] == 500
    assert abs(metrics["engaged_in_order"] - 0.5) < 0.07


def test_a_log_always_teaches_the_same(
    workspace: Workspace, biased: tuple[Simulation, EventLog]
) -> None:
    _, log = biased
    one, other = (train_from_logs(workspace, log, pairs=only(workspace, *LIKES)) for _ in range(2))
    np.testing.assert_array_equal(one.model.weights, other.model.weights)
    assert one.model.about.data_hash == other.model.about.data_hash
    seeded = train_from_logs(workspace, log, LogTraining(seed=1), only(workspace, *LIKES))
    assert seeded.model.about.data_hash != one.model.about.data_hash


def test_a_control_differs_by_its_features_alone(
    workspace: Workspace, biased: tuple[Simulation, EventLog]
) -> None:
    _, log = biased
    control = PairConfig(["text", "quality"])
    learned = train_from_logs(workspace, log, pairs=PairConfig(), control=control, name="treat")
    alone = train_from_logs(workspace, log, pairs=control, name="treat-control")
    assert learned.control is not None
    about = learned.control.about
    assert about.name == "treat-control"
    assert about.data_hash == learned.model.about.data_hash
    assert {name.split(".")[0] for name in learned.control.features} == {"text", "quality"}
    different = {k for k, v in about.config.items() if v != learned.model.about.config.get(k)}
    assert different <= {"features", "C", "navboost"}
    np.testing.assert_array_equal(learned.control.weights, alone.model.weights)


def test_trees_learn_the_same_way(
    workspace: Workspace, biased: tuple[Simulation, EventLog]
) -> None:
    pytest.importorskip("lightgbm", reason="the extra gbdt is not installed")
    simulation, log = biased
    learned = train_from_logs(
        workspace, log, LogTraining(model="lambdamart"), PairConfig(), name="trees"
    )
    assert learned.model.kind == "lambdamart"
    assert simulation.order_found(learned.model) > 0.75
    ranking = kept(workspace, learned)
    for one in ranked(ranking, ranking.signatures()[5].as_py()):
        parts = one.reasons["contributions"].values()
        assert sum(parts) == pytest.approx(one.score, abs=1e-4)


def ranked(workspace: Workspace, query: str, n: int = 20, **wishes: Any) -> Sequence[Any]:
    """The results that the model ranked, best first."""
    found = workspace.related(query, n, **wishes)
    some = [one for one in found if "contributions" in one.reasons]
    assert len(some) > 5
    return some


def test_what_each_feature_adds_sums_to_the_score(
    workspace: Workspace, biased: tuple[Simulation, EventLog]
) -> None:
    _, log = biased
    ranking = kept(workspace, train_from_logs(workspace, log, name="sums"))
    for query in ranking.signatures()[:60:20].to_pylist():
        found = ranked(ranking, query, recent=[ranking.signatures()[7].as_py()], phrase="jeans")
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True)
        for one in found:
            total = sum(one.reasons["contributions"].values())
            assert total == pytest.approx(one.score, abs=1e-3)


# What people did for the very query


@pytest.fixture(scope="module")
def peculiar(workspace: Workspace) -> tuple[Workspace, Learned]:
    """People like what no feature of the model tells."""
    _, log = simulated(workspace, Crowd({"factors.similarity": 2.0}, requests=8_000, queries=100))
    pairs = only(workspace, "quality.log_boards", "quality.title_length", "navboost.log_ratio")
    learned = train_from_logs(workspace, log, pairs=pairs, name="peculiar")
    return kept(workspace, learned), learned


def test_what_was_done_before_is_counted_as_much_as_it_helps(
    peculiar: tuple[Workspace, Learned],
) -> None:
    ranking, learned = peculiar
    metrics, model = learned.model.about.metrics, learned.model
    assert metrics["later_in_order"] > metrics["later_in_order_without_navboost"] + 0.1
    gamma = dict(zip(model.features, model.weights, strict=True))["navboost.log_ratio"]
    assert gamma > 0
    query = int(learned.navboost.table.query[0])
    found = ranking.rank(query, 30)
    places = found.ranked.places(found.rows)
    boosts = found.ranked.found.signals.navboost[places]
    shown = learned.navboost.values(query, found.rows)
    np.testing.assert_allclose(boosts, shown, rtol=1e-6)
    assert boosts.any()
    why = ranking.reasons(found)
    for boost, reason in zip(boosts.tolist(), why, strict=True):
        assert reason["contributions"]["navboost.log_ratio"] == pytest.approx(gamma * boost)


def test_a_live_click_counts_at_once(peculiar: tuple[Workspace, Learned]) -> None:
    ranking, learned = peculiar
    ranking = open_workspace(ranking.path, model="peculiar")
    query = int(learned.navboost.table.query[0])
    before = ranking.rank(query, 30)
    last = int(before.rows[-1])
    boost = ranking.ranker.navboost
    for _ in range(40):
        boost.add(query, last, boost.cell("10", "phone"))
        boost.add(query, last, boost.cell("10", "phone"), "click")
    after = ranking.rank(query, 30)
    assert after.rows.tolist().index(last) < 3
    nobody = next(row for row in range(ranking.n_images) if not boost.knows(row))
    assert ranking.rank(nobody, 5).ranked.found.signals.navboost is None


def test_live_clicks_count_for_the_arms_of_an_experiment(
    peculiar: tuple[Workspace, Learned], tmp_path: Path
) -> None:
    pytest.importorskip("sqlalchemy", reason="the extra serve is not installed")
    from pinjoin.live.changes import Event
    from pinjoin.live.store import open_store
    from pinjoin.live.submissions import Submission
    from pinjoin.live.workspace import open_live
    from pinjoin.serving.switching import Opened

    ranking, learned = peculiar
    query = int(learned.navboost.table.query[0])
    last = int(open_workspace(ranking.path, model="peculiar").rank(query, 30).rows[-1])
    names = ranking.signatures().take([query, last]).to_pylist()
    events = [
        Event(f"live-{n}", *names, action, position="10", device="phone")
        for n in range(40)
        for action in ("impression", "click")
    ]
    with open_store(tmp_path / "live.db") as store:
        opened = Opened(open_live(ranking.path, store, model="count"), store, {"peculiar"})

        def place() -> int:
            rows = opened.now.known.rank(query, 30, Wishes(model="peculiar")).rows
            return rows.tolist().index(last)

        try:
            assert place() == 29
            store.submit(Submission("clicks", tuple(events))).result()
            until = time.monotonic() + 10
            while place() >= 3 and time.monotonic() < until:
                time.sleep(0.05)
            assert place() < 3
        finally:
            opened.close()


def test_a_model_without_its_navboost_says_what_to_do(
    peculiar: tuple[Workspace, Learned],
) -> None:
    ranking, learned = peculiar
    model = learned.model
    config = {**model.about.config, "navboost": "gone"}
    lost = replace(model, about=replace(model.about, name="lost", config=config))
    save_model(ranking.path, lost, use=False)
    with pytest.raises(InputError, match=r"navboost/gone.*pinjoin train"):
        open_workspace(ranking.path, model="lost").related(ranking.signatures()[0].as_py())


def test_a_log_too_short_to_tune_on_is_not_counted(workspace: Workspace) -> None:
    _, log = simulated(workspace, Crowd(LIKES, requests=600, queries=40))
    config = LogTraining(
        triplets=TripletConfig(min_query_impressions=50, min_impressions=5, random_negatives=0)
    )
    learned = train_from_logs(
        workspace, log, replace(config, earlier=0.99), only(workspace, *LIKES, "navboost.log_ratio")
    )
    assert learned.navboost is None
    assert "navboost" not in learned.model.about.config
    assert "later" not in learned.model.about.metrics


# What is known of the person


def test_recent_images_are_what_the_person_looked_at_before(workspace: Workspace) -> None:
    names = workspace.signatures()[:12].to_pylist()

    def event(request: int, user: str | None, query: int, shown: int, *actions: str) -> list[Any]:
        plain = {"time": 1_700_000_000 + request, "request_id": f"r{request}", "user_id": user,
                 "query": names[query], "candidate": names[shown], "position": "1",
                 "device": "phone"}  # fmt: skip
        return [plain | {"action": action} for action in ("impression", *actions)]

    rows = [
        *event(0, "ann", 0, 1, "click"),
        *event(1, "bob", 5, 6, "click"),
        *event(2, "ann", 2, 3),
        *event(2, "ann", 2, 4, "hide"),
        *event(3, "ann", 0, 7, "save"),
        *event(4, None, 8, 9, "click"),
        *event(5, "ann", 3, 9),
        *event(6, "ann", 0, 9),
    ]
    rows.reverse()  # the order of the log does not matter where there are times
    log = log_of(pa.Table.from_pylist(rows, schema=EVENTS))
    logged = in_rows(workspace, log, {"click": 1.0, "save": 1.0})
    people = People(workspace, logged.log, logged.worth)

    def recent(request: int) -> list[int]:
        asked = str(log.time[log.time == 1_700_000_000 + request][0])
        at = np.flatnonzero(logged.log.time == int(asked))
        assert {tuple(people.recent(int(i))) for i in at} == {tuple(people.recent(int(at[0])))}
        return people.recent(int(at[0]))

    assert recent(0) == recent(1) == recent(4) == []
    assert recent(2) == [1, 0]
    assert recent(3) == [2, 1]  # its query, 0, is not recent; what was hidden is not either
    assert recent(5) == [7, 0, 2, 1]
    assert recent(6) == [3, 7, 2, 1]
    known = dict(zip(logged.log.time.tolist(), people.known.tolist(), strict=True))
    assert [known[1_700_000_000 + r] for r in range(7)] == [False, False, True, True, False,
                                                            True, True]  # fmt: skip
    assert set(CONTEXT) - set(people.unknown_features) == {
        name for name in CONTEXT if "recent" in name
    }


def test_what_fits_the_person_is_learned_and_moves_what_is_shown(workspace: Workspace) -> None:
    likes = {"text.annotation_similarity": 0.5, "context.phrase_similarity": 6.0,
             "context.locale": 2.0, "context.recent_topic_similarity": 2.0}  # fmt: skip
    crowd = Crowd(likes, requests=4_000, queries=40, bias=1.2, users=60)
    _, log = simulated(workspace, crowd)
    learned = train_from_logs(workspace, log, name="personal")
    model, metrics = learned.model, learned.model.about.metrics
    weights = dict(zip(model.features, model.weights, strict=True))
    for name in likes:
        assert weights[name] > 0, name
    assert metrics["in_context_in_order"] > metrics["in_context_in_order_by_count"] + 0.05
    ranking = kept(workspace, learned)
    query = ranking.signatures()[int(learned.logged.log.query[0])].as_py()
    plain = ranked(ranking, query, 30)
    assert not any(one.reasons["contributions"][name] for one in plain for name in CONTEXT
                   if name in weights)  # fmt: skip
    local = ranked(ranking, query, 30, locale="rock 'n' roll")
    fits = {one.signature: one.reasons["contributions"]["context.locale"] > 0 for one in local}
    here = ranking._filters.mask("locale = 'rock ''n'' roll'")
    assert fits == {name: bool(here[ranking.find(name)]) for name in fits}
    assert np.mean(list(fits.values())[:10]) > np.mean([here[ranking.find(one.signature)]
                                                        for one in plain[:10]])  # fmt: skip
    said = ranked(ranking, query, 30, phrase="dress")
    assert np.mean(["dress" in (one.title or "") for one in said[:10]]) >= np.mean(
        ["dress" in (one.title or "") for one in plain[:10]]
    )
    assert [one.signature for one in said] != [one.signature for one in plain]
    recent = ranked(ranking, query, 30, recent=[said[-1].signature])
    assert [one.signature for one in recent] != [one.signature for one in plain]


def test_places_are_accounted_for_in_requests_too(workspace: Workspace) -> None:
    """Of clicks as many at the top as at the bottom, those at the bottom are drawn more often, as
    often as what is shown there is seldom clicked."""
    rng = np.random.default_rng(0)
    names = workspace.signatures()[:400].to_pylist()
    rows = []
    for request in range(4_000):
        query = request % 40
        for position, rate in ((1, 0.4), (2, 0.1)):
            plain = {"request_id": f"r{request}", "user_id": f"u{request % 50}",
                     "query": names[query], "candidate": names[100 + position + query],
                     "position": str(position), "device": "phone",
                     "time": 1_700_000_000 + request}  # fmt: skip
            clicked = ["click"] if rng.random() < rate else []
            rows += [plain | {"action": action} for action in ("impression", *clicked)]
    logged = in_rows(workspace, log_of(pa.Table.from_pylist(rows, schema=EVENTS)), CLICKS)
    known = People(workspace, logged.log, logged.worth).known
    triplets, impressions = of_requests(logged, known, np.random.default_rng(1), 2_000)
    positions = np.array([logged.log.cells.name(cell, "position") for cell in
                          logged.log.cell[impressions]])  # fmt: skip
    # 0.4 × 0.9 / 0.4 of the requests have a click at the top alone, 0.1 × 0.6 / 0.1 at the bottom.
    assert np.mean(positions == "2") == pytest.approx(0.6 / (0.6 + 0.9), abs=0.04)
    assert (triplets.kind == IN_CONTEXT).all()
    assert (triplets.better == logged.log.candidate[impressions]).all()
    assert (triplets.worse != triplets.better).all()


# What is read


def test_ids_of_every_kind_are_found_and_unknown_ones_are_counted(
    workspace: Workspace, biased: tuple[Simulation, EventLog]
) -> None:
    _, log = biased
    events = Simulation(workspace, Crowd(LIKES, **STRONG)).log()
    ids = events["candidate"].to_pylist()
    by_pin = {name: workspace.pinjoin(workspace.find(name)).pin_id for name in set(ids)}
    lost = sorted(by_pin)[:3]
    renamed = [f"old-{one}" if one in lost else by_pin[one] for one in ids]
    again = in_rows(workspace, log_of(events.set_column(4, "candidate", [renamed])), CLICKS)
    whole = in_rows(workspace, log, CLICKS)
    gone = np.isin(whole.log.candidate, [workspace.find(one) for one in lost])
    assert again.left_out == int(gone.sum()) > 0
    assert again.n_unknown == 3
    assert set(again.unknown) == {f"old-{one}" for one in lost}
    np.testing.assert_array_equal(again.log.candidate, whole.log.candidate[~gone])
    # What was shown in a place tells of the place, whatever it was.
    np.testing.assert_array_equal(again.rates.rates, whole.rates.rates)


def test_an_image_is_no_candidate_of_itself(workspace: Workspace) -> None:
    known = workspace.pinjoin(0)
    rows = [
        {"request_id": "r", "query": known.signature, "candidate": candidate, "position": "1",
         "device": "phone", "action": action}
        for candidate in (known.pin_id, workspace.signatures()[3].as_py())
        for action in ("impression", "click")
    ]  # fmt: skip
    logged = in_rows(workspace, log_of(pa.Table.from_pylist(rows, schema=EVENTS)), CLICKS)
    assert (logged.log.candidate.tolist(), logged.left_out) == ([3], 1)


def shown(n: int, clicks: int, **change: Any) -> pa.Table:
    plain = {"query": "q", "candidate": "c", "position": "1", "device": "phone"} | change
    rows = [plain | {"request_id": f"r{i}", "action": "impression"} for i in range(n)]
    rows += [plain | {"request_id": f"r{i}", "action": "click"} for i in range(clicks)]
    return pa.Table.from_pylist(rows, schema=LOGGED)


def test_a_log_of_another_catalogue_is_refused(workspace: Workspace) -> None:
    with pytest.raises(
        InputError, match="None of the 50 impressions.*2 of 2 ids.*'c'.*--map query"
    ):
        train_from_logs(workspace, log_of(shown(50, 5)))


def test_a_log_without_clicks_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="50 impressions and not one action that counts"):
        train_from_logs(workspace, log_of(shown(50, 0)))


def test_too_few_queries_are_counted_and_how_many_it_takes(workspace: Workspace) -> None:
    _, log = simulated(workspace, Crowd(LIKES, requests=600, queries=12))
    with pytest.raises(InputError, match=r"Only 12 queries.*30 are the least.*100 impressions"):
        train_from_logs(workspace, log)
    one, other = workspace.signatures()[:2].to_pylist()
    with pytest.raises(InputError, match=r"No query has 100 impressions.*the most one has is 20"):
        train_from_logs(workspace, log_of(shown(20, 5, query=one, candidate=other)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"model": "forest"}, "ranksvm or lambdamart"),
        ({"C": 0}, "C parameter of LogTraining"),
        ({"queries": 3}, "queries parameter"),
        ({"requests": -1}, "requests parameter"),
        ({"earlier": 1.0}, "earlier parameter"),
        ({"folds": 1}, "folds parameter"),
        ({"alpha": 0}, "alpha parameter of NavboostConfig"),
        ({"actions": {"tap": 1}}, "actions parameter"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LogTraining(**setting)


def test_a_log_of_many_queries_is_sampled(
    workspace: Workspace, biased: tuple[Simulation, EventLog]
) -> None:
    _, log = biased
    config = LogTraining(queries=50)
    logged = in_rows(workspace, log, config.actions)
    triplets = draw(logged, None, workspace.n_images, config)
    learned = triplets.where(triplets.use == LEARNED)
    assert len(np.unique(learned.triplets.query)) == 50
    for query in np.unique(triplets.triplets.query):
        assert len(np.unique(triplets.fold[triplets.triplets.query == query])) == 1


def test_a_simulation_is_seeded_and_of_what_there_is(workspace: Workspace) -> None:
    crowd = Crowd(LIKES, requests=50, queries=20)
    assert Simulation(workspace, crowd).log().equals(Simulation(workspace, crowd).log())
    assert (
        not Simulation(workspace, replace(crowd, seed=1))
        .log()
        .equals(Simulation(workspace, crowd).log())
    )
    with pytest.raises(ConfigError, match="likes parameter of Crowd"):
        Simulation(workspace, Crowd({"visual.fc6_similarity": 1.0}))
    with pytest.raises(InputError, match="Ask for fewer"):
        Simulation(workspace, replace(crowd, queries=500))


# From the command line


def invoke(command: Any, *arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def parts(
    biased: tuple[Simulation, EventLog], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """The log in two files."""
    folder = tmp_path_factory.mktemp("parts")
    events = biased[0].log()
    half = events.num_rows // 2
    paths = [folder / "1.csv", folder / "2.csv"]
    for path, some in zip(paths, (events[:half], events[half:]), strict=True):
        pyarrow.csv.write_csv(some.rename_columns({"query": "seed"}), path)
    return paths


def test_the_command_trains_tells_and_the_list_is_explained(
    catalogue: Path, parts: list[Path]
) -> None:
    done = invoke(
        train_command, catalogue, "--events", *parts, "--map", "query=seed", "--name", "first",
        "--control-groups", ",".join(PAPER_GROUPS), "--without", "text.present",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "triplets of 120 queries with 100,000 impressions" in done.output
    for line in ("this model", "shared boards", "clicks as they are", "the control"):
        assert line in done.output
    assert "It ranks now." in done.output
    listed = json.loads(invoke(models_command, "list", catalogue, "--json").stdout)
    known = {one["name"]: one for one in listed}
    assert known["first"]["current"]
    assert known["first"]["data_hash"] == known["first-control"]["data_hash"]
    model = json.loads(invoke(models_command, "show", catalogue, "--json").stdout)
    names = [one["name"] for one in model["features"]]
    assert "factors.similarity" in names
    assert "text.present" not in names
    differ = invoke(models_command, "diff", catalogue, "first-control", "first")
    assert "factors.similarity" in differ.output
    query = open_workspace(catalogue).signatures()[0].as_py()
    found = json.loads(
        invoke(related_command, catalogue, query, "--json", "--phrase", "red dress").stdout
    )
    assert found["model"] == "first"
    for one in found["results"]:
        if parts_ := one["reasons"].get("contributions"):
            assert sum(parts_.values()) == pytest.approx(one["score"], abs=1e-3)
    switched = invoke(models_command, "use", catalogue, "first-control")
    assert "now first-control" in switched.output
    assert open_workspace(catalogue).model == "first-control"


def test_a_build_learns_from_a_log_too(catalogue: Path, parts: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    pyarrow.csv.write_csv(pyarrow.csv.read_csv(parts[0]).rename_columns({"seed": "query"}), log)
    shipped = Path(str(files("pinjoin.data"))) / "demo"
    given = ("--pins", catalogue.parent / "pins.csv", "--boards", shipped / "boards.csv")
    missing = invoke(build_command, tmp_path / "ws", *given, "--events", tmp_path / "none.csv")
    assert isinstance(missing.exception, PinjoinError)
    assert not (tmp_path / "ws").exists()
    done = invoke(
        build_command, tmp_path / "ws", *given, "--encoder", "none", "--events", log, "--json"
    )
    assert done.exit_code == 0, done.output
    opened = open_workspace(tmp_path / "ws")
    assert opened.model == json.loads(done.stdout)["model"]
    assert opened.ranker is not None
    assert opened.ranker.model.about.trained_on == "logs"


def test_the_command_answers_in_json_and_leaves_the_ranking_alone(
    catalogue: Path, parts: list[Path]
) -> None:
    before = open_workspace(catalogue).model
    done = invoke(
        train_command, catalogue, "--events", parts[0], parts[1], "--map", "query=seed",
        "--no-use", "--json", "--name", "second", "--groups", "text,quality", "--C", 0.1,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["in_use"] is False
    assert [one["name"] for one in answer["models"]] == ["second"]
    assert answer["models"][0]["metrics"]["queries"] == 120
    assert open_workspace(catalogue).model == before
    model = json.loads((catalogue / "models" / "second.json").read_text())
    assert model["config"]["C"] == 0.1
    again = invoke(
        train_command, catalogue, "--events", parts[0], "--map", "query=seed", "--name", "second"
    )
    assert isinstance(again.exception, ConfigError)
    assert "already" in str(again.exception)


def test_the_command_reads_the_live_events(
    catalogue: Path, parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sqlalchemy", reason="the extra serve is not installed")
    from pinjoin.live.changes import Event
    from pinjoin.live.store import open_store
    from pinjoin.live.submissions import Submission

    missing = invoke(train_command, catalogue, "--live")
    assert isinstance(missing.exception, PinjoinError)
    assert "There is no live database" in str(missing.exception)
    rows = pyarrow.csv.read_csv(parts[0])
    names = {"seed": "query"}
    fields = ("request_id", "user_id", "query", "candidate", "position", "device", "action")
    table = rows.rename_columns([names.get(n, n) for n in rows.column_names]).select(fields)
    events = [Event(**{k: str(v) for k, v in row.items()}) for row in table.to_pylist()[:30_000]]
    with open_store(tmp_path / "elsewhere.db") as store:
        waits = [
            store.submit(Submission(f"test:{first}", tuple(events[first : first + 1000])))
            for first in range(0, len(events), 1000)
        ]
        for wait in waits:
            wait.result()
    monkeypatch.setenv("PINJOIN_DATABASE", str(tmp_path / "elsewhere.db"))
    done = invoke(train_command, catalogue, "--live", "--name", "live", "--no-use",
                  "--min-query-impressions", 60, "--min-impressions", 6)  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"{sum(e.action == 'impression' for e in events):,} impressions" in done.output
    log = tmp_path / "log.parquet"
    said = invoke(events_command, "export", catalogue, log)
    assert said.output == f"30,000 events are in {log}.\n", said.exception
    report = json.loads(invoke(events_command, "check", log, "--json").stdout)
    assert report["events"] == 30_000
    lost = invoke(events_command, "export", catalogue, tmp_path / "nowhere" / "log.parquet")
    assert isinstance(lost.exception, InputError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say what to learn from"),
        (["--from-boards", "--events", "x.csv"], "Say what to learn from"),
        (["x.csv"], "Got 'x.csv'; the files of a log follow --events"),
        (["--from-boards", "--control-groups", "text"], "--control-groups is for logs"),
        (["--from-boards", "--C", "1"], "--C is for logs"),
        (["--from-boards", "--model", "lambdamart"], "--model is for logs"),
    ],
)
def test_wrong_usage_is_told(catalogue: Path, arguments: list[str], message: str) -> None:
    done = invoke(train_command, catalogue, *arguments)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--groups", "txt"], ConfigError, "groups parameter of PairConfig must be some of visual"),
        (["--without", "nothing.known"], ConfigError, "names of features"),
        (["--name", "a/b"], ConfigError, "name must be up to 100 letters"),
        (["--pairs", "0"], ConfigError, "pairs parameter of TripletConfig"),
        (["--C", "-1"], ConfigError, "C parameter of LogTraining"),
    ],
)
def test_wrong_settings_are_errors_of_the_command(
    catalogue: Path, parts: list[Path], arguments: list[str], error: type, message: str
) -> None:
    done = invoke(
        train_command, catalogue, "--events", parts[0], "--map", "query=seed", *arguments
    )  # fmt: skip
    assert isinstance(done.exception, error)
    assert message in str(done.exception)


def test_a_malformed_log_costs_its_bad_rows_and_says_so(
    catalogue: Path, parts: list[Path], tmp_path: Path
) -> None:
    text = parts[0].read_text().splitlines()
    broken = [line.replace("impression", "impressed") if i % 500 == 7 else line
              for i, line in enumerate(text)]  # fmt: skip
    bad = sum("impressed" in line for line in broken)
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(broken))
    done = invoke(train_command, catalogue, "--events", path, parts[1], "--map", "query=seed",
                  "--no-use", "--name", "bad")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"rejected: {bad:,} rows: not an action" in done.output
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("request_id,query\n")
    done = invoke(train_command, catalogue, "--events", nothing)
    assert isinstance(done.exception, InputError)


# The page


def test_the_page_runs(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs/ranking.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(shop.parent)
    names: dict[str, Any] = {}
    exec(code, names)
    pyarrow.csv.write_csv(names["events"], "events.csv")
    (script, *_) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    commands = [line.split("#")[0].split() for line in script.splitlines()]
    assert [command[1] for command in commands] == ["events", "train", "related", "models"]
    for command in commands:
        done = CliRunner().invoke(cli, command[1:])
        assert done.exit_code == 0, (command, done.output, done.exception)
    elsewhere = {"--from-boards", "--encoding", "--database"}
    options = {one.opts[-1] for one in train_command.params if one.opts[-1].startswith("--")}
    assert [one for one in sorted(options - elsewhere) if f"`{one}" not in page] == []
