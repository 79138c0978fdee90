"""Does a server's memory stay as it is? Mixed traffic for a while, its memory sampled.

    python benchmarks/soak.py WORKSPACE [--minutes 15] [--rate 100] [--cores 0] [--json FILE]

One process of `pinjoin serve`, asked at a steady rate by a few clients, each on its own
connection: related images, batches of events, saves, takedowns of what was saved, pins, boards,
searches, pages and uploaded pictures. First everything is asked once, and then of everything some,
so that caches are full. Then, without saves and takedowns, memory shall stay: judged is that of its
own, without the pages of files that it maps, by its slope over time beside the standard error of
it. At last saves and takedowns come again: they must be remembered until the next build, and what
each adds is told.
WORKSPACE is not changed; what is live goes to a database of the run's own.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import probe
from PIL import Image
from served import Served
from serving import commit

import pinjoin

MIX = {
    "related": 0.70, "explained": 0.05, "events": 0.10, "save": 0.03, "takedown": 0.03,
    "pin": 0.02, "board": 0.02, "search": 0.02, "page": 0.02, "picture": 0.01,
}  # fmt: skip
CLIENTS = 8
CHANGES = ("save", "takedown")
IMAGES, BOARDS, WORDS = 500, 100, 200  # that are asked for, and before it begins each of them once
FILLED, STEADY = 0.3, 0.8  # of the time: from when and until when nothing is changed
STRETCHES = 20  # of the time in between
SIDE = 320  # of uploaded pictures

Request = tuple[str, str, bytes | None, str]
"""Method, path, body and its type."""


class Traffic:
    """Requests as people and programs make them, of one workspace."""

    def __init__(self, workspace: Path, seed: int) -> None:
        known = pinjoin.open(workspace)
        saves = known.incidence.degrees.astype(np.float64)
        rng = np.random.default_rng(0)
        rows = rng.choice(len(saves), IMAGES, p=saves / saves.sum())
        images = known.describe(rows)
        self._ids = [one["pin_id"] for one in images]
        words = {word: 0 for one in images for word in (one["title"] or "a").split()}
        self._words = list(words)[:WORDS]
        boards = rng.integers(known.n_boards, size=BOARDS)
        self._boards = [one["board_id"] for one in known.describe_boards(boards)]
        self._looks = {
            "related": ("/v1/related/{}?n=25", self._ids),
            "explained": ("/v1/related/{}?explain=true", self._ids),
            "pin": ("/v1/pins/{}", self._ids),
            "page": ("/pin/{}", self._ids),
            "board": ("/v1/boards/{}", self._boards),
            "search": ("/v1/search?q={}", self._words),
        }
        self._pictures = [_picture(rng) for _ in range(8)]
        self._rng = np.random.default_rng([1, seed])
        self.saved: list[str] = []  # pins that can be taken down

    def draw(self, changes: bool) -> tuple[str, Request]:
        """What is asked next, and its kind; changes: whether it may be one."""
        kind = str(self._rng.choice(list(MIX), p=list(MIX.values())))
        if kind in CHANGES and not changes:
            kind = "related"
        if kind == "takedown" and not self.saved:
            kind = "save"
        if kind in self._looks:
            return kind, self._look(kind)
        request: Request = getattr(self, f"_{kind}")()
        return kind, request

    def once(self) -> Iterator[Request]:
        """Whatever can be looked at."""
        for path, some in self._looks.values():
            for one in some:
                yield "GET", path.format(quote(one)), None, ""

    def _one(self, of: list[Any]) -> Any:
        return of[int(self._rng.integers(len(of)))]

    def _look(self, kind: str) -> Request:
        path, some = self._looks[kind]
        return "GET", path.format(quote(self._one(some))), None, ""

    def _picture(self) -> Request:
        return "POST", "/v1/related/image", self._one(self._pictures), "image/jpeg"

    def _save(self) -> Request:
        pin = {"id": self._one(self._ids), "board_id": self._one(self._boards)}
        return "POST", "/v1/saves", orjson.dumps(pin), "application/json"

    def _takedown(self) -> Request:
        return "DELETE", f"/v1/pins/{quote(self.saved.pop(0))}", None, ""

    def _events(self) -> Request:
        request = f"{self._rng.integers(1 << 60):x}"
        query = self._one(self._ids)
        events = [
            {
                "request_id": request, "query": query, "candidate": self._one(self._ids),
                "action": "impression", "position": place, "device": "phone",
            }
            for place in range(25)
        ]  # fmt: skip
        return "POST", "/v1/events", orjson.dumps({"events": events}), "application/json"


def _picture(rng: np.random.Generator) -> Any:
    pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(file, "JPEG")
    return file.getvalue()


class Client(threading.Thread):
    """Asks at its part of the rate until it is told to end."""

    def __init__(self, server: Served, traffic: Traffic, rate: float) -> None:
        super().__init__(daemon=True)
        self._server, self._traffic, self._gap = server, traffic, 1 / rate
        self.end, self.changes = threading.Event(), True
        self.waits: dict[str, list[float]] = defaultdict(list)
        self.failures: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._ask_until_end()
        except BaseException as error:
            self.error = error

    def _ask_until_end(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        due = time.perf_counter()
        while not self.end.wait(max(0.0, due - time.perf_counter())):
            kind, request = self._traffic.draw(self.changes)
            start = time.perf_counter()
            status, content = _ask(connection, *request)
            self.waits[kind].append(time.perf_counter() - start)
            if status >= 300:
                self.failures[f"{kind}: {status} {content[:200]!r}"] += 1
            elif kind == "save":
                self._traffic.saved.append(orjson.loads(content)["pin_id"])
            due = max(due + self._gap, time.perf_counter() - 1)
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, kind: str
) -> tuple[int, bytes]:
    connection.request(method, path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def slope(seconds: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """How much values rise a second, and the standard error of it.

    By what means over stretches of time add to the one before: memory comes in steps and stays, so
    it is these that are independent, not the values.
    """
    stretch = np.arange(len(values)) * STRETCHES // len(values)
    n = np.bincount(stretch)
    x, y = (np.bincount(stretch, one) / n for one in (seconds, values))
    rises = np.diff(y) / np.diff(x)
    return float(rises.mean()), float(rises.std(ddof=1) / np.sqrt(len(rises)))


def fill(server: Served, traffic: Traffic) -> None:
    """Ask for everything once."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for request in traffic.once():
        status, content = _ask(connection, *request)
        if status != 200:
            raise RuntimeError(f"{request[1]} was answered with {status}: {content[:200]!r}")
    connection.close()


def soak(
    workspace: Path, folder: Path, minutes: float, rate: float, cores: list[int] | None
) -> dict[str, Any]:
    """Samples of memory, one a second, and what became of the requests."""
    options = ("--database", str(folder / "live.db"))
    samples = []
    with Served(workspace, folder / "log", cores, options) as server:
        server.first_answer("/readyz")
        fill(server, Traffic(workspace, 0))
        clients = [
            Client(server, Traffic(workspace, seed), rate / CLIENTS) for seed in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        start = time.perf_counter()
        while (now := (time.perf_counter() - start) / 60) < minutes:
            changes = sum(len(one.waits[kind]) for one in clients for kind in CHANGES)
            samples.append((now * 60, *server.memory(), changes))
            for client in clients:
                client.changes = not FILLED <= now / minutes < STEADY
            time.sleep(1)
        for client in clients:
            client.end.set()
        for client in clients:
            client.join()
            if client.error is not None:
                raise client.error
    waits: dict[str, list[float]] = defaultdict(list)
    failures: Counter[str] = Counter()
    for client in clients:
        failures += client.failures
        for kind, some in client.waits.items():
            waits[kind] += some
    said = [line for line in (folder / "log").read_text().splitlines() if '"traceback"' in line]
    return {"samples": samples, "waits": waits, "failures": failures, "errors": said}


def judge(found: dict[str, Any]) -> dict[str, Any]:
    """The figures."""
    seconds, own, mapped, changes = np.array(found["samples"]).T
    filled, steady = (int(len(own) * part) for part in (FILLED, STEADY))
    rise, error = slope(seconds[filled:steady], own[filled:steady])
    changed = changes[-1] - changes[steady]
    return {
        "minutes": seconds[-1] / 60,
        "requests": {kind: len(some) for kind, some in found["waits"].items()},
        "p50_ms": {kind: np.median(some) * 1e3 for kind, some in found["waits"].items()},
        "p99_ms": {kind: np.quantile(some, 0.99) * 1e3 for kind, some in found["waits"].items()},
        "failures": dict(found["failures"]),
        "errors": found["errors"],
        "own_mb": {"first": own[0] / 1e6, "filled": own[filled] / 1e6, "last": own[-1] / 1e6},
        "mapped_mb": {"first": mapped[0] / 1e6, "last": mapped[-1] / 1e6},
        "mb_an_hour": rise * 3600 / 1e6,
        "mb_an_hour_error": error * 3600 / 1e6,
        "within_noise": bool(rise <= 2 * error),
        "bytes_a_change": float(own[-1] - own[steady]) / max(changed, 1),
    }


def report(figures: dict[str, Any]) -> None:
    print(f"\n{'':<12}{'requests':>10}{'p50 ms':>10}{'p99 ms':>10}")
    for kind, n in figures["requests"].items():
        print(f"{kind:<12}{n:>10,}{figures['p50_ms'][kind]:>10.1f}{figures['p99_ms'][kind]:>10.1f}")
    for what, n in figures["failures"].items():
        print(f"failed {n:,} times: {what}")
    for line in figures["errors"][:3]:
        print(orjson.loads(line)["traceback"])
    own, told = figures["own_mb"], "" if figures["within_noise"] else "NOT "
    print(
        f"\nmemory of its own: {own['first']:.1f} MB at first, {own['filled']:.1f} MB when caches "
        f"were filled, {own['last']:.1f} MB after {figures['minutes']:.1f} minutes"
    )
    rise, error = figures["mb_an_hour"], figures["mb_an_hour_error"]
    print(f"slope {rise:+.1f} ± {error:.1f} MB/h: {told}within noise")
    print(f"then, with saves and takedowns, {figures['bytes_a_change']:,.0f} bytes for each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--cores", type=int, nargs="+", help="of the server")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    machine = probe.machine()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(given.workspace, Path(folder), given.minutes, given.rate, given.cores)
    figures = {"machine": machine, "commit": commit()} | judge(found)
    report(figures)
    if given.json:
        samples = {"samples": found["samples"]}
        given.json.write_text(json.dumps(figures | samples, indent=2) + "\n")


if __name__ == "__main__":
    main()
