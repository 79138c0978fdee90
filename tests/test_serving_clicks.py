"""Clicks that a server takes count in what it shows next."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from serving_fixtures import client_of, signatures_of

from pinjoin.data.event_log import join_events, number_events
from pinjoin.experiments.simulated_log import Crowd, Simulation
from pinjoin.features.pairs import PairConfig
from pinjoin.recommender import open_workspace
from pinjoin.training.from_logs import train_from_logs


@pytest.fixture
def clicked(shop: Path) -> Path:
    """The shop, ranking by what people did."""
    workspace = open_workspace(shop, model="count")
    crowd = Crowd({"factors.similarity": 2.0}, requests=6_000, queries=60)
    log = join_events(number_events(Simulation(workspace, crowd).log().to_batches()))
    known = ("quality.log_boards", "navboost.log_ratio")
    schema = workspace.pair_features().schema
    pairs = PairConfig(without=[name for name in schema if name not in known])
    learned = train_from_logs(workspace, log, pairs=pairs, name="clicked")
    assert learned.navboost is not None
    learned.save(workspace)
    return shop


def test_what_is_clicked_rises_while_others_look(clicked: Path) -> None:
    with client_of(clicked) as client:
        query = signatures_of(client)[3]

        def order() -> list[str]:
            answer = client.get(f"/v1/related/{query}", params={"n": 40}).json()
            assert answer["model"] == "clicked"
            return [one["signature"] for one in answer["results"]]

        last = order()[-1]
        events = []
        for request in range(60):
            shown = {"request_id": f"live-{request}", "query": query, "candidate": last,
                     "position": 9, "device": "phone"}  # fmt: skip
            events += [shown | {"action": "impression"}, shown | {"action": "click"}]
        stored = client.post("/v1/events", json={"events": events}).json()
        assert stored["stored"] == len(events)
        end = time.monotonic() + 10
        while last not in order()[:3]:
            assert time.monotonic() < end, order().index(last)
            time.sleep(0.05)
