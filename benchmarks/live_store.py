"""Storing events and saves durably, beside what the disk can sync.

    python benchmarks/live_store.py [--dir DIR] [--url URL] [--seconds 5] [--json FILE]

Callers are coroutines of one process, as in a server; each waits for its receipt and then submits
again. The probe appends 100 bytes and waits for the disk, in the same folder, before and after
each workload. Then a second process follows what the first stores. `--url` adds a PostgreSQL
database, whose disk may be another one. It is left full of the benchmark's rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import probe

from pinjoin.live import LIVE_FILE
from pinjoin.live.changes import Change, Event, Save
from pinjoin.live.store import Store, open_store
from pinjoin.live.submissions import Submission

Make = Callable[[str], tuple[Change, ...]]


def _event(request: str, place: int) -> Event:
    return Event(
        request_id=request,
        query=f"https://shop.example/images/{place * 7919}.jpg",
        candidate=f"https://shop.example/images/{place * 104729}.jpg",
        action="impression",
        position=str(place),
        device="phone",
        user_id="u1",
        arm="ranker:b",
    )


def _page(key: str) -> tuple[Change, ...]:
    return tuple(_event(key, place) for place in range(25))


def _single(key: str) -> tuple[Change, ...]:
    return (_event(key, 1),)


def _save(key: str) -> tuple[Change, ...]:
    return (Save(f"pin-{key}", "b1", f"https://shop.example/images/{key}.jpg", "A lamp"),)


WORKLOADS: dict[str, tuple[int, Make]] = {
    "events, pages of 25, 64 callers": (64, _page),
    "events, one each, 256 callers": (256, _single),
    "events, one each, 1 caller": (1, _single),
    "saves, one each, 256 callers": (256, _save),
}


async def run(store: Store, callers: int, make: Make, seconds: float) -> tuple[int, list[float]]:
    """(rows stored, seconds from each submission to its receipt)."""
    end = time.perf_counter() + seconds
    run_id = uuid.uuid4().hex
    rows = 0
    waits: list[float] = []

    async def call(caller: int) -> None:
        nonlocal rows
        number = 0
        while (start := time.perf_counter()) < end:
            key = f"{run_id}-{caller}-{number}"
            submission = Submission(key, make(key))
            await asyncio.wrap_future(store.submit(submission))
            waits.append(time.perf_counter() - start)
            rows += len(submission.changes)
            number += 1

    await asyncio.gather(*(call(caller) for caller in range(callers)))
    return rows, waits


def measure(where: Path | str, folder: str, seconds: float) -> dict[str, Any]:
    """Every workload: rows/s, how many of the probe's syncs that is, waits in ms."""
    figures: dict[str, Any] = {}
    for name, (callers, make) in WORKLOADS.items():
        with open_store(where) as store:
            asyncio.run(run(store, callers, make, 0.5))
            before = probe.fsyncs_per_s(folder)
            start = time.perf_counter()
            rows, waits = asyncio.run(run(store, callers, make, seconds))
            took = time.perf_counter() - start
            syncs = statistics.mean((before, probe.fsyncs_per_s(folder)))
        cuts = statistics.quantiles(waits, n=100) if len(waits) > 1 else waits * 99
        figures[name] = {
            "rows_per_s": rows / took,
            "fsyncs_per_s": syncs,
            "ratio": rows / took / syncs,
            "wait_p50_ms": cuts[49] * 1e3,
            "wait_p99_ms": cuts[98] * 1e3,
        }
    return figures


FOLLOWER = """
import sys, time
from pathlib import Path
from pinjoin.live.store import open_store
where, after = sys.argv[1], int(sys.argv[2])
with open_store(where if "://" in where else Path(where)) as store:
    print("ready", flush=True)
    for _ in range(int(sys.argv[3])):
        while not (page := store.tail(after)).entries:
            time.sleep(0.02)
        after = page.sequence
        print(after, time.time(), flush=True)
"""


def seen_elsewhere(where: Path | str, saves: int = 100) -> list[float]:
    """Milliseconds from a receipt until a process that looks every 20 ms has the save."""
    waits = []
    with open_store(where) as store:
        after = store.state().last
        command = [sys.executable, "-c", FOLLOWER, str(where), str(after), str(saves)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            out = follower.stdout
            assert out is not None
            assert out.readline() == "ready\n"
            for _ in range(saves):
                key = uuid.uuid4().hex
                receipt = store.submit(Submission(key, _save(key))).result()
                stored = time.time()
                sequence, seen = out.readline().split()
                assert int(sequence) == receipt.sequence
                waits.append(max(0.0, float(seen) - stored) * 1e3)
    return waits


def report(title: str, figures: dict[str, Any], waits: list[float]) -> dict[str, Any]:
    print(f"\n{title}")
    print(f"{'':<34}{'rows/s':>10}{'fsyncs/s':>10}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}")
    for name, one in figures.items():
        print(
            f"{name:<34}{one['rows_per_s']:>10,.0f}{one['fsyncs_per_s']:>10,.0f}"
            f"{one['ratio']:>8.1f}{one['wait_p50_ms']:>9.1f}{one['wait_p99_ms']:>9.1f}"
        )
    median, worst = statistics.median(waits), max(waits)
    print(f"seen by another process: median {median:.0f} ms, worst {worst:.0f} ms")
    return figures | {"seen_elsewhere_ms": {"median": median, "worst": worst}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dir", help="where to put the SQLite database and the probe's file")
    parser.add_argument("--url", help="a PostgreSQL database to measure as well")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures: dict[str, Any] = {"machine": probe.machine()}
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        places: dict[str, Path | str] = {"SQLite": Path(folder) / LIVE_FILE}
        if given.url:
            places["PostgreSQL"] = given.url
        for title, where in places.items():
            measured = measure(where, folder, given.seconds)
            figures[title] = report(title, measured, seen_elsewhere(where))
        print(f"\nload {os.getloadavg()[0]:.1f} on {figures['machine']['cores']} cores")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
