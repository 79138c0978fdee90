"""A server that is killed, that loses its database or its disk, that is not alone, that changes
what it serves: run as people run it, in a process of its own.

PINJOIN_CRASH_SAVES=10000 makes the test of kills as long as it should be now and then.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from live_databases import KINDS, LiveDatabase, entries, made, new_database

from pinjoin.cli.demo import build_demo
from pinjoin.core.errors import UnknownIdError
from pinjoin.core.progress import silent
from pinjoin.live.changes import Event, Save
from pinjoin.live.store import open_store
from pinjoin.recommender import open_workspace
from pinjoin.snapshot.store import rollback

SAVES = int(os.environ.get("PINJOIN_CRASH_SAVES", "1200"))
CLIENTS = 16
PATIENCE_S = 60.0

Answer = tuple[int, Any]
"""Status, and the JSON that came."""


class Server:
    """`pinjoin serve`, on a port of its own."""

    def __init__(self, workspace: Path, log: Path, *options: str) -> None:
        pinjoin = (sys.executable, "-c", "from pinjoin.cli import main; main()")
        given = ("serve", str(workspace), "--port", "0", "--read-rate", "0", "--write-rate", "0")
        with log.open("wb") as file:
            self.process = subprocess.Popen([*pinjoin, *given, *options], stdout=file, stderr=file)
        self.port = self._announced(log)
        wait_for(lambda: self.asks("GET", "/readyz")[0] == 200)

    def _announced(self, log: Path) -> int:
        def line() -> str:
            said = log.read_text()
            assert self.process.poll() is None, said
            return said.partition("Serving on ")[2].partition(" ")[0]

        return int(wait_for(line).rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        """One request on a connection of its own. OSError or HTTPException: no answer came."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else orjson.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, orjson.loads(answer.read())

    def asks(self, *request: Any) -> Answer:
        """The same, and status 0 where no answer came."""
        try:
            return self.ask(*request)
        except (OSError, http.client.HTTPException):
            return 0, None

    def related(self, id: str) -> list[dict[str, Any]]:
        status, answer = self.ask("GET", f"/v1/related/{id}?n=100")
        assert status == 200, answer
        results: list[dict[str, Any]] = answer["results"]
        return results

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Tell it to end, and wait until it has."""
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) in (0, -signal.SIGTERM)


def wait_for(what: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """The first true value."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def begin(workspace: Path, *options: str) -> Server:
        servers.append(Server(workspace, tmp_path / f"server-{len(servers)}.log", *options))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveDatabase]:
    with new_database(request.param, tmp_path) as new:
        yield new


def some_images(server: Server) -> list[str]:
    """Ids of images, by the pins of them."""
    found = server.ask("GET", "/v1/search?q=dress&n=50")[1]["images"]
    return [one["pin_id"] for one in found]


def a_board_of(server: Server, image: str) -> str:
    board: str = server.ask("GET", f"/v1/pins/{image}")[1]["boards"][0]["board_id"]
    return board


class Savers:
    """Clients that save pins, each under its own key, until all are acknowledged."""

    def __init__(self, images: Sequence[str], board: str) -> None:
        self._images, self._board = images, board
        self.open = [f"client:{n}" for n in range(SAVES)]
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.unanswered: set[str] = set()

    def body(self, key: str) -> dict[str, str]:
        image = self._images[int(key.rpartition(":")[2]) % len(self._images)]
        return {"id": image, "board_id": self._board}

    def use(self, server: Server, kill_after: int) -> None:
        """Save until all is acknowledged, or so much that the server is killed."""
        end = len(self.acknowledged) + kill_after
        threads = [threading.Thread(target=self._save, args=[server, end]) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _save(self, server: Server, end: int) -> None:
        while self.open:
            with contextlib.suppress(IndexError):
                key = self.open.pop(0)
                status, answer = server.asks("POST", "/v1/saves", self.body(key), key)
                if status == 201:
                    assert self.acknowledged.setdefault(key, answer) is answer
                    if len(self.acknowledged) == end:
                        server.kill()
                else:
                    assert status == 0, answer
                    self.unanswered.add(key)
                    self.open.insert(0, key)
                    return


def test_killed_servers_lose_and_double_no_acknowledged_save(
    demo: Path,
    database: LiveDatabase,
    start: Callable[..., Server],
) -> None:
    options = ("--database", str(database.where), "--quiet")
    server, lives, chance = start(demo, *options), 1, random.Random(2)
    images = some_images(server)
    clients = Savers(images, a_board_of(server, images[0]))
    while True:
        clients.use(server, kill_after=chance.randrange(SAVES // 8, SAVES // 3))
        if not clients.open:
            break
        server, lives = start(demo, *options), lives + 1
    assert lives >= 4
    assert clients.unanswered  # some were under way when it was killed
    if server.process.poll() is not None:
        server = start(demo, *options)
    with open_store(database.where) as store:
        stored = entries(store)
    keys = {entry.key.partition(":")[2]: entry.sequence for entry in stored}  # ":" of no API key
    assert keys == {key: one["sequence"] for key, one in clients.acknowledged.items()}
    assert [entry.sequence for entry in stored] == list(range(1, SAVES + 1))
    assert Counter(made(stored)) == Counter(one["pin_id"] for one in clients.acknowledged.values())
    for key in (*clients.unanswered, *chance.sample(list(clients.acknowledged), 20)):
        known = clients.acknowledged[key]
        assert server.ask("GET", f"/v1/pins/{known['pin_id']}")[0] == 200
        again = server.ask("POST", "/v1/saves", clients.body(key), key)
        assert again == (201, known | {"repeated": True})


def test_servers_see_what_the_other_stores_within_a_second(
    demo: Path,
    database: LiveDatabase,
    start: Callable[..., Server],
) -> None:
    by_count = ("--database", str(database.where), "--model", "count")  # what is shared is first
    both = [start(demo, *by_count) for _ in range(2)]
    query, *others = some_images(both[0])
    board = a_board_of(both[0], query)
    waits = []

    def wait_in(server: Server, path: str, status: int) -> None:
        began = time.monotonic()
        wait_for(lambda: server.ask("GET", path)[0] == status)
        waits.append(time.monotonic() - began)

    for turn, image in enumerate(others[:8]):
        here, there = both if turn % 2 else both[::-1]
        _, known = here.ask("GET", f"/v1/pins/{image}")
        signature, on_it = known["signature"], [one["board_id"] for one in known["boards"]]
        before = shared(there, query).get(signature, 0)
        status, pin = here.ask("POST", "/v1/saves", {"id": image, "board_id": board})
        assert status == 201
        wait_in(there, f"/v1/pins/{pin['pin_id']}", 200)
        assert shared(there, query)[signature] == before + (board not in on_it)
        if turn >= 4:
            assert here.ask("DELETE", f"/v1/pins/{pin['pin_id']}")[0] == 200
            wait_in(there, f"/v1/pins/{pin['pin_id']}", 404)
            assert shared(there, query).get(signature, 0) == before
        assert shared(there, query) == shared(here, query)
    assert sorted(waits)[len(waits) // 2] < 1
    assert max(waits) < 3  # on a machine that does other things


def shared(server: Server, query: str) -> dict[str, int]:
    """How many boards an image shares with each of those related to it."""
    return {one["signature"]: one["shared_boards"] for one in server.related(query)}


def test_without_its_database_a_server_reads_on_and_recovers(
    demo: Path,
    database: LiveDatabase,
    start: Callable[..., Server],
) -> None:
    server = start(demo, "--database", str(database.where))
    query, image = some_images(server)[:2]
    save = {"id": image, "board_id": a_board_of(server, query)}
    assert server.ask("POST", "/v1/saves", save, "before")[0] == 201
    database.take_away()
    with ThreadPoolExecutor(2) as pool:
        lost = [pool.submit(server.ask, "POST", "/v1/saves", save, "during"),
                pool.submit(server.ask, "POST", "/v1/events", EVENTS, "event")]  # fmt: skip
        while not all(one.done() for one in lost):
            assert len(server.related(query)) > 20
            assert server.ask("GET", f"/v1/pins/{image}")[0] == 200
    for status, answer in (one.result() for one in lost):
        assert status == 503
        assert answer["error"]["code"] == "store_unavailable"
        assert "same key" in answer["error"]["message"]
    state = wait_for(lambda: (now := server.ask("GET", "/readyz"))[1]["database"] == "down" and now)
    assert state[0] == 200
    assert not state[1]["writes"]
    database.bring_back()
    wait_for(lambda: server.ask("GET", "/readyz")[1]["writes"], 10)
    status, saved = server.ask("POST", "/v1/saves", save, "during")
    assert (status, saved["repeated"]) == (201, False)
    assert server.ask("POST", "/v1/events", EVENTS, "event")[1]["stored"] == 1
    with open_store(database.where) as store:
        found = entries(store, kinds=(Save, Event))
    assert [one.key for one in found] == [":before", ":during", ":event"]


EVENTS = {
    "events": [
        {"request_id": "r1", "query": "a", "candidate": "b", "action": "click", "position": 1}
    ]
}


class SmallDisk:
    """A folder with little room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def fill(self, server: Server) -> None:
        """Leave no room."""
        raise NotImplementedError

    def make_room(self, server: Server) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        """Clean up."""


class SmallFileSystem(SmallDisk):
    """A file system of a few MB."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")

    def fill(self, server: Server) -> None:
        with contextlib.suppress(OSError), (self.folder / "full").open("wb") as file:
            while True:
                file.write(bytes(1024))
                file.flush()

    def make_room(self, server: Server) -> None:
        (self.folder / "full").unlink()

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class SmallFiles(SmallDisk):
    """A limit on the size of the files of a process, for where nothing can be mounted."""

    def fill(self, server: Server) -> None:
        sizes = [path.stat().st_size for path in self.folder.iterdir()]
        self._limit(server, max(sizes))

    def make_room(self, server: Server) -> None:
        self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server: Server, size: int) -> None:
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, unlimited))


@pytest.fixture(params=[SmallFileSystem, SmallFiles])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    made: SmallDisk = request.param(tmp_path / "disk")
    yield made
    made.remove()


def test_a_full_disk_costs_nothing_that_was_acknowledged(
    demo: Path,
    disk: SmallDisk,
    start: Callable[..., Server],
) -> None:
    where = disk.folder / "live.db"
    server = start(demo, "--database", str(where), "--quiet")
    images = some_images(server)
    board = a_board_of(server, images[0])

    def save(number: int) -> Answer:
        body = {"id": images[number % len(images)], "board_id": board, "description": "x" * 2_000}
        return server.ask("POST", "/v1/saves", body, f"k{number}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        first = list(pool.map(save, range(50)))
        disk.fill(server)
        second = list(pool.map(save, range(50, 50 + CLIENTS)))
        assert {status for status, _ in first} == {201}
        refused = [answer for status, answer in second if status != 201]
        assert refused
        for answer in refused:
            assert answer["error"]["code"] == "store_unavailable"
        assert {status for status, _ in second} <= {201, 503}
        assert len(server.related(images[0])) > 20
        disk.make_room(server)
        wait_for(lambda: save(1_000)[0] == 201, 20)
        again = list(pool.map(save, range(50 + CLIENTS)))
    assert {status for status, _ in again} == {201}
    acknowledged = [one for one in first + second if one[0] == 201]
    for (_, before), (_, now) in zip(first + second, again, strict=True):
        assert "error" in before or now == before | {"repeated": True}
    server.end()
    with open_store(where) as store:
        keys = [entry.key for entry in entries(store)]
    assert len(acknowledged) >= 50
    assert sorted(keys) == sorted([f":k{n}" for n in range(50 + CLIENTS)] + [":k1000"])


class Readers:
    """Clients that ask all the time, and note what came."""

    def __init__(self, server: Server, paths: Sequence[str]) -> None:
        self._server, self._paths = server, paths
        self._end = threading.Event()
        self.answers: list[Answer] = []
        self._threads = [threading.Thread(target=self._read, args=[n]) for n in range(4)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _read(self, number: int) -> None:
        while not self._end.is_set():
            path = self._paths[number % len(self._paths)]
            status, answer = self._server.asks("GET", path)
            self.answers.append((status, (answer or {}).get("snapshot")))
            number += 1


def test_snapshots_change_under_load_without_a_failed_request(
    shop: Path,
    start: Callable[..., Server],
) -> None:
    server = start(shop)
    images = some_images(server)
    saved = {"id": images[1], "board_id": a_board_of(server, images[0])}
    pin = server.ask("POST", "/v1/saves", saved)[1]["pin_id"]
    paths = [f"/v1/pins/{pin}", *(f"/v1/related/{image}?n=50" for image in images)]

    def serves() -> str:
        name: str = server.ask("GET", "/readyz")[1]["snapshot"]
        return name

    first = serves()
    with Readers(server, paths) as readers:
        build_demo(shop, silent)
        second = wait_for(lambda: (now := serves()) != first and now)
        time.sleep(0.5)
        rollback(shop)
        wait_for(lambda: serves() == first)
        time.sleep(0.5)
    assert Counter(status for status, _ in readers.answers) == {200: len(readers.answers)}
    assert {snapshot for _, snapshot in readers.answers} == {first, second}
    assert [one[1] for one in readers.answers[-4:]] == [first] * 4
    open_workspace(shop, second).find(pin)  # the build folded it in
    with pytest.raises(UnknownIdError):
        open_workspace(shop, first).find(pin)


def test_a_server_that_is_told_to_end_answers_what_it_took(
    demo: Path,
    tmp_path: Path,
    start: Callable[..., Server],
) -> None:
    where = tmp_path / "live.db"
    server = start(demo, "--database", str(where))
    images = some_images(server)
    board = a_board_of(server, images[0])
    acknowledged: list[str] = []
    statuses: list[int] = []

    def save_on(client: int) -> None:
        for number in range(10_000):
            key = f"{client}-{number}"
            body = {"id": images[number % len(images)], "board_id": board}
            status, _ = server.asks("POST", "/v1/saves", body, key)
            statuses.append(status)
            if status != 201:
                return
            acknowledged.append(f":{key}")

    threads = [threading.Thread(target=save_on, args=[client]) for client in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) > 50)
    server.end()
    for thread in threads:
        thread.join()
    assert set(statuses) == {201, 0}
    with open_store(where) as store:
        assert sorted(one.key for one in entries(store)) == sorted(acknowledged)
