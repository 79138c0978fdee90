"""The pages in a headless browser: what people see, do, and what is logged of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from click.testing import CliRunner

from pinjoin.cli.events import events
from pinjoin.live.store import Store
from pinjoin.serving.app import create_app
from pinjoin.serving.config import ServeConfig

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: pip install 'pinjoin[test]'"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
QUERY = "p0008"
playwright.expect.set_options(timeout=20_000)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


@contextmanager
def served(workspace: Path, config: ServeConfig) -> Iterator[tuple[str, Store]]:
    """A server of its own thread: its address, and the store behind it."""
    app = create_app(workspace, config)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", app.state.service._writer.store
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def workspace(demo, tmp_path_factory):
    return shutil.copytree(demo, tmp_path_factory.mktemp("browser") / "demo")


@pytest.fixture(scope="module")
def server(workspace):
    with served(workspace, ServeConfig(write_rate=0, read_rate=0)) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server):
    """Opens pages that must not complain, nor ask others than the server."""
    address, _ = server
    contexts, wrong = [], []

    def opened(path: str, width: int = 1280, height: int = 800, expect: int = 200, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: r.url.startswith(address) or wrong.append(r.url))
        page.on("response", lambda r: r.status < 400 or wrong.append(f"{r.status} {r.url}"))
        page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
        page.wrong = wrong
        answer = page.goto(address + path)
        assert answer.status == expect
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def cards(page):
    return page.locator(".masonry > .card")


def test_what_belongs_together_loads_on_while_scrolling(open_page):
    page = open_page(f"/pin/{QUERY}")
    assert page.locator("h1").inner_text() == "Sheath dress, black"
    assert cards(page).count() == 24
    page.mouse.wheel(0, 3000)
    playwright.expect(cards(page)).to_have_count(48)
    page.mouse.wheel(0, 3000)
    playwright.expect(cards(page)).to_have_count(72)
    places = cards(page).evaluate_all("all => all.map(one => Number(one.dataset.position))")
    assert places == list(range(1, 73))
    boxes = cards(page).evaluate_all(
        "all => all.map(c => [c.offsetLeft, c.offsetTop, c.offsetWidth, c.offsetHeight])"
    )
    assert not any(overlap(one, other) for n, one in enumerate(boxes) for other in boxes[:n])


def overlap(one: list[int], other: list[int]) -> bool:
    (x, y, width, height), (ox, oy, owidth, oheight) = one, other
    return x < ox + owidth and ox < x + width and y < oy + oheight and oy < y + height


def test_boards_below_a_grid_can_be_reached(open_page):
    page = open_page("/")
    page.mouse.wheel(0, 9000)
    page.wait_for_timeout(400)
    assert cards(page).count() == 24
    board = page.locator(".board b").first
    title = board.inner_text()
    page.get_by_role("link", name="Show more").click()
    playwright.expect(cards(page)).to_have_count(48)
    board.click()
    playwright.expect(page.locator("h1")).to_have_text(title)


def test_going_back_finds_the_page_as_it_was(browser, server):
    keeping = browser.browser_type.launch(
        executable_path=CHROMIUM,
        args=FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],  # Playwright's, not people's
    )
    page = keeping.new_page()
    page.goto(f"{server[0]}/pin/{QUERY}")
    page.mouse.wheel(0, 3000)
    playwright.expect(cards(page)).to_have_count(48)
    down = page.evaluate("scrollY")
    page.evaluate("document.querySelectorAll('.card .opens')[30].click()")
    playwright.expect(page.locator("h1")).not_to_have_text("Sheath dress, black")
    page.evaluate("history.back()")
    playwright.expect(page.locator("h1")).to_have_text("Sheath dress, black")
    assert cards(page).count() >= 48
    assert page.evaluate("scrollY") == down
    keeping.close()


def test_nothing_jumps_when_pictures_come(open_page):
    page = open_page("/")
    moved = page.evaluate(
        """() => new Promise(done => {
            let sum = 0;
            new PerformanceObserver(list => list.getEntries().forEach(e => sum += e.value))
                .observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 600);
        })"""
    )
    assert moved < 0.02


def test_reasons_open_and_close_by_keyboard_and_sum_to_the_score(open_page):
    page = open_page(f"/pin/{QUERY}")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    second = cards(page).nth(1)
    assert second.evaluate("card => card.contains(document.activeElement)")
    page.keyboard.press("w")
    why = second.locator(".why-card")
    playwright.expect(why).to_be_visible()
    assert why.get_by_role("button", name="Close").evaluate("b => b === document.activeElement")
    values = why.locator("tbody td:last-child").all_inner_texts()
    score = why.locator("tfoot td").inner_text()
    numbers = [float(value.replace("−", "-")) for value in values]
    assert sum(numbers) == pytest.approx(float(score), abs=0.005 * (len(numbers) + 1))
    page.keyboard.press("Escape")
    playwright.expect(why).to_be_hidden()
    assert second.evaluate("card => card.contains(document.activeElement)")


def test_arrows_go_to_the_card_beside_and_below(open_page):
    page = open_page("/")
    page.keyboard.press("j")

    def at() -> tuple[float, float]:
        box = page.evaluate("document.activeElement.closest('.card').getBoundingClientRect()")
        return box["x"], box["y"] + page.evaluate("scrollY")

    first = at()
    page.keyboard.press("ArrowRight")
    second = at()
    assert second[0] > first[0]
    column = [second]
    for _ in range(4):
        page.keyboard.press("ArrowDown")
        column.append(at())
    assert {x for x, _ in column} == {second[0]}
    assert sorted(y for _, y in column) == [y for _, y in column]
    page.keyboard.press("ArrowLeft")
    assert at()[0] == first[0]
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    assert at() == first
    page.keyboard.press("Enter")
    page.wait_for_url("**/pin/*")


def test_saving_to_a_new_board_then_to_one_that_is_there(open_page):
    page = open_page(f"/pin/{QUERY}")
    page.get_by_role("button", name="Save to a board").click()
    page.keyboard.type("Things for Friday")
    playwright.expect(page.get_by_role("option")).to_have_text(
        ["Make a new board “Things for Friday”"]
    )
    page.keyboard.press("Enter")
    toast = page.locator("#toast a")
    playwright.expect(toast).to_have_text("Things for Friday")
    first = page.locator("[data-boards] a").first
    assert first.inner_text() == "Things for Friday"
    cards(page).first.hover()
    cards(page).first.get_by_role("button", name="Save").click()
    page.keyboard.type("things for")
    options = page.get_by_role("option").locator("span")
    playwright.expect(options).to_have_text(["Things for Friday", "Make a new board “things for”"])
    page.keyboard.press("Enter")
    playwright.expect(cards(page).first.locator(".act.save")).to_have_text("Saved")
    toast.click()
    assert page.locator("h1").inner_text() == "Things for Friday"
    images = page.locator("#main > .masonry").first.locator(".name")
    playwright.expect(images).to_have_text(["Sheath dress, black", "white sheath dress"])


def test_a_save_that_fails_is_told_and_made_once_when_tried_again(open_page, server):
    page = open_page(f"/pin/{QUERY}")
    before = len(server[1].read_all().boards)
    page.route("**/v1/saves", lambda route: (route.fetch(), route.abort())[0])  # answer is lost
    page.get_by_role("button", name="Save to a board").click()
    page.keyboard.type("Kept twice?")
    page.get_by_role("option", name="Kept twice?").click()
    problem = page.get_by_role("alert")
    playwright.expect(problem).to_contain_text("The server does not answer")
    page.unroute("**/v1/saves")
    page.wrong.clear()  # the browser's own word about it
    page.get_by_role("option", name="Kept twice?").click()
    playwright.expect(page.locator("#toast")).to_contain_text("Kept twice?")
    assert len(server[1].read_all().boards) == before + 1


IDS = "all => all.map(card => card.dataset.id)"
ON_SCREEN = """all => all.filter(card => {
    const box = card.getBoundingClientRect();
    const shown = Math.min(box.bottom, innerHeight) - Math.max(box.top, 0);
    return shown >= box.height / 2;
}).map(card => card.dataset.id)"""


def logged(store: Store, start: int, action: str) -> list[dict[str, Any]]:
    """The events after a sequence, once there is one of an action."""
    for _ in range(100):
        found = [row for batch in store.event_batches(after=start) for row in batch.to_pylist()]
        if any(row["action"] == action for row in found):
            return found
        sleep(0.05)
    raise AssertionError(f"no {action} was logged: {found}")


def test_what_was_seen_and_done_is_logged_as_training_takes_it(open_page, server, tmp_path):
    _, store = server
    start = store.state().last
    page = open_page(f"/pin/{QUERY}", 1280, 1000)
    signature = page.locator(".masonry").get_attribute("data-query")
    page.mouse.wheel(0, 500)
    page.wait_for_timeout(1300)
    seen = cards(page).evaluate_all(ON_SCREEN)
    assert 3 <= len(seen) < 24
    places = {card: place for place, card in enumerate(cards(page).evaluate_all(IDS), 1)}
    page.locator(".card .opens").nth(1).click()
    logged(store, start, "click")
    page.get_by_role("button", name="Save to a board").click()
    page.keyboard.type("Logged")
    page.get_by_role("option", name="Logged").click()
    found = logged(store, start, "save")
    shown = [row for row in found if row["action"] == "impression" and row["query"] == signature]
    assert {row["candidate"]: int(row["position"]) for row in shown} == {
        card: places[card] for card in seen
    }
    assert {(row["device"], row["surface"]) for row in shown} == {("desktop", "closeup")}
    done = [(row["action"], row["position"]) for row in found if row["action"] != "impression"]
    assert done == [("click", "2"), ("save", "2")]
    assert len({(row["request_id"], row["user_id"]) for row in found if row in shown}) == 1
    log = tmp_path / "events.parquet"
    pq.write_table(pa.Table.from_batches(store.event_batches(after=start)), log)
    checked = CliRunner().invoke(events, ["check", str(log), "--json"])
    assert checked.exit_code == 0, checked.output
    report = json.loads(checked.stdout)
    assert report["rejected"] == 0
    assert report["by_action"]["impression"] >= len(seen)
    odd = {finding["code"] for finding in report["findings"]}
    assert odd <= {"position-gap"}  # between what was seen of one page and of the next


def test_leaving_for_where_an_image_is_from_is_logged_as_clickthrough(open_page, server):
    address, store = server
    page = open_page(f"/pin/{QUERY}")
    page.route("https://shop.example/**", lambda route: route.fulfill(body="a shop"))
    third = cards(page).nth(2).get_attribute("data-id")
    page.request.post(f"{address}/v1/saves", data={"id": third, "link": "https://shop.example/3"})
    start = store.state().last
    cards(page).nth(2).locator(".name").click()
    page.get_by_role("link", name="Visit").click()
    page.wait_for_url("https://shop.example/3")
    found = logged(store, start, "clickthrough")
    actions = [row["action"] for row in found if row["candidate"] == third]
    assert actions == ["impression", "click", "clickthrough"]
    assert {row["position"] for row in found if row["candidate"] == third} == {"3"}
    page.wrong.clear()  # the shop is another host


def test_what_was_only_scrolled_past_is_not_logged(open_page, server):
    _, store = server
    start = store.state().last
    page = open_page(f"/pin/{QUERY}", 1280, 500)
    for _ in range(8):
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(80)
    page.wait_for_timeout(1300)
    seen = set(cards(page).evaluate_all(ON_SCREEN))
    page.goto("about:blank")  # leaving sends what was not sent yet
    shown = {row["candidate"] for row in logged(store, start, "impression")}
    assert shown == seen


def test_the_lab_compares_two_models(open_page):
    page = open_page("/lab")
    page.get_by_label("Image").fill("black sheath")
    page.get_by_role("button", name="Compare").click()
    page.locator(".picks a").first.click()
    left, right = (page.locator(f".sides section >> nth={n}") for n in (0, 1))
    assert left.locator(".entry").count() == right.locator(".entry").count() == 20
    assert left.locator("h2").inner_text().endswith("count")
    both = {*left.locator(".entry .name").all_inner_texts()}
    both &= {*right.locator(".entry .name").all_inner_texts()}
    assert page.locator(".moves path").count() >= len(both) > 3
    mover = page.locator(".movers li").first
    assert mover.locator(".shift").inner_text()[0] in "▲▼"
    assert mover.locator(".parts tbody tr").count() == 5
    left.locator(".entry a").first.focus()
    assert page.locator(".entry.lit").count() in (1, 2)


def test_searching_by_keyboard(open_page):
    page = open_page("/")
    page.keyboard.press("/")
    page.keyboard.type("red dress")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=red+dress")
    titles = page.locator(".card .name").all_inner_texts()
    assert "red sheath dress" in titles[:5]
    page.goto(page.url.replace("red+dress", "xyzzy"))
    assert page.locator("h1").inner_text() == "Nothing found"


@pytest.mark.parametrize("path", ["/", f"/pin/{QUERY}", "/search?q=blue", f"/lab?id={QUERY}"])
def test_a_phone_shows_all_without_scrolling_sideways(open_page, path):
    page = open_page(path, 390, 844, has_touch=True, is_mobile=True)
    beyond = page.locator("main *").evaluate_all(
        "all => all.filter(e => e.getBoundingClientRect().right > 390.5).map(e => e.outerHTML)"
    )
    assert beyond == []
    assert page.evaluate("document.scrollingElement.scrollWidth") == 390
    small = page.locator("button:visible, .button:visible").evaluate_all(
        "all => all.filter(b => b.offsetHeight < 36 || b.offsetWidth < 36).map(b => b.outerHTML)"
    )
    assert small == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", f"/pin/{QUERY}", f"/lab?id={QUERY}"])
def test_colours_follow_the_system_and_all_can_be_read(open_page, path, scheme):
    page = open_page(path, color_scheme=scheme, bypass_csp=True)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = int(background.removeprefix("rgb(").split(",")[0])
    assert (lightness > 128) == (scheme == "light")
    page.keyboard.press("j")
    page.keyboard.press("w")
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    told = {one["id"]: one["nodes"][0]["html"] for one in found["violations"]}
    assert told == {}


def test_a_picture_that_cannot_be_had_gives_way_to_its_title(open_page):
    page = open_page(f"/pin/{QUERY}")
    page.route("**/v1/images/**", lambda route: route.fulfill(status=404))
    page.goto(page.url)
    first = cards(page).first
    playwright.expect(first.locator(".words")).to_be_visible()
    assert first.locator(".words").inner_text() == first.locator(".name").inner_text()
    assert first.locator("img").evaluate("i => getComputedStyle(i).visibility") == "hidden"
    page.wrong.clear()


def test_pages_work_without_scripts(open_page):
    page = open_page(f"/pin/{QUERY}", java_script_enabled=False)
    shown = cards(page).all_inner_texts()
    page.get_by_role("link", name="Show more").click()
    following = cards(page).all_inner_texts()
    assert len(shown) == len(following) == 24
    assert shown != following
    page.locator(".card .why").first.click()
    playwright.expect(page.locator(".why-card").first).to_be_visible()


def test_what_is_not_there_says_so(open_page):
    page = open_page("/pin/p000", expect=404)
    assert page.locator("h1").inner_text() == "This is not here"
    assert page.locator(".empty a", has_text="p0").first.get_attribute("href").startswith("/pin/p0")
    assert all("404" in one for one in page.wrong)
    page.wrong.clear()


def test_a_server_that_takes_nothing_in_offers_no_saving(browser, workspace):
    with served(workspace, ServeConfig(read_only=True)) as (address, _):
        page = browser.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.method))
        page.goto(f"{address}/pin/{QUERY}")
        assert page.get_by_role("button", name="Save").count() == 0
        page.mouse.wheel(0, 500)
        page.wait_for_timeout(1200)
        page.locator(".card .opens").first.click()
        page.wait_for_load_state()
        assert set(asked) == {"GET"}
        page.close()
