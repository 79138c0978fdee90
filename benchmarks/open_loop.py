"""Requests that come when they come, however slow the answers are: latencies as people meet them.

    python benchmarks/open_loop.py http://127.0.0.1:8000 PATHS --rate 300 [--seconds 10] [--even]

PATHS is a file of paths, one a line, asked in turn. Prints a JSON object. A latency counts from
the moment at which a request was due, so one that waits for others is not forgotten. Without a
rate each request comes when the one before is answered: the unloaded latency.

One thread, one request at a time on each connection; it sleeps in select, whose clock is finer
than epoll's.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

CONNECTIONS = 900
"""At most: select takes 1,024 files."""

GRACE_S = 5.0
"""How long to wait for the last answers."""

IDLE_S = 2.0
"""After which a connection is not used again: the server hangs up after five."""


class OverloadedError(Exception):
    """More requests wait than there may be connections."""


@dataclass
class Connection:
    """One request at a time, and when it was due."""

    socket: socket.socket
    due: float = 0.0
    idle_since: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self.received.clear()
        self.socket.sendall(request)

    def read(self) -> int | None:
        """The status of the answer when all of it is there."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the server hung up")
        self.received += part
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return None
        return int(head[9:12])


def _length(head: bytearray) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


def due_times(rate: float, seconds: float, even: bool, seed: int) -> np.ndarray:
    """When requests come, in seconds: at random (a Poisson process), or evenly."""
    n = int(rate * seconds)
    gaps = np.full(n, 1 / rate)
    return np.cumsum(gaps if even else np.random.default_rng(seed).exponential(gaps))


class Load:
    """Asks one server."""

    def __init__(self, url: str, paths: list[str]) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        requests = [f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n" for path in paths]
        self._requests: Iterator[bytes] = cycle([one.encode() for one in requests])
        self._idle: list[Connection] = []
        self._busy: dict[socket.socket, Connection] = {}
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.late = 0.0  # the most that a request was sent after it was due

    def at(self, due: np.ndarray) -> None:
        """Ask at these times, from now on."""
        start = time.perf_counter() + 0.05
        for moment in start + due:
            while (left := moment - time.perf_counter()) > 0:
                self._take(left)
            self.late = max(self.late, -left)
            self._ask(moment)
        end = time.perf_counter() + GRACE_S
        while self._busy and (left := end - time.perf_counter()) > 0:
            self._take(left)
        self.statuses[0] += len(self._busy)  # never answered

    def one_by_one(self, seconds: float) -> None:
        """Ask when the last is answered."""
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            self._ask(now)
            while self._busy:
                self._take(GRACE_S)

    def _ask(self, due: float) -> None:
        if not self._idle and len(self._busy) >= CONNECTIONS:
            raise OverloadedError
        connection = self._connection()
        connection.ask(next(self._requests), due)
        self._busy[connection.socket] = connection

    def _connection(self) -> Connection:
        """The one that was used last, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            if time.perf_counter() - connection.idle_since < IDLE_S:
                return connection
            connection.socket.close()
        return self._connect()

    def _connect(self) -> Connection:
        made = socket.create_connection(self._address)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(made)

    def _take(self, seconds: float) -> None:
        """Wait for answers, at most so long."""
        ready, _, _ = select.select(list(self._busy), [], [], seconds)
        now = time.perf_counter()
        for one in ready:
            connection = self._busy[one]
            if (status := connection.read()) is not None:
                self.latencies.append(now - connection.due)
                self.statuses[status] += 1
                connection.idle_since = now
                self._idle.append(self._busy.pop(one))


def summary(load: Load) -> dict[str, Any]:
    """Latencies in ms, and how many answers were not 200."""
    waits = np.array(load.latencies) * 1e3
    p50, p90, p99 = np.percentile(waits, [50, 90, 99]) if len(waits) else (np.inf,) * 3
    failed = sum(n for status, n in load.statuses.items() if status != 200)
    return {
        "requests": len(waits), "failed": failed, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99,
        "max_ms": waits.max(initial=0), "late_ms": load.late * 1e3,
        "all_ms": np.percentile(waits, np.arange(100) + 0.5).tolist() if len(waits) else [],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("paths", type=Path)
    parser.add_argument("--rate", type=float, help="requests a second; none: one by one")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--even", action="store_true", help="not at random times")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    load = Load(given.url, given.paths.read_text().splitlines())
    try:
        if given.rate is None:
            load.one_by_one(given.seconds)
        else:
            load.at(due_times(given.rate, given.seconds, given.even, given.seed))
    except OverloadedError:
        print(json.dumps(summary(load) | {"overloaded": True}))
    else:
        print(json.dumps(summary(load) | {"overloaded": False}))


if __name__ == "__main__":
    main()
