"""What pages show: comparisons, places to start from, reasons; the pages without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_fixtures import client_of, signatures_of

from pinjoin.experiments.assignment import assign
from pinjoin.serving.browse import take_turns
from pinjoin.serving.comparing import compare
from pinjoin.serving.made_of import by_family, by_feature, parts
from pinjoin.serving.views import Views

numbers = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))
added = st.dictionaries(st.sampled_from(["walk.log", "walk.visits", "text.present", "x"]), numbers)
rankings = st.dictionaries(st.integers(0, 9), added, max_size=8)


def test_what_moved_a_result_is_told_beside_the_others():
    before = {1: {"a": 4.0}, 2: {"a": 2.0}, 3: {"a": 0.0}}
    after = {2: {"a": 2.0, "b": 3.0}, 1: {"a": 4.0}, 3: {"a": 0.0}}
    first, second, third = compare(before, after)
    assert [(m.row, m.before, m.after) for m in (first, second, third)] == [
        (2, 2, 1),
        (1, 1, 2),
        (3, 3, 3),
    ]
    old, new = np.std([4, 2, 0]), np.std([5, 4, 0])
    assert first.causes == pytest.approx({"a": 0.0, "b": (3 - 1) / new})
    assert second.causes == pytest.approx({"a": (4 - 2) / new - (4 - 2) / old, "b": -1 / new})


def test_a_model_on_another_scale_moves_nothing():
    before = {row: {"a": float(row), "b": 1.0 - row**2} for row in (5, 3, 1)}
    after = {
        row: {name: 1000 * value for name, value in one.items()} for row, one in before.items()
    }
    for move in compare(before, after):
        assert move.before == move.after
        assert move.causes == pytest.approx({"a": 0.0, "b": 0.0}, abs=1e-12)


def test_who_is_in_one_list_only_has_no_causes():
    came, stayed, went = compare({1: {"a": 1.0}, 2: {"a": 2.0}}, {3: {"a": 9.0}, 2: {"a": 1.0}})
    assert (came.row, came.before, came.after, came.causes) == (3, None, 1, {})
    assert (went.row, went.before, went.after, went.causes) == (1, 1, None, {})
    assert (stayed.before, stayed.after) == (2, 2)


@given(rankings, rankings)
def test_causes_sum_to_how_far_the_score_rose_beside_the_others(before, after):
    moves = compare(before, after)
    assert [move.row for move in moves if move.after] == list(after)
    common = [row for row in after if after[row] and before.get(row)]

    def risen(ranking: dict[int, dict[str, float]], row: int) -> float:
        scores = np.array([sum(ranking[one].values()) for one in common])
        return float((sum(ranking[row].values()) - scores.mean()) / (scores.std() or 1.0))

    for move in moves:
        if move.causes:
            expected = risen(after, move.row) - risen(before, move.row)
            spread = max(map(abs, move.causes.values()))
            assert sum(move.causes.values()) == pytest.approx(expected, abs=1e-6 * (1 + spread))


@given(added)
def test_bars_and_lists_of_features_sum_to_the_score(contributions):
    score = pytest.approx(sum(contributions.values()), abs=1e-9)
    assert sum(part.value for part in parts(by_family(contributions))) == score
    assert sum(value for _, value in by_feature(contributions)) == score
    for part in parts(contributions):
        assert -100 <= part.x <= part.x + part.width <= 100
        assert (part.x < 0) == (part.value < 0 and part.width > 0)


def test_families_join_what_belongs_together():
    given = {"adamic_adar.sum": 0.25, "resource_allocation.sum": 0.5, "walk.log": 1.0, "new.x": 2.0}
    assert by_family(given) == {"Small boards shared": 0.75, "Boards nearby": 1.0, "new": 2.0}


@given(st.lists(st.integers(0, 4)))
def test_groups_take_turns(groups):
    order = take_turns(np.array(groups, np.int64)).tolist()
    assert sorted(order) == list(range(len(groups)))
    rounds = [sum(groups[other] == groups[one] for other in range(one)) for one in order]
    assert rounds == sorted(rounds)
    for one, following in pairwise(order):
        if rounds[order.index(one)] == rounds[order.index(following)]:
            assert one < following


class Page(HTMLParser):
    """A page taken apart: tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [of for _, of in self.tags if name in (of.get("class") or "").split()]


@pytest.fixture(scope="module")
def client(demo):
    with client_of(demo, read_only=True) as client:
        yield client


PATHS = ("/", "/pin/p0008", "/search?q=dress", "/lab?id=p0008", "/lab", "/pin/nope", "/x/y")


@pytest.mark.parametrize("path", PATHS)
def test_pages_have_no_code_or_style_of_their_own_and_ask_nobody_else(client, path):
    answer = client.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    tags = Page(answer.text).tags
    assert ("style", {}) not in tags
    for tag, attributes in tags:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}
        assert tag != "script" or attributes["src"] == "/static/main.js"
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or "/"
            assert re.match(r"[/#?]|http://127\.0\.0\.1", value), value
        if tag == "img":
            assert int(attributes["width"]) > 0 < int(attributes["height"])
            assert attributes["alt"] is not None


def test_the_arm_of_an_experiment_ranks_and_is_told(demo):
    arms = {"control": "count", "new": "count"}
    with client_of(demo, read_only=True, experiment="colours", arms=arms) as client:
        first, second = client.get("/pin/p0008"), client.get("/pin/p0008?from=24")
        visitor = first.cookies["pinjoin_visitor"]
        assert "httponly" in first.headers["set-cookie"].lower()
        assert "set-cookie" not in second.headers
        arm = assign("colours", visitor, ["control", "new"])
        for answer in (first, second):
            [grid] = Page(answer.text).with_class("masonry")
            assert grid["data-arm"] == arm
        known = client.app.state.service.workspace
        expected = known.related("p0008", 48, model="count", explain=False)
        shown = [card["data-id"] for one in (first, second)
                 for card in Page(one.text).with_class("card")]  # fmt: skip
        assert shown == [one.signature for one in expected]
        requests = {card["data-request"] for card in Page(first.text).with_class("card")}
        assert requests == {first.headers["x-request-id"]}


def test_a_forged_visitor_is_not_believed(client):
    answer = client.get("/", headers={"Cookie": 'pinjoin_visitor="><script>alert(1)</script>'})
    assert "alert(1)" not in answer.text
    assert re.fullmatch(r"[0-9a-f]{32}", answer.cookies["pinjoin_visitor"])
    client.cookies.clear()


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", "{{ 7 * 7 }}", "' OR 1=1", "%00"])
def test_what_is_searched_for_is_text(client, words):
    answer = client.get("/search", params={"q": words})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert ">49<" not in answer.text


def test_what_people_write_is_text(shop):
    hostile = '"><img src=x onerror=alert(1)>'
    with client_of(shop) as client:
        new = {"title": hostile, "description": hostile, "category": hostile}
        rare = signatures_of(client)[-1]  # on so few boards that all are shown
        pin = {"id": rare, "title": hostile, "link": "javascript:alert(1)", "board": new}
        saved = client.post("/v1/saves", json=pin).json()
        for path in (f"/pin/{rare}", f"/board/{saved['board_id']}", f"/search?q={quote(hostile)}"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert "<img src=x" not in answer.text
            assert "&lt;img src=x" in answer.text
            assert "javascript:" not in answer.text


def test_boards_are_suggested_by_any_part_of_their_title(client, shop):
    found = client.get("/ui/boards", params={"q": "WEDDING"}).json()["boards"]
    assert all("wedding" in board["title"].lower() for board in found)
    theirs = {"id": "theo/wedding-guest", "title": "Wedding guest", "owner": "theo", "size": 3}
    assert theirs in found
    assert client.get("/ui/boards", params={"q": ".*"}).json() == {"boards": []}
    sizes = [board["size"] for board in client.get("/ui/boards").json()["boards"]]
    assert len(sizes) == 8
    assert sizes == sorted(sizes, reverse=True)
    with client_of(shop) as live:
        live.post("/v1/saves", json={"id": "p0008", "board": {"title": "My 100% new"}})
        [board] = live.get("/ui/boards", params={"q": "100%"}).json()["boards"]
        assert (board["title"], board["size"]) == ("My 100% new", 1)


def test_what_was_taken_down_is_on_no_page(shop):
    with client_of(shop) as client:
        signature = signatures_of(client)[0]  # the most popular one, which all pages have
        pin = client.get(f"/v1/pins/{signature}").json()
        board = quote(pin["boards"][0]["board_id"], safe="")
        pages = ("/", f"/board/{board}", f"/search?q={quote(pin['title'])}", "/lab")
        for path in pages:
            assert signature in client.get(path).text, path
        assert client.delete(f"/v1/images/{signature}").status_code == 200
        assert client.get(f"/pin/{signature}").status_code == 404
        for path in pages:
            assert signature not in client.get(path).text, path
        title = client.get(f"/v1/boards/{board}").json()["title"]
        suggested = {"q": title}
        before = client.get("/ui/boards", params=suggested).json()["boards"]
        assert client.delete(f"/v1/boards/{board}").status_code == 200
        assert client.get(f"/board/{board}").status_code == 404
        after = client.get("/ui/boards", params=suggested).json()["boards"]
        assert [one["id"] for one in before if quote(one["id"], safe="") != board] == [
            one["id"] for one in after
        ]
        assert len(after) < len(before)


def test_ones_own_boards_come_first(shop):
    with client_of(shop) as client:
        mine = client.get("/").cookies["pinjoin_visitor"]
        pin = {"id": "p0008", "board": {"title": "My own"}, "user_id": mine}
        saved = client.post("/v1/saves", json=pin).json()
        links = [of["href"] for tag, of in Page(client.get("/pin/p0008").text).tags
                 if tag == "a" and of.get("href", "").startswith("/board/")]  # fmt: skip
        assert links[0] == f"/board/{saved['board_id']}"


def test_parameters_out_of_bounds_are_brought_into_them(client):
    for path in ("/", "/pin/p0008", "/search?q=dress", "/lab?id=p0008"):
        for odd in ("from=-1", "from=99999999999999999999", "from=x", "n=0", "n=²"):
            answer = client.get(f"{path}{'&' if '?' in path else '?'}{odd}")
            assert answer.status_code == 200
    for path in ("/static/../ui.py", "/static/%2e%2e/ui.py", "/static/x"):
        assert client.get(path).status_code == 404
    assert client.get("/v1/x").json()["error"]["code"] == "not_found"


def test_the_lab_says_which_model_there_is_not(client):
    page = client.get("/lab?id=p0008&a=nonesuch").text
    assert "has no model &#39;nonesuch&#39;" in page
    assert "Did you mean" in page or "There: boards-" in page


def test_a_page_that_fails_says_so_and_no_more(client, monkeypatch):
    service = client.app.state.service
    monkeypatch.setattr(type(service.workspace), "popular", lambda known, k: 1 / 0)
    answer = client.get("/")
    assert answer.status_code == 500
    assert "Something broke" in answer.text
    assert "division" not in answer.text


def test_objects_in_a_picture_are_links_over_it(client, monkeypatch):
    assert Page(client.get("/pin/p0008").text).with_class("boxes") == []
    known = Views.pin

    def with_boxes(views: Views, row: int, user: str) -> dict[str, object]:
        box = {"href": "/search?q=shoe", "label": "shoe", "x": 0.1, "y": 0.6, "width": 0.3,
               "height": 0.25}  # fmt: skip
        return known(views, row, user) | {"boxes": [box]}

    monkeypatch.setattr(Views, "pin", with_boxes)
    page = Page(client.get("/pin/p0008").text)
    assert len(page.with_class("boxes")) == 1
    assert ("a", {"href": "/search?q=shoe", "aria-label": "shoe"}) in page.tags
    assert ("rect", {"x": "0.1", "y": "0.6", "width": "0.3", "height": "0.25"}) in page.tags


def test_pages_under_a_path_link_below_it(demo):
    with client_of(demo, read_only=True) as client:
        client.app.root_path = "/shop"
        html = client.get("/pin/p0008").text
        links = [of["href"] for tag, of in Page(html).tags if tag == "a" and of.get("href")]
        assert all(link.startswith(("/shop/", "#", "http://127.0.0.1")) for link in links), links
        assert 'data-base="/shop"' in html


def test_every_signature_has_a_page(client):
    for signature in signatures_of(client)[::40]:
        assert client.get(f"/pin/{quote(signature, safe='')}").status_code == 200
