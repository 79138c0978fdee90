"""How many requests a server answers, how fast, and where its processor time goes.

    python benchmarks/serving.py DIR [--images 1000000 --saves 16000000] [--json FILE]

Needs wrk (`apt install wrk`). DIR keeps the synthetic workspace, which is made the first time.
One process of `pinjoin serve` on 127.0.0.1, first on one core, with what asks on another, then on
two cores that it shares with it; 25 results a request, for images drawn as traffic comes, by how
often they are saved.

saturation: as many requests as 16 connections a core get answered (wrk). unloaded: one by one.
open loop: at 60 % of saturation, at random times and evenly (benchmarks/open_loop.py), beside what
queues cost any server that is asked at random times. shares: of the processor time of the whole
process, in a run that adds up its parts (benchmarks/stages.py). cold start: from the start of the
process to the first answer, files in the page cache, compiled before. save: now and then, a
connection each. events: batches that 64 connections hand in, beside what the disk can sync.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import probe
import stages
from served import COMMAND, Served, run_on
from synthetic import CatalogueShape
from synthetic_workspace import make

import pinjoin

HERE = Path(__file__).parent
N = 25
QUERIES = 20_000
AT_EASE = 0.6  # of saturation
PIXIE = 1_200  # requests/s of one server at a p99 of 60 ms (Eksombatchai et al., WWW 2018)
PIXIE_MS = 60.0
BATCHES = {"one each": 1, "a page of 25": 25, "ten pages": 250}
BATCH_BOUNDS = {"ten pages": "≥ 20"}
CLIENTS = 64
SAVES = 300


class Bench:
    """One workspace, the requests to it, and a folder for what a run leaves."""

    def __init__(self, workspace: Path, folder: Path, seconds: float) -> None:
        self.workspace, self.folder, self.seconds = workspace, folder, seconds
        self.paths = folder / "paths"
        self.paths.write_text("\n".join(traffic(workspace)) + "\n")
        self.first = self.paths.read_text().partition("\n")[0]

    @contextmanager
    def served(
        self, cores: Collection[int], command: tuple[str, ...] = COMMAND
    ) -> Iterator[Served]:
        """A server that has answered."""
        options = ("--database", str(self.folder / f"{uuid.uuid4().hex}.db"))
        log = self.folder / "log"
        with Served(self.workspace, log, cores, options, command) as server:
            server.first_answer(self.first)
            yield server

    def saturate(
        self, server: Served, cores: Collection[int], connections: int, *body: str
    ) -> dict[str, Any]:
        """What wrk counts, and the server's processor time a request."""
        command = (
            "wrk", "-t1", f"-c{connections}", f"-d{self.seconds:.0f}s", "--timeout", "30s",
            "-s", str(HERE / "requests.lua"), server.url, "--", str(self.paths), *body,
        )  # fmt: skip
        found = run(command, server, cores)
        return found | {"rate": found["requests"] / found["seconds"]}

    def open_loop(
        self, server: Served, cores: Collection[int], rate: float | None, *more: str
    ) -> dict[str, Any]:
        """Latencies at a rate; None: one by one."""
        at = () if rate is None else ("--rate", str(rate))
        script = str(HERE / "open_loop.py")
        seconds = ("--seconds", str(self.seconds))
        command = (sys.executable, script, server.url, str(self.paths), *at, *seconds, *more)
        return run(command, server, cores)


def traffic(workspace: Path) -> list[str]:
    """Paths of requests, images by how often they are saved."""
    known = pinjoin.open(workspace)
    saves = known.incidence.degrees.astype(np.float64)
    rows = np.random.default_rng(0).choice(len(saves), QUERIES, p=saves / saves.sum())
    return [f"/v1/related/{one['pin_id']}?n={N}" for one in known.describe(rows)]


def run(command: tuple[str, ...], server: Served, cores: Collection[int]) -> dict[str, Any]:
    """What a program that asks prints last, and the server's processor time a request.

    Where a request failed, it is as slow as can be.
    """
    before = server.cpu_s()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, preexec_fn=run_on(cores)
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["failed"]:
        found["p99_ms"] = math.inf
    return found | {"cpu_ms": (server.cpu_s() - before) / found["requests"] * 1e3}


def measure_rates(bench: Bench, cores: list[int], asking: list[int]) -> dict[str, Any]:
    """Saturation, the unloaded latency, and latencies when requests come at their own times."""
    with bench.served(cores) as server:
        bench.saturate(server, asking, 4)  # pages, caches, what is described
        unloaded = bench.open_loop(server, asking, None)
        saturated = bench.saturate(server, asking, 16 * len(cores))
        rate = AT_EASE * saturated["rate"]
        at_random = bench.open_loop(server, asking, rate)
        evenly = bench.open_loop(server, asking, rate, "--even")
        highest = highest_rate(bench, server, asking, saturated["rate"])
    service_ms = np.array(unloaded["all_ms"]) * saturated["cpu_ms"] / unloaded["p50_ms"]
    return {
        "server cores": cores,
        "asking cores": asking,
        "unloaded": unloaded,
        "saturated": saturated,
        "utilisation": saturated["rate"] * saturated["cpu_ms"] / 1e3 / len(cores),
        "at 60 %, at random times": at_random,
        "at 60 %, at random times, of an ideal queue": ideal_p99(service_ms, rate, len(cores)),
        "at 60 %, evenly": evenly,
        "p99 / unloaded median, at random times": at_random["p99_ms"] / unloaded["p50_ms"],
        "p99 / unloaded median, evenly": evenly["p99_ms"] / unloaded["p50_ms"],
        "highest rate at p99 ≤ 60 ms": highest,
    }


def ideal_p99(service_ms: np.ndarray, rate: float, cores: int) -> float:
    """The p99 in ms if requests came at random times, and each core did nothing but serve them, one
    after another, as they came: no server can do better at this rate."""
    rng, n = np.random.default_rng(0), 200_000
    comes = np.cumsum(rng.exponential(1e3 / rate, n))
    takes = rng.choice(service_ms, n)
    free, waits = [0.0] * cores, np.empty(n)
    for i, (now, work) in enumerate(zip(comes.tolist(), takes.tolist(), strict=True)):
        done = max(heapq.heappop(free), now) + work
        heapq.heappush(free, done)
        waits[i] = done - now
    return float(np.percentile(waits, 99))


def highest_rate(bench: Bench, server: Served, asking: list[int], saturation: float) -> float:
    """The highest rate, to 2 % of saturation, whose p99 stays below that of Pixie's."""
    good, bad = 0.5, 1.02
    while bad - good > 0.02:
        share = (good + bad) / 2
        found = bench.open_loop(server, asking, share * saturation)
        good, bad = (share, bad) if found["p99_ms"] <= PIXIE_MS else (good, share)
    return good * saturation


def measure_shares(bench: Bench, cores: list[int], asking: list[int]) -> dict[str, float]:
    """The parts of a request's processor time, in ms, when as many come as can."""
    totals = bench.folder / "totals"
    np.zeros(len(stages.STAGES)).tofile(totals)
    command = (sys.executable, str(HERE / "stages.py"), str(totals))
    with bench.served(cores, command) as server:
        bench.saturate(server, asking, 4)
        before = stages.read(totals)
        found = bench.saturate(server, asking, 16 * len(cores))
        after = stages.read(totals)
    ms = {name: (after[name] - before[name]) / found["requests"] * 1e3 for name in after}
    return {
        "ranking": ms["ranking"],
        "finding the id": ms["lookup"],
        "JSON": ms["answer"] - ms["ranking"] - ms["lookup"],
        "framework": found["cpu_ms"] - ms["answer"],
        "all": found["cpu_ms"],
        "ranking / all": ms["ranking"] / found["cpu_ms"],
    }


def measure_cold(bench: Bench, times: int = 5) -> list[float]:
    """Seconds from the start of a process to its first answer."""
    taken, options = [], ("--database", str(bench.folder / "cold.db"))
    for _ in range(times + 1):  # the first reads the files, and makes the database
        with Served(bench.workspace, bench.folder / "log", options=options) as server:
            taken.append(server.first_answer(bench.first))
    return taken[1:]


def measure_ingest(bench: Bench, cores: list[int], asking: list[int]) -> dict[str, Any]:
    """Durable events a second, and how many of the disk's syncs that is."""
    figures: dict[str, Any] = {}
    for name, size in BATCHES.items():
        with bench.served(cores) as server:
            before = probe.fsyncs_per_s(str(bench.folder))
            found = bench.saturate(server, asking, CLIENTS, str(size), uuid.uuid4().hex)
            syncs = statistics.mean((before, probe.fsyncs_per_s(str(bench.folder))))
        events = found["rate"] * size
        figures[name] = found | {
            "events_per_s": events, "fsyncs_per_s": syncs, "ratio": events / syncs,
        }  # fmt: skip
    return figures


def measure_saves(bench: Bench, cores: list[int]) -> list[float]:
    """Seconds that a save takes: durable, and part of all answers."""
    known = pinjoin.open(bench.workspace)
    images = known.describe(range(min(SAVES, known.n_images)))
    [board] = known.describe_boards([0])
    taken = []
    with bench.served(cores) as server:
        for image in images:
            pin = {"id": image["pin_id"], "board_id": board["board_id"]}
            start = time.perf_counter()
            status, answer = server.ask("POST", "/v1/saves", pin)
            taken.append(time.perf_counter() - start)
            time.sleep(0.05)  # to see one save, not how many in a row
            if status != 201:
                raise RuntimeError(f"A save was answered with {status}: {answer}")
    return taken


def report(figures: dict[str, Any]) -> None:
    """Print a table, with the bound where there is one."""
    for name, one in figures["rates"].items():
        unloaded, full = one["unloaded"], one["saturated"]
        print(f"\n{name}")
        tell("unloaded median", f"{unloaded['p50_ms']:.2f} ms")
        tell("saturation", f"{full['rate']:.0f} requests/s")
        tell("processor time of a request", f"{full['cpu_ms']:.2f} ms")
        tell("… × saturation ÷ cores", f"{one['utilisation']:.2f}", "≥ 0.80")
        for how in ("at random times", "evenly"):
            ratio = one[f"p99 / unloaded median, {how}"]
            tell(f"p99 at 60 %, {how}", f"{one[f'at 60 %, {how}']['p99_ms']:.2f} ms")
            tell("… ÷ unloaded median", f"{ratio:.1f}", "≤ 5")
        ideal = one["at 60 %, at random times, of an ideal queue"]
        tell("… at random times, of an ideal queue", f"{ideal:.2f} ms")
        highest = one["highest rate at p99 ≤ 60 ms"]
        tell("highest rate at p99 ≤ 60 ms", f"{highest:.0f}", f"Pixie {PIXIE:,}")
    print("\nprocessor time of a request, ms")
    for name, value in figures["shares"].items():
        tell(name, f"{value:.3f}", "≥ 0.70" if name == "ranking / all" else "")
    print()
    cold = figures["cold start s"]
    tell("cold start, median and worst", f"{statistics.median(cold):.2f} {max(cold):.2f} s", "≤ 3")
    p50, p99 = np.quantile(figures["save s"], [0.5, 0.99]) * 1e3
    tell("a save, durable and shown, p50 and p99", f"{p50:.1f} {p99:.1f} ms", "≤ 50 ms")
    for name, one in figures["events"].items():
        tell(f"events/s, {name}", f"{one['events_per_s']:,.0f}")
        tell("… ÷ fsyncs/s of the disk", f"{one['ratio']:.0f}", BATCH_BOUNDS.get(name, ""))
        tell("… p50 and p99", f"{one['p50_ms']:.0f} {one['p99_ms']:.0f} ms")
    print(f"\nload {os.getloadavg()[0]:.1f} on {figures['machine']['cores']} cores")


def tell(name: str, value: str, bound: str = "") -> None:
    print(f"  {name:<40}{value:>20}  {bound}")


def commit() -> str:
    """Of the code that is measured."""
    asked = ("git", "-C", str(HERE), "describe", "--always", "--dirty")
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--saves", type=int, default=16_000_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is needed: apt install wrk")
    workspace = make(given.folder, CatalogueShape(given.images, given.saves))
    one, other = sorted(os.sched_getaffinity(0))[:2]
    figures: dict[str, Any] = {"machine": probe.machine(), "commit": commit()}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(workspace, Path(folder), given.seconds)
        figures["rates"] = {
            "on one core": measure_rates(bench, [one], [other]),
            "on two cores, shared with what asks": measure_rates(bench, [one, other], [one, other]),
        }
        figures["shares"] = measure_shares(bench, [one], [other])
        figures["cold start s"] = measure_cold(bench)
        figures["save s"] = measure_saves(bench, [one, other])
        figures["events"] = measure_ingest(bench, [one, other], [one, other])
    report(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
