"""The API's answers: as the command line's, in pages, for one image, several, a picture, words."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from serving_fixtures import client_of, error_of, signatures_of

import pinjoin
from pinjoin.cli.related import related as related_command
from pinjoin.experiments.assignment import assign
from pinjoin.ideas import ideas


@pytest.fixture(scope="module")
def client(demo):
    with client_of(demo, read_only=True) as client:
        yield client


@pytest.fixture(scope="module")
def ids(client):
    return signatures_of(client)


def test_answers_have_the_shape_of_the_command_line(client, ids, demo):
    asked = client.get(f"/v1/related/{ids[0]}", params={"n": 7, "explain": "true"})
    told = CliRunner().invoke(related_command, [str(demo), ids[0], "-n", "7", "--json"])
    theirs, ours = json.loads(told.output), asked.json()
    for one, other in zip(theirs["results"], ours["results"], strict=True):
        assert np.float32(one.pop("score")) == np.float32(other.pop("score"))
    assert {name: ours[name] for name in theirs} == theirs
    assert set(ours) - set(theirs) == {"experiment", "arm", "request_id", "next_cursor"}
    assert asked.headers["x-request-id"] == ours["request_id"]


def test_reasons_come_on_request_only(client, ids):
    plain = client.get(f"/v1/related/{ids[0]}").json()["results"]
    assert len(plain) == 20
    assert all(one["reasons"] == {} for one in plain)


@pytest.mark.parametrize("diversity", [0.0, 0.6])
def test_pages_put_together_are_the_longer_list(client, ids, diversity):
    given = {"n": 8, "diversity": diversity}
    found, cursor = [], None
    for _ in range(4):
        page = client.get(
            f"/v1/related/{ids[3]}", params=given | ({"cursor": cursor} if cursor else {})
        ).json()
        found += [one["signature"] for one in page["results"]]
        cursor = page["next_cursor"]
    whole = client.get(f"/v1/related/{ids[3]}", params=given | {"n": 32}).json()["results"]
    assert found == [one["signature"] for one in whole]


def test_the_last_page_says_so(demo):
    with client_of(demo, read_only=True, most_results=30, depth=50) as client:
        path = f"/v1/related/{signatures_of(client)[0]}"
        first = client.get(path, params={"n": 30}).json()
        second = client.get(path, params={"n": 30, "cursor": first["next_cursor"]}).json()
        assert len(first["results"]) == 30
        assert len(second["results"]) == 20
        assert second["next_cursor"] is None
        error_of(client.get(path, params={"n": 31}), 422, "invalid")


def test_a_cursor_fits_its_own_list_only(client, ids):
    cursor = client.get(f"/v1/related/{ids[0]}").json()["next_cursor"]
    for path, more in [
        (ids[1], {}), (ids[0], {"filter": "boards > 1"}), (ids[0], {"user": "u"}),
    ]:  # fmt: skip
        asked = client.get(f"/v1/related/{path}", params={"cursor": cursor, **more})
        error_of(asked, 400, "invalid_cursor")
    for broken in ("", "a", "ä", "A" * 40, cursor[:-1]):
        error_of(client.get(f"/v1/related/{ids[0]}", params={"cursor": broken}), 400,
                 "invalid_cursor")  # fmt: skip


def test_wishes_are_heard(client, ids):
    path = f"/v1/related/{ids[0]}"
    best = [one["signature"] for one in client.get(path).json()["results"]]
    left = client.get(path, params={"exclude": [best[0], "taken-down-meanwhile"]}).json()
    assert left["results"][0]["signature"] == best[1]
    few = client.get(path, params={"filter": "boards = 2"}).json()["results"]
    known = client.app.state.service.workspace
    assert {len(known.pinjoin(known.find(one["signature"])).boards) for one in few} == {2}
    counted = client.get(path, params={"model": "count"}).json()
    assert counted["model"] == "count"
    shared = [one["shared_boards"] for one in counted["results"]]
    assert shared == sorted(shared, reverse=True)
    recent = client.get(path, params={"recent": ids[40:44], "q": "red dress"})
    assert recent.status_code == 200


def test_what_is_wrong_is_told(client, ids):
    assert "blou" not in ids
    unknown = error_of(client.get("/v1/related/p00081"), 404, "unknown_id")
    assert "p0008" in unknown["suggestions"]
    path = f"/v1/related/{ids[0]}"
    error_of(client.get(path, params={"filter": "color = 'red'"}), 422, "invalid_filter")
    cut_short = error_of(client.get(path, params={"filter": "boards > "}), 422, "invalid_filter")
    assert cut_short["position"] >= len("boards")
    wrong = error_of(client.get(path, params={"model": "x"}), 404, "unknown_model")
    assert "count" in wrong["models"]
    for wrong in ({"n": 0}, {"n": "x"}, {"colour": "red"}, {"diversity": 2}, {"n": 101}):
        error_of(client.get(path, params=wrong), 422, "invalid")
    error_of(client.get("/v1/nothing"), 404, "not_found")


def test_several_images_agree_on_ideas(client, ids):
    asked = {"ids": [ids[0], "nobody", ids[5]], "n": 12, "explain": True}
    found = client.post("/v1/related", json=asked).json()
    assert [one["signature"] for one in found["queries"]] == [ids[0], ids[5]]
    assert found["unknown"] == ["nobody"]
    signatures = [one["signature"] for one in found["results"]]
    assert len(set(signatures)) == 12
    assert not {ids[0], ids[5]} & set(signatures)
    assert all(one["reasons"] for one in found["results"])
    assert {one["because"]["signature"] for one in found["results"]} == {ids[0], ids[5]}
    more = client.post("/v1/related", json=asked | {"n": 5}).json()
    rest = client.post("/v1/related", json=asked | {"n": 7, "cursor": more["next_cursor"]}).json()
    assert signatures == [one["signature"] for one in more["results"] + rest["results"]]
    error_of(client.post("/v1/related", json={"ids": ["x", "y"]}), 404, "unknown_id")
    for wrong in ({}, {"ids": [], "board_id": None}, {"ids": [ids[0]], "board_id": "b"}):
        error_of(client.post("/v1/related", json=wrong), 422, "invalid")


def test_votes_are_sums_of_reciprocal_ranks(demo):
    known = pinjoin.open(demo)
    found = ideas(known, [3, 9, 3], 5)
    best = int(found.ranking.rows[0])
    ranks = [known.rank(query, 300).rows.tolist().index(best) for query in (3, 9)]
    walk = known.retrieval.reached_together([3, 9], 300).tolist()
    votes = [1 / (61 + rank) for rank in ranks] + [2 / (61 + walk.index(best))]
    assert found.ranking.scores[0] == pytest.approx(sum(votes), rel=1e-6)
    assert found.because[0] == (3, 9)[int(np.argmin(ranks))]
    known.__dict__["copies"] = None  # as of a catalogue without pictures
    assert not {3, 9} & set(ideas(known, [3, 9], 300).ranking.rows.tolist())


def test_a_board_gets_more_ideas(client):
    known = client.app.state.service.workspace
    board = known.describe_boards([0])[0]["board_id"]
    on_it = {one["signature"] for one in known.describe(known.board(0).images)}
    found = client.post("/v1/related", json={"board_id": board, "n": 10}).json()
    assert len(found["results"]) == 10
    assert not on_it & {one["signature"] for one in found["results"]}
    assert {one["because"]["signature"] for one in found["results"]} <= on_it
    error_of(client.post("/v1/related", json={"board_id": "nowhere"}), 404, "unknown_id")


def test_an_uploaded_picture_finds_itself(client, ids):
    picture = client.get(f"/v1/images/{ids[7]}").content
    for given in ({"content": picture, "headers": {"content-type": "image/jpeg"}},
                  {"files": {"file": ("mine.jpg", picture, "image/jpeg")}}):  # fmt: skip
        found = client.post("/v1/related/image", params={"n": 3, "explain": "true"}, **given).json()
        assert found["query"]["signature"] is None
        assert found["results"][0]["signature"] == ids[7]
        assert found["results"][0]["reasons"]["visual_similarity"] == 1


def test_pins_and_boards_are_described(client, ids):
    pin = client.get(f"/v1/pins/{ids[0]}").json()
    assert pin["signature"] == ids[0]
    assert pin["n_boards"] == len(pin["boards"]) > 10
    assert pin["annotations"][0]["weight"] > 0
    assert pin["looks_like"]
    assert client.get(f"/v1/pins/{pin['pin_id']}").json()["signature"] == ids[0]
    assert client.get(f"/v1/pins/{pin['image']}").json()["signature"] == ids[0]
    board = client.get(f"/v1/boards/{pin['boards'][0]['board_id']}", params={"n": 2}).json()
    assert len(board["images"]) == 2 < board["n_images"]
    path = f"/v1/boards/{board['board_id']}"
    second = client.get(path, params={"n": 2, "cursor": board["next_cursor"]}).json()
    both = [one["signature"] for one in board["images"] + second["images"]]
    whole = client.get(path, params={"n": 4}).json()["images"]
    assert both == [one["signature"] for one in whole]
    error_of(client.get("/v1/boards/nowhere"), 404, "unknown_id")


def test_search_finds_a_start(client, ids):
    def search(words: str, **more: int | str) -> list[str]:
        found = client.get("/v1/search", params={"q": words, **more}).json()
        return [one["signature"] for one in found["images"]]

    known = client.app.state.service.workspace
    assert search("p0008", n=1) == [known.describe([known.find("p0008")])[0]["signature"]]
    titles = [one["title"] for one in known.describe([known.find(s) for s in search("denim", n=5)])]
    assert sum("denim" in title.lower() for title in titles) >= 3, titles
    assert len(search("p00", n=30)) == 30  # ids that begin so
    assert search("qqqq") == []
    assert search("jeans", n=10)[:4] == search("jeans", n=4)
    page = client.get("/v1/search", params={"q": "jeans", "n": 4}).json()
    rest = search("jeans", n=6, cursor=page["next_cursor"])
    assert search("jeans", n=10)[4:] == rest


def test_pictures_come_smaller_and_are_not_sent_twice(client, ids):
    whole, small = client.get(f"/v1/images/{ids[0]}"), client.get(f"/v1/images/{ids[0]}?w=100")
    assert whole.headers["content-type"] == small.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(small.content)).size) == 160  # the next larger of some sizes
    assert len(small.content) < len(whole.content)
    again = client.get(
        f"/v1/images/{ids[0]}?w=100", headers={"If-None-Match": small.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    error_of(client.get("/v1/images/nobody"), 404, "unknown_id")
    error_of(client.get(f"/v1/images/{ids[0]}?w=100000"), 422, "invalid")


def test_users_are_spread_over_arms(demo):
    arms = {"control": "count", "treatment": pinjoin.open(demo).model}
    with client_of(demo, read_only=True, experiment="ranker", arms=arms) as client:
        path = f"/v1/related/{signatures_of(client)[0]}"
        seen = set()
        for user in map(str, range(20)):
            answer = client.get(path, params={"user": user}).json()
            assert answer["experiment"] == "ranker"
            assert answer["arm"] == assign("ranker", user, list(arms))
            assert answer["model"] == arms[answer["arm"]]
            seen.add(answer["arm"])
        assert seen == set(arms)
        nobody = client.get(path).json()
        assert (nobody["experiment"], nobody["arm"]) == (None, None)


def test_operations_are_told(client):
    assert client.get("/healthz").text == "ok\n"
    state = client.get("/readyz").json()
    assert state["ready"]
    assert (state["database"], state["writes"], state["problem"]) == ("none", False, None)
    client.get("/v1/pins/nobody")
    text = client.get("/metrics").text
    assert 'pinjoin_requests_total{method="GET",route="/v1/pins/{id:path}",status="404"}' in text
    assert "pinjoin_images 348.0" in text


def test_every_route_is_in_the_document(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/related/{id}", "/v1/related", "/v1/related/image", "/v1/search", "/v1/pins/{id}",
        "/v1/boards/{id}", "/v1/images/{id}", "/v1/saves", "/v1/events", "/healthz", "/readyz",
        "/metrics",
    }  # fmt: skip
    documented = Path(__file__).parents[1] / "docs" / "serving.md"
    text = documented.read_text()
    for path in paths:
        assert path.split("{")[0].rstrip("/") in text, f"{path} is not in docs/serving.md"
