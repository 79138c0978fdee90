"""A new snapshot, a rollback, another model, under load: switched to, and no request failed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving_fixtures import client_of, signatures_of

from pinjoin.ranking.store import COUNT, model_names, use_model
from pinjoin.serving import switching
from pinjoin.snapshot.manifest import MANIFEST_FILE
from pinjoin.snapshot.reader import read_manifest
from pinjoin.snapshot.store import rollback
from pinjoin.snapshot.workspace import current_name, prepare_switch, snapshots_folder, switch


def until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.02)


def add_snapshot(workspace: Path) -> str:
    """A later snapshot of the same content, made the current one; its name."""
    first = str(current_name(workspace))
    name = f"20990101T000000Z{first[16:]}"
    snapshots = snapshots_folder(workspace)
    shutil.copytree(snapshots / first, snapshots / name)
    manifest = replace(read_manifest(snapshots / first), name=name)
    (snapshots / name / MANIFEST_FILE).write_text(manifest.to_json())
    prepare_switch(workspace, name)
    switch(workspace)
    return name


@contextmanager
def load(client: Any, paths: list[str]) -> Iterator[list[tuple[int, str]]]:
    """Requests one after the other from a thread of their own: status, and snapshot or text."""
    seen: list[tuple[int, str]] = []
    ends = threading.Event()

    def ask() -> None:
        while not ends.is_set():
            for path in paths:
                answer = client.get(path)
                good = answer.status_code == 200
                seen.append(
                    (answer.status_code, answer.json()["snapshot"] if good else answer.text)
                )

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        ends.set()
        thread.join()


def test_snapshots_are_switched_under_load_and_back(shop):
    with client_of(shop) as client:
        ids = signatures_of(client)
        first = current_name(shop)
        paths = [f"/v1/related/{ids[0]}?explain=true", f"/v1/pins/{ids[3]}", "/v1/search?q=jeans"]
        with load(client, paths) as seen:
            until(lambda: len(seen) > 5)
            second = add_snapshot(shop)
            until(lambda: client.get("/readyz").json()["snapshot"] == second)
            switched = len(seen)
            until(lambda: len(seen) > switched + 5)
            rollback(shop)
            until(lambda: client.get("/readyz").json()["snapshot"] == first)
            back = len(seen)
            until(lambda: len(seen) > back + 5)
        assert {status for status, _ in seen} == {200}, [one for one in seen if one[0] != 200][:3]
        order = [name for at, (_, name) in enumerate(seen) if not at or seen[at - 1][1] != name]
        assert order == [first, second, first]
        metrics = client.get("/metrics").text
        assert 'pinjoin_snapshot_switches_total{outcome="done"} 2.0' in metrics


def test_live_saves_stay_when_snapshots_switch(shop):
    with client_of(shop) as client:
        image = signatures_of(client)[0]
        saved = client.post("/v1/saves", json={"id": image, "board": {"title": "Mine"}}).json()
        second = add_snapshot(shop)
        until(lambda: client.get("/readyz").json()["snapshot"] == second)
        board = client.get(f"/v1/boards/{saved['board_id']}").json()
        assert (board["snapshot"], board["title"], board["n_images"]) == (second, "Mine", 1)


def test_a_damaged_snapshot_is_not_switched_to(shop):
    with client_of(shop) as client:
        first = current_name(shop)
        broken = "20990101T000000Z-deadbeef"
        shutil.copytree(snapshots_folder(shop) / first, snapshots_folder(shop) / broken)
        prepare_switch(shop, broken)
        switch(shop)
        until(lambda: client.get("/readyz").json()["problem"])
        state = client.get("/readyz").json()
        assert (state["ready"], state["snapshot"]) == (True, first)
        assert broken in state["problem"]
        assert client.get("/v1/search?q=jeans").json()["snapshot"] == first
        assert 'outcome="failed"} 1.0' in client.get("/metrics").text
        rollback(shop, first)
        until(lambda: client.get("/readyz").json()["problem"] is None)


def test_what_cannot_be_switched_to_is_let_go_of(shop, monkeypatch):
    [learned] = model_names(shop)
    monkeypatch.setattr(switching, "_AGAIN_S", 0.0)
    arms = {"a": COUNT, "b": learned}
    with client_of(shop, experiment="ranker", arms=arms) as client:
        (shop / "models" / f"{learned}.json").rename(shop / "away.json")
        first = current_name(shop)
        add_snapshot(shop)
        failed = 'pinjoin_snapshot_switches_total{outcome="failed"}'
        until(lambda: f"{failed} 3.0" in client.get("/metrics").text)
        names = [one.name for one in threading.enumerate()]
        assert names.count("live-overlay") <= 2, "that of what is served; one may be opening"
        path = f"/v1/related/{signatures_of(client)[0]}"
        assert client.get(path).json()["snapshot"] == first


def test_another_model_is_noticed(shop):
    with client_of(shop) as client:
        [learned] = model_names(shop)
        assert client.get("/readyz").json()["model"] == learned
        use_model(shop, COUNT)
        until(lambda: client.get("/readyz").json()["model"] == COUNT)
        path = f"/v1/related/{signatures_of(client)[0]}"
        assert client.get(path).json()["model"] == COUNT
    with client_of(shop, model=learned) as client:
        assert client.get("/readyz").json()["model"] == learned


def test_a_cursor_goes_on_in_the_next_snapshot(shop):
    with client_of(shop) as client:
        path = f"/v1/related/{signatures_of(client)[0]}"
        first = client.get(path, params={"n": 10}).json()
        second = add_snapshot(shop)
        until(lambda: client.get("/readyz").json()["snapshot"] == second)
        rest = client.get(path, params={"n": 10, "cursor": first["next_cursor"]}).json()
        assert rest["snapshot"] == second
        both = [one["signature"] for one in first["results"] + rest["results"]]
        assert len(set(both)) == 20  # of the same content: the same list
