"""Saves, takedowns, events over HTTP: durable, once, shown at once; and a failing database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving_fixtures import client_of, error_of, signatures_of

from pinjoin.live.changes import Event
from pinjoin.live.store import open_store


def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.02)


@pytest.fixture
def client(shop):
    with client_of(shop) as client:
        yield client


def save(client: Any, key: str | None = None, **pin: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/v1/saves", json=pin, headers=headers)


def test_a_save_shows_when_it_is_acknowledged(client):
    ids = signatures_of(client)
    lonely, board = ids[-1], client.get(f"/v1/pins/{ids[0]}").json()["boards"][0]
    before = client.get(f"/v1/pins/{lonely}").json()
    saved = save(client, id=lonely, board_id=board["board_id"], title="A find")
    assert saved.status_code == 201
    after = client.get(f"/v1/pins/{lonely}").json()
    assert after["n_boards"] == before["n_boards"] + 1
    assert saved.json()["pin_id"] in [pin["pin_id"] for pin in after["pins"]]
    related = client.get(f"/v1/related/{lonely}", params={"n": 100}).json()["results"]
    shared = {one["signature"]: one["shared_boards"] for one in related}
    assert shared[ids[0]] >= 1


def test_a_new_image_on_a_new_board(client):
    ids = signatures_of(client)
    saved = save(client, image="images/new.jpg", title="Zebra lamp",
                 board={"title": "Safari", "category": "Home"}).json()  # fmt: skip
    more = save(client, id=ids[4], board_id=saved["board_id"])
    assert more.status_code == 201
    board = client.get(f"/v1/boards/{saved['board_id']}").json()
    assert (board["title"], board["category"], board["n_images"]) == ("Safari", "Home", 2)
    counted = {"n": 5, "model": "count"}
    found = client.get("/v1/related/images/new.jpg", params=counted).json()
    assert found["query"]["pin_id"] == saved["pin_id"]
    assert found["results"][0]["signature"] == ids[4]
    assert client.get(f"/v1/pins/{saved['pin_id']}").json()["title"] == "Zebra lamp"
    error_of(client.get("/v1/images/images/new.jpg"), 404, "no_picture")


def test_a_retry_is_the_same_save(client):
    [image, other] = signatures_of(client)[:2]
    first = save(client, "phone:1", id=image, board={"title": "Once"}).json()
    again = save(client, "phone:1", id=image, board={"title": "Once"}).json()
    assert again == first | {"repeated": True}
    assert client.get(f"/v1/boards/{first['board_id']}").json()["n_images"] == 1
    error_of(save(client, "phone:1", id=other, board={"title": "Once"}), 409, "conflict")
    in_body = client.post(
        "/v1/saves", json={"key": "phone:1", "id": image, "board": {"title": "Once"}}
    )
    assert in_body.json()["repeated"]


def test_saves_that_cannot_be(client):
    image = signatures_of(client)[0]
    error_of(save(client, id="nobody"), 404, "unknown_id")
    error_of(save(client, id=image, board_id="nowhere"), 404, "unknown_id")
    for wrong in ({}, {"id": image, "image": "x.jpg"}, {"id": image, "color": "red"},
                  {"id": image, "board_id": "b", "board": {"title": "B"}},
                  {"image": "a\x00b"}, {"id": image, "created_at": 10**15}):  # fmt: skip
        error_of(save(client, **wrong), 422, "invalid")
    saved = save(client, id=image, pin_id="mine")
    assert saved.json()["pin_id"] == "mine"
    error_of(save(client, id=image, pin_id="mine"), 409, "conflict")


@pytest.mark.parametrize("kind", ["image", "board", "pin"])
def test_what_is_taken_down_is_gone_from_every_answer(client, kind):
    ids = signatures_of(client)
    saved = save(client, image="images/secret.jpg", title="Secret unicorn",
                 board={"title": "Hideout"}).json()  # fmt: skip
    save(client, id=ids[0], board_id=saved["board_id"])
    paths = [
        f"/v1/related/{ids[0]}?n=100&explain=true", f"/v1/boards/{saved['board_id']}",
        "/v1/related/images/secret.jpg", f"/v1/pins/{saved['pin_id']}",
        "/v1/search?q=unicorn", "/v1/search?q=images/secret.jpg", "/", "/search?q=unicorn",
        f"/pin/{ids[0]}", f"/board/{saved['board_id']}", "/pin/images%2Fsecret.jpg",
    ]  # fmt: skip

    def seen() -> list[str]:
        return [path for path in paths if "secret.jpg" in client.get(path).text]

    assert len(seen()) >= 8, seen()
    id = {"image": "images/secret.jpg", "board": saved["board_id"], "pin": saved["pin_id"]}[kind]
    gone = client.delete(f"/v1/{kind}s/{id}")
    assert (gone.status_code, gone.json()["kind"]) == (200, kind)
    left = [path for path in seen() if path not in ("/v1/related/images/secret.jpg",)]
    echoes = [path for path in left if client.get(path).status_code == 404]  # "… is not known"
    assert [path for path in left if path not in echoes] == []
    error_of(client.delete(f"/v1/{kind}s/{id}"), 404, "unknown_id")


def test_a_stored_image_is_gone_with_its_picture(client):
    ids = signatures_of(client)
    assert client.get(f"/v1/images/{ids[5]}").status_code == 200
    near = client.get(f"/v1/related/{ids[5]}", params={"n": 1}).json()["results"][0]["signature"]
    known = client.app.state.service.workspace
    [described] = known.describe([known.find(ids[5])])
    of_near, search = f"/v1/related/{near}?n=100", "/v1/search?n=100&q="
    lists = [
        of_near, f"{of_near}&model=count", f"{search}{described['title']}",
        f"{search}{described['pin_id'][:-1]}", f"{search}{described['title'][1:-1]}",
    ]  # fmt: skip
    assert [path for path in lists if ids[5] in client.get(path).text] == lists
    client.delete(f"/v1/images/{ids[5]}")
    error_of(client.get(f"/v1/images/{ids[5]}"), 404, "unknown_id")
    error_of(client.get(f"/v1/related/{ids[5]}"), 404, "unknown_id")
    assert not [path for path in lists if ids[5] in client.get(path).text]


def test_an_image_is_described_by_the_pins_it_has_left(client):
    image, other = signatures_of(client)[:2]
    pins = client.get(f"/v1/pins/{image}").json()["pins"]

    def pin_of_image() -> str:
        found = client.get(f"/v1/related/{other}", params={"n": 100}).json()["results"]
        [one] = [one for one in found if one["signature"] == image]
        return one["pin_id"]  # type: ignore[no-any-return]

    assert pin_of_image() == pins[0]["pin_id"]
    client.delete(f"/v1/pins/{pins[0]['pin_id']}")
    assert pin_of_image() == pins[1]["pin_id"]


def test_an_image_is_not_found_by_the_title_of_a_pin_that_is_gone(client):
    known = client.app.state.service.workspace
    row = next(row for row in range(known.n_images) if known.n_pins_of(row) > 1)
    [image] = known.describe([row])
    word = image["title"][1:-1]  # no word, so that only titles have it
    found = lambda: image["signature"] in client.get(f"/v1/search?n=100&q={word}").text  # noqa: E731
    assert found()
    for pin in client.get(f"/v1/pins/{image['signature']}").json()["pins"]:
        if word in (pin["title"] or "") and known.n_pins_of(row) > 1:
            client.delete(f"/v1/pins/{pin['pin_id']}")
            known = client.app.state.service.workspace
    [left] = known.describe([row])
    assert found() == (word in (left["title"] or ""))


def test_what_was_taken_down_cannot_be_saved_again(client):
    ids = signatures_of(client)
    board = save(client, id=ids[0], board={"title": "Mine"}).json()["board_id"]
    client.delete(f"/v1/images/{ids[5]}")
    again = save(client, image=ids[5], board_id=board)
    assert "image" in error_of(again, 409, "taken_down")["message"]
    pin = save(client, id=ids[1], board_id=board).json()["pin_id"]
    client.delete(f"/v1/pins/{pin}")
    again = save(client, id=ids[1], board_id=board, pin_id=pin)
    assert pin in error_of(again, 409, "taken_down")["message"]
    client.delete(f"/v1/boards/{board}")
    error_of(save(client, id=ids[1], board={"title": "Mine", "board_id": board}), 409, "taken_down")


def test_ids_of_the_tables_are_not_used_again(client):
    image, other = signatures_of(client)[:2]
    known = client.app.state.service.workspace
    [pin] = known.pins_of(known.find(image), ["pin_id"])[:1]
    again = save(client, id=other, pin_id=pin["pin_id"], board={"title": "Mine"})
    assert pin["pin_id"] in error_of(again, 409, "conflict")["message"]
    board = known.describe_boards([0])[0]["board_id"]
    again = save(client, id=other, board={"title": "Mine", "board_id": board})
    assert board in error_of(again, 409, "conflict")["message"]


def test_a_retry_is_the_same_save_whatever_happened_since(client):
    image = signatures_of(client)[0]
    board = save(client, id=image, board={"title": "Mine"}).json()["board_id"]
    first = save(client, "k", id=image, board_id=board, pin_id="mine")
    assert client.delete("/v1/pins/mine").status_code == 200
    again = save(client, "k", id=image, board_id=board, pin_id="mine")
    assert (again.status_code, again.json()) == (201, first.json() | {"repeated": True})
    error_of(save(client, "l", id=image, board_id=board, pin_id="mine"), 409, "taken_down")


def test_live_images_are_found_by_their_titles(client):
    assert client.get("/v1/search?q=borscht").json()["images"] == []
    save(client, image="images/soup.jpg", title="Grandma's Borschtsch", board={"title": "Soups"})
    until(lambda: client.get("/v1/pins/images/soup.jpg").status_code == 200)  # was looked at
    found = client.get("/v1/search?q=borscht").json()["images"]
    assert [one["signature"] for one in found] == ["images/soup.jpg"]
    client.delete("/v1/images/images/soup.jpg")
    assert client.get("/v1/search?q=borscht").json()["images"] == []


def test_only_a_pin_is_taken_down_as_one(client):
    error_of(client.delete(f"/v1/pins/{signatures_of(client)[0]}"), 404, "unknown_id")


def test_events_are_stored_with_their_arm(client, shop):
    shown = {"request_id": "r1", "query": "p1", "candidate": "p2", "device": "mobile"}
    batch = [
        shown | {"action": "impression", "position": 3, "arm": "treatment"},
        shown | {"action": "click"},
        shown | {"action": "stare"},
        shown | {"action": "click", "colour": "red"},
        shown | {"action": "impression"},
        "click",
        shown | {"action": "click", "position": [1, 2]},
        shown | {"action": "click", "time": int(time.time()) + 1_000_000},
    ]
    headers = {"Idempotency-Key": "e1"}
    answer = client.post("/v1/events", json={"events": batch}, headers=headers).json()
    assert (answer["stored"], answer["repeated"]) == (2, False)
    problems = {one["place"]: one["message"] for one in answer["rejected"]}
    assert "action must be one of" in problems[2]
    assert "'colour' is none of" in problems[3]
    assert "position is missing" in problems[4]
    assert "must be an object" in problems[5]
    assert "position must be a whole number" in problems[6]
    assert "time must not be in the future" in problems[7]
    again = client.post("/v1/events", json={"events": batch}, headers=headers).json()
    assert (again["stored"], again["repeated"]) == (2, True)
    with open_store(shop / "live.db") as store:
        [entry] = store.tail(0, kinds=[Event]).entries
    assert [(one.action, one.position, one.arm) for one in entry.changes] == [
        ("impression", "3", "treatment"), ("click", None, None),
    ]  # fmt: skip


def test_the_same_key_of_two_clients_is_two_keys(shop):
    keys = ("app:app-secret-0123456789", "web:web-secret-0123456789")
    with client_of(shop, write_keys=keys) as client:

        def post(secret: str) -> dict[str, Any]:
            event = {"request_id": "r", "query": "p1", "candidate": "p2", "action": "click"}
            headers = {"X-API-Key": secret, "Idempotency-Key": "1"}
            answer = client.post("/v1/events", json={"events": [event]}, headers=headers)
            return answer.json()  # type: ignore[no-any-return]

        assert [post(key.partition(":")[2])["repeated"] for key in (*keys, keys[0])] == [
            False, False, True,
        ]  # fmt: skip


def test_reads_go_on_without_the_database_and_writes_come_back(shop, tmp_path):
    home = tmp_path / "database"
    home.mkdir()
    with client_of(shop, database=str(home / "live.db")) as client:
        image = signatures_of(client)[0]
        home.rename(tmp_path / "away")
        error = error_of(save(client, "k", id=image), 503, "store_unavailable")
        assert str(tmp_path) not in error["message"]
        until(lambda: client.get("/readyz").json()["database"] == "down")
        state = client.get("/readyz")
        assert (state.status_code, state.json()["writes"]) == (200, False)
        assert client.get(f"/v1/related/{image}").status_code == 200
        assert "pinjoin_database_up 0.0" in client.get("/metrics").text
        (tmp_path / "away").rename(home)
        until(lambda: client.get("/readyz").json()["database"] == "up")
        assert save(client, "k", id=image).status_code == 201


def test_another_process_sees_saves_within_a_second(shop):
    with client_of(shop) as one, client_of(shop) as other:
        image = signatures_of(one)[0]
        saved = save(one, id=image, board={"title": "Shared"}).json()
        begun = time.monotonic()
        until(lambda: other.get(f"/v1/boards/{saved['board_id']}").status_code == 200)
        assert time.monotonic() - begun < 1.0
        one.delete(f"/v1/boards/{saved['board_id']}")
        begun = time.monotonic()
        until(lambda: other.get(f"/v1/boards/{saved['board_id']}").status_code == 404)
        assert time.monotonic() - begun < 1.0


def test_what_another_process_made_just_now_can_be_saved_to(shop):
    with client_of(shop) as one, client_of(shop) as other:
        image = signatures_of(one)[0]
        for i in range(3):
            board = save(one, image=f"images/{i}.jpg", board={"title": "T"}).json()["board_id"]
            assert save(other, id=image, board_id=board).status_code == 201
            pin = save(one, image=f"images/{i}.jpg").json()["pin_id"]
            assert other.delete(f"/v1/pins/{pin}").status_code == 200


def test_saves_that_wait_keep_no_one_from_reading(shop, monkeypatch):
    with client_of(shop, threads=1) as client:
        image = signatures_of(client)[0]
        live = client.app.state.service._switch.opened.live
        shows, real = threading.Event(), live.apply_now

        def slow(sequence: int) -> None:
            assert shows.wait(30)
            real(sequence)

        monkeypatch.setattr(live, "apply_now", slow)
        monkeypatch.setattr(type(live), "sequence", property(lambda _: 0))
        with ThreadPoolExecutor(1) as pool:
            saving = pool.submit(save, client, id=image)
            until(lambda: client.get(f"/v1/related/{image}").status_code == 200)
            assert not saving.done()
            monkeypatch.undo()
            shows.set()
            assert saving.result().status_code == 201


def test_a_read_only_server_shows_what_others_take_down(shop):
    with client_of(shop, read_only=True) as reader:
        image = signatures_of(reader)[0]
        assert reader.get("/readyz").json()["database"] == "none"
    with client_of(shop) as client, client_of(shop, read_only=True) as reader:
        state = reader.get("/readyz").json()
        assert (state["database"], state["writes"]) == ("up", False)
        client.delete(f"/v1/images/{image}")
        until(lambda: reader.get(f"/v1/pins/{image}").status_code == 404)


def test_a_read_only_server_takes_nothing(demo):
    with client_of(demo, read_only=True) as client:
        image = signatures_of(client)[0]
        error_of(save(client, id=image), 403, "read_only")
        error_of(client.delete(f"/v1/images/{image}"), 403, "read_only")
    assert not (Path(demo) / "live.db").exists()
